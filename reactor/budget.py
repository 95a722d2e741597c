"""A budget for what all write queues hold together, and what is done, step by step, as it is used up.

Acceptors accept nobody any more; then those streams are read no more that have most to send already, since what comes in is
what makes them send; in the end the slowest reader is given up. The budget owns nothing: it looks at the reactor's streams
when their sum crosses one of its marks, and does nothing in between.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any

import attrs

from reactor.acceptor import Acceptor
from reactor.errors import BufferOverflow, CloseKind, CloseReason, UsageError
from reactor.extras import BUDGET
from reactor.stream import Stream

if TYPE_CHECKING:
    from reactor.loop import Loop

#: What an acceptor's reason to pause is called.
_WHY = "memory"


class Level(Enum):
    """How much of the budget is used, and so what is done."""

    CALM = "nothing"
    REFUSING = "nobody is accepted"
    HOLDING = "those with the longest queues are read no more"
    CUTTING = "those with the longest queues are given up"


def _share(instance: Any, field: attrs.Attribute[float], value: float) -> None:
    if not 0 < value <= 1:
        raise UsageError(f"MemoryBudget.{field.name} is a share above 0, up to 1, not {value!r}")


@attrs.frozen
class MemoryBudget:
    """At most *bytes* in the write queues of all streams of a reactor. The shares say when what begins, and when it ends.

    Raises:
        UsageError: no positive number of bytes, or shares that are not in order.
    """

    bytes: int
    #: Above this share nobody is accepted.  # envoy, overload manager: stop accepting at 0.95 of the heap
    refuse: float = attrs.field(default=0.8, validator=_share, kw_only=True)
    #: Above this one, those with the longest queues are read no more.
    hold: float = attrs.field(default=0.9, validator=_share, kw_only=True)
    #: Below this one, all that is over.
    relax: float = attrs.field(default=0.7, validator=_share, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.bytes, int) or self.bytes < 1:
            raise UsageError(f"MemoryBudget.bytes is a whole number from 1 on, not {self.bytes!r}")
        if not self.relax <= self.refuse <= self.hold:
            raise UsageError(f"MemoryBudget needs relax <= refuse <= hold, not {self.relax}, {self.refuse}, {self.hold}")


@attrs.define(eq=False)
class Treasurer:
    """Keeps one reactor to its budget."""

    _loop: Loop
    _budget: MemoryBudget
    level: Level = attrs.field(default=Level.CALM, init=False)

    def start(self) -> None:
        """Watch from now on."""
        self._set_marks()

    def begin_anew(self) -> None:
        """In a child process, whose queues are empty: all that was done is over."""
        self.level = Level.CALM
        self._relax()
        self._set_marks()

    def look(self) -> None:
        """The sum has crossed a mark: do what is to be done."""
        loop, budget = self._loop, self._budget
        before = self.level
        share = loop.queued / budget.bytes
        if share > 1:
            self.level = Level.CUTTING
        elif share > budget.hold:
            self.level = Level.HOLDING
        elif share > budget.refuse and self.level is Level.CALM:
            self.level = Level.REFUSING
        elif share < budget.relax:
            self.level = Level.CALM
        if self.level is not before:
            loop.log.warning("%d of %d bytes are queued: %s", loop.queued, budget.bytes, self.level.value)
        if self.level is Level.CALM:
            self._relax()
        else:
            self._refuse()
        if self.level in (Level.HOLDING, Level.CUTTING):
            self._hold()
        if self.level is Level.CUTTING:
            self._cut()
        self._set_marks()

    def _set_marks(self) -> None:
        """Be called when something has to be done that is not being done, or when it may end."""
        budget = self._budget
        above = {Level.CALM: budget.refuse, Level.REFUSING: budget.hold, Level.HOLDING: 1.0, Level.CUTTING: 1.0}
        below = -inf if self.level is Level.CALM else budget.relax * budget.bytes
        self._loop.watch_queued(below, above[self.level] * budget.bytes, self.look)

    def _relax(self) -> None:
        for stream in self._streams():
            if stream._extras is not None and stream._extras.holders & BUDGET:
                stream._hold_reading(BUDGET, on=False)
        for acceptor in self._acceptors():
            acceptor.resume(_WHY)

    def _refuse(self) -> None:
        for acceptor in self._acceptors():
            acceptor.pause(_WHY)

    def _hold(self) -> None:
        """Read no more from those who have half of all that is queued."""
        total = self._loop.queued
        found = 0
        for stream in self._worst():
            if 2 * found >= total:
                break
            found += stream.buffered
            stream._hold_reading(BUDGET, on=True)

    def _cut(self) -> None:
        """Give up those with the longest queues, until the rest fits."""
        limit = self._budget.bytes
        for stream in self._worst():
            if self._loop.queued <= limit * self._budget.hold:
                break
            error = BufferOverflow(
                f"{self._loop.queued} bytes are queued in all, {stream.buffered} for {stream._peer}; the budget is {limit}"
            )
            self._loop.counts["budget_cuts"] += 1
            stream._close(CloseReason(CloseKind.ERROR, error), reset=True)

    def _worst(self) -> list[Stream]:
        return sorted((stream for stream in self._streams() if stream.buffered), key=lambda stream: -stream.buffered)

    def _streams(self) -> list[Stream]:
        return [handler for handler in self._loop.handlers if isinstance(handler, Stream)]

    def _acceptors(self) -> list[Acceptor]:
        return [handler for handler in self._loop.handlers if isinstance(handler, Acceptor)]

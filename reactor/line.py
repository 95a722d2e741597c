"""Those who wait for room in the backlog of one Unix socket: the first of them asks, for all.

A connect that finds the backlog full has started nothing, and nobody tells when there is room (connect(2), EAGAIN). If each
asked for itself, a thousand of them would keep a core busy; and who came last might be let in first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from reactor.addresses import Address
from reactor.timers import Timer

if TYPE_CHECKING:
    from reactor.reactor import Reactor

#: Seconds until the first one asks again, doubled each time, and back to the first when one was let in.
RETRY_SECONDS_MIN = 0.001
RETRY_SECONDS_MAX = 0.05
#: How many are let in in one pass at most.
ASKED_PER_PASS = 64


class Waiting(Protocol):
    """One who waits."""

    def _ask(self) -> bool:
        """Try again; False if there is no room still."""
        ...


@attrs.define(eq=False)
class Line:
    """The line before one address, first come, first served. It is there while anybody waits."""

    _reactor: Reactor
    _address: Address
    _waiting: dict[Waiting, None] = attrs.field(init=False, repr=False, factory=dict)
    _delay: float = attrs.field(init=False, repr=False, default=RETRY_SECONDS_MIN)
    _timer: Timer = attrs.field(init=False, repr=False)

    def join(self, who: Waiting) -> None:
        """Stand at the end."""
        if not self._waiting:
            self._wait()
        self._waiting[who] = None

    def leave(self, who: Waiting) -> None:
        """Wait no longer, for whatever reason."""
        self._waiting.pop(who, None)
        if not self._waiting:
            self._timer.cancel()
            self._reactor.lines.pop(self._address, None)

    def _wait(self) -> None:
        self._timer = self._reactor.call_later(self._delay, self._move_up)
        self._timer.unref()  # those who wait count for themselves
        self._delay = min(2 * self._delay, RETRY_SECONDS_MAX)

    def _move_up(self) -> None:
        """Let in as many as there is room for."""
        for _ in range(ASKED_PER_PASS):
            first = next(iter(self._waiting))
            if not first._ask():
                break
            self._delay = RETRY_SECONDS_MIN
            self.leave(first)
            if not self._waiting:
                return
        self._wait()

"""Which address comes next, and when: Happy Eyeballs (RFC 8305), sections 4, 5 and 8. Pure: `now` is an argument.

Nothing is connected here; see `dialer`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import attrs

from reactor.addresses import Inet

A = TypeVar("A")

#: Names whose winner is remembered; the one that was asked for least recently is forgotten first.
WINNERS_MAX = 1024


def interleave(addresses: Sequence[Inet]) -> list[Inet]:
    """Return *addresses* with their families taking turns, the first one's first: RFC 8305, section 4.

    The order within a family stays. "First Address Family Count" is 1.
    """
    of_family: dict[int, deque[Inet]] = {}
    for address in addresses:
        of_family.setdefault(address.family, deque()).append(address)
    ordered: list[Inet] = []
    while len(ordered) < len(addresses):
        ordered += [queue.popleft() for queue in of_family.values() if queue]
    return ordered


@attrs.define(eq=False)
class Race(Generic[A]):
    """The addresses of one target: one is tried when the one before has failed, or has not answered for *delay* seconds."""

    delay: float
    waiting: list[A] = attrs.field(init=False, factory=list)  # few: an empty list is smaller than an empty deque
    _due: float = attrs.field(init=False, default=0.0)  # no next one before this moment

    def add(self, addresses: Iterable[A]) -> None:
        """Add *addresses* at the end, but for those that wait already."""
        for each in addresses:
            if each not in self.waiting:
                self.waiting.append(each)

    def next_due(self) -> float | None:
        """Return the moment from which `start` has something to give; None: nothing waits."""
        return self._due if self.waiting else None

    def start(self, now: float) -> A | None:
        """Return the address to try now, if it is time."""
        if not self.waiting or now < self._due:
            return None
        self._due = now + self.delay
        return self.waiting.pop(0)

    def failed(self) -> None:
        """One that was tried has failed: the next one need not wait (section 5)."""
        self._due = 0.0


@attrs.define(eq=False)
class Winners:
    """Which address of a name has won, and when, so that it can be tried first the next time."""

    _known: OrderedDict[str, tuple[Inet, float]] = attrs.field(init=False, repr=False, factory=OrderedDict)

    def note(self, name: str, winner: Inet, now: float) -> None:
        """Remember that *winner* has won."""
        self._known[name] = winner, now
        self._known.move_to_end(name)
        if len(self._known) > WINNERS_MAX:
            self._known.popitem(last=False)

    def first(self, name: str, addresses: list[Inet], *, since: float) -> list[Inet]:
        """Return *addresses* with the winner in front, if it is one of them, and has won after the moment *since*."""
        winner, at = self._known.get(name, (None, 0.0))
        if winner is None or at < since or winner not in addresses:
            return addresses
        return [winner, *(each for each in addresses if each != winner)]

    def __len__(self) -> int:
        return len(self._known)

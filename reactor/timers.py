"""Timers and the queue that orders them. Pure: `now` is an argument, and nothing here calls a callback.

A heap of entries `(due, order, timer)` that are never changed once they are in it. A timer knows the one entry that
will find it; every other entry that names it is dead and is skipped. Pushing a timer back, the commonest thing that
happens to a timeout, only notes the new moment: the old entry finds the timer too early and is put back.

Equal moments fire in the order in which they were set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf, isfinite
from typing import Any, Protocol, TypeAlias

import attrs

from reactor.errors import DelayError

#: Dead entries are swept out of the heap when there are more than this many, and they are more than half of it.
DEAD_ENTRIES_KEPT = 64

Entry: TypeAlias = "tuple[float, int, Timer]"


def seconds(delay: float, what: str = "a delay") -> float:
    """Return *delay* as a float, not below 0.

    Raises:
        DelayError: *delay* is NaN, infinite, or no number.
    """
    try:
        if type(delay) is float and 0.0 <= delay < inf:
            return delay  # nearly always, and so the first question
        if isfinite(delay):
            return max(0.0, float(delay))
    except (TypeError, OverflowError):
        pass
    raise DelayError(f"{what} is a finite number of seconds, not {delay!r}")


class Owner(Protocol):
    """Somebody whose end ends their timers; knows those that wait."""

    _timers: set[Any] | None


@attrs.define(eq=False)
class Timer:
    """A callback that is due at a moment. Made by `call_later`, `call_at` and `call_every`."""

    _queue: TimerQueue
    callback: Callable[..., object] | None
    args: tuple[Any, ...]
    owner: Owner | None = None
    #: Whether waiting for this timer keeps `run` going; housekeeping timers say `unref`.
    counts: bool = attrs.field(default=True, init=False)
    #: The monotonic moment at which it fires; None when it does not wait.
    due: float | None = attrs.field(default=None, init=False)
    _order: int = attrs.field(default=0, init=False)
    _entry: Entry | None = attrs.field(default=None, init=False, repr=False)

    def cancel(self) -> bool:
        """Give up; True if it was still waiting. Callback, arguments and owner are let go at once."""
        waited = self.due is not None
        if waited:
            self._queue.drop(self)
        self.callback, self.args, self.owner = None, (), None
        return waited

    def restart(self, delay: float) -> None:
        """Fire *delay* seconds from now instead; also after it has fired, but not after `cancel`.

        Raises:
            DelayError: *delay* is not a finite number of seconds.
        """
        self.restart_at(self._queue.clock() + seconds(delay))

    def restart_at(self, due: float) -> None:
        """Fire at the moment *due* instead."""
        self._queue.set(self, due)

    def unref(self) -> Timer:
        """Let `run` return although this timer still waits; returns the timer."""
        self._queue.discount(self)
        return self


@attrs.define(eq=False)
class TimerQueue:
    """Timers in the order of their moments.

    `begin(now)` closes a batch of all that is due; `pop()` hands out its timers one by one, passing over those that
    were cancelled or moved since. What is left of a batch stays in it: nothing is lost when the caller breaks off.
    """

    clock: Callable[[], float]
    #: How many timers wait and count.
    waiting: int = attrs.field(default=0, init=False)
    _heap: list[Entry] = attrs.field(factory=list, init=False, repr=False)
    _batch: deque[Entry] = attrs.field(factory=deque, init=False, repr=False)
    _dead: int = attrs.field(default=0, init=False)
    _orders: Iterator[int] = attrs.field(factory=count, init=False, repr=False)

    def __len__(self) -> int:
        """Return how many timers wait, whether they count or not."""
        return len(self._heap) + len(self._batch) - self._dead

    def __iter__(self) -> Iterator[Timer]:
        """Iterate over the waiting timers, soonest first."""
        found = (timer for entry in (*self._batch, *self._heap) if (timer := entry[2])._entry is entry)
        return iter(sorted(found, key=lambda timer: (timer.due, timer._order)))

    def add(
        self, due: float, callback: Callable[..., object], args: tuple[Any, ...] = (), owner: Owner | None = None
    ) -> Timer:
        """Return a new timer that is due at the moment *due*."""
        timer = Timer(self, callback, args, owner)
        if callback is None:
            return timer
        # As in `set`, for one that is nowhere yet.
        if owner is None:
            self.waiting += 1
        else:
            self._enlist(timer)
        timer.due, timer._order = due, next(self._orders)
        timer._entry = entry = (due, timer._order, timer)
        heappush(self._heap, entry)
        return timer

    def set(self, timer: Timer, due: float) -> None:
        """Make *timer* due at *due*, wherever it stood before. A cancelled timer stays cancelled."""
        if timer.callback is None:
            return
        if timer.due is None:
            self._enlist(timer)
        timer.due, timer._order = due, next(self._orders)
        entry = timer._entry
        if entry is not None and entry[0] <= due:
            return  # that entry comes up first and will put the timer back where it belongs
        if entry is not None:
            self._bury()
        self._push(timer)

    def drop(self, timer: Timer) -> None:
        """Make a waiting *timer* wait no longer."""
        self._delist(timer)
        self._bury()

    def discount(self, timer: Timer) -> None:
        """Leave *timer* out of `waiting`."""
        if timer.counts and timer.due is not None:
            self.waiting -= 1
        timer.counts = False

    def next_due(self) -> float | None:
        """Return the moment of the next timer, or None if nothing waits."""
        if self._batch:
            return self._batch[0][0]
        heap = self._heap
        while heap:
            due, _, timer = entry = heap[0]
            if timer._entry is not entry:
                heappop(heap)
                self._dead -= 1
            elif timer.due is not None and timer.due > due:
                heappop(heap)
                self._push(timer)
            else:
                return due
        return None

    def begin(self, now: float) -> None:
        """Take everything that is due at *now* into the batch."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            self._batch.append(heappop(heap))

    def pop(self) -> Timer | None:
        """Return the next timer of the batch, which waits no longer, or None when the batch is empty."""
        batch = self._batch
        while batch:
            entry = batch.popleft()
            timer = entry[2]
            if timer._entry is not entry:
                self._dead -= 1
            elif timer.due is not None and (timer.due, timer._order) > entry[:2]:
                self._push(timer)
            else:
                self._delist(timer)
                return timer
        return None

    def _enlist(self, timer: Timer) -> None:
        """Note that *timer* has begun to wait."""
        if timer.counts:
            self.waiting += 1
        if timer.owner is not None:
            if timer.owner._timers is None:
                timer.owner._timers = set()
            timer.owner._timers.add(timer)

    def _delist(self, timer: Timer) -> None:
        """Note that *timer* waits no longer."""
        timer.due = timer._entry = None
        if timer.counts:
            self.waiting -= 1
        if timer.owner is not None and timer.owner._timers is not None:
            timer.owner._timers.discard(timer)

    def _push(self, timer: Timer) -> None:
        assert timer.due is not None
        timer._entry = (timer.due, timer._order, timer)
        heappush(self._heap, timer._entry)

    def _bury(self) -> None:
        """Note one more dead entry, and sweep when the dead have become the greater part."""
        self._dead += 1
        if self._dead > DEAD_ENTRIES_KEPT and self._dead * 2 > len(self._heap):
            alive = [entry for entry in self._heap if entry[2]._entry is entry]
            self._dead -= len(self._heap) - len(alive)
            self._heap[:] = alive
            heapify(self._heap)

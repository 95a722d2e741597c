"""Timers and the queue that orders them. Pure: `now` is an argument, and nothing here calls a callback.

A heap of entries `(due, order, timer)` that are never changed once they are in it. A timer knows the one entry that
will find it; every other entry that names it is dead and is skipped. Pushing a timer back, the commonest thing that
happens to a timeout, only notes the new moment: the old entry finds the timer too early and is put back. A timer that was
just set has no entry before somebody asks what is next: most that are cancelled in the same pass never had one.

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

#: Dead entries are swept out when there are more than this many, and more than half as many as lived at the last sweep.
DEAD_ENTRIES_KEPT = 64

Entry: TypeAlias = "tuple[float, int, Timer]"


def seconds(delay: float, what: str = "a delay") -> float:
    """Return *delay* as a float, not below 0.

    Raises:
        DelayError: *delay* is NaN, infinite, or no number.
    """
    try:
        if 0.0 <= delay < inf:
            return float(delay)
        if isfinite(delay):
            return 0.0
    except (TypeError, ValueError, OverflowError):
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
    owner: Owner | None
    #: The monotonic moment at which it fires; None when it does not wait.
    due: float | None
    _order: int
    #: Whether waiting for this timer keeps `run` going; housekeeping timers say `unref`.
    counts: bool = attrs.field(default=True, init=False)
    #: None also while it is fresh.
    _entry: Entry | None = attrs.field(default=None, init=False, repr=False)

    def cancel(self) -> bool:
        """Give up; True if it was still waiting. Callback, arguments and owner are let go at once."""
        waited = self.due is not None
        if waited:
            if self.owner is None and self.counts:
                self.due = self._entry = None  # all that there is to do, for most
            else:
                self._queue._delist(self)
            self._queue._bury()
        self.callback = self.owner = None
        self.args = ()
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
    _uncounted: int = attrs.field(default=0, init=False)  # of those that wait
    #: Set, and not in the heap yet; those without a moment are dead.
    _fresh: list[Timer] = attrs.field(factory=list, init=False, repr=False)
    _heap: list[Entry] = attrs.field(factory=list, init=False, repr=False)
    _batch: deque[Entry] = attrs.field(factory=deque, init=False, repr=False)
    _dead: int = attrs.field(default=0, init=False)
    _dead_kept: int = attrs.field(default=DEAD_ENTRIES_KEPT, init=False)
    _orders: Iterator[int] = attrs.field(factory=count, init=False, repr=False)

    def __len__(self) -> int:
        """Return how many timers wait, whether they count or not."""
        return len(self._fresh) + len(self._heap) + len(self._batch) - self._dead

    @property
    def waiting(self) -> int:
        """How many timers wait and count."""
        return len(self) - self._uncounted

    def __iter__(self) -> Iterator[Timer]:
        """Iterate over the waiting timers, soonest first."""
        self._settle()
        found = (timer for entry in (*self._batch, *self._heap) if (timer := entry[2])._entry is entry)
        return iter(sorted(found, key=lambda timer: (timer.due, timer._order)))

    def add(
        self, due: float, callback: Callable[..., object], args: tuple[Any, ...] = (), owner: Owner | None = None
    ) -> Timer:
        """Return a new timer that is due at the moment *due*."""
        timer = Timer(self, callback, args, owner, due, next(self._orders))
        self._fresh.append(timer)
        if owner is not None:
            self._enlist(timer)
        return timer

    def set(self, timer: Timer, due: float) -> None:
        """Make *timer* due at *due*, wherever it stood before. A cancelled timer stays cancelled."""
        if timer.callback is None:
            return
        waited, entry = timer.due is not None, timer._entry
        timer.due, timer._order = due, next(self._orders)
        if not waited:
            self._enlist(timer)
        elif entry is None or entry[0] <= due:
            return  # it is fresh, or that entry comes up first and will put the timer back where it belongs
        else:
            timer._entry = None
            self._bury()
        self._fresh.append(timer)

    def discount(self, timer: Timer) -> None:
        """Leave *timer* out of `waiting`."""
        if timer.counts and timer.due is not None:
            self._uncounted += 1
        timer.counts = False

    def next_due(self) -> float | None:
        """Return the moment of the next timer, or None if nothing waits."""
        if self._fresh:
            self._settle()
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
        self._settle()
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
        if not timer.counts:
            self._uncounted += 1
        if timer.owner is not None:
            if timer.owner._timers is None:
                timer.owner._timers = set()
            timer.owner._timers.add(timer)

    def _delist(self, timer: Timer) -> None:
        """Note that *timer* waits no longer."""
        timer.due = timer._entry = None
        if not timer.counts:
            self._uncounted -= 1
        owner = timer.owner
        if owner is not None and owner._timers is not None:
            owner._timers.discard(timer)

    def _settle(self) -> None:
        """Put what is fresh into the heap."""
        for timer in self._fresh:
            if timer.due is None:
                self._dead -= 1
            else:
                self._push(timer)
        self._fresh.clear()

    def _push(self, timer: Timer) -> None:
        assert timer.due is not None
        timer._entry = (timer.due, timer._order, timer)
        heappush(self._heap, timer._entry)

    def _bury(self) -> None:
        """Note one more that is dead, and sweep when there are many."""
        self._dead += 1
        if self._dead > self._dead_kept:
            self._sweep()

    def _sweep(self) -> None:
        """Let go of the dead, now that they may be a third of all, and say after how many more that is to be done again."""
        self._fresh = [timer for timer in self._fresh if timer.due is not None]
        self._heap = [entry for entry in self._heap if entry[2]._entry is entry]
        heapify(self._heap)
        self._dead = sum(entry[2]._entry is not entry for entry in self._batch)
        self._dead_kept = max(DEAD_ENTRIES_KEPT, self._dead + (len(self._fresh) + len(self._heap)) // 2)

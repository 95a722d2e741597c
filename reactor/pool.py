"""A few daemon threads for calls that block and cannot be made otherwise, such as name resolution.

Not for whatever a program likes to run beside the loop in the same pool: each use makes a pool of its own, by `System.pool`,
so that none can be held up by another. Threads are started when there is something to do, end by themselves when there is
nothing for a while, and never keep the process from ending.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

import attrs

from reactor.errors import PoolFull

Job: TypeAlias = Callable[[], None]

#: A thread without a job for this long ends.
IDLE_SECONDS = 10.0
#: How long, in all, `close` waits for threads that are at work. Those that are stuck are left to themselves.
CLOSE_SECONDS = 0.25


class Pool(Protocol):
    """Runs jobs outside the loop."""

    @property
    def queued(self) -> int:
        """How many jobs wait for a thread."""
        ...

    def submit(self, job: Job) -> None:
        """Have *job* run, after those that were submitted before. It shall not raise.

        Raises:
            PoolFull: the queue is full, or there is not one thread to be had.
        """
        ...

    def close(self) -> None:
        """Drop what waits, and let the threads end."""
        ...


@attrs.define(eq=False)
class ThreadPool:
    """The real pool. From one thread, the loop's; jobs run in the pool's own."""

    name: str
    threads_max: int
    queue_max: int
    idle_seconds: float = IDLE_SECONDS

    _jobs: deque[Job] = attrs.field(init=False, repr=False, factory=deque)
    _changed: threading.Condition = attrs.field(init=False, repr=False, factory=threading.Condition)
    _threads: set[threading.Thread] = attrs.field(init=False, repr=False, factory=set)
    _idle: int = attrs.field(init=False, repr=False, default=0)  # threads that wait for a job; under the lock, like all else
    _open: bool = attrs.field(init=False, repr=False, default=True)

    @property
    def queued(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    def submit(self, job: Job) -> None:
        """Have *job* run, after those that were submitted before; after `close`, never.

        Raises:
            PoolFull: the queue is full, or there is not one thread to be had.
        """
        with self._changed:
            if not self._open:
                return
            if len(self._jobs) >= self.queue_max:
                raise PoolFull(f"{len(self._jobs)} jobs wait for the {self.threads_max} threads of {self.name!r} already")
            if self._idle <= len(self._jobs) and len(self._threads) < self.threads_max:
                self._start_thread()
            self._jobs.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Drop what waits, and let the threads end. Waits a moment for them: not for one that is stuck in its job."""
        with self._changed:
            self._open = False
            self._jobs.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        give_up = time.monotonic() + CLOSE_SECONDS
        for thread in threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"reactor-{self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the process, or the machine, may have no more
            if not self._threads:
                raise PoolFull(f"no thread for {self.name!r}: {error}") from error
            return
        self._threads.add(thread)

    def _work(self) -> None:
        while (job := self._take()) is not None:
            try:
                job()
            except BaseException:
                # A bug of the one who wrote the job. It goes where that of any other thread goes.
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            del job  # it may hold on to a loop while the thread waits

    def _take(self) -> Job | None:
        """Return the next job, or None if this thread shall end, which is noted then."""
        with self._changed:
            self._idle += 1
            has_work = self._changed.wait_for(lambda: self._jobs or not self._open, self.idle_seconds)
            self._idle -= 1
            if has_work and self._jobs:
                return self._jobs.popleft()
            self._threads.discard(threading.current_thread())
            return None

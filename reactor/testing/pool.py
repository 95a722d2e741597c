"""A pool without threads: a job runs at a moment of virtual time, outside of every reactor, as the network does."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

from reactor.errors import PoolFull
from reactor.pool import Job

if TYPE_CHECKING:
    from reactor.testing.simulation import Host

#: What a job takes, unless the fault `slow_lookup` strikes.
JOB_SECONDS = 0.001


@attrs.define(eq=False)
class SimulatedPool:
    """What `Host.pool` returns."""

    _host: Host
    name: str
    threads_max: int
    queue_max: int
    _jobs: deque[Job] = attrs.field(factory=deque, init=False, repr=False)
    _running: int = attrs.field(default=0, init=False)
    _is_open: bool = attrs.field(default=True, init=False)

    @property
    def queued(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    def submit(self, job: Job) -> None:
        """Have *job* run, after those that were submitted before; after `close`, never.

        Raises:
            PoolFull: the queue is full.
        """
        if not self._is_open:
            return
        if self._running < self.threads_max:
            self._start(job)
        elif len(self._jobs) < self.queue_max:
            self._jobs.append(job)
        else:
            raise PoolFull(f"{len(self._jobs)} jobs wait for the {self.threads_max} threads of {self.name!r} already")

    def close(self) -> None:
        """Drop what waits."""
        self._is_open = False
        self._jobs.clear()

    def _start(self, job: Job) -> None:
        self._running += 1
        sim = self._host.sim
        slow = sim.dice_of.slow_lookup
        sim.after(slow.details().between(0.0, sim.faults.stall_seconds_max) if slow.roll() else JOB_SECONDS, self._run, job)

    def _run(self, job: Job) -> None:
        self._running -= 1
        if self._is_open:
            self._host.note("job", self.name)
            job()
            if self._jobs and self._running < self.threads_max:
                self._start(self._jobs.popleft())

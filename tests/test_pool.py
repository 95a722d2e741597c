"""Threads for calls that block: few of them, a bounded queue, and an end that never hangs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from reactor import PoolFull, System
from reactor import pool as module
from reactor.pool import ThreadPool
from tests.kit import PATIENCE


@attrs.define(eq=False)
class Gate:
    """A job that says that it has begun, and stays until it is let through."""

    begun: queue.SimpleQueue[threading.Thread] = attrs.field(factory=queue.SimpleQueue)
    open: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self) -> None:
        self.begun.put(threading.current_thread())
        assert self.open.wait(PATIENCE)

    def thread(self) -> threading.Thread:
        return self.begun.get(timeout=PATIENCE)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    made = ThreadPool("test", 2, 3)
    yield made
    made.close()


def test_jobs_run_in_daemon_threads_that_are_started_when_they_are_needed(pool: ThreadPool, gate: Gate) -> None:
    """Nothing is started for nothing, and what is started keeps no process from ending."""
    before = threading.active_count()
    pool.submit(gate)
    thread = gate.thread()
    assert thread is not threading.current_thread()
    assert thread.daemon
    assert thread.name == "reactor-test"
    assert threading.active_count() == before + 1
    gate.open.set()


def test_a_thread_that_is_free_is_used_again(pool: ThreadPool) -> None:
    """One job after the other needs one thread."""
    heard: queue.SimpleQueue[int] = queue.SimpleQueue()
    before = threading.active_count()
    for number in range(20):
        pool.submit(lambda number=number: heard.put(number))  # type: ignore[misc]
        assert heard.get(timeout=PATIENCE) == number
    assert threading.active_count() <= before + 2


def test_no_more_threads_and_no_longer_a_queue_than_allowed(pool: ThreadPool, gate: Gate) -> None:
    """Two run, three wait, the sixth is refused by name; then all five are done, in their order."""
    done: list[int] = []
    for _ in range(2):
        pool.submit(gate)
        gate.thread()
    for number in range(3):
        pool.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    assert pool.queued == 3
    with pytest.raises(PoolFull, match=r"3 jobs wait for the 2 threads of 'test'"):
        pool.submit(gate)
    gate.open.set()
    last = Gate()
    last.open.set()
    while True:
        try:
            pool.submit(last)
        except PoolFull:
            continue
        break
    last.thread()
    assert sorted(done) == [0, 1, 2]
    assert pool.queued == 0


def test_an_idle_thread_ends_by_itself(gate: Gate) -> None:
    """A pool that is not used holds no thread, and starts another one when it is used again."""
    pool = ThreadPool("test", 1, 1, idle_seconds=0.001)
    gate.open.set()
    for _ in range(2):
        pool.submit(gate)
        thread = gate.thread()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    pool.close()


def test_close_ends_idle_threads_and_drops_what_waits(pool: ThreadPool, gate: Gate) -> None:
    """After close nothing runs; what is submitted then is not heard of."""
    gate.open.set()
    pool.submit(gate)
    thread = gate.thread()
    pool.close()
    assert not thread.is_alive()
    pool.submit(gate)
    assert pool.queued == 0
    pool.close()


def test_close_leaves_a_stuck_thread_behind(pool: ThreadPool, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that never comes back holds nobody up; its queue is dropped."""
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.001)
    late: list[None] = []
    pool.submit(gate)
    pool.submit(gate)
    threads = [gate.thread(), gate.thread()]
    pool.submit(lambda: late.append(None))
    pool.close()
    assert all(thread.is_alive() for thread in threads)
    gate.open.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not late


def test_a_job_that_raises_is_told_of_and_hurts_no_other(pool: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a job raises goes where it goes for other threads, and the thread goes on."""
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", told.put)
    pool.submit(lambda: dict[str, None]().pop("nothing"))
    assert told.get(timeout=PATIENCE).exc_type is KeyError
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    pool.submit(lambda: heard.put("still there"))
    assert heard.get(timeout=PATIENCE) == "still there"


def test_a_machine_without_threads_is_told_of(pool: ThreadPool, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread at all is an error; one less than wished for is not."""

    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(PoolFull, match="no thread for 'test': can't start"):
            pool.submit(gate)
    pool.submit(gate)
    gate.thread()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        pool.submit(gate)
        assert pool.queued == 1
    gate.open.set()
    gate.thread()


def test_the_system_makes_pools() -> None:
    """Each call gives a pool of its own."""
    system = System()
    one, other = system.pool("one", threads=1, queue=1), system.pool("other", threads=1, queue=1)
    assert isinstance(one, ThreadPool)
    assert one is not other

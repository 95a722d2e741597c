"""The waker: from a thread, from a signal, with a full pipe."""

from __future__ import annotations

import signal
import socket
import threading

import pytest

from reactor import CloseReason, Reactor
from tests.kit import PATIENCE, Watched, fill


@pytest.mark.kernel("threads beside the loop")
def test_a_call_from_a_thread_ends_the_wait(reactor: Watched) -> None:
    """A loop that waits for nothing else hears a call from another thread."""
    heard: list[int] = []

    def call() -> None:
        reactor.call_threadsafe(heard.append, threading.get_ident())
        reactor.call_threadsafe(reactor.stop)

    thread = threading.Thread(target=call)
    thread.start()
    reactor.run(forever=True)
    thread.join()

    assert heard == [thread.ident]


def test_rings_in_between_are_one(reactor: Watched) -> None:
    """Many calls before the loop wakes write one byte, and all are made, in order."""
    made: list[int] = []
    for number in range(1000):
        reactor.call_threadsafe(made.append, number)
    reactor.turn(2)

    assert made == list(range(1000))
    assert reactor.stats().wakeups == 1


def test_a_full_pipe_is_a_wake_up(reactor: Watched) -> None:
    """When not one byte more goes into the pipe, waking neither fails nor blocks, and the loop wakes."""
    fill(reactor._waker._writer)
    made: list[str] = []
    reactor.call_threadsafe(made.append, "call")
    reactor.turn(2)
    assert made == ["call"]
    reactor.call_threadsafe(made.append, "again")
    reactor.turn(2)
    assert made == ["call", "again"]


@pytest.mark.kernel("threads beside the loop")
def test_no_wake_up_is_lost(reactor: Watched) -> None:
    """Thousands of calls from four threads, against a loop that falls asleep after each, are all made."""
    calls, threads = 2000, 4
    made: list[int] = []

    def call() -> None:
        for number in range(calls):
            reactor.call_threadsafe(made.append, number)

    workers = [threading.Thread(target=call) for _ in range(threads)]
    for worker in workers:
        worker.start()
    reactor.call_later(PATIENCE, reactor.stop)
    while len(made) < calls * threads:
        assert reactor.run_once(PATIENCE), "slept through a call"
    for worker in workers:
        worker.join()

    assert sorted(made) == sorted(list(range(calls)) * threads)


def test_waking_a_closed_loop_is_harmless() -> None:
    """A thread that is a moment late gets no error out of the pipe."""
    reactor = Reactor()
    waker = reactor._waker
    reactor.close()
    waker.wake()
    waker.on_close(CloseReason)  # type: ignore[arg-type]  # a handler's hook that does nothing


def test_signal_bytes_are_passed_on_to_the_previous_doorbell(reactor: Watched) -> None:
    """Whoever had the wake-up descriptor before still hears of each signal."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno())
        try:
            reactor._waker._writer.send(b"\x0a\0\x0f")
            reactor.turn()
            assert reader.recv(10) == b"\x0a\x0f"
            fill(writer)
            reactor._waker._writer.send(b"\x0a")
            reactor.turn()
        finally:
            assert signal.set_wakeup_fd(before) == writer.fileno()


def test_readiness_without_a_byte_is_no_error(reactor: Watched) -> None:
    """The pipe may be empty although it was reported."""
    reactor._waker.on_readable()

"""The watchdog speaks while a hook blocks the loop, once for each stall, and ends with its block."""

from __future__ import annotations

import logging
import threading

import pytest

from reactor import DelayError, Reactor, UsageError, Watchdog
from reactor.watchdog import Stall
from tests.kit import PATIENCE, Watched

LIMIT = 0.02


def hold_up(released: threading.Event) -> None:
    """A hook that blocks."""
    assert released.wait(PATIENCE)


def test_a_stall_is_told_of_while_it_lasts(reactor: Watched) -> None:
    """With the stack of the loop's thread, in which the hook stands; and only once."""
    stalls: list[Stall] = []
    released, looked = threading.Event(), threading.Event()

    def on_stall(stall: Stall) -> None:
        stalls.append(stall)
        threading.Timer(4 * LIMIT, released.set).start()  # some more looks, at the same stall
        looked.set()

    with Watchdog(reactor, LIMIT, on_stall) as watchdog:
        reactor.call_soon(hold_up, released)
        reactor.turn()
        assert looked.is_set()
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()
    assert watchdog.stalls == len(stalls) == 1
    assert stalls[0].seconds >= LIMIT
    assert "in hold_up" in stalls[0].stack


def test_every_stall_is_told_of(reactor: Watched) -> None:
    """A new pass is a new stall."""
    released = threading.Event()

    def hold_up_again() -> None:
        released.clear()
        hold_up(released)

    with Watchdog(reactor, LIMIT, lambda _: released.set()) as watchdog:
        for _ in range(3):
            reactor.call_soon(hold_up_again)
            reactor.turn()
    assert watchdog.stalls == 3


def test_a_loop_that_waits_is_not_stalled() -> None:
    """Neither is one that does not run, nor one that runs in another thread and has nothing to do."""
    stalls: list[Stall] = []  # on a busy machine there may be some, but none in the poll
    with Reactor() as reactor, Watchdog(reactor, LIMIT, stalls.append):
        seen = threading.Event()

        def enough() -> None:
            seen.set()
            reactor.stop()

        thread = threading.Thread(target=reactor.run, kwargs={"forever": True})
        thread.start()
        threading.Timer(8 * LIMIT, reactor.call_threadsafe, (enough,)).start()
        thread.join(PATIENCE)
        assert seen.is_set()
        assert not any("in wait" in stall.stack for stall in stalls)
        for each in threading.enumerate():
            if isinstance(each, threading.Timer):
                each.join()


def test_the_default_logs(reactor: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """On the logger "reactor.slow", with the stack."""
    released = threading.Event()

    class Releasing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())
            released.set()

    messages: list[str] = []
    listener = Releasing()
    logging.getLogger("reactor.slow").addHandler(listener)
    with Watchdog(reactor, LIMIT):
        reactor.call_soon(hold_up, released)
        reactor.turn()
    logging.getLogger("reactor.slow").removeHandler(listener)
    assert "and still is:" in messages[0]
    assert "in hold_up" in messages[0]


def test_what_on_stall_raises_is_logged(reactor: Watched, logs: list[str]) -> None:
    """And the watchdog goes on."""
    released = threading.Event()

    def fail(stall: Stall) -> None:
        released.set()
        raise ValueError("here")

    with Watchdog(reactor, LIMIT, fail) as watchdog:
        for _ in range(2):
            released.clear()
            reactor.call_soon(hold_up, released)
            reactor.turn()
    assert watchdog.stalls == 2
    assert all("on_stall raised" in told for told in logs)
    logs.clear()


def test_it_may_be_stopped_from_on_stall(reactor: Watched) -> None:
    """And started and stopped again and again."""
    released = threading.Event()

    def on_stall(stall: Stall) -> None:
        watchdog.stop()
        released.set()

    watchdog = Watchdog(reactor, LIMIT, on_stall)
    watchdog.start().start()
    mine = next(thread for thread in threading.enumerate() if thread.name == "reactor watchdog")
    reactor.call_soon(hold_up, released)
    reactor.turn()
    mine.join(PATIENCE)
    watchdog.stop()
    assert watchdog.stalls == 1
    with watchdog:
        pass


def test_a_limit_is_a_number_above_0(reactor: Watched) -> None:
    """Others are refused."""
    with pytest.raises(UsageError):
        Watchdog(reactor, 0)
    with pytest.raises(DelayError):
        Watchdog(reactor, float("inf"))

"""A reactor in a thread of its own: calls into it, its end, and the interpreter's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, NoReturn

import attrs
import pytest

from reactor import CloseReason, Hosted, Limits, Reactor, ReactorClosed, Stream, WrongThread, hosted
from tests.forks import in_child
from tests.kit import PATIENCE, SELECTORS, Watched, tcp_pair, unix_pair


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


@pytest.mark.parametrize("kind", SELECTORS, ids=lambda kind: kind.__name__)
def test_within_the_block_the_reactor_runs(kind: Callable[[], Any]) -> None:
    """It serves while this thread does something else; afterwards it is closed, and its thread has ended."""
    with hosted(Watched(selector=kind()), name="server") as host:
        assert isinstance(host, Hosted)
        assert host.reactor.is_running
        thread = host.call(threading.current_thread)
        assert (thread.name, thread.daemon) == ("server", True)
        here, there = unix_pair()
        host.call(host.reactor.attach, Echo(), here)
        there.sendall(b"hello")
        assert there.recv(100) == b"hello"
    assert there.recv(100) == b""
    there.close()
    assert host.reactor.is_closed
    assert not thread.is_alive()


def test_a_call_returns_and_raises_what_the_function_does() -> None:
    """The caller gets the result or the exception; the reactor hears of neither, and goes on, whatever was raised."""
    with hosted() as host:
        assert host.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(ValueError, match="invalid literal"):
            host.call(int, "x")
        with pytest.raises(SystemExit):
            host.call(sys.exit, 3)
        with pytest.raises(CancelledError):
            host.call(_raise, CancelledError())
        assert host.call(host.call, host.call, int) == 0
        with pytest.raises(WrongThread):
            host.reactor.call_soon(print)
        assert host.reactor.stats().errors == 0


def _raise(error: BaseException) -> NoReturn:
    raise error


def test_a_call_that_takes_too_long() -> None:
    """The caller is let go; a call that had not begun is not made."""
    gate = threading.Event()
    made: list[None] = []
    with hosted() as host:
        host.reactor.call_threadsafe(gate.wait, PATIENCE)
        with pytest.raises(TimeoutError):
            host.call(made.append, None, timeout=0.001)
        gate.set()
        host.call(int)
        assert made == []


def test_calls_are_for_the_time_in_which_it_runs() -> None:
    """Before the block and after it, a call raises ReactorClosed."""
    host = hosted()
    with pytest.raises(ReactorClosed, match="does not run"):
        host.call(int)
    with host:
        pass
    with pytest.raises(ReactorClosed, match="does not run"):
        host.call(int)
    host.stop()
    with pytest.raises(ReactorClosed):
        host.start()


def test_a_call_that_the_end_overtakes() -> None:
    """Who waits for a call that is never made is told so."""
    host = hosted().start()
    begun, gate = threading.Event(), threading.Event()
    told: list[Exception] = []

    def block() -> None:
        begun.set()
        gate.wait(PATIENCE)
        host.reactor.stop()

    def ask() -> None:
        try:
            host.call(int)
        except ReactorClosed as error:
            told.append(error)

    host.reactor.call_threadsafe(block)
    assert begun.wait(PATIENCE)
    thread = threading.Thread(target=ask)
    thread.start()
    while host.reactor.stats().calls_queued < 1:
        gate.wait(0.001)
    gate.set()  # the pass ends, and there is no other
    thread.join(PATIENCE)
    host.stop()
    assert not thread.is_alive()
    assert [str(error) for error in told] == ["the reactor was stopped before it came to this call"]


def test_a_reactor_that_is_not_started_is_closed() -> None:
    """`stop` without `start` closes it here."""
    host = hosted()
    host.stop()
    assert host.reactor.is_closed


def test_stop_with_a_grace_lets_handlers_finish() -> None:
    """A shutdown comes first; who has something to send sends it."""

    @attrs.define(eq=False)
    class Polite(Stream):
        default_limits = Limits(linger=0.01)

        def on_shutdown(self, grace: float) -> None:
            self.write(b"goodbye")
            self.close()

        def on_close(self, reason: CloseReason) -> None:
            closed.append(threading.current_thread())

    closed: list[threading.Thread] = []
    here, there = tcp_pair()
    with hosted() as host:
        host.call(host.reactor.attach, Polite(), here)
        thread = host.call(threading.current_thread)
        host.stop(grace=PATIENCE)
        host.stop()
    assert there.recv(100) == b"goodbye"
    there.close()
    assert closed == [thread]


def test_stop_in_its_own_thread_is_a_request() -> None:
    """A hook that stops its host waits for nobody."""
    with hosted() as host:
        host.call(host.stop)
    assert host.reactor.is_closed


def test_what_leaves_run_is_raised_by_stop() -> None:
    """A hook's SystemExit ends the thread's run, and is raised where somebody can do something about it, once."""

    def leave() -> NoReturn:
        raise SystemExit(7)

    host = hosted().start()
    host.reactor.call_threadsafe(leave)
    with pytest.raises(SystemExit) as caught:
        host.stop(grace=0)
    assert caught.value.code == 7
    host.stop()


def test_what_leaves_run_at_once_is_raised_by_start() -> None:
    """Who could not begin to run says so."""

    class Broken(Reactor):
        def run(self, *, forever: bool = False) -> None:
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        hosted(Broken()).start()


def test_an_entered_block_starts_nothing_twice() -> None:
    """A host that has been started may be used as a context manager."""
    host = hosted().start()
    thread = host.call(threading.current_thread)
    with host as same:
        assert same is host
        assert host.call(threading.current_thread) is thread


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_child_has_no_such_thread() -> None:
    """There, `stop` closes descriptors and waits for nobody; a call is refused."""
    with hosted() as host:
        here, there = unix_pair()
        host.call(host.reactor.attach, Echo(), here)

        def body() -> None:
            host._end()
            host.stop()
            assert here.fileno() == -1

        with pytest.warns() if hasattr(os, "process_cpu_count") else contextlib.nullcontext():
            in_child(body)
        there.sendall(b"hello")
        assert there.recv(100) == b"hello"
    there.close()


PROGRAM = """
import threading
from reactor import Handler, hosted, Stream
import attrs

@attrs.define(eq=False)
class Teller(Stream):
    def on_close(self, reason):
        print("closed in", threading.current_thread().name, reason.kind.name, flush=True)

host = hosted().start()
import socket
here, there = socket.socketpair()
host.call(host.reactor.attach, Teller(), here)
host.reactor.call_threadsafe(host.reactor.call_every, 0.0001, int)
{end}
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "host.stop(); there.close()", "del host"])
def test_trap_50_the_interpreter_may_end_while_it_runs(end: str) -> None:
    """Whoever forgets to stop it loses nothing: handlers are told, in its thread, before anything of Python's is gone."""
    process = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore::ResourceWarning", "-c", PROGRAM.format(end=end)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (process.stderr, process.returncode) == ("", 0)
    assert process.stdout == "closed in reactor SHUTDOWN\n"


def test_trap_50_a_hook_that_does_not_return_holds_the_end_up_for_a_moment_only() -> None:
    """The interpreter waits a bounded time, and then ends without it."""
    program = """
import threading, reactor.hosting
reactor.hosting.EXIT_SECONDS = 0.01
host = reactor.hosting.hosted().start()
begun = threading.Event()
host.reactor.call_threadsafe(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (process.stderr, process.returncode) == ("", 0)

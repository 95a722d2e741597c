"""A reactor in a thread, one that keeps its errors, and what a test has left behind."""

from __future__ import annotations

import os
import socket
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack

import attrs
import pytest

from reactor import AddressInUse, Handler, Reactor, ReactorError, Stream, UsageError
from reactor.testing import ReactorThread, WatchedReactor
from reactor.testing.leaks import Inventory
from tests.kit import PATIENCE, read_all, unix_pair


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


def raising(error: BaseException) -> Callable[[], Handler]:
    """Return a class whose connections raise *error*."""

    class Raising(Stream):
        def on_connect(self) -> None:
            raise error

    return Raising


def talk(port: int, data: bytes = b"hello") -> bytes:
    """Send *data* to a port of loopback, and return what comes back."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)
    except OSError:
        return b"reset"


def test_listeners_are_bound_when_it_is_entered() -> None:
    """A blocking client needs no second try; more listeners can come later."""
    with ReactorThread(Echo) as thread:
        assert talk(thread.port) == b"hello"
        assert talk(thread.listen(Echo).port, b"more") == b"more"
    assert thread.reactor.is_closed


def test_what_cannot_be_listened_to_raises_on_entry() -> None:
    """Nothing is left when the address is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AddressInUse):
        ReactorThread(Echo, ("127.0.0.1", taken.getsockname()[1])).__enter__()


def test_calls_come_back() -> None:
    """A call into the thread returns what it returns there, or raises it; without a listener there is no port."""
    with ReactorThread() as thread:
        assert thread.call(threading.current_thread) is not threading.current_thread()
        with pytest.raises(ZeroDivisionError):
            thread.call(divmod, 1, 0)
        with pytest.raises(UsageError, match="nothing is listened to"):
            assert thread.port
    with pytest.raises(ReactorError):
        thread.call(threading.current_thread)


def test_errors_are_handed_back() -> None:
    """What a hook raises in the thread is raised at the end of the block."""
    with pytest.raises(LookupError) as caught, ReactorThread(raising(LookupError("here"))) as thread:
        talk(thread.port)
    assert caught.value.__notes__ == ["raised in on_connect of Raising"]


def test_several_errors_are_handed_back_as_a_group() -> None:
    """None of them is lost."""

    def twice(thread: ReactorThread) -> None:
        talk(thread.port)
        thread.reactor.call_threadsafe(divmod, 1, 0)
        thread.call(threading.current_thread)  # behind it

    with pytest.raises(BaseExceptionGroup) as caught, ReactorThread(raising(LookupError("here"))) as thread:
        twice(thread)
    kinds = [type(error) for error in caught.value.exceptions]
    assert sorted(kinds, key=str) == [LookupError, ZeroDivisionError]


def test_an_error_of_the_block_comes_first() -> None:
    """What a hook has raised does not hide what the test itself found."""
    with pytest.raises(KeyError), ReactorThread(raising(LookupError("here"))) as thread:
        os.environ[talk(thread.port).decode()]


def test_an_exit_in_a_hook_is_handed_back() -> None:
    """What leaves `run` in the thread is raised at the end of the block."""
    with pytest.raises(SystemExit, match="3"), ReactorThread(raising(SystemExit(3))) as thread:
        talk(thread.port)


def test_expected_errors_are_taken_out() -> None:
    """A test that expects an error looks at it and takes it out."""
    with ReactorThread(raising(LookupError("here"))) as thread:
        talk(thread.port)
        assert thread.call(lambda: [str(context.exc) for context in thread.reactor.errors]) == ["here"]
        thread.reactor.errors.clear()


def test_a_hook_that_does_not_return_is_told_of() -> None:
    """The end of the block does not wait for ever for a hook that blocks."""
    entered, release = threading.Event(), threading.Event()
    thread = ReactorThread(patience=0.01)

    def block() -> None:
        entered.set()
        release.wait(PATIENCE)

    def enter() -> None:
        thread.reactor.call_threadsafe(block)
        entered.wait(PATIENCE)

    others = set(threading.enumerate())

    def join() -> None:
        for each in set(threading.enumerate()) - others:
            each.join()

    with ExitStack() as then:
        then.callback(lambda: thread.reactor.close())  # noqa: PLW0108  # made later
        then.callback(join)
        then.callback(release.set)
        with pytest.raises(TimeoutError, match="a hook has not returned"), thread:
            enter()


def test_a_watched_reactor_keeps_errors() -> None:
    """Nothing is logged; what was raised is there, and is raised once when asked for."""
    with WatchedReactor() as reactor:
        reactor.call_soon(divmod, 1, 0)
        reactor.run_once(0)
        with pytest.raises(ZeroDivisionError) as caught:
            reactor.check_errors()
        reactor.check_errors()
    assert caught.value.__notes__ == ["raised in call"]


def test_nothing_is_left() -> None:
    """What was there before, and what has been closed, does not count."""
    with Reactor() as reactor:
        reactor.call_later(1000, print)
        before = Inventory.take()
        with Reactor() as other:
            other.call_later(1000, print)
        talked = socket.socket()
        talked.close()
        assert before.left_since() == []


def test_everything_that_is_left_is_named() -> None:
    """Descriptors, threads, reactors, and handlers and timers of reactors that were there before."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="sleeper")
    here, there = unix_pair()
    with Reactor() as reactor, here, there:
        before = Inventory.take()
        reactor.attach(Echo(), here)
        reactor.call_later(1000, print)
        thread.start()
        with socket.socket(), Reactor():
            left = "\n".join(before.left_since())
        release.set()
        thread.join()
    for said in (
        "descriptor ",
        "thread sleeper",
        "a reactor that was not closed: Reactor on ",
        "handler <Echo fd=",
        "timer of <",
    ):
        assert said in left


def test_garbage_is_no_leak() -> None:
    """A descriptor that nobody holds any more is collected before it is complained about."""
    before = Inventory.take()

    class Ring:
        def __init__(self) -> None:
            self.own, self.sock = self, open("/dev/null", "rb", buffering=0)  # noqa: SIM115

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        Ring()
        assert before.left_since() == []


def test_platforms_that_list_no_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where descriptors cannot be listed, the rest is compared all the same."""
    monkeypatch.setattr("reactor.testing.leaks._DESCRIPTORS", "/nowhere")
    before = Inventory.take()
    with socket.socket():
        assert before.left_since() == []

"""One non-blocking attempt: every way it can end."""

from __future__ import annotations

import errno
import pathlib
import socket

import attrs
import pytest

from reactor import READ, AddressError, CloseKind, ConnectOptions, Connector, DelayError, HandlerReused, UsageError
from reactor import connector as module
from reactor.line import RETRY_SECONDS_MAX
from tests.kit import Clock, Fault, Refusing, Watched, faults, listening


@attrs.define(eq=False)
class Noting(Connector):
    """Remembers how it ended."""

    sock_got: socket.socket | None = attrs.field(init=False, default=None)
    failed: list[Exception] = attrs.field(init=False, factory=list)

    def on_connect(self, sock: socket.socket) -> None:
        assert self.sock_got is None
        self.sock_got = sock

    def on_failed(self, exc: Exception) -> None:
        self.failed.append(exc)

    @property
    def is_done(self) -> bool:
        return self.sock_got is not None or bool(self.failed)

    def forget(self) -> None:
        if self.sock_got is not None:
            self.sock_got.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_it_connects(reactor: Watched, family: int) -> None:
    """on_connect comes once, from the loop, with an open non-blocking socket; the connector is over."""
    with listening(family=family) as listener:
        connector = Noting(listener.getsockname()).start(reactor)
        assert not connector.is_done
        reactor.until(lambda: connector.is_done)
        sock = connector.sock_got
        assert sock is not None
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() == 0
        assert not connector.failed
        assert not reactor.handlers
        connector.forget()


def test_the_default_hooks_close_what_they_get(reactor: Watched) -> None:
    """A connector whose hooks are not overridden leaves nothing open."""
    with listening() as listener:
        Connector(listener.getsockname()).start(reactor)
        reactor.run()
        address = listener.getsockname()
    Connector(address).start(reactor)
    reactor.run()


def test_it_is_refused(reactor: Watched) -> None:
    """on_failed comes once, with the kernel's error; the socket is closed."""
    with listening() as listener:
        address = listener.getsockname()
    connector = Noting(address).start(reactor)
    reactor.run()

    (error,) = connector.failed
    assert isinstance(error, ConnectionRefusedError)
    assert connector.sock.fileno() == -1


def test_failure_is_noticed_on_any_event(reactor: Watched) -> None:
    """A selector that reports a failed connect as readable only is understood, too."""
    with listening() as listener:
        address = listener.getsockname()
    connector = Noting(address).start(reactor)
    connector.on_readable()
    reactor.run()
    assert len(connector.failed) == 1


def test_at_most_one_connect_call_is_made(faulty: Watched) -> None:
    """Completion is never asked for by connecting again, which would consume the error."""
    with listening() as listener:
        address = listener.getsockname()
    connector = Noting(address).start(faulty)
    faulty.run()
    assert isinstance(faulty.system, Fault)
    assert (faulty.system.calls["connect_ex"], faulty.system.calls["getsockopt"]) == (1, 1)
    assert connector.failed


def test_an_immediate_connection_is_told_from_the_loop(reactor: Watched, tmp_path: pathlib.Path) -> None:
    """A Unix socket is connected when connect returns; on_connect comes later all the same."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        connector = Noting(tmp_path / "s").start(reactor)
        assert not connector.is_done
        reactor.run()
        assert connector.sock_got is not None
        connector.forget()


def test_a_socket_that_is_not_connecting_is_not_registered(reactor: Watched, tmp_path: pathlib.Path) -> None:
    """Before connect says "in progress", the kernel would report it ready for nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        connector = Noting(tmp_path / "s").start(reactor)
        assert connector.interest == 0
        connector.cancel()


def full_unix_listener(path: pathlib.Path) -> tuple[socket.socket, list[socket.socket]]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    fillers = []
    while True:
        filler = socket.socket(socket.AF_UNIX)
        filler.setblocking(False)
        fillers.append(filler)
        if filler.connect_ex(str(path)):
            return listener, fillers


def test_a_full_unix_backlog_is_retried(reactor: Watched, tmp_path: pathlib.Path) -> None:
    """EAGAIN has started nothing: the connector tries again until somebody accepts, and is not connected before."""
    listener, fillers = full_unix_listener(tmp_path / "s")
    connector = Noting(tmp_path / "s").start(reactor)
    reactor.run_until(lambda: connector.is_done, timeout=0.05)
    assert not connector.is_done
    assert "RETRYING" in reactor.dump()
    for _ in fillers[:-1]:
        listener.accept()[0].close()
    reactor.until(lambda: connector.is_done)
    assert connector.sock_got is not None
    assert connector.sock_got.getpeername() == str(tmp_path / "s")
    connector.forget()
    for each in (listener, *fillers):
        each.close()


def test_a_full_unix_backlog_ends_with_the_timeout(tmp_path: pathlib.Path) -> None:
    """The retries are 1, 2, 4 … 50 ms apart, and stop at the deadline."""
    listener, fillers = full_unix_listener(tmp_path / "s")
    with Watched(system=Clock(), debug=True) as reactor:
        begin = reactor.time()
        connector = Noting(tmp_path / "s", timeout=2).start(reactor)
        passes = reactor.passes
        reactor.run()
        (error,) = connector.failed
        assert isinstance(error, TimeoutError)
        assert reactor.time() == begin + 2
        assert reactor.passes - passes < 6 + 2 / RETRY_SECONDS_MAX + 5
        assert not reactor.timers.waiting
    for each in (listener, *fillers):
        each.close()


def test_nobody_answers(faulty: Watched) -> None:
    """The timeout is an error with its seconds; on_failed comes once, and no timer is left."""
    faults(faulty, connect_ex=[errno.EALREADY])
    with listening() as listener:
        connector = Noting(listener.getsockname(), timeout=0).start(faulty)
        faulty.run()
    (error,) = connector.failed
    assert isinstance(error, TimeoutError)
    assert "no answer within 0 s" in str(error)
    assert connector.reason is not None
    assert connector.reason.kind is CloseKind.TIMEOUT


def test_the_timeout_goes_with_success(reactor: Watched) -> None:
    """A connector that is over leaves no timer behind."""
    with listening() as listener:
        connector = Noting(listener.getsockname(), timeout=60).start(reactor)
        reactor.run()
        assert len(reactor.timers) == 0
        connector.forget()


def test_a_spurious_event_is_no_connection(faulty: Watched) -> None:
    """SO_ERROR 0 and getpeername ENOTCONN: not connected yet, keep waiting."""
    with listening() as listener:
        faults(faulty, getpeername=[errno.ENOTCONN])
        connector = Noting(listener.getsockname()).start(faulty)
        connector.on_writable()
        assert not connector.is_done
        faulty.until(lambda: connector.is_done)
        assert connector.sock_got is not None
        connector.forget()


@pytest.mark.parametrize("call", ["getsockopt", "getpeername"])
def test_a_failure_inside_the_check_ends_the_attempt(faulty: Watched, call: str) -> None:
    """Whatever goes wrong while finding out, on_failed is called."""
    with listening() as listener:
        connector = Noting(listener.getsockname()).start(faulty)
        failing: dict[str, list[int | BaseException]] = {"getpeername": [errno.ENOTCONN], call: [errno.EBADF]}
        faults(faulty, **failing)
        faulty.run()
    (error,) = connector.failed
    assert isinstance(error, OSError)
    assert error.errno == errno.EBADF


def test_no_descriptor_is_told_from_the_loop(faulty: Watched) -> None:
    """When not even a socket can be made, on_failed says so, later."""
    faults(faulty, socket=[errno.EMFILE])
    connector = Noting("127.0.0.1:1").start(faulty)
    assert not connector.is_done
    faulty.run()
    assert isinstance(connector.failed[0], OSError)
    assert connector.failed[0].errno == errno.EMFILE


def test_a_socket_that_the_system_cannot_have_is_told_from_the_loop(
    reactor: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A given socket that its system refuses fails the attempt and is closed."""

    def refuse(sock: socket.socket) -> socket.socket:
        raise UsageError("a stranger")

    monkeypatch.setattr(reactor.system, "adopt", refuse)
    sock = socket.socket()
    connector = Noting("127.0.0.1:1", given=sock).start(reactor)
    assert not connector.is_done
    reactor.run()
    assert "a stranger" in str(connector.failed[0])
    assert sock.fileno() == -1


def test_a_path_that_is_too_long_is_told(reactor: Watched) -> None:
    """What the kernel's address cannot hold fails the attempt."""
    connector = Noting(f"unix:/{'x' * 300}").start(reactor)
    reactor.run()
    assert "too long" in str(connector.failed[0])


def test_an_error_at_once_is_told_from_the_loop(faulty: Watched) -> None:
    """connect may fail on the spot; on_failed does not come from inside start."""
    faults(faulty, connect_ex=[errno.ENETUNREACH])
    connector = Noting("127.0.0.1:1").start(faulty)
    assert not connector.is_done
    faulty.run()
    assert isinstance(connector.failed[0], OSError)
    assert connector.failed[0].errno == errno.ENETUNREACH


@pytest.mark.parametrize("again", [1, 5])
def test_a_socket_connected_to_itself_is_thrown_away(faulty: Watched, again: int) -> None:
    """Self-connect is retried with another port; when it happens too often, nobody listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    made: list[socket.socket] = []
    real = faulty.system.socket

    def bound(family: int) -> socket.socket:
        sock = real(family)
        if len(made) < again:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)  # connecting to one's own address is the simultaneous open
        made.append(sock)
        return sock

    faulty.system.socket = bound  # type: ignore[method-assign]
    connector = Noting(address).start(faulty)
    faulty.run()

    (error,) = connector.failed
    assert isinstance(error, ConnectionRefusedError)
    assert len(made) == (2 if again == 1 else module.SELF_CONNECTS_MAX + 1)
    assert all(sock.fileno() == -1 for sock in made)


def test_no_descriptor_for_the_second_try(faulty: Watched) -> None:
    """If there is no socket to try again with, that is the error."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    real = faulty.system.socket

    def bound(family: int) -> socket.socket:
        sock = real(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        faults(faulty, socket=[errno.EMFILE])
        return sock

    faulty.system.socket = bound  # type: ignore[method-assign]
    connector = Noting(address).start(faulty)
    faulty.run()
    assert isinstance(connector.failed[0], OSError)
    assert connector.failed[0].errno == errno.EMFILE


def test_a_reset_during_the_self_connect_check_is_left_to_the_user(faulty: Watched) -> None:
    """If the names cannot be had any more, the socket is handed over: its user will hear of it."""
    with listening() as listener:
        connector = Noting(listener.getsockname()).start(faulty)
        faults(faulty, getsockname=[errno.EINVAL])
        faulty.run()
        assert connector.sock_got is not None
        connector.forget()


def test_cancel_is_silent_and_final(reactor: Watched) -> None:
    """After cancel nothing is called and nothing is open; twice is allowed; after success it is a no-op."""
    with listening() as listener:
        connector = Noting(listener.getsockname(), timeout=60).start(reactor)
        sock = connector.sock
        assert connector.cancel()
        assert sock.fileno() == -1
        assert not connector.cancel()
        reactor.run()
        assert not connector.is_done
        assert len(reactor.timers) == 0

        other = Noting(listener.getsockname()).start(reactor)
        reactor.run()
        assert not other.cancel()
        assert other.sock_got is not None
        assert other.sock_got.fileno() >= 0
        other.forget()


def test_a_hook_that_raises_leaks_nothing(reactor: Watched) -> None:
    """If on_connect raises, its socket is closed by RST and the error is told."""

    @attrs.define(eq=False)
    class Raising(Connector):
        def on_connect(self, sock: socket.socket) -> None:
            raise ValueError("here")

    with listening() as listener:
        Raising(listener.getsockname()).start(reactor)
        reactor.run()
        there, _ = listener.accept()
        with there, pytest.raises(ConnectionResetError):
            there.recv(1)
    assert [str(context.exc) for context in reactor.raised] == ["here"]
    reactor.raised.clear()


def test_a_connector_is_used_once(reactor: Watched) -> None:
    """A second start is refused."""
    with listening() as listener:
        connector = Noting(listener.getsockname()).start(reactor)
        with pytest.raises(HandlerReused):
            connector.start(reactor)
        connector.cancel()


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.1:0", ":80", "nonsense"])
def test_only_numeric_addresses(address: str) -> None:
    """Names, port 0 and what does not parse are refused when it is made."""
    with pytest.raises(AddressError):
        Connector(address)


def test_timeouts_are_checked() -> None:
    """A timeout is a finite number."""
    with pytest.raises(DelayError):
        Connector("127.0.0.1:1", timeout=float("nan"))


def test_reactor_close_gives_up(reactor: Watched) -> None:
    """A connector under way when the reactor is closed is closed, silently."""
    with listening() as listener:
        connector = Noting(listener.getsockname()).start(reactor)
        reactor.close()
        assert not connector.is_done
        assert connector.reason is not None
        assert connector.reason.kind is CloseKind.SHUTDOWN


def test_it_shows_in_the_dump(reactor: Watched) -> None:
    """What hangs can be found: where to, and in which state."""
    with listening() as listener:
        connector = Noting(listener.getsockname()).start(reactor)
        assert f"connects to 127.0.0.1:{listener.getsockname()[1]}, WAITING" in reactor.dump()
        connector.cancel()


def test_options_are_set_before_it_connects(reactor: Watched) -> None:
    """The socket that is handed over comes from the address that was asked for."""
    with listening() as listener:
        connector = Noting(listener.getsockname(), options=ConnectOptions(local="127.0.0.2")).start(reactor)
        reactor.run()
        assert connector.sock_got is not None
        assert connector.sock_got.getsockname()[0] == "127.0.0.2"
        connector.forget()


def test_options_that_cannot_be_set_end_the_attempt(reactor: Watched) -> None:
    """on_failed comes, from the loop, and nothing is left open."""
    connector = Noting("127.0.0.1:1", options=ConnectOptions(local="192.0.2.254")).start(reactor)
    assert not connector.is_done
    reactor.run()
    assert "cannot connect from 192.0.2.254" in str(connector.failed[0])


def test_a_given_socket_is_used(reactor: Watched) -> None:
    """It becomes the connection, or is closed."""
    with listening() as listener:
        sock = socket.socket()
        connector = Noting(listener.getsockname(), given=sock).start(reactor)
        reactor.run()
        assert connector.sock_got is sock
        assert sock.gettimeout() == 0
        connector.forget()
        address = listener.getsockname()
    sock = socket.socket()
    Noting(address, given=sock).start(reactor)
    reactor.run()
    assert sock.fileno() == -1


def test_a_given_socket_that_meets_itself_is_refused(reactor: Watched) -> None:
    """There is no other one to try again with."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    connector = Noting(sock.getsockname(), given=sock).start(reactor)
    reactor.run()
    assert isinstance(connector.failed[0], ConnectionRefusedError)
    assert sock.fileno() == -1


def test_a_selector_that_refuses_ends_the_attempt() -> None:
    """A socket that cannot be watched cannot be waited for."""
    selector = Refusing(OSError(errno.ENOSPC, "No space left on device"))
    with listening() as listener, Watched(selector=selector, debug=True) as reactor:
        selector.left = 0
        connector = Noting(listener.getsockname()).start(reactor)
        reactor.run()
        assert "No space left" in str(connector.failed[0])


def test_a_handler_with_an_interest_before_it_connects_is_refused_by_the_selector() -> None:
    """A subclass that wants to be told before there is anything to tell is registered at once, or fails."""

    @attrs.define(eq=False)
    class Eager(Noting):
        @property
        def interest(self) -> int:
            return READ

    selector = Refusing(ValueError("full"))
    with listening() as listener, Watched(selector=selector, debug=True) as reactor:
        selector.left = 0
        connector = Eager(listener.getsockname()).start(reactor)
        reactor.run()
        assert "full" in str(connector.failed[0])
        assert connector.sock.fileno() == -1

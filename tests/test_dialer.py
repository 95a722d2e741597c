"""Reactor.connect: from what the user wrote to on_connect, or to on_close alone."""

from __future__ import annotations

import errno
import pathlib
import socket
from typing import Any

import attrs
import pytest

from reactor import (
    AddressError,
    CloseKind,
    ConnectError,
    ConnectTimeout,
    DelayError,
    HandlerReused,
    Inet,
    Unix,
    UsageError,
)
from reactor.dialer import addresses_of
from tests.kit import Clock, Fault, Recorder, Refusing, Watched, Watcher, faults, listening


def error_of(handler: Recorder | Watcher) -> ConnectError:
    assert handler.reason is not None
    assert isinstance(handler.reason.error, ConnectError)
    return handler.reason.error


def test_it_connects(reactor: Watched) -> None:
    """The handler hears on_connect once, knows its peer, and lives."""
    with listening() as listener:
        handler = Recorder()
        dial = reactor.connect(handler, listener.getsockname(), timeout=5)
        assert handler.events == []
        assert dial.is_pending
        assert handler in reactor.handlers
        reactor.until(lambda: handler.events)
        assert handler.events == ["connect"]
        assert handler.peer == Inet(*listener.getsockname())
        assert isinstance(handler.local, Inet)
        assert not dial.is_pending
        assert len(reactor.timers) == 0
        assert not dial.cancel()
        assert handler.is_open
        assert reactor.stats().connected == 1


def test_it_connects_to_a_unix_socket(reactor: Watched, tmp_path: pathlib.Path) -> None:
    """A path is an address, and the peer is what was connected to."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        handler = Recorder()
        reactor.connect(handler, tmp_path / "s")
        reactor.until(lambda: handler.events)
        assert handler.peer == Unix(str(tmp_path / "s"))


def test_data_that_came_with_the_connection_is_heard_in_the_same_pass(reactor: Watched) -> None:
    """on_connect and on_data come in one pass if the peer was that fast."""
    with listening() as listener:
        handler = Recorder()
        reactor.connect(handler, listener.getsockname())
        there, _ = listener.accept()
        with there:
            there.send(b"banner")
            reactor.run_once()
            assert handler.events == ["connect", "data"]


def test_a_plain_handler_connects_too(reactor: Watched) -> None:
    """Any handler may be connected; it is read when it is ready."""
    with listening() as listener:
        handler = Watcher(act=lambda handler: handler.close())
        reactor.connect(handler, listener.getsockname())
        there, _ = listener.accept()
        with there:
            there.send(b"x")
            reactor.until(lambda: handler.heard)
        reactor.until(lambda: handler.heard[-1] == "close")


def test_a_refused_connection_is_heard_by_on_close_alone(reactor: Watched) -> None:
    """One hook, with every address that was tried, its error and its time, in a message for people."""
    with listening() as listener:
        port = listener.getsockname()[1]
    handler = Recorder()
    reactor.connect(handler, ("localhost", port), timeout=5)
    reactor.run()

    error = error_of(handler)
    assert handler.events == ["close"]
    assert handler.kind is CloseKind.ERROR
    assert error.errno == errno.ECONNREFUSED
    assert isinstance(error, OSError)
    assert [str(attempt.address) for attempt in error.attempts] == [f"[::1]:{port}", f"127.0.0.1:{port}"]
    assert all(attempt.elapsed >= 0 and attempt.error.errno == errno.ECONNREFUSED for attempt in error.attempts)
    assert f"cannot connect to localhost:{port}: [::1]:{port} refused (0.0" in str(error)
    assert reactor.stats().connect_errors == 1
    assert handler.fileno() == -1


def test_the_second_address_is_tried_when_the_first_fails(reactor: Watched) -> None:
    """localhost is IPv6 first, then IPv4, without a question to any resolver."""
    with listening() as listener:
        handler = Recorder()
        reactor.connect(handler, ("localhost", listener.getsockname()[1]))
        reactor.until(lambda: handler.events)
        assert handler.events == ["connect"]
        assert handler.peer == Inet(*listener.getsockname())


@pytest.mark.unchecked("takes an event away from the selector")
def test_nobody_answers_in_time() -> None:
    """At the deadline the handler hears TIMEOUT, and the error names what did not answer."""

    class Virtual(Fault, Clock):
        def __init__(self) -> None:
            Fault.__init__(self)
            Clock.__init__(self)

    with listening() as listener, Watched(system=Virtual(), debug=True) as reactor:
        faults(reactor, connect_ex=[errno.EALREADY])  # says "pending", and nothing ever comes
        handler, begin = Recorder(), reactor.time()
        # A socket that was never connected is reported as ready at once: take the event away.
        reactor.connect(handler, listener.getsockname(), timeout=5)
        for connector in list(reactor.handlers):
            reactor.poller.forget(connector)
        reactor.run()

        error = error_of(handler)
        assert reactor.time() == begin + 5
        assert handler.events == ["close"]
        assert handler.kind is CloseKind.TIMEOUT
        assert isinstance(error, ConnectTimeout)
        assert f"within 5 s: 127.0.0.1:{listener.getsockname()[1]} no answer (5.00 s)" in str(error)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_handler_closed_while_it_connects_hears_on_close(reactor: Watched, how: str) -> None:
    """Whoever closes the handler gives up the attempt; its socket is closed at once."""
    with listening() as listener:
        handler = Recorder()
        dial = reactor.connect(handler, listener.getsockname())
        getattr(handler, how)()
        assert not dial.is_pending
        assert {type(each).__name__ for each in reactor.handlers} == set()
        reactor.run()
    assert handler.events == ["close"]
    assert handler.kind is (CloseKind.LOCAL_CLOSE if how == "close" else CloseKind.LOCAL_ABORT)


def test_cancel_is_silent_and_idempotent(reactor: Watched) -> None:
    """After cancel nothing is called, not even on_close, and no socket is open."""
    with listening() as listener:
        handler = Recorder()
        dial = reactor.connect(handler, listener.getsockname())
        assert dial.cancel()
        assert not dial.cancel()
        assert not reactor.handlers
        reactor.run()
        assert handler.events == []
        assert len(reactor.timers) == 0
        with pytest.raises(HandlerReused):
            reactor.connect(handler, listener.getsockname())


def test_cancel_inside_the_pass_of_the_completion(reactor: Watched) -> None:
    """A cancel between readiness and dispatch wins."""
    with listening() as listener:
        handler, other = Recorder(), Recorder()
        dials = [reactor.connect(handler, listener.getsockname()), reactor.connect(other, listener.getsockname())]
        handler.act["connect"] = lambda _: dials[1].cancel()
        other.act["connect"] = lambda _: dials[0].cancel()
        reactor.until(lambda: handler.events or other.events)
        reactor.turn(3)
        assert len(handler.events) + len(other.events) in (1, 2)
        assert not any(dial.is_pending for dial in dials)


def test_cancel_after_a_failure_that_was_not_told_yet(faulty: Watched) -> None:
    """connect failed on the spot, and is cancelled before the loop could say so: nothing is heard."""
    faults(faulty, connect_ex=[errno.ENETUNREACH])
    handler = Recorder()
    dial = faulty.connect(handler, "127.0.0.1:1")
    assert dial.cancel()
    faulty.run()
    assert handler.events == []


def test_a_stream_closed_in_on_connect_is_not_read(reactor: Watched) -> None:
    """What came with the connection is not handed to a stream that is over."""
    with listening() as listener:
        handler = Recorder(act={"connect": lambda stream: stream.abort()})
        reactor.connect(handler, listener.getsockname())
        reactor.run()
    assert handler.events == ["connect", "close"]


def test_closing_the_reactor_is_heard(reactor: Watched) -> None:
    """A handler still connecting when the reactor ends hears SHUTDOWN."""
    with listening() as listener:
        handler = Recorder()
        reactor.connect(handler, listener.getsockname())
        reactor.close()
    assert handler.events == ["close"]
    assert handler.kind is CloseKind.SHUTDOWN


def test_shutdown_is_heard(reactor: Watched) -> None:
    """A handler still connecting when the reactor shuts down does not hold it up."""
    with listening() as listener:
        handler = Recorder()
        reactor.connect(handler, listener.getsockname())
        reactor.call_soon(reactor.shutdown)
        reactor.run()
    assert handler.events[-1] == "close"
    assert handler.kind is CloseKind.SHUTDOWN


def test_no_descriptor_is_an_error_of_the_attempt(faulty: Watched) -> None:
    """EMFILE is heard by on_close, like every other failure."""
    faults(faulty, socket=[errno.EMFILE])
    handler = Recorder()
    faulty.connect(handler, "127.0.0.1:1")
    faulty.run()
    assert handler.events == ["close"]
    assert error_of(handler).errno == errno.EMFILE


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("example.org:80", "names are not looked up yet"),
        ("127.0.0.1:0", "needs a port"),
        (":80", "needs a host"),
        ("nonsense", "has no port"),
    ],
)
def test_bad_addresses_are_refused_at_once(reactor: Watched, address: str, complaint: str) -> None:
    """The call raises, and the handler may still be used."""
    handler = Recorder()
    with pytest.raises(AddressError, match=complaint):
        reactor.connect(handler, address)
    assert not reactor.handlers
    with listening() as listener:
        reactor.connect(handler, listener.getsockname()).cancel()


def test_other_bad_arguments(reactor: Watched) -> None:
    """A class instead of a handler, a used handler, NaN as a timeout."""
    with pytest.raises(UsageError, match="made for this one connection"):
        reactor.connect(Recorder, "127.0.0.1:1")  # type: ignore[arg-type]
    with pytest.raises(DelayError):
        reactor.connect(Recorder(), "127.0.0.1:1", timeout=float("nan"))
    handler = Recorder()
    handler.close()
    with pytest.raises(HandlerReused):
        reactor.connect(handler, "127.0.0.1:1")


@pytest.mark.parametrize(
    ("target", "addresses"),
    [
        (Unix("/x"), [Unix("/x")]),
        (Inet("::1", 1), [Inet("::1", 1)]),
        (Inet("LocalHost.", 1), [Inet("::1", 1), Inet("127.0.0.1", 1)]),
        (Inet("app.localhost", 1), [Inet("::1", 1), Inet("127.0.0.1", 1)]),
    ],
)
def test_what_is_tried_for_a_target(target: Any, addresses: list[Any]) -> None:
    """localhost and names under it are loopback; what is numeric is itself."""
    assert addresses_of(target) == addresses


def test_an_unnumbered_error_has_its_text() -> None:
    """An error without words of ours says the system's."""
    with Watched(system=Fault(), debug=True) as reactor:
        faults(reactor, connect_ex=[errno.EACCES])
        handler = Recorder()
        reactor.connect(handler, "127.0.0.1:1")
        reactor.run()
        assert "Permission denied" in str(error_of(handler))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("strange"), UsageError("full")]
)
@pytest.mark.parametrize("when", ["connector", "handler"])
def test_a_selector_that_refuses_ends_the_attempt(when: str, error: Exception) -> None:
    """Whatever registering raises, the handler hears on_close, and nothing hangs or leaks."""
    selector = Refusing(error)
    with listening() as listener, Watched(selector=selector, debug=True) as reactor:
        selector.left = 0 if when == "connector" else 1
        handler = Recorder()
        reactor.connect(handler, listener.getsockname())
        reactor.run()
        assert handler.events == ["close"]
        assert str(error.args[-1]) in str(error_of(handler))
        assert handler.fileno() == -1
        assert not reactor.handlers
        assert len(reactor.timers) == 0


def test_a_handler_whose_interest_raises_is_closed(reactor: Watched) -> None:
    """A user's property that fails is an error of its own connection."""

    @attrs.define(eq=False)
    class Broken(Watcher):
        @property
        def interest(self) -> int:
            raise ValueError("no interest")

    with listening() as listener:
        handler = Broken()
        reactor.connect(handler, listener.getsockname())
        reactor.run()
    assert handler.heard == ["close"]
    assert "no interest" in str(error_of(handler))


def test_addresses_that_the_kernel_cannot_take_end_the_attempt(reactor: Watched) -> None:
    """A path that is too long, and an interface that is not there, are told like any other failure."""
    for address, text in ((f"unix:/{'x' * 300}", "too long"), ("[fe80::1%nosuch]:80", "no interface")):
        handler = Recorder()
        reactor.connect(handler, address)
        reactor.run()
        assert handler.events == ["close"]
        assert text in str(error_of(handler))

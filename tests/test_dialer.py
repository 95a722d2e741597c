"""Reactor.connect: from what the user wrote to on_connect, or to on_close alone."""

from __future__ import annotations

import errno
import pathlib
import selectors
import socket
import threading
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from reactor import (
    AddressError,
    CloseKind,
    ConnectError,
    ConnectOptions,
    Connector,
    ConnectTimeout,
    DelayError,
    HandlerReused,
    HttpConnect,
    Inet,
    Keepalive,
    LookupFailed,
    NameNotFound,
    ProxyError,
    Socks5,
    Stream,
    Unix,
    UsageError,
    dialer,
)
from tests.kit import Clock, Fault, Recorder, Refusing, Watched, Watcher, Wrapping, faults, hole, listening


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


class Noting(Wrapping):
    """A selector that remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())
        self.asked: list[str] = []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.asked.append("register")
        return super().register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        self.asked.append("unregister")
        return super().unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.asked.append("modify")
        return super().modify(fileobj, events, data)


def test_nothing_is_done_twice() -> None:
    """One registration, changed when the connection is there; each name is asked for once, and nobody reads in vain."""
    selector, system = Noting(), Fault()
    with listening() as listener, Watched(selector=selector, system=system, debug=True) as reactor:
        selector.asked.clear()
        handler = Recorder()
        reactor.connect(handler, listener.getsockname())
        reactor.until(lambda: handler.events)
        assert handler.events == ["connect"]
        assert selector.asked == ["register", "modify"]
        assert system.calls == {"socket": 1, "setsockopt": 1, "connect_ex": 1, "getpeername": 1, "getsockname": 1}


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
        assert f"within 5 s: 127.0.0.1:{listener.getsockname()[1]} no answer (5.0 s)" in str(error)


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
        ("a..b:80", "no host name"),
        (f"{'x' * 64}.example:80", "too long"),
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


# Racing


def connectors(reactor: Watched) -> list[Any]:
    return [handler for handler in reactor.handlers if isinstance(handler, Connector)]


def test_the_next_address_is_tried_beside_one_that_does_not_answer(virtual: Watched) -> None:
    """After the attempt delay, and when it wins the loser is closed in the same pass."""
    with hole() as silent, listening() as listener:
        handler, begin = Recorder(), virtual.time()
        dial = virtual.connect(handler, [silent, listener.getsockname()])
        (loser,) = connectors(virtual)
        virtual.until(lambda: handler.events)
        assert virtual.time() == begin + 0.25
        assert handler.peer == Inet(*listener.getsockname())
        assert list(virtual.handlers) == [handler]
        assert loser.fileno() == -1
        assert len(virtual.timers) == 0
        assert dial.attempts == ()


def test_a_refusal_calls_the_next_address_at_once(virtual: Watched) -> None:
    """Nobody waits for a delay after a failure."""
    with listening() as gone:
        nobody = gone.getsockname()
    with listening() as listener:
        handler, begin = Recorder(), virtual.time()
        dial = virtual.connect(handler, [nobody, listener.getsockname()])
        virtual.until(lambda: handler.events)
        assert virtual.time() == begin
        assert handler.events == ["connect"]
        assert [str(attempt.address) for attempt in dial.attempts] == [f"127.0.0.1:{nobody[1]}"]


def test_two_winners_in_one_batch_are_one(virtual: Watched) -> None:
    """The first one told is taken, the other closed before anything else happens."""
    with listening() as one, listening() as other:
        handler = Recorder()
        virtual.connect(handler, [one.getsockname(), other.getsockname()])
        assert isinstance(virtual.system, Clock)
        virtual.system.moment += 0.25  # the second attempt is due before the first one's success is polled for
        virtual.turn()
        assert handler.events == ["connect"]
        assert list(virtual.handlers) == [handler]
        virtual.turn(3)
        assert handler.events == ["connect"]
        assert virtual.stats().connected == 1


def test_cancel_closes_every_attempt(virtual: Watched) -> None:
    """Whatever is under way is closed when cancel returns."""
    with hole() as one, hole() as other:
        dial = virtual.connect(Recorder(), [one, other], options=ConnectOptions(attempt_delay=0.01))
        virtual.run_until(lambda: len(connectors(virtual)) == 2, timeout=1)
        socks = [connector.sock for connector in connectors(virtual)]
        assert len(socks) == 2
        assert dial.cancel()
        assert all(sock.fileno() == -1 for sock in socks)
        assert not virtual.handlers
        virtual.run()
        assert len(virtual.timers) == 0


def test_at_the_deadline_all_are_named(virtual: Watched) -> None:
    """Those that did not answer, those that refused, and those whose turn had not come."""
    with listening() as gone:
        nobody = gone.getsockname()
    with hole() as one, hole() as other:
        handler, begin = Recorder(), virtual.time()
        virtual.connect(handler, [one, nobody, other, "192.0.2.1:9"], timeout=3, options=ConnectOptions(attempt_delay=2.0))
        virtual.run()
        error = error_of(handler)
        assert virtual.time() == begin + 3
        assert isinstance(error, ConnectTimeout)
        assert handler.kind is CloseKind.TIMEOUT
        assert [attempt.elapsed for attempt in error.attempts] == [3.0, 0.0, 1.0]
        assert [attempt.address.port for attempt in error.attempts] == [one[1], nobody[1], other[1]]  # type: ignore[union-attr]
        assert error.untried == (Inet("192.0.2.1", 9),)
        assert error.phase == "connect"
        assert "within 3 s: " in str(error)
        assert not virtual.handlers


def test_one_address_may_have_less_time_than_all(virtual: Watched) -> None:
    """An attempt that is over its own time has failed, and the next is called at once."""
    with hole() as one, hole() as other:
        handler, begin = Recorder(), virtual.time()
        virtual.connect(handler, [one, other], options=ConnectOptions(attempt_timeout=1, attempt_delay=2.0))
        virtual.run()
        assert virtual.time() == begin + 2
        assert not isinstance(error_of(handler), ConnectTimeout)
        assert handler.kind is CloseKind.TIMEOUT
        assert str(error_of(handler)).count("no answer within 1 s (1.0 s)") == 2


def test_a_handler_that_does_not_count_does_not_keep_run_going(virtual: Watched) -> None:
    """Nor do its attempts and timers."""
    with hole() as one, hole() as other:
        handler = Recorder()
        handler.unref()
        virtual.connect(handler, [one, other])
        virtual.run()
        assert handler.events == []
        virtual.connect(handler2 := Recorder(), one).cancel()
        assert handler2.events == []


# Names


@attrs.define(eq=False)
class Asked:
    """A resolver that answers when the test says so, and as it says."""

    waiting: list[tuple[str, Any]] = attrs.field(init=False, factory=list)
    cancelled: list[str] = attrs.field(init=False, factory=list)
    queued: int = 0

    def open(self, loop: Any) -> None: ...

    def close(self) -> None: ...

    def resolve(self, name: str, port: int, family: int, done: Any) -> Any:
        if name == "broken.example":
            raise LookupError("out of order")
        self.waiting.append((name, done))

        @attrs.define
        class Handle:
            cancelled: list[str]

            def cancel(self) -> bool:
                self.cancelled.append(name)
                return True

        return Handle(self.cancelled)

    def answer(self, found: Any) -> None:
        _, done = self.waiting.pop(0)
        done(found)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def naming(asked: Asked) -> Iterator[Watched]:
    with Watched(system=Clock(), resolver=asked, debug=True) as made:
        yield made
    assert not made.raised, made.raised


def test_a_name_is_looked_up_then_connected_to(naming: Watched, asked: Asked) -> None:
    """Nothing is tried before the answer; the addresses are tried in turns of their families."""
    with listening() as listener:
        handler = Recorder()
        port = listener.getsockname()[1]
        dial = naming.connect(handler, ("host.example", port))
        naming.turn()
        assert dial.is_pending
        assert connectors(naming) == []
        asked.answer([Inet("::1", port), Inet("::1", port, 1), Inet("127.0.0.1", port)])
        naming.until(lambda: handler.events)
        assert handler.peer == Inet("127.0.0.1", port)
        assert [str(attempt.address) for attempt in dial.attempts] == [f"[::1]:{port}"]


def test_a_name_that_does_not_exist(naming: Watched, asked: Asked) -> None:
    """The error is of its own kind, and its phase is the lookup."""
    handler = Recorder()
    naming.connect(handler, "host.example:80")
    asked.answer(NameNotFound(-2, "no such name: 'host.example'"))
    naming.run()
    error = error_of(handler)
    assert isinstance(error, NameNotFound)
    assert handler.kind is CloseKind.ERROR
    assert str(error).endswith("cannot connect to host.example:80: host.example:80 no such name (0.00 s)")


def test_a_lookup_that_takes_too_long(naming: Watched, asked: Asked) -> None:
    """The error says that it was the lookup, the lookup is given up, and its late answer is nobody's."""
    handler = Recorder()
    naming.connect(handler, "host.example:80", timeout=5)
    naming.run()
    error = error_of(handler)
    assert isinstance(error, ConnectTimeout)
    assert error.phase == "lookup"
    assert str(error).endswith("within 5 s: host.example:80 no answer from the resolver (5.0 s)")
    assert asked.cancelled == ["host.example"]
    asked.answer([Inet("127.0.0.1", 80)])
    assert not naming.handlers


def test_an_answer_that_comes_twice_counts_once(naming: Watched, asked: Asked) -> None:
    """A resolver that does not keep to its word harms nobody."""
    with hole() as silent:
        naming.connect(Recorder(), ("host.example", silent[1]))
        _, done = asked.waiting[0]
        for _ in range(2):
            done([Inet(*silent)])
        assert len(connectors(naming)) == 1


@pytest.mark.parametrize("found", [[], [Inet("another.example", 80)], [Inet("::1", 80)], [Inet("127.0.0.1", 0)]])
def test_answers_that_are_of_no_use(naming: Watched, asked: Asked, found: list[Inet]) -> None:
    """No addresses, names, no port, or another family than was asked for: there is no such name."""
    handler = Recorder()
    naming.connect(handler, "host.example:80", options=ConnectOptions(family=socket.AF_INET))
    asked.answer(found)
    naming.run()
    assert isinstance(error_of(handler), NameNotFound)


def test_a_resolver_that_raises(naming: Watched) -> None:
    """Its error is told by on_close, like every other."""
    handler = Recorder()
    naming.connect(handler, "broken.example:80")
    assert handler.events == []
    naming.run()
    assert isinstance(error_of(handler), LookupFailed)
    assert "LookupError: out of order" in str(error_of(handler))


def test_a_resolver_that_raises_is_forgotten_with_the_attempt(naming: Watched) -> None:
    """Cancelled before its error could be told, nothing is."""
    handler = Recorder()
    assert naming.connect(handler, "broken.example:80").cancel()
    naming.run()
    assert handler.events == []


def test_a_stuck_name_does_not_hold_up_its_neighbours(naming: Watched, asked: Asked) -> None:
    """In a list what is known is tried while names are looked up; the winner gives the lookups up."""
    with listening() as listener:
        handler, begin = Recorder(), naming.time()
        naming.connect(handler, ["stuck.example:80", listener.getsockname()])
        naming.until(lambda: handler.events)
        assert handler.events == ["connect"]
        assert naming.time() == begin
        assert asked.cancelled == ["stuck.example"]


def test_names_join_when_their_answers_come(naming: Watched, asked: Asked) -> None:
    """A list fails when its last member has failed; each is in the error."""
    with listening() as gone:
        nobody = gone.getsockname()
    handler = Recorder()
    naming.connect(handler, ["one.example:80", nobody, ("two.example", nobody[1])])
    naming.turn(3)
    asked.answer(NameNotFound(-2, "no such name"))
    naming.turn(3)
    assert handler.events == []
    asked.answer([Inet(*nobody)])
    naming.run()
    error = error_of(handler)
    assert type(error) is ConnectError
    assert error.errno == errno.ECONNREFUSED
    assert str(error).count("refused") == 2
    assert "one.example:80 no such name" in str(error)


def test_cancel_gives_the_lookup_up(naming: Watched, asked: Asked) -> None:
    """Nothing is called after it, whatever the resolver does."""
    handler = Recorder()
    dial = naming.connect(handler, "host.example:80")
    assert dial.cancel()
    assert asked.cancelled == ["host.example"]
    asked.answer([Inet("127.0.0.1", 80)])
    naming.run()
    assert handler.events == []
    assert len(naming.timers) == 0


def test_the_winner_is_tried_first_the_next_time(naming: Watched, asked: Asked) -> None:
    """With `remember`, for so long, and by its name."""
    options = ConnectOptions(remember=600)
    with hole() as silent, listening() as listener:
        both = [Inet(*silent), Inet(*listener.getsockname())]
        waited = []
        for pause in (0, 599, 601):
            naming.system.moment += pause  # type: ignore[attr-defined]
            handler, begin = Recorder(), naming.time()
            naming.connect(handler, "host.example:80", options=options)
            asked.answer(both)
            naming.until(lambda handler=handler: handler.events)  # type: ignore[misc]
            waited.append(naming.time() - begin)
            handler.abort()
        assert waited == [0.25, 0.0, 0.25]
        naming.connect(Recorder(), listener.getsockname(), options=options)
        naming.turn(2)
        assert len(naming.winners) == 1


def test_localhost_needs_no_resolver_thread(reactor: Watched) -> None:
    """The default resolver knows it; the peer is loopback."""
    with listening() as listener:
        handler = Recorder()
        reactor.connect(handler, ("localhost", listener.getsockname()[1]))
        reactor.until(lambda: handler.events)
        assert handler.events == ["connect"]
        assert threading.active_count() == 1


# Options


def test_options_reach_the_socket(reactor: Watched) -> None:
    """Keepalive, user timeout, and no TCP_NODELAY, though a stream would set it."""
    options = ConnectOptions(
        keepalive=Keepalive(idle=7, interval=3, count=2), user_timeout=1.5, notsent_lowat=9000, nodelay=False
    )
    with listening() as listener:
        handler, plain = Recorder(), Watcher(wants=0)
        reactor.connect(handler, listener.getsockname(), options=options)
        reactor.connect(plain, listener.getsockname())
        reactor.until(lambda: handler.events and plain.is_open)
        tcp = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT, socket.TCP_NODELAY]
        assert handler.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 9000
        assert [handler.sock.getsockopt(socket.IPPROTO_TCP, option) for option in tcp] == [7, 3, 2, 1500, 0]
        assert handler.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert plain.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_an_address_is_connected_from(reactor: Watched) -> None:
    """The local address is the one that was asked for; a family that has none is not tried."""
    with listening() as listener:
        handler = Recorder()
        dial = reactor.connect(
            handler,
            ("localhost", listener.getsockname()[1]),
            options=ConnectOptions(local="127.0.0.2"),
        )
        reactor.until(lambda: handler.events)
        assert isinstance(handler.local, Inet)
        assert handler.local.host == "127.0.0.2"
        assert "ConnectOptions.local has no IPv6 address" in str(dial.attempts[0].error)


def test_an_address_of_another_family_is_refused_at_once(reactor: Watched) -> None:
    """A numeric address cannot become one of the family that was asked for."""
    with pytest.raises(AddressError, match=r"ConnectOptions\.family"):
        reactor.connect(Recorder(), "[::1]:80", options=ConnectOptions(family=socket.AF_INET))


# A socket of one's own


def test_a_given_socket_is_used(reactor: Watched) -> None:
    """The connection is on the caller's socket, with what the caller has set on it."""
    with listening() as listener, socket.socket() as sock:
        sock.bind(("127.0.0.3", 0))
        handler = Recorder()
        reactor.connect(handler, ("localhost", listener.getsockname()[1]), sock=sock)
        reactor.until(lambda: handler.events)
        assert handler.sock is sock
        assert handler.local == Inet(*sock.getsockname())


def test_a_given_socket_is_tried_once(virtual: Watched) -> None:
    """With the first address of its family; it is closed when that fails, and others are not tried."""
    with listening() as gone, listening() as listener:
        nobody, somebody = gone.getsockname(), listener.getsockname()
        gone.close()
        sock, handler = socket.socket(), Recorder()
        virtual.connect(handler, ["[::1]:9", nobody, somebody], sock=sock)
        virtual.run()
        assert sock.fileno() == -1
        assert "[::1]:9 not tried: the socket is of another family" in str(error_of(handler))
        assert str(somebody[1]) not in str(error_of(handler)).partition(": ")[2]


def test_a_given_socket_is_tried_once_whatever_is_looked_up(naming: Watched, asked: Asked) -> None:
    """When it has been used, names that are still looked up are given up: there is no socket for them."""
    with listening() as listener:
        address = listener.getsockname()
    sock, handler = socket.socket(), Recorder()
    naming.connect(handler, ["one.example:9", "two.example:9", "two.example:9"], sock=sock)
    assert [name for name, _ in asked.waiting] == ["one.example", "two.example"]
    asked.answer([Inet(*address)])
    assert asked.cancelled == ["two.example"]
    asked.answer([Inet(*address)])
    naming.run()
    assert len(error_of(handler).attempts) == 1
    assert sock.fileno() == -1


def test_a_given_socket_is_closed_with_the_attempt(naming: Watched, asked: Asked) -> None:
    """Cancelled before its turn, or given up because no address is of its family."""
    sock = socket.socket()
    naming.connect(Recorder(), "host.example:80", sock=sock).cancel()
    assert sock.fileno() == -1

    sock, handler = socket.socket(), Recorder()
    naming.connect(handler, "[::1]:9", sock=sock)
    naming.run()
    assert sock.fileno() == -1
    assert handler.events == ["close"]


def test_a_given_socket_that_meets_itself_is_refused(reactor: Watched) -> None:
    """Self-connect: there is no other socket to try again with."""
    sock, handler = socket.socket(), Recorder()
    sock.bind(("127.0.0.1", 0))
    reactor.connect(handler, sock.getsockname(), sock=sock)
    reactor.run()
    assert error_of(handler).errno == errno.ECONNREFUSED
    assert sock.fileno() == -1


def test_a_socket_that_cannot_be_used_stays_the_callers(reactor: Watched) -> None:
    """Datagrams, a closed one, one beside a local address, and any beside an address that is refused."""
    with socket.socket(type=socket.SOCK_DGRAM) as datagram, socket.socket() as sock:
        for bad, options in ((datagram, ConnectOptions()), (sock, ConnectOptions(local="127.0.0.1"))):
            with pytest.raises(UsageError, match="open stream socket"):
                reactor.connect(Recorder(), "127.0.0.1:1", sock=bad, options=options)
        with pytest.raises(AddressError):
            reactor.connect(Recorder(), "nonsense", sock=sock)
        assert sock.fileno() >= 0
    with pytest.raises(UsageError, match="open stream socket"):
        reactor.connect(Recorder(), "127.0.0.1:1", sock=sock)


# Proxies


@attrs.define(eq=False)
class Script(Stream):
    """A proxy that says *lines* one by one, each when something has come."""

    lines: list[bytes]
    heard: bytearray = attrs.field(init=False, factory=bytearray)

    def on_data(self, data: bytes) -> None:
        self.heard += data
        if self.lines:
            self.write(self.lines.pop(0))
        else:
            self.close()


def through(reactor: Watched, lines: list[bytes]) -> tuple[Script, int]:
    """Return a proxy and its port."""
    script = Script(lines)
    acceptor = reactor.listen(lambda: script, "127.0.0.1:0")
    acceptor.unref()
    return script, acceptor.port


OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize("kind", ["http", "socks"])
def test_a_proxy_connects(reactor: Watched, kind: str) -> None:
    """The name goes to the proxy as it is; what comes behind its answer is the handler's, in the same pass."""
    handler = Recorder()
    if kind == "http":
        script, port = through(reactor, [OPEN + b"banner"])
        reactor.connect(handler, "host.example:443", via=HttpConnect(("127.0.0.1", port)))
    else:
        script, port = through(reactor, [b"\5\0", b"\5\0\0\1\0\0\0\0\0\0banner"])
        reactor.connect(handler, "host.example:443", via=Socks5(("127.0.0.1", port)))
    reactor.until(lambda: handler.received == b"banner")
    assert handler.events == ["connect", "data"]
    assert b"host.example" in script.heard
    assert handler.peer == Inet("127.0.0.1", port)
    assert reactor.stats().connected == 1
    assert len(reactor.timers) == 0


def test_a_plain_handler_reads_what_came_behind_the_proxys_answer(reactor: Watched) -> None:
    """It waits in the kernel, so whoever reads gets it."""
    got: list[bytes] = []

    def read(handler: Watcher) -> None:
        got.append(handler.sock.recv(100))
        handler.close()

    handler = Watcher(act=read)
    _, port = through(reactor, [OPEN + b"banner"])
    reactor.connect(handler, "host.example:443", via=HttpConnect(("127.0.0.1", port)))
    reactor.until(lambda: handler.heard[-1:] == ["close"])
    assert got == [b"banner"]


def test_a_proxy_that_refuses(reactor: Watched) -> None:
    """One hook, with the proxy's words and reply."""
    handler = Recorder()
    _, port = through(reactor, [b"HTTP/1.1 403 Forbidden\r\n\r\n"])
    reactor.connect(handler, "host.example:443", via=HttpConnect(("127.0.0.1", port)))
    reactor.until_closed(handler)
    error = error_of(handler)
    assert handler.events == ["close"]
    assert isinstance(error, ProxyError)
    assert error.reply == 403
    assert f"to host.example:443 via HTTP proxy 127.0.0.1:{port}: 127.0.0.1:{port} 403 Forbidden (" in str(error)


def test_a_proxy_that_is_not_there(reactor: Watched) -> None:
    """That it is the proxy that cannot be reached is said."""
    with listening() as listener:
        address = listener.getsockname()
    handler = Recorder()
    reactor.connect(handler, "host.example:443", via=Socks5(address))
    reactor.run()
    assert type(error_of(handler)) is ConnectError
    assert f"via SOCKS5 proxy 127.0.0.1:{address[1]}: 127.0.0.1:{address[1]} refused" in str(error_of(handler))


def test_a_proxy_that_is_silent(virtual: Watched) -> None:
    """The deadline is one for all, and the error says that the proxy was reached."""
    with listening() as listener:
        handler, begin = Recorder(), virtual.time()
        dial = virtual.connect(handler, "host.example:443", via=Socks5(listener.getsockname()), timeout=5)
        virtual.turn(2)
        assert dial.is_pending
        virtual.run()
        error = error_of(handler)
        assert virtual.time() == begin + 5
        assert isinstance(error, ConnectTimeout)
        assert error.phase == "proxy"
        assert "connected, but silent about the target (5.0 s)" in str(error)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_conversation_with_a_proxy_can_be_given_up(virtual: Watched, how: str) -> None:
    """After cancel nothing is called and nothing is open; after close, on_close is called."""
    with listening() as listener:
        handler = Recorder()
        handler.unref()
        dial = virtual.connect(handler, "host.example:443", via=Socks5(listener.getsockname()))
        virtual.turn(2)
        if how == "cancel":
            assert dial.cancel()
        else:
            handler.close()
        assert not virtual.handlers
        virtual.turn(2)
        assert handler.events == ([] if how == "cancel" else ["close"])
        assert len(virtual.timers) == 0


def test_a_proxy_is_asked_for_one_address(reactor: Watched) -> None:
    """Not for a list, not for a path, and its own address has to be one."""
    proxy = HttpConnect("127.0.0.1:1")
    with pytest.raises(UsageError, match="one address"):
        reactor.connect(Recorder(), ["a.example:1", "b.example:1"], via=proxy)
    with pytest.raises(AddressError, match="takes a host and a port"):
        reactor.connect(Recorder(), "unix:/x", via=proxy)
    with pytest.raises(AddressError, match="needs a port"):
        reactor.connect(Recorder(), "a.example:1", via=HttpConnect("127.0.0.1:0"))
    with pytest.raises(UsageError, match="at least one"):
        reactor.connect(Recorder(), [])
    assert not reactor.handlers


def test_a_proxys_name_is_looked_up_and_its_winner_remembered(naming: Watched, asked: Asked) -> None:
    """The proxy's, not the target's."""
    with listening() as listener:
        handler = Recorder()
        options = ConnectOptions(remember=60)
        naming.connect(handler, "host.example:443", via=Socks5("proxy.example:1"), options=options)
        assert [name for name, _ in asked.waiting] == ["proxy.example"]
        asked.answer([Inet(*listener.getsockname())])
        naming.turn(2)
        there, _ = listener.accept()
        with there:
            there.sendall(b"\5\0\5\0\0\1\0\0\0\0\0\0")
            naming.until(lambda: handler.events)
        assert len(naming.winners) == 1


def test_a_proxys_failure_that_was_not_told_yet_is_forgotten_by_cancel() -> None:
    """Cancelled in the very pass in which the proxy failed, nothing is heard."""

    class Virtual(Fault, Clock):
        def __init__(self) -> None:
            Fault.__init__(self)
            Clock.__init__(self)

    with listening() as listener, Watched(system=Virtual(), debug=True) as reactor:
        handler, other = Recorder(), Recorder()
        dial = reactor.connect(handler, "host.example:443", via=Socks5(listener.getsockname()))
        reactor.connect(other, listener.getsockname())
        other.act["connect"] = lambda _: dial.cancel()
        faults(reactor, send=[errno.EPIPE])
        reactor.turn(3)
        assert not dial.is_pending
        assert handler.events == []
        assert other.events == ["connect"]
        assert not reactor.raised


def test_who_owns_a_dial_hears_of_its_handler(virtual: Watched) -> None:
    """When it is connected, and when it is over, whether it was connected or not; never after cancel."""

    @attrs.define(eq=False)
    class Owner:
        heard: list[str] = attrs.field(init=False, factory=list)

        def _connected(self, handler: Any) -> None:
            self.heard.append("connected")

        def _is_over(self, handler: Any) -> None:
            self.heard.append("over")

    with listening() as listener:
        address = listener.getsockname()
        owner, handler = Owner(), Recorder()
        dialer.dial(virtual, handler, address, timeout=5, owner=owner)
        virtual.until(lambda: handler.events)
        assert owner.heard == ["connected"]
        handler.abort()
        assert owner.heard == ["connected", "over"]

        owner = Owner()
        dialer.dial(virtual, Recorder(), address, timeout=5, owner=owner).cancel()
        assert owner.heard == []

        owner = Owner()
        dialer.dial(virtual, Recorder({"connect": Recorder.abort}), address, timeout=5, owner=owner)
        virtual.run()
        assert owner.heard == ["over"]
    owner = Owner()
    dialer.dial(virtual, Recorder(), address, timeout=5, owner=owner)
    virtual.run()
    assert owner.heard == ["over"]

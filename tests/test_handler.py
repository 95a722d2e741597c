"""Handlers: one life, one descriptor, timers that die with it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import attrs
import pytest

from reactor import READ, CloseKind, CloseReason, Handler, HandlerReused, Limits, NotConnected, Stream, UsageError
from tests.kit import Watched, Watcher, listening, unix_pair


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = unix_pair()
    with here, there:
        yield here, there


def test_a_handler_of_its_own_fields_is_bound_by_the_reactor(
    reactor: Watched, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The constructor belongs to the user; reactor and sock come later, and are not shown."""

    @attrs.define(eq=False)
    class Named(Handler):
        name: str
        size: int = 3

    handler = Named("x")
    assert (handler.fileno(), handler.is_open) == (-1, False)
    assert repr(handler).endswith("Named(name='x', size=3)")
    reactor.attach(handler, pair[0])

    assert handler.reactor is reactor
    assert handler.sock is pair[0]
    assert handler.fileno() == pair[0].fileno()
    assert handler.is_open
    assert handler.interest == READ
    assert pair[0].gettimeout() == 0


def test_handlers_have_identity(reactor: Watched) -> None:
    """Two handlers with equal fields are two, and can be keys."""
    one, two = Watcher(), Watcher()

    assert one != two
    assert len({one, two}) == 2


def test_a_handler_serves_once(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A second socket is refused while the first lives and after it, and is left to the caller."""
    handler = reactor.attach(Watcher(), pair[0])
    with pytest.raises(HandlerReused, match="make a new Watcher for each one"):
        reactor.attach(handler, pair[1])
    handler.close()
    with pytest.raises(HandlerReused):
        reactor.attach(handler, pair[1])
    assert pair[1].fileno() >= 0


def test_close_unregisters_then_closes_then_tells(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """When close returns, the descriptor is free; on_close comes at the end of the pass, once."""
    handler = reactor.attach(Watcher(), pair[0])
    handler.close()
    assert handler.fileno() == -1
    assert handler.heard == []
    handler.close()
    handler.abort()
    reactor.turn(2)

    assert handler.heard == ["close"]
    assert handler.reason == CloseReason(CloseKind.LOCAL_CLOSE)
    assert not reactor.handlers


def test_close_before_use_spends_the_handler(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A handler that was closed before it had a socket hears nothing, and gets none."""
    handler = Watcher()
    handler.close()
    with pytest.raises(HandlerReused):
        reactor.attach(handler, pair[0])
    assert handler.heard == []


def test_closed_by_its_neighbour_in_the_same_batch_it_hears_nothing(reactor: Watched) -> None:
    """Both are ready; whichever is called first closes the other."""
    pairs = [unix_pair() for _ in range(2)]
    handlers = [Watcher(), Watcher()]
    handlers[0].act = lambda _: handlers[1].close()
    handlers[1].act = lambda _: handlers[0].close()
    for handler, (here, there) in zip(handlers, pairs, strict=True):
        reactor.attach(handler, here)
        there.send(b"x")
    reactor.turn()
    for _, there in pairs:
        there.close()

    assert sorted(handler.heard for handler in handlers) == [["close"], ["readable"]]


def test_a_readable_hook_that_closes_is_not_called_for_writing(
    reactor: Watched, pair: tuple[socket.socket, socket.socket]
) -> None:
    """One event with both bits: after the first call closed the handler there is no second."""
    handler = reactor.attach(Watcher(READ | 2, act=lambda handler: handler.close()), pair[0])
    pair[1].send(b"x")
    reactor.turn()

    assert handler.heard == ["readable", "close"]


def test_what_a_hook_stops_wanting_is_not_delivered(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Between the two calls of one event the interest is asked anew."""

    def read_only(handler: Watcher) -> None:
        handler.wants = READ
        handler.refresh()

    handler = reactor.attach(Watcher(READ | 2, act=read_only), pair[0])
    pair[1].send(b"x")
    reactor.turn()

    assert handler.heard == ["readable"]


def test_detach_lets_the_socket_go(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """The socket is open and unregistered, no hook follows, and another handler may have it."""
    handler = reactor.attach(Watcher(), pair[0])
    fired: list[int] = []
    handler.call_later(0, fired.append, 1)
    assert handler.detach() is pair[0]
    pair[1].send(b"x")
    reactor.turn(2)
    assert handler.heard == []
    assert fired == []
    assert pair[0].recv(1) == b"x"
    with pytest.raises(NotConnected, match="no socket to detach"):
        handler.detach()

    successor = reactor.attach(Watcher(), pair[0])
    pair[1].send(b"x")
    reactor.turn()
    assert successor.heard == ["readable"]


def test_timers_and_calls_die_with_their_handler(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Nothing that a closed handler set runs, and it keeps no loop alive."""
    handler = reactor.attach(Watcher(), pair[0])
    ran: list[str] = []
    handler.call_soon(ran.append, "soon")
    timers = [
        handler.call_later(0, ran.append, "later"),
        handler.call_at(reactor.time(), ran.append, "at"),
        handler.call_every(1, ran.append, "every"),
    ]
    handler.close()
    reactor.run()

    assert ran == []
    assert all(timer.due is None and timer.callback is None for timer in timers)


def test_a_timer_that_was_due_does_not_outlive_its_handler(
    reactor: Watched, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A timer restarted by force after its handler is over does not call out."""
    handler = reactor.attach(Watcher(), pair[0])
    ran: list[str] = []
    timer = handler.call_later(0, ran.append, "once")
    reactor.turn()
    assert ran == ["once"]
    handler.close()
    timer.restart(0)
    reactor.turn()

    assert ran == ["once"]


def test_timers_and_calls_run_while_the_handler_lives(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Until then they run as the reactor's do."""
    handler = reactor.attach(Watcher(), pair[0])
    ran: list[str] = []
    handler.call_soon(ran.append, "soon")
    handler.call_later(0, ran.append, "later")
    reactor.turn()

    assert sorted(ran) == ["later", "soon"]


@pytest.mark.parametrize("where", ["timer", "call", "event", "on_close"])
def test_what_a_handler_raises_closes_it_and_is_told_once(
    reactor: Watched, pair: tuple[socket.socket, socket.socket], where: str
) -> None:
    """An exception in a timer, a call or a hook ends its own handler, with the error as the reason."""

    @attrs.define(eq=False)
    class Raising(Watcher):
        errors: list[Exception] = attrs.field(factory=list)

        def on_error(self, exc: Exception) -> None:
            self.errors.append(exc)

        def on_close(self, reason: CloseReason) -> None:
            self.heard.append("close")
            if where == "on_close":
                raise ValueError("here")

    def fail(*_: object) -> None:
        raise ValueError("here")

    handler = reactor.attach(Raising(), pair[0])
    if where == "timer":
        handler.call_later(0, fail)
    elif where == "call":
        handler.call_soon(fail)
    elif where == "event":
        handler.act = fail
        pair[1].send(b"x")
    else:
        handler.close()
    reactor.turn(2)

    assert [(context.where, str(context.exc), context.handler) for context in reactor.raised] == [(where, "here", handler)]
    reactor.raised.clear()
    assert handler.heard[-1:] == ["close"]
    assert handler.reason is not None
    if where == "on_close":
        assert handler.reason.kind is CloseKind.LOCAL_CLOSE
        assert handler.errors == []  # nothing is called after on_close
    else:
        assert handler.reason.kind is CloseKind.HANDLER_ERROR
        assert handler.errors == [handler.reason.error]


def test_an_error_hook_that_raises_is_told_too(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Neither error is lost, and nothing recurs."""

    @attrs.define(eq=False)
    class Hopeless(Watcher):
        def on_readable(self) -> None:
            raise ValueError("first")

        def on_error(self, exc: Exception) -> None:
            raise ValueError("second")

    reactor.attach(Hopeless(), pair[0])
    pair[1].send(b"x")
    reactor.turn()

    assert [str(context.exc) for context in reactor.raised] == ["second", "first"]
    reactor.raised.clear()


def test_unref_lets_run_return(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A handler that said unref, before or after it got its socket, does not keep run going."""
    early, late = Watcher(), Watcher()
    early.unref()
    reactor.attach(early, pair[0])
    reactor.attach(late, pair[1])
    late.unref()
    late.unref()
    reactor.run()
    assert early.is_open
    assert reactor.uncounted == 2
    early.close()
    late.close()
    assert reactor.uncounted == 0


@pytest.mark.parametrize("call", ["call_soon", "call_later", "call_at", "call_every"])
def test_calls_need_a_reactor(reactor: Watched, pair: tuple[socket.socket, socket.socket], call: str) -> None:
    """Before the socket is there, and after the end, timers are refused, and the error says which it is."""
    handler = Watcher()
    arguments = (print,) if call == "call_soon" else (1, print)
    with pytest.raises(NotConnected, match="yet; wait for on_connect"):
        getattr(handler, call)(*arguments)
    reactor.attach(handler, pair[0])
    handler.close()
    with pytest.raises(NotConnected, match="any more"):
        getattr(handler, call)(*arguments)


def test_the_librarys_own_names_cannot_be_taken_by_accident() -> None:
    """A subclass that would replace one of them is refused, with the name; its own private names are its own."""
    with pytest.raises(UsageError, match="Thief._bind is a name of the library's own"):

        class Thief(Handler):
            def _bind(self) -> None: ...  # type: ignore[override]

    class Honest(Handler):
        def _mine(self) -> None: ...

    @attrs.define(eq=False)
    class Typed(Stream):
        limits: Limits = attrs.field(init=False, default=Limits(high=20_000))

    assert Typed().limits.high == 20_000


def test_a_value_that_would_have_no_effect_is_refused() -> None:
    """A plain class attribute in place of a field of the library is an error, not a setting that is ignored."""
    with pytest.raises(UsageError, match="Small.limits is set on instances"):

        class Small(Stream):
            limits = Limits(high=20_000)


def test_the_default_hooks_do_nothing(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A handler may leave out every hook."""
    handler = reactor.attach(Handler(), pair[0])
    handler.on_readable()
    handler.on_writable()
    handler.on_error(ValueError())
    handler.close()
    reactor.turn()
    assert handler.reason is not None


@pytest.mark.parametrize("bad", [Watcher, None, 7])
def test_only_handlers_are_attached(reactor: Watched, pair: tuple[socket.socket, socket.socket], bad: object) -> None:
    """A class, or something else, in place of a handler is refused."""
    with pytest.raises(UsageError, match="a handler is an instance"):
        reactor.attach(bad, pair[0])  # type: ignore[type-var]


def test_only_open_sockets_are_attached(reactor: Watched) -> None:
    """A closed socket is refused, and the handler may still be used."""
    here, there = unix_pair()
    here.close()
    handler = Watcher()
    with pytest.raises(UsageError, match="a socket that is closed"):
        reactor.attach(handler, here)
    reactor.attach(handler, there)


def test_a_class_without_identity_is_refused(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Decorated without eq=False, handlers would be unhashable: the error says what to write, and nothing is taken."""

    @attrs.define
    class Forgetful(Handler):
        name: str = ""

    for call in (lambda: reactor.attach(Forgetful(), pair[0]), lambda: reactor.connect(Forgetful(), "127.0.0.1:1")):
        with pytest.raises(UsageError, match=r"decorate Forgetful with @attrs.define\(eq=False\)"):
            call()
    assert not reactor.handlers
    reactor.attach(Watcher(), pair[0])


def test_an_init_that_forgets_its_parent_is_refused(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A hand-written __init__ must call the one of the library."""

    class Forgetful(Handler):
        def __init__(self) -> None:
            self.name = ""

    with pytest.raises(UsageError, match="must call super"):
        reactor.attach(Forgetful(), pair[0])


def test_a_connecting_handler_cannot_be_attached(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """It is promised to its attempt, which goes on."""
    with listening() as listener:
        handler = Watcher()
        reactor.connect(handler, listener.getsockname())
        with pytest.raises(HandlerReused, match="is connecting"):
            reactor.attach(handler, pair[0])
        reactor.until(lambda: handler.is_open)

"""Handler: one descriptor, what it waits for, its hooks and its timers.

The handler owns its descriptor from the moment it is bound until it is closed or let go by `detach`. What bytes mean
is not known here: see `stream`, `acceptor`, `connector`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import attrs

from reactor.errors import (
    LOCAL_ABORT,
    LOCAL_CLOSE,
    SHUTDOWN,
    CloseReason,
    HandlerReused,
    NotConnected,
    ReactorClosed,
    UsageError,
)
from reactor.poller import READ
from reactor.states import LIFE, Life, LifeEvent, move
from reactor.timers import Timer

if TYPE_CHECKING:
    from socket import socket

    from reactor.addresses import Address
    from reactor.reactor import Reactor
    from reactor.system import Gone
    from reactor.threads import ThreadCall

T = TypeVar("T")

_PACKAGE = __name__.partition(".")[0]


class Cancellable(Protocol):
    """Something under way that can be given up."""

    def cancel(self) -> bool:
        """Give up: nothing is called any more. True if it was still under way."""
        ...


class Sponsor(Protocol):
    """What has promised a handler its socket, or wants to know when it has lost it."""

    def _is_over(self, handler: Handler) -> None:
        """*handler* is closed or detached. No user code may be called from here."""
        ...


@attrs.define(eq=False)
class Handler:
    """One descriptor and what happens on it; to be subclassed, decorated with `@attrs.define(eq=False)`.

    A handler serves one connection, once. Names with a leading underscore belong to the library.
    """

    # Whether a forked child may keep it when its reactor begins anew.
    _heritable: ClassVar[bool] = True

    #: The reactor that serves it, once it is attached or connecting.
    reactor: Reactor = attrs.field(init=False, repr=False, default=None)
    #: Its socket, once it has one; after the end `sock.fileno()` is -1.
    sock: socket = attrs.field(init=False, repr=False, default=None)
    #: Why it ended, once it has.
    reason: CloseReason | None = attrs.field(init=False, repr=False, default=None)

    _is_connection: ClassVar[bool] = True  # for those who count them: no listener, and not on its way to become one
    _minds_hangups: ClassVar[bool] = False  # whether to look, while it is off the selector, if the peer is gone

    _life: Life = attrs.field(init=False, repr=False, default=Life.NEW)
    _fd: int = attrs.field(init=False, repr=False, default=-1)
    _told: int = attrs.field(init=False, repr=False, default=0)  # the interest that the kernel knows of; the poller's
    _since: float = attrs.field(init=False, repr=False, default=0.0)  # when it came to its reactor
    _counts: bool = attrs.field(init=False, repr=False, default=True)  # whether `run` goes on for its sake
    # Timers that wait, and calls in threads whose results are to come: what ends with it.
    _timers: set[Cancellable] | None = attrs.field(init=False, repr=False, default=None)
    _sponsor: Sponsor | None = attrs.field(init=False, repr=False, default=None)

    def __init_subclass__(cls) -> None:
        """Refuse, outside the library, a name that would replace one of its private ones, or a value that its fields hide.

        Raises:
            UsageError: the name.
        """
        super().__init_subclass__()
        if cls.__module__.partition(".")[0] == _PACKAGE:
            return
        library = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == _PACKAGE]
        fields = {field.name for base in library for field in vars(base).get("__attrs_attrs__", ())}
        own, annotated = vars(cls), vars(cls).get("__annotations__", {})
        for name in {*own, *annotated}:
            if name.startswith("_") and not name.endswith("__") and any(name in vars(base) for base in library):
                raise UsageError(f"{cls.__qualname__}.{name} is a name of the library's own; choose another one")
            if name in fields and name not in annotated and not isinstance(own[name], MemberDescriptorType):
                raise UsageError(f"{cls.__qualname__}.{name} is set on instances, and would have no effect on the class")

    # What subclasses override

    @property
    def interest(self) -> int:
        """What to ask the kernel for: READ, WRITE, both or 0; a function of the handler's state, READ by default.

        Where something that it depends on changes, call `refresh`.
        """
        return READ

    def on_readable(self) -> None:
        """Bytes, a connection or the end may be there to be read; maybe not: EAGAIN is legal."""

    def on_writable(self) -> None:
        """There may be room to write."""

    def on_error(self, exc: Exception) -> None:
        """A hook of this handler raised *exc*, and it has been closed for that. `Reactor.on_error` hears of it too."""

    def on_shutdown(self, grace: float) -> None:
        """The reactor shuts down, and closes in *grace* seconds what is still there. The default closes now."""
        self._close(SHUTDOWN)

    def on_close(self, reason: CloseReason) -> None:
        """It is over. Called exactly once, last, when the descriptor is closed already."""

    # What users call

    def fileno(self) -> int:
        """Return the descriptor's number, -1 before and after."""
        return -1 if self.sock is None else self.sock.fileno()

    @property
    def is_open(self) -> bool:
        """Whether it has a descriptor and may be called."""
        return self._life is Life.LIVE

    def refresh(self) -> None:
        """Make the kernel's interest equal to `interest`."""
        if self._life is Life.LIVE:
            self.reactor.check()
            self.reactor.poller.refresh(self)

    def close(self) -> None:
        """Close the descriptor now; `on_close` follows at the end of the pass. Closing twice is allowed."""
        self._close(LOCAL_CLOSE)

    def abort(self) -> None:
        """Close the descriptor now, with RST if it is a connection, so that the peer sees that something broke."""
        self._close(LOCAL_ABORT, reset=True)

    def detach(self) -> socket:
        """Let the socket go, open and unregistered, and return it. No hook is called any more, not even `on_close`.

        Raises:
            NotConnected: there is no socket (any more).
        """
        if self._life is not Life.LIVE:
            raise NotConnected(f"{type(self).__name__} has no socket to detach")
        self.reactor.check()
        self._life = move(LIFE, self._life, LifeEvent.DETACH)
        self._part()
        self.reactor.release(self)
        return self.sock

    def unref(self) -> None:
        """Let `Reactor.run` return although this handler still lives."""
        if self._counts:
            self._counts = False
            if self._hears:
                self.reactor.uncounted += 1

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call *callback* in the next pass, unless this handler is closed first."""
        self._owner_of_calls().call_soon(callback, *args, owner=self)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Like `Reactor.call_later`; the timer dies with the handler, and what it raises closes the handler."""
        return self._owner_of_calls().call_later(delay, callback, *args, owner=self)

    def call_at(self, due: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Like `Reactor.call_at`; the timer dies with the handler, and what it raises closes the handler."""
        return self._owner_of_calls().call_at(due, callback, *args, owner=self)

    def call_every(self, period: float, callback: Callable[..., object], *args: Any, **options: Any) -> Timer:
        """Like `Reactor.call_every`; the timer dies with the handler, and what it raises closes the handler."""
        return self._owner_of_calls().call_every(period, callback, *args, owner=self, **options)

    def run_in_thread(
        self,
        function: Callable[..., T],
        *args: Any,
        then: Callable[[T], object] | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> ThreadCall:
        """Like `Reactor.run_in_thread`; nothing is delivered after the handler's end, and what is raised closes it."""
        return self._owner_of_calls().run_in_thread(function, *args, then=then, on_error=on_error, owner=self)

    def call_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """Call *callback* in the loop's thread, unless this handler is closed by then. From any thread, at any time.

        So another thread writes and closes: `stream.call_threadsafe(stream.write, data)`. What it raises closes the handler.

        Raises:
            NotConnected: it has not had a reactor yet.
        """
        if self._life is Life.NEW:
            self._owner_of_calls()
        with suppress(ReactorClosed):  # and so this handler is
            self.reactor.call_threadsafe(callback, *args, owner=self)

    # What the library calls

    @property
    def _hears(self) -> bool:
        """Whether its calls and timers may still run."""
        return self._life is Life.LIVE or self._life is Life.CLAIMED

    @property
    def _details(self) -> str:
        """What `Loop.dump` says of it beside its class, descriptor and interest."""
        return ""

    def _facts(self, now: float) -> dict[str, Any]:
        """What `Loop.snapshot` says of it beside that: what JSON knows."""
        return {}

    def _idle_seconds(self, now: float) -> float | None:
        """For how long nothing has come or gone, if that is known."""
        return None if self.sock is None else self.reactor.system.idle_seconds(self.sock)

    def _hung_up(self, gone: Gone) -> None:
        """It is off the selector, and a look at its descriptor says that the peer is gone."""

    def _instrumented(self) -> None:
        """The instruments of the reactor are others now."""

    def _claim(self, reactor: Reactor, sponsor: Sponsor | None = None) -> None:
        """Promise this handler a socket, which *sponsor* will bind."""
        self._check_unused()
        self._life = move(LIFE, self._life, LifeEvent.CLAIM)
        self.reactor, self._sponsor = reactor, sponsor
        reactor.enrol(self)

    def _bind(self, reactor: Reactor, sock: socket, local: Address | None = None, peer: Address | None = None) -> None:
        """Take possession of *sock*; what is known of its addresses need not be asked for again."""
        self._life = move(LIFE, self._life, LifeEvent.BIND)
        self.reactor, self.sock, self._fd = reactor, sock, sock.fileno()

    def _opened(self) -> None:
        """The handler is bound and registered: a subclass may tell its user."""

    def _close(self, reason: CloseReason, *, reset: bool = False) -> None:
        """Unregister, close, and have `on_close` told in the end; the first reason stays."""
        life = self._life
        if life is Life.NEW:
            self._life = move(LIFE, life, LifeEvent.CLOSE)
        elif self._hears:
            self.reactor.check_thread()
            self._life = move(LIFE, life, LifeEvent.CLOSE)
            self.reason = reason
            self._closing()
            self._part()
            self.reactor.retire(self, reset=reset)

    def _last_calls(self) -> Iterable[Callable[[], object]]:
        """Return what has to be called before `on_close`."""
        return ()

    def _part(self) -> None:
        """Tell the sponsor that it is over, once."""
        sponsor, self._sponsor = self._sponsor, None
        if sponsor is not None:
            sponsor._is_over(self)

    def _closing(self) -> None:
        """The end has begun: a subclass brings its own states to theirs. No user code is called from here."""

    def _forked(self) -> None:
        """In a child process: a subclass forgets what is the parent's to do."""

    def _parts(self) -> Iterable[Handler]:
        """Return the handlers that are kept with this one."""
        return ()

    def _own(self, call: Cancellable) -> None:
        """Cancel *call* when this handler ends."""
        if self._timers is None:
            self._timers = set()
        self._timers.add(call)

    def _disown(self, call: Cancellable) -> None:
        if self._timers is not None:
            self._timers.discard(call)

    def _check_unused(self) -> None:
        life = getattr(self, "_life", None)
        if life is Life.NEW and type(self).__hash__ is not None:
            return
        name = type(self).__name__
        if type(self).__hash__ is None:
            raise UsageError(f"a handler is told from others by identity: decorate {name} with @attrs.define(eq=False)")
        if life is None:
            raise UsageError(f"{name} has an __init__ of its own, which must call super().__init__()")
        if life is Life.CLAIMED:
            raise HandlerReused(f"this {name} is connecting; make a new {name} for each connection")
        raise HandlerReused(f"this {name} has had its connection; make a new {name} for each one")

    def _owner_of_calls(self) -> Reactor:
        if not self._hears:
            when = "yet; wait for on_connect" if self._life is Life.NEW else "any more"
            raise NotConnected(f"{type(self).__name__} has no reactor {when}")
        return self.reactor

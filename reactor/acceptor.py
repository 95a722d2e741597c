"""Acceptor: listens, accepts in bounded batches, and rests while descriptors are used up.

What an errno of accept(2) means stands in `errnos`; how listening sockets are made, in `listening`. The acceptor owns its
listening sockets; an accepted one is owned by the handler that `on_accept` gives it to.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from reactor import errnos
from reactor.addresses import Address, AddressLike, Inet, from_kernel
from reactor.admission import Admission, network_of
from reactor.errnos import Accepting
from reactor.errors import SHUTDOWN, CloseKind, CloseReason, HandlerReused, UsageError
from reactor.handler import Handler
from reactor.listening import Listening, listen_on
from reactor.options import LISTEN_OPTIONS, ListenOptions
from reactor.poller import READ
from reactor.states import Life
from reactor.stream import Stream
from reactor.system import close
from reactor.timers import Timer

if TYPE_CHECKING:
    from reactor.reactor import Reactor

#: Seconds of rest after descriptors or memory have run out: doubled each time, back to the first by a success.
REST_SECONDS_MIN = 0.01
REST_SECONDS_MAX = 1.0
#: Exhaustions less than this many seconds apart are one episode, and are told of once.
EPISODE_GAP_SECONDS = 5.0

#: Connections that are taken from the kernel's queue when the reactor shuts down, at most.
DRAINED_CONNECTIONS_MAX = 4096
#: Goodbyes that are under way at a time, at most, and the seconds that each may take.
FAREWELLS_MAX = 64
FAREWELL_SECONDS = 2.0

_EVERY_INTERFACE = ("", "::", "0.0.0.0")


@attrs.define(eq=False)
class Acceptor(Handler):
    """Accepts connections and gives each to a handler of its own. Made by `Reactor.listen`.

    Subclass it and override `on_accept` for more; then call `listen` on an instance, or `Reactor.attach` it to a
    socket that listens already.
    """

    #: Returns a new handler for each connection: a class, a partial, any callable.
    factory: Callable[[], Handler] | None = None
    options: ListenOptions = LISTEN_OPTIONS

    _is_connection: ClassVar[bool] = False

    _listening: list[Listening] = attrs.field(init=False, repr=False, factory=list)
    _doors: list[_Door] = attrs.field(init=False, repr=False, factory=list)
    _pauses: set[str] = attrs.field(init=False, repr=False, factory=set)
    _batch: int = attrs.field(init=False, repr=False, default=1)  # accepts in one pass: as many as came the last time
    _rest: float = attrs.field(init=False, repr=False, default=REST_SECONDS_MIN)
    _admission: Admission | None = attrs.field(init=False, repr=False, default=None)
    _guests: dict[Handler, str] = attrs.field(init=False, repr=False, factory=dict)  # those who are counted, and for whom
    _farewells: dict[Handler, None] = attrs.field(init=False, repr=False, factory=dict)
    _rest_timer: Timer = attrs.field(init=False, repr=False)
    _exhausted_at: float | None = attrs.field(init=False, repr=False, default=None)
    _reserve: socket.socket | None = attrs.field(init=False, repr=False, default=None)  # to give up, when shedding

    def __attrs_post_init__(self) -> None:
        if not (self.factory is None or callable(self.factory)) or isinstance(self.factory, Handler):
            raise UsageError(
                f"listening takes what makes a handler for each connection (a class, a partial), not {self.factory!r}"
            )
        options = self.options
        if options.max_connections is not None or options.max_per_peer is not None:
            self._admission = Admission(options.max_connections, options.max_per_peer, options.slack)

    # Hooks

    def on_accept(self, sock: socket.socket, peer: Address) -> None:
        """A connection came. The default makes a handler, gives it the socket, and calls its `on_connect`.

        An override owns *sock*. If it raises, the socket is closed by RST, unless a handler has it; the acceptor lives on.
        """
        if self.factory is None:
            raise UsageError(f"{type(self).__name__} has no factory, and does not override on_accept")
        handler = self.factory()
        self.reactor.adopt(handler, sock, self._local_address, peer)
        self.reactor.guard(handler, "on_connect", handler._opened)

    def on_overload(self, sock: socket.socket, peer: Address) -> None:
        """A connection came that `ListenOptions` leave no room for. The default closes it by RST.

        An override owns *sock*; `turn_away` says goodbye with it.
        """
        close(sock, reset=True)

    def on_exhausted(self, exc: OSError) -> None:
        """Descriptors or memory have run out; called once in an episode. The default logs a warning."""
        then = "closing new ones" if self._reserve is not None else "resting until descriptors are free"
        self.reactor.log.warning(
            "cannot accept on %s: %s; %d handlers live; %s", self._name, exc, len(self.reactor.handlers), then
        )

    # What users call

    def listen(self, reactor: Reactor, address: AddressLike | socket.socket) -> Self:
        """Listen on *address*; see `Reactor.listen`. Returns the acceptor."""
        reactor.check_welcome()
        if self._life is not Life.NEW:
            raise HandlerReused(f"this {type(self).__name__} listens, or has listened; make a new one")
        self._listening = listen_on(reactor.system, address, self.options)
        first, *others = self._listening
        try:
            reactor.adopt(self, first.sock)
            for other in others:
                door = _Door(self)
                if not self._counts:
                    door.unref()
                self._doors.append(door)
                reactor.adopt(door, other.sock)
        except BaseException:
            self._close(CloseReason(CloseKind.ERROR))
            for each in self._listening:
                each.remove_file(reactor.system)
                close(each.sock)
            raise
        return self

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The real addresses, known after the end, too."""
        return tuple(each.address for each in self._listening)

    @property
    def port(self) -> int:
        """The one port of all addresses.

        Raises:
            UsageError: a Unix socket has none.
        """
        for address in self.addresses:
            if isinstance(address, Inet):
                return address.port
        raise UsageError(f"{self._name} has no port")

    def turn_away(self, sock: socket.socket, message: bytes) -> None:
        """Send *message* on *sock* and close it, without losing the message to a reset, and without serving anybody.

        At most `FAREWELLS_MAX` are under way at a time, for `FAREWELL_SECONDS` each; beyond that *sock* is closed by RST.
        """
        if len(self._farewells) >= FAREWELLS_MAX:
            close(sock, reset=True)
            return
        farewell = Farewell(message)
        self._farewells[farewell] = None
        farewell._sponsor = self
        self.reactor.adopt(farewell, sock)
        self.reactor.guard(farewell, "on_connect", farewell._opened)

    @property
    def connections(self) -> int:
        """How many of those that were accepted live; counted only where `ListenOptions` limit them, else 0."""
        return 0 if self._admission is None else self._admission.live

    def on_shutdown(self, grace: float) -> None:
        """Take those who wait in the kernel's queue already, since they are connected as far as they know; then close."""
        for door in (self, *self._doors):
            if door.is_open and not self._pauses:
                self._drain(door.sock)
        self._close(SHUTDOWN)

    def pause(self, why: str = "user") -> None:
        """Accept nobody until `resume(why)`; clients wait in the kernel's queue. Each *why* pauses by itself."""
        self._pauses.add(why)
        self.refresh()

    def resume(self, why: str = "user") -> None:
        """Take back `pause(why)`; accepting goes on when no other reason is left."""
        self._pauses.discard(why)
        self.refresh()

    def refresh(self) -> None:
        """Make the kernel's interest equal to `interest`, for every listening socket."""
        Handler.refresh(self)
        for door in self._doors:
            door.refresh()

    def unref(self) -> None:
        """Let `Reactor.run` return although this acceptor still listens."""
        super().unref()
        for door in self._doors:
            door.unref()

    # What the loop calls

    @property
    def interest(self) -> int:
        """READ, unless there is a reason to pause."""
        return 0 if self._pauses else READ

    def on_readable(self) -> None:
        """Accept a batch."""
        self._accept_from(self.sock)

    def _bind(
        self, reactor: Reactor, sock: socket.socket, local: Address | None = None, peer: Address | None = None
    ) -> None:
        super()._bind(reactor, sock, local, peer)
        if not self._listening:
            self._listening = [Listening(sock, from_kernel(sock.family, sock.getsockname()))]
        if self.options.on_exhaustion == "shed":
            with contextlib.suppress(OSError):  # used up already: rest, until there is one
                self._reserve = reactor.system.socket(sock.family)

    def _closing(self) -> None:
        self.reactor.awaiting_descriptor.pop(self._rested, None)
        if not self.reactor.is_inherited:
            for each in self._listening:
                each.remove_file(self.reactor.system)
        for door in self._doors:
            door._close(self.reason or CloseReason(CloseKind.LOCAL_CLOSE))
        if self._reserve is not None:
            self._reserve.close()

    def _forked(self) -> None:
        """Whoever was accepted is the parent's guest, and does not count here."""
        self._guests, self._farewells = {}, {}
        if self._admission is not None:
            self._admission = Admission(self._admission.most, self._admission.most_per_peer, self._admission.slack)
            self._pauses.discard("limit")

    def _parts(self) -> list[_Door]:
        return self._doors

    @property
    def _details(self) -> str:
        paused = f", paused by {', '.join(sorted(self._pauses))}" if self._pauses else ""
        return f", listens on {self._name}{paused}"

    def _facts(self, now: float) -> dict[str, Any]:
        return {"listens_on": [str(each) for each in self.addresses], "paused_by": sorted(self._pauses)}

    @property
    def _name(self) -> str:
        return ", ".join(map(str, self.addresses))

    @property
    def _local_address(self) -> Address | None:
        """The local address of every connection, if it is one and the same."""
        address = self._listening[0].address
        fixed = len(self._listening) == 1 and isinstance(address, Inet) and address.host not in _EVERY_INTERFACE
        return address if fixed else None

    def _accept_from(self, listener: socket.socket) -> None:
        """Accept as many as came the last time; double that while there are more, so that one more call to learn that
        nobody waits is made seldom, and a flood is taken in batches.
        """
        reactor, family = self.reactor, listener.family
        for accepted in range(self._batch):
            try:
                sock, raw = listener.accept()
            except OSError as error:
                if not self._refused(listener, error):
                    self._batch = max(1, accepted)
                    return
                continue
            reactor.counts["accepted"] += 1
            self._rest = REST_SECONDS_MIN
            self._welcome(sock, from_kernel(family, raw))
            if not self.is_open or self._pauses or reactor.is_inherited:
                return
        self._batch = min(2 * self._batch, self.options.accepts_per_pass)

    def _welcome(self, sock: socket.socket, peer: Address) -> None:
        """Have a new connection served, or turned away."""
        admission, network = self._admission, ""
        if admission is not None:
            network = network_of(peer)
            if not admission.has_room(network):
                self.reactor.counts["overloaded"] += 1
                self._call("on_overload", self.on_overload, sock, peer)
                return
        if self.reactor.instruments is not None:
            self.reactor.tell("on_accept", self, peer)
        self._call("on_accept", self.on_accept, sock, peer)
        if admission is not None:
            # Whoever has it now came last.
            owner = next((each for each in reversed(self.reactor.handlers) if each.sock is sock), None)
            if owner is not None and owner._sponsor is None:
                admission.enter(network)
                owner._sponsor = self
                self._guests[owner] = network
                if admission.is_full and self.options.on_limit == "wait":
                    self.pause("limit")

    def _is_over(self, handler: Handler) -> None:
        """One of those who were counted is gone, or a farewell."""
        if handler in self._farewells:
            del self._farewells[handler]
            return
        assert self._admission is not None
        self._admission.leave(self._guests.pop(handler))
        if "limit" in self._pauses and self._admission.is_open_again:
            self.resume("limit")

    def _call(self, where: str, hook: Callable[..., object], sock: socket.socket, peer: Address) -> None:
        """Call a hook that is given a socket; if it raises, the socket is closed, and the acceptor lives on."""
        try:
            hook(sock, peer)
        except BaseException as exc:
            self.reactor.dispose(sock)
            if not isinstance(exc, Exception):
                raise
            self.reactor.report(where, exc, self)

    def _drain(self, listener: socket.socket) -> None:
        """Accept all who wait, as many as there can have been."""
        for _ in range(min(self.options.backlog_connections, DRAINED_CONNECTIONS_MAX)):
            try:
                sock, raw = listener.accept()
            except OSError as error:
                if errnos.ACCEPT.get(error.errno or 0) is Accepting.SKIP:
                    continue
                return
            self.reactor.counts["accepted"] += 1
            self._welcome(sock, from_kernel(listener.family, raw))
            if not self.is_open or self._pauses or self.reactor.is_inherited:
                return

    def _refused(self, listener: socket.socket, error: OSError) -> bool:
        """Do what `accept`'s *error* asks for; True if the batch may go on."""
        meaning = errnos.ACCEPT.get(error.errno or 0)
        if meaning is Accepting.DRAINED:
            return False
        self.reactor.counts[f"accept_error.{errnos.name(error)}"] += 1
        if meaning is Accepting.SKIP:
            return True
        if meaning is Accepting.DEAD:
            self._close(CloseReason(CloseKind.ERROR, error))
            self.reactor.report("accept", error, self)
        else:
            self._exhausted(listener, error, expected=meaning is Accepting.REST)
        return False

    def _exhausted(self, listener: socket.socket, error: OSError, *, expected: bool) -> None:
        """Tell of the episode if it is new, then shed or rest."""
        before, self._exhausted_at = self._exhausted_at, self.reactor.time()
        if before is None or self._exhausted_at - before > EPISODE_GAP_SECONDS:
            if expected:
                try:
                    self.on_exhausted(error)
                except Exception as exc:
                    self.reactor.report("on_exhausted", exc, self)
            else:
                self.reactor.report("accept", error, self)
        if not self.is_open:
            return
        if self._reserve is not None and error.errno in errnos.OUT_OF_DESCRIPTORS:
            self._shed(listener)
            return
        self._rest_timer = self.call_later(self._rest, self._rested)
        self._rest = min(2 * self._rest, REST_SECONDS_MAX)
        self.reactor.awaiting_descriptor[self._rested] = None
        self.pause("exhaustion")

    def _rested(self) -> None:
        """The rest is over, or a descriptor has become free."""
        self.reactor.awaiting_descriptor.pop(self._rested, None)
        self._rest_timer.cancel()
        self.resume("exhaustion")

    def _shed(self, listener: socket.socket) -> None:
        """Use the reserved descriptor to accept clients and turn them away, so that they need not wait for nothing."""
        assert self._reserve is not None
        self._reserve.close()
        for _ in range(self.options.accepts_per_pass):
            try:
                sock, _ = listener.accept()
            except OSError:
                break
            close(sock, reset=True)
            self.reactor.counts["shed"] += 1
        try:
            self._reserve = self.reactor.system.socket(listener.family)
        except OSError:  # somebody was faster: rest, the next time
            self._reserve = None


@attrs.define(eq=False)
class Farewell(Stream):
    """Says its message to somebody who cannot be served, and closes."""

    _heritable = False

    message: bytes

    def on_connect(self) -> None:
        self.write(self.message)
        self.close(FAREWELL_SECONDS)


@attrs.define(eq=False)
class _Door(Handler):
    """One more listening socket of an acceptor that has several addresses."""

    _heritable = False  # by itself; it goes with its acceptor

    acceptor: Acceptor
    _is_connection: ClassVar[bool] = False

    @property
    def interest(self) -> int:
        return self.acceptor.interest

    def on_readable(self) -> None:
        self.acceptor._accept_from(self.sock)

    def on_close(self, reason: CloseReason) -> None:
        """An acceptor that has lost a door is closed, and says so."""
        self.acceptor._close(reason)

    @property
    def _details(self) -> str:
        return f", a door of {self.acceptor._name}"

"""Dial: from what a user wrote to the first connection that works, within one deadline.

Names are looked up, addresses tried side by side, as RFC 8305 says, and a proxy is talked to if there is one. Which address
comes when is decided in `race`; how one is tried, in `connector`. The handler is promised to the dial until it is connected
or has heard, by `on_close` alone, why not. What has lost is closed in the pass in which another one has won.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from reactor.addresses import Address, AddressLike, Inet, Unix, from_kernel, host_name, parse
from reactor.connector import Connector
from reactor.errors import AddressError, Attempt, CloseKind, CloseReason, LookupFailed, UsageError, as_os_error
from reactor.failure import failure, no_answer
from reactor.handler import Cancellable, Handler, Sponsor
from reactor.options import CONNECT_OPTIONS, ConnectOptions
from reactor.poller import READ
from reactor.race import Race, interleave
from reactor.resolver import Found, not_found
from reactor.states import DIALING, LIFE, Dialing, DialingEvent, Life, LifeEvent, move
from reactor.system import close
from reactor.timers import Timer
from reactor.tunnel import Tunnel

if TYPE_CHECKING:
    from reactor.proxies import Negotiation, Proxy
    from reactor.reactor import Reactor

_INET = (socket.AF_INET, socket.AF_INET6)


class Owner(Sponsor, Protocol):
    """Who wants to know what becomes of a dial, and of the handler that it has connected."""

    def _connected(self, handler: Handler) -> None:
        """*handler* is connected, and its `on_connect` was called."""
        ...


@attrs.define(eq=False)
class Dial:
    """A connection under way, as `Reactor.connect` returns it."""

    _reactor: Reactor
    _handler: Handler
    #: Where to, as it was asked for.
    targets: tuple[Address, ...]
    timeout: float
    options: ConnectOptions = CONNECT_OPTIONS
    via: Proxy | None = None
    _sock: socket.socket | None = attrs.field(default=None, repr=False)  # given by the user, and not used yet
    _owner: Owner | None = attrs.field(default=None, repr=False)

    _state: Dialing = attrs.field(default=Dialing.NEW, init=False, repr=False)
    _began: float = attrs.field(default=0.0, init=False, repr=False)
    _race: Race[Address] = attrs.field(init=False, repr=False)
    _lookups: dict[Inet, Cancellable | None] = attrs.field(factory=dict, init=False, repr=False)
    _tries: dict[_Try, None] = attrs.field(factory=dict, init=False, repr=False)
    _negotiation: Negotiation | None = attrs.field(default=None, init=False, repr=False)
    _tunnel: _Tunnel | None = attrs.field(default=None, init=False, repr=False)
    _ended: tuple[tuple[float, Attempt], ...] = attrs.field(default=(), init=False, repr=False)  # with their beginnings
    _next: Timer | None = attrs.field(default=None, init=False, repr=False)
    _deadline: Timer = attrs.field(init=False, repr=False)

    def cancel(self) -> bool:
        """Give up, silently: no hook is called after this, and no socket is open. True if it was still under way."""
        self._reactor.check_thread()
        under_way = self._handler._life is Life.CLAIMED
        if under_way:
            self._handler._sponsor = None
            self._drop()
            self._handler._life = move(LIFE, self._handler._life, LifeEvent.FORGET)
            self._reactor.release(self._handler)
        return under_way

    @property
    def is_pending(self) -> bool:
        """Whether it is still under way."""
        return self._state is Dialing.RACING or self._state is Dialing.NEGOTIATING

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What has been tried so far, without success, in the order in which it was begun."""
        return tuple(attempt for _, attempt in sorted(self._ended, key=lambda ended: ended[0]))

    # The steps

    @property
    def _doors(self) -> tuple[Address, ...]:
        """What is connected to from here: the targets, or the proxy."""
        return self.targets if self.via is None else (self.via.address,)

    def _start(self) -> None:
        if self.via is not None:
            self._negotiation = self.via.negotiate(self.targets[0])
        self._handler._claim(self._reactor, self)
        self._state = move(DIALING, self._state, DialingEvent.START)
        self._began = self._reactor.time()
        self._race = Race(self.options.attempt_delay)
        self._deadline = self._set_timer(self._began + self.timeout, self._timed_out)
        for door in self._doors:
            if isinstance(door, Unix) or door.family:
                self._race.add((door,))
            elif door not in self._lookups:
                self._look_up(door)
        self._go_on()

    def _look_up(self, door: Inet) -> None:
        self._lookups[door] = None
        done = functools.partial(self._looked_up, door)
        try:
            lookup = self._reactor.resolver.resolve(door.host, door.port, self.options.family, done)
        except Exception as error:  # a resolver of the user's
            self._reactor.call_soon(done, LookupFailed(None, f"{type(error).__name__}: {error}"))
            return
        self._lookups[door] = lookup

    def _looked_up(self, door: Inet, found: Found) -> None:
        """The answer for one name: its addresses join the race."""
        if not self.is_pending or door not in self._lookups:
            return
        del self._lookups[door]
        if not isinstance(found, LookupFailed):
            families = (self.options.family,) if self.options.family else _INET
            found = [each for each in found if each.family in families and each.port] or not_found(door.host)
        if isinstance(found, LookupFailed):
            self._note(door, found, self._began)
        else:
            if self.options.remember:
                since = self._reactor.time() - self.options.remember
                found = self._reactor.winners.first(_key(door), found, since=since)
            self._race.add(interleave(found))
        self._go_on()

    def _go_on(self) -> None:
        """Begin what is to be begun now; give up if nothing is left."""
        race, now = self._race, self._reactor.time()
        if self._sock is not None:  # it fits one family, and can be tried once
            while race.waiting and race.waiting[0].family != self._sock.family:
                other = race.waiting.pop(0)
                self._note(other, OSError(None, "not tried: the socket is of another family"), now)
        address = race.start(now)
        if address is not None:
            self._begin(address, now)
        due = race.next_due()
        if due is not None:
            if self._next is None:
                self._next = self._set_timer(due, self._go_on)
            else:
                self._next.restart_at(due)
        elif not self._tries and not self._lookups:
            self._give_up()

    def _begin(self, address: Address, now: float) -> None:
        attempt = _Try(address, self, now, timeout=self.options.attempt_timeout, options=self.options, given=self._sock)
        if self._sock is not None:
            self._sock = None
            self._race.waiting.clear()
            self._stop_lookups()
        if not self._handler._counts:
            attempt.unref()
        self._tries[attempt] = None
        attempt.start(self._reactor)

    def _failed(self, attempt: _Try, error: OSError) -> None:
        if attempt in self._tries:
            del self._tries[attempt]
            self._note(attempt.address, error, attempt.began)
            self._race.failed()
            self._go_on()

    def _won(self, winner: _Try, local: Address | None) -> None:
        """One is connected: close all others, at once."""
        del self._tries[winner]
        if self._negotiation is None:
            self._hand_over(winner, local)
            return
        self._stop_racing()
        self._state = move(DIALING, self._state, DialingEvent.REACH)
        self._tunnel = _Tunnel(self._negotiation, self, winner.address, winner.began)
        if not self._handler._counts:
            self._tunnel.unref()
        self._tunnel.start(self._reactor, winner.detach())

    def _refused_by_proxy(self, tunnel: _Tunnel, error: OSError) -> None:
        if tunnel is self._tunnel:
            self._tunnel = None
            self._note(tunnel.address, error, tunnel.began)
            self._give_up()

    def _hand_over(self, winner: _Try | _Tunnel, local: Address | None = None) -> None:
        """Give the handler the socket, and tell it."""
        reactor, handler, peer = self._reactor, self._handler, winner.address
        self._drop()
        try:
            reactor.succeed(winner, handler, local, peer)
        except Exception as error:  # the selector refuses it, or a user's `interest` raised
            self._note(peer, as_os_error(error), winner.began)
            self._give_up()
            return
        handler._sponsor = self._owner
        reactor.counts["connected"] += 1
        if self.options.remember and isinstance(peer, Inet):
            for door in self._doors:
                if not door.family:
                    reactor.winners.note(_key(door), peer, reactor.time())
        if reactor.instruments is not None:
            reactor.tell("on_connect", handler)
        reactor.guard(handler, "on_connect", handler._opened)
        if self._owner is not None and handler.is_open:
            self._owner._connected(handler)

    def _read(self, winner: _Try | _Tunnel) -> None:
        """Have the handler read what came with the connection, if it has the socket of *winner* now."""
        handler = self._handler
        if handler.sock is winner.sock and handler._told & READ:
            self._reactor.guard(handler, "event", handler.on_readable)

    # The end

    def _timed_out(self) -> None:
        """The deadline has passed: what is under way counts as not answered."""
        for door in self._lookups:
            self._note(door, no_answer("no answer from the resolver"), self._began)
        for attempt in self._tries:
            self._note(attempt.address, no_answer(), attempt.began)
        phase = "connect" if self._tries or not self._lookups else "lookup"
        if self._tunnel is not None:
            self._note(self._tunnel.address, no_answer("connected, but silent about the target"), self._tunnel.began)
            phase = "proxy"
        self._give_up(within=self.timeout, phase=phase)

    def _give_up(self, within: float | None = None, phase: str = "") -> None:
        _, last = self._ended[-1]
        error = failure(
            self.targets,
            self.attempts,
            cause=last.error,
            within=within,
            via=self.via,
            untried=tuple(self._race.waiting),
        )
        error.phase = phase or error.phase
        self._reactor.counts["connect_errors"] += 1
        kind = CloseKind.TIMEOUT if isinstance(last.error, TimeoutError) else CloseKind.ERROR
        self._handler._close(CloseReason(kind, error))

    def _note(self, address: Address, error: OSError, began: float) -> None:
        self._ended += ((began, Attempt(address, error, self._reactor.time() - began)),)

    def _is_over(self, handler: Handler) -> None:
        """The handler is closed before it was connected, by us or by anybody."""
        self._drop()
        if self._owner is not None:
            self._owner._is_over(handler)

    def _drop(self) -> None:
        """Let go of everything."""
        self._state = move(DIALING, self._state, DialingEvent.FINISH)
        self._stop_racing()
        self._deadline.cancel()
        if self._tunnel is not None:
            self._tunnel.cancel()
            self._tunnel = None
        if self._sock is not None:
            close(self._sock)
            self._sock = None

    def _stop_lookups(self) -> None:
        if not self._lookups:
            return
        lookups, self._lookups = self._lookups, {}
        for lookup in lookups.values():
            if lookup is not None:
                lookup.cancel()

    def _stop_racing(self) -> None:
        self._stop_lookups()
        tries, self._tries = self._tries, {}
        for attempt in tries:
            attempt.cancel()
        if self._next is not None:
            self._next.cancel()

    def _set_timer(self, due: float, callback: Callable[[], object]) -> Timer:
        timer = self._reactor.timers.add(due, callback)
        if not self._handler._counts:
            timer.unref()
        return timer


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)  # as its base, which would lose it
class _Try(Connector):
    """One of a dial's attempts."""

    address: Address  # that of a dial is checked
    dial: Dial
    began: float

    def __attrs_post_init__(self) -> None:
        pass  # so are its options

    def on_readable(self) -> None:
        """Bytes have come with the connection, and are heard in the same pass; or it has failed."""
        self.on_writable()
        self.dial._read(self)

    def _hand_over(self, local: Any) -> None:
        self.dial._won(self, None if local is None else from_kernel(self.address.family, local))

    def on_failed(self, exc: Exception) -> None:
        self.dial._failed(self, as_os_error(exc))


@attrs.define(eq=False)
class _Tunnel(Tunnel):
    """A dial's conversation with its proxy."""

    dial: Dial
    address: Address
    began: float

    def _hand_over(self) -> None:
        self.dial._tunnel = None
        self.dial._hand_over(self)
        self.dial._read(self)

    def on_failed(self, exc: Exception) -> None:
        self.dial._refused_by_proxy(self, as_os_error(exc))


def _key(door: Address) -> str:
    """Return under what the winner of *door* is remembered."""
    return str(door).lower()


def _check(target: Address, options: ConnectOptions) -> None:
    """Refuse a target that cannot be one.

    Raises:
        AddressError: no host, no port, or a family that the options rule out.
    """
    if not isinstance(target, Inet):
        return
    if not target.port:
        raise AddressError(f"connecting to '{target}' needs a port from 1 on")
    if not target.host:
        raise AddressError(f"connecting to '{target}' needs a host, such as '127.0.0.1:{target.port}'")
    family = target.family
    if family == 0:
        host_name(target.host)
    elif options.family not in (0, family):
        raise AddressError(f"'{target}' is not of the family that ConnectOptions.family asks for")


def dial(  # noqa: PLR0913  # what `Reactor.connect` takes
    reactor: Reactor,
    handler: Handler,
    address: AddressLike | list[AddressLike],
    *,
    timeout: float,
    options: ConnectOptions = CONNECT_OPTIONS,
    via: Proxy | None = None,
    sock: socket.socket | None = None,
    owner: Owner | None = None,
) -> Dial:
    """Begin to connect *handler* to *address*; see `Reactor.connect`."""
    if not isinstance(handler, Handler):
        raise UsageError(f"connect takes a handler, made for this one connection, not {handler!r}")
    targets = tuple(map(parse, address)) if isinstance(address, list) else (parse(address),)
    if not targets:
        raise UsageError("connect takes at least one address")
    for target in targets:
        _check(target, options if via is None else CONNECT_OPTIONS)
    if via is not None:
        if len(targets) > 1:
            raise UsageError("a proxy is asked for one address, not for several")
        _check(via.address, options)
    if sock is not None and (sock.fileno() < 0 or sock.type != socket.SOCK_STREAM or options.local):
        raise UsageError(f"connect takes an open stream socket, and no ConnectOptions.local beside it, not {sock!r}")
    made = Dial(reactor, handler, targets, timeout, options, via, sock, owner)
    made._start()
    return made

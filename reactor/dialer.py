"""Dial: from what a user wrote to the first connection that works, within one deadline.

The addresses of a target are tried one after the other. The handler is promised to the dial until it is connected or has
heard, by `on_close` alone, why not.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from typing import TYPE_CHECKING

import attrs

from reactor.addresses import Address, AddressLike, Inet, parse
from reactor.connector import Connector
from reactor.errors import (
    AddressError,
    Attempt,
    CloseKind,
    CloseReason,
    ConnectError,
    ConnectTimeout,
    UsageError,
    as_os_error,
)
from reactor.handler import Handler
from reactor.poller import READ
from reactor.states import LIFE, Life, LifeEvent, move
from reactor.system import close
from reactor.timers import Timer

if TYPE_CHECKING:
    from reactor.reactor import Reactor

_IN_WORDS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "no answer",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ENOENT: "no such socket",
}


def addresses_of(target: Address) -> list[Address]:
    """Return the addresses to try for *target*. `localhost` is loopback, without asking anybody (RFC 6761, 6.3).

    Raises:
        AddressError: no host, no port, or a name that would have to be looked up.
    """
    if not isinstance(target, Inet):
        return [target]
    if not target.port:
        raise AddressError(f"connecting to '{target}' needs a port from 1 on")
    if target.family:
        return [target]
    name = target.host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return [Inet("::1", target.port), Inet("127.0.0.1", target.port)]
    if not name:
        raise AddressError(f"connecting to '{target}' needs a host, such as '127.0.0.1:{target.port}'")
    raise AddressError(f"{target.host!r} is a name, and names are not looked up yet; give a numeric address")


@attrs.define(eq=False)
class Dial:
    """A connection under way, as `Reactor.connect` returns it."""

    _reactor: Reactor
    _handler: Handler
    #: Where to, as it was asked for.
    target: Address
    timeout: float
    #: What has been tried so far, without success.
    attempts: list[Attempt] = attrs.field(factory=list, init=False)
    _untried: deque[Address] = attrs.field(init=False, repr=False)
    _try: _Try | None = attrs.field(default=None, init=False, repr=False)
    _deadline: Timer = attrs.field(init=False, repr=False)

    def cancel(self) -> bool:
        """Give up, silently: no hook is called after this, and no socket is open. True if it was still under way."""
        self._reactor.check_thread()
        under_way = self._handler._life is Life.CLAIMED
        self._drop()
        if under_way:
            self._handler._life = move(LIFE, self._handler._life, LifeEvent.FORGET)
            self._reactor.release(self._handler)
        return under_way

    @property
    def is_pending(self) -> bool:
        """Whether it is still under way."""
        return self._try is not None

    def _start(self) -> None:
        self._untried = deque(addresses_of(self.target))
        self._handler._claim(self._reactor, self)
        self._deadline = self._reactor.call_later(self.timeout, self._timed_out)
        self._next()

    def _next(self) -> None:
        self._try = _Try(self._untried.popleft(), self)
        self._try.start(self._reactor)

    def _failed(self, attempt: _Try, error: OSError) -> None:
        self._note(attempt, error)
        if self._untried:
            self._next()
        else:
            self._give_up(ConnectError)

    def _note(self, attempt: _Try, error: OSError) -> None:
        self.attempts.append(Attempt(attempt.address, error, self._reactor.time() - attempt.started))

    def _timed_out(self) -> None:
        assert self._try is not None  # the deadline goes with the last try
        self._note(self._try, TimeoutError(errno.ETIMEDOUT, "no answer"))
        self._give_up(ConnectTimeout)

    def _give_up(self, kind: type[ConnectError]) -> None:
        within = f" within {self.timeout:g} s" if kind is ConnectTimeout else ""
        last = self.attempts[-1].error
        tried = ", ".join(
            f"{each.address} {_IN_WORDS.get(each.error.errno or 0, each.error.strerror)} ({each.elapsed:.2f} s)"
            for each in self.attempts
        )
        error = kind(last.errno, f"cannot connect to {self.target}{within}: {tried}")
        error.attempts = tuple(self.attempts)
        error.__cause__ = last
        self._reactor.counts["connect_errors"] += 1
        self._handler._close(CloseReason(CloseKind.TIMEOUT if isinstance(last, TimeoutError) else CloseKind.ERROR, error))

    def _connected(self, attempt: _Try, sock: socket.socket) -> None:
        """Bind, tell, and read at once: data may have come with the completion."""
        reactor, handler = self._reactor, self._handler
        self._try = None
        self._deadline.cancel()
        try:
            reactor.adopt(handler, sock, peer=attempt.address, promised=True)
        except Exception as error:  # the selector refuses it, or a user's `interest` raised
            self._note(attempt, as_os_error(error))
            self._give_up(ConnectError)
            close(sock)
            return
        reactor.counts["connected"] += 1
        if reactor.instruments is not None:
            reactor.tell("on_connect", handler)
        reactor.guard(handler, "on_connect", handler._opened)
        if handler._told & READ:
            reactor.guard(handler, "event", handler.on_readable)

    def _drop(self) -> None:
        self._deadline.cancel()
        if self._try is not None:
            self._try.cancel()
            self._try = None


@attrs.define(eq=False)
class _Try(Connector):
    """One of a dial's attempts."""

    dial: Dial
    started: float = attrs.field(init=False, default=0.0)

    def start(self, reactor: Reactor) -> _Try:
        self.started = reactor.time()
        super().start(reactor)
        return self

    def on_connect(self, sock: socket.socket) -> None:
        self.dial._connected(self, sock)

    def on_failed(self, exc: Exception) -> None:
        if isinstance(exc, OSError) and self.dial._try is self:
            self.dial._failed(self, exc)


def dial(reactor: Reactor, handler: Handler, address: AddressLike, timeout: float) -> Dial:
    """Begin to connect *handler* to *address*; see `Reactor.connect`."""
    if not isinstance(handler, Handler):
        raise UsageError(f"connect takes a handler, made for this one connection, not {handler!r}")
    made = Dial(reactor, handler, parse(address), timeout)
    made._start()
    return made

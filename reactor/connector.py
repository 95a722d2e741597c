"""Connector: one non-blocking attempt to connect one socket to one address.

connect(2) under EINPROGRESS: wait until the socket is ready, and believe success only when it has a peer; if it has none,
read SO_ERROR, once. What its errnos mean stands in `errnos`; names and several addresses are the dialer's. The connector
owns its socket until `on_connect` is called with it.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from reactor import errnos
from reactor.addresses import Address, Inet, parse
from reactor.errnos import Answer
from reactor.errors import LOCAL_ABORT, AddressError, CloseKind, CloseReason, as_os_error
from reactor.handler import Handler
from reactor.line import Line
from reactor.options import CONNECT_OPTIONS, ConnectOptions
from reactor.poller import READ, WRITE
from reactor.sockets import prepare
from reactor.states import CONNECTING, Connecting, ConnectingEvent, move
from reactor.system import close
from reactor.timers import seconds

if TYPE_CHECKING:
    from reactor.reactor import Reactor

#: A socket that connected to itself is thrown away and another one tried, this often.  # Go: 2
SELF_CONNECTS_MAX = 2


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Connector(Handler):
    """One attempt. Subclass it, override the two hooks, call `start`; exactly one of them is called, from the loop.

    Args:
        address: where to; numeric, or a Unix socket.
        timeout: seconds until the attempt fails with `TimeoutError`; None: as long as the kernel tries.
        options: how the socket is made; *family* and what concerns several addresses is the dialer's.
        given: an unconnected socket to be used, which belongs to the connector from `start` on. Default: a new one.

    Raises:
        AddressError: the address does not parse, or names a host.
        DelayError: *timeout* is not a finite number.
    """

    _heritable = False

    address: Address = attrs.field(converter=parse)
    timeout: float | None = attrs.field(default=None, kw_only=True)
    options: ConnectOptions = attrs.field(default=CONNECT_OPTIONS, kw_only=True, repr=False)
    given: socket.socket | None = attrs.field(default=None, kw_only=True, repr=False)

    _is_connection: ClassVar[bool] = False

    _state: Connecting = attrs.field(init=False, repr=False, default=Connecting.NEW)
    _self_connects: int = attrs.field(init=False, repr=False, default=0)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.address, Inet) and not (self.address.family and self.address.port):
            raise AddressError(f"connecting takes a numeric address and a port from 1 on, not '{self.address}'")
        if self.timeout is not None:
            seconds(self.timeout, "a timeout")

    # Hooks

    def on_connect(self, sock: socket.socket) -> None:
        """It is connected. *sock* is open, non-blocking and yours; if this raises, it is closed, unless a handler has it."""
        close(sock)

    def on_failed(self, exc: Exception) -> None:
        """It is not, because of *exc*; the socket is closed."""

    # What users call

    def start(self, reactor: Reactor) -> Self:
        """Begin. No hook is called from in here. Returns the connector.

        Raises:
            HandlerReused: it was started before.
        """
        reactor.check()
        self._claim(reactor)
        if self.timeout is not None:
            self.call_later(self.timeout, self._timed_out)
        try:
            self._bind(reactor, self._make_socket())
        except Exception as error:  # the kernel's; or this system cannot have what was given
            self._fail(as_os_error(error))
            return self
        if reactor.lines and self.address in reactor.lines:
            self._stand_in_line()  # who has waited longer goes first
        else:
            self._ask()
        return self

    def cancel(self) -> bool:
        """Give up, silently: no hook follows, and the socket is closed. True if it was still under way."""
        under_way = self._hears
        self._close(LOCAL_ABORT)
        return under_way

    # What the loop calls

    @property
    def interest(self) -> int:
        """Both while the kernel is connecting: READ tells that bytes have come with the connection, WRITE that it is there.

        Before that the socket would be reported ready for nothing.
        """
        return READ | WRITE if self._state is Connecting.WAITING else 0

    def on_readable(self) -> None:
        """As `on_writable`."""
        self.on_writable()

    def on_writable(self) -> None:
        """Something happened, success or failure: find out which. The kernel clears SO_ERROR by telling it."""
        try:
            peer = self.sock.getpeername()
        except OSError as error:
            self._has_no_peer(error)
        else:
            self._connected(peer)

    def on_close(self, reason: CloseReason) -> None:
        """Turn an end with an error into `on_failed`."""
        if isinstance(reason.error, Exception):
            self.on_failed(reason.error)

    @property
    def _details(self) -> str:
        return f", connects to {self.address}, {self._state.name}"

    def _facts(self, now: float) -> dict[str, Any]:
        return {"connects_to": str(self.address), "state": self._state.name}

    def _closing(self) -> None:
        if self._state is Connecting.RETRYING and self.address in self.reactor.lines:
            self.reactor.lines[self.address].leave(self)
        self._state = move(CONNECTING, self._state, ConnectingEvent.FINISH)

    # The steps

    def _make_socket(self) -> socket.socket:
        """Return the socket that was given, or a new one, with the options set."""
        system, family, sock = self.reactor.system, self.address.family, self.given
        if sock is None:
            sock = system.socket(family)
        try:
            if sock is self.given:
                sock = system.adopt(sock)
                sock.setblocking(False)
            prepare(system, sock, family, self.options)
        except BaseException:
            close(sock)
            raise
        return sock

    def _ask(self) -> bool:
        """Call connect(2), once, or once more if it has started nothing: then return False, and stand in line."""
        try:
            number = self.sock.connect_ex(self.reactor.system.sockaddr(self.address))
        except (OSError, ValueError, OverflowError) as error:  # a path that is too long
            self._fail(as_os_error(error))
            return True
        answer = errnos.connect_answer(self.address.family, number)
        if answer is Answer.CONNECTED:
            self.call_soon(self._connected)  # at once, but not from here: start() is still on the stack
        elif answer is Answer.PENDING:
            self._state = move(CONNECTING, self._state, ConnectingEvent.PEND)
            try:
                self.reactor.poller.refresh(self)
            except Exception as error:  # the selector refuses it, for reasons of its own
                self._fail(as_os_error(error))
        elif answer is Answer.RETRY:
            self._stand_in_line()
            return False
        else:
            self._fail(OSError(number, os.strerror(number)))
        return True

    def _stand_in_line(self) -> None:
        """Wait for room in the backlog, behind those who came before; who stands there already stays where it is."""
        self._state = move(CONNECTING, self._state, ConnectingEvent.RETRY)
        lines = self.reactor.lines
        if self.address not in lines:
            lines[self.address] = Line(self.reactor, self.address)
        lines[self.address].join(self)

    def _has_no_peer(self, error: OSError) -> None:
        """Find out why, or that it is too early to tell."""
        try:
            number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as worse:
            self._fail(worse)
            return
        if number:
            self._fail(OSError(number, os.strerror(number)))
        elif error.errno not in (errno.ENOTCONN, errno.EINPROGRESS):  # those: ready for no reason, still connecting
            self._fail(error)

    def _connected(self, peer: Any = None) -> None:
        """Hand over, unless the two ends are one.

        TCP's simultaneous open lets a socket connect to itself, if the port it was given is the one it asks for (RFC 9293,
        3.5). It happens with dead services on loopback ports of the ephemeral range.
        """
        local, is_itself = None, False
        try:
            local = self.sock.getsockname()
            is_itself = isinstance(self.address, Inet) and local == (peer or self.sock.getpeername())
        except OSError:  # reset since: whoever uses the socket will hear of it
            pass
        if is_itself:
            self._begin_anew()
            return
        self._state = move(CONNECTING, self._state, ConnectingEvent.FINISH)
        self._hand_over(local)

    def _hand_over(self, local: Any) -> None:
        """Give the socket away; *local* is its own name, if that could be had."""
        sock = self.detach()
        try:
            self.on_connect(sock)
        except BaseException:
            self.reactor.dispose(sock)
            raise

    def _begin_anew(self) -> None:
        """Throw the socket away; another one gets another port."""
        self._self_connects += 1
        self.reactor.poller.forget(self)
        close(self.sock, reset=True)
        if self._self_connects > SELF_CONNECTS_MAX or self.given is not None:
            self._fail(ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens: the socket connected to itself"))
            return
        self._state = Connecting.NEW
        try:
            self.sock = self._make_socket()
        except OSError as error:
            self._fail(error)
            return
        self._fd = self.sock.fileno()
        self._ask()

    def _timed_out(self) -> None:
        self._fail(TimeoutError(errno.ETIMEDOUT, f"no answer within {self.timeout:g} s"))

    def _fail(self, error: OSError) -> None:
        kind = CloseKind.TIMEOUT if isinstance(error, TimeoutError) else CloseKind.ERROR
        self._close(CloseReason(kind, error))

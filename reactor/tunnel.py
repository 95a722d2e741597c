"""Tunnel: one conversation with a proxy, on a socket that is connected to it, until it is connected to the target.

What is said stands in `proxies`; here it is carried. No byte is read beyond the proxy's last one, so what the target says
first waits in the kernel for whoever gets the socket. The tunnel owns the socket until `on_open` is called with it.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import attrs

from reactor import errnos
from reactor.errors import LOCAL_ABORT, CloseKind, CloseReason, ProxyError, as_os_error
from reactor.handler import Handler
from reactor.poller import READ, WRITE
from reactor.system import close

if TYPE_CHECKING:
    from reactor.proxies import Negotiation
    from reactor.reactor import Reactor

#: Calls of `recv` in one pass: an answer is read in small pieces, so that none of the target's bytes is taken.
RECEIVES_PER_PASS = 512


@attrs.define(eq=False)
class Tunnel(Handler):
    """One conversation. Subclass it, override the two hooks, call `start`; exactly one of them is called, from the loop."""

    _heritable = False

    negotiation: Negotiation
    _unsent: bytes = attrs.field(init=False, repr=False, default=b"")

    # Hooks

    def on_open(self, sock: socket.socket) -> None:
        """The proxy is connected to the target. *sock* is yours."""
        close(sock)

    def on_failed(self, exc: Exception) -> None:
        """It is not, because of *exc*; the socket is closed."""

    # What the owner calls

    def start(self, reactor: Reactor, sock: socket.socket) -> None:
        """Begin, on *sock*, which does not block, and belongs to this from now on."""
        self._claim(reactor)
        self._bind(reactor, sock)
        try:
            reactor.poller.refresh(self)
        except Exception as error:  # the selector refuses it, for reasons of its own
            self._fail(as_os_error(error))
            return
        self._send(self.negotiation.begin())

    def cancel(self) -> None:
        """Give up, silently: no hook follows, and the socket is closed."""
        self._close(LOCAL_ABORT)

    # What the loop calls

    @property
    def interest(self) -> int:
        """READ, and WRITE while the kernel has not taken all that is to be said."""
        return READ | WRITE if self._unsent else READ

    def on_readable(self) -> None:
        """Take what the proxy says, and no more."""
        negotiation = self.negotiation
        try:
            for _ in range(RECEIVES_PER_PASS):
                data = self.sock.recv(negotiation.wanted)
                if not data:
                    self._fail(ProxyError(errno.ECONNRESET, "it ended the connection without an answer"))
                    return
                self._send(negotiation.feed(data))
                if negotiation.is_open and self._unsent:
                    self._fail(ProxyError(errno.EPROTO, "it answered before it was asked"))
                if not self.is_open:
                    return
                if negotiation.is_open:
                    self._hand_over()
                    return
        except OSError as error:
            if error.errno not in errnos.TRY_AGAIN or isinstance(error, ProxyError):
                self._fail(error)

    def on_writable(self) -> None:
        """Say the rest."""
        self._send(b"")

    def on_close(self, reason: CloseReason) -> None:
        """Turn an end with an error into `on_failed`."""
        if isinstance(reason.error, Exception):
            self.on_failed(reason.error)

    def _send(self, data: bytes) -> None:
        self._unsent += data
        try:
            if self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except OSError as error:
            if error.errno not in errnos.TRY_AGAIN:
                self._fail(error)
                return
        self.refresh()

    def _hand_over(self) -> None:
        """Give the socket away."""
        sock = self.detach()
        try:
            self.on_open(sock)
        except BaseException:
            self.reactor.dispose(sock)
            raise

    def _fail(self, error: OSError) -> None:
        self._close(CloseReason(CloseKind.ERROR, error))

"""Wakes the loop from another thread or from a signal handler: a socket pair, one end of which the loop reads.

The byte is a doorbell, nothing more: what is to be done stands in the loop's inbox. A full pipe is a wake-up, too.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import attrs

from reactor.handler import Handler
from reactor.poller import READ
from reactor.system import System

_WAKE = b"\0"
_DRAIN_BYTES = 4096


@attrs.define(eq=False)
class Waker(Handler):
    """The reading end is this handler's descriptor; `wake` writes to the other."""

    _system: System
    #: How often a wait was ended from outside; rings in between are one.
    wakeups: int = attrs.field(init=False, repr=False, default=0)
    _writer: socket.socket = attrs.field(init=False, repr=False)
    _rung: bool = attrs.field(init=False, repr=False, default=False)
    _previous_fd: int = attrs.field(init=False, repr=False, default=-1)

    def open(self) -> socket.socket:
        """Make the pair; return the end to be attached."""
        reader, self._writer = self._system.doorbell()
        for sock, option in ((reader, socket.SO_RCVBUF), (self._writer, socket.SO_SNDBUF)):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, 1)
        return reader

    @property
    def interest(self) -> int:
        """READ, always."""
        return READ

    def wake(self) -> None:
        """Make the loop's wait return, now or the next time. From any thread, from a signal handler, at any time."""
        if not self._rung:
            self._rung = True
            self._ring()

    def _ring(self) -> None:
        # BlockingIOError: full, so the loop wakes up anyway. Other errors: the loop was closed a moment ago.
        with contextlib.suppress(OSError):
            self._writer.send(_WAKE)

    def on_readable(self) -> None:
        """Empty the pipe, be ready for the next ring, and only then have the inbox emptied, so that no ring is lost."""
        rung = b""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            rung = self.sock.recv(_DRAIN_BYTES)
        self._rung = False
        self.wakeups += 1
        self.reactor._take()
        signals = rung.replace(_WAKE, b"")
        if signals and self._previous_fd >= 0:
            self._system.ring(self._previous_fd, signals)

    @contextlib.contextmanager
    def rung_by_signals(self) -> Iterator[None]:
        """While this lasts, a signal rings too, whichever thread it hits; the previous doorbell is rung in turn."""
        self._previous_fd = self._system.set_wakeup_fd(self._writer.fileno())
        try:
            yield
        finally:
            self._system.set_wakeup_fd(self._previous_fd)
            self._previous_fd = -1

    def forked(self, *, was_running: bool) -> None:
        """In a child process: neither its signals nor anything else of its shall ring at the parent's."""
        if was_running:
            mine, current = self._writer.fileno(), self._system.set_wakeup_fd(-1)
            try:
                self._system.set_wakeup_fd(self._previous_fd if current == mine else current)
            except (OSError, ValueError):  # that was one of another reactor's, which has been closed here
                self._previous_fd = -1
        self.shut()

    def shut(self) -> None:
        """Close both ends."""
        self._writer.close()
        self.sock.close()

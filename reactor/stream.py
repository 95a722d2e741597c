"""Stream: a connection that carries bytes both ways, with back-pressure, half-close and a bounded end.

`on_connect`, then `on_data` as often as bytes come, then `on_end` if the peer finishes first, then `on_close`: always,
once, last. The stream owns its descriptor. What the bytes mean is for subclasses.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import suppress
from socket import IPPROTO_TCP, SHUT_WR, TCP_NODELAY
from typing import TYPE_CHECKING, ClassVar

import attrs

from reactor import errnos
from reactor.addresses import Address, Inet, from_kernel
from reactor.buffers import Buffer, Outgoing, byte_count
from reactor.errors import (
    LOCAL_CLOSE,
    PEER_END,
    SHUTDOWN,
    BufferOverflow,
    CloseKind,
    CloseReason,
    NotConnected,
    StreamBusy,
    StreamClosed,
)
from reactor.handler import Handler
from reactor.options import LIMITS, Limits
from reactor.poller import READ, WRITE
from reactor.states import (
    PRESSURE,
    READING,
    WRITING,
    Life,
    Pressure,
    PressureEvent,
    Reading,
    ReadingEvent,
    Writing,
    WritingEvent,
    move,
)
from reactor.timers import Timer, seconds

if TYPE_CHECKING:
    from socket import socket

    from reactor.reactor import Reactor

#: Bytes taken by one `recv`, of which there is one in a pass.  # asyncio 256 KiB, libuv, tornado, twisted 64 KiB
RECEIVE_BYTES = 65536

# For each event; to look them up in their classes costs as much as a call.
_FLOWING = Reading.FLOWING
_OPEN = Writing.OPEN


@attrs.define(eq=False)
class Stream(Handler):
    """A connected stream socket, TCP or Unix. Subclass it, decorate with `@attrs.define(eq=False)`, override hooks."""

    #: What `limits` begins as, for all instances of a class.
    default_limits: ClassVar[Limits] = LIMITS
    #: May be set on one instance, in `__attrs_post_init__` or in a hook.
    limits: Limits = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: self.default_limits, takes_self=True)
    )

    _reading: Reading = attrs.field(init=False, repr=False, default=Reading.IDLE)
    _writing: Writing = attrs.field(init=False, repr=False, default=Writing.IDLE)
    _outgoing: Outgoing | None = attrs.field(init=False, repr=False, default=None)  # None while nothing is queued
    _pressure: Pressure = attrs.field(init=False, repr=False, default=Pressure.LOW)
    # The reason to give when what is under way has ended.
    _ending: CloseReason | None = attrs.field(init=False, repr=False, default=None)
    _deadline: Timer | None = attrs.field(init=False, repr=False, default=None)  # of `close`
    _local: Address | None = attrs.field(init=False, repr=False, default=None)
    _peer: Address | None = attrs.field(init=False, repr=False, default=None)

    # Hooks

    def on_connect(self) -> None:
        """The connection is there, made or accepted."""

    def on_data(self, data: bytes) -> None:
        """*data* came: at least one byte, at most `RECEIVE_BYTES`; where it is cut means nothing."""

    def on_end(self) -> None:
        """The peer has sent its last byte. The default sends what is queued and closes; an override may go on writing."""
        self.close()

    def on_pause(self) -> None:
        """More than `limits.high` bytes are queued: stop producing. Called from the loop, not from inside `write`."""

    def on_drain(self) -> None:
        """The queue has been longer than `limits.high`, and no more than `limits.low` bytes are left: go on.

        If that went so fast that `on_pause` has not had its turn, it is left out.
        """

    def on_timeout(self, kind: str) -> None:
        """A deadline passed; "close" is that of `close`. The default aborts, with reason TIMEOUT."""
        error = TimeoutError(errno.ETIMEDOUT, f"{kind} deadline passed with {self.buffered} bytes unsent")
        self._close(CloseReason(CloseKind.TIMEOUT, error), reset=True)

    # What is known of it

    @property
    def interest(self) -> int:
        """READ while bytes are wanted, WRITE while any are queued. A stream's own affair: not to be overridden."""
        reading = self._reading
        wanted = READ if reading is Reading.FLOWING or reading is Reading.DISCARDING else 0
        return wanted if self._outgoing is None else wanted | WRITE

    @property
    def buffered(self) -> int:
        """How many bytes wait for the kernel to take them."""
        return 0 if self._outgoing is None else self._outgoing.size

    @property
    def is_writable(self) -> bool:
        """Whether `write` takes anything: there is a connection, and neither side has ended this direction."""
        return self._writing is Writing.OPEN

    @property
    def peer(self) -> Address:
        """The other side's address; known after the end, too.

        Raises:
            NotConnected: there has been no connection.
        """
        return self._known(self._peer)

    @property
    def local(self) -> Address:
        """This side's address; known after the end, too.

        Raises:
            NotConnected: there has been no connection.
        """
        return self._known(self._local)

    # Commands

    def write(self, data: Buffer) -> bool:
        """Send *data*, at once if the kernel takes it, else as soon as it does; b"" is nothing.

        A bytearray or view may be changed when this returns. Order is kept. Nothing is told from inside this call.

        Returns:
            False if the peer takes no more, so that *data* was dropped; `on_close` follows or has been.

        Raises:
            StreamClosed: after `end`, `close` or `abort`.
            NotConnected: before `on_connect`.
            UsageError: *data* is not bytes, a bytearray or a contiguous memoryview.
        """
        if self._writing is not _OPEN:
            return self._refuse_write()
        if self.reactor.debug:
            self.reactor.check()
        if self._outgoing is not None:
            return self._queue(data, 0)
        size = len(data) if type(data) is bytes else byte_count(data)
        if not size:
            return True
        try:
            sent = self.sock.send(data)
        except OSError as error:
            if error.errno not in errnos.TRY_AGAIN:
                self._break(error)
                return False
            sent = 0
        if sent == size:
            return True
        return self._queue(data, sent)

    def writelines(self, chunks: Iterable[Buffer]) -> bool:
        """Like `write` for all *chunks*, in order."""
        return self.write(b"".join(chunks))

    def end(self) -> None:
        """Send what is queued, then FIN; reading goes on. Ending twice is allowed.

        Raises:
            NotConnected: before `on_connect`.
        """
        if self._writing is Writing.IDLE:
            raise NotConnected(f"{type(self).__name__} has no connection to end yet")
        self.reactor.check()
        self._writing = move(WRITING, self._writing, WritingEvent.FINISH)
        self._finish_if_flushed()
        self._close_if_over()

    def close(self, timeout: float | None = None) -> None:
        """Send what is queued, then FIN, wait a little for the peer's own end, then close.

        No `on_data` follows. What the peer still sends is dropped, for `limits.linger` seconds at most, since closing
        with unread input makes the kernel send RST, which can destroy what was sent last (RFC 1122, 4.2.2.13).

        Args:
            timeout: seconds for sending what is queued, `limits.close_timeout` by default; then `on_timeout("close")`.
                Closing again can shorten what is left of it, not prolong it.

        Raises:
            DelayError: *timeout* is not a finite number.
        """
        delay = seconds(self.limits.close_timeout if timeout is None else timeout, "a timeout")
        if self._life is not Life.LIVE:
            self._close(LOCAL_CLOSE)
            return
        self.reactor.check()
        self._wind_down(PEER_END if self._reading is Reading.ENDED else LOCAL_CLOSE, delay)

    def pause(self) -> None:
        """Hand over no more bytes until `resume`, so that the kernel slows the peer down. Pausing twice is allowed.

        The peer's end or reset is not noticed meanwhile, unless something is written.
        """
        self._steer(ReadingEvent.PAUSE)

    def resume(self) -> None:
        """Go on after `pause`. Nothing is lost in between, the peer's end neither."""
        self._steer(ReadingEvent.RESUME)

    def detach(self) -> socket:
        """Let the socket go; see `Handler.detach`.

        Raises:
            StreamBusy: bytes are queued, which would be lost.
            NotConnected: there is no socket (any more).
        """
        if self._outgoing is not None:
            raise StreamBusy(f"{self.buffered} bytes are still queued; detach when buffered is 0")
        sock = super().detach()
        self._settle()
        return sock

    # What the loop calls

    def on_readable(self) -> None:
        """Receive once, and hand over."""
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except OSError as error:
            if error.errno not in errnos.TRY_AGAIN:
                self._close(self._broken_by(error))
            return
        if self._reading is _FLOWING:
            if data:
                self.on_data(data)
            else:
                self._peer_ended()
        elif not data:
            self._peer_ended()

    def on_writable(self) -> None:
        """Send what is queued, as far as the kernel takes it."""
        outgoing = self._outgoing
        if outgoing is None:
            return
        try:
            while outgoing.size:
                with outgoing.head() as head:
                    offered, sent = len(head), self.sock.send(head)
                outgoing.consume(sent)
                if sent < offered:
                    break
        except OSError as error:
            if error.errno not in errnos.TRY_AGAIN:
                self._break(error)
                return
        if not outgoing.size:
            self._outgoing = None
            self._finish_if_flushed()
            self._close_if_over()
            self.refresh()
        if self._pressure is not Pressure.LOW and outgoing.size <= self.limits.low:
            self._pressure = move(PRESSURE, self._pressure, PressureEvent.FALL)
            if self._writing is Writing.OPEN:
                self.on_drain()

    def _bind(self, reactor: Reactor, sock: socket, local: Address | None = None, peer: Address | None = None) -> None:
        super()._bind(reactor, sock, local, peer)
        self._reading = move(READING, self._reading, ReadingEvent.OPEN)
        self._writing = move(WRITING, self._writing, WritingEvent.OPEN)
        # Best effort: the peer may have reset already (getpeername: ENOTCONN, EINVAL on macOS).
        with suppress(OSError):
            self._local = local or from_kernel(sock.family, sock.getsockname())
        with suppress(OSError):
            self._peer = peer or from_kernel(sock.family, sock.getpeername())
        if isinstance(self._local, Inet):
            with suppress(OSError):  # EINVAL on macOS, when the peer is gone already
                sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)

    def _opened(self) -> None:
        self.on_connect()

    @property
    def _details(self) -> str:
        return f", {self._peer or 'unknown peer'}, {self._reading.name}/{self._writing.name}, {self.buffered} bytes queued"

    # Moves

    def _steer(self, event: ReadingEvent) -> None:
        if self._reading is Reading.IDLE:
            raise NotConnected(f"{type(self).__name__} has no connection to {event.name.lower()} yet")
        self._reading = move(READING, self._reading, event)
        self.refresh()

    def _peer_ended(self) -> None:
        """Take the peer's end; after a failed send it is none, but the rest of a reset, whose error is told only once."""
        if self._writing is Writing.BROKEN:
            self._close(self._ending or CloseReason(CloseKind.RESET))
            return
        was = self._reading
        self._reading = move(READING, was, ReadingEvent.END)
        self._close_if_over()
        self.refresh()
        if was is Reading.FLOWING:
            self.on_end()
            self._close_if_over()

    def _wind_down(self, reason: CloseReason, delay: float) -> None:
        """Begin, or hasten, a close for *reason*, which has *delay* seconds to send what is queued."""
        self._ending = self._ending or reason
        if self._writing is Writing.BROKEN:
            self._close(self._ending)
            return
        self._reading = move(READING, self._reading, ReadingEvent.DISCARD)
        self._writing = move(WRITING, self._writing, WritingEvent.FINISH)
        if self._outgoing is None:
            self._finish_if_flushed()
            self._close_if_over()
            self._linger()
        elif self._deadline is None:
            self._deadline = self.call_later(delay, self.on_timeout, "close")
        else:
            due = self.reactor.time() + delay
            if self._deadline.due is None or due < self._deadline.due:
                self._deadline.restart_at(due)
        self.refresh()

    def _finish_if_flushed(self) -> None:
        """Send the FIN when it is due and the queue is empty."""
        if self._writing is Writing.FINISHING and self._outgoing is None:
            self._writing = move(WRITING, self._writing, WritingEvent.FLUSHED)
            with suppress(OSError):  # ENOTCONN: the peer was faster (macOS)
                self.sock.shutdown(SHUT_WR)
            if self._deadline is not None:  # of the flush
                self._deadline.cancel()
                self._deadline = None
            self._linger()

    def _close_if_over(self) -> None:
        """Close when both halves have come to their end."""
        if self._life is Life.LIVE and self._reading is Reading.ENDED and self._writing is Writing.FINISHED:
            self._close(self._ending or PEER_END)

    def _linger(self) -> None:
        """Bound the time that is spent on reading and dropping, once everything is sent."""
        if self._writing is Writing.FINISHED and self._reading is Reading.DISCARDING and self._deadline is None:
            self._deadline = self.call_later(self.limits.linger, self._lingered)

    def _lingered(self) -> None:
        self._close(self._ending or LOCAL_CLOSE)

    def _queue(self, data: Buffer, start: int) -> bool:
        """Queue *data* from *start* on: the one way into the queue, so that every byte meets the marks."""
        if self._outgoing is None:
            self._outgoing = Outgoing()
        outgoing, limits = self._outgoing, self.limits
        outgoing.append(data, start)
        if outgoing.size > limits.hard:
            overflow = BufferOverflow(f"{outgoing.size} bytes queued for {self._peer}; the limit is {limits.hard}")
            self._close(CloseReason(CloseKind.ERROR, overflow), reset=True)
            return False
        if outgoing.size > limits.high and self._pressure is Pressure.LOW:
            self._pressure = move(PRESSURE, self._pressure, PressureEvent.RISE)
            self.call_soon(self._tell_pause)
        self.refresh()
        return True

    def _tell_pause(self) -> None:
        if self._pressure is Pressure.RISING and self._writing is Writing.OPEN:
            self._pressure = move(PRESSURE, self._pressure, PressureEvent.TELL)
            self.on_pause()

    def _break(self, error: OSError) -> None:
        """Sending failed with *error*: nothing more goes out, but what came in before is still handed over."""
        self._ending = self._broken_by(error)
        self._writing = move(WRITING, self._writing, WritingEvent.BREAK)
        self._outgoing = None
        if self._reading is not Reading.FLOWING or self._ending.kind is CloseKind.ERROR:
            self._close(self._ending)  # nobody would hear the rest
        self.refresh()

    def _broken_by(self, error: OSError) -> CloseReason:
        """Return the reason for an end by *error*; the error that came first is kept."""
        if self._writing is Writing.BROKEN and self._ending is not None:
            return self._ending
        return CloseReason(errnos.ending(error), error)

    def _refuse_write(self) -> bool:
        if self._writing is Writing.IDLE:
            raise NotConnected(f"{type(self).__name__} has no connection to write to yet; wait for on_connect")
        reason = self.reason or self._ending
        if reason is not None and reason.kind not in _OURS:
            return False
        raise StreamClosed(f"{type(self).__name__} was written to after end(), close() or abort()")

    def _close(self, reason: CloseReason, *, reset: bool = False) -> None:
        # A torn message must not look like a whole one.
        super()._close(reason, reset=reset or self._outgoing is not None)

    def _closing(self) -> None:
        self._settle()

    def _settle(self) -> None:
        self._reading = move(READING, self._reading, ReadingEvent.CLOSE)
        self._writing = move(WRITING, self._writing, WritingEvent.CLOSE)
        self._outgoing = self._deadline = None

    def _shut_down(self, grace: float) -> None:
        if self._life is Life.LIVE:
            self._wind_down(SHUTDOWN, grace)
        else:
            super()._shut_down(grace)

    def _known(self, address: Address | None) -> Address:
        if address is None:
            raise NotConnected(f"{type(self).__name__} has no addresses: it is not connected, or was reset at once")
        return address


#: Ends that the writing program has brought about itself. Of others it need not know yet.
_OURS = frozenset({CloseKind.LOCAL_CLOSE, CloseKind.LOCAL_ABORT})

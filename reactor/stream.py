"""Stream: a connection that carries bytes both ways, with back-pressure, deadlines, half-close and a bounded end.

`on_connect`, then `on_data` as often as bytes come, then `on_end` if the peer finishes first, then `on_close`: always,
once, last. The stream owns its descriptor. What the bytes mean is for subclasses.

What every stream has stands here; what some have beside that, in `extras`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from math import inf
from socket import SHUT_WR, SO_ERROR, SOL_SOCKET
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from reactor import errnos
from reactor.addresses import Address, Inet, from_kernel
from reactor.buffers import BLOCK_BYTES_MAX, JOIN_BYTES_BELOW, Buffer, OnSent, Outgoing, Piece, byte_count
from reactor.errors import (
    LOCAL_CLOSE,
    PEER_END,
    SHUTDOWN,
    BufferOverflow,
    CloseKind,
    CloseReason,
    FileShrank,
    NotConnected,
    NotSent,
    StreamBusy,
    StreamClosed,
    UsageError,
)
from reactor.extras import Extras
from reactor.handler import Handler
from reactor.options import LIMITS, Limits
from reactor.pipes import Feed, Pipe
from reactor.poller import READ, WRITE
from reactor.sending import offer
from reactor.sockets import set_nodelay
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
from reactor.system import Gone
from reactor.timers import Timer, seconds

if TYPE_CHECKING:
    from socket import socket

    from reactor.rates import RateGroup, RateLimit
    from reactor.reactor import Reactor

#: Bytes taken by one `recv`, of which there is one in a pass.  # libuv, tornado, twisted 64 KiB
RECEIVE_BYTES = 65536
#: The same, of a stream whose last `recv` was filled: fewer calls, of more memory each.  # asyncio
RECEIVE_BYTES_MAX = 262144
# glibc gives a heap's free end back if it is twice as long as the longest block that was mapped by itself and freed, and
# faults it in again for the next chunk (mallopt(3), M_MMAP_THRESHOLD). After this block, untouched by anybody, 2 MiB stay.
bytes(4 * RECEIVE_BYTES_MAX)
#: Bytes that one stream sends in one pass, at most, so that a peer with room for everything starves nobody.
SEND_BYTES_PER_PASS = 1024 * 1024

# For each event; to look them up in their classes costs as much as a call.
_FLOWING = Reading.FLOWING
_OPEN = Writing.OPEN
#: Fewer bytes than these are over nobody's high mark, or nobody cares: a comparison that is cheap.
_PULSE_BYTES_MIN = 1024
#: In the place of a queue: what is written is held back for a moment, and nothing has been written yet.
_HELD = b""


@attrs.define(eq=False)
class Stream(Handler):
    """A connected stream socket, TCP or Unix. Subclass it, decorate with `@attrs.define(eq=False)`, override hooks."""

    #: What `limits` begins as, for all instances of a class.
    default_limits: ClassVar[Limits] = LIMITS
    _minds_hangups: ClassVar[bool] = True
    #: May be set on one instance, in `__attrs_post_init__` or in a hook.
    limits: Limits = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: self.default_limits, takes_self=True)
    )

    _reading: Reading = attrs.field(init=False, repr=False, default=Reading.IDLE)
    _writing: Writing = attrs.field(init=False, repr=False, default=Writing.IDLE)
    # None while nothing is queued; bytes while `on_data` runs: `_HELD`, then what it has written, if one chunk or short.
    _outgoing: Outgoing | bytes | None = attrs.field(init=False, repr=False, default=None)
    _extras: Extras | None = attrs.field(init=False, repr=False, default=None)
    _receives: int = attrs.field(init=False, repr=False, default=RECEIVE_BYTES)
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
        """*data* came: at least one byte, at most `RECEIVE_BYTES_MAX`; where it is cut means nothing."""

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
        """A deadline passed: one of `Limits`, "close" that of `close`, others as `deadline` named them.

        The default aborts, with reason TIMEOUT. An override that does not, and does not set the deadline anew, lets it be.
        """
        error = TimeoutError(errno.ETIMEDOUT, f"{kind} deadline passed with {self.buffered} bytes unsent")
        self._close(CloseReason(CloseKind.TIMEOUT, error), reset=True)

    def on_shutdown(self, grace: float) -> None:
        """The reactor shuts down, and aborts in *grace* seconds. The default sends what is queued and closes.

        An override may finish what it is about, and then close: what still goes on after the grace is cut.
        """
        self._wind_down(SHUTDOWN, grace)

    # What is known of it

    @property
    def interest(self) -> int:
        """READ while bytes are wanted, WRITE while any are queued. A stream's own affair: not to be overridden."""
        reading = self._reading
        wanted = READ if reading is Reading.FLOWING or reading is Reading.DISCARDING else 0
        outgoing = self._outgoing
        if type(outgoing) is Outgoing and not outgoing.corked:
            wanted |= WRITE
        extras = self._extras
        if extras is None:
            return wanted
        if extras.holders and reading is Reading.FLOWING:  # what is dropped takes no memory, and unread it would mean RST
            wanted &= ~READ
        return wanted & extras.allowed

    @property
    def buffered(self) -> int:
        """How many bytes wait in memory for the kernel to take them; those of files do not count."""
        outgoing = self._outgoing
        if outgoing is None:
            return 0
        return len(outgoing) if isinstance(outgoing, bytes) else outgoing.size

    @property
    def is_sending(self) -> bool:
        """Whether anything waits to be sent, from memory or from a file."""
        return bool(self._outgoing)

    @property
    def is_writable(self) -> bool:
        """Whether `write` takes anything: there is a connection, and neither side has ended this direction."""
        return self._writing is Writing.OPEN

    @property
    def has_ended(self) -> bool:
        """Whether the peer has sent its last byte, and it has been received."""
        return self._reading is Reading.ENDED or self._reading is Reading.CLOSED

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

    def write(self, data: Buffer, on_sent: OnSent | None = None) -> bool:
        """Send *data*, at once if the kernel takes it, else as soon as it does; b"" is nothing.

        What is written inside `on_data`, or inside `with corked()`, is sent together when that is over.
        A bytearray or view may be changed when this returns. Order is kept. Nothing is told from inside this call.

        Args:
            data: the bytes.
            on_sent: called once, from the loop: with None when the kernel has taken the last of them, or with an error if
                it never will. That says nothing of the peer. Not after `on_close`.

        Returns:
            False if the peer takes no more, so that *data* was dropped; `on_close` follows or has been.

        Raises:
            StreamClosed: after `end`, `close` or `abort`.
            NotConnected: before `on_connect`.
            UsageError: *data* is not bytes, a bytearray or a contiguous memoryview.
        """
        if self._writing is not _OPEN:
            return self._refuse_write(on_sent)
        if self.reactor.debug:
            self.reactor.check()
        outgoing = self._outgoing
        if outgoing is not None:
            if on_sent is None and type(outgoing) is bytes:
                if type(data) is not bytes and byte_count(data) <= BLOCK_BYTES_MAX:
                    data = bytes(data)
                if outgoing is _HELD and type(data) is bytes:
                    self._outgoing = data
                    return True
                if len(outgoing) < JOIN_BYTES_BELOW and type(data) is bytes and len(data) <= BLOCK_BYTES_MAX:
                    self._outgoing = outgoing + data
                    return True
            return self._queue(data, on_sent)
        extras = self._extras
        if on_sent is not None or not (extras is None or extras.sends_freely):
            return self._queue(data, on_sent)
        size = len(data) if type(data) is bytes else byte_count(data)
        return not size or self._send_now(data, size)

    def writelines(self, chunks: Iterable[Buffer], on_sent: OnSent | None = None) -> bool:
        """Like `write` for all *chunks*, in order, in as few calls of the kernel as it takes."""
        with self.corked():
            went = all(map(self.write, chunks))
            return went if on_sent is None else self.write(b"", on_sent)

    def corked(self) -> AbstractContextManager[None]:
        """While this lasts, hold back what is written; then send it together. Inside `on_data` that is so by itself."""
        return _Corked(self)

    def send_file(self, file: Any, offset: int = 0, count: int | None = None, on_sent: OnSent | None = None) -> bool:
        """Send *count* bytes of a *file* from *offset* on, behind what was written before, without reading it into memory.

        The kernel copies it where it can (sendfile(2)); elsewhere it is read in pieces as they are sent, which may block
        for as long as the disk takes.

        Args:
            file: a file that is open for reading, or its descriptor. It stays yours; keep it open until *on_sent*, or until
                `on_close`. Its position is neither used nor changed.
            offset: where to begin.
            count: how many bytes; None: up to the end that it has now.
            on_sent: see `write`.

        Returns:
            False if the peer takes no more; see `write`. A file that turns out to be shorter ends the stream by RST, with
            `FileShrank`.

        Raises:
            StreamClosed, NotConnected: see `write`.
            UsageError: no such file, an offset or a count below 0, or more than the file has.
        """
        if self._writing is not _OPEN:
            return self._refuse_write(on_sent)
        self.reactor.check()
        fd = file if isinstance(file, int) else file.fileno()
        try:
            size = self.reactor.system.file_size(fd)
        except OSError as error:
            raise UsageError(f"send_file takes an open file, not {file!r}: {error.strerror}") from error
        left = size - offset if count is None else count
        if offset < 0 or left < 0 or offset + left > size:
            raise UsageError(f"{file!r} has {size} bytes; {left} from {offset} on cannot be sent")
        outgoing = self._real_queue()
        was_idle = not outgoing
        outgoing.append_piece(Piece(fd, offset, left))
        return self._queued(outgoing, was_idle, on_sent)

    def send_from(self, chunks: Iterable[Buffer], on_sent: OnSent | None = None) -> Feed:
        """Write what *chunks* gives, taking the next only while less than `limits.high` is queued.

        Args:
            chunks: any iterable of bytes; a generator is closed when the stream is. What it raises closes the stream.
            on_sent: called when the last byte has gone, or will never go; see `write`.

        Returns:
            something with `cancel()`.

        Raises:
            StreamClosed, NotConnected: see `write`.
        """
        self._check_open()
        return Feed(self, iter(chunks), on_sent).start()

    def pipe_to(self, other: Stream) -> Pipe:
        """Write to *other* all that comes from now on, instead of calling `on_data` and `on_end`.

        This stream is read no faster than *other* is written to. The peer's end is passed on, by `other.end()`; a stream
        that breaks breaks the other one. For a proxy, pipe both to each other.

        Returns:
            something with `cancel()`, after which `on_data` is called again.

        Raises:
            NotConnected: one of them has no connection.
            UsageError: they are one, belong to two reactors, or this one is piped already.
        """
        self._check_open(may_end=True)
        other._check_open()
        if self is other or self.reactor is not other.reactor:
            raise UsageError("a pipe joins two streams of one reactor")
        if self._more().pipe is not None:
            raise UsageError("this stream is piped already; cancel that first")
        return Pipe(self, other).start()

    def deadline(self, kind: str, seconds_: float | None) -> None:
        """Have `on_timeout(kind)` called in *seconds_* seconds; None: never.

        The kinds of `Limits` are measured from now and from each byte: "idle" in either direction, "read" in, "write" out
        while something is queued and no rate of our own holds it back. Any other *kind* is from now on, whatever comes: a
        request's head, a login. Setting one again sets it anew.

        Raises:
            NotConnected: there is no connection.
            DelayError: no finite number of seconds.
        """
        self._check_open(may_end=True)
        extras = self._more()
        if seconds_ is None:
            extras.deadlines.drop(kind)
        else:
            extras.deadlines.set(kind, seconds(seconds_, "a deadline"), self.reactor.time())
            extras.arm(self)

    def limit_rate(self, *, read: RateLimit | RateGroup | None = None, write: RateLimit | RateGroup | None = None) -> None:
        """Move no more bytes than that, each way; None: as many as there are. A `RateGroup` is shared by those who have it.

        Raises:
            NotConnected: there is no connection.
        """
        from reactor.rates import RateGroup, RateLimit  # loaded already, by whoever has made one

        self._check_open(may_end=True)
        self._more().limit(*(RateGroup(each) if isinstance(each, RateLimit) else each for each in (read, write)))
        self.refresh()

    def end(self) -> None:
        """Send what is queued, then FIN; reading goes on. Ending twice is allowed.

        Raises:
            NotConnected: before `on_connect`.
        """
        if self._writing is Writing.IDLE:
            raise NotConnected(f"{type(self).__name__} has no connection to end yet")
        self.reactor.check()
        self._uncork()
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
        if self._life is not Life.LIVE or self.reactor.is_inherited:
            self._close(LOCAL_CLOSE)
            return
        self.reactor.check()
        self._wind_down(PEER_END if self._reading is Reading.ENDED else LOCAL_CLOSE, delay)

    def pause(self) -> None:
        """Hand over no more bytes until `resume`, so that the kernel slows the peer down. Pausing twice is allowed.

        A reset by the peer is noticed all the same, within a second or so where nothing is queued; its end is not.
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
        self._uncork()
        if self._outgoing is not None:
            raise StreamBusy(f"{self.buffered} bytes are still queued; detach when buffered is 0")
        sock = super().detach()
        self._settle()
        for call in self._last_calls():  # no `on_close` comes for them to be called before
            self.reactor.call_soon(call)
        return sock

    # What the loop calls

    def on_readable(self) -> None:  # noqa: C901  # once for each message: a call more is a tenth of it
        """Receive once, and hand over."""
        extras = self._extras
        is_plain = extras is None or extras.is_plain
        size = self._receives if extras is None or is_plain else extras.receive_size(self, RECEIVE_BYTES)
        if not size:
            return
        try:
            data = self.sock.recv(size)
        except OSError as error:
            if error.errno not in errnos.TRY_AGAIN:
                self._close(self._broken_by(error))
            return
        if self._reading is not _FLOWING or not data:
            if not data:
                self._peer_ended()
            return
        if len(data) == size or size > RECEIVE_BYTES:
            self._receives = RECEIVE_BYTES if len(data) < RECEIVE_BYTES else RECEIVE_BYTES_MAX
        if extras is not None:
            if is_plain:
                extras.deadlines.heard = self.reactor.now
            elif extras.received(self, data):
                return
        if self._outgoing is not None:
            self.on_data(data)
            return
        self._outgoing = _HELD
        self.on_data(data)
        self._uncork()

    def on_writable(self) -> None:
        """Send what is queued, as far as the kernel takes it."""
        outgoing = self._outgoing
        if isinstance(outgoing, Outgoing):
            self._flush(outgoing)
            self.refresh()
            if self._pressure is not Pressure.LOW and outgoing.size <= self.limits.low:
                self._pressure = move(PRESSURE, self._pressure, PressureEvent.FALL)
                if self._extras is not None:
                    self._extras.relieve()
                if self._writing is Writing.OPEN:
                    self.on_drain()

    def _bind(self, reactor: Reactor, sock: socket, local: Address | None = None, peer: Address | None = None) -> None:
        super()._bind(reactor, sock, local, peer)
        self._reading = move(READING, self._reading, ReadingEvent.OPEN)
        self._writing = move(WRITING, self._writing, WritingEvent.OPEN)
        # Best effort: the peer may have reset already (getpeername: ENOTCONN, EINVAL on macOS).
        if local is None:
            try:  # noqa: SIM105  # a context manager would cost more than the call
                local = from_kernel(sock.family, sock.getsockname())
            except OSError:
                pass
        if peer is None:
            with suppress(OSError):
                peer = from_kernel(sock.family, sock.getpeername())
            if isinstance(local, Inet):  # else a dial has set it, or the listening socket, from which it is inherited
                set_nodelay(sock)
        self._local, self._peer = local, peer

    def _opened(self) -> None:
        if self.reactor.instruments is not None:
            self._instrumented()
        self.on_connect()
        if self._life is Life.LIVE:
            for kind, value in self.limits.timeouts:
                if not self._more().deadlines.has(kind):
                    self.deadline(kind, value)

    @property
    def _details(self) -> str:
        return f", {self._peer or 'unknown peer'}, {self._reading.name}/{self._writing.name}, {self.buffered} bytes queued"

    def _facts(self, now: float) -> dict[str, Any]:
        due, kind = (inf, "") if self._extras is None else self._extras.next_deadline(self)
        if self._deadline is not None and self._deadline.due is not None and self._deadline.due < due:
            due, kind = self._deadline.due, "close"
        return {
            "state": f"{self._reading.name}/{self._writing.name}",
            "local": None if self._local is None else str(self._local),
            "peer": None if self._peer is None else str(self._peer),
            "queued": self.buffered,
            "deadline": None if due == inf else {"kind": kind, "due_in": due - now},
        }

    def _hung_up(self, gone: Gone) -> None:
        # Of a FIN nothing follows: unread bytes may stand before it, and `resume` finds both. What is broken is over; so is
        # a connection that is over both ways and has nothing left to be read.
        number = 0
        if gone is Gone.BROKEN:
            with suppress(OSError):
                number = self.sock.getsockopt(SOL_SOCKET, SO_ERROR)
        elif gone is Gone.HUNG_UP and self._reading is Reading.ENDED:
            number = errno.EPIPE
        if number:  # else it was the error queue: recvmsg(2), MSG_ERRQUEUE
            self._close(self._broken_by(OSError(number, os.strerror(number))))

    def _instrumented(self) -> None:
        instruments = self.reactor.instruments
        if instruments is not None and instruments.count_bytes():
            self._more().is_watched = True
        elif self._extras is not None:
            self._extras.is_watched = False

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
        if was is Reading.FLOWING:
            if self._extras is None or not self._extras.ended():
                self.on_end()
            self._close_if_over()
        if self._life is Life.LIVE:  # most are closed by now
            self.reactor.poller.refresh(self)

    def _wind_down(self, reason: CloseReason, delay: float) -> None:
        """Begin, or hasten, a close for *reason*, which has *delay* seconds to send what is queued."""
        self._uncork()
        if self._life is not Life.LIVE:
            return
        self._ending = self._ending or reason
        if self._writing is Writing.BROKEN or (self._outgoing is None and self._ends_by_closing):
            self._close(self._ending)  # nothing is left to be sent or to be read
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
            if not self._ends_by_closing:
                with suppress(OSError):  # ENOTCONN: the peer was faster (macOS)
                    self.sock.shutdown(SHUT_WR)
            if self._deadline is not None:  # of the flush
                self._deadline.cancel()
                self._deadline = None
            self._linger()

    @property
    def _ends_by_closing(self) -> bool:
        """Whether nothing follows the last byte sent but `close`, and the FIN goes with that: nobody else has the socket."""
        return self._reading is Reading.ENDED and not self.reactor.system.has_forked

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

    # The queue

    def _real_queue(self) -> Outgoing:
        """The queue, made if there was none; what was held as bytes is in it."""
        outgoing = self._outgoing
        if not isinstance(outgoing, Outgoing):
            held, outgoing = outgoing, Outgoing(corked=outgoing is not None)
            self._outgoing = outgoing
            if held:
                outgoing.append(held)
                self.reactor.note_queued(outgoing.size)
        return outgoing

    def _queue(self, data: Buffer, on_sent: OnSent | None) -> bool:
        """Queue *data*, and send what can be sent if nothing was queued before."""
        outgoing = self._outgoing
        if type(outgoing) is not Outgoing:
            outgoing = self._real_queue()
        was_idle, size = not outgoing.corked and not outgoing, outgoing.size
        outgoing.append(data)
        self.reactor.note_queued(outgoing.size - size)
        return self._queued(outgoing, was_idle, on_sent)

    def _send_now(self, data: Buffer, size: int, *, was_seen: bool = False) -> bool:
        """Offer the kernel *data*, of *size* bytes; queue what it does not take. *was_seen*: it was held back before."""
        try:
            sent = self.sock.send(data)
        except OSError as error:
            if error.errno not in errnos.TRY_AGAIN:
                self._break(error)
                return False
            sent = 0
        if self._extras is not None:
            self._extras.deadlines.moved = self.reactor.time()
        if sent != size:
            return self._keep(data, sent, was_seen=was_seen)
        if was_seen and size > _PULSE_BYTES_MIN and size > self.limits.high:
            self._pulse()
        return True

    def _keep(self, data: Buffer, start: int, *, was_seen: bool) -> bool:
        """Queue what the kernel has not taken of *data*, all of which may have been seen in the queue."""
        outgoing = self._real_queue()
        outgoing.append(data, start)
        self.reactor.note_queued(outgoing.size)
        if self._extras is not None:
            self._extras.begin_sending(self)
        return self._check_marks(outgoing, was_high=was_seen and len(data) > self.limits.high)

    def _queued(self, outgoing: Outgoing, was_idle: bool, on_sent: OnSent | None) -> bool:
        """Something has been queued: the one way on, so that every byte meets the marks."""
        if on_sent is not None:
            outgoing.notify(on_sent)
        if outgoing.corked:
            return outgoing.size <= self.limits.hard or self._check_marks(outgoing)
        if was_idle:
            if self._extras is not None:
                self._extras.begin_sending(self)
            self._flush(outgoing)
            if self._outgoing is not outgoing:
                return self._writing is not Writing.BROKEN and self._life is Life.LIVE
        return self._check_marks(outgoing)

    def _check_marks(self, outgoing: Outgoing, *, was_high: bool = False) -> bool:
        """Act on how much is queued; *was_high*: it was over the high mark a moment ago, and somebody may have seen that."""
        limits = self.limits
        if outgoing.size > limits.hard:
            overflow = BufferOverflow(f"{outgoing.size} bytes queued for {self._peer}; the limit is {limits.hard}")
            self._close(CloseReason(CloseKind.ERROR, overflow), reset=True)
            return False
        is_high = outgoing.size > limits.high or (was_high and outgoing.size > limits.low)
        if is_high and self._pressure is Pressure.LOW:
            self._pressure = move(PRESSURE, self._pressure, PressureEvent.RISE)
            self.call_soon(self._tell_pause)
        self.refresh()
        return True

    def _uncork(self) -> None:
        """Send what was held back."""
        held, extras = self._outgoing, self._extras
        if type(held) is bytes and (not held or extras is None or extras.sends_freely):
            self._outgoing = None
            if held:
                self._send_now(held, len(held), was_seen=True)
            return
        if held is None:
            return
        outgoing = self._real_queue()
        if outgoing.corked:
            outgoing.corked = False
            if extras is not None:
                extras.begin_sending(self)
            was_high = outgoing.size > self.limits.high
            self._flush(outgoing)
            if self._outgoing is outgoing:
                self._check_marks(outgoing, was_high=was_high)
            if was_high and outgoing.size <= self.limits.low:
                self._pulse()

    def _pulse(self) -> None:
        """The queue was over its high mark, for as long as it was held back: whoever saw that hears that it is over."""
        is_heard = getattr(self.on_drain, "__func__", None) is not Stream.on_drain
        # If there is no connection any more, the last of what was sent was an error.
        if self._life is Life.LIVE and (is_heard or (self._extras is not None and self._extras.sources)):
            self.call_soon(self._tell_drain)

    def _tell_drain(self) -> None:
        if self._pressure is Pressure.LOW and self._writing is Writing.OPEN:
            if self._extras is not None:
                self._extras.relieve()
            self.on_drain()

    def _flush(self, outgoing: Outgoing) -> None:
        """Offer the kernel what is queued, until it takes no more, the rate is used up, or others are to have their turn."""
        size = outgoing.size
        try:
            self._send_queued(outgoing)
        except OSError as error:
            if error.errno not in errnos.TRY_AGAIN:
                self.reactor.note_queued(outgoing.size - size)
                self._break(error)
                return
        except FileShrank as error:
            self.reactor.note_queued(outgoing.size - size)
            self._close(CloseReason(CloseKind.ERROR, error), reset=True)
            return
        self.reactor.note_queued(outgoing.size - size)
        if told := outgoing.told():
            self._more().tell_sent(told)
            self._tell_later()
        if not outgoing:
            self._outgoing = None
            self._finish_if_flushed()
            self._close_if_over()

    def _send_queued(self, outgoing: Outgoing) -> None:
        """The calls of `_flush`; raises what they raise."""
        extras, budget = self._extras, SEND_BYTES_PER_PASS
        while outgoing and budget > 0:
            allowed = budget if extras is None else extras.send_size(self, budget)
            if not allowed:
                return
            offered, sent = offer(outgoing, allowed, self.sock, self.reactor.system)
            outgoing.consume(sent)
            budget -= sent
            if extras is not None:
                extras.sent(sent, self.reactor.time())
                if extras.is_watched:
                    self.reactor.tell("on_write", self, sent)
            if sent < offered:
                return

    def _tell_pause(self) -> None:
        if self._pressure is Pressure.RISING and self._writing is Writing.OPEN:
            self._pressure = move(PRESSURE, self._pressure, PressureEvent.TELL)
            if self._extras is not None:
                self._extras.press()
            self.on_pause()

    def _break(self, error: OSError) -> None:
        """Sending failed with *error*: nothing more goes out, but what came in before is still handed over."""
        self._ending = self._broken_by(error)
        self._writing = move(WRITING, self._writing, WritingEvent.BREAK)
        self._drop_queue(error)
        if self._reading is not Reading.FLOWING or self._ending.kind is CloseKind.ERROR:
            self._close(self._ending)  # nobody would hear the rest
        self.refresh()

    def _broken_by(self, error: OSError) -> CloseReason:
        """Return the reason for an end by *error*; the error that came first is kept."""
        if self._writing is Writing.BROKEN and self._ending is not None:
            return self._ending
        return CloseReason(errnos.ending(error), error)

    def _refuse_write(self, on_sent: OnSent | None) -> bool:
        if self._writing is Writing.IDLE:
            raise NotConnected(f"{type(self).__name__} has no connection to write to yet; wait for on_connect")
        reason = self.reason or self._ending
        if reason is not None and reason.kind not in _OURS:
            if on_sent is not None and self._life is not Life.OVER:
                self._more().tell_unsent([on_sent], reason.error or NotSent(f"the connection was closed: {reason}"))
                self._tell_later()
            return False
        raise StreamClosed(f"{type(self).__name__} was written to after end(), close() or abort()")

    def _close(self, reason: CloseReason, *, reset: bool = False) -> None:
        # A torn message must not look like a whole one.
        super()._close(reason, reset=reset or bool(self._outgoing))

    def _closing(self) -> None:
        self._settle()

    def _forked(self) -> None:
        """What is queued is sent by the parent, and by nobody else; so is what feeds it, and what it feeds."""
        self._outgoing, self._pressure = None, Pressure.LOW
        if self._extras is not None:
            self._extras.forked()

    def _settle(self) -> None:
        self._reading = move(READING, self._reading, ReadingEvent.CLOSE)
        self._writing = move(WRITING, self._writing, WritingEvent.CLOSE)
        self._deadline = None
        self._drop_queue(None if self.reason is None else self.reason.error)
        if self._extras is not None:
            self._extras.closed(None if self.reason is None else self.reason.error)

    def _drop_queue(self, error: BaseException | None) -> None:
        """Forget what is queued; whoever waits for it to be sent will hear that it was not."""
        outgoing, self._outgoing = self._outgoing, None
        if isinstance(outgoing, Outgoing):
            self.reactor.note_queued(-outgoing.size)
            told, untold = outgoing.told(), outgoing.untold()
            if told or untold:
                self._more().tell_sent(told)
                self._more().tell_unsent(untold, error or NotSent(f"the connection was closed: {self.reason}"))
                self._tell_later()

    def _tell_later(self) -> None:
        """Have those who are to be told be told, now that they will not be by the end."""
        if self._life is Life.LIVE:
            self.call_soon(self._more()._tell)

    def _more(self) -> Extras:
        """What only some streams have; made when it is first needed."""
        if self._extras is None:
            self._extras = Extras.begin(self.reactor.time())
        return self._extras

    def _check_open(self, *, may_end: bool = False) -> None:
        """Raise unless there is a connection, and, unless it *may_end*, this side has not ended this direction."""
        if self._life is not Life.LIVE:
            raise NotConnected(f"{type(self).__name__} has no connection")
        # BROKEN is the peer's doing, of which the program need not know yet.
        if not may_end and self._writing is not Writing.OPEN and self._writing is not Writing.BROKEN:
            raise StreamClosed(f"{type(self).__name__} takes nothing more: {self._writing.name}")
        self.reactor.check()

    def _last_calls(self) -> list[Callable[[], object]]:
        return [] if self._extras is None else self._extras.last_calls()

    def _hold_reading(self, who: int, *, on: bool) -> None:
        """Read no more for the sake of *who*, whatever the user asks for, until this is taken back."""
        if self._life is Life.LIVE:
            extras = self._more()
            extras.holders = extras.holders | who if on else extras.holders & ~who
            self.refresh()

    def _known(self, address: Address | None) -> Address:
        if address is None:
            raise NotConnected(f"{type(self).__name__} has no addresses: it is not connected, or was reset at once")
        return address


@attrs.define(eq=False)
class _Corked:
    """What `Stream.corked` returns. Made for each answer, which `contextlib.contextmanager` is too slow for."""

    _stream: Stream
    _began: bool = attrs.field(default=False, init=False)

    def __enter__(self) -> None:
        stream = self._stream
        if stream._outgoing is None and stream._writing is _OPEN:  # else it is queued or held back already
            stream._outgoing = _HELD
            self._began = True

    def __exit__(self, *exc_info: object) -> None:
        if self._began:
            self._stream._uncork()


#: Ends that the writing program has brought about itself. Of others it need not know yet.
_OURS = frozenset({CloseKind.LOCAL_CLOSE, CloseKind.LOCAL_ABORT})

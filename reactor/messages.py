"""MessageStream: a stream that carries messages. A codec makes them; this hands them over, one by one.

What a message means is for subclasses, how it looks on the wire is for `codecs`. The stream owns its descriptor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, cast

import attrs

from reactor.codecs import Chunks, Codec, In, Out
from reactor.errors import CloseKind, CloseReason, FramingError, UsageError
from reactor.pipes import Pipe
from reactor.poller import READ
from reactor.states import Reading, Writing
from reactor.stream import Stream

#: Messages handed over in one pass, so that one chunk of very many small ones starves nobody.
MESSAGES_PER_PASS = 256
#: After a change of codec, input is cut in pieces that begin with this size and double: what a codec cuts ahead, and the
#: next change undoes, is so no more than has been used before.
PIECE_BYTES_FIRST = 256

_FLOWING = Reading.FLOWING
#: The states in which the program may still get something.
_LISTENING = (Reading.FLOWING, Reading.PAUSED)
_RAW = Chunks()


@attrs.define(eq=False)
class _Backlog:
    """What has come and is not handed over."""

    codec: Codec[Any, Any]  # that cut the messages
    pieces: deque[memoryview]  # what comes after them, and is not cut yet
    messages: Iterator[tuple[int, Any]] = attrs.field(factory=lambda: iter(()))  # numbered; those after `taken`
    taken: int = 0  # how many of the last `feed` have been handed over
    _size: int = PIECE_BYTES_FIRST

    def change(self, codec: Codec[Any, Any]) -> None:
        """Have *codec* cut everything that is not handed over."""
        rest = self.codec.take_rest(self.taken)
        if rest:
            self.pieces.appendleft(memoryview(rest))
        self.codec, self.messages, self.taken, self._size = codec, iter(()), 0, PIECE_BYTES_FIRST

    def cut(self) -> bool:
        """Cut the next piece, all messages of the last one having been taken; False if there is none."""
        if not self.pieces:
            return False
        piece = self.pieces.popleft()
        if len(piece) > self._size:
            self.pieces.appendleft(piece[self._size :])
        self.messages, self.taken = enumerate(self.codec.feed(bytes(piece[: self._size])), 1), 0
        self._size *= 2
        return True


@attrs.define(eq=False)
class MessageStream(Stream, Generic[In, Out]):
    """A stream whose input comes as messages of type *In*, and that sends messages of type *Out*.

    Declare which codec it begins with, by a factory, since each connection needs its own::

        @attrs.define(eq=False)
        class Shout(MessageStream[bytes, bytes]):
            codec: Codec[bytes, bytes] = attrs.field(init=False, factory=Lines)

            def on_message(self, message: bytes) -> None:
                self.send(message.upper())

    `on_data` is its own affair, and not to be overridden. After `pause`, `close` or `abort` no further message comes, not
    even one that is here already; `resume` lets them come, later. What the program does not take it does not read.
    """

    #: What makes and takes messages; to be changed by `switch` only.
    codec: Codec[In, Out] = attrs.field(init=False, repr=False, default=None)
    _backlog: _Backlog | None = attrs.field(init=False, repr=False, default=None)
    _delivering: bool = attrs.field(init=False, repr=False, default=False)

    # Hooks

    def on_message(self, message: In) -> None:
        """A whole *message* came."""

    def on_raw(self, data: bytes) -> None:
        """*data* came, cut anywhere, after `switch(None)`."""

    def on_framing_error(self, exc: FramingError) -> None:
        """What came is no message, or ended in the middle of one. No further message comes.

        An override may `write` an answer and `close`; what has not been closed is aborted then, so that the peer sees that
        something broke. Either way the reason is ERROR, with *exc*.
        """

    # Commands

    def send(self, message: Out) -> bool:
        """Encode *message* and `write` it.

        Raises:
            BadMessage: the codec cannot encode it; nothing was sent.
        """
        return self.write(self.codec.encode(message))

    def switch(self, codec: Codec[In, Out] | None) -> None:
        """From the next byte on, use *codec*, both ways; None hands bytes to `on_raw` as they come.

        The next byte is the first that belongs to no message that has been handed over, also if it is here already. Nothing
        is called from inside this.

        Raises:
            UsageError: *codec* works for another connection.
        """
        before, self.codec = self.codec, self._claim_codec(codec)
        if not self._delivering and self._backlog is None and before is not None and self._reading in _LISTENING:
            rest = before.take_rest()
            if rest:
                self._put_off(_Backlog(self.codec, deque([memoryview(rest)])))

    def pipe_to(self, other: Stream) -> Pipe:
        """As that of a stream, with no codec from now on, and first what belongs to no message that was handed over."""
        pipe = super().pipe_to(other)
        self.switch(None)
        return pipe

    def resume(self) -> None:
        super().resume()
        if self._backlog is not None and self._reading is _FLOWING:
            self.call_soon(self._go_on, self._backlog)

    @property
    def interest(self) -> int:
        """As that of a stream; but no READ while messages wait that are here already."""
        wanted = super().interest
        return wanted & ~READ if self._backlog is not None and self._reading is _FLOWING else wanted

    # What the loop calls

    def on_data(self, data: bytes) -> None:
        """Cut *data*, and hand its messages over."""
        if self._backlog is not None:
            self._backlog.pieces.append(memoryview(data))
            return
        codec = self.codec
        messages = enumerate(codec.feed(data), 1)
        taken, is_all = self._hand_over(codec, messages, 0, MESSAGES_PER_PASS)
        if not is_all:
            self._work_off(_Backlog(codec, deque(), messages, taken), MESSAGES_PER_PASS - taken)

    def _hand_over(
        self, codec: Codec[Any, Any], messages: Iterator[tuple[int, Any]], taken: int, stop: int
    ) -> tuple[int, bool]:
        """Hand over *messages* of *codec*, those after number *taken*, up to *stop*, and as far as the program wants them.

        Returns:
            the number of the last one, and whether that was all.
        """
        hook = cast("Callable[[Any], None]", self._hear_raw if codec is _RAW else self.on_message)
        self._delivering = True
        try:
            for taken, message in messages:  # noqa: PLR1704  # it goes on from there
                hook(message)
                if self._reading is not _FLOWING or self.codec is not codec or taken >= stop:
                    return taken, False
        except FramingError as exc:
            if exc is not codec.error:
                raise  # the program's own
            self._fail(exc)
        finally:
            self._delivering = False
        codec.commit()
        return taken, True

    def _hear_raw(self, data: bytes) -> None:
        """What came before the stream was piped goes the same way as what comes after."""
        if self._extras is None or self._extras.pipe is None:
            self.on_raw(data)
        else:
            self._extras.pipe.take(data)

    def _work_off(self, backlog: _Backlog, left: int) -> None:
        """Hand over what waits, *left* messages at most; put off what is left then."""
        while left > 0 and self._reading is _FLOWING:
            if backlog.codec is not self.codec:
                backlog.change(self.codec)
            before = backlog.taken
            backlog.taken, is_all = self._hand_over(backlog.codec, backlog.messages, before, before + left)
            left -= backlog.taken - before
            if is_all and not backlog.cut():
                return
        if self._reading in _LISTENING:
            self._put_off(backlog)

    def _put_off(self, backlog: _Backlog) -> None:
        """Read no more; go on with *backlog* in the next pass, or after `resume`."""
        self._backlog = backlog
        if self._reading is _FLOWING:
            self.call_soon(self._go_on, backlog)
        self.refresh()

    def _go_on(self, backlog: _Backlog) -> None:
        # Who pauses and resumes has this called more than once for the same backlog.
        if backlog is self._backlog and self._reading is _FLOWING:
            self._backlog = None
            with self.corked():  # as in `on_data`
                self._work_off(backlog, MESSAGES_PER_PASS)
            self.refresh()

    def _peer_ended(self) -> None:
        if self._reading is _FLOWING and self._writing is not Writing.BROKEN:
            try:
                self.codec.end()
            except FramingError as exc:
                self._fail(exc)
        if self.is_open:
            super()._peer_ended()

    def _fail(self, exc: FramingError) -> None:
        """What came is no message: have the program say so to the peer, and end."""
        self._ending = self._ending or CloseReason(CloseKind.ERROR, exc)
        self.on_framing_error(exc)
        if self._reading in _LISTENING:
            self._close(self._ending, reset=True)

    def _claim_codec(self, codec: Codec[In, Out] | None) -> Codec[In, Out]:
        if codec is None:
            return cast("Codec[In, Out]", _RAW)
        codec.claim(self)
        return codec

    def _check_unused(self) -> None:
        super()._check_unused()
        if cast("object", self.codec) is None:
            name = type(self).__name__
            raise UsageError(f"{name} has no codec: declare `codec: … = attrs.field(init=False, factory=Lines)` in it")
        self._claim_codec(self.codec)

    def _settle(self) -> None:
        super()._settle()
        self._backlog = None

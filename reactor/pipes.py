"""What writes to a stream by itself, no faster than that can send: a pipe from another stream, a feed from an iterable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import attrs

from reactor.buffers import Buffer, OnSent
from reactor.errors import CloseKind, NotSent
from reactor.extras import PIPE
from reactor.states import Pressure

if TYPE_CHECKING:
    from reactor.stream import Stream

#: Chunks that a feed takes from its iterable in one pass.
FEED_CHUNKS_PER_PASS = 64

#: Ends of one stream that leave the other one whole.
_IN_ORDER = frozenset({CloseKind.LOCAL_CLOSE, CloseKind.PEER_END, CloseKind.SHUTDOWN})


@attrs.define(eq=False)
class Pipe:
    """From *source* to *target*, as `Stream.pipe_to` makes it."""

    source: Stream
    target: Stream

    def start(self) -> Self:
        """Begin."""
        self.source._more().pipe = self
        self.target._more().sources.append(self)
        if self.target._pressure is Pressure.HIGH:
            self.hold()  # it has been told to all who were there
        return self

    def cancel(self) -> bool:
        """Part the two: bytes go to `on_data` again. True if they were joined."""
        source, target = self.source._more(), self.target._more()
        if source.pipe is not self:
            return False
        source.pipe = None
        target.sources.remove(self)
        self.go()
        return True

    def take(self, data: bytes) -> None:
        """Pass *data* on, if the target still takes any."""
        if self.target.is_writable:
            self.target.write(data)

    def end(self) -> None:
        """Pass the end on."""
        self.target.end()

    def hold(self) -> None:
        """Read no more."""
        self.source._hold_reading(PIPE, on=True)

    def go(self) -> None:
        """Read on, unless the source's user has paused it."""
        self.source._hold_reading(PIPE, on=False)

    def source_closed(self) -> None:
        """Break *target* if *source* has broken; else let it finish."""
        if not self.target.is_open or self.target.reactor.is_closed:
            return
        if self._was_in_order(self.source):
            self.target.end()
        else:
            self.target.abort()

    def lost(self, error: BaseException | None) -> None:
        """Break *source* if *target* has broken; else close it, unless it has nothing more to pass on."""
        self.source._more().pipe = None
        if not self.source.is_open or self.source.reactor.is_closed:  # a reactor that is closed closes both
            return
        self.go()
        if not self._was_in_order(self.target):
            self.source.abort()
        elif not self.source.has_ended:
            self.source.close()

    @staticmethod
    def _was_in_order(stream: Stream) -> bool:
        return stream.reason is None or stream.reason.kind in _IN_ORDER


@attrs.define(eq=False)
class Feed:
    """From an iterable, as `Stream.send_from` makes it."""

    _stream: Stream
    _chunks: Iterator[Buffer]
    _on_sent: OnSent | None
    _waits: bool = attrs.field(default=False, init=False)
    _is_over: bool = attrs.field(default=False, init=False)

    def start(self) -> Self:
        """Begin, in the next pass."""
        self._stream._more().sources.append(self)
        self._stream.call_soon(self._pump)
        return self

    def cancel(self) -> bool:
        """Take nothing more from the iterable; what is queued is still sent. True if there might have been more."""
        was_over = self._is_over
        self._finish(NotSent("the feed was cancelled"))
        return not was_over

    def hold(self) -> None:
        """Nothing: whether there is room is seen before each chunk."""

    def go(self) -> None:
        """There is room again."""
        if self._waits:  # else it is at it, or will be soon
            self._waits = False
            self._pump()

    def lost(self, error: BaseException | None) -> None:
        """The stream is closed."""
        self._finish(error or NotSent("the connection was closed"))

    def _pump(self) -> None:
        """Take some chunks, which are sent together; then wait for room, or for the next pass."""
        stream = self._stream
        with stream.corked():
            self._take_some()
        if self._is_over:
            return
        if stream.buffered > stream.limits.high:
            self._waits = True
        else:
            stream.call_soon(self._pump)

    def _take_some(self) -> None:
        stream = self._stream
        for _ in range(FEED_CHUNKS_PER_PASS):
            if self._is_over or stream.buffered > stream.limits.high:
                return
            try:
                chunk = next(self._chunks)
            except StopIteration:
                if not stream.is_writable:
                    self._finish(NotSent("the stream takes nothing more"))
                    return
                self._finish(None)
                stream.write(b"", self._on_sent)
                return
            if not stream.is_writable or not stream.write(chunk):
                self._finish(NotSent("the stream takes nothing more"))
                return

    def _finish(self, error: BaseException | None) -> None:
        """Have the iterable be closed, and whoever waits for the last byte be told, if it will not come."""
        if self._is_over:
            return
        self._is_over = True
        extras = self._stream._more()
        if self in extras.sources:
            extras.sources.remove(self)
        if error is None:
            return
        close = getattr(self._chunks, "close", None)
        if close is not None:
            # Not here: it may raise, and it may be the iterable itself that has closed the stream.
            extras.tell_unsent([lambda _: close()], error)
        if self._on_sent is not None:
            extras.tell_unsent([self._on_sent], error)
        self._stream._tell_later()

"""Codecs: bytes in, messages out, and back. Pure: no socket, no hooks, no clock.

What every codec promises, and what most of ours share. The codecs themselves are in `delimited` and `counted`; a
`MessageStream` puts one on a connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar
from weakref import ref

import attrs

from reactor.errors import BadMessage, FrameTruncated, FramingError, UsageError

In = TypeVar("In")
Out = TypeVar("Out")
Raw = TypeVar("Raw")
RawOut = TypeVar("RawOut")


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Codec(ABC, Generic[In, Out]):
    """Makes messages of type *In* from bytes, and bytes from messages of type *Out*.

    A codec remembers an unfinished message: each connection needs one of its own.
    """

    #: What was wrong with the input, once that has been raised; the codec is spent then.
    error: FramingError | None = attrs.field(default=None, init=False, repr=False)
    _owner: ref[Any] | None = attrs.field(default=None, init=False, repr=False)

    @abstractmethod
    def feed(self, data: bytes) -> Iterable[In]:
        """Take *data*, cut anywhere, and return the messages that are whole now; take them all before the next call.

        Where the input is wrong the iteration raises, after the messages before that place, and from then on at once.

        Raises:
            FramingError: from the iteration.
        """

    @abstractmethod
    def encode(self, message: Out) -> bytes:
        """Return the bytes that the peer's codec makes *message* from.

        Raises:
            BadMessage: there are none; sent as it is, it would be taken for something else.
        """

    @abstractmethod
    def take_rest(self, taken: int | None = None) -> bytes:
        """Return, and forget, the bytes that belong to no message yet, so that something else can go on with them.

        Args:
            taken: how many messages of the last `feed` count; the bytes of the others are returned as well. Default: all.
        """

    @abstractmethod
    def commit(self) -> None:
        """Say that all messages of the last `feed` count: their bytes need not be kept. The next `feed` says it, too."""

    @abstractmethod
    def end(self) -> None:
        """Say that the input has ended.

        Raises:
            FrameTruncated: in the middle of a message. `take_rest` returns what there is of it.
        """

    def claim(self, owner: object) -> None:
        """Make *owner* the one that this codec works for.

        Raises:
            UsageError: it works for another one already.
        """
        if self._owner is None:
            self._owner = ref(owner)
        elif self._owner() is not owner:
            name = type(self).__name__
            raise UsageError(f"this {name} works for another connection: make one for each, by factory={name}")


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Buffered(Codec[bytes, bytes]):
    """What codecs share whose messages are parts of the input. An unfinished message is kept in `_tail`.

    A chunk of whole messages is cut where it lies. One that continues a message is joined to the tail once the message is
    complete, never before; so each byte is looked at, and copied, a bounded number of times, however the input is cut.
    """

    _tail: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _chunk: bytes = attrs.field(default=b"", init=False, repr=False)  # what the last messages were cut from

    @property
    def buffered(self) -> int:
        """How many bytes of an unfinished message are kept."""
        return len(self._tail)

    @property
    @abstractmethod
    def limit(self) -> int:
        """How many bytes of an unfinished message are kept at most; more are an error."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        tail = self._tail
        if self.error is not None:
            return self._fail((), self.error)
        if tail:
            if not self._completes(data):
                tail += data
                self._chunk = b""
                error = self._unfinished(len(tail))
                return () if error is None else self._fail((), error)
            data = b"".join((tail, data))
            tail.clear()
        self._chunk = data
        messages, end, error = self._cut(data, -1)
        if end != len(data):
            tail += memoryview(data)[end:]
            error = error or self._unfinished(len(tail))
        return messages if error is None else self._fail(messages, error)

    def take_rest(self, taken: int | None = None) -> bytes:
        rest = bytes(self._tail) if taken is None or not self._chunk else self._chunk[self._cut(self._chunk, taken)[1] :]
        self._tail.clear()
        self._chunk = b""
        return rest

    def commit(self) -> None:
        self._chunk = b""

    def end(self) -> None:
        if self._tail:
            raise FrameTruncated(f"the input ended {len(self._tail)} bytes after the last whole message")

    def _fail(self, messages: Iterable[bytes], error: FramingError) -> Iterator[bytes]:
        yield from messages
        # Not before: who takes the rest after one of the messages may never come to the error.
        self.error = error
        self._tail.clear()
        raise error

    @abstractmethod
    def _cut(self, data: bytes, most: int) -> tuple[list[bytes], int, FramingError | None]:
        """Return the first *most* messages of *data*, all if it is -1, where they end, and what is wrong there."""

    @abstractmethod
    def _completes(self, data: bytes) -> bool:
        """Whether it is worth while to cut again when *data* has been added to the tail, which is not empty."""

    def _unfinished(self, size: int) -> FramingError | None:
        """Return what is wrong with an unfinished message of *size* bytes, however it may go on."""
        return None


@attrs.define(eq=False)
class Chunks(Codec[bytes, bytes]):
    """No framing: bytes as they come, cut anywhere, both ways. Remembers nothing, and may serve many."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        return (data,) if data else ()

    def encode(self, message: bytes) -> bytes:
        return message

    def take_rest(self, taken: int | None = None) -> bytes:
        return b""

    def commit(self) -> None:
        pass

    def end(self) -> None:
        pass

    def claim(self, owner: object) -> None:
        pass


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Mapped(Codec[In, Out], Generic[In, Out, Raw, RawOut]):
    """Another codec's messages, made into something else: text, JSON, objects of your own.

    Args:
        codec: cuts and joins.
        load: makes a message from what *codec* has cut. A `ValueError` says that the peer should not have sent that.
        dump: makes what *codec* can encode from a message.
    """

    codec: Codec[Raw, RawOut]
    load: Callable[[Raw], In]
    dump: Callable[[Out], RawOut]

    def claim(self, owner: object) -> None:
        super().claim(owner)
        self.codec.claim(owner)

    def feed(self, data: bytes) -> Iterator[In]:
        if self.error is not None:
            raise self.error
        try:
            for raw in self.codec.feed(data):
                try:
                    message = self.load(raw)
                except ValueError as exc:
                    raise FramingError(f"a message is whole, and means nothing: {exc}") from exc
                yield message
        except FramingError as error:
            self.error = error
            raise

    def encode(self, message: Out) -> bytes:
        try:
            raw = self.dump(message)
        except ValueError as exc:
            raise BadMessage(f"cannot be sent: {exc}") from exc
        return self.codec.encode(raw)

    def take_rest(self, taken: int | None = None) -> bytes:
        return self.codec.take_rest(taken)

    def commit(self) -> None:
        self.codec.commit()

    def end(self) -> None:
        self.codec.end()

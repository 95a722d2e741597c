"""The write queue of a stream. Pure: no socket, no hooks; bytes and pieces of files go in at one end and out at the other.

Small chunks are copied together into blocks, so that a million one-byte writes cost a million bytes and few calls; large
ones are kept as they are. What the caller could still change, a bytearray or a view, is copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TypeAlias

import attrs

from reactor.errors import UsageError

#: Chunks below this many bytes are joined; larger ones are queued uncopied.  # tornado 2048
JOIN_BYTES_BELOW = 2048
#: A block of joined chunks grows to this many bytes, about what one `send` takes.
BLOCK_BYTES_MAX = 65536
#: Chunks that are offered to the kernel in one call.  # POSIX: IOV_MAX is at least 16; Linux 1024
CHUNKS_PER_CALL = 16

Buffer = bytes | bytearray | memoryview
#: Called once: with None when the bytes have gone to the kernel, or with the error if they never will.
OnSent: TypeAlias = "Callable[[BaseException | None], object]"


def byte_count(data: Buffer) -> int:
    """Return how many bytes *data* is, whatever the item size of a view.

    Raises:
        UsageError: *data* is not bytes, a bytearray or a contiguous memoryview.
    """
    if type(data) is bytes:  # most are, and each chunk is asked
        return len(data)
    if isinstance(data, memoryview):
        if not data.c_contiguous:
            raise UsageError("a stream takes a memoryview that is contiguous; make a copy of this one")
        return data.nbytes
    if isinstance(data, (bytes, bytearray)):
        return len(data)
    hint = "; encode it first" if isinstance(data, str) else ""
    raise UsageError(f"a stream takes bytes, a bytearray or a memoryview, not {type(data).__name__}{hint}")


@attrs.define(eq=False)
class Piece:
    """A piece of a file that waits to be sent. The descriptor is its owner's."""

    fd: int
    offset: int
    #: Bytes that are left.
    count: int
    #: Whether the kernel may be asked to copy it by itself: sendfile(2).
    by_kernel: bool = True


@attrs.define(eq=False)
class Outgoing:
    """What is on its way out, in order."""

    #: How many bytes are queued in memory; those of files are not.
    size: int = attrs.field(default=0, init=False)
    #: Whether more is to come before anything is offered to the kernel.
    corked: bool = False
    _chunks: deque[bytes | bytearray | Piece] = attrs.field(factory=deque, init=False, repr=False)
    _sent: int = attrs.field(default=0, init=False, repr=False)  # of the first chunk
    _given: int = attrs.field(default=0, init=False, repr=False)  # bytes in all, those of files too
    _taken: int = attrs.field(default=0, init=False, repr=False)
    #: Who is to be told when how many bytes have been taken.
    _notices: deque[tuple[int, OnSent]] = attrs.field(factory=deque, init=False, repr=False)

    def __bool__(self) -> bool:
        """Whether anything is queued."""
        return bool(self._chunks)

    def append(self, data: Buffer, start: int = 0) -> None:
        """Queue *data* from byte *start* on; nothing that its owner does later changes what is sent."""
        added = byte_count(data) - start
        if added <= 0:
            return
        if type(data) is not bytes or start:
            data = memoryview(data).cast("B")[start:]
        if added < JOIN_BYTES_BELOW:
            tail = self._chunks[-1] if self._chunks else None
            if type(tail) is bytearray and len(tail) + added <= BLOCK_BYTES_MAX:
                tail += data
            else:
                self._chunks.append(bytearray(data))
        else:
            self._chunks.append(bytes(data))  # itself, if that is what it is
        self.size += added
        self._given += added

    def append_piece(self, piece: Piece) -> None:
        """Queue a *piece* of a file behind what is there."""
        if piece.count:
            self._chunks.append(piece)
            self._given += piece.count

    def notify(self, callback: OnSent) -> None:
        """Have *callback* be among `told` when all that is queued now has been sent."""
        self._notices.append((self._given, callback))

    def told(self) -> list[OnSent]:
        """Remove and return those whose bytes have been sent."""
        told = []
        while self._notices and self._notices[0][0] <= self._taken:
            told.append(self._notices.popleft()[1])
        return told

    def untold(self) -> list[OnSent]:
        """Remove and return those whose bytes have not."""
        untold = [callback for _, callback in self._notices]
        self._notices.clear()
        return untold

    @property
    def piece(self) -> Piece | None:
        """The piece of a file whose turn it is; None if it is that of bytes."""
        head = self._chunks[0]
        return head if isinstance(head, Piece) else None

    def views(self, most: int = CHUNKS_PER_CALL) -> list[memoryview]:
        """Return what is to be sent next, up to the next piece of a file. Release them before the queue is touched again."""
        views: list[memoryview] = []
        for chunk in islice(self._chunks, most):
            if isinstance(chunk, Piece):
                break
            views.append(memoryview(chunk))
        if self._sent:
            whole, views[0] = views[0], views[0][self._sent :]
            whole.release()
        return views

    def consume(self, count: int) -> None:
        """Drop the first *count* bytes, no more than the views, or the piece, were long: they have been sent."""
        self._taken += count
        if isinstance(piece := self._chunks[0], Piece):
            piece.offset += count
            piece.count -= count
            if not piece.count:
                self._chunks.popleft()
            return
        self.size -= count
        count += self._sent
        while self._chunks and not isinstance(head := self._chunks[0], Piece) and count >= len(head):
            count -= len(head)
            self._chunks.popleft()
        self._sent = count

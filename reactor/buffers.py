"""The write queue of a stream. Pure: no socket, no hooks; bytes go in at one end and come out at the other.

Small chunks are copied together into one block, so that a million one-byte writes cost a million bytes and one
`send`; large ones are kept as they are. What the caller could still change, a bytearray or a view, is copied.
"""

from __future__ import annotations

from collections import deque

import attrs

from reactor.errors import UsageError

#: Chunks below this many bytes are joined; larger ones are queued uncopied.  # tornado 2048
JOIN_BYTES_BELOW = 2048
#: A block of joined chunks grows to this many bytes, about what one `send` takes.
BLOCK_BYTES_MAX = 65536

Buffer = bytes | bytearray | memoryview


def byte_count(data: Buffer) -> int:
    """Return how many bytes *data* is, whatever the item size of a view.

    Raises:
        UsageError: *data* is not bytes, a bytearray or a contiguous memoryview.
    """
    if isinstance(data, memoryview):
        if not data.c_contiguous:
            raise UsageError("a stream takes a memoryview that is contiguous; make a copy of this one")
        return data.nbytes
    if isinstance(data, (bytes, bytearray)):
        return len(data)
    hint = "; encode it first" if isinstance(data, str) else ""
    raise UsageError(f"a stream takes bytes, a bytearray or a memoryview, not {type(data).__name__}{hint}")


@attrs.define(eq=False)
class Outgoing:
    """Bytes on their way out, in order."""

    #: How many bytes are queued.
    size: int = attrs.field(default=0, init=False)
    _chunks: deque[bytes | bytearray] = attrs.field(factory=deque, init=False, repr=False)
    _sent: int = attrs.field(default=0, init=False, repr=False)  # of the first chunk

    def append(self, data: Buffer, start: int = 0) -> None:
        """Queue *data* from byte *start* on; nothing that its owner does later changes what is sent."""
        added = byte_count(data) - start
        if added <= 0:
            return
        tail = self._chunks[-1] if self._chunks else b""
        if added < JOIN_BYTES_BELOW:
            view = memoryview(data).cast("B")[start:]
            if isinstance(tail, bytearray) and len(tail) + added <= BLOCK_BYTES_MAX:
                tail += view
            else:
                self._chunks.append(bytearray(view))
        elif isinstance(data, bytes) and not start:
            self._chunks.append(data)
        else:
            self._chunks.append(memoryview(data).cast("B")[start:].tobytes())
        self.size += added

    def head(self) -> memoryview:
        """Return what is to be sent next. Release the view before the queue is touched again."""
        return memoryview(self._chunks[0])[self._sent :]

    def consume(self, count: int) -> None:
        """Drop the first *count* bytes, no more than `head` was long: they have been sent."""
        self.size -= count
        self._sent += count
        if self._sent == len(self._chunks[0]):
            self._chunks.popleft()
            self._sent = 0

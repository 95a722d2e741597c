"""The write queue, by itself."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import UsageError
from reactor.buffers import BLOCK_BYTES_MAX, JOIN_BYTES_BELOW, Outgoing, Piece, byte_count


def drain(queue: Outgoing, most: int = 1 << 30) -> bytes:
    """Take everything out, at most *most* bytes at a time."""
    out = bytearray()
    while queue.size:
        views = queue.views()
        taken = b"".join(views)[:most]
        for view in views:
            view.release()
        queue.consume(len(taken))
        out += taken
    return bytes(out)


@given(
    chunks=st.lists(st.binary(max_size=5000) | st.binary(max_size=3).map(bytearray), max_size=40),
    most=st.integers(1, 5000),
)
def test_bytes_come_out_in_order_whatever_the_cuts(chunks: list[bytes | bytearray], most: int) -> None:
    """What goes in comes out, in order, and the size is always what is left."""
    queue = Outgoing()
    for chunk in chunks:
        queue.append(chunk)

    assert queue.size == sum(map(len, chunks))
    assert drain(queue, most) == b"".join(chunks)


def test_small_chunks_are_joined() -> None:
    """A million one-byte writes are a few blocks, not a million objects."""
    queue = Outgoing()
    for _ in range(100_000):
        queue.append(b"x")

    assert len(queue._chunks) == -(-100_000 // BLOCK_BYTES_MAX)
    assert drain(queue) == b"x" * 100_000


def test_a_large_bytes_object_is_not_copied() -> None:
    """The queue keeps the very object."""
    data = bytes(JOIN_BYTES_BELOW)
    queue = Outgoing()
    queue.append(data)

    assert queue.views()[0].obj is data


@pytest.mark.parametrize("size", [3, JOIN_BYTES_BELOW])
def test_what_its_owner_can_change_is_copied(size: int) -> None:
    """A bytearray changed after it was queued does not change what is sent."""
    data = bytearray(b"a" * size)
    queue = Outgoing()
    queue.append(data)
    data[:] = b"b" * size

    assert drain(queue) == b"a" * size


@pytest.mark.parametrize("size", [10, JOIN_BYTES_BELOW + 10])
def test_a_chunk_may_begin_in_its_middle(size: int) -> None:
    """The part that the kernel has taken already is left out."""
    data = bytes(i % 251 for i in range(size))
    queue = Outgoing()
    queue.append(data, 7)

    assert queue.size == size - 7
    assert drain(queue) == data[7:]


def test_nothing_is_nothing() -> None:
    """An empty chunk does not make the queue look full."""
    queue = Outgoing()
    queue.append(b"")
    queue.append(b"abc", 3)

    assert queue.size == 0
    assert not queue._chunks


def test_views_count_in_bytes() -> None:
    """A view of larger items is as long as its bytes."""
    view = memoryview(array("I", [1, 2, 3]))

    assert byte_count(view) == view.nbytes
    queue = Outgoing()
    queue.append(view)
    assert drain(queue) == view.tobytes()


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (memoryview(b"abcd")[::2], "contiguous"),
        (array("b"), "not array"),
        ("text", "encode"),
        (7, "not int"),
        (None, "not NoneType"),
    ],
)
def test_what_is_not_bytes_is_refused(data: Any, hint: str) -> None:
    """Text and others raise, and say what would be right."""
    with pytest.raises(UsageError, match=hint):
        byte_count(data)


def test_views_end_before_a_piece_of_a_file() -> None:
    """Bytes and a file do not go in one call."""
    queue = Outgoing()
    queue.append(b"x" * JOIN_BYTES_BELOW)
    queue.append_piece(Piece(0, 0, 10))
    assert [len(view) for view in queue.views()] == [JOIN_BYTES_BELOW]

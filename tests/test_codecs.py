"""What codecs promise: the same messages however the input is cut, the rest to whoever comes next, one owner."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import (
    BadMessage,
    Chunks,
    Codec,
    Fixed,
    FrameTruncated,
    FramingError,
    LengthPrefixed,
    Lines,
    Mapped,
    Netstring,
    Until,
    UsageError,
    Varint,
)

MEBIBYTE = 1024 * 1024
#: How long the stream is that is cut at every place. A mebibyte takes some seconds for each codec.
CUT_BYTES = int(os.environ.get("REACTOR_TEST_CUT_BYTES", "6000"))


def text_lines() -> Mapped[str, str, bytes, bytes]:
    """Lines of UTF-8."""
    return Mapped(Lines(), bytes.decode, str.encode)


#: Each codec, with every option that changes how it cuts.
CODECS: dict[str, Callable[[], Codec[Any, Any]]] = {
    "lines": Lines,
    "lines-crlf": lambda: Lines(b"\r\n"),
    "lines-any": lambda: Lines(None),
    "lines-kept": lambda: Lines(keep=True),
    "lines-any-kept": lambda: Lines(None, keep=True),
    "until": lambda: Until(b";", b"END", b"\0\0"),
    "until-kept": lambda: Until(b"\n", b"\r\n", keep=True),
    "fixed": lambda: Fixed(13),
    "length": LengthPrefixed,
    "length-little": lambda: LengthPrefixed("<H", adjustment=-2),
    "length-inside": lambda: LengthPrefixed("!H", offset=1, adjustment=2),
    "varint": Varint,
    "netstring": Netstring,
    "mapped": text_lines,
    "chunks-mapped": lambda: Mapped(Varint(), bytes.hex, bytes.fromhex),
}
cut_by_each = pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)


def messages_for(make: Callable[[], Codec[Any, Any]], seed: int, total: int, longest: int = 30) -> list[Any]:
    """Return messages that the codec can send, of *total* bytes or a little more on the wire."""
    dice, codec, found, size = random.Random(seed), make(), [], 0
    inside = getattr(codec, "offset", 0)
    while size < total:
        body: Any = bytes(dice.choices(b"abcdeEND\r;\0xyz0123,:", k=dice.randrange(longest)))
        if isinstance(codec, Fixed):
            body = body.ljust(13, b"_")[:13]
        elif isinstance(codec, Mapped):
            body = body.hex() if codec.load == bytes.hex else body.decode()
        elif isinstance(codec, Until):
            body = body.replace(b"END", b"__N").replace(b"\0", b"_").replace(b";", b"_") + (b"\r\n" if codec.keep else b"")
        elif isinstance(codec, Lines):
            body = body + (b"\r\n" if dice.random() < 0.5 else b"\n") if codec.keep else body
        elif inside:
            body = b"T" + len(body).to_bytes(2, "big") + b"--" + body
        found.append(body)
        size += len(codec.encode(body))
    return found


def fed(codec: Codec[Any, Any], *chunks: bytes) -> list[Any]:
    """Return what *codec* makes of *chunks*."""
    return [message for chunk in chunks for message in codec.feed(chunk)]


@cut_by_each
def test_a_stream_cut_at_every_place_gives_the_same_messages(make: Callable[[], Codec[Any, Any]]) -> None:
    """However a stream is cut in two, the messages are those that were encoded.

    Between two messages a codec remembers nothing, which is asserted; so each cut is made in its neighbourhood alone.
    """
    messages = messages_for(make, 1, CUT_BYTES)
    encode = make().encode
    wires = [encode(message) for message in messages]
    assert fed(make(), b"".join(wires)) == messages
    codec = make()
    for message, wire, after, wire_after in zip(messages, wires, messages[1:], wires[1:], strict=False):
        around, expected = wire + wire_after, [message, after]
        for place in range(len(wire)):
            assert [*codec.feed(around[:place]), *codec.feed(around[place:])] == expected
        assert codec.take_rest() == b""


@cut_by_each
def test_a_byte_at_a_time(make: Callable[[], Codec[Any, Any]]) -> None:
    """One byte in each chunk is enough; each message comes with its last byte."""
    messages = messages_for(make, 2, 5000)
    codec, came = make(), 0
    for message in messages:
        wire = codec.encode(message)
        for place in range(len(wire) - 1):
            assert fed(codec, wire[place : place + 1]) == []
        assert fed(codec, wire[-1:]) == [message]
        came += 1
    assert came == len(messages)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
@cut_by_each
def test_any_cuts(make: Callable[[], Codec[Any, Any]], data: st.DataObject) -> None:
    """Cut in any way, the messages are those that were encoded, and the rest belongs to none of them."""
    messages = messages_for(make, data.draw(st.integers(0, 99)), data.draw(st.integers(1, 400)), 60)
    wire = b"".join(map(make().encode, messages))
    kept = data.draw(st.integers(0, len(wire)))
    cuts = sorted(data.draw(st.lists(st.integers(0, kept))))
    chunks = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, kept], strict=True)]
    codec = make()
    came = fed(codec, *chunks)
    assert came == messages[: len(came)]
    rest = codec.take_rest() + wire[kept:]
    assert fed(make(), rest) == messages[len(came) :]


@settings(max_examples=20, deadline=None)
@given(data=st.data())
@cut_by_each
def test_messages_that_do_not_count_are_given_back(make: Callable[[], Codec[Any, Any]], data: st.DataObject) -> None:
    """The rest after some of the messages of a chunk begins where the next message began."""
    messages = messages_for(make, data.draw(st.integers(0, 99)), 300, 60)
    wires = list(map(make().encode, messages))
    wire = b"".join(wires)
    first = data.draw(st.integers(0, len(wire)))
    codec = make()
    before = fed(codec, wire[:first])
    came = list(codec.feed(wire[first:]))
    taken = data.draw(st.integers(0, len(came)))
    rest = codec.take_rest(taken)
    if came:
        assert rest == b"".join(wires[len(before) + taken :])
    assert fed(codec, rest) == came[taken:]
    codec.commit()
    assert codec.take_rest(0) == b""


BIG: dict[str, Callable[[], Codec[bytes, bytes]]] = {
    "lines": lambda: Lines(b"\r\n", maximum=MEBIBYTE),
    "until": lambda: Until(b";;", b"END", maximum=MEBIBYTE),
    "fixed": lambda: Fixed(MEBIBYTE),
    "length": LengthPrefixed,
    "varint": Varint,
    "netstring": Netstring,
}


@pytest.mark.parametrize("make", BIG.values(), ids=BIG)
def test_a_big_message_in_tiny_chunks(make: Callable[[], Codec[bytes, bytes]]) -> None:
    """A message of a mebibyte in chunks of seven bytes costs no more than its bytes: nobody would wait for its square."""
    codec = make()
    wire = codec.encode(b"x" * MEBIBYTE)
    assert fed(codec, *(wire[place : place + 7] for place in range(0, len(wire), 7))) == [b"x" * MEBIBYTE]


@pytest.mark.parametrize("make", [Lines, LengthPrefixed, Varint, Netstring, lambda: Until(b";"), text_lines])
def test_the_end_in_the_middle_is_an_error(make: Callable[[], Codec[Any, Any]]) -> None:
    """The input may end between two messages; in the middle of one, that is told, and the piece is there to be seen."""
    codec = make()
    codec.end()
    wire = codec.encode("hello" if isinstance(codec, Mapped) else b"hello")
    assert len(fed(codec, wire)) == 1
    codec.end()
    assert fed(codec, wire[:-1]) == []
    with pytest.raises(FrameTruncated, match=f"ended {len(wire) - 1} bytes after"):
        codec.end()
    assert codec.take_rest() == wire[:-1]


def test_an_error_comes_after_the_messages_before_it_and_stays() -> None:
    """What was right is handed over first; then the codec is spent, keeps nothing, and says so again and again."""
    codec = Netstring()
    came = codec.feed(b"1:a,1:b,x")
    assert [next(iter(came)), codec.error] == [b"a", None]
    assert next(iter(came)) == b"b"
    with pytest.raises(FramingError) as raised:
        next(iter(came))
    assert codec.error is raised.value
    assert (codec.buffered, codec.take_rest()) == (0, b"")
    with pytest.raises(FramingError):
        fed(codec, b"1:c,")


def test_who_takes_the_rest_before_an_error_never_hears_of_it() -> None:
    """What is no message of this codec may be one of the next."""
    codec = Netstring()
    came = iter(codec.feed(b"1:a,\x01b"))
    assert next(came) == b"a"
    rest = codec.take_rest(1)
    assert fed(Varint(), rest) == [b"b"]
    assert fed(codec, b"1:c,") == [b"c"]


def test_a_codec_works_for_one_owner() -> None:
    """The same codec on two connections would mix their bytes; that is refused, and the way out is named."""

    @attrs.define(eq=False)
    class Owner:
        """Somebody with a connection."""

    one, other = Owner(), Owner()
    for codec in (Lines(), text_lines()):
        codec.claim(one)
        codec.claim(one)
        with pytest.raises(UsageError, match="factory="):
            codec.claim(other)
    inner = Lines()
    inner.claim(one)
    with pytest.raises(UsageError):
        Mapped(inner, bytes.decode, str.encode).claim(other)


def test_chunks_are_what_came() -> None:
    """Without framing, bytes go through as they come, for whoever it is; nothing is empty, and nothing is kept."""
    codec = Chunks()
    codec.claim(object())
    codec.claim(object())
    assert fed(codec, b"a", b"", b"bc") == [b"a", b"bc"]
    assert (codec.encode(b"x"), codec.take_rest()) == (b"x", b"")
    codec.commit()
    codec.end()


def test_mapped_refuses_what_means_nothing() -> None:
    """A ValueError of `load` is the peer's fault, one of `dump` the caller's; what else they raise goes through."""
    codec: Mapped[Any, Any, bytes, bytes] = Mapped(Lines(), json.loads, lambda value: json.dumps(value).encode())
    assert fed(codec, codec.encode({"a": [1, None]})) == [{"a": [1, None]}]
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(BadMessage, match="cannot be sent: Circular"):
        codec.encode(circular)
    with pytest.raises(TypeError):
        codec.encode(object())
    came: Iterator[Any] = codec.feed(b"1\n2\nnonsense\n3\n")
    assert [next(came), next(came)] == [1, 2]
    with pytest.raises(FramingError, match="means nothing") as raised:
        next(came)
    assert codec.error is raised.value
    with pytest.raises(FramingError, match="means nothing"):
        fed(codec, b"4\n")


def test_mapped_passes_on_what_is_wrong_below() -> None:
    """The errors of the codec below are those of the one above."""
    codec: Mapped[str, str, bytes, bytes] = Mapped(Lines(maximum=3), bytes.decode, str.encode)
    with pytest.raises(FramingError) as raised:
        fed(codec, b"long!")
    assert codec.error is raised.value

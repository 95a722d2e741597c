"""Messages of a length that is fixed or announced."""

from __future__ import annotations

import pytest

from reactor import BadMessage, Fixed, FrameTooLong, FramingError, LengthPrefixed, Netstring, UsageError, Varint
from reactor.codecs import Buffered


def fed(codec: Buffered, *chunks: bytes) -> list[bytes]:
    """Return what *codec* makes of *chunks*."""
    return [message for chunk in chunks for message in codec.feed(chunk)]


def test_fixed() -> None:
    """Each message has that many bytes, and no other is sent."""
    codec = Fixed(3)
    assert fed(codec, b"ab", b"cdef", b"g", b"hi") == [b"abc", b"def", b"ghi"]
    assert (codec.encode(b"xyz"), codec.limit) == (b"xyz", 3)
    with pytest.raises(BadMessage, match="2 bytes, where each has 3"):
        codec.encode(b"xy")
    with pytest.raises(UsageError, match="whole number"):
        Fixed(0)


def test_length_prefixed() -> None:
    """The length comes first, in any format of one integer; it may count itself."""
    assert LengthPrefixed().encode(b"abc") == b"\0\0\0\3abc"
    assert fed(LengthPrefixed(), b"\0\0\0\3abc\0\0\0\0\0") == [b"abc", b""]
    codec = LengthPrefixed("<H", adjustment=-2)
    assert codec.encode(b"abc") == b"\5\0abc"
    assert fed(codec, b"\5\0abc") == [b"abc"]


def test_length_inside_a_head() -> None:
    """A frame whose length is not at its front is handed over whole, and sent whole if its length is right."""
    codec = LengthPrefixed("!H", offset=1, adjustment=1)
    frame = b"T\0\3flag"
    assert fed(codec, frame + frame[:4]) == [frame]
    assert codec.encode(frame) == frame
    for wrong in (frame + b"x", b"T\0"):
        with pytest.raises(BadMessage, match="another length"):
            codec.encode(wrong)


def test_any_part_of_the_front_can_be_stripped() -> None:
    """Then a message can be read, but what was stripped is known to a subclass alone."""
    assert fed(LengthPrefixed("B", offset=2, strip=3), b"hh\3abc") == [b"abc"]
    assert fed(LengthPrefixed("B", strip=2), b"\3abc") == [b"bc"]
    for codec in (LengthPrefixed("B", offset=2, strip=3), LengthPrefixed("B", strip=2)):
        with pytest.raises(UsageError, match="only a subclass"):
            codec.encode(b"abc")


def test_a_length_that_cannot_be() -> None:
    """A frame shorter than its own head is an error of the peer, whatever made it so."""
    for codec, wire in [
        (LengthPrefixed("!H", adjustment=-2), b"\0\1"),
        (LengthPrefixed("b"), b"\xff"),
        (LengthPrefixed("B", strip=3), b"\1"),
    ]:
        with pytest.raises(FramingError, match="less than its head"):
            fed(codec, wire)


def test_lengths_beyond_the_maximum() -> None:
    """A length is refused when it is announced, before the message comes; the longest message comes through."""
    prefixed = LengthPrefixed("!H", maximum=5)
    for codec, wire in [(prefixed, b"\0\6"), (Varint(maximum=200), b"\xc9\1"), (Netstring(maximum=50), b"51")]:
        with pytest.raises(FrameTooLong, match="more than"):
            fed(codec, wire)
        longest = b"x" * codec.maximum
        other = type(codec)("!H", maximum=5) if isinstance(codec, LengthPrefixed) else type(codec)(maximum=codec.maximum)
        assert fed(other, other.encode(longest)) == [longest]
        assert other.limit >= len(other.encode(longest))
        with pytest.raises(BadMessage, match="the maximum is"):
            other.encode(longest + b"x")
    with pytest.raises(BadMessage, match="cannot say"):
        LengthPrefixed("B").encode(b"x" * 256)


def test_options_that_cannot_be_are_refused() -> None:
    """A format has one integer; numbers are whole, and where that makes sense not negative."""
    for wrong in ("!HH", "!f", "", "zzz", None):
        with pytest.raises(UsageError, match="format"):
            LengthPrefixed(wrong)  # type: ignore[arg-type]
    for option in ({"offset": -1}, {"strip": -1}, {"offset": 1.5}, {"adjustment": None}, {"adjustment": True}):
        with pytest.raises(UsageError, match="whole number"):
            LengthPrefixed(**option)


def test_varint() -> None:
    """Seven bits in each byte, the lowest first; a longer form than needed is read, and not written."""
    codec = Varint()
    assert codec.encode(b"x" * 300) == b"\xac\2" + b"x" * 300
    assert fed(codec, b"\1a\x81\x00b\0") == [b"a", b"b", b""]
    assert fed(codec, b"\x80" * 9) == []
    with pytest.raises(FramingError, match="more than 10 bytes"):
        fed(codec, b"\x80")


def test_netstring() -> None:
    """Digits, colon, message, comma."""
    assert Netstring().encode(b"hello") == b"5:hello,"
    assert fed(Netstring(), b"5:hello,0:,1", b"0:0123456789,") == [b"hello", b"", b"0123456789"]


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"01:a,", "leading zero"),
        (b":a,", "begins with"),
        (b" 1:a,", "begins with"),
        (b"+1:a,", "begins with"),
        (b"1;a,", "begins with"),
        (b"1:a;", "no b','"),
        (b"99999999999999999999999999999999999999999999", "more than"),
    ],
)
def test_netstrings_are_strict(wire: bytes, text: str) -> None:
    """What is not exactly a netstring is an error, at the same byte in any chunks."""
    found = set()
    for size in (1, 2, 100):
        with pytest.raises(FramingError, match=text) as raised:
            fed(Netstring(), *(wire[place : place + size] for place in range(0, len(wire), size)))
        found.add((raised.type, str(raised.value)))
    assert len(found) == 1

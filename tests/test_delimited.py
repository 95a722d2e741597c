"""Lines and messages that end with a delimiter."""

from __future__ import annotations

import pytest

from reactor import BadMessage, FrameTooLong, Lines, Until, UsageError
from reactor.codecs import Buffered


def fed(codec: Buffered, *chunks: bytes) -> list[bytes]:
    """Return what *codec* makes of *chunks*."""
    return [message for chunk in chunks for message in codec.feed(chunk)]


def fed_until_error(codec: Buffered, *chunks: bytes) -> list[bytes]:
    """Return what comes before the error that *chunks* end in."""
    came: list[bytes] = []
    with pytest.raises(FrameTooLong, match="longer than"):
        came.extend(message for chunk in chunks for message in codec.feed(chunk))
    return came


def test_lines() -> None:
    """A line ends at its ending, whose parts alone mean nothing; empty lines count."""
    assert fed(Lines(), b"a\n\nb\r\nc") == [b"a", b"", b"b\r"]
    assert fed(Lines(b"\r\n"), b"a\nb\r", b"\nc\r\r\n\r\n") == [b"a\nb", b"c\r", b""]
    assert fed(Lines(None), b"a\nb\r", b"\nc\r\r\n\r\n\n") == [b"a", b"b", b"c\r", b"", b""]
    assert fed(Lines(keep=True), b"a\n\n") == [b"a\n", b"\n"]
    assert fed(Lines(None, keep=True), b"a\nb\r\n") == [b"a\n", b"b\r\n"]


def test_lines_are_sent_as_one_line() -> None:
    """What would be several lines at the other end, or none, is refused before it is sent."""
    assert (Lines().encode(b"a"), Lines(b"\r\n").encode(b"a\n"), Lines(None).encode(b"")) == (b"a\n", b"a\n\r\n", b"\r\n")
    assert (Lines(keep=True).encode(b"a\n"), Lines(None, keep=True).encode(b"a\r\n")) == (b"a\n", b"a\r\n")
    for codec, line in [
        (Lines(), b"a\nb"),
        (Lines(b"aba"), b"ab"),  # "ababa" would end two bytes early
        (Lines(None), b"a\nb"),
        (Lines(keep=True), b"a"),
        (Lines(keep=True), b"a\nb\n"),
        (Lines(keep=True), b""),
    ]:
        with pytest.raises(BadMessage, match="once, at its end"):
            codec.encode(line)
    with pytest.raises(UsageError, match="encode it first"):
        Lines().encode("a")  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", None])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_line_that_is_too_long(ending: bytes | None, size: int) -> None:
    """The maximum is the longest line that comes through and that is sent; one byte more is an error, in any chunks."""
    for keep in (False, True):
        tail = (ending or b"\r\n") if keep else b""
        good = b"x" * 10 + tail
        wire = Lines(ending, maximum=10, keep=keep).encode(good)
        chunks = [wire[place : place + size] for place in range(0, len(wire), size)]
        assert fed(Lines(ending, maximum=10, keep=keep), *chunks) == [good]
        with pytest.raises(BadMessage, match="11 bytes"):
            Lines(ending, maximum=10, keep=keep).encode(b"x" + good)
        wire = b"ok" + wire[10:] + b"x" + wire
        chunks = [wire[place : place + size] for place in range(0, len(wire), size)]
        assert fed_until_error(Lines(ending, maximum=10, keep=keep), *chunks) == [b"ok" + tail]


def test_a_line_without_end_is_too_long_as_soon_as_that_is_certain() -> None:
    """No more is kept than could still be a line with its ending."""
    codec = Lines(b"\r\n", maximum=10)
    assert codec.limit == 11
    assert fed(codec, b"x" * 10, b"\r") == []
    assert codec.buffered == codec.limit
    assert fed_until_error(codec, b"x") == []
    assert codec.buffered == 0
    assert fed_until_error(Lines(maximum=10), b"ok\n" + b"x" * 11) == [b"ok"]


def test_until() -> None:
    """A message ends at whichever delimiter is whole first; of several that end there, at the longest."""
    codec = Until(b"\n", b"\r\n", b"ab", b"bc")
    assert fed(codec, b"1\n2\r", b"\n3a", b"bc4b", b"c") == [b"1", b"2", b"3", b"c4"]
    codec = Until(b"> ", b"? ", keep=True)
    assert fed(codec, b"name? > x", b"> ") == [b"name? ", b"> ", b"x> "]


def test_until_sends_what_comes_back() -> None:
    """The first delimiter is put; kept ones have to be there; a message is never taken for two."""
    assert (Until(b";", b"!").encode(b"a"), Until(b";", b"!", keep=True).encode(b"a!")) == (b"a;", b"a!")
    for codec, message in [
        (Until(b";", b"!"), b"a!"),
        (Until(b"aa"), b"ba"),
        (Until(b"\n", b"\r\n"), b"a\r"),
        (Until(b";", keep=True), b"a"),
        (Until(b";", keep=True), b"a;b;"),
    ]:
        with pytest.raises(BadMessage, match="once, at its end"):
            codec.encode(message)
    with pytest.raises(BadMessage, match="4 bytes; the maximum is 3"):
        Until(b";", maximum=3).encode(b"long")
    with pytest.raises(UsageError, match="encode it first"):
        Until(b";").encode("a")  # type: ignore[arg-type]


def test_until_has_a_maximum() -> None:
    """It holds with a delimiter and without."""
    assert fed_until_error(Until(b";", b"END", maximum=4), b"good;longer;") == [b"good"]
    codec = Until(b";", b"END", maximum=4)
    assert fed(codec, b"long", b"EN") == []
    assert fed_until_error(codec, b"x") == []


def test_the_rest_after_some_of_the_messages() -> None:
    """It begins after the delimiter of the last one that counts."""
    for codec in (Until(b";", b"END"), Lines(b";")):
        assert fed(codec, b"a;b", b";c;d") == [b"a", b"b", b"c"]
        assert codec.take_rest(1) == b"c;d"
        assert fed(codec, b"a;b;c") == [b"a", b"b"]
        assert codec.take_rest(1) == b"b;c"


def test_delimiters_that_cannot_be_are_refused() -> None:
    """A delimiter is bytes, at least one; one that hides another is refused; so is a maximum that is none."""
    for make in (lambda: Lines(b""), lambda: Lines("\n"), lambda: Until(b""), lambda: Until("x")):  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="is bytes, at least one"):
            make()
    with pytest.raises(UsageError, match="needs a delimiter"):
        Until()
    for pair in ((b"a", b"ab"), (b"b", b"abc")):
        with pytest.raises(UsageError, match="inside another"):
            Until(*pair)
    with pytest.raises(UsageError, match="maximum is a whole number"):
        Lines(maximum=0)

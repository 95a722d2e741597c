"""`check_codec` passes good codecs, and finds what is wrong with each broken one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import attrs
import pytest

from reactor import UsageError
from reactor.testing import BrokenContract, Codec, Effort, check_codec
from reactor.testing.codec import held_bytes

LIMIT = 16
STREAM = b"one\ntwo\n\nthree\nrest"
BAD = b"one\ntwo\nan!d\nmore\n"


class TooLong(Exception):
    """A line is longer than the limit."""


class Bad(Exception):
    """A line has what it may not have."""


@attrs.define(eq=False)
class Lines:
    """A good one: yields what is whole, then raises where it is wrong, and is dead after that."""

    limit: int = LIMIT
    _rest: bytearray = attrs.field(init=False, factory=bytearray)
    _error: Exception | None = attrs.field(init=False, default=None)

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._error is not None:
            raise self._error
        for number in data:
            if number == 10:
                line = bytes(self._rest)
                self._rest.clear()
                yield line
            elif number == 33:
                self._rest.clear()
                self._error = Bad("!")
                raise self._error
            else:
                self._rest.append(number)
                if len(self._rest) > self.limit:
                    self._rest.clear()
                    self._error = TooLong(f"more than {self.limit} bytes")
                    raise self._error


class Plain:
    """A good one without limits, as one would write it."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines


class Whole(Plain):
    """Takes each piece for whole lines."""

    def feed(self, data: bytes) -> list[bytes]:
        return data.split(b"\n")


class OneAtATime(Plain):
    """Gives at most one message for each piece."""

    def feed(self, data: bytes) -> list[bytes]:
        line, found, rest = (self.rest + data).partition(b"\n")
        self.rest = rest if found else line
        return [line] if found else []


class Shared(Plain):
    """All of them have one buffer."""

    waiting: ClassVar[list[bytes]] = []

    def feed(self, data: bytes) -> list[bytes]:
        *lines, rest = (b"".join(self.waiting) + data).split(b"\n")
        self.waiting[:] = [rest]
        return lines


class Loses(Plain):
    """Raises instead of returning what came before the wrong place, and for ever."""

    dead = False

    def feed(self, data: bytes) -> list[bytes]:
        lines = super().feed(data)
        self.dead = self.dead or any(b"!" in line for line in [*lines, self.rest])
        if self.dead:
            raise Bad
        return lines


class Late(Plain):
    """Finds what is wrong in a whole line, or where the piece ends with it."""

    dead = False

    def feed(self, data: bytes) -> list[bytes]:
        lines = super().feed(data)
        self.dead = self.dead or self.rest == b"!" or any(b"!" in line for line in lines)
        if self.dead:
            raise Bad
        return lines


class Revives(Plain):
    """Raises, and goes on with the next line."""

    def feed(self, data: bytes) -> Iterator[bytes]:  # type: ignore[override]
        for number in data:
            yield from super().feed(bytes([number]))
            if self.rest.endswith(b"!"):
                self.rest = b""
                raise Bad


class Hoards(Lines):
    """Looks at its limit only when a line is whole."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        while (place := self._rest.find(b"\n")) >= 0:
            if place > self.limit:
                raise TooLong
            line = bytes(self._rest[:place])
            del self._rest[: place + 1]
            yield line


class Liar(Lines):
    """Says itself how much it holds."""

    @property
    def buffered(self) -> int:
        return 1000


class Reuses(Plain):
    """Gives its own buffer away, and goes on using it."""

    def __init__(self) -> None:
        self.line = bytearray()

    def feed(self, data: bytes) -> Iterator[bytearray]:  # type: ignore[override]
        for number in data:
            if number == 10:
                yield self.line
                self.line.clear()
            else:
                self.line.append(number)


class Views(Plain):
    """A good one that gives views."""

    def feed(self, data: bytes) -> list[memoryview]:  # type: ignore[override]
        return [memoryview(line) for line in super().feed(data)]


class Chunks:
    """A good one whose messages are cut where its input is."""

    def feed(self, data: bytes) -> list[bytes]:
        return [data]


@pytest.mark.parametrize("make", [Lines, Plain, Views])
def test_good_codecs_pass(make: Callable[[], Codec[bytes]]) -> None:
    """A codec that keeps its promises passes, and what it gave is returned."""
    assert check_codec(make, STREAM) == [b"one", b"two", b"", b"three"]


def test_good_codecs_may_raise() -> None:
    """An error is no breach, if it is the same wherever the input is cut; an endless message ends in one."""
    assert check_codec(Lines, BAD) == [b"one", b"two"]
    assert check_codec(Lines, STREAM, endless=b"xy") == [b"one", b"two", b"", b"three"]
    assert check_codec(Lines, b"") == []


def test_pieces_of_messages_are_merged() -> None:
    """Messages that are cut as the input is are compared as `merge` sees them."""
    assert check_codec(Chunks, b"abc", merge=b"".join) == [b"a", b"b", b"c"]
    with pytest.raises(BrokenContract):
        check_codec(Chunks, b"abc")


@pytest.mark.parametrize(
    ("make", "stream", "says"),
    [
        (Whole, STREAM, r"Whole, whole: after 19 bytes"),
        (OneAtATime, b"one\ntwo\n", r"OneAtATime, whole: after 8 bytes, .* there were \[b'one'\]; byte by byte"),
        (Shared, STREAM, r"Shared, whole: .* there were \[b'restone'"),
        (Loses, BAD, r"there were \[\] and Bad; byte by byte there were \[b'one', b'two'\] and Bad"),
        (Late, b"!b\nc", r"Late, cut at 2: after 2 bytes, .* there were \[\]; byte by byte there were \[\] and Bad"),
        (Revives, BAD, r"Revives, byte by byte: it raised Bad\(\), and gave b'd' after that"),
        (Hoards, b"x" * 40, r"Hoards, byte by byte: it holds 17 bytes; its limit is 16"),
        (Reuses, STREAM, r"byte by byte: it gave b'one', which has become bytearray\(b'rest'\)"),
        (Liar, STREAM, r"it holds 1000 bytes"),
    ],
)
def test_each_breach_is_found(make: Callable[[], Codec[bytes]], stream: bytes, says: str) -> None:
    """What is wrong with each broken codec is found, and the failure says with which split."""
    with pytest.raises(BrokenContract, match=says) as caught:
        check_codec(make, stream)
    assert f"to rerun: check_codec({make.__name__}, …, effort=Effort(only=" in str(caught.value)


def test_a_class_that_revives_only_for_the_next_message() -> None:
    """An error at the very end is followed by the input once more, which must give nothing."""
    with pytest.raises(BrokenContract, match="gave b'one' after that"):
        check_codec(Revives, b"one\n!")


def test_long_streams_are_shown_in_part() -> None:
    """Of many messages a failure shows the last ones."""
    with pytest.raises(BrokenContract, match=r"there were 20 messages, the last of which are \[(b'a'(, )?){8}\]"):
        check_codec(OneAtATime, b"a\n" * 20)


def test_one_split_is_rerun() -> None:
    """With `only`, the one split that failed is tried, beside the reference and the whole."""
    fed: list[bytes] = []

    class Counted(Plain):
        def feed(self, data: bytes) -> list[bytes]:
            fed.append(data)
            return super().feed(data)

    check_codec(Counted, b"a\nbc", effort=Effort(only="cut at 3"))
    assert fed == [b"a", b"\n", b"b", b"c", b"a\nbc", b"a\nb", b"c"]


def test_an_endless_message_must_not_end() -> None:
    """An `endless` that ends is a mistake of the caller's, and so is one for a codec without a limit."""
    with pytest.raises(BrokenContract, match="the message has an end"):
        check_codec(Lines, STREAM, endless=b"x\n")
    with pytest.raises(UsageError, match="have a limit"):
        check_codec(Plain, STREAM, endless=b"x")


def test_an_endless_message_must_be_bounded() -> None:
    """A codec that hoards is found by an endless message."""
    with pytest.raises(BrokenContract, match=r"endless, 1 bytes at a time: it holds 17 bytes"):
        check_codec(Hoards, b"ok\n", endless=b"x")


def test_an_endless_message_may_be_dropped() -> None:
    """A codec may hold nothing of an endless message, and raise nothing."""

    class Drops(Plain):
        limit = LIMIT

        def feed(self, data: bytes) -> list[bytes]:
            lines = super().feed(data)
            self.rest = self.rest[: self.limit]
            return lines

    assert check_codec(Drops, b"ok\n", endless=b"x") == [b"ok"]


def test_the_bytes_that_are_held() -> None:
    """Bytes are found in fields, slots and containers, each object once; text, classes and functions hold none."""

    class Slotted:
        __slots__ = "one"  # noqa: PLC0205  # Python allows it

        def __init__(self, one: Any) -> None:
            self.one = one

    shared = bytearray(5)
    thing = Slotted(
        {b"ab": [shared, shared, (memoryview(b"xyz"), "text", 7, len, Slotted, None)], 1: deque([Slotted(b"q")])}
    )
    assert held_bytes(thing) == 2 + 5 + 3 + 1

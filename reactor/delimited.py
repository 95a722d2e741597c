"""Codecs whose messages end with a delimiter: `Lines` and `Until`. Pure."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import attrs

from reactor.buffers import byte_count
from reactor.codecs import Buffered
from reactor.errors import BadMessage, FrameTooLong, FramingError, UsageError
from reactor.options import _positive

#: The longest line, unless another maximum is given.  # asyncio, tornado 64 KiB; twisted 16 KiB
LINE_BYTES_MAX = 64 * 1024


def _delimiters(instance: Any, field: attrs.Attribute[Any], value: Iterable[bytes]) -> None:
    if not all(isinstance(each, bytes) and each for each in value):
        raise UsageError(f"{type(instance).__name__}.{field.name} is bytes, at least one, not {value!r}")


def _ending(instance: Any, field: attrs.Attribute[Any], value: bytes | None) -> None:
    if value is not None:
        _delimiters(instance, field, (value,))


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Delimited(Buffered):
    """What `Lines` and `Until` share: a maximum that holds also if the delimiter never comes."""

    _span: int = attrs.field(default=0, init=False, repr=False)  # the length of the longest delimiter
    maximum: int = attrs.field(default=LINE_BYTES_MAX, kw_only=True, validator=_positive)
    keep: bool = attrs.field(default=False, kw_only=True)

    @property
    def limit(self) -> int:
        return self.maximum + self._span - 1

    def _unfinished(self, size: int) -> FramingError | None:
        return self._too_long() if size > self.maximum + self._span - 1 else None

    def _too_long(self) -> FrameTooLong:
        return FrameTooLong(f"a message is longer than {self.maximum} bytes, or has no end")

    def _completes(self, data: bytes) -> bool:
        # The search goes on where a delimiter may have begun: `span - 1` bytes before the end of the tail.
        seam = self._span - 1
        return self._finds(data) or bool(seam and self._finds(bytes(self._tail[-seam:]) + data[:seam]))

    @abstractmethod
    def _finds(self, data: bytes) -> bool:
        """Whether there is a delimiter in *data*."""


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Lines(Delimited):
    """Lines of bytes.

    Args:
        ending: what ends a line. None takes a line feed, with or without one carriage return before it, and sends both.
        maximum: the length of the longest line without its ending.
        keep: lines have their endings, those given to `encode`, too.
    """

    ending: bytes | None = attrs.field(default=b"\n", validator=_ending)
    _mark: bytes = attrs.field(default=b"\n", init=False, repr=False)  # what is searched for

    def __attrs_post_init__(self) -> None:
        self._mark = self.ending or b"\n"
        self._span = len(self.ending or b"\r\n")

    def encode(self, message: bytes) -> bytes:
        size, mark = byte_count(message), self._mark
        if not self.keep:
            line = message + (self.ending or b"\r\n")
        else:
            line = message
            size -= len(mark)
            if self.ending is None and message.endswith(b"\r\n"):
                size -= 1
        if size > self.maximum:
            raise BadMessage(f"a line of {size} bytes; the maximum is {self.maximum}")
        if line.find(mark) != len(line) - len(mark) or not line.endswith(mark):
            raise BadMessage("a line holds its ending once, at its end: it would be taken for another number of lines")
        return line

    def _finds(self, data: bytes) -> bool:
        return self._mark in data

    def _cut(self, data: bytes, most: int) -> tuple[list[bytes], int, FramingError | None]:
        mark = self._mark
        raw = data.split(mark, most)
        end = len(data) - len(raw.pop())
        lines, error = raw, None
        if self.ending is None and b"\r" in data:
            lines = [line.removesuffix(b"\r") for line in raw]
        if len(data) > self.maximum and max(map(len, lines), default=0) > self.maximum:
            good = next(place for place, line in enumerate(lines) if len(line) > self.maximum)
            lines, error = lines[:good], self._too_long()
            end = sum(map(len, raw[:good])) + good * len(mark)
        if self.keep:
            lines = [line + mark for line in raw[: len(lines)]]
        return lines, end, error


@attrs.define(eq=False, init=False, on_setattr=attrs.setters.NO_OP)
class Until(Delimited):
    """Messages that end at any of several delimiters: the one that is whole first, the longest of those.

    Args:
        delimiters: none may be inside another one, but at its end; CRLF and LF go together.
        maximum: the length of the longest message without its delimiter.
        keep: messages have their delimiters, those given to `encode`, too. Without it, `encode` puts the first one.
    """

    delimiters: tuple[bytes, ...] = attrs.field(validator=_delimiters)
    _pattern: re.Pattern[bytes] = attrs.field(init=False, repr=False)

    def __init__(self, *delimiters: bytes, maximum: int = LINE_BYTES_MAX, keep: bool = False) -> None:
        self.__attrs_init__(delimiters, maximum=maximum, keep=keep)

    def __attrs_post_init__(self) -> None:
        if not self.delimiters:
            raise UsageError("Until needs a delimiter")
        for one in self.delimiters:
            if any(one in other[:-1] for other in self.delimiters):
                raise UsageError(f"the delimiter {one!r} is inside another one, which so could never be found")
        # None is a prefix of another one, so their order is of no account.
        self._pattern = re.compile(b"|".join(map(re.escape, self.delimiters)))
        self._span = max(map(len, self.delimiters))

    def encode(self, message: bytes) -> bytes:
        byte_count(message)
        whole = message if self.keep else message + self.delimiters[0]
        found = self._pattern.search(whole)
        if found is None or found.end() != len(whole) or (not self.keep and found.start() != len(message)):
            raise BadMessage("a message holds its delimiter once, at its end: it would be taken for another one")
        if found.start() > self.maximum:
            raise BadMessage(f"a message of {found.start()} bytes; the maximum is {self.maximum}")
        return whole

    def _finds(self, data: bytes) -> bool:
        return self._pattern.search(data) is not None

    def _cut(self, data: bytes, most: int) -> tuple[list[bytes], int, FramingError | None]:
        messages: list[bytes] = []
        end, maximum, keep = 0, self.maximum, self.keep
        for found in self._pattern.finditer(data):
            if len(messages) == most:
                break
            if found.start() - end > maximum:
                return messages, end, self._too_long()
            messages.append(data[end : found.end() if keep else found.start()])
            end = found.end()
        return messages, end, None

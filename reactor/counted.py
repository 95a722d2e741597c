"""Codecs whose messages say how long they are, or are all of one length. Pure.

A length is believed only up to the maximum, and memory is taken for bytes that have come, not for those announced.
"""

from __future__ import annotations

import re
import struct
from abc import abstractmethod
from typing import Any

import attrs

from reactor.buffers import byte_count
from reactor.codecs import Buffered
from reactor.errors import BadMessage, FrameTooLong, FramingError, UsageError
from reactor.options import _positive

#: The longest frame, unless another maximum is given.  # thrift 16 MB, grpc 4 MiB; twisted 99,999 bytes
FRAME_BYTES_MAX = 16 * 1024 * 1024
#: A varint has no more bytes: 64 bits, seven in each.  # protobuf
VARINT_BYTES_MAX = 10

_DIGITS = re.compile(rb"[0-9]*")
_COLON = ord(":")


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Counted(Buffered):
    """What these codecs share: they know how many bytes to wait for."""

    _need: int = attrs.field(default=1, init=False, repr=False)  # from the beginning of the tail, to look at it again

    def _completes(self, data: bytes) -> bool:
        return len(self._tail) + len(data) >= self._need


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Fixed(Counted):
    """Messages of *size* bytes each."""

    size: int = attrs.field(validator=_positive)

    @property
    def limit(self) -> int:
        return self.size

    def encode(self, message: bytes) -> bytes:
        if byte_count(message) != self.size:
            raise BadMessage(f"a message of {len(message)} bytes, where each has {self.size}")
        return message

    def _cut(self, data: bytes, most: int) -> tuple[list[bytes], int, FramingError | None]:
        size = self._need = self.size
        end = len(data) // size * size if most < 0 else most * size
        return [data[start : start + size] for start in range(0, end, size)], end, None


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Prefixed(Counted):
    """What codecs share whose messages come after their lengths: `_head` reads one, `_trailer` follows each message."""

    maximum: int = attrs.field(default=FRAME_BYTES_MAX, kw_only=True, validator=_positive)
    _trailer: bytes = attrs.field(default=b"", init=False, repr=False)

    @property
    @abstractmethod
    def _head_bytes_max(self) -> int:
        """How long a head can be."""

    @property
    def limit(self) -> int:
        return self._head_bytes_max + self.maximum + len(self._trailer)

    @abstractmethod
    def _head(self, data: bytes, start: int) -> tuple[int, int] | int | FramingError:
        """Read the head of the frame at *start*.

        Returns:
            where the message begins and ends, counted from *start*; or, if the head is not whole, how many bytes of the
            frame to wait for; or what is wrong with it.
        """

    def _cut(self, data: bytes, most: int) -> tuple[list[bytes], int, FramingError | None]:
        messages: list[bytes] = []
        start, size, trailer = 0, len(data), self._trailer
        while start < size and len(messages) != most:
            head = self._head(data, start)
            if isinstance(head, FramingError):
                return messages, start, head
            if isinstance(head, int):
                self._need = head
                break
            first, last = head
            need = last + len(trailer)
            if start + need > size:
                self._need = need
                break
            if trailer and not data.startswith(trailer, start + last):
                return messages, start, FramingError(f"no {trailer!r} after a message")
            messages.append(data[start + first : start + last])
            start += need
        return messages, start, None

    def _check_size(self, message: bytes) -> int:
        size = byte_count(message)
        if size > self.maximum:
            raise BadMessage(f"a message of {size} bytes; the maximum is {self.maximum}")
        return size

    def _too_long(self) -> FrameTooLong:
        return FrameTooLong(f"a message of more than {self.maximum} bytes is announced")


def _one_integer(instance: Any, field: attrs.Attribute[str], value: str) -> None:
    try:
        layout = struct.Struct(value)
        values = layout.unpack(bytes(layout.size))
    except (struct.error, TypeError) as exc:
        raise UsageError(f"LengthPrefixed.format is one for struct, not {value!r}: {exc}") from None
    if [type(each) for each in values] != [int]:
        raise UsageError(f"LengthPrefixed.format has one integer, as '!I' has; not {value!r}")


def _whole(instance: Any, field: attrs.Attribute[Any], value: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"LengthPrefixed.{field.name} is a whole number, not {value!r}")


def _not_negative(instance: Any, field: attrs.Attribute[Any], value: int | None) -> None:
    if value is None and field.name == "strip":
        return
    _whole(instance, field, value)
    if value is not None and value < 0:
        raise UsageError(f"LengthPrefixed.{field.name} is a whole number from 0 on, not {value!r}")


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class LengthPrefixed(Prefixed):
    """Frames with a length field: `offset` bytes, the field, and as many bytes as it says plus `adjustment`.

    Args:
        format: of the length field, as in `struct`: one integer.
        offset: how many bytes of the frame stand before the field.
        adjustment: what to add to the field's value to get the bytes after it: -4 where a field of 4 bytes counts itself.
        strip: how many bytes to drop from the front of the frame. Default: the field, if nothing is before it, else none.
        maximum: the length of the longest message, as it is handed over.
    """

    format: str = attrs.field(default="!I", validator=_one_integer)
    offset: int = attrs.field(default=0, kw_only=True, validator=_not_negative)
    adjustment: int = attrs.field(default=0, kw_only=True, validator=_whole)
    strip: int | None = attrs.field(default=None, kw_only=True, validator=_not_negative)
    _field: struct.Struct = attrs.field(init=False, repr=False)
    _front: int = attrs.field(init=False, repr=False)  # what stands before, and the field
    _dropped: int = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._field = struct.Struct(self.format)
        self._front = self.offset + self._field.size
        self._dropped = (0 if self.offset else self._front) if self.strip is None else self.strip

    @property
    def _head_bytes_max(self) -> int:
        return max(self._front, self._dropped)

    def encode(self, message: bytes) -> bytes:
        """Put the length before *message*. If frames are handed over whole, *message* is one, and its length must be right.

        Raises:
            BadMessage: too long; or, of a whole frame, not as long as it says.
            UsageError: of what is stripped more than the length would have to be made up; override `encode`.
        """
        size = self._check_size(message)
        if not self._dropped:
            if self._head(message, 0) != (0, size):
                raise BadMessage(f"a frame of {size} bytes that says it is of another length")
            return message
        if self.offset or self._dropped != self._front:
            raise UsageError("what stands beside the length is stripped, and only a subclass knows what to send there")
        try:
            return self._field.pack(size - self.adjustment) + message
        except struct.error:
            raise BadMessage(f"a message of {size} bytes, which {self.format!r} cannot say") from None

    def _head(self, data: bytes, start: int) -> tuple[int, int] | int | FramingError:
        front = self._front
        if len(data) - start < front:
            return front
        length: int = self._field.unpack_from(data, start + self.offset)[0]
        last = front + length + self.adjustment
        if last < front or last < self._dropped:
            return FramingError(f"a frame of {last} bytes is announced, which is less than its head")
        return self._too_long() if last - self._dropped > self.maximum else (self._dropped, last)


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Varint(Prefixed):
    """Messages after their lengths, as protocol buffers write them: seven bits in each byte, the lowest first (LEB128)."""

    @property
    def _head_bytes_max(self) -> int:
        return VARINT_BYTES_MAX

    def encode(self, message: bytes) -> bytes:
        left = self._check_size(message)
        head = bytearray()
        while left > 0x7F:
            head.append(left & 0x7F | 0x80)
            left >>= 7
        head.append(left)
        return bytes(head) + message

    def _head(self, data: bytes, start: int) -> tuple[int, int] | int | FramingError:
        length = 0
        for place, byte in enumerate(data[start : start + VARINT_BYTES_MAX]):
            length |= (byte & 0x7F) << 7 * place
            if length > self.maximum:
                return self._too_long()
            if byte < 0x80:
                return place + 1, place + 1 + length
        seen = min(len(data) - start, VARINT_BYTES_MAX)
        return FramingError(f"a varint of more than {seen} bytes") if seen == VARINT_BYTES_MAX else seen + 1


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Netstring(Prefixed):
    """`b"5:hello,"`: the length in digits, a colon, the message, a comma. Strict: no leading zero, no blank, no sign.

    Source: D. J. Bernstein, Netstrings, 1997-02-01: https://cr.yp.to/proto/netstrings.txt
    """

    _trailer: bytes = attrs.field(default=b",", init=False, repr=False)
    # One digit more than there can be is enough to know; int() of a megabyte of them would take long.
    _front: int = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._front = len(str(self.maximum)) + 1

    @property
    def _head_bytes_max(self) -> int:
        return self._front

    def encode(self, message: bytes) -> bytes:
        return b"%d:%b," % (self._check_size(message), message)

    def _head(self, data: bytes, start: int) -> tuple[int, int] | int | FramingError:
        found = _DIGITS.match(data, start, start + self._front)
        digits = found[0] if found else b""
        if len(digits) > 1 and digits.startswith(b"0"):
            return FramingError("a netstring's length has a leading zero")
        length = int(digits or b"0")
        if length > self.maximum:
            return self._too_long()
        first = len(digits) + 1
        if start + first > len(data):
            return first
        if not digits or data[start + first - 1] != _COLON:
            return FramingError("a netstring begins with its length in digits, and a colon")
        return first, first + length

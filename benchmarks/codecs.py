"""What cutting lines costs: 16 small ones in one chunk, as a pipelining client sends them.

Beside `bytes.split`, which finds the lines and does no more, stand our `Lines`, alone and as a `MessageStream` uses it, and
the other codecs: `python -m benchmarks codecs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from reactor import Codec, Fixed, LengthPrefixed, Lines, MessageStream, Netstring, Until, Varint
from reactor.states import READING, Reading, ReadingEvent, move

LINES = 16
LINE = b"GET key0123456789"


@attrs.define(eq=False)
class Sink(MessageStream[bytes, bytes]):
    """Takes lines, and does nothing with them."""

    codec: Codec[bytes, bytes] = attrs.field(init=False, factory=Lines)

    def on_message(self, message: bytes) -> None:
        pass


def ours(codec: Codec[bytes, bytes]) -> Callable[[], Iterable[bytes]]:
    """Return what feeds *codec* with one chunk."""
    feed, chunk = codec.feed, codec.encode(LINE) * LINES
    return lambda: feed(chunk)


def split() -> Iterable[bytes]:
    """Cut a chunk of lines."""
    return CHUNK.split(b"\n")


def delivered() -> Callable[[], object]:
    """Return what gives a chunk to a stream that is not connected, and believes that it is."""
    stream = Sink()
    stream._reading = move(READING, Reading.IDLE, ReadingEvent.OPEN)
    return lambda: stream.on_data(CHUNK)


CHUNK = (LINE + b"\n") * LINES
CASES: dict[str, Callable[[], Any]] = {
    "bytes.split": split,
    "Lines": ours(Lines()),
    "Lines, in a MessageStream": delivered(),
    "Lines, CRLF": ours(Lines(b"\r\n")),
    "Lines, CRLF or LF": ours(Lines(None)),
    "Until": ours(Until(b"\n", b";")),
    "Fixed": ours(Fixed(len(LINE))),
    "LengthPrefixed": ours(LengthPrefixed()),
    "Varint": ours(Varint()),
    "Netstring": ours(Netstring()),
}


def nanoseconds(call: Callable[[], object], calls: int) -> float:
    """Return the processor time of one line."""
    begin = time.process_time_ns()
    for _ in range(calls):
        call()
    return (time.process_time_ns() - begin) / calls / LINES

"""What cutting lines costs: 16 small ones in one chunk, as a pipelining client sends them.

Beside `bytes.split`, which finds the lines and does no more, stand our `Lines`, alone and as a `MessageStream` uses it, and
the other codecs. Each round measures all of them one after the other, so that ratios hold although the machine does
something else now and then.

    python -m benchmarks.codecs

docs/performance.md has the numbers.
"""

from __future__ import annotations

import argparse
import statistics
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    costs: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(options.rounds):
        for name, call in CASES.items():
            costs[name].append(nanoseconds(call, options.chunks))
    print(f"{LINES} messages of {len(LINE)} bytes in a chunk, {options.chunks} chunks, {options.rounds} rounds")
    for name, measured in costs.items():
        ratio = statistics.median(cost / base for cost, base in zip(measured, costs["bytes.split"], strict=True))
        print(f"{name:26} {statistics.median(measured):7.1f} ns a message   {ratio:5.2f} of bytes.split")


if __name__ == "__main__":
    main()

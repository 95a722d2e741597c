r"""A service that speaks JSON, one object a line: it keeps a tally for each client.

It shows a codec of one's own types: `on_message` gets a `Request` and `send` takes a `Reply`, which a type checker knows.
What is no request is answered, once, and ends the connection; so is a line that is too long.

Run it, and talk to it::

    python -m examples.tally
    printf '{"name": "apples", "add": 2}\n' | nc -q1 127.0.0.1 7011
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections import Counter

import attrs

from reactor import AddressError, Codec, FramingError, Lines, ListenError, Mapped, MessageStream, Reactor

#: A longer line is refused; so a line costs bounded memory.
LINE_BYTES_MAX = 1024


@attrs.frozen
class Request:
    """Add to a tally."""

    name: str
    add: int


@attrs.frozen
class Reply:
    """How high the tally is, or what was wrong."""

    name: str = ""
    total: int = 0
    error: str = ""


def load(line: bytes) -> Request:
    """Return the request that *line* is; ValueError if it is none."""
    try:
        value = json.loads(line)
    except RecursionError:
        raise ValueError("brackets in brackets in brackets") from None
    match value:
        case {"name": str(name), "add": int(add)}:
            return Request(name, add)
    raise ValueError('a request is an object with a "name" and a number to "add"')


def dump(reply: Reply) -> bytes:
    """Return the line that *reply* is."""
    return json.dumps(attrs.asdict(reply)).encode()


def requests_in_lines() -> Codec[Request, Reply]:
    """Return the codec of one connection."""
    return Mapped(Lines(maximum=LINE_BYTES_MAX), load, dump)


@attrs.define(eq=False)
class Tally(MessageStream[Request, Reply]):
    """One connection, and its tallies."""

    codec: Codec[Request, Reply] = attrs.field(init=False, factory=requests_in_lines)
    totals: Counter[str] = attrs.field(init=False, factory=Counter)

    def on_message(self, message: Request) -> None:
        self.totals[message.name] += message.add
        self.send(Reply(message.name, self.totals[message.name]))

    def on_framing_error(self, exc: FramingError) -> None:
        self.send(Reply(error=str(exc)))
        self.close()


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Keep tallies, in JSON, one object a line.")
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:7011",
        help="where to listen: HOST:PORT, :PORT for every interface, or unix:PATH; port 0 means any free one"
        " (default: %(default)s)",
    )
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt), Reactor() as reactor:
        try:
            acceptor = reactor.listen(Tally, options.bind)
        except (AddressError, ListenError) as error:
            parser.error(str(error))
        reactor.on_signal(signal.SIGTERM, reactor.shutdown)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        reactor.run()
        if reactor.cut:
            sys.exit(f"{len(reactor.cut)} were cut off")


if __name__ == "__main__":
    main()

"""A server that sends back what it receives.

It shows the smallest useful handler, back-pressure and a clean end. A peer that sends without reading fills the write
queue of its connection; `on_pause` then stops reading from it, so that the kernel slows it down, and `on_drain` goes on. A
peer that half-closes gets the rest of its echo, since `on_end` by default sends what is queued before it closes.

Run it, and talk to it from another terminal::

    python -m examples.echo
    python -m examples.echo_client 127.0.0.1:7007 hello

Ctrl-C and SIGTERM end it: it listens no more, sends what is queued, and closes.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

import attrs

from reactor import AddressError, ListenError, Reactor, Stream


@attrs.define(eq=False)
class Echo(Stream):
    """One connection."""

    def on_data(self, data: bytes) -> None:
        self.write(data)

    def on_pause(self) -> None:
        self.pause()

    def on_drain(self) -> None:
        self.resume()


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Send back to every client what it sends.")
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:7007",
        help="where to listen: HOST:PORT, :PORT for every interface, or unix:PATH; port 0 means any free one"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        type=float,
        default=30.0,
        help="how long SIGTERM lets connections finish; if some have to be cut then, the exit status is 1"
        " (default: %(default)g)",
    )
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt), Reactor() as reactor:
        try:
            acceptor = reactor.listen(Echo, options.bind)
        except (AddressError, ListenError) as error:
            parser.error(str(error))
        reactor.on_signal(signal.SIGTERM, reactor.shutdown, options.grace)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        reactor.run()
        if reactor.cut:
            sys.exit(f"{len(reactor.cut)} were cut off")


if __name__ == "__main__":
    main()

"""A port forwarder: everything that comes in on one address goes to another, and back.

It shows two streams that look after each other. What one receives, the other sends. When one cannot send as fast as the
other receives (`on_pause`), the other stops reading until it can (`on_drain`), so that a slow reader slows down the sender
at the far end and memory stays bounded. The end of one direction is passed on without touching the other direction
(`on_end`, `end`), and a connection that breaks breaks its counterpart, so that nobody takes a torn message for a whole one.

Run it in front of `echo.py`::

    python -m examples.echo
    python -m examples.forward --bind 127.0.0.1:7008 127.0.0.1:7007
    python -m examples.echo_client 127.0.0.1:7008 hello

The target may be a name, which is looked up anew for each client:
`python -m examples.forward --bind :8080 example.org:80`. Both addresses may be Unix sockets: `unix:/run/some.sock`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
import sys

import attrs

from reactor import Address, AddressError, CloseKind, CloseReason, ConnectError, ListenError, Reactor, Stream
from reactor.addresses import parse

#: Ends after which the other side needs no help: it is ending, too, and will have sent what is queued.
IN_ORDER = (CloseKind.PEER_END, CloseKind.SHUTDOWN)


@attrs.define(eq=False)
class Side(Stream):
    """One of the two connections."""

    other: Side = attrs.field(init=False, repr=False)

    def on_data(self, data: bytes) -> None:
        self.other.write(data)

    def on_pause(self) -> None:
        self.other.pause()

    def on_drain(self) -> None:
        self.other.resume()

    def on_end(self) -> None:
        # The default would close this side, which may have bytes to send for a long time yet. When both sides have ended
        # and sent everything, both are closed without being asked to.
        self.other.end()

    def on_close(self, reason: CloseReason) -> None:
        if reason.kind not in IN_ORDER:
            self.other.abort()


@attrs.define(eq=False)
class Client(Side):
    """The side that was accepted. It says nothing before there is somebody to hear it."""

    target: Address

    def __attrs_post_init__(self) -> None:
        self.other = Upstream()
        self.other.other = self

    def on_connect(self) -> None:
        self.pause()
        self.reactor.connect(self.other, self.target)


@attrs.define(eq=False)
class Upstream(Side):
    """The side that was connected. If it could not be, `on_close` is all that it hears."""

    def on_connect(self) -> None:
        self.other.resume()

    def on_close(self, reason: CloseReason) -> None:
        if isinstance(reason.error, ConnectError):
            print(reason.error, file=sys.stderr)
        super().on_close(reason)


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Forward connections from one address to another.")
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:7008",
        help="where to listen: HOST:PORT, :PORT for every interface, or unix:PATH; port 0 means any free one"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="where to connect for each client: HOST:PORT, where the host may be a name, or unix:PATH",
    )
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt), Reactor() as reactor:
        try:
            acceptor = reactor.listen(functools.partial(Client, parse(options.target)), options.bind)
        except (AddressError, ListenError) as error:
            parser.error(str(error))
        reactor.on_signal(signal.SIGTERM, reactor.shutdown)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        reactor.run()


if __name__ == "__main__":
    main()

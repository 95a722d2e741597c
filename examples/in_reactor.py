"""A reactor inside another reactor: what a library does that brings its own, in a program that has one.

It shows the three calls by which a reactor lives in another loop, `fileno()`, `run_once(0)` and `next_timeout()`; and that a
handler watches any descriptor, given as much of a socket as it needs.

Run it, and talk to it from elsewhere::

    python -m examples.in_reactor
    python -m examples.echo_client 127.0.0.1:7007 hello
"""

from __future__ import annotations

import argparse
from typing import Any, cast

import attrs

from reactor import CloseReason, Handler, Reactor, Stream, Timer


@attrs.define(eq=False)
class Descriptor:
    """As much of a socket as a handler needs, around a descriptor that somebody else closes."""

    number: int

    def fileno(self) -> int:
        """The number, -1 after the end."""
        return self.number

    def setblocking(self, flag: bool) -> None:
        """Nothing is read from it."""

    def close(self) -> None:
        """It is the inner reactor's."""
        self.number = -1


@attrs.define(eq=False)
class InReactor(Handler):
    """Makes the passes of an *inner* reactor."""

    inner: Reactor
    _next: Timer | None = attrs.field(init=False, default=None)

    def start(self, outer: Reactor) -> None:
        """Watch the inner reactor from now on."""
        outer.attach(self, cast("Any", Descriptor(self.inner.fileno())))
        self.on_readable()

    def on_readable(self) -> None:
        """Make a pass, and be called again when the next one is due."""
        self.inner.run_once(0)
        if self._next is not None:
            self._next.cancel()
        delay = self.inner.next_timeout()
        self._next = None if delay is None or not self.is_open else self.call_later(delay, self.on_readable)


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes, a moment later."""

    host: InReactor
    clients: list[None]

    def on_data(self, data: bytes) -> None:
        self.call_later(0.01, self.write, data)

    def on_end(self) -> None:
        self.call_later(0.02, self.close)

    def on_close(self, reason: CloseReason) -> None:
        print(reason, flush=True)
        self.clients.pop()
        if not self.clients:
            self.host.close()


def main() -> None:
    """Run the outer reactor until so many clients of the inner one have left."""
    parser = argparse.ArgumentParser(description="Echo, by a reactor that lives in another one.")
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1:7007", help="where to listen (default: %(default)s)")
    parser.add_argument("--clients", metavar="N", type=int, default=3, help="end after so many (default: %(default)s)")
    options = parser.parse_args()
    with Reactor() as outer, Reactor() as inner:
        host = InReactor(inner)
        clients = [None] * options.clients
        acceptor = inner.listen(lambda: Echo(host, clients), options.bind)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        host.start(outer)
        outer.run()


if __name__ == "__main__":
    main()

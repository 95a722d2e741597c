"""A reactor inside GLib's main loop, as GTK programs have it: an echo server beside whatever else the loop does.

It shows the three calls by which a reactor lives in another loop: `fileno()`, `run_once(0)`, `next_timeout()`; see
`in_asyncio.py`. GLib counts milliseconds, and is given them rounded up, so that no timer is early.

It needs PyGObject::

    python -m examples.in_glib
    python -m examples.echo_client 127.0.0.1:7007 hello
"""

from __future__ import annotations

import argparse
import math
from importlib import import_module
from typing import Any

import attrs

from reactor import CloseReason, Reactor, Stream

try:
    GLib: Any = import_module("gi.repository.GLib")
except ImportError:
    GLib = None  # `main` says so


@attrs.define(eq=False)
class InGLib:
    """Makes the passes of a reactor from a GLib main loop."""

    reactor: Reactor
    _watch: int = attrs.field(init=False, default=0)
    _timer: int = attrs.field(init=False, default=0)

    def start(self) -> None:
        """Watch the reactor from now on."""
        self._watch = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, self.reactor.fileno(), GLib.IOCondition.IN, self.turn)
        self.turn()

    def turn(self, *_: Any) -> bool:
        """Make a pass, and be called again when the next one is due; True has GLib go on watching."""
        self.reactor.run_once(0)
        self._forget_timer()
        delay = self.reactor.next_timeout()
        if delay is not None:
            self._timer = GLib.timeout_add(math.ceil(delay * 1000), self._timed)
        return True

    def stop(self) -> None:
        """Watch it no more."""
        GLib.source_remove(self._watch)
        self._forget_timer()

    def _timed(self) -> bool:
        self._timer = 0  # a source that returns False is removed by GLib
        self.turn()
        return False

    def _forget_timer(self) -> None:
        if self._timer:
            GLib.source_remove(self._timer)
            self._timer = 0


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes, a moment later."""

    server: Server

    def on_data(self, data: bytes) -> None:
        self.call_later(0.01, self.write, data)

    def on_end(self) -> None:
        self.call_later(0.02, self.close)

    def on_close(self, reason: CloseReason) -> None:
        self.server.left(reason)


@attrs.define(eq=False)
class Server:
    """Ends the loop when so many clients have left."""

    clients: int
    loop: Any

    def left(self, reason: CloseReason) -> None:
        """One has."""
        print(reason, flush=True)
        self.clients -= 1
        if not self.clients:
            self.loop.quit()


def main() -> None:
    """Run GLib's loop."""
    parser = argparse.ArgumentParser(description="Echo, by a reactor that lives in GLib's main loop.")
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1:7007", help="where to listen (default: %(default)s)")
    parser.add_argument("--clients", metavar="N", type=int, default=3, help="end after so many (default: %(default)s)")
    options = parser.parse_args()
    if GLib is None:
        parser.error("it needs PyGObject, which is not there")
    server = Server(options.clients, GLib.MainLoop())
    with Reactor() as reactor:
        acceptor = reactor.listen(lambda: Echo(server), options.bind)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        host = InGLib(reactor)
        host.start()
        server.loop.run()
        host.stop()


if __name__ == "__main__":
    main()

"""A reactor inside asyncio: an echo server whose passes are made by an asyncio program that has other things to do.

It shows the three calls by which a reactor lives in another loop. `fileno()` is watched by that loop; `run_once(0)` is
called when it is readable, or when `next_timeout()` seconds are over. Nobody polls: while nothing comes, both sleep in one
wait.

Whoever sets a timer of the reactor's outside of its hooks calls `turn()` afterwards, so that asyncio knows of it.

Run it, and talk to it from elsewhere::

    python -m examples.in_asyncio
    python -m examples.echo_client 127.0.0.1:7007 hello

See `with_asyncio.py` for the other way round: the whole of asyncio beside handlers.
"""

from __future__ import annotations

import argparse
import asyncio

import attrs

from reactor import CloseReason, Reactor, Stream


@attrs.define(eq=False)
class InAsyncio:
    """Makes the passes of a reactor from asyncio's running loop."""

    reactor: Reactor
    _loop: asyncio.AbstractEventLoop = attrs.field(init=False, factory=asyncio.get_running_loop)
    _timer: asyncio.TimerHandle | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """Watch the reactor from now on."""
        self._loop.add_reader(self.reactor.fileno(), self.turn)
        self.turn()

    def turn(self) -> None:
        """Make a pass, and be called again when the next one is due."""
        self.reactor.run_once(0)
        if self._timer is not None:
            self._timer.cancel()
        delay = self.reactor.next_timeout()
        self._timer = None if delay is None else self._loop.call_later(delay, self.turn)

    def stop(self) -> None:
        """Watch it no more."""
        self._loop.remove_reader(self.reactor.fileno())
        if self._timer is not None:
            self._timer.cancel()


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes, a moment later, and tells asyncio when it is over."""

    gone: asyncio.Queue[CloseReason]

    def on_data(self, data: bytes) -> None:
        self.call_later(0.01, self.write, data)

    def on_end(self) -> None:
        self.call_later(0.02, self.close)

    def on_close(self, reason: CloseReason) -> None:
        self.gone.put_nowait(reason)


async def serve(address: str, clients: int) -> None:
    """Serve until so many clients have left."""
    gone: asyncio.Queue[CloseReason] = asyncio.Queue()
    with Reactor() as reactor:
        acceptor = reactor.listen(lambda: Echo(gone), address)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        host = InAsyncio(reactor)
        host.start()
        for _ in range(clients):
            print(await gone.get(), flush=True)
        host.stop()


def main() -> None:
    """Run asyncio."""
    parser = argparse.ArgumentParser(description="Echo, by a reactor that lives in asyncio.")
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1:7007", help="where to listen (default: %(default)s)")
    parser.add_argument("--clients", metavar="N", type=int, default=3, help="end after so many (default: %(default)s)")
    options = parser.parse_args()
    asyncio.run(serve(options.bind, options.clients))


if __name__ == "__main__":
    main()

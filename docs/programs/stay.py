"""Stay connected: log in on each connection, and come back when it ends."""

from collections.abc import Callable

import attrs

from reactor import Backoff, CloseReason, Reactor, Reconnector, Stream


@attrs.define(eq=False)
class Client(Stream):
    """One connection."""

    ready: Callable[[], None] | None = None

    def on_data(self, data: bytes) -> None:
        if self.ready is not None and data.startswith(b"welcome"):
            self.ready()
        else:
            print("heard", data.decode().strip(), flush=True)


@attrs.define(eq=False, kw_only=True)
class Always(Reconnector[Client]):
    """All of them, one after the other."""

    def on_up(self) -> None:
        print("up", flush=True)

    def on_down(self, reason: CloseReason, delay: float) -> None:
        print("down", flush=True)

    def on_stop(self, reason: CloseReason) -> None:
        print("stopped", flush=True)


def log_in(client: Client, ready: Callable[[], None]) -> None:
    """Say who we are; the connection is up when the server has welcomed us."""
    client.ready = ready
    client.write(b"hello\n")


with Reactor() as reactor:
    always = Always(
        reactor=reactor,
        factory=Client,
        address="localhost:7007",
        backoff=Backoff(first=0.1, cap=2),
        prepare=log_in,
        is_permanent=lambda reason: reason.error is not None,
    )
    always.start()
    reactor.run()

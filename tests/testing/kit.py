"""What the tests of the simulation share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from reactor import CloseKind, CloseReason, ErrorContext, Reactor, Stream
from reactor.testing import Faults, Host, Network, Simulation
from reactor.testing.faults import NO_FAULTS
from reactor.testing.selector import Kind


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


@attrs.define(eq=False)
class Client(Stream):
    """Sends something, keeps what comes, and closes when all of it is back."""

    message: bytes = b"hello"
    received: bytearray = attrs.field(init=False, factory=bytearray)

    def on_connect(self) -> None:
        self.write(self.message)

    def on_data(self, data: bytes) -> None:
        self.received += data
        if len(self.received) == len(self.message):
            self.close()

    def on_close(self, reason: CloseReason) -> None:
        pass

    @property
    def kind(self) -> CloseKind | None:
        """How it ended, once it has."""
        return None if self.reason is None else self.reason.kind


@attrs.define(eq=False, kw_only=True, repr=False)
class Quiet(Reactor):
    """Keeps what hooks raise instead of logging it."""

    raised: list[ErrorContext] = attrs.field(init=False, factory=list)

    def on_error(self, context: ErrorContext) -> None:
        self.raised.append(context)


@attrs.define(eq=False)
class World:
    """A simulation with an echo server on one host and a reactor on another."""

    sim: Simulation
    server: Host
    client: Host
    serving: Quiet
    reactor: Quiet

    def connect(self, handler: Client, timeout: float = 30.0) -> Client:
        """Connect *handler* to the server."""
        self.reactor.connect(handler, (self.server.addresses[0], 7), timeout=timeout)
        return handler

    def until_closed(self, *handlers: Client) -> None:
        """Run until all *handlers* have ended."""
        assert self.sim.run(lambda: all(handler.reason for handler in handlers), timeout=3600)


@contextmanager
def world(
    seed: int = 0, *, network: Network | None = None, faults: Faults = NO_FAULTS, kind: Kind = "epoll"
) -> Iterator[World]:
    """Make a `World`; nothing may be left of it in the end."""
    with Simulation(seed, network=network, faults=faults) as sim:
        server, client = sim.host("server"), sim.host("client")
        with (
            Quiet(system=server, selector=server.selector(kind)) as serving,
            Quiet(system=client, selector=client.selector(kind)) as reactor,
        ):
            serving.listen(Echo, ":7")
            yield World(sim, server, client, serving, reactor)

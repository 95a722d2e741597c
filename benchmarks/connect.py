"""Connecting under bad conditions: how late, how long a pass, how much CPU, and whether everything ends as it should.

    python -m benchmarks.connect [--self-connects 50000] [ROW…]

Rows: eyeballs, dead, crowd, backlog, itself, stuck. The first three need two network namespaces: root, Linux, iproute2.
Each row is bounded, checks what it counts, and prints one line.
"""

from __future__ import annotations

import argparse
import pathlib
import resource
import selectors
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from reactor import CloseReason, ConnectError, OverrideResolver, Reactor, Stream, System
from tests.network import SERVER4, SILENT4, SILENT6, Network, Unavailable, network

NAMES: dict[str, str | list[str]] = {"both.example": [SILENT6, SERVER4], "dead.example": [SILENT6, SILENT4]}


class Measuring(selectors.DefaultSelector):
    """A selector that knows how long the loop was away from it at most."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self.left: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.left is not None:
            self.longest = max(self.longest, time.perf_counter() - self.left)
        ready = super().select(timeout)
        self.left = time.perf_counter()
        return ready


@attrs.define(eq=False)
class Client(Stream):
    """Notes how it ends, and when; a connection ends at once."""

    begin: float = attrs.field(factory=time.monotonic)
    ended: list[str] = attrs.field(init=False, factory=list)
    seconds: float = attrs.field(init=False, default=0.0)

    def note(self, what: str) -> None:
        self.ended.append(what)
        self.seconds = time.monotonic() - self.begin

    def on_connect(self) -> None:
        self.note("connected")
        if self.sock.getpeername() == self.sock.getsockname() != "":
            self.ended.append("to itself")
        self.abort()

    def on_close(self, reason: CloseReason) -> None:
        if isinstance(reason.error, ConnectError):
            words = ("refused", "no answer", "unreachable")
            self.note(next((word for word in words if word in str(reason.error)), "failed"))


def counted(clients: list[Client]) -> Counter[str]:
    """Return how often each end came; each client has to have just one."""
    for client in clients:
        assert len(client.ended) == 1, client.ended
    return Counter(client.ended[0] for client in clients)


@attrs.define(eq=False)
class Stand:
    """A network, and a reactor on its client's side."""

    net: Network
    selector: Measuring
    reactor: Reactor


def in_network(row: Callable[[Stand], str]) -> str:
    """Run *row* on a network of its own, with a reactor on the client's side."""
    try:
        with network() as net, net.inside(net.client):
            selector = Measuring()
            with Reactor(selector=selector, resolver=OverrideResolver(NAMES, None)) as reactor:
                return row(Stand(net, selector, reactor))
    except Unavailable as error:
        return f"not here: {error}"


def eyeballs(stand: Stand) -> str:
    """IPv6 is a black hole, IPv4 answers: 20 times, one after the other."""
    took = []
    with stand.net.listen() as listener:
        for _ in range(20):
            client = Client()
            stand.reactor.connect(client, ("both.example", listener.getsockname()[1]))
            stand.reactor.run()
            assert counted([client]) == {"connected": 1}
            assert not stand.reactor.handlers
            took.append(client.seconds * 1000)
    return f"connected after {statistics.median(took):.1f} ms, at most {max(took):.1f} ms"


def dead(stand: Stand) -> str:
    """Nothing answers, deadline 1 s."""
    client = Client()
    stand.reactor.connect(client, "dead.example:9", timeout=1)
    stand.reactor.run()
    assert client.reason is not None
    return f"{(client.seconds - 1) * 1000:+.1f} ms from the deadline: {client.reason.error}"


def crowd(stand: Stand) -> str:
    """1,000 connects at once: a third refused, a third swallowed, a third accepted."""
    with stand.net.listen(backlog=1000) as listener:
        targets = [(SERVER4, 9), (SILENT4, 9), listener.getsockname()] * 334
        clients = [Client() for _ in targets[:1000]]
        begin = time.perf_counter()
        for client, target in zip(clients, targets, strict=False):
            stand.reactor.connect(client, target, timeout=3)
        started = time.perf_counter() - begin
        stand.reactor.run()
    assert not stand.reactor.handlers
    assert not len(stand.reactor.timers)
    ends = ", ".join(f"{number} {end}" for end, number in sorted(counted(clients).items()))
    return f"{ends}; starting them {started * 1000:.0f} ms, longest pass {stand.selector.longest * 1000:.1f} ms"


def backlog() -> str:
    """2,000 connects to a Unix socket with a backlog of 1, and a server that accepts one every 5 ms."""
    with tempfile.TemporaryDirectory(prefix="reactor-") as directory, socket.socket(socket.AF_UNIX) as listener:
        path = pathlib.Path(directory) / "s"
        listener.bind(str(path))
        listener.listen(1)
        accepted = []
        over = threading.Event()

        def serve() -> None:
            listener.settimeout(0.2)
            while not over.wait(0.005):
                try:
                    accepted.append(listener.accept()[0])
                except TimeoutError:
                    continue

        server = threading.Thread(target=serve)
        server.start()
        clients = [Client() for _ in range(2000)]
        with Reactor() as reactor:
            for client in clients:
                reactor.connect(client, path, timeout=30)
            before, begin = resource.getrusage(resource.RUSAGE_THREAD), time.monotonic()
            reactor.run()
            after, took = resource.getrusage(resource.RUSAGE_THREAD), time.monotonic() - begin
        over.set()
        server.join()
        for sock in accepted:
            sock.close()
    ends = counted(clients)
    assert ends["connected"] <= len(accepted) + 2, (ends, len(accepted))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = ", ".join(f"{number} {end}" for end, number in sorted(ends.items()))
    return f"{told}, {len(accepted)} accepted, in {took:.1f} s with {cpu:.2f} s of CPU: {cpu / took:.0%}"


def itself(times: int) -> str:
    """Connects to a loopback port of the ephemeral range on which nobody listens, 100 under way at a time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    ends: Counter[str] = Counter()
    begin = time.perf_counter()
    with Reactor() as reactor:
        for start in range(0, times, 100):
            clients = [Client() for _ in range(min(100, times - start))]
            for client in clients:
                reactor.connect(client, address)
            reactor.run()
            ends += counted(clients)
    assert set(ends) == {"refused"}, ends
    return f"{ends['refused']} refused, none connected to itself, in {time.perf_counter() - begin:.1f} s"


class Stuck(System):
    """A system whose resolver does not come back until it is told to."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def getaddrinfo(self, host: str | None, port: int, *, family: int = 0, flags: int = 0) -> list[tuple[int, Any]]:
        if host is None or not host.endswith(".example"):
            return super().getaddrinfo(host, port, family=family, flags=flags)
        self.free.wait(60)
        return []


def stuck() -> str:
    """All threads of the resolver are stuck, and 200 more names wait: numeric connects and a timer every 2 ms."""
    system = Stuck()
    late: list[float] = []
    took: list[float] = []
    with Reactor(system=system) as reactor:
        acceptor = reactor.listen(Stream, "127.0.0.1:0")
        acceptor.unref()
        named = [Client() for _ in range(200)]
        for number, client in enumerate(named):
            reactor.connect(client, f"name{number}.example:80", timeout=2)

        def tick(due: float) -> None:
            late.append(reactor.time() - due)
            client = Client()
            reactor.connect(client, ("127.0.0.1", acceptor.port))
            numeric.append(client)
            if len(numeric) < 300:
                reactor.call_at(due + 0.002, tick, due + 0.002)

        numeric: list[Client] = []
        reactor.call_later(0.002, tick, reactor.time() + 0.002)
        queued = reactor.stats().lookups_queued
        reactor.run()
        took = [client.seconds for client in numeric]
        assert counted(numeric) == {"connected": 300}
        assert counted(named) == {"no answer": 200}
        begin = time.perf_counter()
        reactor.close()
        closed = time.perf_counter() - begin
        system.free.set()
    return (
        f"{queued} lookups queued; numeric connects took {statistics.median(took) * 1000:.2f} ms, at most"
        f" {max(took) * 1000:.1f} ms; timers late by {max(late) * 1000:.1f} ms at most; close took {closed:.2f} s"
    )


def main() -> None:
    """Print each row."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--self-connects", type=int, default=50_000)
    parser.add_argument("rows", metavar="ROW", nargs="*")
    options = parser.parse_args()
    rows: dict[str, Callable[[], str]] = {
        "eyeballs": lambda: in_network(eyeballs),
        "dead": lambda: in_network(dead),
        "crowd": lambda: in_network(crowd),
        "backlog": backlog,
        "itself": lambda: itself(options.self_connects),
        "stuck": stuck,
    }
    for name in options.rows or rows:
        print(f"{name:9}{rows[name]()}", flush=True)


if __name__ == "__main__":
    main()

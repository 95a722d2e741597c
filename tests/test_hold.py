"""What `benchmarks.hold` proves on real sockets, small and in virtual time."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import pytest

from examples.forward import Client
from reactor import CloseKind, CloseReason, Codec, Lines, MessageStream, Stream
from reactor.addresses import parse
from reactor.testing import Network, Simulation
from tests.testing.kit import Echo, Quiet

DRIPPERS = 300


@attrs.define(eq=False)
class Patient(MessageStream[bytes, bytes]):
    """Gives everybody a minute for each line."""

    ends: list[tuple[CloseKind, float]]
    codec: Codec[bytes, bytes] = attrs.field(init=False, factory=Lines)

    def on_connect(self) -> None:
        self.deadline("line", 60)

    def on_message(self, message: bytes) -> None:
        self.deadline("line", 60)
        self.send(message)

    def on_close(self, reason: CloseReason) -> None:
        self.ends.append((reason.kind, self.reactor.time()))


def test_lines_that_never_end_are_cut_at_their_deadline() -> None:
    """Whoever sends a byte every ten seconds, and no line, is cut after a minute, by TIMEOUT; others are served."""
    ends: list[tuple[CloseKind, float]] = []
    network = Network(latency=0.0)
    with Simulation(network=network) as sim, Quiet(system=sim.host("server")) as reactor:
        reactor.listen(partial(Patient, ends), ":7")
        address = (sim.host("server").addresses[0], 7)
        connect = sim.host("client").sockets.create_connection
        socks: list[Any] = [connect(address, 5) for _ in range(DRIPPERS)]
        good = connect(address, 5)
        sim.advance(0.1)
        begun = sim.now
        for _ in range(5):
            sim.advance(10)
            for sock in socks:
                sock.send(b"a")
            good.send(b"hello\n")
            sim.advance(0.01)
            assert good.recv(100).strip() == b"hello"
        assert ends == []
        sim.advance(60 - (sim.now - begun))
        assert [kind for kind, _ in ends] == [CloseKind.TIMEOUT] * DRIPPERS
        assert all(moment - begun <= 60 for _, moment in ends)
        assert len(reactor.handlers) == 2
        for sock in (*socks, good):
            sock.close()
        sim.advance(10)


def test_a_reader_of_a_byte_a_second_costs_bounded_memory() -> None:
    """Behind the forwarder it holds back whoever writes to it; no queue grows, however long that lasts."""
    with Simulation(network=Network(send_buffer=4096, receive_buffer=4096)) as sim:
        with Quiet(system=sim.host("echo")) as echo, Quiet(system=sim.host("forward")) as forward:
            echo.listen(Holding, ":7")
            forward.listen(partial(Client, parse(f"{sim.host('echo').addresses[0]}:7")), ":8")
            peer: Any = sim.host("peer").sockets.create_connection((sim.host("forward").addresses[0], 8), 5)
            peer.setblocking(False)
            most = 0
            for _ in range(400):
                try:
                    while True:
                        peer.send(b"x" * 4096)
                except BlockingIOError:
                    pass
                sim.advance(1)
                assert peer.recv(1) == b"x"
                queued = [
                    stream.buffered for each in (echo, forward) for stream in each.handlers if isinstance(stream, Stream)
                ]
                most = max(most, *queued)
            assert most <= 64 * 1024 + 65536
            peer.close()
            sim.advance(100)


@attrs.define(eq=False)
class Holding(Echo):
    """An echo that reads no faster than it is read."""

    def on_pause(self) -> None:
        self.pause()

    def on_drain(self) -> None:
        self.resume()


def test_a_shutdown_says_who_was_cut() -> None:
    """Whoever reads gets all that waits for him; whoever does not is cut when the grace is over, and nobody comes in."""
    with Simulation(network=Network(send_buffer=4096, receive_buffer=4096)) as sim, Quiet(system=sim.host("s")) as reactor:
        reactor.listen(Holding, ":7")
        address = (sim.host("s").addresses[0], 7)
        connect = sim.host("client").sockets.create_connection
        good, bad = connect(address, 5), connect(address, 5)
        for sock in (good, bad):
            sock.setblocking(False)
            for _ in range(10):
                sock.send(b"x" * 3000)
                sim.advance(0.1)
        reactor.shutdown(grace=5)
        got = 0
        while data := good.recv(65536):
            got += len(data)
            sim.advance(0.1)
        assert got == 30_000
        good.close()
        sim.advance(6)
        assert [stream.reason.kind for stream in reactor.cut if stream.reason] == [CloseKind.SHUTDOWN]
        assert not reactor.handlers
        bad.close()


def test_slow_clients_of_http_are_cut_at_their_deadlines() -> None:
    """Slow heads, bodies and readers of 4 MB: each is cut at its deadline; their queues are bounded, others are served."""
    pytest.importorskip("httptools")
    from benchmarks.hold_http import DEADLINES, HELLO, KINDS, PIECE, STARTS

    ends: dict[str, list[float]] = {kind: [] for kind in DEADLINES}
    with Simulation(network=Network(latency=0.0, send_buffer=16384, receive_buffer=4096)) as sim:
        with http_lite(sim) as reactor:
            connect = sim.host("client").sockets.create_connection
            address = (sim.host("server").addresses[0], 80)
            slow: list[tuple[str, Any]] = [(kind, connect(address, 5)) for kind in KINDS * 5]
            good = connect(address, 5)
            begun = sim.now
            for kind, sock in slow:
                sock.setblocking(False)
                sock.send(STARTS[kind])
            for _ in range(50):
                good.sendall(HELLO)
                sim.advance(1)
                assert good.recv(1000).endswith(b"Hello, world!\n")
                assert reactor.stats().bytes_queued <= 20 * (64 * 1024 + len(PIECE))
                for each in list(slow):
                    if is_cut(*each):
                        slow.remove(each)
                        ends[each[0]].append(sim.now - begun)
            assert slow == []
            for kind, moments in ends.items():
                assert DEADLINES[kind] <= min(moments), kind
                assert max(moments) <= DEADLINES[kind] + 4, kind
            good.close()
            sim.advance(60)
            assert len(reactor.handlers) == 1


def test_peers_that_vanish_are_forgotten() -> None:
    """A cable is pulled in every phase, and no byte, FIN or RST comes any more: deadlines end what nobody else would."""
    pytest.importorskip("httptools")
    from benchmarks.hold_http import HELLO, STARTS

    with Simulation(network=Network(latency=0.0, send_buffer=16384, receive_buffer=4096)) as sim:
        with http_lite(sim) as reactor:
            connect = sim.host("client").sockets.create_connection
            address = (sim.host("server").addresses[0], 80)
            socks = [connect(address, 5) for _ in range(len(STARTS) + 2)]
            for sock, data in zip(socks, [*STARTS.values(), HELLO, b""], strict=True):
                sock.sendall(data)
            sim.advance(1)
            assert len(reactor.handlers) == len(socks) + 1
            sim.partition("server", "client")
            sim.advance(120)
            assert len(reactor.handlers) == 1
            for sock in socks:
                sock.close()


@contextlib.contextmanager
def http_lite(sim: Simulation) -> Iterator[Quiet]:
    """Serve what `hold http` is about, on the simulated host "server"."""
    from benchmarks.hold_http import app
    from examples.http_lite.connection import Connection, Site
    from examples.http_lite.log import AccessLog

    with Quiet(system=sim.host("server")) as reactor:
        app.reactor = reactor
        site = Site(app, AccessLog(None, reactor.call_soon, sim.host("server").time))
        reactor.listen(partial(Connection, site), ":80")
        yield reactor


def is_cut(kind: str, sock: Any) -> bool:
    """Send a byte, or read none, as a slow client; return whether the server has ended the connection, and close it then."""
    if kind in ("head", "body"):
        try:
            is_over = not sock.recv(1000)
        except BlockingIOError:
            sock.send(b"a")
            return False
    else:  # a reset is heard without reading
        is_over = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    if is_over:
        sock.close()
    return is_over

"""UDP between hosts: losses, refusals, and queues that are full."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from reactor.testing import Host, Network, Simulation
from tests.facts import DGRAM, error, said


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """Two hosts, a second apart."""
    with Simulation(network=Network(latency=1.0)) as made:
        made.host("other")
        yield made


def bound(host: Host, port: int) -> socket.socket:
    """Return a non-blocking socket on every address of *host*."""
    made = host.socket(socket.AF_INET, DGRAM)
    made.bind(("", port))
    return made


def test_a_datagram_takes_its_time(sim: Simulation) -> None:
    """It arrives whole after the latency, from the address of the link, and the sender stays bound to all."""
    sender, receiver = sim.host("other").socket(socket.AF_INET, DGRAM), bound(sim, 9)
    with sender, receiver:
        assert sender.sendto(b"abc", (sim.addresses[0], 9)) == 3
        assert said(receiver.recv, 9) == "EAGAIN"
        sim.advance(1)
        assert receiver.recvfrom(9) == (b"abc", ("10.0.0.2", sender.getsockname()[1]))
        assert sender.getsockname()[0] == "0.0.0.0"


def test_a_refusal_comes_with_a_later_call(sim: Simulation) -> None:
    """Nobody there is told to who is connected, after the way there and back; not to who has closed or turned elsewhere."""
    with sim.socket(socket.AF_INET, DGRAM) as sock:
        sock.connect(("10.0.0.2", 9))
        sock.send(b"x")
        sim.advance(1.5)
        assert error(sock) == 0
        sim.advance(1)
        assert said(sock.send, b"x") == "ECONNREFUSED"
        sock.send(b"x")
        sock.connect(("10.0.0.2", 10))
        sim.advance(3)
        assert error(sock) == 0
        sock.send(b"x")
    sim.advance(3)


def test_datagrams_disappear(sim: Simulation) -> None:
    """In a partition, where nobody is, and at swallowed addresses, of IPv6 too and however written: without a word."""
    sim.swallow("FD00:0::2")
    with sim.socket(socket.AF_INET6, DGRAM) as sock, bound(sim.host("other"), 9) as receiver:
        assert sock.sendto(b"x", ("fd00::2", 9)) == 1
        assert sock.sendto(b"x", ("fd00::77", 9)) == 1
        sim.partition(sim, "other")
        assert sock.sendto(b"x", ("::ffff:10.0.0.2", 9)) == 1
        sim.advance(5)
        assert (said(receiver.recv, 1), error(sock)) == ("EAGAIN", 0)
        sim.heal()
        assert said(sock.sendto, b"x", ("2001:db8::1", 9)) == "ENETUNREACH"


def test_a_full_queue_drops_what_comes(sim: Simulation) -> None:
    """What a receiver has no room for is lost, and nobody is told."""
    with sim.host("other").socket(socket.AF_INET, DGRAM) as sock, bound(sim, 9) as receiver:
        for _ in range(10):
            sock.sendto(bytes(40_000), (sim.addresses[0], 9))
        sim.advance(5)
        got = 0
        while isinstance(said(receiver.recv, 9), bytes):
            got += 1
        assert 0 < got < 10


def test_limits_of_a_datagram(sim: Simulation) -> None:
    """Too long a one says EMSGSIZE, port 0 EINVAL, nobody to send to EDESTADDRREQ."""
    with bound(sim, 9) as sock:
        assert said(sock.sendto, bytes(65_508), ("10.0.0.2", 9)) == "EMSGSIZE"
        assert said(sock.sendto, b"x", ("10.0.0.2", 0)) == "EINVAL"
        assert said(sock.send, b"x") == "EDESTADDRREQ"
        assert said(sock.getpeername) == "ENOTCONN"
        with pytest.raises(TypeError):
            sock.sendto(b"x", "10.0.0.2")
        with pytest.raises(OverflowError):
            sock.sendto(b"x", ("10.0.0.2", 65_536))

"""TCP between hosts: handshakes that are cut off, given up and begun again, and ends that meet."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from reactor.testing import Faults, Host, Network, Simulation
from tests.facts import drain, error, reset, said

LATENCY = 1.0


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """The simulation's own host listens on port 7; the other one, "client", is a second away."""
    with Simulation(network=Network(latency=LATENCY)) as made:
        made.host("client")
        yield made


@pytest.fixture
def client(sim: Simulation) -> Host:
    """The other host."""
    return sim.host("client")


def listener(sim: Simulation, backlog: int = 2) -> socket.socket:
    """Return a non-blocking socket that listens on port 7."""
    made = sim.sockets.create_server(("", 7), backlog=backlog)
    made.setblocking(False)
    return made


def dial(sim: Simulation, host: Host) -> socket.socket:
    """Return a socket of *host* that has begun to connect."""
    made = host.socket(socket.AF_INET)
    assert said(made.connect_ex, (sim.addresses[0], 7)) == "EINPROGRESS"
    return made


def pair(sim: Simulation, client: Host) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection, non-blocking."""
    with listener(sim) as server:
        here = dial(sim, client)
        sim.advance(4)
        there, _ = server.accept()
        there.setblocking(False)
        return here, there


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5, 3.5])
@pytest.mark.parametrize("heals", [True, False])
def test_a_partition_in_a_handshake(sim: Simulation, client: Host, seconds: float, heals: bool) -> None:
    """Wherever it is cut, a handshake ends after a partition or is given up, and the backlog has room again."""
    server = listener(sim, backlog=0)
    sock = dial(sim, client)
    sim.advance(seconds)
    sim.partition(sim, client)
    sim.advance(30 if heals else 2000)
    sim.heal()
    sim.advance(200)
    if said(sock.getpeername) == "ENOTCONN":
        assert not heals
        assert error(sock) == "ETIMEDOUT"
    else:
        child, _ = server.accept()
        child.close()
    sock.close()
    assert said(server.accept) == "EAGAIN"
    again = client.sockets.create_connection((sim.addresses[0], 7), timeout=5)
    again.close()
    server.close()
    sim.advance(100)
    assert not sim.kernel.ports
    assert not client.kernel.ports


@pytest.mark.parametrize("ending", [lambda sock: sock.close(), reset], ids=["close", "reset"])
def test_a_handshake_is_given_up_on_this_side(
    sim: Simulation, client: Host, ending: Callable[[socket.socket], None]
) -> None:
    """A connect that is closed while the last packet cannot get through leaves no place taken at the listener."""
    server = listener(sim, backlog=0)
    sock = dial(sim, client)
    sim.advance(1.9)
    sim.partition(sim, client)
    sim.advance(0.2)
    assert said(sock.getpeername) == (sim.addresses[0], 7)
    ending(sock)
    sim.advance(2000)
    sim.heal()
    again = client.sockets.create_connection((sim.addresses[0], 7), timeout=5)
    again.close()
    server.close()


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_a_connect_that_was_shut_down_may_begin_again(sim: Simulation, client: Host, seconds: float) -> None:
    """What the first attempt has set going, answer, refusal, silence, does not touch the second one."""
    server = listener(sim, backlog=0)
    sock = dial(sim, client)
    sim.advance(seconds)
    assert said(sock.shutdown, socket.SHUT_RDWR) is None
    assert error(sock) == "ECONNRESET"
    assert said(sock.connect_ex, (sim.addresses[0], 7)) == "EINPROGRESS"
    sim.advance(20)
    assert said(sock.getpeername) == (sim.addresses[0], 7)
    sim.advance(200)
    child, _ = server.accept()
    assert said(server.accept) == "EAGAIN"
    for each in (sock, child, server):
        each.close()


def test_a_connect_that_failed_and_was_shut_down_is_the_last(sim: Simulation, client: Host) -> None:
    """A shutdown before the failure was told leaves a socket that connects no more: EINVAL."""
    with dial(sim, client) as sock:
        sim.advance(3)
        assert said(sock.shutdown, socket.SHUT_WR) == "ENOTCONN"
        assert said(sock.connect_ex, (sim.addresses[0], 7)) == "EINVAL"


def test_a_late_one_finds_the_listener_gone() -> None:
    """A connection that was reset while a fault held it up is not reset a second time."""
    with Simulation(network=Network(latency=LATENCY), faults=Faults(slow_accept=1.0, stall_seconds_max=50)) as sim:
        server = listener(sim, backlog=9)
        for _ in range(9):
            sock = dial(sim, sim.host("client"))
            sim.advance(2.5)
            reset(sock)
        server.close()
        sim.run()
        assert (sim.kernel.taken, sim.kernel.ports) == ({}, {})


def test_an_old_refusal_is_not_the_new_connects(sim: Simulation, client: Host) -> None:
    """Nobody's answer to the first connect, or the lack of one, ends the second."""
    server = listener(sim)
    sim.swallow("198.51.100.1")
    for target in (("10.0.0.1", 8), ("10.0.0.77", 7), ("198.51.100.1", 7)):
        sock = client.socket(socket.AF_INET)
        sock.connect_ex(target)
        sim.advance(0.5)
        sock.shutdown(socket.SHUT_RDWR)
        error(sock)
        sock.connect_ex((sim.addresses[0], 7))
        sim.advance(150)
        assert error(sock) == 0
        server.accept()[0].close()
        sock.close()
    server.close()


def test_a_full_backlog_drops_the_syn(sim: Simulation, client: Host) -> None:
    """Who comes to a full queue is let in when there is room, with the next SYN."""
    server = listener(sim, backlog=0)
    first, second = dial(sim, client), dial(sim, client)
    sim.advance(5)
    assert (said(first.getpeername), said(second.getpeername)) == ((sim.addresses[0], 7), "ENOTCONN")
    server.accept()[0].close()
    sim.advance(10)
    server.accept()[0].close()
    for each in (first, second, server):
        each.close()


@pytest.mark.parametrize("slow", [0.0, 1.0])
def test_a_listener_that_closes_resets_those_that_come(slow: float) -> None:
    """Connections on their way to a listener that is closed are reset, also if a fault has held them up."""
    with Simulation(network=Network(latency=LATENCY), faults=Faults(slow_accept=slow, stall_seconds_max=50)) as sim:
        client = sim.host("client")
        server = listener(sim)
        socks = [dial(sim, client) for _ in range(2)]
        sim.advance(2.5 if not slow else 3.1)
        server.close()
        socks[0].close()
        sim.advance(100)
        assert error(socks[1]) == "ECONNRESET"
        socks[1].close()
        assert not sim.kernel.taken


def test_a_connection_that_is_reset_before_it_is_accepted(sim: Simulation, client: Host) -> None:
    """A listener hands out a connection that was reset meanwhile, and closing the listener leaves such a one alone."""
    with listener(sim) as server:
        socks = [dial(sim, client) for _ in range(2)]
        sim.advance(4)
        for sock in socks:
            reset(sock)
        sim.advance(4)
        child, _ = server.accept()
        assert said(child.recv, 1) == "ECONNRESET"
        child.close()


def test_both_ends_close_at_once(sim: Simulation, client: Host) -> None:
    """FINs that cross end the connection on both sides, and nothing stays taken but the names, for a minute."""
    here, there = pair(sim, client)
    here.shutdown(socket.SHUT_WR)
    there.shutdown(socket.SHUT_WR)
    sim.advance(4)
    assert (said(here.recv, 1), said(there.recv, 1)) == (b"", b"")
    assert (said(here.shutdown, socket.SHUT_WR), said(here.getpeername)) == ("ENOTCONN", "ENOTCONN")
    here.close()
    there.close()
    assert not client.kernel.ports


def test_bytes_for_one_who_has_closed_are_answered_by_a_reset(sim: Simulation, client: Host) -> None:
    """The first write after the peer has closed goes out, the next one fails."""
    here, there = pair(sim, client)
    there.close()
    sim.advance(2)
    assert said(here.send, b"x") == 1
    sim.advance(4)
    assert said(here.send, b"x") == "EPIPE"
    here.close()


def test_a_slow_reader_opens_the_window_again(sim: Simulation, client: Host) -> None:
    """All that was sent arrives, in order, although the reader's buffer was full for a while; peeking makes no room."""
    here, there = pair(sim, client)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    data = bytes(range(256)) * 200
    sent, got = 0, bytearray()
    while len(got) < len(data):
        if isinstance(taken := said(here.send, data[sent:]), int):
            sent += taken
        sim.advance(3)
        said(there.recv, 100, socket.MSG_PEEK)
        while isinstance(chunk := said(there.recv, 1000), bytes):
            got += chunk
    assert got == data
    here.close()
    there.close()


def test_a_reset_is_lost_on_one_who_is_gone(sim: Simulation, client: Host) -> None:
    """Resets that cross, and a FIN for one who was reset, find nobody and do no harm."""
    here, there = pair(sim, client)
    here.send(b"x")
    sim.advance(2)
    there.shutdown(socket.SHUT_WR)
    reset(here)
    reset(there)
    sim.advance(10)
    assert not client.kernel.taken
    here, there = pair(sim, client)
    assert drain(here) == 0
    here.close()
    there.close()


def test_what_is_sent_in_a_partition_is_given_up_after_the_time_of_tcp_7(sim: Simulation, client: Host) -> None:
    """After 924.6 seconds of silence a connection ends with ETIMEDOUT."""
    here, there = pair(sim, client)
    sim.partition(sim, client)
    here.send(b"x")
    sim.advance(924)
    assert error(here) == 0
    sim.advance(1)
    assert error(here) == "ETIMEDOUT"
    sim.heal()
    here.close()
    there.close()


def test_a_name_pair_connects_once(sim: Simulation, client: Host) -> None:
    """A second connection of the same two names is refused: EADDRNOTAVAIL."""
    server = listener(sim)
    socks = [client.socket(socket.AF_INET) for _ in range(2)]
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((client.addresses[0], 5000))
    assert [said(sock.connect_ex, (sim.addresses[0], 7)) for sock in socks] == ["EINPROGRESS", "EADDRNOTAVAIL"]
    for each in (*socks, server):
        each.close()
    sim.run()

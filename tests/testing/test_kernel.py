"""Kernels of simulated hosts: descriptors, names of ports, and how long they stay taken."""

from __future__ import annotations

import socket

import pytest

from reactor.testing import Network, Simulation
from tests.facts import said


def test_the_lowest_free_number_is_given() -> None:
    """Numbers are used again at once, the lowest first."""
    with Simulation() as sim:
        socks = [sim.sockets.socket() for _ in range(4)]
        assert [sock.fileno() for sock in socks] == [3, 4, 5, 6]
        socks[2].close()
        socks[0].close()
        again = [sim.sockets.socket() for _ in range(3)]
        assert [sock.fileno() for sock in again] == [3, 5, 7]
        for sock in (*socks, *again):
            sock.close()


def test_descriptors_run_out() -> None:
    """EMFILE on `socket`, `socketpair` and `accept`; what fails takes no number, and the connection waits."""
    with Simulation(network=Network(descriptors_max=4)) as sim:
        listener = sim.sockets.create_server(("127.0.0.1", 7))
        client = sim.sockets.create_connection(("127.0.0.1", 7))
        third = sim.socket(socket.AF_INET)
        assert said(sim.socketpair) == "EMFILE"
        fourth = sim.socket(socket.AF_INET)
        assert said(sim.socket, socket.AF_INET) == "EMFILE"
        assert said(listener.accept) == "EMFILE"
        fourth.close()
        child, _ = listener.accept()
        assert child.fileno() == 6
        for sock in (listener, client, third, child):
            sock.close()


def test_ports_run_out() -> None:
    """EADDRINUSE when every port that the kernel may choose is taken."""
    with Simulation(network=Network(ephemeral_ports=(50000, 50001))) as sim:
        socks = [sim.sockets.socket() for _ in range(3)]
        assert [said(sock.bind, ("127.0.0.1", 0)) for sock in socks] == [None, None, "EADDRINUSE"]
        assert {sock.getsockname()[1] for sock in socks[:2]} == {50000, 50001}
        for sock in socks:
            sock.close()


def test_who_ends_first_keeps_the_name_for_a_minute() -> None:
    """TIME_WAIT: without SO_REUSEADDR the port of a connection that was ended here is taken for 60 seconds."""
    with Simulation() as sim:
        listener = sim.sockets.socket()
        listener.bind(("127.0.0.1", 7))
        listener.listen()
        client = sim.sockets.create_connection(("127.0.0.1", 7))
        child, _ = listener.accept()
        child.close()
        client.close()
        listener.close()
        again = sim.sockets.socket()
        assert said(again.bind, ("127.0.0.1", 7)) == "EADDRINUSE"
        sim.advance(60)
        assert said(again.bind, ("127.0.0.1", 7)) is None
        again.close()


def test_a_long_simulation_forgets_its_connections() -> None:
    """After TIME_WAIT nothing is left of a connection in either kernel."""
    with Simulation() as sim:
        host = sim.host("a")
        listener = sim.sockets.create_server(("", 7))
        for _ in range(50):
            client = host.sockets.create_connection((sim.addresses[0], 7))
            child, _ = listener.accept()
            child.close()
            client.close()
            sim.advance(61)
        assert len(sim.kernel.taken.get((socket.SOCK_STREAM, 7), ())) <= 1
        assert not host.kernel.taken
        assert not host.kernel.ports
        listener.close()


def test_names_mean_addresses_of_one_family() -> None:
    """A socket takes a host's name for the address of its own family; a number of the other family is none."""
    with Simulation() as sim:
        sim.host("other")
        sim.add_name("six", "2001:db8::1")
        assert sim.kernel.lookup("other", socket.AF_INET) == "10.0.0.2"
        assert sim.kernel.lookup("other", socket.AF_INET6) == "fd00::2"
        assert sim.kernel.lookup("", socket.AF_INET6) == "::"
        for name, family in (("six", socket.AF_INET), ("nobody", socket.AF_INET6), ("::1", socket.AF_INET)):
            with pytest.raises(socket.gaierror):
                sim.kernel.lookup(name, family)


def test_what_a_kind_of_socket_cannot_do_is_refused() -> None:
    """Datagram sockets neither listen nor accept."""
    with Simulation() as sim, sim.sockets.socket(type=socket.SOCK_DGRAM) as sock:
        assert (said(sock.listen), said(sock.accept)) == ("EOPNOTSUPP", "EOPNOTSUPP")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0


def test_options_that_were_never_set_are_zero() -> None:
    """An option is 0 until it is set, and what was set as bytes is read back, also as a number."""
    with Simulation() as sim, sim.sockets.socket() as sock:
        linger = (socket.SOL_SOCKET, socket.SO_LINGER)
        assert sock.getsockopt(*linger) == 0
        sock.setsockopt(*linger, b"\1\0\0\0\5\0\0\0")
        assert (sock.getsockopt(*linger), sock.getsockopt(*linger, 8)) == (1, b"\1\0\0\0\5\0\0\0")
        assert not sock.end.lingers_zero
        assert said(sock.getsockopt, socket.SOL_SOCKET, 0x10000) == "ENOPROTOOPT"

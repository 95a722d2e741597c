"""The stand-in for the module `socket`."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from reactor.testing import Host, Simulation
from tests.facts import said


@pytest.fixture
def host() -> Iterator[Host]:
    """A host beside the simulation's own."""
    with Simulation() as sim:
        yield sim.host("a")


def test_what_asks_nobody_is_the_real_modules(host: Host) -> None:
    """Constants, exceptions and pure functions are those of `socket`; a name that is not there is none here either."""
    assert host.sockets.SOL_SOCKET == socket.SOL_SOCKET
    assert host.sockets.gaierror is socket.gaierror
    assert host.sockets.inet_pton(socket.AF_INET, "1.2.3.4") == b"\1\2\3\4"
    with pytest.raises(AttributeError):
        host.sockets.no_such_name  # noqa: B018  # asked for what it raises


def test_a_server_and_a_connection(host: Host) -> None:
    """`create_server` listens, `create_connection` tries each address, from the source that is asked for."""
    with host.sockets.create_server(("", 7), backlog=5) as server:
        sock = host.sockets.create_connection(("a", 7), timeout=3, source_address=("10.0.0.2", 4000))
        child, peer = server.accept()
        assert (sock.getpeername(), peer, sock.gettimeout()) == (("10.0.0.2", 7), ("10.0.0.2", 4000), 3)
        child.close()
        sock.close()


def test_a_server_or_a_connection_that_fails_leaves_nothing(host: Host) -> None:
    """What is raised is the last address's errno, and no descriptor stays open."""
    with pytest.raises(ConnectionRefusedError):
        host.sockets.create_connection(("a", 7))
    with host.sockets.create_server(("", 7)):
        assert said(host.sockets.create_server, ("", 7)) == "EADDRINUSE"
    with host.sockets.create_server(("", 7), family=socket.AF_INET6, reuse_port=True) as server:
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
        host.sockets.create_server(("", 7), family=socket.AF_INET6, reuse_port=True).close()
    assert not host.kernel.files


def test_a_server_of_two_families(host: Host) -> None:
    """An IPv6 server takes IPv4 too if it is asked to, and only then."""
    for dualstack, expected in ((True, None), (False, "ECONNREFUSED")):
        with host.sockets.create_server(("", 7), family=socket.AF_INET6, dualstack_ipv6=dualstack):
            sock = host.sockets.socket()
            assert said(sock.connect, ("10.0.0.2", 7)) == expected
            sock.close()
    with pytest.raises(ValueError, match="requires AF_INET6"):
        host.sockets.create_server(("", 7), dualstack_ipv6=True)


def test_pairs_are_unix_sockets(host: Host) -> None:
    """`socketpair` makes streams and datagrams, and no other family or kind."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        here, there = host.sockets.socketpair(type=kind)
        assert here.type == kind
        here.close()
        there.close()
    assert said(host.sockets.socketpair, socket.AF_INET) == "EOPNOTSUPP"
    assert said(host.sockets.socketpair, socket.AF_UNIX, socket.SOCK_SEQPACKET) == "EOPNOTSUPP"


def test_names_and_interfaces(host: Host) -> None:
    """`getaddrinfo` has the stdlib's form; every host has a loopback and one interface."""
    assert host.sockets.getaddrinfo("10.0.0.9", 80) == [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.9", 80))]
    assert host.sockets.if_nametoindex("lo") == 1
    assert said(host.sockets.if_nametoindex, "wlan7") == "ENODEV"


def test_a_number_of_nothing_is_no_socket(host: Host) -> None:
    """A socket cannot be made of a number that names no socket."""
    selector = host.selector("epoll")
    taken = selector.fileno()  # type: ignore[attr-defined]  # an epoll selector has a number
    for number, answer in ((99, "EBADF"), (taken, "ENOTSOCK")):
        assert said(host.sockets.socket, socket.AF_INET, socket.SOCK_STREAM, 0, number) == answer
    selector.close()

"""Unix sockets of a simulated host."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from reactor.testing import Simulation
from tests.facts import DGRAM, READ, STREAM, UNIX, error, reset, said


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """A simulation with nothing in it."""
    with Simulation() as made:
        yield made


def bound(sim: Simulation, path: str | bytes, kind: int = DGRAM) -> socket.socket:
    """Return a non-blocking socket that is bound to *path*."""
    made = sim.socket(UNIX, kind)
    made.bind(path)
    return made


def test_nothing_is_made_in_the_real_file_system(sim: Simulation) -> None:
    """A socket file exists in the simulation alone; it stays until it is removed, and its name is as it was given."""
    with bound(sim, "here.sock", STREAM) as sock:
        assert sock.getsockname() == "here.sock"
        assert not os.path.exists("here.sock")
        assert sim.socket_file(os.path.abspath("here.sock")) == (1, 2)
    with sim.socket(UNIX) as other:
        assert said(other.bind, "here.sock") == "EADDRINUSE"
        assert said(other.connect_ex, "here.sock") == "ECONNREFUSED"
        sim.unlink("here.sock")
        assert said(other.connect_ex, "here.sock") == "ENOENT"


def test_hosts_have_files_of_their_own(sim: Simulation) -> None:
    """A path on one host names nothing on another one."""
    with bound(sim, "/run/x", STREAM), sim.host("other").socket(UNIX) as sock:
        assert said(sock.connect_ex, "/run/x") == "ENOENT"


def test_abstract_names_go_with_their_socket(sim: Simulation) -> None:
    """An abstract name is free again when its socket is closed; the empty path asks for any; bytes may name a file."""
    for _ in range(2):
        with bound(sim, b"\0name") as sock:
            assert sock.getsockname() == b"\0name"
            assert said(bound, sim, b"\0name") == "EADDRINUSE"
            assert said(sock.bind, "/other") == "EINVAL"
            sim.kernel.close(max(sim.kernel.files))  # of the one that was refused
    with bound(sim, "") as sock:
        assert sock.getsockname()[:1] == b"\0"
    with bound(sim, b"/run/bytes") as sock:
        assert sock.getsockname() == "/run/bytes"


def test_a_stream_refuses(sim: Simulation) -> None:
    """Each state of a Unix stream socket has its errno, for connect, listen, accept, send and receive."""
    with bound(sim, "/run/x", STREAM) as server, sim.socket(UNIX) as sock, bound(sim, "/run/y") as datagrams:
        assert (said(sock.listen), said(server.accept)) == ("EINVAL", "EINVAL")
        assert (said(sock.recv, 1), said(sock.send, b"x")) == ("EINVAL", "ENOTCONN")
        assert said(sock.connect_ex, "/run/x") == "ECONNREFUSED"
        assert said(sock.connect_ex, "/run/y") == "EPROTOTYPE"
        assert said(datagrams.connect_ex, "/run/x") == "EPROTOTYPE"
        server.listen(0)
        assert said(server.connect_ex, "/run/x") == "EINVAL"
        assert said(sock.connect_ex, "/run/x") == 0
        assert said(sock.connect_ex, "/run/x") == "EAGAIN"
        child, _ = server.accept()
        assert said(sock.connect_ex, "/run/x") == "EISCONN"
        assert said(sock.sendto, b"x", "/run/x") == "EISCONN"
        assert (sock.getpeername(), child.getsockname(), child.getpeername()) == ("/run/x", "/run/x", "")
        child.close()
        assert (said(sock.send, b"x"), said(sock.getpeername)) == ("EPIPE", "/run/x")


def test_unread_bytes_reset_the_peer(sim: Simulation) -> None:
    """Closing with unread bytes is told to the peer as ECONNRESET, once; closing without as the end."""
    here, there = sim.socketpair()
    here.send(b"x")
    there.close()
    assert (said(here.recv, 1), said(here.recv, 1)) == ("ECONNRESET", b"")
    here.close()
    here, there = sim.socketpair()
    reset(there)
    assert said(here.recv, 1) == b""
    here.close()


def test_a_full_buffer_is_the_readers_to_empty(sim: Simulation) -> None:
    """A writer who has filled the peer's side hears EAGAIN until it is read, and is not writable meanwhile."""
    here, there = sim.socketpair()
    with here, there:
        taken = here.send(bytes(1_000_000))
        assert 0 < taken < 1_000_000
        assert said(here.send, b"x") == "EAGAIN"
        assert said(here.send, b"") == 0
        there.recv(taken)
        assert said(here.send, b"x") == 1


def test_a_datagram_socket_hears_its_peer_alone(sim: Simulation) -> None:
    """Who is connected takes datagrams from his peer only: EPERM for others, who cannot connect to him either."""
    with bound(sim, "/run/a") as one, bound(sim, "/run/b") as other, sim.socket(UNIX, DGRAM) as third:
        one.connect("/run/b")
        other.connect("/run/a")
        assert (said(third.sendto, b"x", "/run/a"), said(third.connect_ex, "/run/a")) == ("EPERM", "EPERM")
        assert (said(one.send, b"x"), other.recvfrom(9)) == (1, (b"x", "/run/a"))
        assert (one.getpeername(), said(third.getpeername)) == ("/run/b", "ENOTCONN")
        assert said(third.send, b"x") == "ENOTCONN"


def test_a_datagram_socket_that_turns_elsewhere_tells_its_peer(sim: Simulation) -> None:
    """Connecting to somebody else loses what had come, and is ECONNRESET for the peer that was connected back."""
    with bound(sim, "/run/a") as one, bound(sim, "/run/b") as other, bound(sim, "/run/c"):
        one.connect("/run/b")
        other.connect("/run/a")
        one.connect("/run/b")
        other.send(b"lost")
        one.connect("/run/c")
        assert said(one.recv, 9) == "EAGAIN"
        assert (said(other.recv, 9), said(other.recv, 9)) == ("ECONNRESET", "EAGAIN")
        assert error(other) == 0


def test_a_datagram_for_nobody(sim: Simulation) -> None:
    """A closed peer is ECONNREFUSED once and then forgotten; one that is shut for reading EPIPE; an error comes first."""
    with bound(sim, "/run/a") as one, bound(sim, "/run/b") as other:
        one.connect("/run/b")
        other.connect("/run/a")
        other.shutdown(socket.SHUT_RD)
        with sim.selector("poll") as selector:
            selector.register(other, READ)
            assert len(selector.select(0)) == 1
        assert said(one.send, b"x") == "EPIPE"
        other.close()
        assert (said(one.send, b"x"), said(one.send, b"x")) == ("ECONNREFUSED", "ENOTCONN")
        assert said(one.sendto, b"x", "/run/b") == "ECONNREFUSED"
        one.shutdown(socket.SHUT_WR)
        assert said(one.send, b"x") == "EPIPE"
    one, other = sim.sockets.socketpair(UNIX, DGRAM)
    with one, other, bound(sim, "/run/d"):
        one.connect("/run/d")
        assert said(other.send, b"x") == "ECONNRESET"
        assert said(other.send, b"x") == "EPERM"


def test_a_closed_datagram_socket_has_no_peer(sim: Simulation) -> None:
    """Who sends to one who was connected to somebody else and has closed hears ECONNREFUSED, not EPERM."""
    with bound(sim, "/run/a") as one, bound(sim, "/run/b") as other:
        one.connect("/run/b")
        other.connect("/run/b")
        other.close()
        assert said(one.send, b"x") == "ECONNREFUSED"


def test_datagrams_queue_until_there_is_no_room(sim: Simulation) -> None:
    """EAGAIN when the receiver's queue is full, until it is read."""
    one, other = sim.sockets.socketpair(UNIX, DGRAM)
    with one, other:
        one.setblocking(False)
        sent = 0
        while said(one.send, bytes(10_000)) == 10_000:
            sent += 1
        assert sent > 1
        other.recv(1)
        assert said(one.send, bytes(10_000)) == 10_000

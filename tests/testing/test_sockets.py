"""Simulated sockets: every method of a socket is there, blocks as it should, and reaches no real descriptor."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from reactor import Unsupported
from reactor.testing import Faults, Hang, Simulation
from reactor.testing.sockets import SimulatedSocket
from tests.facts import said

#: What is the base's: it works through the methods that are ours, or is Windows's own.
INHERITED = {"ioctl", "share"}


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """A simulation with nothing in it."""
    with Simulation() as made:
        yield made


def test_every_method_is_ours() -> None:
    """No public method or property of `socket.socket` is left to the base, which would ask for a real descriptor."""
    public = {name for name in dir(socket.socket) if not name.startswith("_")}
    assert public - set(vars(SimulatedSocket)) <= INHERITED


def test_it_says_what_it_is(sim: Simulation) -> None:
    """Family, type, protocol and time-out are those of the socket, in the types that the stdlib has."""
    with sim.sockets.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET6, socket.SOCK_DGRAM, 0)
        assert isinstance(sock, socket.socket)
        assert (sock.timeout, sock.gettimeout(), sock.getblocking()) == (None, None, True)
        sock.settimeout(2.5)
        assert (sock.timeout, sock.getblocking()) == (2.5, True)
        sock.setblocking(False)
        assert (sock.timeout, sock.getblocking()) == (0.0, False)
        with pytest.raises(ValueError, match="out of range"):
            sock.settimeout(-1)
        assert repr(sock) == "<SimulatedSocket sim fd=3 Udp>"
    assert said(sock.setblocking, True) == "EBADF"


@pytest.mark.parametrize(
    ("family", "kind", "number"),
    [
        (socket.AF_UNIX, socket.SOCK_SEQPACKET, "EAFNOSUPPORT"),
        (4711, socket.SOCK_STREAM, "EAFNOSUPPORT"),
        (socket.AF_INET, socket.SOCK_RAW, "EPROTONOSUPPORT"),
    ],
)
def test_other_kinds_are_refused(sim: Simulation, family: int, kind: int, number: str) -> None:
    """Streams and datagrams of IPv4, IPv6 and Unix are there, and nothing else."""
    assert said(sim.sockets.socket, family, kind) == number


def test_bytes_go_every_way(sim: Simulation) -> None:
    """Each method that sends is understood by each that receives."""
    here, there = sim.sockets.socketpair()
    with here, there:
        assert here.send(bytearray(b"ab")) == 2
        assert there.recv(10) == b"ab"
        here.sendall(memoryview(b"cd"))
        buffer = bytearray(4)
        assert there.recv_into(buffer) == 2
        assert buffer == b"cd\0\0"
        assert here.sendmsg([b"ef", bytearray(b"gh")]) == 4
        assert there.recv_into(buffer, 1) == 1
        assert there.recvmsg(2) == (b"fg", [], 0, None)
        assert there.recvfrom(9) == (b"h", None)
        assert here.sendfile(io.BytesIO(b"ijklm"), 1) == 4
        first, second = bytearray(3), bytearray(3)
        assert there.recvmsg_into([first, second]) == (4, [], 0, None)
        assert bytes(first + second) == b"jklm\0\0"
        assert there.recv(0) == b""


def test_datagrams_go_every_way(sim: Simulation) -> None:
    """`sendto` takes flags or not; the sender's address comes with the bytes."""
    here, there = (sim.sockets.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    with here, there:
        there.bind(("127.0.0.1", 9))
        assert here.sendto(b"one", ("127.0.0.1", 9)) == 3
        assert here.sendto(b"two", 0, ("127.0.0.1", 9)) == 3
        assert here.sendmsg([b"three"], (), 0, ("127.0.0.1", 9)) == 5
        source = ("127.0.0.1", here.getsockname()[1])
        assert there.recvfrom(10) == (b"one", source)
        buffer = bytearray(10)
        assert there.recvfrom_into(buffer) == (3, source)
        assert there.recvmsg(10) == (b"three", [], 0, source)


def test_flags_are_known_or_refused(sim: Simulation) -> None:
    """MSG_PEEK and MSG_DONTWAIT do what they say; a flag that is not simulated is refused, not ignored."""
    here, there = sim.sockets.socketpair()
    with here, there:
        assert said(there.recv, 1, socket.MSG_DONTWAIT) == "EAGAIN"
        here.send(b"ab", socket.MSG_DONTWAIT)
        assert (there.recv(1, socket.MSG_PEEK), there.recv(9)) == (b"a", b"ab")
        for call in (lambda: here.send(b"x", socket.MSG_OOB), lambda: there.recv(1, socket.MSG_OOB)):
            with pytest.raises(Unsupported, match=r"knows no flags 0x1"):
                call()
        with pytest.raises(ValueError, match="negative buffersize"):
            there.recv(-1)


def test_what_cannot_be_simulated_is_refused(sim: Simulation) -> None:
    """Nothing silently asks the kernel below about a number that is simulated."""
    with sim.sockets.socket() as sock:
        calls: list[Any] = [
            sock.dup,
            sock.makefile,
            sock.sendmsg_afalg,
            lambda: sock.set_inheritable(True),
            lambda: sock.sendmsg([b"x"], [(socket.SOL_SOCKET, 1, b"")]),
        ]
        for call in calls:
            with pytest.raises(Unsupported):
                call()
        sock.set_inheritable(False)
        assert sock.get_inheritable() is False
        assert said(sock.shutdown, 7) == "EINVAL"
    assert said(sock.shutdown, 7) == "EBADF"


def test_a_blocking_call_waits_for_other_hosts(sim: Simulation) -> None:
    """`recv`, `accept`, `connect` and `sendall` return when what they wait for has come."""
    client = sim.host("client")
    listener = sim.sockets.create_server(("", 7))
    sock = client.sockets.socket()
    sim.after(1, listener.setblocking, True)
    sock.connect((sim.addresses[0], 7))
    child, _ = listener.accept()
    sim.after(5, child.send, b"late")
    assert sock.recv(10) == b"late"
    assert sim.now >= 1005
    sim.after(1, lambda: child.recv(1 << 20, socket.MSG_DONTWAIT))
    sim.after(2, lambda: child.recv(1 << 20, socket.MSG_DONTWAIT))
    sock.sendall(bytes(300_000))
    assert sim.now >= 1006
    for each in (child, sock, listener):
        each.close()


def test_a_blocking_call_ends_with_its_time(sim: Simulation) -> None:
    """After `settimeout` seconds of virtual time it raises `TimeoutError`; `connect_ex` says EAGAIN."""
    sim.swallow("192.0.2.1")
    with sim.sockets.socket() as sock:
        sock.settimeout(2)
        with pytest.raises(TimeoutError):
            sock.connect(("192.0.2.1", 7))
        assert sim.now == 1002
    with sim.sockets.socket() as sock:
        sock.settimeout(2)
        assert said(sock.connect_ex, ("192.0.2.1", 7)) == "EAGAIN"
    here, there = sim.sockets.socketpair()
    with here, there:
        here.settimeout(3)
        with pytest.raises(TimeoutError):
            here.recv(1)
    assert sim.now == 1007


def test_a_blocking_connect_tells_how_it_ended(sim: Simulation) -> None:
    """With a time-out or without, a refusal is raised, and a name that nobody has."""
    sim.host("other")
    for timeout in (None, 5):
        with sim.sockets.socket() as sock:
            sock.settimeout(timeout)
            with pytest.raises(ConnectionRefusedError):
                sock.connect(("10.0.0.2", 7))
            with pytest.raises(socket.gaierror):
                sock.connect(("nobody", 7))
    with sim.sockets.socket(socket.AF_UNIX) as sock, pytest.raises(OSError, match="path too long"):
        sock.connect("x" * 200)


def test_a_call_that_can_never_return_is_told(sim: Simulation) -> None:
    """A blocking call for which nothing can come any more raises `Hang`, and names the host."""
    here, there = sim.sockets.socketpair()
    with (
        here,
        there,
        pytest.raises(Hang, match=r"a call on a blocking socket of sim, whose own reactors stand still, can never"),
    ):
        here.recv(1)


def test_a_blocked_sender_of_datagrams_waits_until_something_moves(sim: Simulation) -> None:
    """A full queue elsewhere leaves a Unix datagram socket writable; the blocked call waits for the reader all the same."""
    here, there = sim.sockets.socketpair(type=socket.SOCK_DGRAM)
    with here, there:
        here.setblocking(False)
        while said(here.send, bytes(30_000)) == 30_000:
            pass
        here.settimeout(None)
        sim.after(5, there.recv, 30_000)
        assert here.send(bytes(30_000)) == 30_000
        assert sim.now == 1005


def test_a_blocked_reader_of_a_datagram_socket_that_is_shut_reads_nothing(sim: Simulation) -> None:
    """After SHUT_RD a blocking `recv` returns at once, where a non-blocking one says EAGAIN."""
    here, there = sim.sockets.socketpair(type=socket.SOCK_DGRAM)
    with here, there:
        here.shutdown(socket.SHUT_RD)
        assert here.recv(1) == b""
        here.setblocking(False)
        assert said(here.recv, 1) == "EAGAIN"


def test_a_detached_number_is_another_sockets(sim: Simulation) -> None:
    """`detach` hands the number out; a socket made of it goes on."""
    here, there = sim.sockets.socketpair()
    number = here.detach()
    assert (here.fileno(), here.detach()) == (-1, -1)
    with sim.sockets.socket(fileno=number) as again, there:
        again.send(b"x")
        assert there.recv(1) == b"x"


def test_a_storm_of_eagain_passes() -> None:
    """By fault a call that could do something says EAGAIN, for some calls, and does it then."""
    with Simulation(faults=Faults(again=0.3, storm_calls_max=4)) as sim:
        here, there = sim.socketpair()
        answers = [said(here.send, b"x") for _ in range(40)]
        assert set(answers) == {1, "EAGAIN"}
        assert "send 3 EAGAIN!" in str(sim.journal)
        here.close()
        there.close()

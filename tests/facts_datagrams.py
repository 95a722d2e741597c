"""Facts about datagrams: UDP over loopback, and Unix datagrams where they differ."""

from __future__ import annotations

import socket

from tests.facts import DGRAM, INET, INET6, READ, UNIX, Script, World, error, fact, said

UDP = (INET, INET6)


@fact(*UDP)
def udp_addresses(world: World, family: int) -> Script:
    """A datagram comes with its sender's name; a sender without one gets the wildcard and a port when it sends."""
    here, there = world.open(family, DGRAM), world.bound(family, DGRAM)
    yield said(here.sendto, b"hello", there.getsockname()), 5
    yield here.getsockname()[0], "0.0.0.0" if family == INET else "::"
    yield here.getsockname()[1] != 0, True
    world.wait(there, READ)
    data, peer = there.recvfrom(100)
    yield data, b"hello"
    yield peer[:2], (world.free(family)[0], here.getsockname()[1])
    yield said(there.sendto, b"back", peer), 4
    world.wait(here, READ)
    yield said(here.recvfrom, 100), (b"back", there.getsockname())


@fact(*UDP)
def udp_readiness(world: World, family: int) -> Script:
    """A UDP socket is writable, and readable while a datagram waits; without one recv says EAGAIN."""
    here, there = world.open(family, DGRAM), world.bound(family, DGRAM)
    yield world.ready(there), "w"
    yield said(there.recv, 10), "EAGAIN"
    yield said(there.recvfrom, 10), "EAGAIN"
    here.sendto(b"x", there.getsockname())
    world.wait(there, READ)
    yield world.ready(there), "rw"
    there.recv(10)
    yield world.ready(there), "w"


@fact(*UDP)
def udp_order(world: World, family: int) -> Script:
    """Over loopback datagrams come whole and in order, one for each call."""
    here, there = world.open(family, DGRAM), world.bound(family, DGRAM)
    for data in (b"one", b"", b"three", b"four"):
        here.sendto(data, there.getsockname())
    world.settle()
    yield [said(there.recv, 100) for _ in range(5)], [b"one", b"", b"three", b"four", "EAGAIN"]


@fact(*UDP)
def udp_empty_datagrams(world: World, family: int) -> Script:
    """An empty datagram makes its receiver readable and is received as one; it is not an end."""
    here, there = world.open(family, DGRAM), world.bound(family, DGRAM)
    yield said(here.sendto, b"", there.getsockname()), 0
    world.wait(there, READ)
    yield said(there.recvfrom, 10)[0], b""
    yield said(there.recv, 10), "EAGAIN"


@fact(*UDP)
def udp_truncation(world: World, family: int) -> Script:
    """What does not fit into the buffer is lost, with no sign of it but MSG_TRUNC."""
    here, there = world.open(family, DGRAM), world.bound(family, DGRAM)
    for _ in range(3):
        here.sendto(b"0123456789", there.getsockname())
    here.sendto(b"next", there.getsockname())
    world.settle()
    yield said(there.recv, 3), b"012"
    yield said(there.recv_into, bytearray(4)), 4
    yield said(there.recv, 0), b""  # Python does not ask
    yield said(there.recv, 100, socket.MSG_PEEK), b"0123456789"
    yield said(there.recv, 3, socket.MSG_PEEK), b"012"
    yield said(there.recv, 100), b"0123456789"
    yield said(there.recv, 100), b"next"


@fact(*UDP)
def udp_size(world: World, family: int) -> Script:
    """A datagram that is too large for UDP is refused, and nothing of it is sent."""
    here, there = world.open(family, DGRAM), world.bound(family, DGRAM)
    yield said(here.sendto, bytes(70_000), there.getsockname()), "EMSGSIZE"
    yield said(here.sendto, bytes(65_000), there.getsockname()), 65_000
    world.wait(there, READ)
    yield len(there.recv(100_000)), 65_000
    yield said(there.recv, 10), "EAGAIN"


@fact(*UDP)
def udp_overflow(world: World, family: int) -> Script:
    """What comes when the receiver's buffer is full is lost, and the sender does not hear of it; the first ones are kept."""
    here, there = world.open(family, DGRAM), world.bound(family, DGRAM)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    yield {said(here.sendto, b"%04d" % number, there.getsockname()) for number in range(1000)}, {4}
    yield world.ready(here), "w"
    world.settle()
    got = []
    while isinstance(data := said(there.recv, 100), bytes):
        got.append(data)
    yield 0 < len(got) < 1000, True
    yield got == [b"%04d" % number for number in range(len(got))], True


@fact(*UDP)
def udp_connected(world: World, family: int) -> Script:
    """Connecting a UDP socket sends nothing, names its peer, and shuts out everybody else."""
    here, there, other = world.bound(family, DGRAM), world.bound(family, DGRAM), world.bound(family, DGRAM)
    yield said(here.getpeername), "ENOTCONN"
    yield said(here.send, b"x"), "EDESTADDRREQ"
    yield said(here.connect_ex, there.getsockname()), 0
    yield said(here.getpeername), there.getsockname()
    yield world.ready(here), "w"
    yield said(here.send, b"by send"), 7
    yield said(here.sendto, b"by sendto", there.getsockname()), 9
    world.settle()
    yield said(there.recvfrom, 100), (b"by send", here.getsockname())
    yield said(there.recvfrom, 100), (b"by sendto", here.getsockname())
    other.sendto(b"not for you", here.getsockname())
    there.sendto(b"for you", here.getsockname())
    world.settle()
    yield said(here.recv, 100), b"for you"
    yield said(here.recv, 100), "EAGAIN"
    yield said(here.connect_ex, other.getsockname()), 0
    yield said(here.getpeername), other.getsockname()


@fact(*UDP)
def udp_refused(world: World, family: int) -> Script:
    """A connected UDP socket hears that nobody is there: it is reported ready, and the next call says so, once."""
    here, dead = world.open(family, DGRAM), world.bound(family, DGRAM)
    here.connect(dead.getsockname())
    dead.close()
    yield said(here.send, b"anybody?"), 8
    world.wait(here, READ)
    yield world.ready(here), "rw"
    yield said(here.recv, 10), "ECONNREFUSED"
    yield said(here.recv, 10), "EAGAIN"
    yield world.ready(here), "w"


@fact(*UDP)
def udp_refused_told_by_send(world: World, family: int) -> Script:
    """The refusal is told by send instead of sending; SO_ERROR takes it, too."""
    here, dead = world.open(family, DGRAM), world.bound(family, DGRAM)
    here.connect(dead.getsockname())
    dead.close()
    yield said(here.send, b"anybody?"), 8
    world.wait(here, READ)
    yield said(here.send, b"anybody?"), "ECONNREFUSED"
    yield said(here.send, b"anybody?"), 8
    world.wait(here, READ)
    yield error(here), "ECONNREFUSED"
    yield error(here), 0
    yield said(here.recv, 10), "EAGAIN"


@fact(*UDP)
def udp_unconnected_hears_no_refusal(world: World, family: int) -> Script:
    """A UDP socket that is not connected hears nothing of a port where nobody is: udp(7)."""
    here, dead = world.open(family, DGRAM), world.bound(family, DGRAM)
    name = dead.getsockname()
    dead.close()
    yield said(here.sendto, b"anybody?", name), 8
    world.settle()
    yield world.ready(here), "w"
    yield said(here.sendto, b"anybody?", name), 8
    yield said(here.recv, 10), "EAGAIN"
    yield error(here), 0


@fact(*UDP)
def udp_shutdown(world: World, family: int) -> Script:
    """A UDP socket that is shut for reading is readable, one for writing says EPIPE, though shutdown may say ENOTCONN."""
    here, there = world.bound(family, DGRAM), world.bound(family, DGRAM)
    yield said(here.shutdown, socket.SHUT_WR), "ENOTCONN"
    yield said(here.sendto, b"x", there.getsockname()), "EPIPE"
    yield world.ready(here), "w"
    yield said(here.shutdown, socket.SHUT_RD), "ENOTCONN"
    yield world.ready(here), "rw"
    there.connect(here.getsockname())
    yield said(there.shutdown, socket.SHUT_RD), None
    yield world.ready(there), "rw"
    yield said(there.recv, 10), "EAGAIN"
    yield said(there.send, b"x"), 1
    yield said(there.shutdown, socket.SHUT_WR), None
    yield said(there.send, b"x"), "EPIPE"


@fact(*UDP)
def udp_timeout(world: World, family: int) -> Script:
    """Receiving with a timeout raises TimeoutError when nothing comes."""
    there = world.bound(family, DGRAM)
    there.settimeout(0.01)
    yield said(there.recv, 10), "TimeoutError"
    yield said(there.recvfrom, 10), "TimeoutError"


@fact(*UDP)
def udp_peer_that_closes(world: World, family: int) -> Script:
    """There is no end of a UDP connection: a peer that closes is not noticed until something is sent to it."""
    here, there = world.bound(family, DGRAM), world.bound(family, DGRAM)
    here.connect(there.getsockname())
    there.sendto(b"bye", here.getsockname())
    there.close()
    world.settle()
    yield said(here.recv, 10), b"bye"
    yield world.ready(here), "w"
    yield said(here.recv, 10), "EAGAIN"


@fact()
def udp_to_a_wrong_place(world: World) -> Script:
    """Sending to no address at all, or to port 0, is refused."""
    here = world.open(INET, DGRAM)
    yield said(here.sendto, b"x", ("127.0.0.1", 0)), "EINVAL"
    yield said(here.send, b"x"), "EDESTADDRREQ"


@fact()
def unix_datagrams(world: World) -> Script:
    """Unix datagrams come whole and in order, with the sender's path, or with none if it has no name."""
    here, there, nameless = world.bound(UNIX, DGRAM), world.bound(UNIX, DGRAM), world.open(UNIX, DGRAM)
    yield said(here.sendto, b"one", there.getsockname()), 3
    yield said(nameless.sendto, b"", there.getsockname()), 0
    yield world.ready(there), "rw"
    yield said(there.recvfrom, 100), (b"one", here.getsockname())
    yield said(there.recvfrom, 100), (b"", None)
    yield said(there.recv, 100), "EAGAIN"
    name = there.getsockname()
    there.close()
    yield said(here.sendto, b"x", name), "ECONNREFUSED"
    yield said(here.sendto, b"x", world.free(UNIX)), "ENOENT"


@fact()
def datagram_pairs(world: World) -> Script:
    """A pair of Unix datagram sockets keeps messages apart; when one end is closed the other hears ECONNREFUSED."""
    here, there = world.socketpair(UNIX, DGRAM)
    for sock in (here, there):
        sock.setblocking(False)
    here.send(b"one")
    here.send(b"two")
    yield said(there.recv, 100), b"one"
    yield said(there.recv, 1), b"t"
    yield said(there.recv, 100), "EAGAIN"
    there.close()
    yield said(here.send, b"x"), "ECONNREFUSED"

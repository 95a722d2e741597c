"""Facts about bytes on their way: reading, writing, full buffers, timeouts, pairs."""

from __future__ import annotations

import socket

from tests.facts import INET, INET6, READ, UNIX, WRITE, Script, World, drain, error, fact, said

TCP = (INET, INET6)
ALL = (INET, INET6, UNIX)


@fact(*ALL)
def idle_connection(world: World, family: int) -> Script:
    """Both ends of an idle connection are writable and not readable; recv says EAGAIN."""
    here, there = world.pair(family)
    yield (world.ready(here), world.ready(there)), ("w", "w")
    yield (said(here.recv, 10), said(there.recv, 10)), ("EAGAIN", "EAGAIN")
    yield said(here.recv_into, bytearray(10)), "EAGAIN"
    yield (error(here), error(there)), (0, 0)


@fact(*ALL)
def bytes_arrive(world: World, family: int) -> Script:
    """What is sent at one end is read at the other; boundaries are not kept; then recv says EAGAIN again."""
    here, there = world.pair(family)
    yield said(here.send, b"one"), 3
    yield said(here.sendall, b"two"), None
    yield said(here.sendmsg, [b"th", b"", b"ree"]), 5
    world.settle()
    yield world.ready(there), "rw"
    yield said(there.recv, 100), b"onetwothree"
    yield world.ready(there), "w"
    yield said(there.recv, 100), "EAGAIN"


@fact(*ALL)
def bytes_are_read_in_parts(world: World, family: int) -> Script:
    """A recv that takes a part leaves the rest, and the socket readable."""
    here, there = world.pair(family)
    here.send(b"0123456789")
    world.wait(there, READ)
    yield said(there.recv, 3), b"012"
    yield world.ready(there), "rw"
    buffer = bytearray(4)
    yield said(there.recv_into, buffer), 4
    yield bytes(buffer), b"3456"
    yield said(there.recv_into, buffer, 2), 2
    yield bytes(buffer), b"7856"
    yield said(there.recvfrom, 100), (b"9", None)
    yield world.ready(there), "w"


@fact(*ALL)
def bytes_are_peeked_at(world: World, family: int) -> Script:
    """MSG_PEEK reads and leaves everything where it is."""
    here, there = world.pair(family)
    yield said(there.recv, 10, socket.MSG_PEEK), "EAGAIN"
    here.send(b"0123456789")
    world.wait(there, READ)
    yield said(there.recv, 3, socket.MSG_PEEK), b"012"
    yield said(there.recv, 100, socket.MSG_PEEK), b"0123456789"
    yield world.ready(there), "rw"
    yield said(there.recv, 100), b"0123456789"
    here.close()
    world.wait(there, READ)
    yield said(there.recv, 10, socket.MSG_PEEK), b""
    yield said(there.recv, 10), b""


@fact(*ALL)
def nothing_is_sent_or_asked_for(world: World, family: int) -> Script:
    """Sending nothing does nothing and is no end; asking for no bytes gives none, whatever is there."""
    here, there = world.pair(family)
    yield said(here.send, b""), 0
    yield said(here.sendall, b""), None
    yield said(here.sendmsg, []), 0
    world.settle()
    yield world.ready(there), "w"
    yield said(there.recv, 10), "EAGAIN"
    yield said(there.recv, 0), b""
    yield said(there.recv_into, bytearray()), 0
    here.send(b"x")
    world.wait(there, READ)
    yield said(there.recv, 0), b""
    yield said(there.recv, -1), "ValueError"
    yield said(there.recv, 10), b"x"


@fact(*ALL)
def anything_with_a_buffer_is_sent(world: World, family: int) -> Script:
    """Bytes, bytearrays and memoryviews are sent; text is not."""
    here, there = world.pair(family)
    yield said(here.send, bytearray(b"ab")), 2
    yield said(here.send, memoryview(b"abcd")[2:]), 2
    yield said(here.send, "text"), "TypeError"
    world.settle()
    yield said(there.recv, 10), b"abcd"


@fact(*ALL)
def buffers_fill(world: World, family: int) -> Script:
    """Who sends to a peer that does not read is told EAGAIN and is not writable until it has read; nothing is lost."""
    here, there = world.pair(family)
    taken = world.fill(here)
    yield taken > 10_000, True
    yield said(here.send, b"x"), "EAGAIN"
    yield said(here.sendmsg, [b"x"]), "EAGAIN"
    yield said(here.send, b""), 0
    yield world.ready(here), ""
    yield world.ready(there), "rw"
    given = drain(there)
    while given < taken:
        world.wait(there, READ)
        given += drain(there)
    yield given == taken, True
    world.wait(here, WRITE)
    yield world.ready(here), "w"
    yield said(here.send, b"x"), 1


@fact(*ALL)
def writes_are_short(world: World, family: int) -> Script:
    """A send of more than there is room for takes a part, and says how much; what it took arrives, in order."""
    here, there = world.pair(family)
    sent = bytes(range(256)) * 65536
    taken = said(here.send, sent)
    yield 0 < taken < len(sent), True
    got = bytearray()
    while len(got) < taken:
        world.wait(there, READ)
        got += there.recv(1 << 20)
    yield bytes(got) == sent[:taken], True
    yield said(there.recv, 10), "EAGAIN"


@fact(*ALL)
def both_ways_are_two(world: World, family: int) -> Script:
    """A way that is full does not stop the other one."""
    here, there = world.pair(family)
    world.fill(here)
    yield said(there.send, b"hello"), 5
    world.wait(here, READ)
    yield world.ready(here), "r"
    yield said(here.recv, 10), b"hello"


@fact(*ALL)
def small_buffers_hold_less(world: World, family: int) -> Script:
    """A small SO_SNDBUF and SO_RCVBUF, set before the connection, bound what is on its way."""
    listener = world.listener(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    here = world.open(family)
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    here.connect_ex(listener.getsockname())
    world.wait(here, WRITE)
    there, _ = world.accept(listener)
    taken = world.fill(here)
    yield 1000 < taken < 200_000, True
    yield world.ready(here), ""
    given = 0
    while given < taken:
        world.wait(there, READ)
        given += drain(there)
    yield given, taken


@fact(*ALL)
def blocking_reads_wait_no_longer_than_told(world: World, family: int) -> Script:
    """With a timeout recv and send raise TimeoutError, an OSError without a number; what is there is given at once."""
    here, there = world.pair(family)
    here.settimeout(0.01)
    yield said(here.recv, 10), "TimeoutError"
    yield said(here.recv_into, bytearray(10)), "TimeoutError"
    there.send(b"x")
    world.wait(here, READ)
    yield said(here.recv, 10), b"x"
    here.setblocking(False)
    world.fill(here)
    here.settimeout(0.01)
    yield said(here.send, b"x"), "TimeoutError"
    yield said(here.sendall, b"x"), "TimeoutError"
    here.setblocking(False)
    yield said(here.recv, 10), "EAGAIN"


@fact(*ALL)
def errors_are_exceptions_of_their_own(world: World, family: int) -> Script:
    """What is raised is a BlockingIOError, ConnectionResetError, BrokenPipeError or ConnectionRefusedError."""
    later = "ConnectionRefusedError" if family == UNIX else "BlockingIOError"
    here, there = world.pair(family)
    yield raised(here.recv, 1), "BlockingIOError"
    yield raised(world.listener(family).accept), "BlockingIOError"
    there.send(b"unread")
    world.wait(here, READ)
    here.close()
    world.settle()
    yield raised(there.recv, 1), "ConnectionResetError"
    yield raised(there.send, b"x"), "BrokenPipeError"
    yield raised(world.open(family).connect, world.bound(family).getsockname()), later


def raised(call: object, *args: object) -> str:
    """Make *call*; return the name of what it raised."""
    try:
        call(*args)  # type: ignore[operator]
    except OSError as exc:
        return type(exc).__name__
    return "nothing"


@fact(*ALL)
def sendall_without_waiting(world: World, family: int) -> Script:
    """A non-blocking sendall that does not get everything out says EAGAIN, and does not say how much it sent."""
    here, there = world.pair(family)
    yield said(here.sendall, bytes(50_000_000)), "EAGAIN"
    world.wait(there, READ)
    yield drain(there) > 10_000, True


@fact()
def pairs(world: World) -> Script:
    """The ends of a pair have no names, block, and are connected at once."""
    here, there = world.socketpair()
    yield (here.family, here.type, here.gettimeout()), (UNIX, socket.SOCK_STREAM, None)
    yield (here.getsockname(), here.getpeername(), there.getsockname(), there.getpeername()), ("", "", "", "")
    yield (world.ready(here), world.ready(there)), ("w", "w")
    yield said(here.send, b"hello"), 5
    yield world.ready(there), "rw"
    yield said(there.recv, 10), b"hello"
    yield said(here.connect_ex, world.listener(UNIX).getsockname()), "EISCONN"
    yield said(here.accept), "EINVAL"
    yield said(here.listen, 1), "EINVAL"


@fact()
def pairs_end(world: World) -> Script:
    """Where one end of a pair is closed, the other reads what there was, then b"", for ever, and cannot write."""
    here, there = world.socketpair()
    here.setblocking(False)
    there.send(b"last words")
    there.close()
    yield world.ready(here), "rw"
    yield said(here.recv, 100), b"last words"
    yield said(here.recv, 100), b""
    yield said(here.send, b"x"), "EPIPE"
    yield said(here.recv, 100), b""
    yield error(here), 0
    yield world.ready(here), "rw"


@fact(*ALL)
def one_call_does_not_wait(world: World, family: int) -> Script:
    """MSG_DONTWAIT makes one call on a blocking socket say EAGAIN."""
    here, _ = world.pair(family)
    here.setblocking(True)
    yield said(here.recv, 10, socket.MSG_DONTWAIT), "EAGAIN"


@fact(*TCP)
def sendto_on_a_stream(world: World, family: int) -> Script:
    """A connected TCP socket sends to its peer whatever address `sendto` is given; one that is not connected says EPIPE."""
    here, there = world.pair(family)
    yield said(here.sendto, b"x", world.bound(family).getsockname()), 1
    world.wait(there, READ)
    yield said(there.recv, 10), b"x"
    yield said(world.open(family).sendto, b"x", here.getsockname()), "EPIPE"


@fact()
def sendto_on_a_unix_stream(world: World) -> Script:
    """A Unix stream socket takes no address: EISCONN if it is connected, EOPNOTSUPP if not."""
    listener = world.listener(UNIX)
    yield said(world.dial(listener).sendto, b"x", listener.getsockname()), "EISCONN"
    yield said(world.open(UNIX).sendto, b"x", listener.getsockname()), "EOPNOTSUPP"


@fact()
def pairs_of_tcp_are_refused(world: World) -> Script:
    """The kernel makes pairs of Unix sockets alone."""
    yield said(world.socketpair, INET), "EOPNOTSUPP"

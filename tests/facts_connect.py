"""Facts about connecting: what is said at once, what later, and what selectors report in between."""

from __future__ import annotations

import errno
import socket

from tests.facts import INET, INET6, READ, STREAM, UNIX, WRITE, Script, World, error, fact, reset, said

TCP = (INET, INET6)


@fact(*TCP)
def connect_succeeds_later(world: World, family: int) -> Script:
    """A non-blocking connect is in progress; then the socket is writable, its error is 0 and it has a peer."""
    listener = world.listener(family)
    sock = world.open(family)
    yield said(sock.connect_ex, listener.getsockname()), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield world.ready(sock), "w"
    yield error(sock), 0
    yield said(sock.getpeername), listener.getsockname()
    yield said(sock.recv, 1), "EAGAIN"


@fact(*TCP)
def connect_raises_what_connect_ex_returns(world: World, family: int) -> Script:
    """`connect` raises BlockingIOError where `connect_ex` returns EINPROGRESS."""
    sock = world.open(family)
    try:
        sock.connect(world.listener(family).getsockname())
    except BlockingIOError as exc:
        yield errno.errorcode[exc.errno or 0], "EINPROGRESS"
    else:
        yield "connected", "BlockingIOError"


@fact()
def connect_of_unix_succeeds_at_once(world: World) -> Script:
    """A Unix socket is connected before it is accepted, within the call."""
    listener = world.listener(UNIX)
    sock = world.open(UNIX)
    yield said(sock.connect_ex, listener.getsockname()), 0
    yield world.ready(sock), "w"
    yield said(sock.getpeername), listener.getsockname()
    yield error(sock), 0


@fact(INET, INET6, UNIX)
def blocking_connect(world: World, family: int) -> Script:
    """A blocking connect returns when the connection is there, and does not wait for accept; so does one with a timeout."""
    listener = world.listener(family)
    sock, patient = world.socket(family), world.socket(family)
    patient.settimeout(5)
    yield said(sock.connect, listener.getsockname()), None
    yield said(sock.getpeername), listener.getsockname()
    yield said(patient.connect_ex, listener.getsockname()), 0
    yield said(patient.getpeername), listener.getsockname()


@fact(*TCP, differs="kqueue reports a refused connect for writing, with EV_EOF")
def refused_connect(world: World, family: int) -> Script:
    """A refused connect is reported to whoever asks for anything; the error is told once, then the socket is as new."""
    sock = world.open(family)
    yield said(sock.connect_ex, world.bound(family).getsockname()), "EINPROGRESS"
    world.wait(sock, READ)
    yield world.ready(sock), "rw"
    yield error(sock), "ECONNREFUSED"
    yield error(sock), 0
    yield world.ready(sock), "rw"
    yield said(sock.getpeername), "ENOTCONN"
    yield said(sock.send, b"x"), "EPIPE"


@fact(*TCP)
def refused_connect_wakes_a_writer(world: World, family: int) -> Script:
    """One who asked for writing alone is told of the refusal, too."""
    sock = world.open(family)
    yield said(sock.connect_ex, world.bound(family).getsockname()), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield error(sock), "ECONNREFUSED"


@fact(*TCP)
def refused_connect_told_by_recv(world: World, family: int) -> Script:
    """Where SO_ERROR was not asked, recv tells the refusal, once; then the socket is at its end."""
    sock = world.open(family)
    yield said(sock.connect_ex, world.bound(family).getsockname()), "EINPROGRESS"
    world.wait(sock, READ)
    yield said(sock.recv, 1), "ECONNREFUSED"
    yield said(sock.recv, 1), b""
    yield error(sock), 0


@fact(*TCP)
def refused_connect_told_by_send(world: World, family: int) -> Script:
    """Where SO_ERROR was not asked, send tells the refusal, once."""
    sock = world.open(family)
    yield said(sock.connect_ex, world.bound(family).getsockname()), "EINPROGRESS"
    world.wait(sock, READ)
    yield said(sock.send, b"x"), "ECONNREFUSED"
    yield said(sock.send, b"x"), "EPIPE"
    yield error(sock), 0


@fact(*TCP)
def refused_blocking_connect(world: World, family: int) -> Script:
    """A blocking connect raises the refusal itself, with or without a timeout, and leaves no error behind.

    Without a timeout the kernel has told it, and the next connect starts anew; with one Python took SO_ERROR, and the next
    connect is told that the last one was given up.
    """
    sock, patient = world.socket(family), world.socket(family)
    patient.settimeout(5)
    dead = world.bound(family).getsockname()
    yield said(sock.connect, dead), "ECONNREFUSED"
    yield error(sock), 0
    yield said(sock.connect_ex, dead), "ECONNREFUSED"
    yield said(patient.connect, dead), "ECONNREFUSED"
    yield error(patient), 0
    yield said(patient.connect_ex, dead), "ECONNABORTED"
    yield said(patient.connect_ex, dead), "ECONNREFUSED"


@fact(*TCP)
def second_connect_after_success(world: World, family: int) -> Script:
    """A second connect tells once that the first one has succeeded; the third says EISCONN."""
    address = world.listener(family).getsockname()
    sock = world.open(family)
    yield said(sock.connect_ex, address), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield said(sock.connect_ex, address), 0
    yield said(sock.connect_ex, address), "EISCONN"
    yield said(sock.getpeername), address


@fact(*TCP)
def second_connect_after_shutdown(world: World, family: int) -> Script:
    """A shutdown, either way, learns that the connect has succeeded: a second connect then says EISCONN at once."""
    address = world.listener(family).getsockname()
    for way in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
        sock = world.open(family)
        yield said(sock.connect_ex, address), "EINPROGRESS"
        world.wait(sock, WRITE)
        yield said(sock.shutdown, way), None
        yield said(sock.connect_ex, address), "EISCONN"


@fact(*TCP, differs="POSIX leaves open what a socket is after a connect that failed, and portable code closes it")
def second_connect_after_refusal(world: World, family: int) -> Script:
    """A second connect tells a refusal in place of SO_ERROR; the third starts anew, on the same socket."""
    sock = world.open(family)
    dead = world.bound(family).getsockname()
    yield said(sock.connect_ex, dead), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield said(sock.connect_ex, dead), "ECONNREFUSED"
    yield error(sock), 0
    yield said(sock.connect_ex, dead), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield error(sock), "ECONNREFUSED"
    listener = world.listener(family)
    yield said(sock.connect_ex, listener.getsockname()), "ECONNABORTED"
    yield said(sock.connect_ex, listener.getsockname()), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield said(sock.getpeername), listener.getsockname()


@fact(INET, INET6, UNIX)
def connect_of_a_connected_socket(world: World, family: int) -> Script:
    """Both ends of a connection refuse to be connected again, and to listen."""
    listener = world.listener(family)
    here = world.dial(listener)
    there, _ = world.accept(listener)
    if family != UNIX:
        yield said(here.connect_ex, listener.getsockname()), 0
    yield said(here.connect_ex, listener.getsockname()), "EISCONN"
    yield said(there.connect_ex, listener.getsockname()), "EISCONN"
    yield said(here.listen, 1), "EINVAL"
    yield said(there.listen, 1), "EINVAL"


@fact(*TCP, differs="macOS and the BSDs say EOPNOTSUPP")
def connect_of_a_listener(world: World, family: int) -> Script:
    """A socket that listens cannot connect."""
    yield said(world.listener(family).connect_ex, world.listener(family).getsockname()), "EISCONN"


@fact(differs="macOS and the BSDs say EOPNOTSUPP")
def connect_of_a_unix_listener(world: World) -> Script:
    """A Unix socket that listens cannot connect."""
    yield said(world.listener(UNIX).connect_ex, world.listener(UNIX).getsockname()), "EINVAL"


@fact(differs="macOS and the BSDs say EADDRNOTAVAIL at once")
def connect_to_port_0(world: World) -> Script:
    """Nobody listens on port 0, so a connect to it is refused as any other."""
    sock = world.open()
    yield said(sock.connect_ex, ("127.0.0.1", 0)), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield error(sock), "ECONNREFUSED"


@fact(differs="the BSDs connect to the host's first address")
def connect_to_the_wildcard(world: World) -> Script:
    """The wildcard address as a destination means this host: the connection is made over loopback."""
    listener = world.listener()
    sock = world.open()
    port = listener.getsockname()[1]
    yield said(sock.connect_ex, ("0.0.0.0", port)), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield said(sock.getpeername), ("127.0.0.1", port)


@fact()
def connect_to_another_family(world: World) -> Script:
    """Where an address is not of the socket's family, Python refuses its form; an IPv4 host is no IPv6 address."""
    yield said(world.open(INET).connect, ("::1", 1)), "gaierror"
    yield said(world.open(INET6).connect, ("127.0.0.1", 1, 0, 0)), "gaierror"
    yield said(world.open(INET).connect, "/nowhere"), "TypeError"
    yield said(world.open(UNIX).connect, ("127.0.0.1", 1)), "TypeError"
    yield said(world.open(INET).connect, ("127.0.0.1", 65536)), "OverflowError"
    yield said(world.open(INET).connect, ("127.0.0.1", -1)), "OverflowError"


@fact()
def connect_of_v6_to_mapped_v4(world: World) -> Script:
    """An IPv6 socket reaches an IPv4 listener by its mapped address, unless it is told to speak IPv6 alone."""
    listener = world.listener()
    port = listener.getsockname()[1]
    sock, only = world.open(INET6), world.open(INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    yield said(sock.connect_ex, ("::ffff:127.0.0.1", port)), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield said(sock.getpeername), ("::ffff:127.0.0.1", port, 0, 0)
    yield said(only.connect_ex, ("::ffff:127.0.0.1", port)), "ENETUNREACH"


@fact(*TCP)
def connect_gives_a_name(world: World, family: int) -> Script:
    """The name that connect gives to a socket is there at once, on the address from which the peer is reached."""
    listener = world.listener(family)
    sock = world.open(family)
    yield said(sock.connect_ex, listener.getsockname()), "EINPROGRESS"
    host, port, *_ = sock.getsockname()
    yield host, listener.getsockname()[0]
    yield port != 0, True
    there, peer = world.accept(listener)
    yield peer, sock.getsockname()
    yield there.getpeername(), sock.getsockname()


@fact(*TCP)
def connect_from_a_bound_name(world: World, family: int) -> Script:
    """A socket that was bound connects from its name."""
    listener, sock = world.listener(family), world.bound(family)
    name = sock.getsockname()
    yield said(sock.connect_ex, listener.getsockname()), "EINPROGRESS"
    _, peer = world.accept(listener)
    yield peer, name


@fact(*TCP)
def connect_to_oneself(world: World, family: int) -> Script:
    """A socket that connects to its own name is connected to itself and reads what it writes: RFC 9293, 3.5."""
    sock = world.bound(family)
    yield said(sock.connect_ex, sock.getsockname()), "EINPROGRESS"
    world.wait(sock, WRITE)
    yield error(sock), 0
    yield said(sock.getpeername), sock.getsockname()
    yield world.ready(sock), "w"
    yield said(sock.send, b"to myself"), 9
    world.wait(sock, READ)
    yield said(sock.recv, 100), b"to myself"
    sock.shutdown(socket.SHUT_WR)
    world.wait(sock, READ)
    yield said(sock.recv, 100), b""


@fact()
def tcp_backlog_that_is_full(world: World) -> Script:
    """Where the backlog is full a TCP connect stays in progress, and its socket is not ready; a second one says EALREADY."""
    listener = world.listener(backlog=0)
    first = world.dial(listener)
    late = world.open()
    yield said(late.connect_ex, listener.getsockname()), "EINPROGRESS"
    world.settle()
    yield world.ready(late), ""
    yield error(late), 0
    yield said(late.connect_ex, listener.getsockname()), "EALREADY"
    yield said(late.getpeername), "ENOTCONN"
    yield said(late.send, b"x"), "EAGAIN"
    yield said(late.recv, 1), "EAGAIN"
    yield world.ready(first), "w"


@fact()
def shutdown_while_connecting(world: World) -> Script:
    """A connect in progress is given up by shutdown: the error is ECONNRESET, and the socket is not connected."""
    listener = world.listener(backlog=0)
    world.dial(listener)
    late = world.open()
    yield said(late.connect_ex, listener.getsockname()), "EINPROGRESS"
    world.settle()
    yield said(late.shutdown, socket.SHUT_WR), None
    yield world.ready(late), "rw"
    yield error(late), "ECONNRESET"
    yield error(late), 0
    yield said(late.getpeername), "ENOTCONN"
    yield said(late.shutdown, socket.SHUT_WR), "ENOTCONN"


@fact()
def close_while_connecting(world: World) -> Script:
    """A connect in progress whose socket is closed leaves nothing at the listener."""
    listener = world.listener(backlog=0)
    world.dial(listener)
    late = world.open()
    yield said(late.connect_ex, listener.getsockname()), "EINPROGRESS"
    late.close()
    world.accept(listener)
    world.settle()
    yield world.ready(listener), ""


@fact(differs="macOS and the BSDs say ECONNREFUSED")
def unix_backlog_that_is_full(world: World) -> Script:
    """Where the backlog is full a Unix connect says EAGAIN and has not begun: the socket looks as a fresh one does."""
    listener = world.listener(UNIX, backlog=0)
    first, late = world.open(UNIX), world.open(UNIX)
    yield said(first.connect_ex, listener.getsockname()), 0
    yield said(late.connect_ex, listener.getsockname()), "EAGAIN"
    yield world.ready(late), "rw"
    yield error(late), 0
    yield said(late.getpeername), "ENOTCONN"
    yield said(late.send, b"x"), "ENOTCONN"
    yield said(late.connect_ex, listener.getsockname()), "EAGAIN"
    world.accept(listener)
    yield said(late.connect_ex, listener.getsockname()), 0
    yield said(late.getpeername), listener.getsockname()


@fact(INET, UNIX)
def backlog_counts_one_more(world: World, family: int) -> Script:
    """A backlog of 2 takes three connections: listen(2) counts those that are more than one."""
    listener = world.listener(family, backlog=2)
    socks = [world.open(family) for _ in range(4)]
    for sock in socks:
        sock.connect_ex(listener.getsockname())
    world.settle()
    yield [world.ready(sock) for sock in socks], ["w", "w", "w", "" if family == INET else "rw"]


@fact()
def connect_that_times_out(world: World) -> Script:
    """A connect with a timeout raises TimeoutError where the backlog stays full; `connect_ex` returns EAGAIN."""
    listener = world.listener(backlog=0)
    world.dial(listener)
    sock, other = world.socket(), world.socket()
    sock.settimeout(0.01)
    other.settimeout(0.01)
    yield said(sock.connect, listener.getsockname()), "TimeoutError"
    yield said(other.connect_ex, listener.getsockname()), "EAGAIN"


@fact(differs="macOS and the BSDs say ECONNREFUSED")
def unix_connect_does_not_time_out(world: World) -> Script:
    """A Unix connect with a timeout does not wait for room in the backlog: EAGAIN, as without blocking."""
    listener = world.listener(UNIX, backlog=0)
    world.dial(listener)
    sock = world.socket(UNIX)
    sock.settimeout(5)
    yield said(sock.connect, listener.getsockname()), "EAGAIN"
    yield said(sock.connect_ex, listener.getsockname()), "EAGAIN"


@fact()
def tcp_backlog_that_has_room_again(world: World) -> Script:
    """A TCP connect that found the backlog full succeeds when there is room: its SYN is sent again, after a second."""
    listener = world.listener(backlog=0)
    world.dial(listener)
    late = world.open()
    yield said(late.connect_ex, listener.getsockname()), "EINPROGRESS"
    world.settle()
    world.accept(listener)
    yield world.ready(late), ""
    world.wait(late, WRITE)
    yield error(late), 0
    _, peer = world.accept(listener)
    yield peer, late.getsockname()


@fact()
def unix_connect_to_nothing(world: World) -> Script:
    """A Unix connect says at once that there is no file, or that nobody listens; nothing is left of it."""
    sock = world.open(UNIX)
    missing, dead = world.free(UNIX), world.free(UNIX)
    yield said(sock.connect_ex, missing), "ENOENT"
    left = world.open(UNIX)
    left.bind(dead)
    yield said(sock.connect_ex, dead), "ECONNREFUSED"
    left.close()
    yield said(sock.connect_ex, dead), "ECONNREFUSED"
    yield error(sock), 0
    yield world.ready(sock), "rw"
    yield said(sock.connect_ex, "\0fidelity-nobody"), "ECONNREFUSED"
    yield said(sock.connect, "x" * 200), "OSError"
    listener = world.listener(UNIX)
    yield said(sock.connect_ex, listener.getsockname()), 0


@fact()
def unix_connect_after_the_file_is_gone(world: World) -> Script:
    """The file is the way to a Unix socket: once it is removed nobody gets in, and who is connected stays."""
    listener = world.listener(UNIX)
    sock = world.dial(listener)
    world.unlink(listener.getsockname())
    yield said(world.open(UNIX).connect_ex, listener.getsockname()), "ENOENT"
    there, _ = world.accept(listener)
    yield said(there.send, b"x"), 1
    yield said(sock.recv, 10), b"x"


@fact(*TCP)
def listener_that_closes_resets_who_waits(world: World, family: int) -> Script:
    """A listener that closes resets the connections that nobody accepted."""
    listener = world.listener(family)
    sock = world.dial(listener)
    yield world.ready(sock), "w"
    name = listener.getsockname()
    listener.close()
    world.wait(sock, READ)
    yield world.ready(sock), "rw"
    yield said(sock.recv, 1), "ECONNRESET"
    yield said(sock.recv, 1), b""
    late = world.open(family)
    yield said(late.connect_ex, name), "EINPROGRESS"
    world.wait(late, READ)
    yield error(late), "ECONNREFUSED"


@fact()
def unix_listener_that_closes_resets_who_waits(world: World) -> Script:
    """A Unix listener that closes resets the connections that nobody accepted, too."""
    listener = world.listener(UNIX)
    sock = world.dial(listener)
    listener.close()
    yield world.ready(sock), "rw"
    yield error(sock), "ECONNRESET"
    yield said(sock.recv, 1), b""
    yield said(sock.send, b"x"), "EPIPE"


@fact(*TCP)
def data_with_the_connection(world: World, family: int) -> Script:
    """What the peer sent before the connection was looked at is reported together with it."""
    listener = world.listener(family)
    sock = world.open(family)
    yield said(sock.connect_ex, listener.getsockname()), "EINPROGRESS"
    there, _ = world.accept(listener)
    there.send(b"welcome")
    world.wait(sock, READ)
    yield world.ready(sock), "rw"
    yield error(sock), 0
    yield said(sock.recv, 100), b"welcome"


@fact(*TCP)
def reset_with_the_connection(world: World, family: int) -> Script:
    """Where the peer has reset before the connection was looked at, the error is ECONNRESET."""
    listener = world.listener(family)
    sock = world.open(family)
    yield said(sock.connect_ex, listener.getsockname()), "EINPROGRESS"
    there, _ = world.accept(listener)
    reset(there)
    world.wait(sock, READ)
    yield world.ready(sock), "rw"
    yield error(sock), "ECONNRESET"
    yield said(sock.getpeername), "ENOTCONN"
    yield (sock.family, sock.type), (family, STREAM)

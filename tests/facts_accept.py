"""Facts about accepting: when a listener is ready, in which order and with which addresses connections come."""

from __future__ import annotations

import socket

from tests.facts import INET, INET6, READ, UNIX, Script, World, error, fact, option, reset, said

TCP = (INET, INET6)


@fact(INET, INET6, UNIX)
def listener_readiness(world: World, family: int) -> Script:
    """A listener is readable while a connection waits, and never writable; without one accept says EAGAIN."""
    listener = world.listener(family)
    yield world.ready(listener), ""
    yield said(listener.accept), "EAGAIN"
    world.dial(listener)
    world.wait(listener, READ)
    yield world.ready(listener), "r"
    world.accept(listener)
    yield world.ready(listener), ""
    yield said(listener.accept), "EAGAIN"
    yield error(listener), 0


@fact(INET, INET6)
def listener_is_no_stream(world: World, family: int) -> Script:
    """Reading from a listener says ENOTCONN, writing EPIPE."""
    listener = world.listener(family)
    yield said(listener.recv, 1), "ENOTCONN"
    yield said(listener.send, b"x"), "EPIPE"
    yield said(listener.getpeername), "ENOTCONN"


@fact()
def unix_listener_is_no_stream(world: World) -> Script:
    """Reading from a Unix listener says EINVAL, writing ENOTCONN."""
    listener = world.listener(UNIX)
    yield said(listener.recv, 1), "EINVAL"
    yield said(listener.send, b"x"), "ENOTCONN"
    yield said(listener.getpeername), "ENOTCONN"


@fact(INET, INET6, UNIX)
def accept_where_nobody_listens(world: World, family: int) -> Script:
    """A socket that does not listen accepts nothing: EINVAL."""
    yield said(world.open(family).accept), "EINVAL"
    yield said(world.bound(family).accept), "EINVAL"
    here, _ = world.pair(family)
    yield said(here.accept), "EINVAL"


@fact()
def accept_on_udp(world: World) -> Script:
    """A datagram socket accepts nothing: EOPNOTSUPP."""
    yield said(world.bound(INET, socket.SOCK_DGRAM).accept), "EOPNOTSUPP"


@fact(*TCP)
def accept_tells_the_address(world: World, family: int) -> Script:
    """Accept tells the peer's name, two-part for IPv4, four-part for IPv6; the accepted end has the listener's name."""
    listener = world.listener(family)
    here = world.dial(listener)
    there, peer = world.accept(listener)
    yield peer, here.getsockname()
    yield len(peer), 2 if family == INET else 4
    yield there.getsockname(), listener.getsockname()
    yield there.getpeername(), here.getsockname()
    yield here.getpeername(), there.getsockname()
    yield (there.family, there.type), (family, socket.SOCK_STREAM)


@fact()
def accept_on_the_wildcard(world: World) -> Script:
    """An end that was accepted on the wildcard has the address to which the peer connected."""
    listener = world.open()
    listener.bind(("0.0.0.0", 0))
    listener.listen(1)
    port = listener.getsockname()[1]
    here = world.open()
    yield said(here.connect_ex, ("127.0.0.1", port)), "EINPROGRESS"
    there, _ = world.accept(listener)
    yield there.getsockname(), ("127.0.0.1", port)
    yield listener.getsockname(), ("0.0.0.0", port)


@fact(differs="OpenBSD has no dual-stack sockets")
def accept_on_a_dual_stack(world: World) -> Script:
    """A dual-stack listener takes both kinds; an IPv4 peer has a mapped address."""
    listener = world.open(INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", 0))
    listener.listen(4)
    port = listener.getsockname()[1]
    four, six = world.open(INET), world.open(INET6)
    yield said(four.connect_ex, ("127.0.0.1", port)), "EINPROGRESS"
    there, peer = world.accept(listener)
    yield peer, ("::ffff:127.0.0.1", four.getsockname()[1], 0, 0)
    yield there.getsockname(), ("::ffff:127.0.0.1", port, 0, 0)
    yield said(six.connect_ex, ("::1", port)), "EINPROGRESS"
    _, peer = world.accept(listener)
    yield peer, six.getsockname()


@fact()
def listeners_on_two_addresses(world: World) -> Script:
    """A listener on one address of the host does not hear of connections to another."""
    port = world.port()
    listener = world.open()
    yield said(listener.bind, ("127.0.0.1", port)), None
    listener.listen(4)
    sock = world.open()
    yield said(sock.connect_ex, ("127.0.0.2", port)), "EINPROGRESS"
    world.wait(sock, READ)
    yield error(sock), "ECONNREFUSED"
    other = world.open()
    yield said(other.bind, ("127.0.0.2", port)), None
    other.listen(4)
    late = world.open()
    yield said(late.connect_ex, ("127.0.0.2", port)), "EINPROGRESS"
    world.wait(other, READ)
    yield (world.ready(listener), world.ready(other)), ("", "r")


@fact()
def listeners_of_two_families(world: World) -> Script:
    """On one port a listener for IPv6 alone and one for IPv4 each hear of their own."""
    port = world.port()
    four, six = world.open(INET), world.open(INET6)
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    yield said(four.bind, ("0.0.0.0", port)), None
    yield said(six.bind, ("::", port)), None
    four.listen(4)
    six.listen(4)
    yield said(world.open(INET).connect_ex, ("127.0.0.1", port)), "EINPROGRESS"
    world.wait(four, READ)
    yield (world.ready(four), world.ready(six)), ("r", "")
    yield said(world.open(INET6).connect_ex, ("::1", port)), "EINPROGRESS"
    world.wait(six, READ)
    _, peer = world.accept(six)
    yield peer[0], "::1"


@fact(*TCP)
def listeners_that_share_a_port(world: World, family: int) -> Script:
    """Of two listeners with SO_REUSEPORT each connection comes to one; those that wait are reset when theirs closes."""
    one, two = world.open(family), world.open(family)
    for listener in (one, two):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(world.free(family))
    two.bind(one.getsockname())
    one.listen(64)
    two.listen(64)
    socks = [world.dial(one) for _ in range(32)]
    world.settle()
    accepted = 0
    while world.ready(one):
        world.accept(one)
        accepted += 1
    two.close()
    world.settle()
    yield accepted + [said(sock.recv, 1) for sock in socks].count("ECONNRESET"), 32


@fact()
def v6only_listener_refuses_v4(world: World) -> Script:
    """A listener that speaks IPv6 alone refuses IPv4."""
    listener = world.open(INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(("::", 0))
    listener.listen(4)
    four = world.open(INET)
    yield said(four.connect_ex, ("127.0.0.1", listener.getsockname()[1])), "EINPROGRESS"
    world.wait(four, READ)
    yield error(four), "ECONNREFUSED"


@fact(INET, INET6, UNIX)
def accepts_come_in_order(world: World, family: int) -> Script:
    """Connections are accepted in the order in which they were made."""
    listener = world.listener(family)
    for number in range(5):
        world.dial(listener).send(b"%d" % number)
    accepted = [world.accept(listener)[0] for _ in range(5)]
    for sock in accepted:
        world.wait(sock, READ)
    yield [sock.recv(10) for sock in accepted], [b"0", b"1", b"2", b"3", b"4"]


@fact(INET, UNIX, differs="on macOS and the BSDs the kernel hands on O_NONBLOCK; Python sets the mode anew everywhere")
def accepted_sockets_block(world: World, family: int) -> Script:
    """An accepted socket blocks, whatever the listener does: Python gives it the default timeout."""
    listener = world.listener(family)
    for timeout in (0.0, 5.0):
        listener.settimeout(timeout)
        world.dial(listener)
        world.wait(listener, READ)
        there = world.keep(listener.accept()[0])
        yield (there.gettimeout(), there.getblocking()), (None, True)


@fact()
def accepted_sockets_inherit_options(world: World) -> Script:
    """An accepted TCP socket has the options of its listener."""
    listener = world.listener()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    world.dial(listener)
    there, _ = world.accept(listener)
    yield option(there, "SO_KEEPALIVE"), 1
    yield option(there, "TCP_NODELAY", socket.IPPROTO_TCP), 1
    yield option(there, "SO_ACCEPTCONN"), 0


@fact(INET, INET6, UNIX)
def accept_with_a_timeout(world: World, family: int) -> Script:
    """Accept with a timeout raises TimeoutError when nobody comes, and returns at once when somebody has come."""
    listener = world.listener(family)
    listener.settimeout(0.01)
    yield said(listener.accept), "TimeoutError"
    world.dial(listener)
    listener.settimeout(5)
    there, _ = listener.accept()
    yield said(world.keep(there).send, b"x"), 1


@fact(*TCP, differs="macOS and the BSDs drop the connection from the queue, or accept says ECONNABORTED")
def reset_before_accept(world: World, family: int) -> Script:
    """A connection that was reset while it waited is accepted all the same; recv then says ECONNRESET, once."""
    listener = world.listener(family)
    here = world.dial(listener)
    name = here.getsockname()
    world.wait(listener, READ)
    reset(here)
    world.settle()
    yield world.ready(listener), "r"
    there, peer = world.accept(listener)
    yield peer, name
    yield world.ready(there), "rw"
    yield said(there.getpeername), "ENOTCONN"
    yield said(there.recv, 10), "ECONNRESET"
    yield said(there.recv, 10), b""


@fact(*TCP)
def data_then_reset_before_accept(world: World, family: int) -> Script:
    """What a connection sent before it was reset, while it waited, is read first; then recv says ECONNRESET, once."""
    listener = world.listener(family)
    here = world.dial(listener)
    here.send(b"last words")
    world.wait(listener, READ)
    reset(here)
    world.settle()
    there, _ = world.accept(listener)
    yield said(there.recv, 100), b"last words"
    yield said(there.recv, 100), "ECONNRESET"
    yield said(there.recv, 100), b""


@fact(INET, INET6, UNIX)
def end_before_accept(world: World, family: int) -> Script:
    """A connection that has sent and ended while it waited is accepted, and its bytes are read, then its end."""
    listener = world.listener(family)
    here = world.dial(listener)
    here.send(b"last words")
    here.close()
    there, _ = world.accept(listener)
    world.wait(there, READ)
    yield said(there.recv, 100), b"last words"
    world.settle()
    yield said(there.recv, 100), b""


@fact(*TCP, differs="macOS and the BSDs say ENOTCONN")
def shutdown_of_a_listener(world: World, family: int) -> Script:
    """A listener that is shut for reading listens no more: it is as a socket that never did, and refuses connections."""
    listener = world.listener(family)
    yield said(listener.shutdown, socket.SHUT_WR), None
    yield said(listener.accept), "EAGAIN"
    yield said(listener.shutdown, socket.SHUT_RD), None
    yield said(listener.accept), "EINVAL"
    yield world.ready(listener), "rw"
    late = world.open(family)
    yield said(late.connect_ex, listener.getsockname()), "EINPROGRESS"
    world.wait(late, READ)
    yield error(late), "ECONNREFUSED"


@fact(INET, UNIX)
def accept_after_the_backlog_was_full(world: World, family: int) -> Script:
    """Every accept makes room for one more."""
    listener = world.listener(family, backlog=0)
    world.dial(listener)
    world.accept(listener)
    world.dial(listener)
    world.accept(listener)
    yield world.ready(listener), ""

"""Facts about sockets that are connected to nobody: what they say, their options, their numbers, and selectors."""

from __future__ import annotations

import selectors
import socket

from tests.facts import INET, INET6, KINDS, READ, STREAM, UNIX, WRITE, Script, World, error, fact, named, option, said


@fact(INET, INET6, differs="macOS and the BSDs report a fresh TCP socket as not ready at all")
def fresh_tcp_is_ready(world: World, family: int) -> Script:
    """A TCP socket that was never connected is reported readable and writable (EPOLLOUT and EPOLLHUP), without an error."""
    sock = world.open(family)
    yield world.ready(sock), "rw"
    yield error(sock), 0
    sock.bind(world.free(family))
    yield world.ready(sock), "rw"


@fact(differs="macOS and the BSDs report a fresh Unix socket as not ready at all")
def fresh_unix_is_ready(world: World) -> Script:
    """A Unix socket that was never connected is reported as a TCP socket is."""
    sock = world.open(UNIX)
    yield world.ready(sock), "rw"
    yield error(sock), 0


@fact()
def fresh_udp_is_writable(world: World) -> Script:
    """A UDP socket is writable from the start."""
    sock = world.open(INET, socket.SOCK_DGRAM)
    yield world.ready(sock), "w"


@fact(INET, INET6)
def unconnected_tcp_says_enotconn(world: World, family: int) -> Script:
    """On a TCP socket that was never connected reading says ENOTCONN, writing EPIPE."""
    sock = world.open(family)
    yield said(sock.recv, 10), "ENOTCONN"
    yield said(sock.recv_into, bytearray(10)), "ENOTCONN"
    yield said(sock.recv, 0), b""  # Python does not ask
    yield said(sock.send, b"x"), "EPIPE"
    yield said(sock.send, b""), "EPIPE"
    yield said(sock.sendmsg, [b"x"]), "EPIPE"
    yield said(sock.getpeername), "ENOTCONN"
    yield said(sock.shutdown, socket.SHUT_WR), "ENOTCONN"
    yield said(sock.shutdown, socket.SHUT_RD), "ENOTCONN"
    yield said(sock.shutdown, socket.SHUT_RDWR), "ENOTCONN"


@fact(differs="macOS and the BSDs say ENOTCONN to recv and to shutdown")
def unconnected_unix_says_einval(world: World) -> Script:
    """On a Unix stream socket that was never connected reading says EINVAL, writing ENOTCONN; shutdown does nothing."""
    sock = world.open(UNIX)
    yield said(sock.recv, 10), "EINVAL"
    yield said(sock.recv_into, bytearray(10)), "EINVAL"
    yield said(sock.send, b"x"), "ENOTCONN"
    yield said(sock.send, b""), "ENOTCONN"
    yield said(sock.getpeername), "ENOTCONN"
    yield said(sock.shutdown, socket.SHUT_WR), None
    yield said(sock.send, b"x"), "ENOTCONN"


@fact()
def fresh_names(world: World) -> Script:
    """A socket without a name has the wildcard address and port 0, a Unix socket the empty string."""
    yield said(world.open(INET).getsockname), ("0.0.0.0", 0)
    yield said(world.open(INET6).getsockname), ("::", 0, 0, 0)
    yield said(world.open(UNIX).getsockname), ""
    yield said(world.open(INET, socket.SOCK_DGRAM).getsockname), ("0.0.0.0", 0)


@fact(INET, INET6, UNIX)
def blocking_modes(world: World, family: int) -> Script:
    """A socket blocks until it is told not to; a timeout of 0 is the same as not to block."""
    sock = world.socket(family)
    yield (sock.gettimeout(), sock.getblocking()), (None, True)
    sock.setblocking(False)
    yield (sock.gettimeout(), sock.getblocking()), (0.0, False)
    sock.settimeout(2)
    yield (sock.gettimeout(), sock.getblocking()), (2.0, True)
    sock.settimeout(0)
    yield (sock.gettimeout(), sock.getblocking()), (0.0, False)
    sock.settimeout(None)
    yield (sock.gettimeout(), sock.getblocking()), (None, True)
    yield said(sock.settimeout, -1), "ValueError"
    yield (sock.family, sock.type, sock.proto), (family, STREAM, 0)


@fact(INET, INET6, UNIX)
def options_read_back(world: World, family: int) -> Script:
    """A socket tells its type, family and whether it listens."""
    sock = world.open(family)
    yield option(sock, "SO_TYPE"), STREAM
    yield option(sock, "SO_DOMAIN"), family
    yield option(sock, "SO_ACCEPTCONN"), 0
    sock.bind(world.free(family))
    sock.listen(1)
    yield option(sock, "SO_ACCEPTCONN"), 1
    yield option(sock, "SO_ERROR"), 0


@fact(INET, INET6)
def options_of_tcp(world: World, family: int) -> Script:
    """The options of a TCP socket are 0 until they are set, and read back as 1 whatever they were set to."""
    sock = world.open(family)
    yield [option(sock, name) for name in ("SO_KEEPALIVE", "SO_REUSEADDR", "SO_REUSEPORT")], [0, 0, 0]
    yield option(sock, "TCP_NODELAY", socket.IPPROTO_TCP), 0
    yield said(sock.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 7), None
    yield said(sock.setsockopt, socket.SOL_SOCKET, socket.SO_REUSEADDR, 7), None
    yield said(sock.setsockopt, socket.SOL_SOCKET, socket.SO_REUSEPORT, 7), None
    yield said(sock.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 7), None
    yield [option(sock, name) for name in ("SO_KEEPALIVE", "SO_REUSEADDR", "SO_REUSEPORT")], [1, 1, 1]
    yield option(sock, "TCP_NODELAY", socket.IPPROTO_TCP), 1
    yield said(sock.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 0), None
    yield option(sock, "TCP_NODELAY", socket.IPPROTO_TCP), 0


@fact()
def options_that_are_not_there(world: World) -> Script:
    """An option of TCP on a Unix socket is refused, and so is setting what can only be read, or what nobody knows."""
    unix, tcp = world.open(UNIX), world.open(INET)
    yield said(unix.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), "EOPNOTSUPP"
    yield said(unix.getsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY), "EOPNOTSUPP"
    yield said(tcp.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1), "ENOPROTOOPT"
    yield said(tcp.setsockopt, socket.SOL_SOCKET, socket.SO_ERROR, 1), "ENOPROTOOPT"
    yield said(tcp.setsockopt, socket.SOL_SOCKET, 9999, 1), "ENOPROTOOPT"
    yield said(tcp.getsockopt, socket.SOL_SOCKET, 9999), "ENOPROTOOPT"


@fact(differs="elsewhere the number is read back as it was set")
def buffer_sizes_are_doubled(world: World) -> Script:
    """SO_SNDBUF and SO_RCVBUF are read back as twice what was set, and never less than a minimum: socket(7)."""
    for sock in (world.open(INET), world.open(UNIX)):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 30_000)
        yield (option(sock, "SO_SNDBUF"), option(sock, "SO_RCVBUF")), (40_000, 60_000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        yield option(sock, "SO_SNDBUF") > 2_000, True


@fact()
def linger_reads_back(world: World) -> Script:
    """SO_LINGER is a pair of integers: on or off, and seconds."""
    sock = world.open()
    yield sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8), bytes(8)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    yield sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8), b"\1\0\0\0\0\0\0\0"


@fact(INET, INET6, UNIX)
def closed_sockets_have_no_number(world: World, family: int) -> Script:
    """A closed socket has the number -1, and every call on it says EBADF; closing it again says nothing."""
    sock = world.open(family)
    yield sock.fileno() >= 0, True
    sock.close()
    yield sock.fileno(), -1
    yield said(sock.recv, 1), "EBADF"
    yield said(sock.send, b"x"), "EBADF"
    yield said(sock.connect_ex, world.free(family)), "EBADF"
    yield said(sock.accept), "EBADF"
    yield said(sock.listen, 1), "EBADF"
    yield said(sock.getsockname), "EBADF"
    yield said(sock.getpeername), "EBADF"
    yield said(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR), "EBADF"
    yield said(sock.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), "EBADF"
    yield said(sock.shutdown, socket.SHUT_WR), "EBADF"
    yield said(sock.setblocking, False), "EBADF"
    yield said(sock.close), None
    yield said(sock.detach), -1


@fact()
def numbers_are_used_again(world: World) -> Script:
    """A new socket gets the lowest number that is free, so that of the one closed last, or before it: open(2)."""
    first, second, third = world.open(), world.open(), world.open()
    numbers = [first.fileno(), second.fileno(), third.fileno()]
    yield numbers == sorted(numbers), True
    third.close()
    first.close()
    yield world.open().fileno(), numbers[0]
    yield world.open(UNIX).fileno(), numbers[2]
    second.close()
    yield world.open(INET, socket.SOCK_DGRAM).fileno(), numbers[1]


@fact()
def detached_numbers_stay_taken(world: World) -> Script:
    """A detached number still belongs to the connection; a socket made of it goes on where the other one was."""
    here, there = world.pair()
    number = here.fileno()
    yield said(here.detach), number
    yield here.fileno(), -1
    yield said(here.send, b"x"), "EBADF"
    yield world.open().fileno() != number, True
    again = world.reopen(number)
    yield said(again.send, b"again"), 5
    world.wait(there, READ)
    yield said(there.recv, 10), b"again"


@fact()
def selectors_refuse(world: World) -> Script:
    """Every selector refuses to register twice, no events, closed sockets, and what was never registered."""
    for kind in KINDS:
        selector, sock, closed = world.selector(kind), world.open(), world.open()
        closed.close()
        yield said(selector.register, sock, READ).events, READ
        yield said(selector.register, sock, WRITE), "KeyError"
        yield said(selector.register, sock.fileno(), WRITE), "KeyError"
        yield said(selector.register, world.open(), 0), "ValueError"
        yield said(selector.register, world.open(), 4), "ValueError"
        yield said(selector.register, closed, READ), "ValueError"
        yield said(selector.register, -1, READ), "ValueError"
        yield said(selector.register, "a name", READ), "ValueError"
        yield said(selector.modify, world.open(), READ), "KeyError"
        yield said(selector.unregister, world.open()), "KeyError"
        yield said(selector.unregister, closed), "ValueError"
        yield said(selector.get_key, world.open()), "KeyError"


@fact()
def selectors_and_numbers_of_nothing(world: World) -> Script:
    """A number that names nothing is refused by epoll at once, reported as ready by poll, refused by select each time."""
    closed = world.open()
    number = closed.fileno()
    epoll, poll, select = (world.selector(kind) for kind in KINDS)
    closed.close()
    yield said(epoll.register, number, READ), "EBADF"
    yield len(epoll.get_map()), 0
    yield said(poll.register, number, READ).fd == number, True
    yield [(key.fd == number, events) for key, events in poll.select(0)], [(True, READ)]
    yield said(select.register, number, READ).fd == number, True
    yield said(select.select, 0), "EBADF"


@fact(INET, INET6, UNIX)
def selectors_report_again(world: World, family: int) -> Script:
    """What comes after a socket was registered is reported each time until it is read: selectors are level-triggered."""
    for kind in KINDS:
        here, there = world.pair(family)
        selector = world.selector(kind)
        selector.register(here, READ)
        yield selector.select(0), []
        yield selector.select(0.001), []
        there.send(b"ab")
        yield [(key.fileobj is here, events) for key, events in selector.select(5)], [(True, READ)]
        yield said(here.recv, 1), b"a"
        yield [(key.fileobj is here, events) for key, events in selector.select(0)], [(True, READ)]
        yield said(here.recv, 1), b"b"
        yield selector.select(0), []
        selector.modify(here, READ | WRITE)
        yield [(key.fileobj is here, events) for key, events in selector.select(0)], [(True, WRITE)]


@fact()
def selectors_report_several(world: World) -> Script:
    """One answer reports every socket that is ready, each once, with all that it is ready for and was asked for."""
    here, there = world.pair()
    listener = world.listener()
    idle, _ = world.pair()
    world.dial(listener)
    there.send(b"x")
    world.wait(here, READ)
    world.wait(listener, READ)
    for kind in KINDS:
        selector = world.selector(kind)
        selector.register(here, READ | WRITE, "here")
        selector.register(there, READ, "there")
        selector.register(listener, READ, "listener")
        selector.register(idle, WRITE, "idle")
        answer = sorted((key.data, events) for key, events in selector.select(5))
        yield answer, [("here", READ | WRITE), ("idle", WRITE), ("listener", READ)]


@fact()
def selectors_hand_back_keys(world: World) -> Script:
    """A selector hands back what was registered: object, number, events and data; modify changes it, unregister ends it."""
    for kind in KINDS:
        selector, sock = world.selector(kind), world.open()
        data = object()
        key = selectors.SelectorKey(sock, sock.fileno(), READ, data)
        yield said(selector.register, sock, READ, data) == key, True
        yield said(selector.get_key, sock) == key, True
        yield selector.get_map()[sock] == key, True
        yield selector.select(0) == [(key, READ)], True
        yield said(selector.modify, sock, WRITE) == key._replace(events=WRITE, data=None), True
        yield [(key.data, events) for key, events in selector.select(0)], [(None, WRITE)]
        yield said(selector.modify, sock, READ | WRITE, "new").data, "new"
        yield [(key.data, events) for key, events in selector.select(0)], [("new", READ | WRITE)]
        yield said(selector.unregister, sock).data, "new"
        yield selector.select(0), []
        yield len(selector.get_map()), 0
        yield said(selector.register, sock, WRITE).events, WRITE


@fact()
def no_events_can_be_asked_for_by_modify(world: World) -> Script:
    """`modify` takes the events 0 that `register` refuses: then epoll and poll report a hang-up as ready for nothing."""
    for kind in ("epoll", "poll"):
        selector, sock = world.selector(kind), world.open()
        selector.register(sock, READ)
        yield said(selector.modify, sock, 0).events, 0
        yield [(key.fileobj is sock, events) for key, events in selector.select(0)], [(True, 0)]
    selector, sock = world.selector("select"), world.open()
    selector.register(sock, READ)
    yield said(selector.modify, sock, 0), "ValueError"
    yield said(selector.get_key, sock), "KeyError"


@fact()
def closed_sockets_can_be_unregistered(world: World) -> Script:
    """A socket that was closed while it was registered is found by identity and can still be unregistered, once."""
    for kind in KINDS:
        selector, sock = world.selector(kind), world.open()
        selector.register(sock, READ)
        sock.close()
        yield said(selector.unregister, sock).fileobj is sock, True
        yield said(selector.unregister, sock), "ValueError"


@fact()
def closed_selectors(world: World) -> Script:
    """A closed selector has no map, and closing it again says nothing."""
    for kind in KINDS:
        selector = world.selector(kind)
        yield said(selector.close), None
        yield said(selector.close), None
        yield said(selector.get_map), None


@fact()
def selectors_do_not_wait_when_something_is_ready(world: World) -> Script:
    """With something ready a selector answers whatever the timeout; a negative one is none at all."""
    here, there = world.socketpair()
    there.send(b"x")
    for kind in KINDS:
        selector = world.selector(kind)
        yield selector.select(-1), []
        selector.register(here, READ)
        yield [events for _, events in selector.select(None)], [READ]
        yield [events for _, events in selector.select(1_000_000)], [READ]
        yield [events for _, events in selector.select(-1)], [READ]


@fact()
def so_error_of_nothing(world: World) -> Script:
    """A socket to which nothing happened has no error; a raw reading gives the same in bytes."""
    here, _ = world.socketpair()
    yield error(here), 0
    yield here.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR, 4), bytes(4)
    yield named(0), 0

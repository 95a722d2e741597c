"""Facts about names: what `bind` takes and refuses, and how names are told."""

from __future__ import annotations

import socket

from tests.facts import INET, INET6, UNIX, Script, World, fact, said

TCP = (INET, INET6)
WILDCARD: dict[int, str] = {INET: "0.0.0.0", INET6: "::"}


def sharing(world: World, family: int, *options: str) -> socket.socket:
    """Return a non-blocking socket on which *options* are on."""
    sock = world.open(family)
    for name in options:
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), 1)
    return sock


@fact(*TCP)
def bind_to_port_0_gives_a_port(world: World, family: int) -> Script:
    """Port 0 means any free one; two sockets get two."""
    one, two = world.bound(family), world.bound(family)
    yield one.getsockname()[0], world.free(family)[0]
    yield one.getsockname()[1] > 0, True
    yield one.getsockname()[1] != two.getsockname()[1], True


@fact(*TCP, differs="the option is Linux's")
def bind_to_an_address_without_a_port(world: World, family: int) -> Script:
    """With IP_BIND_ADDRESS_NO_PORT, port 0 is no port yet: it may be bound again, and `connect` or `listen` choose one."""
    host = world.free(family)[0]
    one, two = world.open(family), world.open(family)
    for sock in (one, two):
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)
        sock.bind((host, 0))
        yield sock.getsockname()[:2], (host, 0)
    yield said(two.bind, (host, 0)), None
    two.listen(1)
    yield two.getsockname()[1] > 0, True
    yield said(two.bind, (host, 0)), "EINVAL"
    one.connect_ex(two.getsockname())
    yield one.getsockname()[1] > 0, True
    yield one.getsockname()[0], host


@fact(INET, INET6, UNIX)
def bind_twice(world: World, family: int) -> Script:
    """A socket that has a name gets no second one."""
    sock = world.bound(family)
    yield said(sock.bind, world.free(family)), "EINVAL"
    yield said(sock.bind, sock.getsockname()), "EADDRINUSE" if family == UNIX else "EINVAL"


@fact(*TCP)
def bind_to_a_name_that_is_taken(world: World, family: int) -> Script:
    """A name that a socket has is refused to the next, whether it listens or not; after a close it is free."""
    one, two = world.bound(family), world.open(family)
    name = one.getsockname()
    yield said(two.bind, name), "EADDRINUSE"
    one.listen(1)
    yield said(two.bind, name), "EADDRINUSE"
    one.close()
    yield said(two.bind, name), None


@fact(*TCP, differs="on Windows SO_REUSEADDR lets two sockets listen on one name")
def bind_with_reuseaddr(world: World, family: int) -> Script:
    """With SO_REUSEADDR on both, a name is shared while nobody listens; then the second can neither bind nor listen."""
    one, two, three = (sharing(world, family, "SO_REUSEADDR") for _ in range(3))
    one.bind(world.free(family))
    name = one.getsockname()
    yield said(world.open(family).bind, name), "EADDRINUSE"
    yield said(two.bind, name), None
    yield said(one.listen, 1), None
    yield said(two.listen, 1), "EADDRINUSE"
    yield said(three.bind, name), "EADDRINUSE"


@fact(*TCP)
def bind_with_reuseport(world: World, family: int) -> Script:
    """With SO_REUSEPORT on both, two sockets listen on one name; who has it not is refused."""
    one, two = (sharing(world, family, "SO_REUSEPORT") for _ in range(2))
    one.bind(world.free(family))
    name = one.getsockname()
    yield said(two.bind, name), None
    yield said(one.listen, 1), None
    yield said(two.listen, 1), None
    yield said(world.open(family).bind, name), "EADDRINUSE"
    yield said(sharing(world, family, "SO_REUSEADDR").bind, name), "EADDRINUSE"


@fact(*TCP)
def bind_to_a_name_in_time_wait(world: World, family: int) -> Script:
    """The name of an end that closed first is taken for a while after both are gone; with SO_REUSEADDR it is free."""
    listener = sharing(world, family, "SO_REUSEADDR")
    listener.bind(world.free(family))
    listener.listen(1)
    name = listener.getsockname()
    here = world.dial(listener)
    there, _ = world.accept(listener)
    listener.close()
    yield said(world.open(family).bind, name), "EADDRINUSE"
    there.close()
    world.wait(here, 1)
    here.close()
    world.settle()
    yield said(world.open(family).bind, name), "EADDRINUSE"
    yield said(sharing(world, family, "SO_REUSEADDR").bind, name), None


@fact(*TCP)
def connect_twice_from_one_name(world: World, family: int) -> Script:
    """Two connections cannot have both names in common: connect says EADDRNOTAVAIL."""
    one, two = (sharing(world, family, "SO_REUSEADDR") for _ in range(2))
    one.bind(world.free(family))
    two.bind(one.getsockname())
    listener = world.listener(family)
    yield said(one.connect_ex, listener.getsockname()), "EINPROGRESS"
    yield said(two.connect_ex, listener.getsockname()), "EADDRNOTAVAIL"
    yield said(two.connect_ex, world.listener(family).getsockname()), "EINPROGRESS"


@fact(*TCP)
def bind_of_udp(world: World, family: int) -> Script:
    """A name of a UDP socket is refused to the next, unless both have SO_REUSEADDR."""
    one, two, three = (world.open(family, socket.SOCK_DGRAM) for _ in range(3))
    one.bind(world.free(family))
    yield said(two.bind, one.getsockname()), "EADDRINUSE"
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    yield said(two.bind, one.getsockname()), "EADDRINUSE"
    three.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    yield said(three.bind, one.getsockname()), None


@fact(*TCP)
def bind_beside_who_does_not_share(world: World, family: int) -> Script:
    """Sharing takes both: options on the second alone change nothing."""
    name = world.bound(family).getsockname()
    yield said(sharing(world, family, "SO_REUSEADDR").bind, name), "EADDRINUSE"
    yield said(sharing(world, family, "SO_REUSEPORT").bind, name), "EADDRINUSE"


@fact(*TCP, differs="macOS and the BSDs let SO_REUSEADDR bind a specific address beside the wildcard, also while it listens")
def bind_to_the_wildcard_beside_one_address(world: World, family: int) -> Script:
    """The wildcard and one address conflict on one port, either way round, and with SO_REUSEADDR while one listens."""
    port = world.bound(family).getsockname()[1]
    yield said(world.open(family).bind, (WILDCARD[family], port)), "EADDRINUSE"
    wild = world.open(family)
    wild.bind((WILDCARD[family], 0))
    port = wild.getsockname()[1]
    yield wild.getsockname()[0], WILDCARD[family]
    yield said(world.open(family).bind, (world.free(family)[0], port)), "EADDRINUSE"
    listener, late, later = (sharing(world, family, "SO_REUSEADDR") for _ in range(3))
    listener.bind((WILDCARD[family], 0))
    port = listener.getsockname()[1]
    yield said(late.bind, (world.free(family)[0], port)), None
    yield said(listener.listen, 1), None
    yield said(later.bind, (world.free(family)[0], port)), "EADDRINUSE"
    yield said(late.listen, 1), "EADDRINUSE"


@fact()
def bind_to_two_addresses(world: World) -> Script:
    """Two addresses of one host have their ports to themselves."""
    port = world.port()
    yield said(world.open().bind, ("127.0.0.1", port)), None
    yield said(world.open().bind, ("127.0.0.2", port)), None


@fact()
def bind_of_a_dual_stack_wildcard(world: World) -> Script:
    """An IPv6 wildcard that speaks IPv4 too has the IPv4 port as well."""
    dual = world.open(INET6)
    dual.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    dual.bind(("::", 0))
    port = dual.getsockname()[1]
    yield said(world.open().bind, ("0.0.0.0", port)), "EADDRINUSE"
    yield said(world.open().bind, ("127.0.0.1", port)), "EADDRINUSE"


@fact()
def bind_of_a_v6only_wildcard(world: World) -> Script:
    """An IPv6 wildcard that speaks IPv6 alone leaves the IPv4 port to others."""
    only = world.open(INET6)
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    port = world.port()
    yield said(only.bind, ("::", port)), None
    yield said(world.open().bind, ("0.0.0.0", port)), None
    yield said(only.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0), "EINVAL"


@fact()
def bind_of_a_v6_address_leaves_v4(world: World) -> Script:
    """One IPv6 address leaves the IPv4 port to others, in either mode."""
    port = world.port()
    yield said(world.open(INET6).bind, ("::1", port)), None
    yield said(world.open().bind, ("127.0.0.1", port)), None


@fact()
def bind_to_a_mapped_address(world: World) -> Script:
    """An IPv6 socket takes a mapped IPv4 address, and its IPv4 port with it, unless it is to speak IPv6 alone: EINVAL."""
    port = world.port()
    both, only = world.open(INET6), world.open(INET6)
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    yield said(only.bind, ("::ffff:127.0.0.1", port)), "EINVAL"
    yield said(both.bind, ("::ffff:127.0.0.1", port)), None
    yield said(both.getsockname), ("::ffff:127.0.0.1", port, 0, 0)
    yield said(world.open().bind, ("127.0.0.1", port)), "EADDRINUSE"
    yield said(world.open(INET6).bind, ("::1", port)), None


@fact()
def bind_to_an_address_of_nobody(world: World) -> Script:
    """An address that no interface has is refused."""
    yield said(world.open().bind, ("203.0.113.7", 0)), "EADDRNOTAVAIL"
    yield said(world.open(INET6).bind, ("2001:db8::7", 0)), "EADDRNOTAVAIL"
    yield said(world.open(INET, socket.SOCK_DGRAM).bind, ("203.0.113.7", 0)), "EADDRNOTAVAIL"


@fact()
def tcp_and_udp_ports_are_two(world: World) -> Script:
    """A port of TCP and the same port of UDP have nothing to do with each other."""
    name = ("127.0.0.1", world.port())
    yield said(world.open().bind, name), None
    yield said(world.open(INET, socket.SOCK_DGRAM).bind, name), None


@fact(*TCP)
def listen_without_bind(world: World, family: int) -> Script:
    """Listening without a name takes the wildcard and a free port."""
    sock = world.open(family)
    yield said(sock.listen, 1), None
    yield sock.getsockname()[0], WILDCARD[family]
    yield sock.getsockname()[1] > 0, True


@fact()
def listen_without_bind_on_unix(world: World) -> Script:
    """A Unix socket without a name cannot listen."""
    yield said(world.open(UNIX).listen, 1), "EINVAL"


@fact(INET, INET6, UNIX)
def listen_twice(world: World, family: int) -> Script:
    """Listening again changes the backlog and nothing else; a negative one counts as 0 in Python."""
    listener = world.listener(family)
    yield said(listener.listen, 5), None
    yield said(listener.listen, -1), None
    yield said(listener.listen), None


@fact()
def listen_on_udp(world: World) -> Script:
    """A datagram socket cannot listen."""
    yield said(world.bound(INET, socket.SOCK_DGRAM).listen, 1), "EOPNOTSUPP"


@fact()
def unix_file_that_exists(world: World) -> Script:
    """A path at which anything is, a dead socket too, is taken until it is unlinked."""
    one = world.bound(UNIX)
    name = one.getsockname()
    yield said(world.open(UNIX).bind, name), "EADDRINUSE"
    one.close()
    yield said(world.open(UNIX).bind, name), "EADDRINUSE"
    world.unlink(name)
    yield said(world.open(UNIX).bind, name), None


@fact(simulated="a simulated host has every directory")
def bind_in_no_directory(world: World) -> Script:
    """A path in a directory that is not there is refused."""
    yield said(world.open(UNIX).bind, world.free(UNIX) + "/none/here"), "ENOENT"


@fact(differs="Linux alone has abstract names")
def abstract_names(world: World) -> Script:
    """An abstract name is told in bytes, lives as long as its socket, and leaves no file."""
    name = b"\0fidelity-abstract"
    one, two = world.open(UNIX), world.open(UNIX)
    yield said(one.bind, name), None
    yield said(one.getsockname), name
    yield said(two.bind, name.decode()), "EADDRINUSE"
    one.listen(1)
    sock = world.open(UNIX)
    yield said(sock.connect_ex, name), 0
    yield said(sock.getpeername), name
    one.close()
    yield said(two.bind, name.decode()), None


@fact(differs="Linux alone has this")
def autobind(world: World) -> Script:
    """Binding to the empty path gives a Unix socket an abstract name of five hexadecimal digits: unix(7)."""
    sock = world.open(UNIX)
    yield said(sock.bind, ""), None
    yield (sock.getsockname()[:1], len(sock.getsockname())), (b"\0", 6)


@fact()
def unix_names(world: World) -> Script:
    """A Unix client has no name unless it binds one; the accepted end has the listener's."""
    listener = world.listener(UNIX)
    path = listener.getsockname()
    here = world.dial(listener)
    there, peer = world.accept(listener)
    yield peer, ""
    yield (here.getsockname(), here.getpeername()), ("", path)
    yield (there.getsockname(), there.getpeername()), (path, "")
    named = world.bound(UNIX)
    yield said(named.connect_ex, path), 0
    _, peer = world.accept(listener)
    yield peer, named.getsockname()


@fact()
def names_of_the_dead(world: World) -> Script:
    """A TCP end keeps its own name after the peer's end; the peer's is told while the connection stands."""
    here, there = world.pair()
    name, peer = here.getsockname(), here.getpeername()
    there.close()
    world.wait(here, 1)
    yield here.getsockname(), name
    yield here.getpeername(), peer
    here.shutdown(socket.SHUT_WR)
    world.settle()
    yield here.getsockname(), name
    yield said(here.getpeername), "ENOTCONN"

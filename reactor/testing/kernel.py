"""The kernel of one simulated host: its descriptors, ports, socket files and names, and what all ends of sockets share.

What the numbers mean is Linux's: `tests/test_fidelity.py` asks both. An `End` is what a descriptor refers to; it may outlive
its descriptor, as a connection that still has to send does.
"""

from __future__ import annotations

import abc
import errno
import ipaddress
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from reactor.testing.simulation import Simulation

# poll(2); the numbers are Linux's, whatever the platform.
IN = 0x001
OUT = 0x004
ERR = 0x008
HUP = 0x010
NVAL = 0x020
RDHUP = 0x2000

IPV4_ANY, IPV6_ANY = "0.0.0.0", "::"
LOOPBACK: Mapping[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
#: Interfaces of every host.
INTERFACES = {"lo": 1, "eth0": 2}

#: Of the options of SOL_SOCKET, Linux's numbers end about here; those of BSD and Windows are other ones.
_OPTION_MAX = 0xFF if os.name == "posix" and socket.SOL_SOCKET == 1 else 0xFFFF
#: How long a name stays taken whose end closed first.  # Linux, TCP_TIMEWAIT_LEN
TIME_WAIT_SECONDS = 60.0

_FIRST_DESCRIPTOR = 3
_REUSE_PORT = getattr(socket, "SO_REUSEPORT", -1)


def failure(number: int) -> OSError:
    """Return the `OSError` of errno *number*."""
    return OSError(number, os.strerror(number))


def unmapped(host: str) -> str:
    """Return the IPv4 address that an IPv4-mapped IPv6 address stands for; others as they are."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def is_ipv6(host: str) -> bool:
    """Tell which family a numeric address is of."""
    return ":" in host


@attrs.define(eq=False)
class End(abc.ABC):
    """What a socket is in the kernel. The calls raise `OSError`; `BlockingIOError` where a blocking socket would wait."""

    kernel: Kernel = attrs.field(repr=False)
    family: int
    type: int
    #: What SO_ERROR would tell, once: sk_err.
    error: int = attrs.field(default=0, init=False)
    #: Whether the incoming, and the outgoing half, are shut: RCV_SHUTDOWN, SEND_SHUTDOWN.
    read_shut: bool = attrs.field(default=False, init=False)
    write_shut: bool = attrs.field(default=False, init=False)
    is_closed: bool = attrs.field(default=False, init=False)
    options: dict[tuple[int, int], Any] = attrs.field(factory=dict, init=False, repr=False)
    send_buffer: int = attrs.field(init=False, repr=False)
    receive_buffer: int = attrs.field(init=False, repr=False)
    #: Called with nothing when something may have become ready.
    watchers: dict[Callable[[], None], None] = attrs.field(factory=dict, init=False, repr=False)
    #: For how many calls more it says EAGAIN, by fault.
    storm: int = attrs.field(default=0, init=False, repr=False)
    #: The descriptor, while there is one.
    fd: int = attrs.field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        network = self.kernel.sim.network
        self.send_buffer, self.receive_buffer = network.send_buffer, network.receive_buffer

    # What differs

    @abc.abstractmethod
    def poll(self) -> int:
        """Tell which events are there, as the system call of that name does."""

    @abc.abstractmethod
    def release(self) -> None:
        """The last descriptor is closed."""

    @abc.abstractmethod
    def bind(self, address: Any) -> None:
        """Take a name."""

    def listen(self, backlog: int) -> None:
        """Take connections from now on."""
        raise failure(errno.EOPNOTSUPP)

    @abc.abstractmethod
    def connect(self, address: Any) -> int:
        """Begin to have *address* for a peer; return the errno, or 0."""

    def accept(self) -> tuple[End, Any]:
        """Return the next connection's end, and its peer's address."""
        raise failure(errno.EOPNOTSUPP)

    @abc.abstractmethod
    def send(self, data: bytes, address: Any = None) -> int:
        """Return how many bytes sendto(2) takes."""

    @abc.abstractmethod
    def receive(self, size: int, *, peek: bool = False) -> tuple[bytes, Any]:
        """Return the bytes that recvfrom(2) gives, and for datagrams the sender."""

    @abc.abstractmethod
    def shutdown(self, *, read: bool, write: bool) -> None:
        """End a direction, or both."""

    @abc.abstractmethod
    def name(self) -> Any:
        """Return the own address: getsockname(2)."""

    @abc.abstractmethod
    def peer_name(self) -> Any:
        """Return the peer's address: getpeername(2)."""

    # What does not

    @property
    def is_listening(self) -> bool:
        """What SO_ACCEPTCONN tells."""
        return False

    @property
    def takes_for_sure(self) -> bool:
        """Whether EAGAIN from `send` would be a lie that no kernel tells."""
        return False

    def touch(self) -> None:
        """Have everybody who watches look again."""
        for watcher in self.watchers:
            watcher()

    def take_error(self) -> int:
        """Return the pending error and forget it, as SO_ERROR does."""
        number, self.error = self.error, 0
        return number

    def option(self, level: int, name: int) -> int:
        """getsockopt(2), for a number."""
        if level == socket.SOL_SOCKET:
            if name == socket.SO_ERROR:
                return self.take_error()
            known = {
                socket.SO_TYPE: self.type,
                getattr(socket, "SO_DOMAIN", -1): int(self.family),
                getattr(socket, "SO_ACCEPTCONN", -2): int(self.is_listening),
                socket.SO_SNDBUF: self.send_buffer,
                socket.SO_RCVBUF: self.receive_buffer,
            }
            if name in known:
                return known[name]
        self._check_option(level, name)
        value = self.options.get((level, name), 0)
        return value if isinstance(value, int) else int.from_bytes(value[:4], "little")

    def set_option(self, level: int, name: int, value: Any) -> None:
        """setsockopt(2)."""
        if level == socket.SOL_SOCKET and name == socket.SO_SNDBUF:
            self.send_buffer = max(2 * value, 4608)  # socket(7): doubled; the least that Linux grants
        elif level == socket.SOL_SOCKET and name == socket.SO_RCVBUF:
            self.receive_buffer = max(2 * value, 2304)
        elif level == socket.SOL_SOCKET and name in (
            socket.SO_REUSEADDR,
            socket.SO_KEEPALIVE,
            _REUSE_PORT,
        ):
            self.options[level, name] = int(bool(value))
        else:
            self._check_option(level, name)
            is_switch = (level, name) == (socket.IPPROTO_TCP, socket.TCP_NODELAY)
            self.options[level, name] = int(bool(value)) if is_switch else value

    def _check_option(self, level: int, name: int) -> None:
        if level == socket.IPPROTO_TCP and self.family == getattr(socket, "AF_UNIX", -1):
            raise failure(errno.EOPNOTSUPP)
        if level == socket.SOL_SOCKET and (name == socket.SO_ERROR or name > _OPTION_MAX):
            raise failure(errno.ENOPROTOOPT)

    @property
    def lingers_zero(self) -> bool:
        """Whether close(2) shall reset: SO_LINGER, on, 0 seconds."""
        value = self.options.get((socket.SOL_SOCKET, socket.SO_LINGER), b"")
        return isinstance(value, bytes) and value[:4] == b"\1\0\0\0" and not any(value[4:8])

    def flag(self, level: int, name: int) -> bool:
        """Whether an option is set."""
        return bool(self.options.get((level, name), 0))


@attrs.define(eq=False)
class Kernel:
    """One host's."""

    sim: Simulation = attrs.field(repr=False)
    host: str
    #: The host's own addresses, by family.
    addresses: Mapping[int, str]
    descriptors_max: int
    files: dict[int, Any] = attrs.field(factory=dict, init=False, repr=False)
    _free: list[int] = attrs.field(factory=list, init=False, repr=False)
    _next: int = attrs.field(default=_FIRST_DESCRIPTOR, init=False)
    #: Who is bound to a port, by type of socket and number.
    ports: dict[tuple[int, int], list[Any]] = attrs.field(factory=dict, init=False, repr=False)
    #: Names that connections have beside those that are bound, by type of socket and port.
    taken: dict[tuple[int, int], dict[Any, None]] = attrs.field(factory=dict, init=False, repr=False)
    #: Whose connection is over and who keeps the name, and until when; in this order.
    _waiting: deque[tuple[float, Any]] = attrs.field(factory=deque, init=False, repr=False)
    #: Socket files and abstract names, each with its number and who is bound to it.
    paths: dict[str | bytes, tuple[int, Any]] = attrs.field(factory=dict, init=False, repr=False)
    _inode: int = attrs.field(default=1, init=False)
    #: How often anything has moved: bytes, connections, ends. A pass that is told of readiness has to change it.
    progress: int = attrs.field(default=0, init=False)
    #: How many descriptors have been closed.
    closes: int = attrs.field(default=0, init=False)
    #: How much of that is selectors being told of something.
    registrations: int = attrs.field(default=0, init=False)

    # Descriptors

    def check_room(self, count: int = 1) -> None:
        """Raise EMFILE if not so many descriptors are free."""
        if len(self.files) + count > self.descriptors_max:
            raise failure(errno.EMFILE)

    def open(self, file: Any) -> int:
        """Return the lowest free number, which now names *file*."""
        self.check_room()
        if self._free:
            fd = heappop(self._free)
        else:
            fd, self._next = self._next, self._next + 1
        self.files[fd] = file
        return fd

    def close(self, fd: int) -> None:
        """Close the descriptor; an `End` that it named is released."""
        file = self.files.pop(fd)
        self.closes += 1
        heappush(self._free, fd)
        self.progress += 1
        file.release()

    def registered(self) -> None:
        """A selector was told of something."""
        self.progress += 1
        self.registrations += 1

    # Names and addresses

    def is_own(self, host: str) -> bool:
        """Tell whether a numeric address is this host's."""
        return host in self.addresses.values() or host == "::1" or host.startswith("127.")

    def own_address(self, target: str) -> str:
        """Return this host's address in the family of *target*."""
        return self.addresses[int(socket.AF_INET6 if is_ipv6(target) else socket.AF_INET)]

    def lookup(self, host: str, family: int) -> str:
        """Return the numeric address of *family* that a socket call takes *host* for.

        Raises:
            OSError: `socket.gaierror`.
            UnicodeError: *host* is no name by the rules of IDNA.
        """
        if host == "":
            return IPV6_ANY if family == socket.AF_INET6 else IPV4_ANY
        try:
            found = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            host.encode("idna")  # as the stdlib does: a label may be too long
            for found_family, found_host in self.sim.names_of(host, self):
                if found_family == family:
                    return found_host
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
        if (found.version == 6) != (family == socket.AF_INET6):
            raise socket.gaierror(getattr(socket, "EAI_ADDRFAMILY", -9), "Address family for hostname not supported")
        return str(found) if getattr(found, "ipv4_mapped", None) is None else f"::ffff:{found.ipv4_mapped}"  # type: ignore[union-attr]

    # Ports

    def bind_port(self, end: Any, host: str, port: int) -> int:
        """Enter *end* as bound to *host* and *port*, 0 for any free one; return the port."""
        if not port:
            low, high = self.sim.network.ephemeral_ports
            start, count = self.sim.ports.below(high - low + 1), high - low + 1
            for step in range(count):
                port = low + (start + step) % count
                if not self._is_taken(end, host, port):
                    break
            else:
                raise failure(errno.EADDRINUSE)
        elif self._is_taken(end, host, port):
            raise failure(errno.EADDRINUSE)
        self.ports.setdefault((end.type, port), []).append(end)
        return port

    def take_name(self, end: Any) -> None:
        """Have the name of *end*, a connection, be taken."""
        self.taken.setdefault((end.type, end.port), {})[end] = None

    def free_name(self, end: Any) -> None:
        """Have it be free again, unless it is bound."""
        key = (end.type, end.port)
        if key in self.taken:
            self.taken[key].pop(end, None)
            if not self.taken[key]:
                del self.taken[key]

    def wait_with_name(self, end: Any) -> None:
        """Have the name of *end*, whose connection is over, be taken for a while: TIME_WAIT."""
        self._free_old_names()
        self.take_name(end)
        self._waiting.append((self.sim.now + TIME_WAIT_SECONDS, end))

    def _free_old_names(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.sim.now:
            self.free_name(self._waiting.popleft()[1])

    def _is_taken(self, end: Any, host: str, port: int) -> bool:
        """Whether a socket or a connection has the name that *end* wants."""
        self._free_old_names()
        key = (end.type, port)
        if end.type == socket.SOCK_STREAM:
            others = (*self.ports.get(key, ()), *self.taken.get(key, ()))
            return any(self._conflicts(end, host, other, listening=False) for other in others)
        # udp_lib_lport_inuse: the latest is asked first, and if he shares the port nobody else is asked.
        for other in reversed(self.ports.get(key, ())):
            if _overlap(host, end, other) and not _both(end, other, socket.SO_REUSEADDR):
                return not _both(end, other, _REUSE_PORT)
        return False

    def check_listen(self, end: Any) -> None:
        """Raise EADDRINUSE if somebody else listens where *end* wants to."""
        others = self.ports.get((end.type, end.port), ())
        if any(
            other is not end and other.is_listening and self._conflicts(end, end.host, other, listening=True)
            for other in others
        ):
            raise failure(errno.EADDRINUSE)

    def leave_port(self, end: Any) -> None:
        """Forget that *end* is bound."""
        bound = self.ports.get((end.type, end.port), [])
        if end in bound:
            bound.remove(end)
            if not bound:
                del self.ports[end.type, end.port]

    def bound_to(self, kind: int, host: str, port: int) -> Iterator[Any]:
        """Iterate over those who are bound so that what is sent to *host* and *port* reaches them; the exact ones first."""
        ends = [end for end in self.ports.get((kind, port), ()) if end.covers(host)]
        yield from sorted(ends, key=lambda end: end.host in (IPV4_ANY, IPV6_ANY))

    def _conflicts(self, end: Any, host: str, other: Any, *, listening: bool) -> bool:
        """Whether two TCP sockets cannot both be bound: socket(7), SO_REUSEADDR and SO_REUSEPORT."""
        if not _overlap(host, end, other) or _both(end, other, _REUSE_PORT):
            return False
        return listening or other.is_listening or not _both(end, other, socket.SO_REUSEADDR)

    # Socket files

    def next_name(self) -> int:
        """Return the number of a name that nobody has chosen."""
        self._inode += 1
        return self._inode

    def bind_path(self, path: str | bytes, end: Any) -> None:
        """Make the file, or the abstract name, of a Unix socket."""
        self.paths[path] = (self.next_name(), end)


def _both(one: End, other: End, option: int) -> bool:
    """Whether an option of SOL_SOCKET is set on both."""
    return one.flag(socket.SOL_SOCKET, option) and other.flag(socket.SOL_SOCKET, option)


def _overlap(host: str, end: Any, other: Any) -> bool:
    """Whether an address of *end*, which is to be *host*, could be meant for *other* too."""
    mine, theirs = unmapped(host), unmapped(other.host)
    if mine == theirs:
        return True
    if IPV6_ANY in (mine, theirs):
        wide, narrow = (end, theirs) if mine == IPV6_ANY else (other, mine)
        return is_ipv6(narrow) or not wide.is_v6_only
    return IPV4_ANY in (mine, theirs) and not is_ipv6(mine) and not is_ipv6(theirs)

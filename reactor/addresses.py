"""Addresses as people write them, as programs compare them and as logs show them. Pure: nothing is looked up here.

Everywhere an address is taken, these are: `"host:port"`, `":port"` (every interface), `"[::1]:80"`,
`"unix:/run/x.sock"`, `"unix:@abstract"`, `(host, port)`, a `pathlib.Path`, an `Inet` or a `Unix`.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from os import PathLike, fsdecode, fsencode
from typing import Any, TypeAlias

import attrs

from reactor.errors import AddressError

IPV4_MAPPED = "::ffff:"
#: Octets of a name with the final dot, and of what stands between its dots: RFC 1035, 2.3.4.
HOST_NAME_MAX = 254
LABEL_MAX = 63


@attrs.frozen
class Inet:
    """A TCP address: `host` is a numeric address, a name, or "" for every interface."""

    host: str
    port: int
    #: IPv6 flow label (RFC 6437).
    flow: int = 0
    #: IPv6 scope: an interface's number (RFC 4007); a name stays in `host`, behind a `%`.
    scope: int = 0

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6 for a numeric host, AF_UNSPEC for a name and for every interface."""
        return numeric_family(self.host)

    def __str__(self) -> str:
        if ":" not in self.host:
            return f"{self.host}:{self.port}"
        zone = f"%{self.scope}" if self.scope and "%" not in self.host else ""
        return f"[{self.host}{zone}]:{self.port}"


@attrs.frozen
class Unix:
    """The address of a Unix socket: a path, or a name in Linux's abstract namespace; "" for an unnamed socket."""

    path: str
    abstract: bool = False

    @property
    def family(self) -> int:
        """AF_UNIX.

        Raises:
            AddressError: this platform has no Unix sockets.
        """
        try:
            return socket.AF_UNIX
        except AttributeError:
            raise AddressError(f"this platform has no Unix sockets: {self}") from None

    def __str__(self) -> str:
        return f"unix:{'@' if self.abstract else ''}{self.path}"


Address: TypeAlias = Inet | Unix
AddressLike: TypeAlias = "str | tuple[Any, ...] | PathLike[str] | Inet | Unix"


def parse(address: AddressLike) -> Address:
    """Return *address* as an `Inet` or a `Unix`.

    Raises:
        AddressError: it does not parse; the message says what would.
    """
    if isinstance(address, Inet):
        return inet(address.host, address.port, address.flow, address.scope)
    if isinstance(address, Unix):
        return unix(("@" if address.abstract else "") + address.path)
    if isinstance(address, str):
        return parse_text(address)
    if isinstance(address, tuple):
        if 2 <= len(address) <= 4:
            return inet(*address)
        raise AddressError(f"a tuple address is (host, port) or (host, port, flow, scope), not {address!r}")
    if isinstance(address, PathLike):
        return unix(fsdecode(address))
    raise AddressError(f"an address is 'host:port', ':port', 'unix:/path', (host, port) or a pathlib.Path, not {address!r}")


def parse_text(text: str) -> Address:
    """Return the address that *text* writes."""
    if text.startswith("unix:"):
        return unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        raise AddressError(f"{text!r} has no port; write '{text}:80', or 'unix:{text}' for a Unix socket")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if numeric_family(host) != socket.AF_INET6:
            raise AddressError(f"{text!r}: what stands in brackets is an IPv6 address, and {host!r} is none")
    elif ":" in host:
        raise AddressError(f"{text!r} is ambiguous; put an IPv6 address in brackets: '[::1]:80'")
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise AddressError(f"{text!r}: a port is a number from 0 to 65535, not {port!r}")
    return inet(host, int(port))


def inet(host: object, port: object, flow: int = 0, scope: int = 0) -> Inet:
    """Return a checked `Inet`; None as the host means every interface."""
    if host is None:
        host = ""
    if not isinstance(host, str) or "\0" in host or (host and host.split() != [host]):
        raise AddressError(f"a host is a name or a numeric address, not {host!r}")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise AddressError(f"a port is a number from 0 to 65535, not {port!r}")
    if type(flow) is not int or type(scope) is not int or flow or scope:  # IPv4 has neither
        for name, value, most in (("flow label", flow, 0xFFFFF), ("scope", scope, 0xFFFFFFFF)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
                raise AddressError(f"a {name} is a number from 0 to {most}, not {value!r}")
    return Inet(host, port, flow, scope)


def unix(path: str) -> Unix:
    """Return a checked `Unix`; a leading `@` or NUL means the abstract namespace."""
    abstract = path.startswith(("@", "\0"))
    name = path[1:] if abstract else path
    if not name or (not abstract and "\0" in name):
        raise AddressError(f"a Unix socket needs a path or an @name, not {path!r}")
    return Unix(name, abstract)


def host_name(name: str) -> str:
    """Return *name* as resolvers and proxies take it: ASCII, by IDNA where it is not (RFC 3490).

    Raises:
        AddressError: it cannot be a host's name: a label is empty or longer than 63 octets (RFC 1035, 2.3.4), or has
            characters that no name has.
    """
    try:
        ascii_name = name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise AddressError(f"{name!r} is no host name: {error.__cause__ or error}") from error
    labels = ascii_name.removesuffix(".").split(".")
    if len(ascii_name) > HOST_NAME_MAX or not all(0 < len(label) <= LABEL_MAX for label in labels):
        raise AddressError(f"{name!r} is no host name: a part between its dots is empty or too long")
    return ascii_name


@lru_cache(1024)  # asked several times on the way to each connection
def numeric_family(host: str) -> int:
    """Return AF_INET or AF_INET6 if *host* is a numeric address, AF_UNSPEC otherwise."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):
        return socket.AF_UNSPEC
    return family


def from_kernel(family: int, raw: Any) -> Address:
    """Return what the kernel says, as `accept`, `getsockname` and `getpeername` give it, as an address.

    An IPv4 peer of a dual-stack socket (`::ffff:192.0.2.1`, RFC 4291 section 2.5.5.2) is shown as what it is: IPv4.
    """
    if family == socket.AF_INET:
        return Inet(*raw)
    if family == socket.AF_INET6:
        host, port, flow, scope = (*raw, 0, 0)[:4]
        if host.startswith(IPV4_MAPPED) and "." in host:
            host = host.removeprefix(IPV4_MAPPED)
        return Inet(host.partition("%")[0], port, flow, scope)
    name = fsdecode(raw or b"") if isinstance(raw, (bytes, str)) else ""
    return Unix(name[1:], abstract=True) if name.startswith("\0") else Unix(name)


def to_kernel(address: Address) -> Any:
    """Return *address*, whose host is numeric or empty, as `bind` and `connect` take it."""
    if isinstance(address, Unix):
        return b"\0" + fsencode(address.path) if address.abstract else address.path
    if address.family == socket.AF_INET6:
        return (address.host, address.port, address.flow, address.scope)
    return (address.host, address.port)


#: What `reactor` calls it.
parse_address = parse

"""What TCP and UDP sockets share: addresses, binding, and whether there is a way."""

from __future__ import annotations

import errno
import socket
from typing import Any

import attrs

from reactor.testing.kernel import IPV4_ANY, IPV6_ANY, LOOPBACK, End, failure, is_ipv6, unmapped

#: ip(7), IP_BIND_ADDRESS_NO_PORT, which Python has from 3.12 on.
BIND_ADDRESS_NO_PORT = 24


@attrs.define(eq=False)
class InetEnd(End):
    """An end with a host and a port."""

    host: str = attrs.field(default="", init=False)  # "": not bound
    port: int = attrs.field(default=0, init=False)
    peer: tuple[str, int] | None = attrs.field(default=None, init=False)

    def bind(self, address: Any) -> None:
        host, port = self.resolve(address)
        if self.port:
            raise failure(errno.EINVAL)
        if host != unmapped(host) and self.is_v6_only:
            raise failure(errno.EINVAL)
        if host not in (IPV4_ANY, IPV6_ANY) and not self.kernel.is_own(unmapped(host)):
            raise failure(errno.EADDRNOTAVAIL)
        if port or not self.flag(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT):
            self.occupy(host, port)
        else:
            self.host = host  # the port comes with connect or listen

    def name(self) -> Any:
        return self.shown((self.host or self.wildcard, self.port))

    @property
    def is_v6_only(self) -> bool:
        """IPV6_V6ONLY."""
        return self.family == socket.AF_INET6 and self.flag(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    @property
    def wildcard(self) -> str:
        """Every interface, in this socket's family."""
        return IPV6_ANY if self.family == socket.AF_INET6 else IPV4_ANY

    def covers(self, host: str) -> bool:
        """Tell whether what is sent to *host*, an address of this machine, is for this end."""
        if unmapped(self.host) == host:
            return True
        if is_ipv6(host):
            return self.host == IPV6_ANY
        return self.host == IPV4_ANY or (self.host == IPV6_ANY and not self.is_v6_only)

    def shown(self, name: tuple[str, int]) -> Any:
        """An address as this socket's family has it."""
        host, port = name
        if self.family != socket.AF_INET6:
            return (host, port)
        return (host if is_ipv6(host) else f"::ffff:{host}", port, 0, 0)

    def occupy(self, host: str, port: int) -> None:
        """Bind, now that the address has been checked."""
        self.port = self.kernel.bind_port(self, host, port)
        self.host = host

    def resolve(self, address: Any) -> tuple[str, int]:
        """Return numeric host, and port: what Python makes of an address before it asks the kernel."""
        name, port = checked(address)
        return self.kernel.lookup(name, self.family), port

    def aim(self, address: Any) -> tuple[str, int]:
        """Return whom *address* means, and be bound to the address from which there is a way.

        Raises:
            OSError: there is none.
        """
        target, port = self.resolve(address)
        if target in (IPV4_ANY, IPV6_ANY):
            target = LOOPBACK[self.family]
        here = unmapped(target)
        if here != target and self.is_v6_only:
            raise failure(errno.ENETUNREACH)
        if (
            not self.kernel.is_own(here)
            and self.kernel.sim.kernel_at(here) is None
            and not self.kernel.sim.is_neighbour(here)
        ):
            raise failure(errno.ENETUNREACH)
        source = here if self.kernel.is_own(here) else self.kernel.own_address(here)
        if is_ipv6(target) and not is_ipv6(source):
            source = f"::ffff:{source}"
        if not self.port:
            self.occupy(source if self.host in ("", self.wildcard) else self.host, 0)
        elif self.host == self.wildcard:
            self.host = source
        return target, port

    def set_option(self, level: int, name: int, value: Any) -> None:
        if level == socket.IPPROTO_IPV6 and self.family != socket.AF_INET6:
            raise failure(errno.ENOPROTOOPT)
        if (level, name) == (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) and self.port:
            raise failure(errno.EINVAL)
        super().set_option(level, name, value)


def checked(address: Any) -> tuple[str, int]:
    """Return host and port, as Python takes them from a socket address.

    Raises:
        TypeError: it is no tuple.
        OverflowError: no port.
    """
    if not isinstance(address, tuple):
        raise TypeError(f"an internet address is a tuple, not {type(address).__name__}")
    if not 0 <= address[1] <= 65535:
        raise OverflowError("port must be 0-65535.")
    return address[0], address[1]

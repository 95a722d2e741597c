"""A stand-in for the module `socket`: for code, tests most of all, that makes its sockets by itself.

What it does not have is the real module's: constants, exceptions, functions that ask nobody.
"""

from __future__ import annotations

import errno
import socket as real
from typing import TYPE_CHECKING, Any

from reactor.testing.kernel import End, failure
from reactor.testing.sockets import SimulatedSocket, make_end, make_pair

if TYPE_CHECKING:
    from reactor.testing.simulation import Host


class SocketModule:
    """What `Host.sockets` is: its functions make simulated sockets of that host, which block as the real ones do."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(real, name)

    def socket(
        self, family: int = real.AF_INET, type: int = real.SOCK_STREAM, proto: int = 0, fileno: int | None = None
    ) -> SimulatedSocket:
        """Like `socket.socket`; *fileno* is a simulated descriptor that was detached."""
        if fileno is not None:
            end = self._host.kernel.files.get(fileno)
            if not isinstance(end, End):
                raise failure(errno.EBADF if end is None else errno.ENOTSOCK)
            return SimulatedSocket(self._host, end, real.getdefaulttimeout())
        return SimulatedSocket(self._host, make_end(self._host, family, type), real.getdefaulttimeout())

    def socketpair(
        self, family: int = getattr(real, "AF_UNIX", 1), type: int = real.SOCK_STREAM, proto: int = 0
    ) -> tuple[SimulatedSocket, SimulatedSocket]:
        """Like `socket.socketpair`: Unix sockets."""
        if family != getattr(real, "AF_UNIX", 1):
            raise failure(errno.EOPNOTSUPP)
        return make_pair(self._host, type, real.getdefaulttimeout())

    def create_connection(
        self, address: tuple[str, int], timeout: float | None = None, source_address: Any = None
    ) -> SimulatedSocket:
        """Like `socket.create_connection`, to the first address that answers."""
        failed: OSError | None = None
        for family, raw in self._host.getaddrinfo(address[0], address[1]):
            sock = self.socket(family)
            try:
                sock.settimeout(timeout)
                if source_address is not None:
                    sock.bind(source_address)
                sock.connect(raw)
            except OSError as error:
                sock.close()
                failed = error
            else:
                return sock
        assert failed is not None
        raise failed

    def create_server(
        self,
        address: Any,
        *,
        family: int = real.AF_INET,
        backlog: int | None = None,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> SimulatedSocket:
        """Like `socket.create_server`."""
        if dualstack_ipv6 and family != real.AF_INET6:
            raise ValueError("dualstack_ipv6 requires AF_INET6 family")
        sock = self.socket(family)
        try:
            sock.setsockopt(real.SOL_SOCKET, real.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(real.SOL_SOCKET, real.SO_REUSEPORT, 1)
            if family == real.AF_INET6:
                sock.setsockopt(real.IPPROTO_IPV6, real.IPV6_V6ONLY, int(not dualstack_ipv6))
            sock.bind(address)
            sock.listen(128 if backlog is None else backlog)
        except OSError:
            sock.close()
            raise
        return sock

    def getaddrinfo(self, host: str | None, port: Any, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        """Like `socket.getaddrinfo`, for streams."""
        return [(family, real.SOCK_STREAM, 6, "", raw) for family, raw in self._host.getaddrinfo(host, port)]

    def if_nametoindex(self, name: str) -> int:
        """Like `socket.if_nametoindex`."""
        return self._host.if_index(name)

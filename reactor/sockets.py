"""Sockets that are to connect, or to be connected to: options set on them, under names that differ between platforms.

What is set here stays for the connection's life. Who connects is not known here; the caller owns the socket.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING

from reactor.addresses import Inet

if TYPE_CHECKING:
    from reactor.options import ConnectOptions, Keepalive, SocketOptions
    from reactor.system import System

#: ip(7): choose the port when connecting, so that it need be free for this one target only. Python names it from 3.12 on.
_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24 if sys.platform == "linux" else None)
#: macOS calls TCP_KEEPIDLE TCP_KEEPALIVE; Windows has all three from Windows 10 on.
_KEEPALIVE = tuple(
    (field, getattr(socket, next((name for name in names if hasattr(socket, name)), ""), None))
    for field, names in (
        ("idle", ("TCP_KEEPIDLE", "TCP_KEEPALIVE")),
        ("interval", ("TCP_KEEPINTVL",)),
        ("count", ("TCP_KEEPCNT",)),
    )
)


def prepare(system: System, sock: socket.socket, family: int, options: ConnectOptions) -> None:
    """Make *sock* ready to connect to an address of *family*; a Unix socket has nothing to be set.

    Raises:
        OSError: an option cannot be set, or the local address cannot be had.
    """
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    dress(sock, options)
    if options.local:
        _bind(system, sock, family, options.local)


def dress(sock: socket.socket, options: SocketOptions) -> None:
    """Set on a TCP socket what *options* say; those that a listening one accepts inherit it.

    Raises:
        OSError: the kernel refuses.
    """
    if options.nodelay:
        set_nodelay(sock)
    try:
        if options.keepalive is not None:
            _keep_alive(sock, options.keepalive)
        if options.user_timeout is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(options.user_timeout * 1000)))
        if options.notsent_lowat is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, options.notsent_lowat)
        if options.send_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
        if options.receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)
    except OSError as error:
        raise OSError(error.errno, f"cannot set socket options: {error.strerror}") from error


def set_nodelay(sock: socket.socket) -> None:
    """Have small writes go out at once, if *sock* is of TCP and its peer is not gone already (EINVAL on macOS)."""
    try:  # noqa: SIM105  # a context manager would cost more than the call
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        pass


def _keep_alive(sock: socket.socket, keepalive: Keepalive) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for field, option in _KEEPALIVE:
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, getattr(keepalive, field))


def _bind(system: System, sock: socket.socket, family: int, addresses: tuple[Inet, ...]) -> None:
    local = next((each for each in addresses if each.family == family), None)
    if local is None:
        name = "IPv6" if family == socket.AF_INET6 else "IPv4"
        raise OSError(None, f"not tried: ConnectOptions.local has no {name} address")
    if not local.port and _BIND_ADDRESS_NO_PORT is not None:
        with contextlib.suppress(OSError):  # then the port is chosen now, from fewer
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    if local.port and os.name == "posix":  # else a port that was used a minute ago is not to be had (TIME_WAIT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(system.sockaddr(local))
    except OSError as error:
        raise OSError(error.errno, f"cannot connect from {local}: {error.strerror}") from error

"""Sockets that listen: every interface on one port, Unix sockets that harm nobody else's.

Makes and binds; who accepts is not known here. The caller owns what `listen_on` returns.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from typing import Any

import attrs

from reactor.addresses import Address, AddressLike, Inet, Unix, from_kernel, parse, to_kernel
from reactor.errors import AddressError, AddressInUse, ListenError, Unsupported, UsageError
from reactor.options import ListenOptions
from reactor.sockets import dress, set_nodelay
from reactor.system import System

#: Several sockets that share one free port: how often another one is tried when somebody else has taken it.  # anyio 10
PORT_TRIES = 10
#: Some systems keep the backlog in 16 bits, and take a larger number for a small one.  # trio 0xFFFF
BACKLOG_CONNECTIONS_MAX = 0xFFFF


@attrs.define(eq=False)
class Listening:
    """One listening socket, its real address, and the file that goes with it."""

    sock: socket.socket
    address: Address
    #: Of a Unix socket's file: its absolute path, and what identifies it.
    _path: str = ""
    _file: tuple[int, int] | None = None

    def remove_file(self, system: System) -> None:
        """Remove a Unix socket's file, unless it is somebody else's by now."""
        if self._file is not None and system.socket_file(self._path) == self._file:
            with contextlib.suppress(OSError):
                system.unlink(self._path)


def listen_on(system: System, address: AddressLike | socket.socket, options: ListenOptions) -> list[Listening]:
    """Return sockets that listen on *address*: one, or one for each address that a host name has.

    Raises:
        AddressError: it does not parse.
        AddressInUse: somebody is alive there.
        ListenError: the kernel refused otherwise; `errno` says why. Nothing is left open.
        Unsupported: an option that this platform does not have.
    """
    if isinstance(address, socket.socket):
        return [_inherited(system, address)]
    target = parse(address)
    try:
        if isinstance(target, Unix):
            return [_listen_unix(system, target, options)]
        return _listen_inet(system, target, options)
    except ListenError:
        raise
    except UnicodeError as error:
        raise AddressError(f"'{target}' has no valid host name: {error}") from error
    except LookupError as error:
        raise UsageError(f"ListenOptions.owner or group: {error}") from error
    except OSError as error:
        kind = AddressInUse if error.errno == errno.EADDRINUSE else ListenError
        raise kind(error.errno, f"cannot listen on {target}: {error.strerror or error}") from error


def _inherited(system: System, sock: socket.socket) -> Listening:
    """Take a socket that is bound already; it is made to listen if it does not yet."""
    accepts = getattr(socket, "SO_ACCEPTCONN", None)
    if sock.fileno() < 0 or sock.type != socket.SOCK_STREAM:
        raise UsageError(f"a listening socket is a bound stream socket, not {sock!r}")
    sock = system.adopt(sock)
    try:
        address = from_kernel(sock.family, sock.getsockname())
        if address in (Unix(""), Inet("0.0.0.0", 0), Inet("::", 0)):
            raise UsageError(f"bind {sock!r} before it is to listen")
        if accepts is None or not sock.getsockopt(socket.SOL_SOCKET, accepts):
            sock.listen()
    except OSError as error:
        raise ListenError(error.errno, f"cannot listen on {sock!r}: {error.strerror}") from error
    sock.setblocking(False)
    set_nodelay(sock)
    return Listening(sock, address)


def _listen_inet(system: System, target: Inet, options: ListenOptions) -> list[Listening]:
    if options.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise Unsupported("ListenOptions.reuse_port: this platform has no SO_REUSEPORT")
    if target.host or not system.has_dualstack_ipv6():
        flags = socket.AI_PASSIVE | (socket.AI_NUMERICHOST if target.family else 0)
        places = system.getaddrinfo(target.host or None, target.port, flags=flags)
        dual = False
    else:
        places, dual = [(socket.AF_INET6, to_kernel(Inet("::", target.port)))], True
    tries = PORT_TRIES if target.port == 0 and len(places) > 1 else 1
    for left in reversed(range(tries)):
        try:
            return _bind_all(system, places, dual, options)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not left:
                raise
            places.append(places.pop(0))  # another family may choose a luckier port
    raise AssertionError("unreachable")


def _bind_all(system: System, places: list[tuple[int, Any]], dual: bool, options: ListenOptions) -> list[Listening]:
    """Bind every place, all on one port; those that this machine does not have are passed over if another works."""
    bound: list[Listening] = []
    missing: OSError | None = None
    port = 0
    with contextlib.ExitStack() as undo:
        for family, raw in places:
            try:
                sock = _bind_one(system, family, (raw[0], raw[1] or port, *raw[2:]), dual, options)
            except OSError as error:
                # No IPv6 here, or a container whose hosts file promises ::1 without an interface that has it.
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                missing = error
                continue
            undo.enter_context(sock)
            port = sock.getsockname()[1]
            bound.append(Listening(sock, from_kernel(family, sock.getsockname())))
        if not bound and missing is not None:
            raise missing
        for each in bound:
            _listen(each.sock, options)
        undo.pop_all()
    return bound


def _listen(sock: socket.socket, options: ListenOptions) -> None:
    sock.listen(min(options.backlog_connections, BACKLOG_CONNECTIONS_MAX))


def _bind_one(system: System, family: int, raw: Any, dual: bool, options: ListenOptions) -> socket.socket:
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(system.socket(family))
        _set_options(sock, family, dual, options)
        sock.bind(raw)
        undo.pop_all()
        return sock


def _set_options(sock: socket.socket, family: int, dual: bool, options: ListenOptions) -> None:
    if sys.platform == "win32":
        # SO_REUSEADDR would let anybody take over the port there.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
    dress(sock, options)  # before it listens: the window's scale is told in the handshake (tcp(7), SO_RCVBUF)


def _listen_unix(system: System, target: Unix, options: ListenOptions) -> Listening:
    """Bind, set permissions, listen: in this order, since nobody can connect before `listen`."""
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(system.socket(target.family))
        listening = Listening(sock, target)
        if target.abstract:
            sock.bind(to_kernel(target))
            _listen(sock, options)
        else:
            with system.directory_lock(target.path) as locked:
                _bind_path(system, sock, target, locked)
                listening = Listening(sock, target, system.absolute(target.path), system.socket_file(target.path))
                undo.callback(listening.remove_file, system)
                system.set_permissions(target.path, options.mode, options.owner, options.group)
                _listen(sock, options)
        undo.pop_all()
        return listening


def _bind_path(system: System, sock: socket.socket, target: Unix, locked: bool) -> None:
    """Bind to a path. A file that is left over from a dead server is removed, under the directory's lock: between the
    question whether anybody is alive there and the removal, no other starter can have come to life.
    """
    try:
        sock.bind(target.path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    else:
        return
    if system.socket_file(target.path) is None:
        raise AddressInUse(errno.EADDRINUSE, f"cannot listen on {target}: a file is there that is no socket")
    if system.is_socket_alive(target.path):
        raise AddressInUse(errno.EADDRINUSE, f"cannot listen on {target}: somebody is alive there")
    if not locked:
        raise AddressInUse(
            errno.EADDRINUSE, f"cannot listen on {target}: the file of a dead server is there, and its directory is locked"
        )
    system.unlink(target.path)
    sock.bind(target.path)

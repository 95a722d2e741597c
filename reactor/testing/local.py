"""Unix stream sockets and pairs as their users see them: nothing takes time, and what is unread counts against the sender.

The order of the checks is that of Linux, net/unix/af_unix.c; unix(7).
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from typing import Any

import attrs

from reactor.testing.kernel import ERR, HUP, IN, OUT, RDHUP, End, Kernel, failure

#: sockaddr_un has room for 108, with a zero at the end.
PATH_BYTES_MAX = 107


@attrs.define(eq=False)
class Local(End):
    """One end."""

    peer: Local | None = attrs.field(default=None, init=False, repr=False)
    arrived: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    path: str | bytes = attrs.field(default="", init=False)
    backlog: int = attrs.field(default=-1, init=False)  # -1: does not listen
    queue: deque[Local] = attrs.field(factory=deque, init=False, repr=False)
    _peer_path: str | bytes = attrs.field(default="", init=False)

    # Calls

    def bind(self, address: Any) -> None:
        self.path = bind_path(self, address)

    def listen(self, backlog: int) -> None:
        if self.peer is not None or not self.path:
            raise failure(errno.EINVAL)
        self.backlog = max(0, backlog)

    def connect(self, address: Any) -> int:
        listener = find_path(self, address)
        if isinstance(listener, int):
            return listener
        if listener.type != self.type:
            return errno.EPROTOTYPE
        if listener.backlog < 0 or listener.read_shut:
            return errno.ECONNREFUSED
        if len(listener.queue) > listener.backlog:
            return errno.EAGAIN
        if self.peer is not None:
            return errno.EISCONN
        if self.backlog >= 0:
            return errno.EINVAL
        child = Local(self.kernel, self.family, self.type)
        child.path, child._peer_path, self._peer_path = listener.path, self.path, listener.path
        self.peer, child.peer = child, self
        self.kernel.progress += 1
        listener.queue.append(child)
        listener.touch()
        self.touch()
        return 0

    def accept(self) -> tuple[End, Any]:
        if self.backlog < 0:
            raise failure(errno.EINVAL)
        if not self.queue:
            raise failure(errno.EAGAIN)
        self.kernel.check_room()
        self.kernel.progress += 1
        child = self.queue.popleft()
        return child, child._peer_path

    def send(self, data: bytes, address: Any = None) -> int:
        peer = self.peer
        if address is not None:
            raise failure(errno.EOPNOTSUPP if peer is None else errno.EISCONN)
        if peer is None:
            raise failure(errno.ENOTCONN)
        if self.write_shut or peer.read_shut or peer.is_closed:
            raise failure(errno.EPIPE)
        room = self.send_buffer - len(peer.arrived)
        if data and room <= 0:
            raise failure(errno.EAGAIN)
        taken = data[: max(0, room)]
        peer.arrived += taken
        self.kernel.progress += bool(taken)
        peer.touch()
        return len(taken)

    def receive(self, size: int, *, peek: bool = False) -> tuple[bytes, Any]:
        if self.peer is None:
            raise failure(errno.EINVAL)
        if self.arrived:
            data = bytes(self.arrived[:size])
            self.kernel.progress += 1
            if not peek:
                del self.arrived[:size]
                self.peer.touch()
            return data, None
        if self.error:
            self.kernel.progress += 1
            raise failure(self.take_error())
        if self.read_shut:
            self.kernel.progress += 1
            return b"", None
        raise failure(errno.EAGAIN)

    def shutdown(self, *, read: bool, write: bool) -> None:
        self.read_shut |= read
        self.write_shut |= write
        self.kernel.progress += 1
        if self.peer is not None:
            self.peer.read_shut |= write
            self.peer.write_shut |= read
            self.peer.touch()
        self.touch()

    def name(self) -> Any:
        return self.path

    def peer_name(self) -> Any:
        if self.peer is None:
            raise failure(errno.ENOTCONN)
        return self._peer_path

    def poll(self) -> int:
        """unix_poll."""
        events = ERR if self.error else 0
        if self.read_shut and self.write_shut:
            events |= HUP
        if self.read_shut:
            events |= IN | RDHUP
        if self.arrived or self.queue:
            events |= IN
        if self.peer is None and self.backlog < 0:
            events |= HUP
        if self.backlog < 0 and 4 * (len(self.peer.arrived) if self.peer is not None else 0) <= self.send_buffer:
            events |= OUT  # unix_writable
        return events

    def release(self) -> None:
        """unix_release_sock: the peer is reset if there is unread input, and those who wait to be accepted always are."""
        self.is_closed = True
        while self.queue:
            child = self.queue.popleft()
            child._leave(reset=True)
        self._leave(reset=bool(self.arrived))
        leave_path(self)

    @property
    def is_listening(self) -> bool:
        return self.backlog >= 0

    @property
    def takes_for_sure(self) -> bool:
        """A pipe that is empty is not full: who rings a doorbell relies on that."""
        return self.peer is not None and not self.peer.arrived

    def _leave(self, *, reset: bool) -> None:
        self.is_closed = True
        if self.peer is not None and not self.peer.is_closed:
            self.peer.read_shut = self.peer.write_shut = True
            if reset:
                self.peer.error = errno.ECONNRESET
            self.peer.touch()


@attrs.define(eq=False)
class LocalDatagram(End):
    """A Unix datagram socket: whole messages, in order, to a path or to a peer."""

    peer: LocalDatagram | None = attrs.field(default=None, init=False, repr=False)
    path: str | bytes = attrs.field(default="", init=False)
    queue: deque[tuple[bytes, str | bytes | None]] = attrs.field(factory=deque, init=False, repr=False)

    def bind(self, address: Any) -> None:
        self.path = bind_path(self, address)

    def connect(self, address: Any) -> int:
        found = self._find(address)
        if isinstance(found, int):
            return found
        if not found.hears(self):
            return errno.EPERM
        before, self.peer = self.peer, found
        if before is not None and before is not found:
            self._part_from(before)
        return 0

    def send(self, data: bytes, address: Any = None) -> int:
        if self.error:
            raise failure(self.take_error())
        if self.write_shut:
            raise failure(errno.EPIPE)
        target = self.peer if address is None else self._find(address)
        if target is None:
            raise failure(errno.ENOTCONN)
        if isinstance(target, int):
            raise failure(target)
        if target.is_closed:
            self.peer = None
            self._part_from(target)
            raise failure(errno.ECONNREFUSED)
        if not target.hears(self):
            raise failure(errno.EPERM)
        if target.read_shut:
            raise failure(errno.EPIPE)
        if target.room < len(data):
            raise failure(errno.EAGAIN)
        target.queue.append((data, self.path or None))
        self.kernel.progress += 1
        target.touch()
        return len(data)

    def receive(self, size: int, *, peek: bool = False) -> tuple[bytes, Any]:
        if self.error:
            raise failure(self.take_error())
        if not self.queue:
            raise failure(errno.EAGAIN)
        self.kernel.progress += 1
        data, sender = self.queue[0] if peek else self.queue.popleft()
        return data[:size], sender

    def shutdown(self, *, read: bool, write: bool) -> None:
        self.read_shut |= read
        self.write_shut |= write
        self.touch()

    def hears(self, sender: LocalDatagram) -> bool:
        """Tell whether *sender* may send: one who is connected hears his peer alone. unix_may_send."""
        return self.peer is None or self.peer is sender

    @property
    def room(self) -> int:
        """How many bytes more may be queued."""
        return self.receive_buffer - sum(len(each) for each, _ in self.queue)

    def _part_from(self, other: LocalDatagram) -> None:
        """unix_dgram_disconnected: what has come is lost, and a peer that was connected back is told."""
        self.queue.clear()
        if not other.is_closed and other.peer is self:
            other.error = errno.ECONNRESET
            other.touch()
        self.touch()

    def name(self) -> Any:
        return self.path

    def peer_name(self) -> Any:
        if self.peer is None:
            raise failure(errno.ENOTCONN)
        return self.peer.path

    def poll(self) -> int:
        """unix_dgram_poll."""
        events = OUT | (IN if self.queue else 0) | (ERR if self.error else 0)
        if self.read_shut:
            events |= IN | RDHUP
        return events | (HUP if self.read_shut and self.write_shut else 0)

    def release(self) -> None:
        self.is_closed = True
        leave_path(self)

    def _find(self, address: Any) -> LocalDatagram | int:
        found = find_path(self, address)
        return found if isinstance(found, (int, LocalDatagram)) else errno.EPROTOTYPE


def key_of(address: Any) -> str | bytes:
    """Return what names a file, from its root, or an abstract name: unix(7), "Address format".

    Raises:
        TypeError: it is no path.
        OSError: it is too long.
    """
    raw = address if isinstance(address, bytes) else os.fsencode(address)
    if len(raw) > PATH_BYTES_MAX:
        raise OSError("AF_UNIX path too long")
    return raw if raw[:1] == b"\0" else os.path.abspath(os.fsdecode(raw))


def bind_path(end: Any, address: Any) -> str | bytes:
    """Make the file, or the abstract name, of *end*; the empty path asks for any name: unix(7), "Autobind feature".

    Returns:
        the name, as it was given.
    """
    key = key_of(address) if address else b"\0%05x" % end.kernel.next_name()
    if key in end.kernel.paths:
        raise failure(errno.EADDRINUSE)
    if end.path:
        raise failure(errno.EINVAL)
    end.kernel.bind_path(key, end)
    return key if isinstance(key, bytes) else os.fsdecode(address)


def find_path(end: Any, address: Any) -> Any:
    """Return who is bound to a path, or the errno of nobody."""
    path = key_of(address)
    found = end.kernel.paths.get(path)
    if found is None:
        return errno.ECONNREFUSED if isinstance(path, bytes) else errno.ENOENT
    return errno.ECONNREFUSED if found[1].is_closed else found[1]


def leave_path(end: Any) -> None:
    """Let an abstract name go; a file stays."""
    if isinstance(end.path, bytes) and end.kernel.paths.get(end.path, (0, None))[1] is end:
        del end.kernel.paths[end.path]


def local_pair(kernel: Kernel, kind: int = socket.SOCK_STREAM) -> tuple[End, End]:
    """Return two connected ends.

    Raises:
        OSError: EOPNOTSUPP, for another kind than streams and datagrams.
    """
    if kind == socket.SOCK_STREAM:
        one, other = (Local(kernel, socket.AF_UNIX, kind) for _ in range(2))
        one.peer, other.peer = other, one
        return one, other
    if kind != socket.SOCK_DGRAM:
        raise failure(errno.EOPNOTSUPP)
    first, second = (LocalDatagram(kernel, socket.AF_UNIX, kind) for _ in range(2))
    first.peer, second.peer = second, first
    return first, second

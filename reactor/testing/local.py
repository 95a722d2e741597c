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

from reactor.testing.kernel import ERR, HUP, IN, OUT, RDHUP, End, failure


@attrs.define(eq=False)
class Local(End):
    """One end."""

    peer: Local | None = attrs.field(default=None, init=False, repr=False)
    arrived: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    path: str | bytes = attrs.field(default="", init=False)
    backlog: int = attrs.field(default=-1, init=False)  # -1: does not listen
    queue: deque[Local] = attrs.field(factory=deque, init=False, repr=False)
    _peer_path: str | bytes = attrs.field(default="", init=False)

    def pair_with(self, other: Local) -> None:
        """Connect the two, as socketpair(2) does."""
        self.peer, other.peer = other, self

    # Calls

    def bind(self, address: Any) -> None:
        if self.path:
            raise failure(errno.EINVAL)
        path = self._key(address)
        self.kernel.bind_path(path, self)
        self.path = path

    def listen(self, backlog: int) -> None:
        if self.peer is not None or not self.path:
            raise failure(errno.EINVAL)
        self.backlog = max(0, backlog)

    def connect(self, address: Any) -> int:
        found = self.kernel.paths.get(self._key(address))
        if found is None:
            is_abstract = isinstance(self._key(address), bytes)
            return errno.ECONNREFUSED if is_abstract else errno.ENOENT
        listener = found[1]
        if listener.is_closed or listener.backlog < 0:
            return errno.ECONNREFUSED
        if len(listener.queue) > listener.backlog:
            return errno.EAGAIN
        if self.peer is not None:
            return errno.EISCONN
        if self.backlog >= 0:
            return errno.EINVAL
        child = Local(self.kernel, self.family, self.type)
        child.path, child._peer_path, self._peer_path = listener.path, self.path, listener.path
        self.pair_with(child)
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
        if isinstance(self.path, bytes) and self.kernel.paths.get(self.path, (0, None))[1] is self:
            del self.kernel.paths[self.path]

    @property
    def is_listening(self) -> bool:
        return self.backlog >= 0

    def _leave(self, *, reset: bool) -> None:
        self.is_closed = True
        if self.peer is not None and not self.peer.is_closed:
            self.peer.read_shut = self.peer.write_shut = True
            if reset:
                self.peer.error = errno.ECONNRESET
            self.peer.touch()

    def _key(self, address: Any) -> str | bytes:
        """What names a file, from its root, or an abstract name: unix(7), "abstract"."""
        raw = address if isinstance(address, bytes) else os.fsencode(address)
        if len(raw) > 107:
            raise OSError("AF_UNIX path too long")
        return raw if raw[:1] == b"\0" else os.path.abspath(os.fsdecode(raw))


def local_pair(kernel: Any, kind: int = socket.SOCK_STREAM) -> tuple[Local, Local]:
    """Return two connected ends."""
    one, other = Local(kernel, socket.AF_UNIX, kind), Local(kernel, socket.AF_UNIX, kind)
    one.pair_with(other)
    return one, other

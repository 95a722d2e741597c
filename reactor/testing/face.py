"""Sockets without a kernel behind them: a number, and answers from a journal.

They are instances of `socket.socket`, so that whoever asks for the type is content. Nothing is used of the C part,
which holds no descriptor.
"""

from __future__ import annotations

import errno
import os
import socket
import weakref
import zlib
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import attrs

from reactor.testing.recorded import Unrecorded, refuse

if TYPE_CHECKING:
    from reactor.testing.replayer import Replayer


@attrs.define(eq=False)
class Face:
    """What is known of a socket that is not there."""

    fd: int
    family: int
    kind: int
    proto: int
    timeout: float | None = 0.0


#: Beside the sockets, since these have no room of their own: a real one, which the program has made, can become one of them.
FACES: MutableMapping[socket.socket, Face] = weakref.WeakKeyDictionary()


def replayed_sockets(replayer: Replayer) -> type[socket.socket]:  # noqa: C901  # a class, not a course of events
    """Return the class of the sockets that answer from *replayer*'s journal."""

    def ask(sock: socket.socket, operation: str, asked: Any) -> Any:
        fd = FACES[sock].fd
        if replayer.over is not None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # on the way out; library and programs cope with it
        return replayer.answer(operation, fd, asked)

    class ReplayedSocket(Unrecorded):
        __slots__ = ()

        def recv(self, size: int, flags: int = 0) -> bytes:
            return ask(self, "recv", size)  # type: ignore[no-any-return]

        def send(self, data: Any, flags: int = 0) -> int:
            if FACES[self].fd < 0:  # the doorbell's, or closed
                return len(data)
            return int(ask(self, "send", zlib.crc32(data)))

        def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
            return put(buffer, ask(self, "recv_into", size))

        def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
            return ask(self, "recvfrom", size)  # type: ignore[no-any-return]

        def recvfrom_into(self, buffer: Any, size: int = 0, flags: int = 0) -> tuple[int, Any]:
            data, peer = ask(self, "recvfrom_into", size)
            return put(buffer, data), peer

        def recvmsg(self, size: int, room: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, Any]:
            if room:
                refuse("recvmsg with ancillary data")
            return ask(self, "recvmsg", size)  # type: ignore[no-any-return]

        def sendto(self, data: Any, *where: Any) -> int:
            return int(ask(self, "sendto", (zlib.crc32(data), where[-1])))

        def sendmsg(self, buffers: Any, *more: Any) -> int:
            if more and more[0]:
                refuse("sendmsg with ancillary data")
            return int(ask(self, "sendmsg", zlib.crc32(b"".join(buffers))))

        def sendall(self, data: Any, flags: int = 0) -> None:
            ask(self, "sendall", zlib.crc32(data))

        def accept(self) -> tuple[socket.socket, Any]:
            number, peer = ask(self, "accept", None)
            face = FACES[self]
            accepted = replayer.face(number, face.family, face.kind, face.proto)
            accepted.setblocking(True)  # as the real one is at first
            return accepted, peer

        def connect(self, address: Any) -> None:
            ask(self, "connect", address)

        def connect_ex(self, address: Any) -> int:
            return int(ask(self, "connect_ex", address))

        def bind(self, address: Any) -> None:
            ask(self, "bind", address)

        def listen(self, *backlog: int) -> None:
            ask(self, "listen", backlog)

        def shutdown(self, how: int) -> None:
            ask(self, "shutdown", how)

        def getsockname(self) -> Any:
            return ask(self, "getsockname", None)

        def getpeername(self) -> Any:
            return ask(self, "getpeername", None)

        def getsockopt(self, *option: int) -> Any:
            return ask(self, "getsockopt", option)

        def setsockopt(self, *option: Any) -> None:
            if FACES[self].fd >= 0:
                ask(self, "setsockopt", option)

        def close(self) -> None:
            face = FACES[self]
            if face.fd >= 0:
                try:
                    if replayer.over is None:
                        ask(self, "close", None)
                finally:
                    face.fd = -1
                    if socket.socket.fileno(self) >= 0:  # it was the program's own once
                        socket.socket.close(self)

        def __exit__(self, *exc_info: object) -> None:
            self.close()

        # What it is

        def fileno(self) -> int:
            return FACES[self].fd

        @property
        def family(self) -> socket.AddressFamily:
            return socket.AddressFamily(FACES[self].family)

        @property
        def type(self) -> socket.SocketKind:
            return socket.SocketKind(FACES[self].kind)

        @property
        def proto(self) -> int:
            return FACES[self].proto

        @property
        def timeout(self) -> float | None:
            return FACES[self].timeout

        def gettimeout(self) -> float | None:
            return FACES[self].timeout

        def settimeout(self, value: float | None) -> None:
            FACES[self].timeout = value

        def getblocking(self) -> bool:
            return FACES[self].timeout != 0.0

        def setblocking(self, flag: bool) -> None:
            FACES[self].timeout = None if flag else 0.0

        def get_inheritable(self) -> bool:
            return False

        def set_inheritable(self, inheritable: bool) -> None: ...

        def __repr__(self) -> str:
            return f"<replayed socket, fd={FACES[self].fd}>"

    ReplayedSocket.__name__ = ReplayedSocket.__qualname__ = "RecordedSocket"  # as it was called when it was recorded
    return ReplayedSocket


def put(buffer: Any, data: bytes) -> int:
    """Write *data* to the beginning of *buffer*; return how much that is."""
    memoryview(buffer).cast("B")[: len(data)] = data
    return len(data)

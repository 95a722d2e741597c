"""Sockets without a kernel: what a program holds in its hands in a simulation.

A `socket.socket` whose C part never had a descriptor, and of which every method is ours. It may block, as a test's own
socket does: then virtual time goes on until the call can be finished. It owns its descriptor in the simulated kernel.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from reactor.errors import Unsupported
from reactor.testing.kernel import ERR, HUP, IN, OUT, End, failure
from reactor.testing.local import Local, LocalDatagram, local_pair
from reactor.testing.tcp import Tcp
from reactor.testing.udp import Udp

if TYPE_CHECKING:
    from reactor.testing.simulation import Host

T = TypeVar("T")

#: No errno: a blocking connect has waited as long as it may.
_TIMED_OUT = -1
# Plain numbers: a flag enum's arithmetic costs more than a simulated call.
_MSG_PEEK = int(socket.MSG_PEEK)
_MSG_DONTWAIT = int(getattr(socket, "MSG_DONTWAIT", 0))
_KNOWN_FLAGS = _MSG_PEEK | _MSG_DONTWAIT | int(getattr(socket, "MSG_NOSIGNAL", 0)) | int(socket.MSG_TRUNC)


def make_end(host: Host, family: int, kind: int) -> End:
    """Return a new end of a kind of socket.

    Raises:
        OSError: EAFNOSUPPORT, EPROTONOSUPPORT.
    """
    if family == getattr(socket, "AF_UNIX", -1) and kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        return (Local if kind == socket.SOCK_STREAM else LocalDatagram)(host.kernel, family, kind)
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise failure(errno.EAFNOSUPPORT)
    if kind == socket.SOCK_STREAM:
        return Tcp(host.kernel, family, kind)
    if kind == socket.SOCK_DGRAM:
        return Udp(host.kernel, family, kind)
    raise failure(errno.EPROTONOSUPPORT)


def make_pair(host: Host, kind: int, timeout: float | None) -> tuple[SimulatedSocket, SimulatedSocket]:
    """Return two connected Unix sockets, or make none.

    Raises:
        OSError: EMFILE; EOPNOTSUPP, for another *kind* than streams and datagrams.
    """
    host.kernel.check_room(2)
    one, other = local_pair(host.kernel, kind)
    return SimulatedSocket(host, one, timeout), SimulatedSocket(host, other, timeout)


class SimulatedSocket(socket.socket):
    """What `Host.socket` returns."""

    __slots__ = ("_end", "_fd", "_host", "_timeout")

    def __init__(self, host: Host, end: End, timeout: float | None = None) -> None:
        # Not the base's: it would ask the operating system for a descriptor.
        self._host, self._end, self._timeout = host, end, timeout
        if end.fd < 0:
            end.fd = host.kernel.open(end)
        self._fd = end.fd

    # What it is

    @property
    def end(self) -> End:
        """Its side in the simulated kernel."""
        return self._end

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AddressFamily(self._end.family)

    @property
    def type(self) -> socket.SocketKind:
        return socket.SocketKind(self._end.type)

    @property
    def proto(self) -> int:
        return 0

    @property
    def timeout(self) -> float | None:
        return self._timeout

    def fileno(self) -> int:
        return self._fd

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._host.name} fd={self._fd} {type(self._end).__name__}>"

    def settimeout(self, value: float | None) -> None:
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        if self._fd < 0:
            raise failure(errno.EBADF)
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        return self._timeout != 0.0

    # Opening

    def bind(self, address: Any) -> None:
        self._call("bind", lambda: self._end.bind(address))

    def listen(self, backlog: int = 128) -> None:
        self._call("listen", lambda: self._end.listen(backlog))

    def accept(self) -> tuple[socket.socket, Any]:
        def call() -> tuple[End, Any]:
            self._host.strike_accept(self._end)
            return self._end.accept()

        end, peer = self._wait("accept", call, IN)
        # accept(2): the new descriptor does not inherit O_NONBLOCK; Python gives it the default time-out.
        return SimulatedSocket(self._host, end, socket.getdefaulttimeout()), peer

    def _connect(self, address: Any) -> int:
        try:
            number = self._call("connect", lambda: self._end.connect(address))
        except socket.gaierror:
            raise
        except OSError as error:
            if error.errno is None:
                raise
            return error.errno
        if number != errno.EINPROGRESS or self._timeout == 0.0:
            return number
        if not self._host.sim.wait_for(self._host, lambda: self._end.poll() & OUT, self._timeout):
            return _TIMED_OUT
        # Without a time-out it is the kernel that waits, and knows the outcome to be told; with one it is Python.
        return self._end.connect(address) if self._timeout is None else self._end.take_error()

    def connect_ex(self, address: Any) -> int:
        number = self._connect(address)
        return errno.EAGAIN if number == _TIMED_OUT else number

    def connect(self, address: Any) -> None:
        number = self._connect(address)
        if number == _TIMED_OUT:
            raise TimeoutError("timed out")
        if number:
            raise failure(number)

    # Bytes

    def send(self, data: Any, flags: int = 0) -> int:
        return self._send(data, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._send(rest, flags) :]

    def sendto(self, data: Any, *args: Any) -> int:
        return self._send(data, args[0] if len(args) == 2 else 0, args[-1])

    def sendmsg(self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None) -> int:
        if list(ancdata):
            raise Unsupported("a simulated socket passes no ancillary data")
        return self._send(b"".join(bytes(each) for each in buffers), flags, address)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        return self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined,no-any-return]  # the stdlib's fallback

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        return self._receive(bufsize, flags)[0]

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        return self._receive(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return self.recvfrom_into(buffer, nbytes, flags)[0]

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        view = memoryview(buffer).cast("B")
        data, address = self._receive(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data), address

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, Any]:
        data, address = self._receive(bufsize, flags)
        return data, [], 0, address

    def recvmsg_into(self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0) -> tuple[int, list[Any], int, Any]:
        views = [memoryview(each).cast("B") for each in buffers]
        data, address = self._receive(sum(map(len, views)), flags)
        rest = data
        for view in views:
            part, rest = rest[: len(view)], rest[len(view) :]
            view[: len(part)] = part
        return len(data), [], 0, address

    def sendmsg_afalg(self, *args: Any, **options: Any) -> int:
        raise Unsupported("a simulated kernel has no cryptography")

    # Ending

    def shutdown(self, how: int) -> None:
        if self._fd >= 0 and how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise failure(errno.EINVAL)
        read, write = how in (socket.SHUT_RD, socket.SHUT_RDWR), how in (socket.SHUT_WR, socket.SHUT_RDWR)
        self._call("shutdown", lambda: self._end.shutdown(read=read, write=write))

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._host.note("close", fd)
            self._end.touch()
            self._end.fd = -1
            self._host.kernel.close(fd)
            self._host.sim.settle()

    def get_inheritable(self) -> bool:
        return False

    def detach(self) -> int:
        fd, self._fd = self._fd, -1
        return fd

    def dup(self) -> Self:
        raise Unsupported("a simulated descriptor cannot be duplicated")

    def set_inheritable(self, inheritable: bool) -> None:
        if inheritable:
            raise Unsupported("a simulated descriptor is not inherited")

    def makefile(self, mode: str = "r", buffering: int | None = None, **options: Any) -> Any:
        raise Unsupported("a simulated socket makes no files; use send and recv")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Options and names

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        value = self._call("getsockopt", lambda: self._end.option(level, optname))
        raw = self._end.options.get((level, optname))
        return (raw if isinstance(raw, bytes) else value.to_bytes(buflen, "little")) if buflen else value

    def setsockopt(self, level: int, optname: int, *value: Any) -> None:
        self._call("setsockopt", lambda: self._end.set_option(level, optname, value[0]))

    def getsockname(self) -> Any:
        return self._call("getsockname", self._end.name)

    def getpeername(self) -> Any:
        return self._call("getpeername", self._end.peer_name)

    # How

    def _send(self, data: Any, flags: int, address: Any = None) -> int:
        self._check_flags(flags)
        raw = data if type(data) is bytes else memoryview(data).tobytes()
        end, host = self._end, self._host

        def call() -> int:
            if host.strikes_short(end, len(raw)):
                return end.send(raw[:1], address)
            return end.send(raw, address)

        return self._wait("send", call, OUT, raw, at_once=bool(flags & _MSG_DONTWAIT))

    def _receive(self, size: int, flags: int) -> tuple[bytes, Any]:
        self._check_flags(flags)
        if size < 0:
            raise ValueError("negative buffersize in recv")
        end, host, peek = self._end, self._host, bool(flags & _MSG_PEEK)
        if size == 0:
            return b"", None  # Python's own answer: it asks nobody

        at_once = self._timeout == 0.0 or bool(flags & _MSG_DONTWAIT)

        def call() -> tuple[bytes, Any]:
            try:
                return end.receive(1 if host.strikes_short(end, size) else size, peek=peek)
            except BlockingIOError:
                if end.read_shut and not at_once:
                    return b"", None  # a datagram socket that is shut: there is nothing to wait for
                raise

        return self._wait("recv", call, IN, at_once=at_once)

    def _check_flags(self, flags: int) -> None:
        if flags & ~_KNOWN_FLAGS:
            raise Unsupported(f"a simulated socket knows no flags {flags & ~_KNOWN_FLAGS:#x}")

    def _call(self, what: str, call: Callable[[], T], *shown: Any) -> T:
        """Make one system call: what is to interrupt it strikes first, what follows at once follows, and it is noted."""
        host, fd = self._host, self._fd
        if fd < 0:
            raise failure(errno.EBADF)
        host.entered(what)
        try:
            result = call()
        except OSError as error:
            host.note(what, fd, *shown, errno.errorcode.get(error.errno or 0, str(error)))
            raise
        finally:
            host.sim.settle()
        host.note(what, fd, *shown, *self._results(what, result))
        return result

    @staticmethod
    def _results(what: str, result: Any) -> tuple[Any, ...]:
        if what == "recv":
            return (result[0],)
        if what == "accept":
            return (result[1],)
        if what == "connect":
            return (errno.errorcode.get(result, "connected"),)
        return () if result is None else (result,)

    def _wait(self, what: str, call: Callable[[], T], events: int, *shown: Any, at_once: bool = False) -> T:
        """Make a call that may have to wait, as the socket's time-out asks for."""
        host, end = self._host, self._end
        if self._timeout == 0.0 or at_once:
            if host.strikes_again(end, what, events):
                host.note(what, self._fd, "EAGAIN!")
                raise failure(errno.EAGAIN)
            return self._call(what, call, *shown)
        deadline = None if self._timeout is None else host.sim.now + self._timeout
        while True:
            # Waits outside of `except`: what hooks raise meanwhile has nothing to do with this call.
            with contextlib.suppress(BlockingIOError):
                return self._call(what, call, *shown)
            left = None if deadline is None else deadline - host.sim.now
            if not host.sim.wait_for(host, self._until(events | ERR | HUP), left):
                raise TimeoutError("timed out")

    def _until(self, events: int) -> Callable[[], object]:
        """What a blocked call waits for: readiness; if that did not suffice (a queue elsewhere is full), any progress."""
        end, kernel = self._end, self._host.kernel
        if not end.poll() & events:
            return lambda: end.poll() & events
        before = kernel.progress
        return lambda: kernel.progress != before

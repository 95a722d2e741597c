"""The seam: the only file that asks the operating system for anything.

A `System` gives sockets, the selector, the clock, threads, name resolution, signals and the files of Unix sockets. The
real one hands out plain `socket.socket` objects, which handlers then use directly, so it costs nothing. Put another in its
place and the same production code runs on a simulated network.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import signal
import socket
import stat
import struct
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from types import FrameType
from typing import Any, ClassVar, Protocol, TypeAlias

import attrs

from reactor.addresses import Address, Inet, to_kernel
from reactor.pool import Pool, ThreadPool

Socket: TypeAlias = socket.socket
SignalAction: TypeAlias = "Callable[[int, FrameType | None], Any] | int | None"

#: How long a starter of a Unix socket waits for another one in the same directory.
DIRECTORY_LOCK_SECONDS = 1.0
_DIRECTORY_LOCK_RETRY_SECONDS = 0.01


class Gone(Enum):
    """What a look at a descriptor that nobody waits for says of its peer. A hint: unread bytes may be there."""

    ENDED = auto()  # it has sent its last byte
    HUNG_UP = auto()  # both directions are over
    BROKEN = auto()  # an error waits


class Inbox(deque[Any]):
    """What threads and signal handlers have sent to a loop, and it has not taken yet.

    `append` is called from anywhere. The loop decides nothing by what is in here but through `take` and `bool`, in its own
    thread: a recording that notes their answers says exactly when everything took effect.
    """

    def __init__(self) -> None:
        super().__init__()
        #: The calls that wait and are not to be queued a second time.
        self.once: dict[Any, object] = {}

    def take(self) -> list[Any]:
        """Remove and return all that is there at this moment."""
        return [self.popleft() for _ in range(len(self))]


class Forkable(Protocol):
    """What has to know that it is in a child process now."""

    def _forked(self) -> None:
        """Called in the child, before anything else is run there."""
        ...


#: Whom to tell in a child process. There is no way to take `os.register_at_fork` back, so it is called once, for all.
#: A dict, so that it keeps the order.
_FORKABLE: weakref.WeakKeyDictionary[Forkable, None] = weakref.WeakKeyDictionary()


def _note_fork() -> None:
    System.has_forked = True


def _tell_forked() -> None:
    _note_fork()
    for each in reversed(list(_FORKABLE)):  # who runs inside of another was made later, as a rule
        each._forked()


# Windows has no fork.
getattr(os, "register_at_fork", lambda **_: None)(after_in_parent=_note_fork, after_in_child=_tell_forked)


class System:
    """The operating system, as the library sees it. Subclass it to put another in its place."""

    #: Called for the system of a reactor that is given none. `python -m reactor record` and `replay` set it, so that the
    #: program needs no change.
    default: ClassVar[Callable[[], System]]

    #: Whether Python has forked this process, or it is a child of such: somebody else may hold its sockets open.
    has_forked: ClassVar[bool] = False

    #: Seconds on a clock that never goes back. It stands still while Linux sleeps: time_namespaces(7).
    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    #: Seconds since the epoch, by the wall clock, which may be set.
    time: Callable[[], float] = staticmethod(time.time)
    #: The calling thread's number.
    thread: Callable[[], int] = staticmethod(threading.get_ident)

    def enter(self) -> int:
        """Note that the calling thread begins to run a reactor; return the thread's number."""
        return self.thread()

    def leave(self) -> None:
        """Note that the thread that has called `enter` runs the reactor no more."""

    def inbox(self) -> Inbox:
        """Return a new, empty inbox for a loop."""
        return Inbox()

    def watch_forks(self, forkable: Forkable) -> None:
        """Call `_forked` of *forkable* in each child process that Python forks from now on, for as long as it lives."""
        _FORKABLE[forkable] = None

    def selector(self) -> selectors.BaseSelector:
        """Return a new selector of the platform's best kind."""
        return selectors.DefaultSelector()

    def socket(self, family: int) -> Socket:
        """Return a new non-blocking stream socket.

        Raises:
            OSError: no descriptors, or no such family here.
        """
        sock = socket.socket(family, socket.SOCK_STREAM | _NONBLOCK)
        if not _NONBLOCK:
            sock.setblocking(False)
        return sock

    def adopt(self, sock: Socket) -> Socket:
        """Return *sock*, which a handler is about to be given, as one of this system's; it may have been made elsewhere.

        Raises:
            UsageError: this system cannot have it.
        """
        return sock

    def socketpair(self) -> tuple[Socket, Socket]:
        """Return two connected non-blocking sockets."""
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
        return pair

    def doorbell(self) -> tuple[Socket, Socket]:
        """Return two connected non-blocking sockets: one to be watched, and one to be rung from any thread at any moment."""
        return self.socketpair()

    def pool(self, name: str, *, threads: int, queue: int) -> Pool:
        """Return a new pool of *threads* daemon threads at most, with room for *queue* jobs that wait for one of them.

        A job may block on calls of this system only, and hands its result to a loop by `call_threadsafe` only: so a system
        of another kind may run it at a moment of its choice, in whatever thread.
        """
        return ThreadPool(name, threads, queue)

    def random(self) -> float:
        """Return a number from 0 up to, but not including, 1."""
        import random

        return random.random()  # noqa: S311  # spreads load, keeps no secret

    def getaddrinfo(self, host: str | None, port: int, *, family: int = 0, flags: int = 0) -> list[tuple[int, Any]]:
        """Return `(family, address)` for each stream address of *host*; may block unless it is numeric.

        With a *family* other than 0, for those of that family.

        Raises:
            OSError: `socket.gaierror`, the name is not known.
        """
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
        return list(dict.fromkeys((int(family), raw) for family, _, _, _, raw in found))

    def sockaddr(self, address: Address) -> Any:
        """Return *address*, whose host is numeric, as `connect` takes it; a named scope becomes the interface's number.

        Raises:
            OSError: no such interface.
        """
        if isinstance(address, Inet) and "%" in address.host:
            host, _, zone = address.host.partition("%")
            scope = int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone)
            address = attrs.evolve(address, host=host, scope=scope)
        return to_kernel(address)

    def has_dualstack_ipv6(self) -> bool:
        """Tell whether one IPv6 socket can serve IPv4 too."""
        return socket.has_dualstack_ipv6()

    def adopt_selector(self, selector: selectors.BaseSelector) -> selectors.BaseSelector:
        """Return *selector*, which a reactor was given, as a selector of this system.

        Raises:
            UsageError: this system cannot have it.
        """
        return selector

    def note_error(self, where: str, error: BaseException) -> None:
        """Note what user code raised, before `Reactor.on_error` hears of it."""

    def is_open(self, fd: int) -> bool:
        """Tell whether the number *fd* names anything."""
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True

    # What a descriptor is at, without waiting for it

    def hung_up(self, fds: Sequence[int]) -> dict[int, Gone]:
        """Return those of *fds* whose peers are gone, and how, by one poll(2)."""
        if not hasattr(select, "poll"):
            return {}
        poll = select.poll()
        for fd in fds:
            poll.register(fd, getattr(select, "POLLRDHUP", 0))
        return {
            fd: Gone.BROKEN if events & select.POLLERR else Gone.HUNG_UP if events & select.POLLHUP else Gone.ENDED
            for fd, events in poll.poll(0)
            if not events & select.POLLNVAL
        }

    def progress(self, sock: Socket) -> tuple[int, int] | None:
        """Return two numbers that grow with the bytes that were read from *sock* and written to it; None if none are kept.

        Of TCP on Linux: what has come less what waits to be read, and what was acknowledged plus what was not yet: tcp(7).
        """
        info = _tcp_info(sock)
        if info is None:
            return None
        unread, unsent = self.unread(sock), _ioctl(sock, "TIOCOUTQ")  # the number of SIOCOUTQ: tcp(7)
        if unread is None or unsent is None:
            return None
        acknowledged, received = struct.unpack_from("=QQ", info, _TCP_INFO_BYTES_ACKED)
        return received - unread, acknowledged + unsent

    def unread(self, sock: Socket) -> int | None:
        """Return how many bytes wait to be read; 1 for one that listens; None if that cannot be told."""
        with contextlib.suppress(OSError):
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return 1
        return _ioctl(sock, "FIONREAD")

    def idle_seconds(self, sock: Socket) -> float | None:
        """Return since when nothing has come or gone on *sock*; None if the kernel does not keep it (TCP on Linux does)."""
        info = _tcp_info(sock)
        if info is None:
            return None
        last_sent, _, last_received = struct.unpack_from("=III", info, _TCP_INFO_LAST_DATA_SENT)
        return float(min(last_sent, last_received)) / 1000.0

    # Signals

    def is_main_thread(self) -> bool:
        """Tell whether signal handlers can be set from here."""
        return threading.current_thread() is threading.main_thread()

    def get_signal(self, number: int) -> SignalAction:
        """Return what happens on signal *number*."""
        return signal.getsignal(number)

    def set_signal(self, number: int, action: SignalAction) -> SignalAction:
        """Make *action* happen on signal *number*; return what happened before."""
        return signal.signal(number, action)

    def set_wakeup_fd(self, fd: int) -> int:
        """Have a byte written to *fd* on every signal, -1 for none; return the descriptor that had it before."""
        return signal.set_wakeup_fd(fd, warn_on_full_buffer=False)

    def ring(self, fd: int, signals: bytes) -> None:
        """Write *signals* to *fd*, somebody else's wake-up descriptor, if it takes them."""
        with contextlib.suppress(OSError):
            os.write(fd, signals)

    def raise_signal(self, number: int) -> None:
        """Send signal *number* to this process."""
        signal.raise_signal(number)

    # Files that are sent

    def file_size(self, fd: int) -> int:
        """Return how many bytes the file behind *fd* has.

        Raises:
            OSError: it is not open, or no regular file.
        """
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return found.st_size

    def send_file(self, sock: Socket, fd: int, offset: int, count: int) -> int:
        """Have the kernel copy bytes of a file to *sock*; return how many it took, 0 at the file's end: sendfile(2).

        Raises:
            OSError: EAGAIN; or one of `errnos.CANNOT_SENDFILE`, where it cannot.
        """
        if not hasattr(os, "sendfile"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return os.sendfile(sock.fileno(), fd, offset, count)

    def read_at(self, fd: int, offset: int, count: int) -> bytes:
        """Return up to *count* bytes of a file from *offset* on; b"" at its end."""
        if hasattr(os, "pread"):
            return os.pread(fd, count, offset)
        position = os.lseek(fd, 0, os.SEEK_CUR)
        try:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, count)
        finally:
            os.lseek(fd, position, os.SEEK_SET)

    # The files of Unix sockets

    @contextlib.contextmanager
    def directory_lock(self, path: str) -> Iterator[bool]:
        """Hold the directory of *path* against other starters; yields False when somebody else keeps it locked."""
        try:
            import fcntl
        except ImportError:
            yield False
            return
        fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + DIRECTORY_LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() < deadline:
                        time.sleep(_DIRECTORY_LOCK_RETRY_SECONDS)
                        continue
                    yield False
                    return
                yield True
                return
        finally:
            os.close(fd)

    def socket_file(self, path: str) -> tuple[int, int] | None:
        """Return what identifies the socket file at *path*, or None if no socket file is there."""
        try:
            found = os.lstat(path)
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None

    def is_socket_alive(self, path: str) -> bool:
        """Tell whether anybody listens behind the socket file at *path*."""
        with self.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                return False
            except OSError:
                return True  # a full backlog, no permission, another type of socket: somebody's
            return True

    def absolute(self, path: str) -> str:
        """Return *path* so that it means the same after a change of directory."""
        return os.path.abspath(path)

    def unlink(self, path: str) -> None:
        """Remove the file at *path*."""
        os.unlink(path)

    def set_permissions(self, path: str, mode: int, owner: int | str | None, group: int | str | None) -> None:
        """Set mode, owner and group of the file at *path*.

        Raises:
            OSError: not permitted.
            LookupError: no such user or group.
        """
        os.chmod(path, mode)
        if owner is not None or group is not None:
            import shutil

            chown: Any = shutil.chown  # typeshed knows no call in which either may be None
            chown(path, owner, group)


System.default = System

#: struct linger of socket(7): on, for 0 seconds. Two ints, on Windows two shorts.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
#: Makes a socket non-blocking within socket(2); 0 where there is none (macOS, Windows).
_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)

# struct tcp_info of linux/tcp.h: eight bytes, then 24 numbers of 32 bits, then numbers of 64 bits.
_TCP_INFO_BYTES = 136
_TCP_INFO_LAST_DATA_SENT = 44
_TCP_INFO_BYTES_ACKED = 120


def _tcp_info(sock: Socket) -> bytes | None:
    """Return what Linux keeps of a TCP connection; None elsewhere, of others, and of one that listens."""
    if not sys.platform.startswith("linux") or sock.type != socket.SOCK_STREAM:
        return None
    try:
        if sock.family == socket.AF_UNIX or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    return info if len(info) == _TCP_INFO_BYTES else None


def _ioctl(sock: Socket, name: str) -> int | None:
    """Ask a socket for a number; None where it cannot be asked."""
    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(sock.fileno(), getattr(termios, name), struct.pack("i", 0))
    except (ImportError, OSError, ValueError):
        return None
    return int(struct.unpack("i", answer)[0])


def close(sock: socket.socket, *, reset: bool = False) -> None:
    """Close *sock*; with *reset* by RST, so that the peer cannot take what it has for the whole (tcp(7), SO_LINGER)."""
    if reset:
        try:  # noqa: SIM105  # a context manager would cost more than the call
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        except OSError:
            pass
    try:  # noqa: SIM105  # a context manager would cost more than the call
        sock.close()
    except OSError:  # BSDs report the peer's reset here; the descriptor is gone all the same
        pass

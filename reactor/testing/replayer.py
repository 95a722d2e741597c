"""Replayer: a system that answers from a journal, so that a program that was recorded comes to the same decisions again.

There is no network, and nothing waits but for the program's own threads. Each call of the program takes the next record, and
is compared with it; the first that differs raises `Divergence`. The descriptors are numbers and nothing else.
"""

from __future__ import annotations

import builtins
import contextlib
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Self

import attrs

from reactor.errors import Divergence, JournalEnded, JournalError, ReplayOver
from reactor.system import Gone, Inbox, SignalAction, Socket
from reactor.testing import replayed
from reactor.testing.face import FACES, Face, replayed_sockets
from reactor.testing.owner import OneThread
from reactor.testing.replayed import ReplayedInbox, ReplayedSelector
from reactor.testing.tape import Header, Record, describe, read_header, read_records

#: A divergence shows as many records before it.
SHOWN_RECORDS = 6

_STREAM = int(socket.SOCK_STREAM)
#: No system call has these; they stand in the journal where they happened.
_ASIDE = frozenset({"signal", "lookup"})


def raised_of(kind: str, arguments: tuple[Any, ...]) -> BaseException:
    """Return the exception that the journal keeps."""
    exception: Any = socket.gaierror if kind == "gaierror" else getattr(builtins, kind, OSError)
    made: BaseException = exception(*arguments)
    return made


@attrs.define(eq=False)
class Replayer(OneThread):
    """A system that answers from the journal at *path*.

    Args:
        path: the journal.
        stop_at: the number of a record.
        on_stop: called when that is about to be taken; a debugger's entry.

    Raises:
        JournalError: it is no journal, or its beginning is lost.
    """

    path: str
    stop_at: int | None = None
    on_stop: Callable[[], object] = attrs.field(default=lambda: None)
    header: Header = attrs.field(init=False)
    #: Records taken so far.
    position: int = attrs.field(init=False, default=0)
    #: The first reason for which nothing more can be replayed.
    over: ReplayOver | None = attrs.field(init=False, default=None)
    #: The last reading of the monotonic clock, and the first.
    now: float = attrs.field(init=False, default=0.0)
    began: float | None = attrs.field(init=False, default=None)
    socket_class: type[socket.socket] = attrs.field(init=False, repr=False)
    _file: IO[bytes] = attrs.field(init=False, repr=False)
    _records: Iterator[Record] = attrs.field(init=False, repr=False)
    _next: Record | None = attrs.field(init=False, repr=False, default=None)
    _last: deque[Record] = attrs.field(init=False, repr=False, factory=lambda: deque(maxlen=SHOWN_RECORDS))
    _wall: float = attrs.field(init=False, default=0.0)
    _actions: dict[int, SignalAction] = attrs.field(init=False, repr=False, factory=dict)
    _found: dict[Any, deque[Any]] = attrs.field(init=False, repr=False, factory=dict)  # by what threads have looked up
    _news: threading.Condition = attrs.field(init=False, repr=False, factory=threading.Condition)

    def __attrs_post_init__(self) -> None:
        with contextlib.ExitStack() as undo:
            self._file = undo.enter_context(open(self.path, "rb"))
            self.header = read_header(self._file, self.path)
            if self.header.lost:
                raise JournalError(
                    f"{self.path} is the end of a longer recording, kept by a ring: its first {self.header.lost} records are"
                    " lost, so it can be shown, not replayed"
                )
            undo.pop_all()
        self._records = read_records(self._file)
        self.socket_class = replayed_sockets(self)

    def close(self) -> None:
        """Let the journal go. Closing twice is allowed."""
        self._file.close()
        self._records = iter(())

    def finish(self) -> None:
        """Check that the journal is at its end, as the program is.

        Raises:
            Divergence: it goes on.
            JournalEnded: what was recorded came to no end of its own.
        """
        if self.over is not None:
            raise self.over
        self._pass_by()
        if self._peek()[0:1] != ("end",):
            raise self._diverged("the program has ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # The tape

    def answer(self, operation: str, fd: int | None, asked: Any) -> Any:
        """Take the next record, which must be of this call, and return or raise what it was answered.

        Raises:
            Divergence: the next record is of another call.
            JournalEnded: there is none.
        """
        self._pass_by()
        record = self._peek()
        if record[:3] != (operation, fd, asked):
            raise self._diverged(describe((operation, fd, asked, None)))
        self._taken(record)
        if len(record) > 4:
            raise raised_of(*record[4])
        return record[3]

    def _pass_by(self) -> None:
        """Let everything happen that happened before the next call."""
        if self.over is not None:
            raise self.over
        while (record := self._peek())[:1] and record[0] in _ASIDE:
            if record[0] == "lookup":
                self._taken(record)
                with self._news:
                    self._found.setdefault(record[2], deque()).append(record)
                    self._news.notify_all()
            else:
                action = self._actions.get(record[2], signal.getsignal(record[2]))
                if not callable(action):
                    raise self._diverged(f"signal {record[2]} has come, for which the program has set nothing")
                self._taken(record)
                action(record[2], sys._getframe())

    def _peek(self) -> tuple[Any, ...]:
        """Return the next record; a reading of the clock as an operation like others."""
        if self._next is None:
            self._next = next(self._records, None)
        if self._next is None:
            raise self._over(
                JournalEnded, "the journal ends here; the process was killed while it was recorded, or still runs"
            )
        return self._next if isinstance(self._next, tuple) else ("monotonic", None, None, self._next)

    def _taken(self, record: tuple[Any, ...]) -> None:
        if self.position == self.stop_at:
            self.on_stop()
        self._last.append(record)
        self._next = None
        self.position += 1

    def _diverged(self, done: str) -> ReplayOver:
        now = "nothing more" if self._next is None else describe(self._next)
        before = "".join(f"\n  {self.position - len(self._last) + i:8} {describe(r)}" for i, r in enumerate(self._last))
        return self._over(
            Divergence,
            f"the program has left the journal\n  the journal: {now}\n  the program: {done}\nafter{before}",
        )

    def _over(self, kind: type[ReplayOver], text: str) -> ReplayOver:
        seconds = self.now - (self.began or self.now)
        self.over = kind(f"record {self.position}, {seconds:.6f} s: {text}")
        with self._news:
            self._news.notify_all()
        return self.over

    # Time and threads

    def monotonic(self) -> float:
        if threading.get_ident() == self.owner and self.over is None:
            now = float(self.answer("monotonic", None, None))
            self.began = now if self.began is None else self.began
            self.now = now
        return self.now

    def time(self) -> float:
        if threading.get_ident() == self.owner and self.over is None:
            self._wall = self.answer("time", None, None)
        return self._wall

    def enter(self) -> int:
        self.claim("run")
        self.answer("enter", None, None)
        return super().enter()

    def inbox(self) -> Inbox:
        return ReplayedInbox(self, self._next_inbox())

    def note_error(self, where: str, error: BaseException) -> None:
        if self.over is None:
            kind = self.answer("raised", None, where)
            if kind != type(error).__name__:
                self._next = self._last.pop()
                self.position -= 1
                raise self._diverged(f"raised {where} -> {error!r}") from error

    # Sockets and the selector

    def selector(self) -> ReplayedSelector:
        self.claim("Reactor()")
        return ReplayedSelector(self)

    def adopt_selector(self, selector: Any) -> ReplayedSelector:
        selector.close()
        return self.selector()

    def socket(self, family: int) -> Socket:
        self.claim("socket")
        return self.face(self.answer("socket", None, int(family)), int(family))

    def socketpair(self) -> tuple[Socket, Socket]:
        one = self._adopted(None)
        return one, self._adopted(None)

    def doorbell(self) -> tuple[Socket, Socket]:
        """Return a reader that is rung by the journal, and a writer that rings nobody."""
        return self._adopted(None), self.face(-1, socket.AF_UNIX)

    def adopt(self, sock: Socket) -> Socket:
        return sock if isinstance(sock, self.socket_class) else self._adopted(sock)

    def _adopted(self, sock: Socket | None) -> Socket:
        fd, family, kind, proto = self.answer("adopt", None, None)
        if sock is not None:
            sock.__class__ = self.socket_class
        return self.face(fd, family, kind, proto, sock)

    def face(self, fd: int, family: int, kind: int = _STREAM, proto: int = 0, sock: Socket | None = None) -> Socket:
        """Return a socket that is nothing but the number *fd*: a new one, or *sock*, which has been given the class."""
        made = self.socket_class.__new__(self.socket_class) if sock is None else sock
        FACES[made] = Face(fd, family, kind, proto)
        return made

    # Names

    def random(self) -> float:
        return self.answer("random", None, None)  # type: ignore[no-any-return]

    def getaddrinfo(self, host: str | None, port: int, *, family: int = 0, flags: int = 0) -> list[tuple[int, Any]]:
        asked = (host, port, int(family), int(flags))
        if threading.get_ident() == self.owner:
            return self.answer("getaddrinfo", None, asked)  # type: ignore[no-any-return]
        with self._news:
            self._news.wait_for(lambda: self._found.get(asked) or self.over, replayed.THREAD_PATIENCE_SECONDS)
            if not self._found.get(asked):
                raise self.over or self._diverged(f"a thread looks up {asked}")
            record = self._found[asked].popleft()
        if len(record) > 4:
            raise raised_of(*record[4])
        return record[3]  # type: ignore[no-any-return]

    def sockaddr(self, address: Any) -> Any:
        return self.answer("sockaddr", None, str(address))

    def has_dualstack_ipv6(self) -> bool:
        return bool(self.answer("has_dualstack_ipv6", None, None))

    def is_open(self, fd: int) -> bool:
        return bool(self.answer("is_open", None, fd))

    # What a descriptor is at

    def hung_up(self, fds: Sequence[int]) -> dict[int, Gone]:
        return {fd: Gone[name] for fd, name in self._unless_over("hung_up", list(fds)) or ()}

    def progress(self, sock: Socket) -> tuple[int, int] | None:
        return self._unless_over("progress", sock.fileno())  # type: ignore[no-any-return]

    def unread(self, sock: Socket) -> None:
        """Tell nothing, as when it was recorded."""

    def idle_seconds(self, sock: Socket) -> float | None:
        return self._unless_over("idle_seconds", sock.fileno())  # type: ignore[no-any-return]

    # Files that are sent

    def file_size(self, fd: int) -> int:
        return int(self.answer("file_size", None, None))

    def send_file(self, sock: Socket, fd: int, offset: int, count: int) -> int:
        return int(self.answer("send_file", None, (sock.fileno(), offset, count)))

    def read_at(self, fd: int, offset: int, count: int) -> bytes:
        return self.answer("read_at", None, (offset, count))  # type: ignore[no-any-return]

    # Signals

    def get_signal(self, number: int) -> SignalAction:
        return self._action(number, self._unless_over("get_signal", int(number)))

    def set_signal(self, number: int, action: SignalAction) -> SignalAction:
        before = self._action(
            number, self._unless_over("set_signal", int(number) if isinstance(number, int) else repr(number))
        )
        self._actions[number] = action
        return before

    def _action(self, number: int, code: int | str | None) -> SignalAction:
        if code == "default_int_handler":
            return signal.default_int_handler
        if code == "own":
            return self._actions.get(number, signal.getsignal(number))
        return None if code is None else signal.Handlers(int(code))

    def set_wakeup_fd(self, fd: int) -> int:
        return int(self._unless_over("set_wakeup_fd", None) or -1)

    def ring(self, fd: int, signals: bytes) -> None:
        self._unless_over("ring", (fd, signals))

    def raise_signal(self, number: int) -> None:
        self._unless_over("raise_signal", int(number))
        if self.over is None:
            self._pass_by()

    def _unless_over(self, operation: str, asked: Any) -> Any:
        """Return the answer, or None on the way out, where the program puts back what it had set."""
        return None if self.over is not None else self.answer(operation, None, asked)

    # The files of Unix sockets

    @contextlib.contextmanager
    def directory_lock(self, path: str) -> Iterator[bool]:
        yield self.answer("directory_lock", None, path)

    def socket_file(self, path: str) -> tuple[int, int] | None:
        return self._unless_over("socket_file", path)  # type: ignore[no-any-return]

    def is_socket_alive(self, path: str) -> bool:
        return bool(self.answer("is_socket_alive", None, path))

    def absolute(self, path: str) -> str:
        return str(self.answer("absolute", None, path))

    def unlink(self, path: str) -> None:
        self._unless_over("unlink", path)

    def set_permissions(self, path: str, mode: int, owner: int | str | None, group: int | str | None) -> None:
        self.answer("set_permissions", None, (path, mode, owner, group))

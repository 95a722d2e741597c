"""How facts about sockets are written down, and the worlds in which they are looked up.

A fact is a generator that makes calls and yields `(what was said, what the kernel says)`; each yield is one line of its
transcript. It is run in a `World`: the real one, or one whose sockets and selectors are simulated. The facts themselves
are in `tests/facts_*.py`; `tests/test_fidelity.py` runs them.

A world owns every socket that it made or was told to keep, and closes them at its end.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import linecache
import os
import selectors
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import attrs

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
INET, INET6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
#: The families, as a fact's name has them.
FAMILIES: dict[int, str] = {INET: "ipv4", INET6: "ipv6", UNIX: "unix"}
#: The selectors that a world has, and what the standard library calls them.
Kind: TypeAlias = Literal["epoll", "poll", "select"]
KINDS: dict[Kind, str] = {"epoll": "EpollSelector", "poll": "PollSelector", "select": "SelectSelector"}
#: Error numbers by name; Linux has one number for two names, and its manual pages use this one.
NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP"}
#: What is waited for longer than this does not come. Seconds.
PATIENCE = 20.0

Socket: TypeAlias = socket.socket
Script: TypeAlias = "Iterator[tuple[object, object]]"


def said(call: Callable[..., Any], *args: Any) -> Any:
    """Make *call*; return what it returned, or the name of its errno, or of its exception if that has none."""
    try:
        value = call(*args)
    except OSError as exc:
        return NAMES.get(exc.errno or 0, type(exc).__name__)
    except Exception as exc:
        return type(exc).__name__
    return named(value) if getattr(call, "__name__", "") == "connect_ex" else value


def error(sock: Socket) -> str | int:
    """Take the pending error: its name, or 0."""
    return named(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def named(code: int) -> str | int:
    """Return the name of an error number; 0 has none."""
    return NAMES[code] if code else 0


def option(sock: Socket, name: str, level: int = socket.SOL_SOCKET) -> int:
    """Return the value of the option *name*."""
    return sock.getsockopt(level, getattr(socket, name))


def drain(sock: Socket) -> int:
    """Receive until there is no more, or the peer has ended; return how many bytes there were."""
    given = 0
    with contextlib.suppress(BlockingIOError):
        while chunk := sock.recv(65536):
            given += len(chunk)
    return given


def reset(sock: Socket) -> None:
    """Close by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


class World(abc.ABC):
    """Where facts are looked up. A subclass says how sockets and selectors are made, and how things arrive."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self._kept = contextlib.ExitStack()
        self._paths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    @abc.abstractmethod
    def make_socket(self, family: int, type: int) -> Socket:  # noqa: A002  # as socket.socket() has it
        """Return a new blocking socket."""

    @abc.abstractmethod
    def make_socketpair(self, family: int, type: int) -> tuple[Socket, Socket]:  # noqa: A002  # as above
        """Return two connected blocking sockets."""

    @abc.abstractmethod
    def make_selector(self, kind: Kind) -> selectors.BaseSelector:
        """Return a new selector of *kind*, one of `KINDS`."""

    @abc.abstractmethod
    def settle(self) -> None:
        """Let arrive what is on its way."""

    @abc.abstractmethod
    def reopen(self, number: int) -> Socket:
        """Return a socket made of a number that was detached."""

    def unlink(self, path: str) -> None:
        """Remove the file of a Unix socket."""
        os.unlink(path)

    # What facts use

    def socket(self, family: int = INET, type: int = STREAM) -> Socket:  # noqa: A002  # as above
        """Return a new blocking socket, which the world closes at its end."""
        return self.keep(self.make_socket(family, type))

    def socketpair(self, family: int = UNIX, type: int = STREAM) -> tuple[Socket, Socket]:  # noqa: A002
        """Return two connected blocking sockets, which the world closes at its end."""
        here, there = self.make_socketpair(family, type)
        return self.keep(here), self.keep(there)

    def selector(self, kind: Kind) -> selectors.BaseSelector:
        """Return a new selector, which the world closes at its end."""
        made = self.make_selector(kind)
        self._kept.callback(made.close)
        return made

    def keep(self, sock: Socket) -> Socket:
        """Close *sock* at the world's end."""
        self._kept.callback(sock.close)
        return sock

    def wait(self, sock: Socket, events: int) -> None:
        """Wait until *sock* is ready for one of *events*."""
        with self.make_selector("poll") as selector:
            selector.register(sock, events)
            if not selector.select(PATIENCE):
                raise TimeoutError(f"{sock!r} never became ready")

    def ready(self, sock: Socket) -> str:
        """Ask every selector, without waiting, for reading, for writing and for both; return what they say in short.

        `"rw"`, `"r"`, `"w"` or `""` is what all of them say, whether asked for one thing or for both.
        `"rw, select: r"`: so say all but the one that is named.
        """
        answers = {kind: self._ready(kind, sock) for kind in KINDS}
        common = answers["epoll"]
        return ", ".join([common, *(f"{kind}: {said}" for kind, said in answers.items() if said != common)])

    def _ready(self, kind: Kind, sock: Socket) -> str:
        singly, both = "", ""
        for events in (READ, WRITE, READ | WRITE):
            with self.make_selector(kind) as selector:
                selector.register(sock, events)
                reported = sum(ready for _, ready in selector.select(0))
            letters = "r" * bool(reported & READ) + "w" * bool(reported & WRITE)
            if events == READ | WRITE:
                both = letters
            else:
                singly += letters
        return both if both == singly else f"{singly} singly, {both} together"

    def open(self, family: int = INET, type: int = STREAM) -> Socket:  # noqa: A002  # as above
        """Return a new non-blocking socket."""
        sock = self.socket(family, type)
        sock.setblocking(False)
        return sock

    def free(self, family: int = INET) -> Any:
        """Return an address that `bind` makes something new of."""
        if family == UNIX:
            self._paths += 1
            return str(self.tmp_path / f"{self._paths}.sock")
        return ("127.0.0.1" if family == INET else "::1", 0)

    def port(self) -> int:
        """Return the number of a port that nobody has, on any address, of TCP or of UDP."""
        while True:
            tcp, udp = self.open(INET6), self.open(INET6, DGRAM)
            for sock in (tcp, udp):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            tcp.bind(("::", 0))
            port: int = tcp.getsockname()[1]
            with tcp, udp, contextlib.suppress(OSError):
                udp.bind(("::", port))
                return port

    def bound(self, family: int = INET, type: int = STREAM) -> Socket:  # noqa: A002  # as above
        """Return a non-blocking socket that has a name, and as a stream socket refuses who connects to it."""
        sock = self.open(family, type)
        sock.bind(self.free(family))
        return sock

    def listener(self, family: int = INET, backlog: int = 16) -> Socket:
        """Return a non-blocking socket that listens."""
        sock = self.bound(family)
        sock.listen(backlog)
        return sock

    def dial(self, listener: Socket) -> Socket:
        """Return a non-blocking socket that is connected to *listener*, which has not accepted it."""
        sock = self.open(listener.family)
        sock.connect_ex(listener.getsockname())
        self.wait(sock, WRITE)
        return sock

    def accept(self, listener: Socket) -> tuple[Socket, Any]:
        """Wait for a connection and accept it; the socket is non-blocking."""
        self.wait(listener, READ)
        sock, peer = listener.accept()
        sock.setblocking(False)
        return self.keep(sock), peer

    def fill(self, sock: Socket) -> int:
        """Send until the kernel takes no more, also after what is on its way has arrived; return how many bytes it took."""
        taken, before = 0, -1
        while taken > before:
            before = taken
            with contextlib.suppress(BlockingIOError):
                while True:
                    taken += sock.send(b"x" * 65536)
            self.settle()
        return taken

    def pair(self, family: int = INET) -> tuple[Socket, Socket]:
        """Return both ends of one connection, made through a listener; both are non-blocking."""
        listener = self.listener(family)
        here = self.dial(listener)
        there, _ = self.accept(listener)
        listener.close()
        return here, there


class RealWorld(World):
    """The kernel below."""

    def make_socket(self, family: int, type: int) -> Socket:  # noqa: A002  # as above
        return socket.socket(family, type)

    def make_socketpair(self, family: int, type: int) -> tuple[Socket, Socket]:  # noqa: A002  # as above
        return socket.socketpair(family, type)

    def reopen(self, number: int) -> Socket:
        return self.keep(socket.socket(fileno=number))

    def make_selector(self, kind: Kind) -> selectors.BaseSelector:
        selector: selectors.BaseSelector = getattr(selectors, KINDS[kind])()
        return selector

    def settle(self) -> None:
        # The loopback interface hands packets on in order: what was sent before this one has arrived when this one has.
        with socket.socket(INET, DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            probe.sendto(b"", probe.getsockname())
            self.wait(probe, READ)


@attrs.frozen
class Fact:
    """One thing that kernels do: a script, the family that it is run for, and who is known to do it otherwise."""

    script: Callable[..., Script]
    family: int | None
    differs: str = ""
    #: Why it does not hold in a simulation, if it does not.
    simulated: str = ""

    @property
    def name(self) -> str:
        """What the fact is called in reports, and on the page."""
        return self.script.__name__ + ("" if self.family is None else f"-{FAMILIES[self.family]}")

    @property
    def sentence(self) -> str:
        """What the fact says."""
        return " ".join((self.script.__doc__ or "").partition("\n\n")[0].split())

    def run(self, world: World) -> list[Line]:
        """Look the fact up in *world*; return the transcript."""
        script = self.script(world) if self.family is None else self.script(world, self.family)
        return [Line(text_of(script), *pair) for pair in script]


@attrs.frozen
class Line:
    """One line of a transcript: the call as it is written, what was said, what the kernel says."""

    text: str
    said: object
    expected: object

    def __str__(self) -> str:
        return f"{self.text}  ->  {self.said!r}" + (
            "" if self.said == self.expected else f"  (the kernel: {self.expected!r})"
        )


def text_of(script: Any) -> str:
    """Return the source line at which *script*, a generator, stands."""
    frame = script.gi_frame
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip().removeprefix("yield ")


#: Every fact of the files that were imported; `fact` adds to it.
FACTS: list[Fact] = []


def fact(*families: int, differs: str = "", simulated: str = "") -> Callable[[Callable[..., Script]], Callable[..., Script]]:
    """Make a function a fact: once, or once for each of *families*, which is then its second argument."""

    def add(script: Callable[..., Script]) -> Callable[..., Script]:
        FACTS.extend(Fact(script, family, differs, simulated) for family in families or (None,))
        return script

    return add

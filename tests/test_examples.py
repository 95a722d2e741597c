"""Every example, run as a process and talked to from outside, as its user would.

Nothing is waited for by sleeping: each wait is for something that happens, and fails after `DEADLINE_SECONDS`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import reactor

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="ends the processes by SIGTERM, and waits for pipes by select"
)

EXAMPLES = Path(__file__).parent.parent / "examples"
DEADLINE_SECONDS = 20.0
#: After so long without progress a sender counts as blocked. Being wrong about it makes a test weaker, not red.
BLOCKED_SECONDS = 1.0
#: What a program and the kernel's buffers around it may take of a stream that nobody reads at the end.
TAKEN_BYTES_MAX = 64 * 1024 * 1024
MEBIBYTE = 1024 * 1024
#: PyGObject, as distributions have it, imports itself in a way that Python is about to give up.
GRACES = {"in_glib": ["-W", "ignore::ImportWarning"]}
#: Not a power of two long, so that a lost or doubled block cannot look right.
PATTERN = random.Random(7007).randbytes(65521)


def pattern(size: int) -> bytes:
    """Return *size* bytes that show where they belong."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


@attrs.define(eq=False)
class Deadline:
    """A moment that should not be reached."""

    due: float = attrs.field(init=False, factory=lambda: time.monotonic() + DEADLINE_SECONDS)

    def wait(self, readers: list[int], writers: list[int], but_for: float = DEADLINE_SECONDS) -> bool:
        """Wait until a descriptor is ready; False if none is within *but_for* seconds."""
        left = self.due - time.monotonic()
        assert left > 0, f"nothing happened within {DEADLINE_SECONDS:g} s"
        return any(select.select(readers, writers, [], min(left, but_for)))


@attrs.define(eq=False)
class Program:
    """A running example."""

    process: subprocess.Popen[bytes]
    errors: Path
    _unread: bytes = attrs.field(init=False, default=b"")
    _errors_taken: int = attrs.field(init=False, default=0)

    def read_line(self) -> str:
        """Return the next line of its standard output."""
        deadline = Deadline()
        while b"\n" not in self._unread:
            chunk = self._read(deadline)
            assert chunk, f"it ended its output after {self._unread!r}; errors: {self.take_errors()}"
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()

    def read_all(self) -> bytes:
        """Return its standard output from here on to the end."""
        deadline, chunks = Deadline(), [self._unread]
        while chunk := self._read(deadline):
            chunks.append(chunk)
        return b"".join(chunks)

    def _read(self, deadline: Deadline) -> bytes:
        assert self.process.stdout is not None
        number = self.process.stdout.fileno()
        while not deadline.wait([number], []):
            pass
        return os.read(number, 65536)

    def close_input(self) -> None:
        """End its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def write_until_blocked(self) -> int:
        """Write the pattern to its standard input until it takes no more; return how many bytes it took."""
        assert self.process.stdin is not None
        number = self.process.stdin.fileno()
        os.set_blocking(number, False)
        deadline, written = Deadline(), 0
        while written < TAKEN_BYTES_MAX and deadline.wait([], [number], BLOCKED_SECONDS):
            with contextlib.suppress(BlockingIOError):
                written += os.write(number, PATTERN[written % len(PATTERN) :])
        return written

    def finish(self) -> int:
        """Wait for its end; return its exit status."""
        return self.process.wait(DEADLINE_SECONDS)

    def take_errors(self) -> str:
        """Return what it wrote to standard error and was not returned before."""
        text = self.errors.read_text()
        text, self._errors_taken = text[self._errors_taken :], len(text)
        return text

    def end(self) -> str:
        """End it if it still runs; return what is wrong with the way it ended."""
        self.process.terminate()
        try:
            self.process.wait(DEADLINE_SECONDS)
            wrong = ""
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            wrong = "had to be killed; "
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        errors = self.take_errors()
        return f"{self.process.args!r} {wrong}wrote: {errors!r}\n" if wrong or errors else ""


@attrs.define(eq=False)
class Stage:
    """The programs and sockets of one test."""

    directory: Path
    programs: list[Program] = attrs.field(init=False, factory=list)
    sockets: list[socket.socket] = attrs.field(init=False, factory=list)

    def start(self, name: str, *args: object, stdin: int = subprocess.DEVNULL) -> Program:
        """Run the example *name* against the library that is under test."""
        home = str(Path(reactor.__file__).parent.parent)
        errors = self.directory / f"errors{len(self.programs)}"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", *GRACES.get(name, ()), str(EXAMPLES / f"{name}.py"), *map(str, args)],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])},
            )
        program = Program(process, errors)
        self.programs.append(program)
        return program

    def serve(self, name: str, *args: object, bind: str = "127.0.0.1:0") -> tuple[Program, str]:
        """Run a server, wait until it listens, and return it with its real address."""
        program = self.start(name, "--bind", bind, *args)
        line = program.read_line()
        assert line.startswith("listening on ")
        return program, line.removeprefix("listening on ")

    def make_socket(self, address: str) -> tuple[socket.socket, str | tuple[str, int]]:
        """Return a new socket, with a small receive buffer, and *address* in the kernel's terms."""
        unix = address.removeprefix("unix:")
        sock = socket.socket(socket.AF_INET if unix == address else socket.AF_UNIX)
        self.sockets.append(sock)
        sock.settimeout(DEADLINE_SECONDS)
        if unix != address:
            return sock, unix
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        host, _, port = address.rpartition(":")
        return sock, (host, int(port))

    def connect(self, address: str) -> socket.socket:
        """Return a socket connected to *address*."""
        sock, where = self.make_socket(address)
        sock.connect(where)
        return sock

    def listen(self, address: str = "127.0.0.1:0", backlog: int = 16) -> tuple[socket.socket, str]:
        """Return a listening socket and its real address."""
        sock, where = self.make_socket(address)
        sock.bind(where)
        sock.listen(backlog)
        return sock, address if address.startswith("unix:") else name_of(sock)

    def accept(self, listener: socket.socket) -> socket.socket:
        """Return the next connection."""
        sock, _ = listener.accept()
        self.sockets.append(sock)
        sock.settimeout(DEADLINE_SECONDS)
        return sock

    def nobody(self) -> str:
        """Return an address that refuses connections, and is nobody else's before the test is over."""
        sock, where = self.make_socket("127.0.0.1:0")
        sock.bind(where)
        return name_of(sock)

    def end(self) -> None:
        """Close the sockets, end the programs, and fail if any of them was not quiet."""
        for sock in self.sockets:
            sock.close()
        wrong = "".join(program.end() for program in self.programs)
        assert not wrong, wrong


def name_of(sock: socket.socket) -> str:
    """Return the address that a TCP socket is bound to."""
    host, port = sock.getsockname()
    return f"{host}:{port}"


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Yield an empty stage, and clear it in the end. Paths of Unix sockets have to be short, so it stands in /tmp."""
    with tempfile.TemporaryDirectory(prefix="reactor-") as directory:
        made = Stage(Path(directory))
        try:
            yield made
        finally:
            made.end()


def read_to_end(sock: socket.socket) -> bytes:
    """Return all that comes."""
    deadline = Deadline()
    chunks: list[bytes] = []
    sock.setblocking(False)
    while True:
        deadline.wait([sock.fileno()], [])
        with contextlib.suppress(BlockingIOError):
            if not (chunk := sock.recv(65536)):
                return b"".join(chunks)
            chunks.append(chunk)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Return the next *size* bytes, or fewer if the end comes first."""
    received = b""
    while len(received) < size and (chunk := sock.recv(size - len(received))):
        received += chunk
    return received


def exchange(sock: socket.socket, data: bytes) -> bytes:
    """Send *data* and half-close, reading all the time; return all that comes."""
    deadline, view = Deadline(), memoryview(data)
    chunks: list[bytes] = []
    sock.setblocking(False)
    while True:
        deadline.wait([sock.fileno()], [sock.fileno()] if view else [])
        if view:
            with contextlib.suppress(BlockingIOError):
                view = view[sock.send(view) :]
                if not view:
                    sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(BlockingIOError):
            if not (chunk := sock.recv(65536)):
                return b"".join(chunks)
            chunks.append(chunk)


def send_until_blocked(sock: socket.socket) -> int:
    """Send the pattern until no more is taken; return how many bytes were."""
    deadline, sent = Deadline(), 0
    sock.setblocking(False)
    while sent < TAKEN_BYTES_MAX and deadline.wait([], [sock.fileno()], BLOCKED_SECONDS):
        with contextlib.suppress(BlockingIOError):
            sent += sock.send(PATTERN[sent % len(PATTERN) :])
    return sent


def reset(sock: socket.socket) -> None:
    """Close *sock* by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def assert_reset(sock: socket.socket) -> None:
    """Check that *sock* was reset; bytes may have come before."""
    with pytest.raises(ConnectionResetError):
        read_to_end(sock)


# All of them


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "__init__"))
def test_every_example_explains_itself(stage: Stage, name: str) -> None:
    """`--help` says how an example is called, and ends with status 0."""
    program = stage.start(name, "--help")
    assert program.read_all().startswith(b"usage: ")
    assert program.finish() == 0


@pytest.mark.parametrize("name", ["chat", "echo", "forward", "tally"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_servers_end_quietly_by_a_signal(stage: Stage, name: str, number: signal.Signals) -> None:
    """A server told to end sends its clients the end, prints nothing, and ends with status 0."""
    listener, upstream = stage.listen()
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is ignored here would be ignored there, too
    try:
        server, address = stage.serve(name, *([upstream] if name == "forward" else []))
    finally:
        signal.signal(signal.SIGINT, ignored)
    client = stage.connect(address)
    if name == "forward":  # the client is connected as soon as the kernel says so; the server has to know of it, too
        stage.accept(listener)
    else:
        client.sendall(b"ann\n")
        assert read_exactly(client, 1)
    server.process.send_signal(number)
    read_to_end(client)
    client.close()
    assert server.read_all() == b""
    assert server.finish() == 0


@pytest.mark.parametrize("name", ["chat", "echo", "forward", "tally"])
def test_servers_say_why_they_cannot_listen(stage: Stage, name: str) -> None:
    """A server whose address is taken, or none, says so on standard error without a traceback, and ends with status 2."""
    _, taken = stage.listen()
    for bind in (taken, "nonsense"):
        program = stage.start(name, "--bind", bind, *(["127.0.0.1:1"] if name == "forward" else []))
        assert program.finish() == 2
        errors = program.take_errors()
        assert bind in errors
        assert "Traceback" not in errors


# echo


def test_echo_returns_everything_after_a_half_close(stage: Stage) -> None:
    """A mebibyte comes back whole and in order, though the client has ended its own half."""
    _, address = stage.serve("echo")
    data = pattern(MEBIBYTE)
    assert exchange(stage.connect(address), data) == data


def test_echo_serves_others_while_one_does_not_read(stage: Stage) -> None:
    """A client that sends without reading is blocked after a bounded number of bytes, gets them all when it reads at last,
    and keeps nobody else from being served.
    """
    _, address = stage.serve("echo")
    slow = stage.connect(address)
    sent = send_until_blocked(slow)
    assert sent < TAKEN_BYTES_MAX
    assert exchange(stage.connect(address), b"quick") == b"quick"
    slow.shutdown(socket.SHUT_WR)
    assert read_to_end(slow) == pattern(sent)


def test_echo_survives_a_reset(stage: Stage) -> None:
    """A client that vanishes takes nothing with it."""
    _, address = stage.serve("echo")
    client = stage.connect(address)
    client.sendall(b"hello")
    assert read_exactly(client, 5) == b"hello"
    reset(client)
    assert exchange(stage.connect(address), b"still there") == b"still there"


# echo_client


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_client_sends_words_and_prints_the_answer(stage: Stage, where: str) -> None:
    """The words come back, one in a line, and the client ends with status 0."""
    _, address = stage.serve("echo", bind="127.0.0.1:0" if where == "tcp" else f"unix:{stage.directory}/echo")
    client = stage.start("echo_client", address, "hello", "wörld")
    assert client.read_all().decode() == "hello\nwörld\n"
    assert client.finish() == 0


def test_client_answers_while_its_input_is_open(stage: Stage) -> None:
    """A line that is typed comes back before the next one is typed."""
    _, address = stage.serve("echo")
    client = stage.start("echo_client", address, stdin=subprocess.PIPE)
    assert client.process.stdin is not None
    for line in ("one", "two"):
        client.process.stdin.write(f"{line}\n".encode())
        client.process.stdin.flush()
        assert client.read_line() == line
    client.close_input()
    assert client.read_all() == b""
    assert client.finish() == 0


def test_client_sends_a_large_file(stage: Stage) -> None:
    """Eight mebibytes from a regular file, which no selector can watch, come back whole."""
    _, address = stage.serve("echo")
    data = pattern(8 * MEBIBYTE)
    path = stage.directory / "data"
    path.write_bytes(data)
    with path.open("rb") as file:
        client = stage.start("echo_client", address, stdin=file.fileno())
    assert client.read_all() == data
    assert client.finish() == 0


def test_client_half_closes_and_reads_on(stage: Stage) -> None:
    """The server hears the end of the input, and what it says after that is still printed."""
    listener, address = stage.listen()
    client = stage.start("echo_client", address, "hello")
    server = stage.accept(listener)
    assert read_to_end(server) == b"hello\n"
    server.setblocking(True)
    server.sendall(b"late")
    server.close()
    assert client.read_all() == b"late"
    assert client.finish() == 0


def test_client_reads_no_more_input_than_it_can_send(stage: Stage) -> None:
    """A server that does not read blocks the client's input after a bounded number of bytes, and loses none."""
    listener, address = stage.listen()
    client = stage.start("echo_client", address, stdin=subprocess.PIPE)
    server = stage.accept(listener)
    written = client.write_until_blocked()
    assert written < TAKEN_BYTES_MAX
    client.close_input()
    assert read_to_end(server) == pattern(written)
    server.close()
    assert client.finish() == 0


def test_client_ends_when_the_server_ends_first(stage: Stage) -> None:
    """A server that ends while input is still open ends the client, with status 0."""
    listener, address = stage.listen()
    client = stage.start("echo_client", address, stdin=subprocess.PIPE)
    server = stage.accept(listener)
    server.sendall(b"bye\n")
    server.close()
    assert client.read_all() == b"bye\n"
    assert client.finish() == 0


def test_client_says_why_it_cannot_connect(stage: Stage) -> None:
    """A refused connect is told on standard error, with status 1."""
    address = stage.nobody()
    client = stage.start("echo_client", address, "hello")
    assert client.finish() == 1
    assert re.search(f"cannot connect to {address}: .*refused", client.take_errors())


def test_client_says_that_it_was_reset(stage: Stage) -> None:
    """A connection that breaks is told on standard error, with status 1."""
    listener, address = stage.listen()
    client = stage.start("echo_client", address, stdin=subprocess.PIPE)
    reset(stage.accept(listener))
    assert client.finish() == 1
    assert "reset" in client.take_errors()


# tally


def test_tally_adds_up_for_each_client(stage: Stage) -> None:
    """Each request is answered with the total of this client, in order, however the bytes are cut."""
    _, address = stage.serve("tally")
    ann, bob = Talker(stage.connect(address)), Talker(stage.connect(address))
    for piece in (b'{"name": "a", "ad', b'd": 2}\n{"name": "a", "add": 3}', b"\n"):
        ann.sock.sendall(piece)
    bob.say('{"name": "a", "add": 7}')
    totals = [json.loads(talker.hear())["total"] for talker in (ann, ann, bob)]
    assert totals == [2, 5, 7]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"nonsense\n", "means nothing"),
        (b'{"name": "a"}\n', "a request is an object"),
        (b"[" * 1020 + b"\n", "means nothing"),
        (b"x" * 5000, "longer than 1024 bytes"),
        (b'{"name": ', "ended 9 bytes after"),
    ],
)
def test_tally_refuses_what_is_no_request(stage: Stage, line: bytes, error: str) -> None:
    """What came before is answered; then what is wrong is said, and the connection ends."""
    _, address = stage.serve("tally")
    sock = stage.connect(address)
    sock.sendall(b'{"name": "a", "add": 2}\n' + line)
    sock.shutdown(socket.SHUT_WR)
    first, last = (json.loads(reply) for reply in read_to_end(sock).splitlines())
    assert first == {"name": "a", "total": 2, "error": ""}
    assert error in last["error"]


# chat


@attrs.define(eq=False)
class Talker:
    """A member of the chat."""

    sock: socket.socket
    _unread: bytes = attrs.field(init=False, default=b"")

    def say(self, *lines: str) -> None:
        """Send *lines*."""
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def hear(self) -> str:
        """Return the next line."""
        while b"\n" not in self._unread:
            chunk = self.sock.recv(65536)
            assert chunk, f"the room ended after {self._unread!r}"
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()


def join(stage: Stage, address: str, name: str) -> Talker:
    """Return a member called *name*."""
    talker = Talker(stage.connect(address))
    assert talker.hear() == "* What is your name?"
    talker.say(name)
    assert talker.hear().startswith("* Welcome.")
    return talker


def test_chat_carries_lines_to_all_others(stage: Stage) -> None:
    """Joining, each line, however it is cut, and leaving are told to everybody else, in order."""
    _, address = stage.serve("chat")
    ann = join(stage, address, "ann")
    bob = join(stage, address, "bob")
    assert ann.hear() == "* bob has joined"
    cyd = join(stage, address, "cyd")
    assert (ann.hear(), bob.hear()) == ("* cyd has joined", "* cyd has joined")
    for piece in (b"hel", b"lo\r", b"\nagain\n"):
        ann.sock.sendall(piece)
    assert (bob.hear(), bob.hear()) == ("ann: hello", "ann: again")
    assert (cyd.hear(), cyd.hear()) == ("ann: hello", "ann: again")
    bob.say("hi")
    assert (ann.hear(), cyd.hear()) == ("bob: hi", "bob: hi")
    ann.sock.shutdown(socket.SHUT_WR)
    assert (bob.hear(), cyd.hear()) == ("* ann has left", "* ann has left")
    reset(bob.sock)
    assert cyd.hear() == "* bob has left"


def test_chat_asks_until_it_gets_a_name(stage: Stage) -> None:
    """A name that is taken, empty, too long or unprintable is refused, and nobody hears of it."""
    _, address = stage.serve("chat")
    ann = join(stage, address, "ann")
    bob = Talker(stage.connect(address))
    bob.say("ann", "", "b" * 21, "b\x1bob", "bob")
    assert bob.hear() == "* What is your name?"
    assert bob.hear() == "* ann is here already. What is your name?"
    assert [bob.hear()[:13] for _ in range(3)] == ["* A name has "] * 3
    assert bob.hear() == "* Welcome. Here are: ann"
    assert ann.hear() == "* bob has joined"


def test_chat_refuses_a_line_that_is_too_long(stage: Stage) -> None:
    """The longest line allowed is carried; one byte more, or a mebibyte, is refused, and the next line is carried."""
    _, address = stage.serve("chat")
    ann, bob = join(stage, address, "ann"), join(stage, address, "bob")
    assert ann.hear() == "* bob has joined"
    for line in ("x" * 1025, "x" * 1024 + "\r", "x" * 1024 + "\ry", "x" * MEBIBYTE):
        ann.say(line)
        assert ann.hear() == "* refused: a line has at most 1024 bytes"
    ann.say("x" * 1024, "short")
    assert (bob.hear(), bob.hear()) == ("ann: " + "x" * 1024, "ann: short")


def test_chat_lets_a_slow_member_miss_messages(stage: Stage) -> None:
    """A member that does not read slows nobody down, misses messages, and is told how many when it reads again."""
    _, address = stage.serve("chat", bind=f"unix:{stage.directory}/chat")  # the kernel's buffers are small there
    ann, bob, slow = (join(stage, address, name) for name in ("ann", "bob", "slow"))
    assert [ann.hear(), ann.hear(), bob.hear()] == ["* bob has joined", "* slow has joined", "* slow has joined"]
    total, batch = 4000, 40
    for first in range(0, total, batch):
        lines = [f"{number} {'x' * 1000}" for number in range(first, first + batch)]
        ann.say(*lines)
        for line in lines:
            assert bob.hear() == f"ann: {line}"
    accounted = missed = 0
    while accounted < total:
        line = slow.hear()
        if match := re.fullmatch(r"\* you missed (\d+) messages", line):
            missed += int(match[1])
            accounted += int(match[1])
        else:
            assert line.startswith(f"ann: {accounted} x"), "messages come in order, and gaps are told where they are"
            accounted += 1
    assert accounted == total
    assert missed > total // 2
    ann.say("last")
    assert slow.hear() == "ann: last"


# countdown


def test_countdown_counts_by_timers(stage: Stage) -> None:
    """`countdown 3` says 3, 2, 1 and go, one period apart."""
    started = time.monotonic()
    program = stage.start("countdown", 3, "--period", 0.1)
    assert program.read_all() == b"3\n2\n1\ngo\n"
    assert program.finish() == 0
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("args", [("0",), ("three",), ("3", "--period", "0"), ("3", "--period", "nan")])
def test_countdown_refuses_what_it_cannot_count(stage: Stage, args: tuple[str, ...]) -> None:
    """A number below 1 or a period that is no time is a usage error."""
    program = stage.start("countdown", *args)
    assert program.finish() == 2
    assert program.take_errors().startswith("usage: ")


# forward


@attrs.define(eq=False)
class Pair:
    """A forwarded connection, as its two ends see it."""

    client: socket.socket
    upstream: socket.socket


def forwarded(stage: Stage) -> Pair:
    """Return both ends of a connection through the forwarder."""
    listener, target = stage.listen()
    _, address = stage.serve("forward", target)
    return Pair(stage.connect(address), stage.accept(listener))


BOTH_WAYS = pytest.mark.parametrize(("one", "other"), [("client", "upstream"), ("upstream", "client")])


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:{}/front"])
@pytest.mark.parametrize("target", ["127.0.0.1:0", "unix:{}/back"])
def test_forward_carries_bytes_between_all_kinds_of_addresses(stage: Stage, bind: str, target: str) -> None:
    """A mebibyte goes to the echo server and back, over TCP and Unix sockets."""
    _, target = stage.serve("echo", bind=target.format(stage.directory))
    _, address = stage.serve("forward", target, bind=bind.format(stage.directory))
    data = pattern(MEBIBYTE)
    assert exchange(stage.connect(address), data) == data


@BOTH_WAYS
def test_forward_passes_a_half_close_on(stage: Stage, one: str, other: str) -> None:
    """The end of one direction arrives behind its last byte, and the other direction goes on until its own end."""
    pair = forwarded(stage)
    first, second = getattr(pair, one), getattr(pair, other)
    first.sendall(b"question")
    first.shutdown(socket.SHUT_WR)
    assert read_to_end(second) == b"question"
    data = pattern(MEBIBYTE)
    second.setblocking(True)
    second.sendall(data[:10])
    assert read_exactly(first, 10) == data[:10]
    assert exchange(second, data[10:]) == b""
    assert read_to_end(first) == data[10:]


@BOTH_WAYS
def test_forward_delivers_what_is_queued_when_a_side_closes(stage: Stage, one: str, other: str) -> None:
    """A side that sends much and closes at once loses nothing."""
    pair = forwarded(stage)
    first, second = getattr(pair, one), getattr(pair, other)
    sent = send_until_blocked(first)
    first.close()
    assert read_to_end(second) == pattern(sent)


@BOTH_WAYS
def test_forward_passes_a_reset_on(stage: Stage, one: str, other: str) -> None:
    """A side that is reset has the other side reset."""
    pair = forwarded(stage)
    first, second = getattr(pair, one), getattr(pair, other)
    first.sendall(b"torn")
    assert read_exactly(second, 4) == b"torn"
    reset(first)
    assert_reset(second)


@BOTH_WAYS
def test_forward_passes_a_reset_on_though_nothing_moves(stage: Stage, one: str, other: str) -> None:
    """A side that is reset while both directions are blocked has the other side reset, which need not read for that."""
    pair = forwarded(stage)
    first, second = getattr(pair, one), getattr(pair, other)
    send_until_blocked(first)
    send_until_blocked(second)
    reset(first)
    poll = select.poll()
    poll.register(second, 0)  # errors are reported unasked
    assert poll.poll(1000 * DEADLINE_SECONDS), "the other side was never told"


@BOTH_WAYS
def test_forward_blocks_a_sender_whose_reader_does_not_read(stage: Stage, one: str, other: str) -> None:
    """Back-pressure goes through: a bounded number of bytes is taken, while the other direction flows, and none is lost."""
    pair = forwarded(stage)
    first, second = getattr(pair, one), getattr(pair, other)
    sent = send_until_blocked(first)
    assert sent < TAKEN_BYTES_MAX
    second.sendall(b"other way")
    first.settimeout(DEADLINE_SECONDS)
    assert read_exactly(first, 9) == b"other way"
    first.shutdown(socket.SHUT_WR)
    assert read_to_end(second) == pattern(sent)


def test_forward_resets_a_client_whose_upstream_refuses(stage: Stage) -> None:
    """No upstream, no connection: the client is reset, standard error says why, and the forwarder lives on."""
    target = stage.nobody()
    forward, address = stage.serve("forward", target)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            read_to_end(stage.connect(address))  # connecting fails already if the reset is faster
        assert re.search(f"cannot connect to {target}: .*refused", forward.take_errors())


def test_forward_reads_nothing_before_upstream_is_there(stage: Stage) -> None:
    """While the upstream connect is under way the client is blocked after a bounded number of bytes; then all arrive."""
    listener, target = full_listener(stage)
    _, address = stage.serve("forward", target)
    client = stage.connect(address)
    sent = send_until_blocked(client)
    assert sent < TAKEN_BYTES_MAX
    client.shutdown(socket.SHUT_WR)
    while True:  # what filled the queue comes first, and says nothing
        upstream = stage.accept(listener)
        if upstream.getpeername() not in [sock.getsockname() for sock in stage.sockets if sock.fileno() >= 0]:
            break
    assert read_to_end(upstream) == pattern(sent)


def full_listener(stage: Stage) -> tuple[socket.socket, str]:
    """Return a listening socket, and its address, where connecting takes for ever: its queue is full.

    Linux drops a SYN then (tcp(7): `tcp_abort_on_overflow` is off); others refuse, and the test is skipped.
    """
    listener, address = stage.listen(backlog=0)
    for _ in range(8):
        sock, where = stage.make_socket(address)
        sock.settimeout(BLOCKED_SECONDS / 2)
        try:
            sock.connect(where)
        except TimeoutError:
            return listener, address
        except OSError:
            break
    pytest.skip("this kernel does not let a full accept queue swallow connection attempts")


# knock


def test_knock_tells_open_from_refused(stage: Stage) -> None:
    """Each address gets one line, and a last line sums up."""
    _, unix = stage.listen(f"unix:{stage.directory}/door")
    _, door = stage.listen()
    wall = stage.nobody()
    missing = f"unix:{stage.directory}/missing"
    knock = stage.start("knock", door, wall, unix, missing, "127.0.0.1:0")
    *lines, summary = knock.read_all().decode().splitlines()
    assert {f"{door} open", f"{wall} refused", f"{unix} open"} <= set(lines)
    assert len(lines) == 5
    assert any("no such socket" in line for line in lines)
    assert any("needs a port" in line for line in lines)
    assert re.fullmatch(r"5 addresses in [\d.]+ s: 2 open, 1 refused, 0 timed out, 2 failed", summary)
    assert knock.finish() == 0


def test_knock_walks_a_range_with_few_attempts_at_once(stage: Stage) -> None:
    """Every port of a range is tried once, though only two may be under way together."""
    _, door = stage.listen()
    port = int(door.rpartition(":")[2])
    first, last = max(1, port - 20), min(65535, port + 20)
    knock = stage.start("knock", "--at-once", 2, f"127.0.0.1:{first}-{last}")
    *lines, summary = knock.read_all().decode().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(f"127.0.0.1:{number}" for number in range(first, last + 1))
    assert f"{door} open" in lines
    assert summary.startswith(f"{last - first + 1} addresses in ")
    assert knock.finish() == 0


def test_knock_gives_up_on_who_does_not_answer(stage: Stage) -> None:
    """An address that never answers is given up after the timeout, and does not hold up the others."""
    _, silent = full_listener(stage)
    _, door = stage.listen()
    knock = stage.start("knock", "--timeout", 0.2, silent, door)
    *lines, summary = knock.read_all().decode().splitlines()
    assert lines == [f"{door} open", f"{silent} timed out"]
    assert re.fullmatch(r"2 addresses in [\d.]+ s: 1 open, 0 refused, 1 timed out, 0 failed", summary)
    assert knock.finish() == 0


def test_knock_has_no_more_attempts_under_way_than_it_was_told(stage: Stage) -> None:
    """Three silent addresses, one at a time, take three timeouts."""
    _, silent = full_listener(stage)
    knock = stage.start("knock", "--timeout", 0.2, "--at-once", 1, silent, silent, silent)
    *lines, summary = knock.read_all().decode().splitlines()
    assert lines == [f"{silent} timed out"] * 3
    match = re.fullmatch(r"3 addresses in ([\d.]+) s: 0 open, 0 refused, 3 timed out, 0 failed", summary)
    assert match is not None
    assert float(match[1]) >= 0.6
    assert knock.finish() == 0


@pytest.mark.parametrize(
    "args",
    [("127.0.0.1:9-7",), ("127.0.0.1:1-70000",), ("--at-once", "0", "127.0.0.1:1"), ("--timeout", "nan", "127.0.0.1:1")],
)
def test_knock_refuses_what_is_no_range(stage: Stage, args: tuple[str, ...]) -> None:
    """A range that runs backwards, a port that does not exist, no attempts or no time are usage errors."""
    knock = stage.start("knock", *args)
    assert knock.finish() == 2
    assert knock.take_errors().startswith("usage: ")


def test_knock_walks_a_range_of_hosts(stage: Stage) -> None:
    """Every port of every host, of a range, of a network, and of a name."""
    _, door = stage.listen()
    port = door.rpartition(":")[2]
    knock = stage.start("knock", f"127.0.0.1-2:{port}", f"127.0.0.0/30:{port}", f"localhost:{port}")
    *lines, summary = knock.read_all().decode().splitlines()
    assert Counter(lines) == {f"127.0.0.1:{port} open": 2, f"127.0.0.2:{port} refused": 2, f"localhost:{port} open": 1}
    assert "3 open, 2 refused" in summary
    assert knock.finish() == 0


@pytest.mark.parametrize("target", ["127.0.0.9-1:80", "10.0.0.1/28:80", "127.0.0.1-999:80"])
def test_knock_refuses_what_is_no_range_of_hosts(stage: Stage, target: str) -> None:
    """Backwards, no network, or more than there can be: a usage error."""
    knock = stage.start("knock", target)
    assert knock.finish() == 2
    assert knock.take_errors().startswith("usage: ")


def test_forward_to_a_name(stage: Stage) -> None:
    """A name is looked up for each client; one that does not exist resets the client, and standard error says why."""
    listener, target = stage.listen()
    _, address = stage.serve("forward", f"localhost:{target.rpartition(':')[2]}")
    client = stage.connect(address)
    upstream = stage.accept(listener)
    client.sendall(b"hello")
    assert upstream.recv(5) == b"hello"
    forward, address = stage.serve("forward", "a.name.that.is.nobodys.invalid:80")
    assert_reset(stage.connect(address))
    assert "cannot connect to a.name.that.is.nobodys.invalid:80: " in forward.take_errors()


# fetch


def answer(stage: Stage, listener: socket.socket, *chunks: bytes) -> bytes:
    """Accept one, read its request, say *chunks* and end; return the request."""
    client = stage.accept(listener)
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += client.recv(1000)
    for chunk in chunks:
        client.sendall(chunk)
    client.close()
    return request


def test_fetch_prints_status_size_and_times(stage: Stage) -> None:
    """One line for each URL, whatever became of it, and a last one that sums up."""
    listener, address = stage.listen()
    nobody = stage.nobody()
    port = address.rpartition(":")[2]
    fetch = stage.start(
        "fetch",
        "--at-once",
        1,
        f"http://{address}/a?b=c",
        f"http://localhost:{port}",
        f"http://{nobody}/",
        f"http://{address}/x",
    )
    request = answer(stage, listener, b"HTTP/1.0 200 OK\r\ncontent-length: 100000\r\n\r\n", pattern(100000))
    assert request == f"GET /a?b=c HTTP/1.0\r\nHost: {address}\r\n\r\n".encode()
    assert answer(stage, listener, b"HTTP/1.1 404 Not", b" Found\r\n\r\ngone").startswith(
        b"GET / HTTP/1.0\r\nHost: localhost:"
    )
    answer(stage, listener, b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", b"short")
    first, second, third, fourth, last = fetch.read_all().decode().splitlines()
    assert re.fullmatch(rf"200 OK +100,000 bytes +[\d.]+ s \(connected after [\d.]+ s\) http://{address}/a\?b=c", first)
    assert re.fullmatch(rf"404 Not Found +4 bytes .* http://localhost:{port}", second)
    assert re.match(rf".*cannot connect to {nobody}: .*refused .* +0 bytes", third)
    assert re.match(r"200 OK, cut off +5 bytes ", fourth)
    assert re.fullmatch(r"4 fetched, 3 of them failed, 100,009 bytes, [\d.]+ s", last)
    assert fetch.finish() == 1


def test_fetch_does_many_at_once_by_way_of_a_proxy(stage: Stage) -> None:
    """The proxy is asked for each by name; the answers come in any order, and all good ones make a good end."""
    listener, address = stage.listen()
    fetch = stage.start("fetch", "--proxy", address, "http://one.example/", "http://two.example:81/")
    clients = [stage.accept(listener) for _ in range(2)]
    for client in reversed(clients):
        asked = client.recv(1000)
        assert asked.startswith((b"CONNECT one.example:80 HTTP/1.1", b"CONNECT two.example:81 HTTP/1.1"))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert client.recv(1000).startswith(b"GET / HTTP/1.0\r\nHost: ")
        client.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")
        client.close()
    *lines, last = fetch.read_all().decode().splitlines()
    assert all(line.startswith("204 No Content ") for line in lines)
    assert last.startswith("2 fetched, 0 of them failed, 0 bytes, ")
    assert fetch.finish() == 0


def test_fetch_has_a_deadline(stage: Stage) -> None:
    """For the whole: a server that says nothing, or never comes to an end, is given up; so is one that is no HTTP."""
    listener, address = stage.listen()
    _, silent = full_listener(stage)
    fetch = stage.start("fetch", "--timeout", 0.5, f"http://{silent}/", f"http://{address}/", f"http://{address}/b")
    stage.accept(listener)
    answer(stage, listener, b"SSH-2.0\r\n\r\n")
    *lines, last = fetch.read_all().decode().splitlines()
    told = "\n".join(lines)
    assert "within 0.5 s" in told
    assert "fetch deadline passed" in told
    assert "no HTTP" in told
    assert last.startswith("3 fetched, 3 of them failed")
    assert fetch.finish() == 1


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("https://example.org/",), "https is not there yet"),
        (("ftp://example.org/",), "is no URL"),
        (("http://example.org:x/",), "is no URL"),
        (("http:///",), "is no URL"),
        (("--at-once", "0", "http://a/"), "at least 1"),
        (("--timeout", "nan", "http://a/"), "usage: "),
    ],
)
def test_fetch_refuses_what_it_cannot_fetch(stage: Stage, args: tuple[str, ...], text: str) -> None:
    """https is not there yet, and it says so; other mistakes are usage errors, too."""
    fetch = stage.start("fetch", *args)
    assert fetch.finish() == 2
    assert text in fetch.take_errors()


def displays(name: str) -> bool:
    """Whether a process can open a window on display *name*; asked in a process of its own, since Tk may hang or abort."""
    ask = [sys.executable, "-c", "import tkinter; tkinter.Tk().destroy()"]
    environment = {**os.environ, "DISPLAY": name}
    return not subprocess.run(ask, env=environment, capture_output=True, timeout=DEADLINE_SECONDS, check=False).returncode


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A display for Tk: one that is there, or Xvfb; else the test is skipped."""
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    if os.environ.get("DISPLAY") and displays(os.environ["DISPLAY"]):
        yield
        return
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("there is no display, and no Xvfb to make one")
    read, write = os.pipe()
    with subprocess.Popen(
        [server, "-displayfd", str(write), "-nolisten", "tcp"], pass_fds=[write], stderr=subprocess.DEVNULL
    ) as xvfb:
        os.close(write)
        try:
            with open(read) as file:
                number = file.readline().strip()
            if not number or not displays(f":{number}"):
                pytest.skip("Xvfb makes no display that Tk can use")
            monkeypatch.setenv("DISPLAY", f":{number}")
            yield
        finally:
            xvfb.terminate()


def lives_in(stage: Stage, name: str) -> None:
    """Assert that an example echoes by a timer of its reactor, and ends when two clients have left."""
    program, address = stage.serve(name, "--clients", 2)
    for data in (b"hello", pattern(MEBIBYTE)):
        assert exchange(stage.connect(address), data) == data
        assert program.read_line().startswith("ended by the peer first")
    assert program.finish() == 0


def test_in_asyncio(stage: Stage) -> None:
    """Asyncio makes a reactor's passes: events, timers, and the end."""
    lives_in(stage, "in_asyncio")


def test_in_reactor(stage: Stage) -> None:
    """A reactor makes another one's passes."""
    lives_in(stage, "in_reactor")


@pytest.mark.usefixtures("display")
def test_in_tk(stage: Stage) -> None:
    """Tk makes a reactor's passes."""
    lives_in(stage, "in_tk")


def test_in_glib(stage: Stage) -> None:
    """GLib makes a reactor's passes."""
    pytest.importorskip("gi.repository.GLib", reason="PyGObject is not there")
    lives_in(stage, "in_glib")


@pytest.mark.parametrize("kind", ["by_aiohttp", "by_streams"])
def test_with_asyncio(stage: Stage, kind: str) -> None:
    """Handlers echo, asyncio serves HTTP, a hook has a task run a child process; SIGTERM ends both."""
    extra = []
    if kind == "by_aiohttp":
        pytest.importorskip("aiohttp", reason="aiohttp is not there")
    else:
        extra = ["--plain"]
    program, address = stage.serve("with_asyncio", "--http", "127.0.0.1:0", *extra)
    http, said = program.read_line().removeprefix("HTTP on ").split(", ")
    assert said == kind
    assert exchange(stage.connect(address), b"hello") == b"hello"
    for _ in range(2):
        sock = stage.connect(http)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = read_to_end(sock)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert re.search(rb"\d+ handlers, \d+ passes\n$", answer)
    sock = stage.connect(address)
    sock.sendall(b"python\n")
    assert read_exactly(sock, 7) == b"Python "
    program.process.terminate()
    assert program.read_line() == "bye"
    assert program.finish() == 0
    assert b"hello" not in read_to_end(sock)


def test_prefork(stage: Stage) -> None:
    """Children serve one port, a dead one is replaced, and on SIGTERM those who are connected may finish."""
    program, address = stage.serve("prefork", "--children", 2)
    sock = stage.connect(address)
    first = int(read_exactly(sock, len(str(program.process.pid)) + 1))
    assert first != program.process.pid
    os.kill(first, signal.SIGKILL)
    assert read_to_end(sock) == b""
    assert program.read_line() == f"{first} has died: -9"
    seen: set[int] = set()
    held = []
    for _ in range(4):
        sock = stage.connect(address)
        held.append(sock)
        number = b""
        while not number.endswith(b"\n"):
            number += sock.recv(1)
        seen.add(int(number))
    assert first not in seen
    assert seen
    sock.sendall(b"last words")
    assert read_exactly(sock, 10) == b"last words"
    program.process.terminate()
    for each in held:
        assert read_to_end(each) == b""
        each.close()
    assert program.finish() == 0
    for number_ in seen:
        with pytest.raises(ProcessLookupError):
            os.kill(number_, 0)

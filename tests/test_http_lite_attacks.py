"""HTTP-lite under attack, alone and behind proxies: resets, slowness, size, smuggling, no descriptors, SIGTERM any time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httptools")

from examples.http_lite import demo
from examples.http_lite.connection import Connection, Site
from examples.http_lite.log import AccessLog
from examples.http_lite.static import Files, Static
from examples.http_lite.wsgi import Gateway
from tests.http_rig import DEMO, HELLO, MANY, Serving, furnish, haproxy, is_open, nginx, read_answer, serving, until
from tests.kit import PATIENCE, Virtual, Watched, read_all, reset, unix_pair

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server is ended by SIGTERM")

LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells what another process has open")
BIG = bytes(8 * 1024 * 1024)
FILES = {"hello.txt": HELLO, "big": BIG}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The demonstration and a directory; it must bear everything in here and write nothing to stderr."""
    place = tmp_path_factory.mktemp("server")
    with serving(place, *DEMO, *MANY, str(furnish(place / "root", FILES))) as made:
        yield made


def get(target: str, *fields: str, method: str = "GET") -> bytes:
    """Return a request's head."""
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *fields, "", "")).encode("latin-1")


def statuses(data: bytes) -> list[int]:
    """Return the statuses of the answers in *data*, but for interim ones."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", data)]


def told(server: Serving, *pieces: bytes) -> bytes:
    """Send *pieces*, and return everything that comes until the server closes, as it must."""
    with server.connect() as sock:
        with contextlib.suppress(ConnectionError):  # refused in the middle
            for piece in pieces:
                sock.sendall(piece)
        return read_all(sock)


def open_sockets(server: Serving) -> int:
    """Return how many sockets the server has."""
    found = 0
    for fd in os.listdir(f"/proc/{server.process.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/{server.process.pid}/fd/{fd}").startswith("socket:")
    return found


# Whoever goes


def nothing(sock: socket.socket) -> None:
    """Only connect."""


def half_a_head(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.1\r\nHost:")


def half_a_body(sock: socket.socket) -> None:
    sock.sendall(get("/sum", "Content-Length: 9", method="POST") + b"[1, ")


def half_a_chunk(sock: socket.socket) -> None:
    sock.sendall(get("/sum", "Transfer-Encoding: chunked", method="POST") + b"9\r\n[1, ")


def waiting_for_100(sock: socket.socket) -> None:
    sock.sendall(get("/sum", "Content-Length: 9", "Expect: 100-continue", method="POST"))
    assert sock.recv(1)


def at_work(sock: socket.socket) -> None:
    sock.sendall(get("/later"))


def in_a_file(sock: socket.socket) -> None:
    sock.sendall(get("/big"))
    assert sock.recv(1)


def in_a_stream(sock: socket.socket) -> None:
    sock.sendall(get("/count/20000"))
    assert sock.recv(1)


def in_events(sock: socket.socket) -> None:
    sock.sendall(get("/ticks"))
    assert sock.recv(1)


def between_answers(sock: socket.socket) -> None:
    sock.sendall(get("/hello"))
    assert read_answer(sock)[0] == 200


def with_a_queue(sock: socket.socket) -> None:
    sock.sendall(get("/later") + get("/big") * 5)


def refused(sock: socket.socket) -> None:
    sock.sendall(b"nonsense\r\n\r\n")
    assert sock.recv(1)


PHASES = [
    nothing,
    half_a_head,
    half_a_body,
    half_a_chunk,
    waiting_for_100,
    at_work,
    in_a_file,
    in_a_stream,
    in_events,
    between_answers,
    with_a_queue,
    refused,
]


@LINUX
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("leave", [reset, socket.socket.close], ids=["reset", "close"])
def test_whoever_goes_leaves_nothing_behind(
    server: Serving, phase: Callable[[socket.socket], None], leave: Callable[[socket.socket], None]
) -> None:
    """A client goes in any phase, by RST or not: its socket is gone, soon, and the server serves on."""
    before = open_sockets(server)
    for _ in range(5):
        with server.connect() as sock:
            phase(sock)
            leave(sock)
    until(lambda: open_sockets(server) <= before, "the sockets to be closed")
    with server.connect() as sock:
        between_answers(sock)


class Failing(Virtual):
    """A system on which one send fails, the one of that number; with virtual time."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def trip(self, call: str) -> int:
        if call in ("send", "send_file"):
            self.left -= 1
            if not self.left:
                raise ConnectionResetError(errno.ECONNRESET, "as asked")
        return super().trip(call)


def wsgi(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """Write, and return pieces, of which some are empty."""
    start("200 OK", [("Content-Type", "text/plain")])(b"one ")
    return [b"two ", b"", b"x" * 100_000, b"three"]


KINDS = {
    "text": [get("/hello")],
    "refusal": [b"nonsense\r\n\r\n"],
    "file": [get("/hello.txt")],
    "large file": [get("/big")],
    "ranges": [get("/big", "Range: bytes=0-0,100000-300000")],
    "stream": [get("/count/3000")],
    "old stream": [get("/count/3000").replace(b"1.1", b"1.0")],
    "events": [get("/ticks")],
    "later": [get("/later")],
    "head": [get("/big", method="HEAD")],
    "continue": [get("/sum", "Content-Length: 6", "Expect: 100-continue", method="POST"), b"[1, 2]"],
    "pipeline": [get("/hello") + get("/later") + get("/hello.txt") + get("/count/3") + get("/wsgi") + get("/hello")],
    "wsgi": [get("/wsgi")],
}


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_send_that_fails_ends_its_connection_and_nothing_else(tmp_path: Path, kind: str, threads: int) -> None:
    """Whichever send of whatever answer finds the client gone: nothing is raised, and nothing is left."""
    static = Static(Files(furnish(tmp_path / "root", FILES)))
    with contextlib.closing(static):
        for number in range(1, 30):
            if not is_cut(number, kind, threads, static):
                return


def is_cut(number: int, kind: str, threads: int, static: Static) -> bool:
    """Have the send of that *number* fail in an answer of that *kind*; return whether there was one."""
    system = Failing(number)
    with Watched(system=system, debug=True) as reactor, contextlib.ExitStack() as stack:
        gateway = Gateway(wsgi, demo.app, threads)
        stack.callback(setattr, demo.app, "otherwise", demo.app.otherwise)
        demo.app.otherwise = lambda request: (gateway if request.path == "/wsgi" else static).find(request)
        demo.app.reactor = reactor
        here, there = unix_pair()
        stack.callback(there.close)
        stream = reactor.attach(Connection(Site(demo.app, AccessLog(None, reactor.call_soon))), system.wrap(here))
        for piece in KINDS[kind]:
            there.sendall(piece)
        there.setblocking(False)

        def is_over() -> bool:
            with contextlib.suppress(BlockingIOError):
                while there.fileno() >= 0 and there.recv(1 << 20):
                    pass
            if system.left <= 0:
                there.close()
            return not stream.is_open

        reactor.call_later(10.0, stream.abort)  # events have no end
        reactor.until(is_over)
        reactor.turn(3)
        assert reactor.raised == []
        assert set(reactor.handlers) <= {stream}
        return system.left <= 0


# Whoever is many, or slow, or large


def test_a_thousand_requests_in_one_go_get_a_thousand_answers(server: Serving) -> None:
    """Each its own, in order, of every kind, while the client reads nothing until it has sent all."""
    with server.connect() as sock:
        for number in range(0, 1000, 4):
            sock.sendall(get(f"/users/{number}") + get("/hello.txt") + get("/count/5") + get("/nowhere"))
        rest = bytearray()
        for number in range(0, 1000, 4):
            assert json.loads(read_answer(sock, rest)[2]) == {"name": str(number)}
            assert read_answer(sock, rest)[2] == b"hello, world\n"
            assert read_answer(sock, rest)[2] == b"0\n1\n2\n3\n4\n"
            assert read_answer(sock, rest)[0] == 404
        assert not rest


def test_a_byte_at_a_time_is_a_request_all_the_same(server: Serving) -> None:
    """Each byte in a segment of its own: chunks, trailers, and the next request."""
    data = (
        get("/sum", "Transfer-Encoding: chunked", method="POST")
        + b"4;a=b\r\n[1, \r\n2\r\n2]\r\n0\r\nA: b\r\n\r\n"
        + get("/hello")
    )
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
        rest = bytearray()
        assert json.loads(read_answer(sock, rest)[2]) == {"sum": 3}
        assert read_answer(sock, rest)[0] == 200


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"GET /", b"a" * 100_000], 414),
        ([b"GET / HTTP/1.1\r\nHost: x\r\nA: ", *[b"a" * 65536] * 16], 431),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n", b"a" * 1_000_000], 431),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n" * 10_000], 431),
        ([b"a" * 100_000], 400),
        ([b"\r\n" * 100_000, b"x y\r\n\r\n"], 400),
        ([get("/sum", "Content-Length: 1000000000000", method="POST")], 413),
        ([get("/sum", "Transfer-Encoding: chunked", method="POST"), b"fffffffffffffff\r\n", b"a" * 2_000_000], 413),
        ([get("/sum", "Transfer-Encoding: chunked", method="POST"), b"1" + b"0" * 100_000], 400),
        ([get("/sum", "Transfer-Encoding: chunked", method="POST"), b"1;" + b"a" * 3_000_000], 413),
        ([get("/sum", "Transfer-Encoding: chunked", method="POST"), b"1\r\na\r\n" * 1_100_000], 413),
        ([get("/sum", "Transfer-Encoding: chunked", method="POST"), b"0\r\n", b"A: b\r\n" * 10_000], 431),
    ],
    ids=str,
)
def test_what_is_too_much_is_refused(server: Serving, pieces: list[bytes], status: int) -> None:
    """One answer, with the status of the limit, and the end."""
    assert statuses(told(server, *pieces)) == [status]


@pytest.mark.parametrize(
    "field",
    [
        "Range: bytes=" + "0-," * 9000 + "0-",
        "Range: bytes=" + "0-0," * 7000 + "0-0",
        "Range: bytes=" + "9" * 30_000 + "-",
        "Range: bytes=" + "-" * 30_000,
        "If-None-Match: " + 'W/"' * 10_000,
        "If-None-Match: " + '"", ' * 7000 + "x",
        "If-Match: " + '"a' * 15_000,
        "If-Range: " + " " * 30_000 + "x",
        "If-Modified-Since: " + "1 " * 15_000,
        "If-Modified-Since: " + "Sun, 06 Nov 1994 08:49:37 GMT" * 1000,
        "Accept-Encoding: " + "gzip;q=0.1," * 2500,
        "Accept-Encoding: " + ";" * 30_000,
        "Accept-Encoding: gzip;q=" + "0" * 30_000,
        "Connection: " + "a," * 15_000,
        "Cookie: " + "a=b; " * 6000,
        "Content-Type: multipart/form-data; boundary=" + "-" * 30_000,
        "Transfer-Encoding: " + "chunked," * 3700,
    ],
    ids=lambda field: f"{field[:24]} {field[-4:]}",
)
def test_a_field_of_30_kb_costs_little(server: Serving, field: str) -> None:
    """No field makes the server think beyond everybody's patience, or send much: a file of 13 bytes stays a small answer."""
    heard = told(server, get("/hello.txt", field, "Connection: close"))
    assert [status < 500 for status in statuses(heard)] == [True]
    assert len(heard) < 8000


def cpu_seconds(server: Serving) -> float:
    """Return the processor time that the server has used; 0 where nobody tells."""
    stat = Path(f"/proc/{server.process.pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def test_slowloris_is_cut(tmp_path: Path) -> None:
    """Who sends a byte now and then is cut at a deadline, in the head and in the body, and hears why; others are served."""
    beginnings = (
        b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
        get("/sum", "Content-Length: 9000", method="POST"),
        get("/sum", "Transfer-Encoding: chunked", method="POST") + b"2328\r\n",
    )
    limits = [word for name in ("head", "body") for word in ("--limit", f"{name}_seconds=1")]
    with serving(tmp_path, *DEMO, *limits, "--limit", "rate_bytes=1000") as server, contextlib.ExitStack() as stack:
        slow = []
        for beginning in beginnings * 5:
            slow.append(stack.enter_context(server.connect()))
            slow[-1].sendall(beginning)
        good = stack.enter_context(server.connect())
        heard, open_ = dict.fromkeys(slow, b""), set(slow)
        give_up = time.monotonic() + PATIENCE
        while open_:
            assert time.monotonic() < give_up
            for sock in select.select(list(open_), [], [], 0.1)[0]:
                with contextlib.suppress(ConnectionResetError):
                    if piece := sock.recv(65536):
                        heard[sock] += piece
                        continue
                open_.discard(sock)
            for sock in open_:
                with contextlib.suppress(OSError):
                    sock.sendall(b" ")
            between_answers(good)
        assert [statuses(each) for each in heard.values()] == [[408]] * len(slow)


def test_a_crowd_from_one_address_is_turned_away(tmp_path: Path) -> None:
    """Beyond the limit for one peer the answer is 503; when some go, others come in."""
    with serving(tmp_path, *DEMO, "--limit", "connections_per_peer=10") as server, contextlib.ExitStack() as stack:
        inside = [stack.enter_context(server.connect()) for _ in range(10)]
        for sock in inside:
            between_answers(sock)
        for _ in range(20):
            with server.connect() as sock, contextlib.suppress(ConnectionResetError):
                assert statuses(read_all(sock)) == [503]
        for sock in inside[:5]:
            sock.close()

        def is_in() -> bool:
            with server.connect() as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(get("/hello", "Connection: close"))
                    return statuses(read_all(sock)) == [200]
                return False

        until(is_in, "a place to be free")
        between_answers(inside[-1])


@LINUX
@pytest.mark.parametrize("target", ["/big", "/count/3000000"])
def test_a_reader_that_reads_nothing_holds_little_of_the_kernel(server: Serving, target: str) -> None:
    """What cannot be sent yet stays in the file, or is not made: the kernel does not queue megabytes for each client."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(get(target))
        ends = f"0100007F:{server.port:04X} 0100007F:{sock.getsockname()[1]:04X}"
        used = -1.0
        while used != (used := cpu_seconds(server)):  # the server is at work
            time.sleep(0.05)  # no clock of ours hastens another process
        (row,) = (line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines() if ends in line)
        assert 0 < int(row[4].partition(":")[0], 16) < 1_000_000  # tx_queue
        reset(sock)


@LINUX
def test_a_server_without_descriptors_serves_those_that_it_has(tmp_path: Path) -> None:
    """With 40 descriptors: who is in is served, files or not; who waits is served as others leave; one line says so."""
    import resource

    (tmp_path / "server").mkdir()
    (tmp_path / "root").mkdir()
    for number in range(60):
        (tmp_path / "root" / f"{number}.txt").write_bytes(b"x" * 100_000)
    with (
        serving(
            tmp_path / "server",
            *DEMO,
            str(tmp_path / "root"),
            errors=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)),
        ) as server,
        contextlib.ExitStack() as stack,
    ):
        socks = [stack.enter_context(server.connect()) for _ in range(60)]
        until(lambda: "cannot accept" in server.errors.read_text(), "the line")
        for number, sock in enumerate(socks):
            sock.sendall(get("/hello") + get(f"/{number}.txt"))
        for sock in socks[:20]:
            rest = bytearray()
            assert read_answer(sock, rest)[0] == 200
            status, fields, body = read_answer(sock, rest)
            assert (status, len(body)) == (200, 100_000) or status == 503, fields
        for sock in socks[:40]:
            sock.close()
        for sock in socks[40:]:
            rest = bytearray()
            assert read_answer(sock, rest)[0] == 200
            assert read_answer(sock, rest)[0] in (200, 503)
        assert server.errors.read_text().count("\n") <= 3


# Whoever wants two readers to read two things

#: Stands for what tells one attack from another in the log.
MARK = b"MARKED"
INSIDE = b"GET /inside/" + MARK + b" HTTP/1.1\r\nHost: x\r\n\r\n"
SIZE = b"%d" % len(INSIDE)
LAST, CHUNKED = b"0\r\n\r\n", b"Transfer-Encoding: chunked"
CL, CL5, KEEP = b"Content-Length: " + SIZE, b"Content-Length: %d" % (len(INSIDE) + 5), b"Connection: keep-alive"


def posted(*fields: bytes, body: bytes, version: bytes = b"1.1") -> bytes:
    """Return a POST with *fields* and a body."""
    return b"\r\n".join((b"POST /sum?" + MARK + b" HTTP/" + version, b"Host: x", *fields, b"", b"")) + body


#: The body is over for one reader, and goes on for another: the request inside must never be answered by itself.
SMUGGLED = {
    "CL.TE": posted(b"Content-Length: 5", CHUNKED, body=LAST + INSIDE),
    "TE.CL": posted(CHUNKED, b"Content-Length: 4", body=b"%x\r\n" % len(INSIDE) + INSIDE + b"\r\n0\r\n\r\n"),
    "CL.CL": posted(b"Content-Length: 0", CL, body=INSIDE),
    "CL list": posted(b"Content-Length: 0, " + SIZE, body=INSIDE),
    "CL plus": posted(b"Content-Length: +" + SIZE, body=INSIDE),
    "CL hex": posted(b"Content-Length: 0x%x" % len(INSIDE), body=INSIDE),
    "CL underscore": posted(b"Content-Length: 0_" + SIZE, body=INSIDE),
    "CL space": posted(b"Content-Length: 0 " + SIZE, body=INSIDE),
    "CL empty": posted(b"Content-Length:", body=INSIDE),
    "CL vt": posted(b"Content-Length: \x0b" + SIZE, body=INSIDE),
    "CL name space": posted(b"Content-Length : " + SIZE, body=INSIDE),
    "CL bare CR": posted(b"A: b\r" + CL, body=INSIDE),
    "CL bare LF": posted(b"A: b\n" + CL, body=INSIDE),
    "CL folded": posted(b"Content-Length:\r\n " + SIZE, body=INSIDE),
    "CL huge": posted(b"Content-Length: 18446744073709551616", body=INSIDE),
    "CL NUL": posted(b"Content-Length: 0\x00" + SIZE, body=INSIDE),
    "TE name space": posted(b"Transfer-Encoding : chunked", body=LAST + INSIDE),
    "TE name space and CL": posted(CL5, b"Transfer-Encoding : chunked", body=LAST + INSIDE),
    "TE vt and CL": posted(CL5, b"Transfer-Encoding: \x0bchunked", body=LAST + INSIDE),
    "TE x and CL": posted(CL5, b"Transfer-Encoding: xchunked", body=LAST + INSIDE),
    "TE identity": posted(CL5, b"Transfer-Encoding: identity", body=LAST + INSIDE),
    "TE list": posted(b"Transfer-Encoding: chunked, identity", body=LAST + INSIDE),
    "TE list 2": posted(b"Transfer-Encoding: identity, chunked", body=LAST + INSIDE),
    "TE twice": posted(CHUNKED, b"Transfer-Encoding: x", body=LAST + INSIDE),
    "TE folded": posted(CL5, b"Transfer-Encoding:\r\n chunked", body=LAST + INSIDE),
    "TE bare LF": posted(CL5, b"A: b\nTransfer-Encoding: chunked", body=LAST + INSIDE),
    "TE quoted": posted(CL5, b'Transfer-Encoding: "chunked"', body=LAST + INSIDE),
    "TE underscore": posted(CL5, b"Transfer_Encoding: chunked", body=LAST + INSIDE),
    "TE 1.0": posted(CHUNKED, KEEP, body=LAST + INSIDE, version=b"1.0"),
    "TE 1.0 and CL": posted(CL5, CHUNKED, KEEP, body=LAST + INSIDE, version=b"1.0"),
    "TE hop": posted(CL5, b"Connection: Transfer-Encoding", CHUNKED, body=LAST + INSIDE),
    "CL hop": posted(CL, b"Connection: Content-Length", body=INSIDE),
    "chunk LF": posted(CHUNKED, body=b"0\n\n" + INSIDE),
    "chunk hex": posted(CHUNKED, body=b"0x0\r\n\r\n" + INSIDE),
    "chunk plus": posted(CHUNKED, body=b"+0\r\n\r\n" + INSIDE),
    "chunk minus": posted(CHUNKED, body=b"-0\r\n\r\n" + INSIDE),
    "chunk space": posted(CHUNKED, body=b"0 \r\n\r\n" + INSIDE),
    "chunk wrap": posted(CHUNKED, body=b"100000000\r\n\r\n" + INSIDE),
    "chunk wrap 64": posted(CHUNKED, body=b"10000000000000000\r\n\r\n" + INSIDE),
    "chunk ext LF": posted(CHUNKED, body=b"2;\nxx\r\n%x\r\n0\r\n\r\n" % (len(INSIDE) + 5) + INSIDE + LAST),
    "chunk ext CR": posted(CHUNKED, body=b"2;\rxx\r\n%x\r\n0\r\n\r\n" % (len(INSIDE) + 5) + INSIDE + LAST),
    "chunk no end": posted(CHUNKED, body=b"1\r\naX0\r\n\r\n" + INSIDE),
    "trailer CL": posted(CHUNKED, body=b"0\r\n" + CL + b"\r\n\r\n" + INSIDE),
    "trailer LF": posted(CHUNKED, body=b"0\r\nA: b\n\r\n" + INSIDE),
    "GET with body": b"GET /hello?" + MARK + b" HTTP/1.1\r\nHost: x\r\n" + CL + b"\r\n\r\n" + INSIDE,
    "HEAD with body": b"HEAD /hello?" + MARK + b" HTTP/1.1\r\nHost: x\r\n" + CL + b"\r\n\r\n" + INSIDE,
    "OPTIONS with body": b"OPTIONS /hello?" + MARK + b" HTTP/1.1\r\nHost: x\r\n" + CL + b"\r\n\r\n" + INSIDE,
    "upgrade": posted(CL, b"Connection: Upgrade", b"Upgrade: h2c", body=INSIDE),
    "upgrade GET": b"GET /hello?"
    + MARK
    + b" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    + INSIDE,
    "expect": posted(CL, b"Expect: 100-continue", body=INSIDE),
    "expect unknown": posted(CL, b"Expect: y 100-continue", body=INSIDE),
    "too large": posted(b"Content-Length: 99999999", body=INSIDE),
    "no colon": posted(CL, b"Transfer-Encoding", body=INSIDE),
    "target": b"GET /hello?" + MARK + b" HTTP/1.1\r\nA: /\rHost: x\r\n\r\n" + INSIDE,
    "first line": b"GET /hello?" + MARK + b"\tHTTP/1.1\r\nHost: x\r\n\r\n" + INSIDE,
    "0.9": b"GET /hello?" + MARK + b"\r\n\r\n" + INSIDE,
    "absolute": b"GET http://y/hello?" + MARK + b" HTTP/1.1\r\nHost: x\r\n" + CL + b"\r\n\r\n" + INSIDE,
}
#: The body of this has only begun.
UNFINISHED = {"chunk wrap"}


@contextlib.contextmanager
def no_proxy(place: Path, port: int) -> Iterator[int]:
    """Nothing in between."""
    yield port


@contextlib.contextmanager
def one_haproxy(place: Path, port: int) -> Iterator[int]:
    """HAProxy, with one server under two names."""
    with haproxy(place, port, port) as front:
        yield front


@pytest.mark.parametrize("between", [no_proxy, nginx, one_haproxy], ids=["alone", "nginx", "haproxy"])
def test_nobody_smuggles_a_request(
    server: Serving, tmp_path: Path, between: Callable[..., contextlib.AbstractContextManager[int]]
) -> None:
    """However a request is packed: the server answers no more requests than the client hears answers."""
    with between(tmp_path, server.port) as port, contextlib.ExitStack() as stack:
        socks, marks = {}, {}
        for number, (name, data) in enumerate(SMUGGLED.items()):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            marks[name] = mark = f"{number:03}{between.__name__[:3]}"
            sock.sendall(data.replace(MARK, mark.encode()))
            socks[sock] = name
        heard = dict.fromkeys(SMUGGLED, b"")
        while ready := select.select(list(socks), [], [], 1.0)[0]:  # what comes later makes the test weaker, not red
            for sock in ready:
                with contextlib.suppress(ConnectionResetError):
                    if piece := sock.recv(65536):
                        heard[socks[sock]] += piece
                        continue
                del socks[sock]
        for name, mark in marks.items():
            answered, lines = statuses(heard[name]), server.lines(mark)
            assert len(lines) <= max(len(answered), 1), (name, answered, lines)
            if between is no_proxy and name not in UNFINISHED:  # a proxy may take it for two, and the server hears two
                assert answered, name
                assert not any("/inside" in line for line in lines), (name, answered, lines)
    with server.connect() as sock:
        between_answers(sock)


def test_nothing_is_smuggled_into_a_log_or_a_page(tmp_path: Path) -> None:
    """Quotes, line ends, escapes and tags in a request end no log line, no field and no element."""
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", "--log", "json", str(furnish(tmp_path / "root", FILES))) as server:
        evil = '/"<script>alert(1)</script>\\%0d%0aSet-Cookie:%20a=b%1b[31m'
        field = 'User-Agent: "}\\u000a\x9b\xe9{"'
        heard = told(server, get(evil, field, "Connection: close"))
        assert b"<script>" not in heard
        assert b"\r\nSet-Cookie" not in heard
        assert statuses(heard)[0] in (400, 404)
        heard = told(server, get("//evil.example/..", "Connection: close")) + told(
            server, get("/folder?\\evil", "Connection: close")
        )
        assert not re.search(rb"(?i)\r\nlocation: (//|\\|http)", heard)
        lines = until(lambda: [json.loads(line) for line in server.lines()])
        assert all(isinstance(line, dict) for line in lines)


# SIGTERM


def test_sigterm_in_every_phase(tmp_path: Path) -> None:
    """Who has begun may finish, and hears that it was the last one; who has not is let go; the status is 0."""
    (tmp_path / "server").mkdir()
    with (
        serving(tmp_path / "server", *DEMO, str(furnish(tmp_path / "root", FILES))) as server,
        contextlib.ExitStack() as stack,
    ):
        socks = {}
        for phase in PHASES:
            socks[phase] = stack.enter_context(server.connect())
            phase(socks[phase])
        server.process.terminate()
        until(lambda: not is_open(server.port), "the door to be closed")
        socks[half_a_head].sendall(b" x\r\n\r\n")
        socks[half_a_body].sendall(b"  2] ")
        socks[half_a_chunk].sendall(b"  2] \r\n0\r\n\r\n")
        socks[waiting_for_100].sendall(b"[1, 2   ]")
        for phase, count in {
            nothing: 0,
            between_answers: 0,
            half_a_head: 1,
            half_a_body: 1,
            half_a_chunk: 1,
            at_work: 1,
        }.items():
            heard = read_all(socks[phase])
            assert statuses(heard) == [200] * count, phase
            assert heard.count(b"Connection: close\r\n") == count, phase
        assert len(read_all(socks[in_a_file])) > len(BIG)
        assert read_all(socks[in_a_stream]).endswith(b"0\r\n\r\n")
        assert read_all(socks[in_events]).endswith(b"0\r\n\r\n")
        assert read_all(socks[waiting_for_100]).endswith(b'{"sum": 3}')
        assert statuses(read_all(socks[with_a_queue]))[0] == 200
        read_all(socks[refused])
        for sock in socks.values():
            sock.close()
        assert server.process.wait(PATIENCE) == 0


def test_sigterm_waits_no_longer_than_the_grace(tmp_path: Path) -> None:
    """Who never finishes is cut when the grace is over, and the status says so."""
    with serving(tmp_path, *DEMO, "--limit", "grace_seconds=0.5") as server, contextlib.ExitStack() as stack:
        for phase in (half_a_head, half_a_body, in_a_stream):
            phase(stack.enter_context(server.connect()))
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 1

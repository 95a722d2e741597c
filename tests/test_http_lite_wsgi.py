"""HTTP-lite's gateway for WSGI: what PEP 3333 promises to applications and to clients, in the loop and in threads."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("httptools")

from tests.http_rig import Serving, is_open, read_answer, run, serving, until
from tests.kit import PATIENCE, reset
from tests.wsgi_apps import PIECE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server is ended by SIGTERM")

APP = ("--wsgi", "tests.wsgi_apps:app", "--threads")
THREADS = [0, 4]
FRAMEWORKS = ["flask", "django"]


@pytest.fixture(scope="module", params=THREADS, ids=["loop", "threads"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server of the applications, in the loop and in threads."""
    with serving(tmp_path_factory.mktemp("wsgi"), *APP, str(request.param), errors=True) as made:
        made.threads = request.param
        yield made


@attrs.define(eq=False)
class Client:
    """A connection on which one asks after the other."""

    sock: socket.socket
    rest: bytearray = attrs.field(factory=bytearray)

    def ask(self, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Ask, and return status, fields and body."""
        if body:
            fields = (*fields, f"Content-Length: {len(body)}")
        head = "\r\n".join((f"{method} {target} HTTP/1.1", "Host: example.org", *fields, "", ""))
        self.sock.sendall(head.encode("latin-1") + body)
        return read_answer(self.sock, self.rest, bodiless=method == "HEAD")

    def json(self, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> Any:
        """Ask for JSON."""
        status, _, said = self.ask(target, *fields, method=method, body=body)
        assert status == 200, said
        return json.loads(said)

    def to_the_end(self, target: str, *fields: str) -> bytes:
        """Ask, and return everything until the connection ends, however that is."""
        self.sock.sendall("\r\n".join((f"GET {target} HTTP/1.1", "Host: x", *fields, "", "")).encode())
        heard = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while piece := self.sock.recv(65536):
                heard += piece
        return bytes(heard)


@pytest.fixture
def client(server: Serving) -> Iterator[Client]:
    """A connection to the server."""
    with server.connect() as sock:
        yield Client(sock)


def closed(server: Serving) -> dict[str, int]:
    """Return how many bodies were closed, by name."""
    with server.connect() as sock:
        found: dict[str, int] = Client(sock).json("/closed")
        return found


@contextlib.contextmanager
def closes(server: Serving, name: str, count: int) -> Iterator[None]:
    """So many bodies of that name are closed in here, each once."""
    before = closed(server).get(name, 0)
    yield
    until(lambda: closed(server).get(name, 0) - before >= count, f"{count} calls of close()")
    assert closed(server).get(name, 0) - before == count


# What the application gives


def test_the_validator_finds_nothing(server: Serving, client: Client) -> None:
    """Lists, generators, `write`, bodies and HEAD pass `wsgiref.validate`, on one connection."""
    with closes(server, "checked", 6):
        assert client.ask("/checked/read", method="POST", body=b"a body")[2] == b"a body"
        assert client.ask("/checked/read")[2] == b""
        assert client.ask("/checked/many")[2] == b"".join(b"%d\n" % number for number in range(300))
        assert client.ask("/checked/many", method="HEAD")[2] == b""
        assert client.ask("/checked/write")[2] == b"one two"
        assert client.ask("/checked/many", method="DELETE")[0] == 200


def test_headers_and_pieces_come_as_they_are(server: Serving, client: Client) -> None:
    """Fields that come twice stay two, Latin-1 is Latin-1, empty pieces end nothing."""
    with closes(server, "listed", 2):
        heard = client.to_the_end("/plain/listed", "Connection: close")
        with server.connect() as sock:
            assert Client(sock).ask("/plain/listed")[2] == b"one two three"
    assert heard.count(b"Set-Cookie: ") == 2
    assert b"X-Latin: caf\xe9\r\n" in heard


def test_what_is_written_comes_first(server: Serving, client: Client) -> None:
    """What `write` was given leaves before what the application returns."""
    with closes(server, "written", 1):
        assert client.ask("/plain/written")[2] == b"one two three"


def test_a_piece_leaves_before_the_next_is_made(client: Client, tmp_path: Path) -> None:
    """PEP 3333, Buffering and Streaming: a block is passed on although the next one takes its time."""
    file = tmp_path / "go-on"
    client.sock.sendall(f"GET /plain/stepwise?file={file} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    heard = b""
    while b"first" not in heard:
        heard += client.sock.recv(65536)
    assert b"second" not in heard
    file.touch()
    assert read_answer(client.sock, bytearray(heard))[2] == b"firstsecond"


@pytest.mark.parametrize("pieces", ["", "&pieces=1"])
def test_a_length_is_kept(server: Serving, client: Client, pieces: str) -> None:
    """What is beyond Content-Length is not sent, and the next answer begins where this one ends."""
    with closes(server, "sized", 3):
        status, fields, body = client.ask(f"/plain/sized?says=5&gives=5{pieces}")
        assert (status, fields["content-length"], body) == (200, "5", b"01234")
        assert "transfer-encoding" not in fields
        assert client.ask(f"/plain/sized?says=3&gives=9{pieces}")[2] == b"012"
        status, fields, body = client.ask(f"/plain/sized?says=5&gives=5{pieces}", method="HEAD")
        assert (status, fields["content-length"], body) == (200, "5", b"")
        assert client.ask("/closed")[0] == 200


@pytest.mark.parametrize("pieces", ["", "&pieces=1"])
def test_what_is_too_short_breaks_the_connection(server: Serving, client: Client, pieces: str) -> None:
    """Less than Content-Length is never taken for all of it: either it is refused with 500, or the connection ends in it."""
    with closes(server, "sized", 1):
        heard = client.to_the_end(f"/plain/sized?says=9&gives=4{pieces}")
    assert heard.startswith(b"HTTP/1.1 500 ") or (b"Content-Length: 9\r\n" in heard and heard.endswith(b"\r\n\r\n0123"))


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_none(server: Serving, client: Client, status: int) -> None:
    """RFC 9110, 6.4.1: whatever the application gives with 204 or 304, nothing of it is sent."""
    with closes(server, "bodiless", 1):
        found, fields, _ = client.ask(f"/plain/bodiless?status={status}")
        assert (found, fields.get("transfer-encoding"), fields.get("content-length")) == (status, None, None)
        assert client.ask("/closed")[0] == 200


@pytest.mark.parametrize("how", ["pieces", "whole", "list"])
def test_a_large_answer_arrives(server: Serving, client: Client, how: str) -> None:
    """Four megabytes, in pieces or in one, arrive, and the body is closed once if it can be."""
    with closes(server, "large", int(how != "list")):
        assert client.ask(f"/plain/large?how={how}")[2] == PIECE * 64


# What it is told


def test_the_environment_is_what_was_asked(server: Serving, client: Client) -> None:
    """PEP 3333, environ Variables: each has the value that the request gives it, and none has what others could forge."""
    found = client.json(
        "/plain/environ/a%20b/%C3%BC%2Fx/?q=%20&r",
        *("X-A: 1", "X-A: 2", "Cookie: a=1", "Cookie: b=2", "X_A: forged", "Proxy: http://evil", "Content-Type: text/x"),
        method="POST",
        body=b"abc",
    )
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/plain",
        "PATH_INFO": "/environ/a b/\xc3\xbc/x/",
        "QUERY_STRING": "q=%20&r",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "3",
        "HTTP_HOST": "example.org",
        "HTTP_X_A": "1, 2",
        "HTTP_COOKIE": "a=1; b=2",
        "wsgi.version": "(1, 0)",
        "wsgi.url_scheme": "http",
        "wsgi.multithread": server.threads > 1,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_PROXY"} & found.keys()  # httpoxy: HTTP_PROXY is a variable


def test_the_environment_knows_both_ends(server: Serving, client: Client) -> None:
    """REMOTE_ADDR is the peer's, SERVER_PORT the one on which the request came (RFC 3875, 4.1.8 and 4.1.15)."""
    found = client.json("/plain/environ")
    assert found.get("REMOTE_ADDR") == "127.0.0.1"
    assert found["SERVER_PORT"] == str(server.port)
    assert found["SERVER_NAME"]


def test_the_environment_is_not_what_a_client_says_of_a_proxy(client: Client) -> None:
    """X-Forwarded-* and Forwarded change nothing but their own variables."""
    forged = ("X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "Forwarded: for=9.9.9.9")
    found = client.json("/plain/environ", *forged)
    assert found["wsgi.url_scheme"] == "http"
    assert found.get("REMOTE_ADDR") != "9.9.9.9"
    assert found["SERVER_NAME"] != "evil"
    assert found["HTTP_X_FORWARDED_FOR"] == "9.9.9.9"


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("read", ["ab\ncd\nefg", "", ""]),
        ("sizes", ["ab\n", "", "cd\nefg", ""]),
        ("lines", ["ab\n", "cd", "\n", "efg", ""]),
        ("iteration", ["ab\n", "cd\n", "efg"]),
        ("not", []),
    ],
)
def test_the_body_can_be_read_in_every_way(client: Client, how: str, found: list[str]) -> None:
    """`read`, lines, iteration, or not at all: the end is the body's, and the next request is behind it."""
    body = b"ab\ncd\nefg"
    assert client.json(f"/plain/read?how={how}", method="POST", body=body) == found
    chunks = b"4\r\nab\nc\r\n5\r\nd\nefg\r\n0\r\n\r\n"
    client.sock.sendall(
        f"POST /plain/read?how={how} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + chunks
        + b"GET /plain/read?how=read HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert json.loads(read_answer(client.sock, client.rest)[2]) == found
    assert json.loads(read_answer(client.sock, client.rest)[2]) == ["", "", ""]


def test_a_chunked_body_has_an_end(client: Client) -> None:
    """The application is told that it may read to the end, since there may be no length."""
    head = b"POST /plain/environ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.sock.sendall(head + b"3\r\nabc\r\n0\r\n\r\n")
    found = json.loads(read_answer(client.sock, client.rest)[2])
    assert found["wsgi.input_terminated"] is True
    assert found.get("CONTENT_LENGTH", "3") == "3"


def test_uploads_arrive(server: Serving, tmp_path: Path) -> None:
    """With a length, in chunks, after a 100: every byte."""
    data = bytes(range(256)) * 3000
    (tmp_path / "data").write_bytes(data)
    expected = {"size": len(data), "digest": hashlib.sha256(data).hexdigest()}
    for fields in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        out, _ = run("curl", "-sS", *fields, "-T", "data", f"{server.url}/plain/digest", cwd=tmp_path)
        assert json.loads(out) == expected


# Errors


@pytest.mark.parametrize("when", ["at+once", "started", "next"])
def test_an_error_before_the_first_byte_is_a_500(server: Serving, client: Client, when: str) -> None:
    """Nothing was sent, `start_response` or not: the client hears 500 and nothing of why, and may ask again."""
    with closes(server, "raises", int(when == "next")):
        status, _, body = client.ask(f"/plain/raises?when={when}")
        assert status == 500
        assert b"as asked" not in body
    assert client.ask("/plain/listed")[0] == 200
    until(lambda: "ValueError: as asked" in server.errors.read_text(), "the traceback")


def test_an_error_after_the_first_byte_breaks_the_connection(server: Serving, client: Client) -> None:
    """What was sent is not taken for all: its end is missing."""
    with closes(server, "raises", 1):
        heard = client.to_the_end("/plain/raises?when=late")
    assert b"some of it" in heard
    assert not heard.endswith(b"0\r\n\r\n")


def test_exc_info_replaces_what_was_not_sent(server: Serving, client: Client) -> None:
    """PEP 3333: with *exc_info* the second `start_response` counts, unless the first one's head is gone; then it raises."""
    with closes(server, "tells", 2):
        status, fields, body = client.ask("/plain/tells?when=early")
        assert (status, fields.get("x-told"), fields.get("x-first"), body) == (502, "yes", None, b"told")
        heard = client.to_the_end("/plain/tells?when=late")
    assert b"some of it" in heard
    assert b"told" not in heard
    assert not heard.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("how", ["no start", "two starts", "none", "text", "a line", "a name", "a length"])
def test_an_application_that_breaks_the_rules_is_a_500(server: Serving, client: Client, how: str) -> None:
    """No answer is begun that cannot be ended well, and nothing is smuggled into one."""
    with closes(server, "breaks", int(how not in ("none", "two starts"))):
        status, fields, _ = client.ask(f"/plain/breaks?how={how.replace(' ', '+')}")
        assert status == 500
        assert "x-b" not in fields
    assert client.ask("/plain/listed")[0] == 200


def test_complaints_go_to_stderr(server: Serving, client: Client) -> None:
    """`wsgi.errors` is where errors are looked for."""
    assert client.ask("/plain/complains")[0] == 200
    until(lambda: "a complaint of the application\n" in server.errors.read_text(), "the complaint")


# Clients that go


def test_a_client_that_goes_frees_the_application(server: Serving) -> None:
    """More clients than threads reset in the middle: each body is closed, once, and others are served."""
    with closes(server, "gone", 6):
        for _ in range(6):
            with server.connect() as sock:
                sock.sendall(b"GET /plain/endless?name=gone HTTP/1.1\r\nHost: x\r\n\r\n")
                assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
                reset(sock)


def test_slow_readers_hold_no_thread(server: Serving, client: Client) -> None:
    """More clients than threads take nothing of a long answer: others are served, and the bodies are closed when they go."""
    with closes(server, "held", 6), contextlib.ExitStack() as stack:
        for _ in range(6):
            sock = stack.enter_context(server.connect())
            sock.sendall(b"GET /plain/endless?name=held HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        for _ in range(20):
            assert client.ask("/plain/listed")[0] == 200


def test_a_client_that_goes_before_the_answer_leaves_nothing(server: Serving, tmp_path: Path) -> None:
    """It resets while the application works: the answer goes nowhere, and others are served."""
    if not server.threads:
        pytest.skip("in the loop the server waits for the application")
    file = tmp_path / "here"
    with server.connect() as sock:
        sock.sendall(f"GET /plain/waits?file={file} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(file.exists)
        reset(sock)
    file.unlink()
    with server.connect() as sock:
        assert Client(sock).ask("/plain/listed")[0] == 200


def test_requests_are_worked_on_together(server: Serving) -> None:
    """With threads, three applications run at a time; they meet."""
    if not server.threads:
        pytest.skip("in the loop there is one at a time")

    def ask(_: int) -> bytes:
        with server.connect() as sock:
            return Client(sock).ask("/plain/meet")[2]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ask, range(3), timeout=PATIENCE)) == [b"met"] * 3


def test_what_is_in_work_is_finished_when_the_server_ends(tmp_path: Path) -> None:
    """SIGTERM while an application works, and a client waits: it gets its answer, and the server ends well."""
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", *APP, "2") as server:
        file = tmp_path / "here"
        with server.connect() as sock:
            sock.sendall(f"GET /plain/waits?file={file} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            until(file.exists)
            server.process.terminate()
            until(lambda: not is_open(server.port), "the door to be closed")
            file.unlink()
            status, fields, body = read_answer(sock)
            assert (status, fields["connection"], body) == (200, "close", b"waited")
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("goes", [False, True], ids=["stays", "goes"])
def test_a_body_is_closed_when_the_server_ends(tmp_path: Path, threads: int, goes: bool) -> None:
    """SIGTERM in the middle of a body, whose client goes, or stays and is cut when the grace is over: it is closed, once."""
    (tmp_path / "server").mkdir()
    closed = tmp_path / "closed"
    with serving(tmp_path / "server", *APP, str(threads), "--limit", "grace_seconds=0.5") as server:
        with server.connect() as sock:
            sock.sendall(f"GET /plain/endless?name={closed} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
            server.process.terminate()
            until(lambda: not is_open(server.port), "the door to be closed")
            if goes:
                reset(sock)
            assert server.process.wait(PATIENCE) == int(not goes)
    assert closed.read_text() == "1"


def test_a_body_that_is_being_made_when_the_server_ends_is_closed(tmp_path: Path) -> None:
    """A client goes while a thread makes the next string, and nobody else is there: the end waits for that, and closes."""
    (tmp_path / "server").mkdir()
    closed, file = tmp_path / "closed", tmp_path / "here"
    with serving(tmp_path / "server", *APP, "2") as server:
        with server.connect() as sock:
            sock.sendall(f"GET /plain/stepwise?name={closed}&file={file} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            until(lambda: b"first" in sock.recv(1000))
            server.process.terminate()
            until(lambda: not is_open(server.port), "the door to be closed")
            reset(sock)
        server.logged("/plain/stepwise", 1)  # it is noticed
        assert server.process.poll() is None
        file.touch()
        assert server.process.wait(PATIENCE) == 0
    assert closed.read_text() == "1"


# Frameworks


def need(framework: str) -> None:
    """Skip the test if *framework* is not here."""
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")


FORM = (
    b"--frontier\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n"
    b"--frontier\r\nContent-Disposition: form-data; name=f; filename=x.bin\r\n\r\n%s\r\n--frontier--\r\n"
)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_frameworks_run(server: Serving, client: Client, framework: str) -> None:
    """Routes, cookies, JSON, forms, files, chunked bodies, streams, HEAD, 404 and 500, all on one connection."""
    need(framework)
    status, fields, body = client.ask(f"/{framework}/hello/J%C3%BCrg", "X-Forwarded-Proto: https")
    assert (status, json.loads(body)) == (200, {"name": "Jürg", "root": f"/{framework}", "secure": False})
    assert fields["set-cookie"].strip().startswith("seen=yes")
    status, fields, nothing = client.ask(f"/{framework}/hello/J%C3%BCrg", method="HEAD")
    assert status == 200
    assert fields.get("content-length", str(len(body))) == str(len(body))
    assert nothing == b""
    kind = "Content-Type: application/x-www-form-urlencoded"
    assert client.json(f"/{framework}/form", kind, method="POST", body=b"a=b&c=%20")["form"] == {"a": "b", "c": " "}
    kind = "Content-Type: multipart/form-data; boundary=frontier"
    found = client.json(f"/{framework}/form", kind, method="POST", body=FORM % PIECE)
    assert found == {"form": {"a": "b"}, "files": {"f": ["x.bin", len(PIECE)]}}
    client.sock.sendall(f"POST /{framework}/body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    client.sock.sendall(b"10000\r\n" + PIECE + b"\r\n0\r\n\r\n")
    assert json.loads(read_answer(client.sock, client.rest)[2]) == {"size": len(PIECE)}
    assert client.ask(f"/{framework}/stream")[2] == b"".join(b"%d\n" % number for number in range(1000))
    assert client.ask(f"/{framework}/nowhere")[0] == 404
    assert client.ask(f"/{framework}/wrong")[0] == 500
    assert client.ask(f"/{framework}/hello/again")[0] == 200

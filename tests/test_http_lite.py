"""HTTP-lite: its parts by themselves, its connections on a clock that jumps, and the server as a process."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

pytest.importorskip("httptools")

from examples.http_lite import response
from examples.http_lite import static as files
from examples.http_lite.app import App
from examples.http_lite.connection import PHASES, Connection, Event, Phase, Site
from examples.http_lite.log import AccessLog
from examples.http_lite.options import OPTIONS
from examples.http_lite.request import Part, Request, Requests
from examples.http_lite.static import File, Files, Folder, Nothing, Static, listing, size_for_people
from reactor.testing import Effort, check_handler
from tests.kit import PATIENCE, Watched, read_all, reset, unix_pair

ROOT = Path(__file__).parent.parent
HELLO = b"hello, world\n"
POSIX = pytest.mark.skipif(os.name == "nt", reason="this is about Unix files")
NOT_ROOT = pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is unreadable for root")


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request's head."""
    return "\r\n".join((f"{method} {target} HTTP/{version}", "Host: x", *fields, "", "")).encode("latin-1")


def parse(*pieces: bytes) -> Requests:
    """What comes of *pieces*."""
    requests = Requests()
    for piece in pieces:
        requests.feed(piece)
    return requests


def statuses(data: bytes | bytearray) -> list[int]:
    """The statuses of everything that is found in *data*."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


# request.py


def test_a_request_comes_out_as_it_went_in() -> None:
    """Method, target, version and the right to go on are taken from the head."""
    (found,) = parse(get("/a?b=c")).waiting
    assert (found.method, found.target, found.version, found.keep_alive, found.refusal) == ("GET", "/a?b=c", "1.1", True, 0)
    assert found.line == "GET /a?b=c HTTP/1.1"


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (get(), True),
        (get("/", "Connection: close"), False),
        (get(version="1.0"), False),
        (get("/", "Connection: keep-alive", version="1.0"), True),
        (get("/", "Connection: Upgrade", "Upgrade: h2c"), False),
        (get("/", "Upgrade: h2c"), True),
    ],
)
def test_who_may_go_on(head: bytes, keep_alive: bool) -> None:
    """A connection goes on as RFC 9112, 9.3 has it, but ends after a request that asks for another protocol."""
    (found,) = parse(head).waiting
    assert not found.refusal
    assert found.keep_alive is keep_alive


def test_requests_are_the_same_wherever_they_are_cut() -> None:
    """Cuts between bytes change nothing, not even one behind every byte."""
    data = get("/one") + get("/two", "Content-Length: 3") + b"abc" + get("/three", "Transfer-Encoding: chunked")
    data += b"3\r\nabc\r\n0\r\n\r\n"
    pieces = [[data[:cut], data[cut:]] for cut in range(len(data))]
    for each in [*pieces, [data[at : at + 1] for at in range(len(data))]]:
        requests = parse(*each)
        assert [found.target for found in requests.waiting] == ["/one", "/two", "/three"]
        assert requests.part is Part.NOTHING


def test_a_part_of_a_request_is_known_as_what_it_is() -> None:
    """Nothing, a head, a body: that is what deadlines hang on."""
    requests = parse()
    for piece, part in [
        (b"\r\n", Part.BLANK),
        (b"G", Part.HEAD),
        (b"ET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", Part.BODY),
        (b"a", Part.BODY),
        (b"b", Part.NOTHING),
    ]:
        requests.feed(piece)
        assert requests.part is part


REFUSALS = [
    (b"nonsense\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00", 400),
    (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    (get("/", "Content-Length: 3", "Transfer-Encoding: chunked"), 400),
    (get("/", "Transfer-Encoding: chunked", "Content-Length: 3"), 400),
    (get("/", "Content-Length: 3", "Content-Length: 4"), 400),
    (get("/", "Content-Length: -1"), 400),
    (get("/", "Transfer-Encoding: chunked", version="1.0"), 400),
    (get("/", "Transfer-Encoding: gzip"), 400),
    (get("/", "Transfer-Encoding: gzip, chunked"), 501),
    (get("/", f"Content-Length: {OPTIONS.body_bytes + 1}"), 413),
    (get("/" + "a" * OPTIONS.target_bytes), 414),
    (get("/", *["A: b"] * OPTIONS.headers), 431),
    (get("/", f"A: {'b' * OPTIONS.header_bytes}"), 431),
    (get("/", "Expect: miracles"), 417),
    (get(version="2.0"), 505),
    (get(version="3.7"), 505),
    (get(version="0.9"), 505),
    (b"GET /\r\n\r\n", 505),
]


@pytest.mark.parametrize(("data", "status"), REFUSALS, ids=lambda value: repr(value)[:40])
def test_what_cannot_be_answered_is_refused(data: bytes, status: int) -> None:
    """A request that breaks a rule is refused with the status of that rule, as the last one of its connection."""
    (found,) = parse(data).waiting
    assert (found.refusal, found.keep_alive) == (status, False)


@pytest.mark.parametrize(("data", "status"), REFUSALS, ids=lambda value: repr(value)[:40])
def test_a_refusal_waits_for_its_turn(data: bytes, status: int) -> None:
    """What came before is still answered; what comes after is dropped."""
    requests = parse(get("/first") + data + get("/never"), get("/never"))
    first, *others = requests.waiting
    assert (first.target, first.refusal) == ("/first", 0)
    assert [found.refusal for found in others] == [status]
    assert requests.part is Part.NOTHING


def test_limits_allow_what_they_name() -> None:
    """The longest target, the most fields and the longest body are let through."""
    longest = "/" + "a" * (OPTIONS.target_bytes - 1)
    most = ["A: b"] * (OPTIONS.headers - 2)
    body = bytes(OPTIONS.body_bytes)
    requests = parse(get(longest, f"Content-Length: {len(body)}", *most), body[:70_000], body[70_000:])
    assert [found.refusal for found in requests.waiting] == [0]
    requests.end()


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (b"GET /", b"a" * 1000, 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"a" * 1000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a" * 1000, 431),
        (get("/", "Transfer-Encoding: chunked"), b"1;" + b"x" * 8000 + b"\r\na\r\n", 413),
        (get("/", "Transfer-Encoding: chunked") + b"0\r\n", b"Trailer: a\r\n" * 10, 431),
    ],
)
def test_what_never_ends_is_refused(start: bytes, piece: bytes, status: int) -> None:
    """A target, a field's name or value, a body or a trailer without end does not grow for ever."""
    requests = parse(start)
    for _ in range(400):
        if requests.waiting:
            break
        requests.feed(piece)
    assert [found.refusal for found in requests.waiting] == [status]


def test_continue_is_expected_by_a_body_only() -> None:
    """Who expects a 100 waits with a body; without one, and in HTTP/1.0, there is nothing to wait for."""
    assert parse(get("/", "Content-Length: 3", "Expect: 100-continue")).expects_continue
    assert not parse(get("/", "Expect: 100-continue")).expects_continue
    assert not parse(get("/", "Content-Length: 3", "Expect: 100-continue", version="1.0")).expects_continue
    assert not parse(get("/", "Content-Length: 3", "Expect: 100-continue") + b"abc").expects_continue


# files.py


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory to serve, beside one that is not to be served."""
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "site").mkdir()
    (root / "hello.txt").write_bytes(HELLO)
    (root / "sub" / "page.html").write_bytes(b"<p>page")
    (root / "site" / "index.html").write_bytes(b"<p>index")
    (root / "grüße & <b>.txt").write_bytes("grüße".encode())
    secret = tmp_path / "root2"
    secret.mkdir()
    (secret / "secret.txt").write_bytes(b"secret")
    if os.name != "nt":
        (root / "inside").symlink_to("hello.txt")
        (root / "inside-folder").symlink_to("sub")
        (root / "out").symlink_to(secret / "secret.txt")
        (root / "out-folder").symlink_to(secret)
        (root / "up").symlink_to("..")
        (root / "loop").symlink_to("loop")
        (root / "dangling").symlink_to("nowhere")
        os.mkfifo(root / "fifo")
    return root


def read(found: files.Found) -> bytes:
    """What is in a file that was found; closes it."""
    assert isinstance(found, File), found
    data = os.read(found.fd, 1 << 20)
    assert len(data) == found.info.st_size
    return data


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("/hello.txt", HELLO),
        ("/h%65llo.txt", HELLO),
        ("/sub/page.html", b"<p>page"),
        ("/site/", b"<p>index"),
        ("/gr%C3%BC%C3%9Fe%20%26%20%3Cb%3E.txt", "grüße".encode()),
        pytest.param("/inside", HELLO, marks=POSIX),
        pytest.param("/inside-folder/page.html", b"<p>page", marks=POSIX),
    ],
)
def test_files_are_found(tree: Path, target: str, content: bytes) -> None:
    """A target names a file, through escapes, queries, the absolute form and links that stay inside."""
    assert read(Files(tree).find(target)) == content


ESCAPES = [
    ("/../root2/secret.txt", 400),
    ("/%2e%2e/root2/secret.txt", 400),
    ("/.%2E/root2/secret.txt", 400),
    ("/sub/../../root2/secret.txt", 400),
    ("/..%2froot2%2fsecret.txt", 400),
    ("/sub%2fpage.html", 400),
    ("/./hello.txt", 400),
    ("/hello.txt%00.html", 400),
    ("/%zz", 400),
    ("/%", 400),
    ("*", 400),
    ("x:80", 400),
    ("//etc/passwd", 404),
    ("//evil.example", 404),
    ("/sub//page.html", 404),
    ("/%2e%2e%2froot2/secret.txt", 400),
    ("/..\\root2\\secret.txt", 400 if os.name == "nt" else 404),
    ("/..%5croot2%5csecret.txt", 400 if os.name == "nt" else 404),
    ("/C:/hello.txt", 400 if os.name == "nt" else 404),
    ("/hello.txt/", 404),
    ("/hello.txt/x", 404),
    ("/nowhere", 404),
    ("/" + "a" * 300, 404),
    ("/" + "a/" * 3000 + "a", 404),
    pytest.param("/out", 404, marks=POSIX),
    pytest.param("/out-folder/", 404, marks=POSIX),
    pytest.param("/out-folder", 404, marks=POSIX),
    pytest.param("/out-folder/secret.txt", 404, marks=POSIX),
    pytest.param("/up/", 404, marks=POSIX),
    pytest.param("/up/root2/secret.txt", 404, marks=POSIX),
    pytest.param("/loop", 404, marks=POSIX),
    pytest.param("/dangling", 404, marks=POSIX),
    pytest.param("/fifo", 404, marks=POSIX),
]


@pytest.mark.parametrize(("target", "status"), ESCAPES, ids=lambda value: repr(value)[:40])
def test_nothing_leads_out(tree: Path, target: str, status: int) -> None:
    """Dots, escapes, slashes, NUL, links and other tricks find nothing, and nothing blocks."""
    assert Files(tree).find(target) == Nothing(status)


@NOT_ROOT
def test_what_may_not_be_read_is_forbidden(tree: Path) -> None:
    """No permission is 403, not a crash."""
    (tree / "hello.txt").chmod(0)
    assert Files(tree).find("/hello.txt") == Nothing(403)


@POSIX
@pytest.mark.parametrize(("error", "status"), [(13, 403), (24, 503), (5, 500)])
def test_errors_of_open_have_statuses(tree: Path, error: int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """EACCES is 403, EMFILE 503, EIO 500."""

    def refuse(*args: object, **options: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "open", refuse)
    assert Files(tree).find("/hello.txt") == Nothing(status)


@POSIX
def test_a_folder_that_becomes_a_link_is_not_followed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is exchanged for a link after the check is not gone through."""
    monkeypatch.setattr(os.path, "realpath", lambda path, **options: os.path.normpath(path))
    assert Files(tree).find("/out-folder/secret.txt") == Nothing(404)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/sub", "/sub/"),
        ("/s%75b", "/s%75b/"),
    ],
)
def test_directories_have_a_slash_at_the_end(tree: Path, target: str, location: str) -> None:
    """Who asks without gets the URL with it, on the same host."""
    assert Files(tree).find(target) == Nothing(301, location)


def test_a_root_behind_a_link_and_the_root_of_all_are_served(tree: Path, tmp_path: Path) -> None:
    """The directory itself may be reached through a link, and may be `/`."""
    if os.name != "nt":
        (tmp_path / "link").symlink_to(tree)
        assert read(Files(tmp_path / "link").find("/inside")) == HELLO
    top = Path(tree.anchor)
    assert read(Files(top).find("/" + (tree / "hello.txt").resolve().relative_to(top).as_posix())) == HELLO
    assert isinstance(Files(top).find("/"), (Folder, File))


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".html", "text/html; charset=utf-8"),
        (".TXT", "text/plain; charset=utf-8"),
        (".js", "text/javascript; charset=utf-8"),
        (".png", "image/png"),
        (".gz", "application/gzip"),
        (".unheard-of", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_content_types(suffix: str, kind: str) -> None:
    """Text has its charset, archives are archives, the unknown is bytes."""
    assert files.content_type(suffix) == kind


# listing.py, response.py, log.py


def page_for(found: files.Found) -> str:
    """The listing of a directory that was found."""
    assert isinstance(found, Folder)
    body = listing(found).body
    assert isinstance(body, bytes)
    return body.decode()


def test_a_listing_shows_what_would_be_served(tree: Path) -> None:
    """Directories first, names escaped for the reader and for the link; nothing that leads out or would block."""
    page = page_for(Files(tree).find("/"))
    shown = re.findall(r'<td><a href="([^"]*)"', page)
    inside = ["inside-folder/"] if os.name != "nt" else []
    assert shown == [*inside, "site/", "sub/", "gr%C3%BC%C3%9Fe%20%26%20%3Cb%3E.txt", "hello.txt", *["inside"] * len(inside)]
    assert "grüße &amp; &lt;b&gt;.txt" in page
    assert "<b>" not in page
    assert "13 B" in page
    assert 'href="../"' in page_for(Files(tree).find("/sub/"))


def test_no_name_becomes_a_scheme(tree: Path) -> None:
    """A file called `javascript:…` is linked to as a file."""
    if os.name == "nt":
        pytest.skip("no such names")
    (tree / "sub" / "javascript:alert(1)").touch()
    assert 'href="javascript%3Aalert%281%29"' in page_for(Files(tree).find("/sub/"))


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_that_are_no_utf8_are_served(tree: Path) -> None:
    """A file whose name is not UTF-8 is listed, and its link works."""
    (tree / os.fsdecode(b"\xff.txt")).write_bytes(HELLO)
    assert 'href="%FF.txt"' in page_for(Files(tree).find("/"))
    assert read(Files(tree).find("/%ff.txt")) == HELLO


def test_a_long_listing_is_cut_and_says_so(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without end does not make a page without end; an empty one says that it is."""
    monkeypatch.setattr(files, "ENTRIES_MAX", 2)
    assert "Only 2 entries are shown" in page_for(Files(tree).find("/"))
    assert "Only" not in page_for(Files(tree).find("/sub/deep/"))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1536, "1.5 KiB"), (5_000_000, "4.8 MiB"), (1 << 70, "1048576 PiB")],
)
def test_sizes_are_short(size: int, text: str) -> None:
    """A size is a few digits and a unit."""
    assert size_for_people(size) == text


def test_the_date_is_the_one_of_the_second() -> None:
    """The Date field is written anew when the second changes, and only then."""
    seconds = [784111777.25, 784111778.0]
    heads = response.Heads(lambda: seconds.pop(0))
    first = heads.start(200, "text/plain", 10.0)
    assert b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in first
    assert heads.start(200, "text/plain", 10.7) is first
    assert b"\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n" in heads.start(200, "text/plain", 10.8)


def test_a_head_begins_with_what_every_answer_has() -> None:
    """Status line, Date and type; who names a type of his own answers for his own security."""
    heads = response.Heads(lambda: 0.0)
    start = heads.start(404, "text/plain", 0.0)
    assert start.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert start.endswith(b"\r\nContent-Type: text/plain\r\n")
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in start
    assert b"nosniff" not in heads.start(404, "", 0.0)


def test_a_log_line_cannot_be_forged() -> None:
    """Quotes, backslashes and control characters are escaped; lines of one pass are written together."""
    stream, calls = io.StringIO(), list[Callable[[], None]]()
    log = AccessLog(stream, calls.append)
    log.note("::1", Request("GET", '/"\\\x1b\n'), 200, 0, 0.1, "")
    log.note("-", Request("GET", "/"), 404, 7, 0.1, "")
    assert not stream.getvalue()
    (flush,) = calls
    flush()
    one, two = stream.getvalue().splitlines()
    assert re.fullmatch(r'::1 - - \[\d\d/\w{3}/\d{4}(:\d\d){3} [+-]\d{4}\] "GET /\\"\\\\\\x1b\\x0a HTTP/1\.1" 200 -', one)
    assert two.endswith('"GET / HTTP/1.1" 404 7')


def test_a_log_that_breaks_is_given_up() -> None:
    """Nobody reads the log any more: the server goes on without."""
    stream = io.StringIO()
    stream.close()
    log = AccessLog(stream, lambda call: call())
    log.note("-", Request(), 200, 0, 0.1, "")
    log.flush()
    assert log.stream is None


def test_every_phase_is_a_row() -> None:
    """The table has every phase; nothing leads out of CLOSING, and everything leads there."""
    assert set(PHASES) == set(Phase)
    assert not PHASES[Phase.CLOSING]
    reached = {after for moves in PHASES.values() for after in moves.values()}
    assert reached == set(Phase)
    assert {event for moves in PHASES.values() for event in moves} == set(Event)


# connection.py, on a clock that jumps


@attrs.define
class Talk:
    """One client of a site, in this process."""

    reactor: Watched
    site: Site
    connection: Connection
    sock: socket.socket

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)
        self.reactor.turn(3)

    def hear(self) -> bytes:
        """What has come; b"" if nothing has, or the end."""
        self.sock.setblocking(False)
        heard = bytearray()
        with contextlib.suppress(BlockingIOError):
            while piece := self.sock.recv(1 << 20):
                heard += piece
        self.sock.setblocking(True)
        return bytes(heard)

    def after(self, seconds: float) -> None:
        """Let the clock go on."""
        self.reactor.run_until(lambda: not self.connection.is_open, timeout=seconds)

    def listen(self) -> bytes:
        """What comes until the server closes."""
        heard = self.hear_until(lambda _: not self.connection.is_open)
        return bytes(heard) + read_all(self.sock)

    def hear_until(self, predicate: Callable[[bytearray], bool]) -> bytearray:
        """What comes until *predicate* holds of it."""
        heard = bytearray()

        def holds() -> bool:
            heard.extend(self.hear())
            return predicate(heard)

        self.reactor.until(holds)
        return heard


@pytest.fixture
def talk(virtual: Watched, tree: Path) -> Iterator[Callable[[], Talk]]:
    """Makes clients."""
    static = Static(Files(tree))
    site = Site(App(static.find), AccessLog(None, virtual.call_soon))
    with contextlib.ExitStack() as stack, contextlib.closing(static):

        def connect() -> Talk:
            here, there = unix_pair()
            stack.callback(there.close)
            made = Talk(virtual, site, virtual.attach(Connection(site), here), there)
            virtual.turn()
            return made

        yield connect


def test_pipelined_requests_are_answered_in_order_wherever_they_are_cut(talk: Callable[[], Talk]) -> None:
    """Three requests in two pieces, cut at every byte in turn, get three answers in their order."""
    data = get("/hello.txt") + get("/nowhere") + get("/site/")
    for cut in range(len(data)):
        client = talk()
        client.say(data[:cut])
        client.say(data[cut:])
        heard = client.hear()
        assert statuses(heard) == [200, 404, 200]
        assert heard.index(HELLO) < heard.index(b"404 Not Found</h1>") < heard.index(b"<p>index")
        client.connection.abort()


def test_a_body_may_end_where_the_next_head_begins(talk: Callable[[], Talk]) -> None:
    """The last bytes of a body and the first ones of the next request may come in one piece."""
    client = talk()
    client.say(get("/hello.txt", "Content-Length: 5"))
    client.say(b"hello" + get("/nowhere")[:7])
    client.say(get("/nowhere")[7:])
    assert statuses(client.hear()) == [200, 404]


def test_connections_keep_what_handlers_promise(tree: Path) -> None:
    """Requests may be cut anywhere, clients may leave anywhere, and a connection may be closed in every hook."""
    site = Site(App(Static(Files(tree)).find), AccessLog(None, lambda call: call(), lambda: 0.0))
    post = get("/site/", "Content-Length: 5", method="POST") + b"hello"
    sends = get("/hello.txt") + post + get("/nowhere"), get("/hello.txt", version="1.0"), b"nonsense\r\n\r\n"
    outcomes = check_handler(lambda: Connection(site), sends, effort=Effort(two_way=40, by_chance=16, points=6, hooks=6))
    assert [statuses(outcome.heard) for outcome in outcomes] == [[200, 405, 404], [200], [400]]


def test_no_second_answer_begins_before_the_first_has_ended(talk: Callable[[], Talk], tree: Path) -> None:
    """A short answer waits behind a long one that its client takes slowly, and reading is held meanwhile."""
    content = os.urandom(3_000_000)
    (tree / "big").write_bytes(content)
    client = talk()
    client.say(get("/big") + get("/hello.txt") * 20)
    client.reactor.turn(20)
    assert client.connection.phase is Phase.SENDING
    assert client.connection.buffered < 1_000_000
    assert client.connection.is_held
    heard = client.hear_until(lambda heard: heard.count(HELLO) == 20)
    assert content in heard
    assert statuses(heard.replace(content, b"")) == [200] * 21
    client.reactor.turn(3)
    assert client.connection.request is None
    assert not client.connection.is_held


def test_a_flood_of_pipelined_requests_is_answered_under_back_pressure(talk: Callable[[], Talk]) -> None:
    """Thousands of requests from a client that reads late neither pile up answers nor get lost."""
    client = talk()
    client.sock.setblocking(False)
    flood, said = get("/hello.txt") * 3000, 0
    for _ in range(200):
        with contextlib.suppress(BlockingIOError):
            said += client.sock.send(flood[said:])
        client.reactor.turn()
    assert client.connection.buffered < 200_000

    def all_answered(heard: bytearray) -> bool:
        nonlocal said
        client.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            said += client.sock.send(flood[said:]) if said < len(flood) else 0
        return heard.count(HELLO) == 3000

    client.hear_until(all_answered)


def test_a_file_that_shrinks_breaks_the_connection(talk: Callable[[], Talk], tree: Path) -> None:
    """Who cannot be sent what was announced is not told that it was all."""
    (tree / "big").write_bytes(bytes(3_000_000))
    client = talk()
    client.say(get("/big"))
    os.truncate(tree / "big", 1_000_000)
    assert len(client.listen()) < 1_100_000
    assert client.connection.reason is not None
    assert client.connection.reason.kind.name == "ERROR"


def test_a_file_that_grows_is_cut(talk: Callable[[], Talk], tree: Path) -> None:
    """No more is sent than was announced, and the next answer stands where it must."""
    (tree / "big").write_bytes(bytes(1_000_000))
    client = talk()
    client.say(get("/big") + get("/hello.txt", "Connection: close"))
    with (tree / "big").open("ab") as file:
        file.write(b"more")
    heard = client.listen()
    assert b"more" not in heard
    assert heard.endswith(HELLO)


def test_a_head_must_be_complete_in_time(talk: Callable[[], Talk]) -> None:
    """Bytes that trickle in do not lengthen the time for a head; then comes 408, and the end."""
    client = talk()
    for piece in (b"GET / HTTP/1.1\r\n", b"Host: x\r\n", b"A: b\r\n"):
        client.say(piece)
        assert client.connection.is_open
        client.after(4)
    heard = client.listen()
    assert statuses(heard) == [408]
    assert b"Connection: close" in heard


def test_a_body_must_be_complete_in_time(talk: Callable[[], Talk]) -> None:
    """A body that does not come gets 408, too."""
    client = talk()
    client.say(get("/", "Content-Length: 9"))
    client.after(19)
    assert client.connection.is_open
    assert statuses(client.listen()) == [408]


def test_an_idle_connection_is_closed_without_a_word(talk: Callable[[], Talk]) -> None:
    """After fifteen seconds without a request the connection ends, and blank lines have no more time than a head."""
    client = talk()
    client.say(get("/hello.txt"))
    assert statuses(client.hear()) == [200]
    client.after(10)
    client.say(b"\r\n")
    assert client.connection.is_open
    began = client.reactor.time()
    assert client.listen() == b""
    assert client.reactor.time() - began < 13


def test_each_answer_begins_a_new_time(talk: Callable[[], Talk]) -> None:
    """Who asks every ten seconds is served for ever."""
    client = talk()
    for _ in range(5):
        client.say(get("/hello.txt"))
        assert statuses(client.hear()) == [200]
        client.after(10)
        assert client.connection.is_open
    client.connection.abort()


def test_a_client_that_takes_nothing_is_given_up(talk: Callable[[], Talk], tree: Path) -> None:
    """An answer that nobody reads is aborted after half a minute, and its file is closed."""
    (tree / "big").write_bytes(bytes(3_000_000))
    client = talk()
    client.say(get("/big"))
    client.after(29)
    assert client.connection.is_open
    client.after(2)
    assert not client.connection.is_open
    client.reactor.turn()
    assert client.connection.answer is None


def test_a_client_that_resets_during_an_answer_leaves_nothing_behind(talk: Callable[[], Talk], tree: Path) -> None:
    """The file is closed and the connection forgotten, at once."""
    (tree / "big").write_bytes(bytes(3_000_000))
    client = talk()
    client.say(get("/big"))
    reset(client.sock)
    client.reactor.turn(3)
    assert not client.connection.is_open
    assert client.connection.answer is None


def test_a_100_comes_before_the_body_and_after_earlier_answers(talk: Callable[[], Talk]) -> None:
    """Who expects a 100 gets it, once, in its place."""
    client = talk()
    client.say(get("/hello.txt") + get("/site/", "Content-Length: 3", "Expect: 100-continue"))
    assert statuses(client.hear()) == [200, 100]
    client.say(b"ab")
    assert client.hear() == b""
    client.say(b"c")
    assert statuses(client.hear()) == [200]
    client.connection.abort()


def test_after_the_clients_end_everything_is_still_answered(talk: Callable[[], Talk], tree: Path) -> None:
    """A half-close after requests is no reason not to answer them."""
    (tree / "big").write_bytes(bytes(1_000_000))
    client = talk()
    client.sock.sendall(get("/big") + get("/hello.txt"))
    client.sock.shutdown(socket.SHUT_WR)
    assert client.listen().endswith(HELLO)


def test_draining_ends_idle_connections_and_finishes_answers(talk: Callable[[], Talk], tree: Path, virtual: Watched) -> None:
    """When the server ends, who waits is let go, and who receives gets all of it."""
    content = os.urandom(2_000_000)
    (tree / "big").write_bytes(content)
    idle, busy = talk(), talk()
    busy.say(get("/big"))
    virtual.shutdown(10)
    assert read_all(idle.sock) == b""
    assert busy.listen().endswith(content)


# The server as a process


@attrs.define
class Server:
    """A server process and where it listens."""

    process: subprocess.Popen[str]
    line: str

    @property
    def port(self) -> int:
        return int(self.line.rstrip().rstrip("/").rpartition(":")[2])


@contextlib.contextmanager
def serving(*arguments: str, status: int = 0) -> Iterator[Server]:
    """Run the server; it must end with *status* and have written nothing to stderr."""
    command = [sys.executable, "-m", "examples.http_lite", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert select.select([process.stdout], [], [], PATIENCE)[0], "no start line"
            yield Server(process, process.stdout.readline())
            if process.poll() is None:
                process.terminate()
            assert process.wait(PATIENCE) == status
            assert process.stderr.read() == ""
        finally:
            process.kill()


@attrs.define
class Answer:
    """One response, taken apart."""

    status: int
    fields: dict[str, str]
    body: bytes


@attrs.define
class Client:
    """A blocking client that reads one response at a time."""

    sock: socket.socket
    _read: bytearray = attrs.field(factory=bytearray)

    def ask(self, *pieces: bytes, method: str = "GET") -> Answer:
        for piece in pieces:
            self.sock.sendall(piece)
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, _ = bytes(self._read).partition(b"\r\n\r\n")
        del self._read[: len(head) + 4]
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = 0 if method == "HEAD" else int(fields.get("content-length", "0"))
        while len(self._read) < length:
            self._more()
        body = bytes(self._read[:length])
        del self._read[:length]
        return Answer(int(first.split()[1]), fields, body)

    def has_ended(self) -> bool:
        """Whether the server closes, and sends nothing more before."""
        return not self._read and self.sock.recv(1) == b""

    def _more(self) -> None:
        piece = self.sock.recv(65536)
        assert piece, f"the server closed early, after {bytes(self._read)!r}"
        self._read += piece


@contextlib.contextmanager
def client_of(server: Server) -> Iterator[Client]:
    """A connection to *server*."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        yield Client(sock)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One quiet server for many tests."""
    root = tmp_path_factory.mktemp("served")
    (root / "hello.txt").write_bytes(HELLO)
    (root / "site").mkdir()
    (root / "site" / "index.html").write_bytes(b"<p>index")
    (root / "list").mkdir()
    (root / "list" / "grüße.txt").write_bytes(b"1")
    (root / "big").write_bytes(BIG)
    if os.name != "nt":
        (root / "out").symlink_to("/etc/passwd")
    with serving("--quiet", "--bind", "127.0.0.1:0", str(root)) as made:
        yield made


BIG = bytes(range(256)) * 20_000


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A connection to the quiet server."""
    with client_of(server) as made:
        yield made


def test_get_and_head_agree(client: Client) -> None:
    """HEAD has the fields of GET and no body, and the connection goes on after both."""
    got = client.ask(get("/hello.txt"))
    asked = client.ask(get("/hello.txt", method="HEAD"), method="HEAD")
    assert (got.status, got.body, got.fields["content-type"]) == (200, HELLO, "text/plain; charset=utf-8")
    assert {**asked.fields, "date": ""} == {**got.fields, "date": ""}
    assert "connection" not in got.fields
    assert client.ask(get("/site/")).body == b"<p>index"


def test_pipelined_requests_get_their_answers_in_order(client: Client) -> None:
    """Three at once, three answers."""
    client.sock.sendall(get("/hello.txt") + get("/site") + get("/nowhere"))
    assert [client.ask().status for _ in range(3)] == [200, 301, 404]


def test_listing_and_names_from_everywhere(client: Client) -> None:
    """A directory is listed, and what it links to can be had."""
    page = client.ask(get("/list/")).body.decode()
    assert "grüße.txt" in page
    (link,) = re.findall(r'href="([^".]+\.txt)"', page)
    assert client.ask(get("/list/" + link)).body == b"1"


def test_a_directory_is_redirected_to(client: Client) -> None:
    """301, with a Location that stays here."""
    answer = client.ask(get("/site?x"))
    assert (answer.status, answer.fields["location"]) == (301, "/site/?x")
    assert client.ask(get("//evil.example/..")).status == 400
    assert client.ask(get("//evil.example")).status == 404


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/nowhere", 404),
        ("/../etc/passwd", 400),
        ("/%2e%2e/%2e%2e/etc/passwd", 400),
        ("//etc/passwd", 404),
        ("/a%00b", 400),
        pytest.param("/out", 404, marks=POSIX),
    ],
)
def test_nothing_leads_out_of_the_server(client: Client, target: str, status: int) -> None:
    """What names nothing that may be served gets its status, and the connection goes on."""
    answer = client.ask(get(target))
    assert answer.status == status
    assert b"root:" not in answer.body
    assert client.ask(get("/hello.txt")).status == 200


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("TRACE", 405), ("DELETE", 405), ("PROPFIND", 501)])
def test_other_methods_are_refused(client: Client, method: str, status: int) -> None:
    """A known method is not allowed, and Allow says what is; an unknown one is not implemented. The body is dropped."""
    answer = client.ask(get("/hello.txt", "Content-Length: 3", method=method), b"abc")
    assert answer.status == status
    assert answer.fields.get("allow") == ("GET, HEAD, OPTIONS" if status == 405 else None)
    assert client.ask(get("/hello.txt")).status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (get("/" + "a" * 9000), 414),
        (get("/", "A: " + "b" * 40_000), 431),
        (get(version="2.0"), 505),
        (get("/", "Content-Length: 2000000") + bytes(500_000), 413),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_refusal_arrives_and_ends_the_connection(client: Client, data: bytes, status: int) -> None:
    """The answer is there to be read although the server has not read everything, and then comes the end."""
    answer = client.ask(data)
    assert (answer.status, answer.fields["connection"]) == (status, "close")
    assert client.has_ended()


def test_http_1_0_ends_unless_it_asks_not_to(server: Server) -> None:
    """One answer and the end; with keep-alive, which is confirmed, another."""
    with client_of(server) as client:
        answer = client.ask(get("/hello.txt", "Connection: keep-alive", version="1.0"))
        assert (answer.fields["connection"], answer.body) == ("keep-alive", HELLO)
        assert client.ask(b"GET /hello.txt HTTP/1.0\r\n\r\n").fields["connection"] == "close"
        assert client.has_ended()


def test_close_means_close(client: Client) -> None:
    """After `Connection: close` nothing more is answered."""
    client.sock.sendall(get("/hello.txt", "Connection: close") + get("/hello.txt"))
    assert client.ask().fields["connection"] == "close"
    assert client.has_ended()


def test_an_upgrade_is_not_taken_up(client: Client) -> None:
    """Who would rather speak another protocol gets an ordinary answer, and the end."""
    answer = client.ask(get("/hello.txt", "Connection: Upgrade", "Upgrade: h2c"))
    assert (answer.status, answer.fields["connection"], answer.body) == (200, "close", HELLO)
    assert client.has_ended()


def test_a_slow_reader_gets_a_large_file_intact(server: Server) -> None:
    """Five megabytes arrive as they are although they are taken in small sips through a small buffer."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(get("/big", "Connection: close"))
        received = bytearray()
        while piece := sock.recv(3000):
            received += piece
            if len(received) < 60_000:
                time.sleep(0.001)  # slower than the server, until its buffers are full
    assert received.partition(b"\r\n\r\n")[2] == BIG


def test_many_clients_share_the_server(server: Server) -> None:
    """A large answer that nobody takes holds up nobody else."""
    with client_of(server) as stuck, client_of(server) as other:
        stuck.sock.sendall(get("/big") * 3)
        for _ in range(20):
            assert other.ask(get("/hello.txt")).body == HELLO
        assert [stuck.ask().body == BIG for _ in range(3)] == [True] * 3


def test_the_log_has_a_line_for_each_request(tmp_path: Path) -> None:
    """The common log format, on stdout, at once."""
    (tmp_path / "hello.txt").write_bytes(HELLO)
    with serving("--bind", "127.0.0.1:0", str(tmp_path)) as server, client_of(server) as client:
        assert server.line == f"serving {tmp_path} on http://127.0.0.1:{server.port}/\n"
        client.ask(get("/hello.txt"))
        client.ask(get('/"', method="HEAD"), method="HEAD")
        client.ask(b"GET / HTTP/1.1\r\n\r\n")
        assert client.has_ended()
        stdout = server.process.stdout
        assert stdout is not None
        lines = [stdout.readline() for _ in range(3)]
    moment = r"127\.0\.0\.1 - - \[[^]]+\] "
    assert re.fullmatch(moment + r'"GET /hello\.txt HTTP/1\.1" 200 13\n', lines[0])
    assert re.fullmatch(moment + r'"HEAD /\\" HTTP/1\.1" 404 -\n', lines[1])
    assert re.fullmatch(moment + r'"GET / HTTP/1\.1" 400 \d+\n', lines[2])


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_when_answers_are_finished(tmp_path: Path, number: signal.Signals) -> None:
    """An idle client is let go, a download is finished, and the status is 0."""
    (tmp_path / "big").write_bytes(BIG)
    with serving("--quiet", "--bind", "127.0.0.1:0", str(tmp_path)) as server:
        with client_of(server) as idle, client_of(server) as busy:
            assert idle.ask(get("/nowhere")).status == 404
            busy.sock.sendall(get("/big"))
            assert busy.sock.recv(1, socket.MSG_PEEK)
            server.process.send_signal(number)
            assert idle.has_ended()
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
            assert busy.ask().body == BIG
            assert busy.has_ended()
        assert server.process.wait(PATIENCE) == 0


@POSIX
def test_a_second_signal_ends_the_server_at_once(tmp_path: Path) -> None:
    """A client that takes nothing cannot hold the server; what it was sent is in the log."""
    (tmp_path / "big").write_bytes(bytes(50_000_000))
    with serving("--bind", "127.0.0.1:0", str(tmp_path), status=1) as server:
        with client_of(server) as idle, client_of(server) as busy:
            busy.sock.sendall(get("/big"))
            assert busy.sock.recv(1, socket.MSG_PEEK)
            assert idle.ask(get("/nowhere")).status == 404
            server.process.terminate()
            assert idle.has_ended()
            server.process.terminate()
            assert server.process.wait(PATIENCE) == 1
        assert server.process.stdout is not None
        lines = server.process.stdout.read().splitlines()
    assert sum('"GET /big HTTP/1.1" 200 ' in line for line in lines) == 1


@POSIX
def test_a_closed_stdout_does_not_stop_the_server(tmp_path: Path) -> None:
    """Whoever read the log has gone: the server serves on, and ends as always."""
    with serving("--bind", "127.0.0.1:0", str(tmp_path)) as server, client_of(server) as client:
        assert server.process.stdout is not None
        server.process.stdout.close()
        for _ in range(3):
            assert client.ask(get("/")).status == 200


@POSIX
def test_a_unix_socket_serves_too(tmp_path: Path) -> None:
    """`unix:` addresses work, and the socket's file is gone afterwards."""
    path = tmp_path / "sock"
    with serving("--quiet", "--bind", f"unix:{path}", str(tmp_path)) as server:
        assert server.line == f"serving {tmp_path} on unix:{path}\n"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
            assert Client(sock).ask(get("/")).status == 200
    assert not path.exists()


def run(*arguments: str, path: str = "") -> tuple[int, str, str]:
    """Run the server to its end."""
    environment = {**os.environ, "PYTHONPATH": path} if path else None
    command = [sys.executable, "-m", "examples.http_lite", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def test_what_prevents_serving_is_said_in_a_line(tmp_path: Path) -> None:
    """A port in use, no directory, no address: status 2 and one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for arguments, word in [
            (("--bind", address, str(tmp_path)), address),
            ((str(tmp_path / "missing"),), "missing"),
            (("--bind", "nonsense", str(tmp_path)), "nonsense"),
            (("--bind", "127.0.0.1:99999", str(tmp_path)), "99999"),
        ]:
            status, out, error = run(*arguments)
            assert (status, out) == (2, "")
            assert word in error
            assert error.count("\n") == 1


def test_a_missing_parser_is_said_in_a_line(tmp_path: Path) -> None:
    """Without httptools, the line says how to get it."""
    (tmp_path / "httptools.py").write_text("raise ModuleNotFoundError('no', name='httptools')\n")
    status, _, error = run(str(tmp_path), path=str(tmp_path))
    assert status == 2
    assert error == "http_lite: httptools is missing: pip install selector-reactor[http]\n"

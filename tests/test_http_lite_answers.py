"""HTTP-lite: what is answered by the rules of HTTP, of files and of applications; connections run on a clock that jumps."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("httptools")

from examples.http_lite import demo
from examples.http_lite.app import App
from examples.http_lite.connection import Connection, Flow, Site
from examples.http_lite.files import Files
from examples.http_lite.log import AccessLog
from examples.http_lite.request import Request, Requests
from examples.http_lite.response import Answer
from examples.http_lite.static import Static
from examples.http_lite.wsgi import Gateway
from tests.kit import Watched, unix_pair

TEXT = b"".join(b"line %d\n" % number for number in range(5000))


def ask(target: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A request that is the last one of its connection."""
    lines = (f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *fields, "", "")
    return "\r\n".join(lines).encode("latin-1") + body


@attrs.define
class Answered:
    """A response, taken apart."""

    status: int
    fields: dict[str, str]
    body: bytes


def fetch_on(reactor: Watched, app: App | Callable[[Request], Any], data: bytes) -> Answered:
    """Ask an application, and read what it says until the end."""
    here, there = unix_pair()
    served = app if isinstance(app, App) else App(lambda _: app)
    served.reactor = reactor
    connection = reactor.attach(Connection(Site(served, AccessLog(None, reactor.call_soon))), here)
    heard = bytearray()
    with there:
        there.sendall(data)
        there.setblocking(False)

        def is_over() -> bool:
            try:
                while piece := there.recv(1 << 20):
                    heard.extend(piece)
            except BlockingIOError:
                pass
            else:
                there.close()  # else the server would linger
            return not connection.is_open

        reactor.until(lambda: there.fileno() < 0 or is_over())
    head, _, body = bytes(heard).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if fields.get("transfer-encoding") == "chunked" and body:
        body = unchunked(body)
    return Answered(int(first.split()[1]), fields, body)


@pytest.fixture
def fetch(virtual: Watched) -> Callable[..., Answered]:
    """`fetch_on` a reactor whose clock jumps."""
    return lambda app, data: fetch_on(virtual, app, data)


def unchunked(data: bytes) -> bytes:
    """The content of chunks, which must be whole."""
    found = bytearray()
    while True:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        found += data[:count]
        assert data[count : count + 2] == b"\r\n"
        data = data[count + 2 :]
        if not count:
            assert not data
            return bytes(found)


# Rules

CORPUS = [
    (b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x:y\r\n\r\n", 400),
    (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (ask("/", method="TRACE"), 405),
    (ask("x:1", method="CONNECT"), 405),
    (ask("/", method="PROPFIND"), 501),
]


@pytest.mark.parametrize(("data", "status"), CORPUS, ids=lambda value: repr(value)[:50])
def test_malformed_requests_reach_nobody(data: bytes, status: int, fetch: Callable[..., Answered]) -> None:
    """Each gets its status, and the connection ends."""

    def answer(request: Request) -> Any:
        assert request.method not in ("GET", "POST"), request.line
        return Static(Files(".")).find(request)(request)

    app = App(answer)
    answer = fetch(app, data)
    assert (answer.status, answer.fields["connection"]) == (status, "close")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n", b"Content-Length: 3\r\n", b"abc"]
        )
        | st.sampled_from(
            [b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"Connection: close\r\n", b"\n", b" "]
        )
        | st.binary(max_size=6),
        max_size=14,
    ),
    st.integers(min_value=1, max_value=40),
)
def test_any_bytes_are_read_or_refused(parts: list[bytes], step: int) -> None:
    """Nothing raises; however it is cut, the same requests come; nothing follows a refusal."""
    data = b"".join(parts)
    whole, cut = Requests(), Requests()
    whole.feed(data)
    for at in range(0, len(data), step):
        cut.feed(data[at : at + step])
    read = [[(each.line, each.body, each.refusal) for each in requests.waiting] for requests in (whole, cut)]
    answered = [[each[:2] for each in requests if not each[2]] for requests in read]
    assert answered[0] == answered[1]
    assert [each[2] for each in read[0]] == [each[2] for each in read[1]]
    assert all(not refusal for *_, refusal in read[0][:-1])


def test_the_absolute_form_replaces_host_and_bodies_are_whole(fetch: Callable[..., Answered]) -> None:
    """RFC 9112, 3.2.2; a chunked body is put together, and its trailers are dropped."""
    seen: list[Request] = []
    data = ask("http://y:8/p?q", "Transfer-Encoding: chunked", method="POST", body=b"2\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n")
    assert fetch(seen.append, data).status == 204
    (request,) = seen
    assert (request.host, request.path, request.query, request.body) == ("y:8", "/p", "q", b"abc")
    assert "t" not in request.fields


# Files


@pytest.fixture
def site(tmp_path: Path) -> Iterator[App]:
    """A large text, its compressed form, and a small file."""
    (tmp_path / "big.txt").write_bytes(TEXT)
    (tmp_path / "big.txt.gz").write_bytes(gzip.compress(TEXT))
    (tmp_path / "small.bin").write_bytes(b"0123456789")
    with contextlib.closing(Static(Files(tmp_path))) as static:
        yield App(static.find)


def test_conditions_are_judged(site: App, fetch: Callable[..., Answered]) -> None:
    """RFC 9110, 13: what the client has is not sent again, and what has changed is not mistaken for what it has."""
    first = fetch(site, ask("/small.bin"))
    tag, date = first.fields["etag"], first.fields["last-modified"]
    for field, status in [
        (f"If-None-Match: {tag}", 304),
        (f'If-None-Match: "a", W/{tag}', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "a"', 200),
        (f"If-Match: {tag}", 200),
        ("If-Match: *", 200),
        ('If-Match: "a"', 412),
        (f"If-Match: W/{tag}", 412),
        (f"If-Modified-Since: {date}", 304),
        ("If-Modified-Since: nonsense", 200),
        (f"If-Unmodified-Since: {date}", 200),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ]:
        answer = fetch(site, ask("/small.bin", field))
        assert answer.status == status, field
        assert (answer.body == b"0123456789") is (status == 200)


def test_ranges_are_cut(site: App, fetch: Callable[..., Answered]) -> None:
    """RFC 9110, 14: one, the rest, the last bytes, none; nonsense is ignored, and so is what If-Range does not allow."""
    for spec, status, body in [
        ("0-0", 206, b"0"),
        ("7-", 206, b"789"),
        ("-3", 206, b"789"),
        ("5-99", 206, b"56789"),
        ("10-", 416, None),
        ("-0", 416, None),
        ("3-2", 200, b"0123456789"),
        ("a", 200, b"0123456789"),
    ]:
        answer = fetch(site, ask("/small.bin", f"Range: bytes={spec}"))
        assert answer.status == status, spec
        assert body is None or answer.body == body
    assert fetch(site, ask("/small.bin", "Range: bytes=10-")).fields["content-range"] == "bytes */10"
    assert fetch(site, ask("/small.bin", "Range: bytes=0-1", 'If-Range: "other"')).status == 200
    tag = fetch(site, ask("/small.bin")).fields["etag"]
    assert fetch(site, ask("/small.bin", "Range: bytes=0-1", f"If-Range: {tag}")).status == 206
    answer = fetch(site, ask("/big.txt", "Range: bytes=0-19999,-20"))
    assert answer.status == 206
    assert answer.fields["content-type"].startswith("multipart/byteranges")
    assert answer.body.count(TEXT[:20000]) == 1
    assert answer.body.endswith(TEXT[-20:] + b"\r\n--b0a4c6e1f9d27358--\r\n")
    assert len(answer.body) == int(answer.fields["content-length"])


def test_compressed_siblings_are_sent_to_those_who_take_them(site: App, fetch: Callable[..., Answered]) -> None:
    """Accept-Encoding decides, and Vary says so; a file that is sent by the kernel arrives whole."""
    packed = fetch(site, ask("/big.txt", "Accept-Encoding: gzip;q=0.5, br"))
    assert (packed.fields["content-encoding"], gzip.decompress(packed.body)) == ("gzip", TEXT)
    for field in ("Accept: x", "Accept-Encoding: gzip;q=0", "Accept-Encoding: identity"):
        plain = fetch(site, ask("/big.txt", field))
        assert plain.body == TEXT
        assert plain.fields["vary"] == "Accept-Encoding"
        assert plain.fields["etag"] != packed.fields["etag"]


# Applications


def test_routes_lead_to_handlers(fetch: Callable[..., Answered]) -> None:
    """Methods, parameters, JSON; HEAD and OPTIONS come by themselves; what is missing has its status."""
    assert fetch(demo.app, ask("/hello")).body == b"Hello, world!\n"
    assert fetch(demo.app, ask("/users/a%20b")).body == b'{"name": "a b"}'
    head = fetch(demo.app, ask("/hello", method="HEAD"))
    assert (head.status, head.fields["content-length"], head.body) == (200, "14", b"")
    assert fetch(demo.app, ask("/hello", method="OPTIONS")).fields["allow"] == "GET, HEAD, OPTIONS"
    assert fetch(demo.app, ask("*", method="OPTIONS")).status == 204
    assert fetch(demo.app, ask("/hello", method="POST")).status == 405
    assert fetch(demo.app, ask("/nowhere")).status == 404
    assert fetch(demo.app, ask("/sum", "Content-Length: 5", method="POST", body=b"[1,2]")).body == b'{"sum": 3}'
    assert fetch(demo.app, ask("/sum", "Content-Length: 1", method="POST", body=b"x")).status == 400
    with pytest.raises(ValueError, match="TRACE"):
        demo.app.route("TRACE", "/")


def test_answers_may_come_later_or_bit_by_bit(virtual: Watched, fetch: Callable[..., Answered]) -> None:
    """A promise is kept; an iterator is sent as the client takes it; events flow until the flow is ended."""
    demo.app.reactor = virtual
    assert fetch(demo.app, ask("/later")).body == b"That took a while.\n"
    assert fetch(demo.app, ask("/count/30000")).body == b"".join(b"%d\n" % each for each in range(30000))
    virtual.call_later(2.5, virtual.shutdown, 10)
    assert fetch(demo.app, ask("/ticks")).body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_a_flow_has_back_pressure_and_hears_its_end(virtual: Watched, fetch: Callable[..., Answered]) -> None:
    """`write` says when to stop, `on_room` when to go on, `on_over` when it is over; for HEAD it never begins."""
    told: list[str] = []
    left = 40

    def pour(flow: Flow) -> None:
        nonlocal left
        told.append("room")
        flow.on_room, flow.on_over = lambda: pour(flow), lambda: told.append("over")
        while left:
            left -= 1
            if not flow.write(b"x" * 50_000):
                return
        flow.end()

    def answer(request: Request) -> Answer:
        return Answer(200, pour)

    assert len(fetch(answer, ask("/")).body) == 2_000_000
    assert told.count("over") == 1
    assert told.count("room") > 1
    told.clear()
    assert fetch(answer, ask("/", method="HEAD")).body == b""
    assert not told


def test_a_handler_that_raises_is_answered_for(virtual: Watched, fetch: Callable[..., Answered]) -> None:
    """500, and the reactor hears of it; so is one whose field would smuggle an answer in."""
    for app in (lambda _: 1 / 0, lambda _: lambda give: give(object()), lambda _: Answer(200, fields=(("A", "b\r\n\r\nHTTP/1.1 200 OK"),))):
        assert fetch(app, ask("/")).status == 500
        (context,) = virtual.raised
        assert context.where == "GET / HTTP/1.1"
        virtual.raised.clear()


def wsgi_app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """What a WSGI application may do."""
    path = environ["PATH_INFO"]
    if path == "/echo":
        start("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))]
    if path == "/many":
        start("200 OK", [("Content-Type", "text/plain")])
        return (b"%d\n" % number for number in range(300))
    if path == "/sized":
        start("201 Created", [("Content-Type", "text/plain"), ("Content-Length", "6"), ("X-A", "b")])
        return iter([b"abc", b"def"])
    raise ValueError("no such path")


@pytest.mark.parametrize("threads", [0, 2])
def test_wsgi_applications_are_served(threads: int) -> None:
    """In the loop and in threads, as wsgiref's validator has it; what raises is answered with 500."""
    checked: Any = validator(wsgi_app)
    with Watched(debug=True) as reactor:
        app = App()
        app.otherwise = Gateway(checked, app, threads).find
        echo = fetch_on(reactor, app, ask("/echo", "Content-Length: 3", method="POST", body=b"abc"))
        assert (echo.status, echo.body) == (200, b"abc")
        assert fetch_on(reactor, app, ask("/many")).body == b"".join(b"%d\n" % number for number in range(300))
        sized = fetch_on(reactor, app, ask("/sized"))
        assert (sized.status, sized.fields["content-length"], sized.fields["x-a"]) == (201, "6", "b")
        assert sized.body == b"abcdef"
        assert fetch_on(reactor, app, ask("/many", method="HEAD")).body == b""
        assert fetch_on(reactor, app, ask("/nowhere")).status == 500
        assert fetch_on(reactor, app, ask("/", method="TRACE")).status == 405
        (context,) = reactor.raised
        assert str(context.exc) == "no such path"

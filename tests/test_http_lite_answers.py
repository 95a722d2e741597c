"""HTTP-lite: what is answered by the rules of HTTP, of files and of applications; connections run on a clock that jumps."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import sys
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
from examples.http_lite.app import App, form_of
from examples.http_lite.connection import Connection, Flow, Site
from examples.http_lite.log import AccessLog
from examples.http_lite.options import Options
from examples.http_lite.request import Request, Requests
from examples.http_lite.response import Answer
from examples.http_lite.static import Files, Static
from examples.http_lite.status import Report
from examples.http_lite.wsgi import Gateway
from reactor import CloseReason
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
        there.setblocking(False)

        def is_over() -> bool:
            nonlocal data
            try:
                data = data[there.send(data) if data else 0 :]
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

    heard = fetch(answer, data)
    assert (heard.status, heard.fields["connection"]) == (status, "close")


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
    for app in (
        lambda _: 1 / 0,
        lambda _: lambda give: give(object()),
        lambda _: Answer(200, fields=(("A", "b\r\n\r\nHTTP/1.1 200 OK"),)),
    ):
        assert fetch(app, ask("/")).status == 500
        (context,) = virtual.raised
        assert context.where == "GET / HTTP/1.1"
        virtual.raised.clear()


def test_a_handler_that_raises_when_it_has_answered_is_reported(virtual: Watched, fetch: Callable[..., Answered]) -> None:
    """The answer stands, and nothing else is sent."""

    def answer(give: Callable[[Any], object]) -> None:
        give("fine")
        raise ValueError("and then not")

    assert fetch(lambda _: answer, ask("/")).body == b"fine"
    assert str(virtual.raised.pop().exc) == "and then not"


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


@pytest.mark.parametrize("threads", [0, 2])
def test_a_body_whose_client_is_gone_is_closed_before_the_server_ends(threads: int) -> None:
    """While the reactor shuts down it waits for no call: the body is closed by the time that its client's end is told."""
    told: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x" * 3_000_000, b"y" * 3_000_000])

        def close(self) -> None:
            told.append("closed")

    def wsgi(_: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        start("200 OK", [])
        return Body()

    class Told(Connection):
        def on_close(self, reason: CloseReason) -> None:
            super().on_close(reason)
            told.append("over")

    here, there = unix_pair()
    with there, Watched() as reactor:
        app = App()
        app.reactor, app.otherwise = reactor, Gateway(wsgi, app, threads).find
        connection = reactor.attach(Told(Site(app, AccessLog(None, reactor.call_soon))), here)
        there.sendall(ask("/"))
        reactor.until(lambda: connection.is_sending)
        reactor.shutdown(grace=60)
        there.close()
        reactor.run()
    assert told == ["closed", "over"]


def wsgi_tricks(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """What a WSGI application may do beside that, and what it should not."""
    path, text = environ["PATH_INFO"], [("Content-Type", "text/plain")]
    if path == "/write":
        start("200 OK", text)(b"written ")
        return [b"returned"]
    if path == "/long":
        start("200 OK", [*text, ("Content-Length", "3")])
        return [b"abcdef"]
    if path == "/short":
        start("200 OK", [*text, ("Content-Length", "9")])
        return [b"abc"]
    if path == "/again":
        start("200 OK", text)
        try:
            int("on second thoughts")
        except ValueError:
            start("503 Service Unavailable", text, sys.exc_info())
        return [b"sorry"]
    if path == "/twice":
        start("200 OK", text)
        start("200 OK", text)
    if path == "/smuggle":
        start("200 OK", [*text, ("A", "b\r\nContent-Length: 0")])
    if path == "/spool":
        start("200 OK", text)
        return [b"%d" % sum(map(len, environ["wsgi.input"]))]
    return []


@pytest.mark.parametrize("threads", [0, 1])
def test_wsgi_applications_may_do_what_the_pep_allows(threads: int) -> None:
    """`write`, a second start with an error, a length that cuts; a body of any length; and what must not be is 500."""
    with Watched(debug=True) as reactor:
        app = App()
        app.otherwise = Gateway(wsgi_tricks, app, threads).find
        assert fetch_on(reactor, app, ask("/write")).body == b"written returned"
        assert fetch_on(reactor, app, ask("/long")).body == b"abc"
        again = fetch_on(reactor, app, ask("/again"))
        assert (again.status, again.body) == (503, b"sorry")
        data = b"0123456789\n" * 50_000
        spool = fetch_on(reactor, app, ask("/spool", f"Content-Length: {len(data)}", method="POST", body=data))
        assert spool.body == str(len(data)).encode()
        assert not reactor.raised
        for path in ("/twice", "/smuggle", "/nothing"):
            assert fetch_on(reactor, app, ask(path)).status == 500
            assert len(reactor.raised) == 1
            reactor.raised.clear()
        assert fetch_on(reactor, app, ask("/short")).body == b"abc"  # and then the connection breaks
        assert "6 bytes are missing" in str(reactor.raised.pop().exc)


def test_no_thread_waits_for_a_client() -> None:
    """One thread serves two clients of endless bodies, who take nothing, and a third; those who leave end their bodies."""
    ended: list[int] = []

    def endless(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        start("200 OK", [])

        def chunks() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(50_000)
            finally:
                ended.append(1)

        return chunks() if environ["PATH_INFO"] == "/endless" else [b"short"]

    with Watched(debug=True) as reactor, contextlib.ExitStack() as stack:
        app = App()
        app.reactor, app.otherwise = reactor, Gateway(endless, app, 1).find
        connections = []
        for _ in range(2):
            here, there = unix_pair()
            stack.enter_context(there)
            connections.append(reactor.attach(Connection(Site(app, AccessLog(None, reactor.call_soon))), here))
            there.sendall(ask("/endless"))
        reactor.until(lambda: all(each.buffered > each.limits.high for each in connections))
        assert fetch_on(reactor, app, ask("/short")).body == b"short"
        for each in connections:
            each.abort()
        reactor.until(lambda: len(ended) == 2)


def test_a_large_answer_lies_on_the_disk(fetch: Callable[..., Answered]) -> None:
    """An answer of many bytes is sent from a temporary file, whole."""
    data = b"0123456789" * 100_000
    assert fetch(lambda _: data, ask("/")).body == data


# Forms


def form(*parts: bytes) -> tuple[str, bytes]:
    """A multipart form's type, and its body."""
    return "Content-Type: multipart/form-data; boundary=x", b"".join(
        b"--x\r\n%b\r\n" % part for part in parts
    ) + b"--x--\r\n"


def test_forms_are_read(virtual: Watched, fetch: Callable[..., Answered]) -> None:
    """Fields and files, urlencoded and multipart, small and large; what is no form is refused."""
    pytest.importorskip("python_multipart")
    found: list[Any] = []
    handler = lambda request: found.append(form_of(request)) or "thanks"  # type: ignore[func-returns-value]  # noqa: E731
    data = b"a=1&b=%C3%BC"
    fields = (f"Content-Length: {len(data)}", "Content-Type: application/x-www-form-urlencoded")
    assert fetch(handler, ask("/", *fields, method="POST", body=data)).body == b"thanks"
    assert found.pop() == {"a": "1", "b": "ü"}
    content = bytes(range(256)) * 1000
    kind, data = form(
        b'Content-Disposition: form-data; name="a"\r\n\r\n1',
        b'Content-Disposition: form-data; name="f"; filename="../f.bin"\r\n\r\n' + content,
    )
    assert fetch(handler, ask("/", f"Content-Length: {len(data)}", kind, method="POST", body=data)).body == b"thanks"
    read = found.pop()
    assert read["a"] == "1"
    assert (read["f"].name, read["f"].size, read["f"].file.read()) == ("../f.bin", len(content), content)
    read["f"].file.close()
    for other, bad in (("Content-Type: text/plain", b"a"), (kind, b"nonsense"), (kind, b"--x\r\nA\r\n")):
        assert fetch(handler, ask("/", f"Content-Length: {len(bad)}", other, method="POST", body=bad)).status == 500
        assert isinstance(virtual.raised.pop().exc, ValueError)


def test_the_demo_takes_an_upload() -> None:
    """In a thread, and says what it got."""
    pytest.importorskip("python_multipart")
    kind, data = form(b'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\nabc')
    with Watched(debug=True) as reactor:
        page = fetch_on(reactor, demo.app, ask("/upload"))
        assert b"<form" in page.body
        length = f"Content-Length: {len(data)}"
        told = fetch_on(reactor, demo.app, ask("/upload", length, kind, method="POST", body=data))
        digest = hashlib.sha256(b"abc").hexdigest()
        assert json.loads(told.body) == {"name": "f", "size": 3, "sha256": digest}
        assert fetch_on(reactor, demo.app, ask("/upload", method="POST")).status == 400


# Files, further


def test_hidden_files_are_nobodys_business(site: App, tmp_path: Path, fetch: Callable[..., Answered]) -> None:
    """What begins with a dot is neither served nor listed, but for what RFC 8615 is about."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"secret")
    (tmp_path / ".well-known").mkdir()
    (tmp_path / ".well-known" / "security.txt").write_bytes(b"Contact: x")
    assert [fetch(site, ask(path)).status for path in ("/.git/config", "/.git/", "/.git", "/%2egit/config")] == [404] * 4
    assert fetch(site, ask("/.well-known/security.txt")).body == b"Contact: x"
    listed = fetch(site, ask("/")).body
    assert b".git" not in listed
    assert b".well-known" in listed


def test_listings_sort_without_a_script(site: App, fetch: Callable[..., Answered]) -> None:
    """By name, size or date, either way; directories stay first."""
    for query, first, last in [
        ("", "big.txt", "small.bin"),
        ("?-name", "small.bin", "big.txt"),
        ("?size", "small.bin", "big.txt"),
    ]:
        page = fetch(site, ask(f"/{query}")).body.decode()
        assert page.index(f">{first}<") < page.index(f">{last}<")
        assert "<script" not in page


def test_codings_are_chosen_by_quality(site: App, tmp_path: Path, fetch: Callable[..., Answered]) -> None:
    """RFC 9110, 12.5.3: the one that the client likes best, and none if it likes that better."""
    (tmp_path / "big.txt.br").write_bytes(b"brotli")
    for field, coding in [
        ("gzip, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("*", "br"),
        ("*;q=0", None),
        ("br;q=0, *", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("deflate", None),
    ]:
        assert fetch(site, ask("/big.txt", f"Accept-Encoding: {field}")).fields.get("content-encoding") == coding, field


def test_a_file_that_is_exchanged_is_seen(site: App, tmp_path: Path, fetch: Callable[..., Answered]) -> None:
    """Files are kept open, but the path decides: what was written anew is sent anew, what was removed is gone."""
    assert fetch(site, ask("/small.bin")).body == b"0123456789"
    (tmp_path / "new").write_bytes(b"another")
    (tmp_path / "new").replace(tmp_path / "small.bin")
    assert fetch(site, ask("/small.bin")).body == b"another"
    (tmp_path / "small.bin").unlink()
    assert fetch(site, ask("/small.bin")).status == 404


# What the server says of itself


def test_an_application_may_tell_of_itself(virtual: Watched) -> None:
    """Its own route for one of these paths stays; the others are added."""
    app = App()
    app.route("GET", "/status")(lambda _: "fine")
    Report(Site(app, AccessLog(None, virtual.call_soon)), virtual).add_routes(app, is_open=True)
    assert fetch_on(virtual, app, ask("/status")).body == b"fine"
    assert fetch_on(virtual, app, ask("/healthz")).body == b"ready\n"


def test_the_server_tells_of_itself(virtual: Watched) -> None:
    """Readiness, numbers for Prometheus, and a page; the latter two to this machine only, unless it is to be otherwise."""
    pytest.importorskip("prometheus_client")
    app = App()
    site = Site(app, AccessLog(None, virtual.call_soon))
    Report(site, virtual).add_routes(app, is_open=False)
    assert fetch_on(virtual, app, ask("/healthz")).status == 200
    metrics = fetch_on(virtual, app, ask("/metrics")).body
    assert re.search(rb"^http_lite_accepted_total 0\.0$", metrics, re.MULTILINE)
    page = fetch_on(virtual, app, ask("/status"))
    assert (page.status, page.fields["refresh"]) == (200, "2")
    site.is_draining = True
    assert fetch_on(virtual, app, ask("/healthz")).status == 503
    assert b"Draining" in fetch_on(virtual, app, ask("/status")).body
    for path in ("/status", "/metrics"):
        (request,) = parsed(ask(path))
        app.client = "192.0.2.1"
        assert app.find(request)(request).status == 404


def parsed(data: bytes) -> list[Request]:
    """The requests in *data*."""
    requests = Requests()
    requests.feed(data)
    return list(requests.waiting)


def test_logs_have_their_forms() -> None:
    """Combined adds referer and agent; JSON has the duration, and why an answer was cut."""
    (request,) = parsed(ask("/", "User-Agent: me", 'Referer: "'))
    for form, wanted in [
        ("combined", r'.* "GET / HTTP/1\.1" 200 7 "\\"" "me"\n'),
        ("json", r'{"time": ".*", .*"agent": "me", .*"status": 200, "bytes": 7, "seconds": 0\.25, "closed": "RESET"}\n'),
    ]:
        stream = io.StringIO()
        log = AccessLog(stream, lambda call: None, form=form)
        log.note("-", request, 200, 7, 0.25, "RESET")
        log.flush()
        assert re.fullmatch(wanted, stream.getvalue())


def test_a_client_that_takes_too_little_is_cut(virtual: Watched) -> None:
    """An answer has its time, and more for each byte: who takes a little now and then cannot make it last for ever."""
    here, there = unix_pair()
    site = Site(
        App(lambda _: lambda _: bytes(3_000_000)),
        AccessLog(None, virtual.call_soon),
        Options(rate_bytes=1_000_000, write_seconds=1000.0),
    )
    connection = virtual.attach(Connection(site), here)
    with there:
        there.sendall(ask("/"))
        began, taken = virtual.time(), 0
        while connection.is_open:
            virtual.run_until(lambda: not connection.is_open, timeout=5.0)
            taken += len(there.recv(4096)) if connection.is_open else 0
        assert 30 < virtual.time() - began < 60
        assert taken < 100_000
    assert connection.reason is not None
    assert connection.reason.kind.name == "TIMEOUT"

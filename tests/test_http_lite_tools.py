"""HTTP-lite with what people put before it: curl, wrk, ab, h2load, a browser, nginx, HAProxy; each where it is installed."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("httptools")

from tests.http_rig import (
    DEMO,
    HELLO,
    MANY,
    Serving,
    furnish,
    haproxy,
    is_open,
    nginx,
    read_answer,
    run,
    serving,
    tool,
    until,
)
from tests.kit import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server is ended by SIGTERM")

TEXT, BIG = b"a line of text\n" * 10_000, bytes(range(256)) * 8192
FILES = {
    "hello.txt": HELLO,
    "text.txt": TEXT,
    "text.txt.gz": gzip.compress(TEXT),
    "big": BIG,
    "folder/grüße & <b>.txt": HELLO,
}
REQUESTS, WIDTH = 1000, 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A directory and the demonstration, with an access log; all clients here have one address."""
    place = tmp_path_factory.mktemp("server")
    with serving(place, *DEMO, *MANY, str(furnish(place / "root", FILES))) as made:
        yield made


# curl


def test_curl_keeps_its_connection(server: Serving) -> None:
    """Three requests, one connection, three lines; with HTTP/1.0 there are three connections."""
    thrice = ("-w", "%{http_code} %{num_connects}\n", *["-o", "/dev/null", f"{server.url}/hello?keep"] * 3)
    assert run("curl", "-sS", *thrice)[0] == "200 1\n200 0\n200 0\n"
    assert run("curl", "-0sS", *thrice)[0] == "200 1\n" * 3
    assert [line.count('HTTP/1.1" 200') for line in server.logged("/hello?keep", 6)] == [1, 1, 1, 0, 0, 0]


def test_curl_asks_for_ranges(server: Serving, tmp_path: Path) -> None:
    """One range, several, the last bytes, none; and an interrupted download goes on where it stopped."""
    url = f"{server.url}/hello.txt?range"
    assert run("curl", "-sS", "-r", "0-4", url)[0] == "hello"
    assert run("curl", "-sS", "-r", "-6", url)[0] == "world\n"
    several, _ = run("curl", "-sS", "-r", "0-1,7-8", url)
    assert "multipart/byteranges" not in several
    assert re.findall(r"bytes (\S+)\r\n\r\n(..)\r\n", several) == [("0-1/13", "he"), ("7-8/13", "wo")]
    assert run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-r", "99-", url)[0] == "416"
    (tmp_path / "big").write_bytes(BIG[:1_000_000])
    run("curl", "-sS", "-C", "-", "-o", "big", f"{server.url}/big?range", cwd=tmp_path)
    assert (tmp_path / "big").read_bytes() == BIG
    codes = [line.rpartition('" ')[2].split()[0] for line in server.logged("?range", 5)]
    assert codes == ["206", "206", "206", "416", "206"]


def test_curl_has_what_has_not_changed(server: Serving, tmp_path: Path) -> None:
    """By date, and by tag: 304, and nothing is sent."""
    url = f"{server.url}/hello.txt?again"
    run("curl", "-sSR", "-o", "have", "--etag-save", "tag", url, cwd=tmp_path)
    assert (tmp_path / "have").read_bytes() == HELLO
    for condition in (("-z", "have"), ("--etag-compare", "tag")):
        out, _ = run("curl", "-sS", *condition, "-w", "%{http_code} %{size_download}", url, cwd=tmp_path)
        assert out == "304 0"
    server.logged("?again", 3)


def test_curl_asks_for_the_head(server: Serving) -> None:
    """HEAD has the fields of GET, nothing comes after them, and the connection goes on."""
    out, _ = run("curl", "-sSI", "-w", "%{num_connects}\n", *[f"{server.url}/big?head"] * 2)
    assert out.count("HTTP/1.1 200 OK") == 2
    assert re.findall(r"(?i)^content-length: (\d+)", out, re.MULTILINE) == [str(len(BIG))] * 2
    assert re.findall(r"^[01]$", out, re.MULTILINE) == ["1", "0"]
    server.logged("?head", 2)


def test_curl_takes_what_is_compressed(server: Serving) -> None:
    """The compressed file goes over the wire, and the text comes out."""
    out, _ = run("curl", "-sS", "--compressed", "-w", "%{size_download}", f"{server.url}/text.txt?packed")
    assert out == TEXT.decode() + str(len(gzip.compress(TEXT)))
    server.logged("?packed", 1)


def test_curl_sends_bodies(server: Serving) -> None:
    """With a length, in chunks, after a 100; what is too long is refused before it is sent."""
    url, numbers = f"{server.url}/sum?upload", json.dumps(list(range(1000))).encode()
    chunks = ("-H", "Transfer-Encoding: chunked")
    wait = ("-H", "Expect: 100-continue", "--expect100-timeout", "9")
    for fields in ((), chunks, wait, chunks + wait):
        out, said = run("curl", "-sSv", *fields, "--data-binary", "@-", url, stdin=numbers)
        assert json.loads(out) == {"sum": 499500}
        assert ("100 Continue" in said) is ("-H" in fields and wait[1] in fields)
    much = bytes(2 * 1024 * 1024)
    sent = "%{http_code} %{size_upload}"
    out, said = run("curl", "-sSv", *wait, "-o", "/dev/null", "-w", sent, "--data-binary", "@-", url, stdin=much)
    assert out == "413 0"
    assert "100 Continue" not in said
    codes = [line.rpartition('" ')[2].split()[0] for line in server.logged("?upload", 5)]
    assert codes == ["200"] * 4 + ["413"]


# Load


def test_wrk_finds_no_error(server: Serving) -> None:
    """Every answer is a 200, no socket fails, and each that wrk counts has its line; some were cut at the end."""
    out, _ = run("wrk", "-t1", f"-c{WIDTH}", "-d1s", f"{server.url}/hello?wrk")
    assert "Socket errors" not in out
    assert "Non-2xx" not in out
    found = re.search(r"(\d+) requests in", out)
    assert found is not None
    count = int(found[1])
    assert count > 0
    until(lambda: len(server.lines("?wrk")) >= count)
    assert count <= len(server.lines("?wrk")) <= count + WIDTH


@pytest.mark.parametrize("path", ["hello", "hello.txt", "folder/", "count/50"])
def test_ab_finds_no_error(server: Serving, path: str) -> None:
    """All are answered by a 200, on connections that last unless the end is the only mark of length, and all are logged."""
    out, _ = run("ab", "-q", "-k", "-n", str(REQUESTS // 5), "-c", str(WIDTH), f"{server.url}/{path}?ab")
    report = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in out.splitlines())}
    assert (report["Complete requests"], report["Failed requests"]) == (str(REQUESTS // 5), "0")
    assert "Non-2xx responses" not in report
    # It speaks HTTP/1.0, where a stream without a length ends with its connection.
    assert report["Keep-Alive requests"] == str(0 if path.startswith("count") else REQUESTS // 5)
    server.logged(f"/{path}?ab", REQUESTS // 5)


@pytest.mark.parametrize("path", ["hello", "big", "count/50"])
def test_h2load_finds_no_error(server: Serving, path: str) -> None:
    """All are answered by a 200 and logged, none fails, none is late."""
    requests = REQUESTS if path == "hello" else REQUESTS // 10
    out, _ = run("h2load", "--h1", "-n", str(requests), "-c", str(WIDTH), f"{server.url}/{path}?h2load")
    assert f"{requests} done, {requests} succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert f"status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx" in out
    server.logged(f"/{path}?h2load", requests)


# A browser


def test_a_browser_shows_a_listing(server: Serving, tmp_path: Path) -> None:
    """Chromium shows each name, once, as a link to where it is."""
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    headless = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", f"--user-data-dir={tmp_path}")
    page, _ = run("chromium", *headless, *quiet, "--dump-dom", f"{server.url}/folder/?browser")
    assert "<title>" in page
    links = re.findall(r'<a[^>]* href="([^"]*)"[^>]*>([^<]*)</a>', page)
    assert [link for link, _ in links if "%" in link] == ["gr%C3%BC%C3%9Fe%20%26%20%3Cb%3E.txt"]
    assert [name.strip() for _, name in links if "txt" in name] == ["grüße &amp; &lt;b&gt;.txt"]
    assert [name.strip() for link, name in links if link == "sub/"] == ["sub/"]
    server.logged("/folder/?browser", 1)


# Behind nginx


@pytest.fixture(scope="module")
def behind_nginx(server: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """nginx in front of the server; its port."""
    place = tmp_path_factory.mktemp("nginx")
    furnish(place / "static", FILES)
    with nginx(place, server.port) as port:
        yield port


def test_nginx_passes_on_and_back(server: Serving, behind_nginx: int) -> None:
    """Answers of every kind come through whole; what nginx answers itself does not reach the server."""
    url = f"http://127.0.0.1:{behind_nginx}"
    assert run("curl", "-sS", f"{url}/hello.txt?nginx")[0].encode() == HELLO
    assert run("curl", "-sS", "-r", "0-4", f"{url}/hello.txt?nginx")[0] == "hello"
    assert run("curl", "-sS", f"{url}/count/5000?nginx")[0] == "".join(f"{each}\n" for each in range(5000))
    assert run("curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", f"{url}/big?nginx")[0] == str(len(BIG))
    assert run("curl", "-sSI", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/nowhere?nginx")[0] == "404"
    for fields in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")):
        out, _ = run("curl", "-sS", *fields, "--data-binary", "@-", f"{url}/sum?nginx", stdin=b"[1, 2]")
        assert json.loads(out) == {"sum": 3}
    assert run("curl", "-sS", f"{url}/static/hello.txt?nginx")[0].encode() == HELLO
    for path in ("healthz", "status", "metrics", "%68ealthz"):
        assert run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/{path}?nginx")[0] == "404"
    server.logged("?nginx", 8)


def test_nginx_keeps_its_connections(server: Serving, behind_nginx: int) -> None:
    """A thousand requests from clients that each ask once use a few connections to the server, and none fails."""
    url = f"http://127.0.0.1:{behind_nginx}/hello?upstream"
    before = closing(server.port)
    out, _ = run("ab", "-q", "-n", str(REQUESTS), "-c", str(WIDTH), url)
    assert re.search(rf"Complete requests: +{REQUESTS}\n", out)
    assert re.search(r"Failed requests: +0\n", out)
    assert "Non-2xx" not in out
    server.logged("?upstream", REQUESTS)
    assert closing(server.port) - before <= WIDTH


def closing(port: int) -> int:
    """Return how many connections to *port* have ended in the last minute: /proc/net/tcp, state 06 (TIME_WAIT)."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("only Linux shows its connections there")
    rows = [line.split() for line in table.read_text("ascii").splitlines()[1:]]
    return sum(row[3] == "06" and f":{port:04X}" in row[1][-5:] + row[2][-5:] for row in rows)


def test_events_pass_nginx_at_once(server: Serving, behind_nginx: int) -> None:
    """The first event is there although the stream goes on; and the server hears it when the client leaves."""
    with socket.create_connection(("127.0.0.1", behind_nginx), timeout=PATIENCE) as sock:
        sock.sendall(b"GET /ticks?nginx-events HTTP/1.1\r\nHost: x\r\n\r\n")
        heard = b""
        while b"data: " not in heard:
            piece = sock.recv(65536)
            assert piece, heard
            heard += piece
        assert b"text/event-stream" in heard
    server.logged("?nginx-events", 1)


# Behind HAProxy


@contextlib.contextmanager
def pair(place: Path, *arguments: str) -> Iterator[tuple[Serving, Serving, int]]:
    """Two servers, the first one with *arguments*, and HAProxy in front of them."""
    for name in ("one", "two", "haproxy"):
        (place / name).mkdir()
    both = (*DEMO, *MANY)
    with serving(place / "one", *both, *arguments) as one, serving(place / "two", *both) as two:
        with haproxy(place / "haproxy", one.port, two.port) as port:
            yield one, two, port


def test_a_server_drains_behind_haproxy_and_nobody_notices(tmp_path: Path) -> None:
    """It says 503 to the health check, is asked no more, and ends; every request is answered by a 200, by one of the two."""
    tool("haproxy")
    with pair(tmp_path, "--drain", "2") as (one, two, port):

        def ask_until(is_over: list[bool], number: int) -> list[int]:
            """Ask over and over, half of the clients each time on a connection of its own."""
            codes, rest, sock = [], bytearray(), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            while not is_over:
                sock.sendall(b"GET /hello?client HTTP/1.1\r\nHost: x\r\n\r\n")
                codes.append(read_answer(sock, rest)[0])
                if number % 2:
                    sock.close()
                    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            sock.close()
            return codes

        over: list[bool] = []
        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask_until, over, number) for number in range(4)]
            try:
                until(lambda: one.lines("?client") and two.lines("?client"), "both to be asked")
                one.process.terminate()
                until(lambda: any(" 503 " in line for line in one.lines("/healthz")), "a health check to fail")
                assert one.process.wait(PATIENCE) == 0
                assert not is_open(one.port)
                count = len(two.lines("?client"))
                until(lambda: len(two.lines("?client")) > count + 100, "the other one to be asked alone")
            finally:
                over.append(True)
            codes = [code for each in asking for code in each.result(PATIENCE)]
        assert set(codes) == {200}
        assert len(one.lines("?client")) + len(two.lines("?client")) == len(codes)
        assert " 200 " in one.lines("/healthz")[0]


def test_haproxy_passes_on_and_back(tmp_path: Path) -> None:
    """Bodies, streams and events come through; the health check is no business of the world."""
    tool("haproxy")
    with pair(tmp_path) as (one, two, port):
        url = f"http://127.0.0.1:{port}"
        for fields in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")):
            out, _ = run("curl", "-sS", *fields, "--data-binary", "@-", f"{url}/sum", stdin=b"[1, 2]")
            assert json.loads(out) == {"sum": 3}
        assert run("curl", "-sS", f"{url}/count/5000")[0] == "".join(f"{each}\n" for each in range(5000))
        for path in ("healthz", "status", "metrics"):
            assert run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/{path}")[0] == "404"
        out, _ = run("ab", "-q", "-k", "-n", str(REQUESTS), "-c", str(WIDTH), f"{url}/hello?ab")
        assert re.search(rf"Complete requests: +{REQUESTS}\n", out)
        assert re.search(r"Failed requests: +0\n", out)
        assert "Non-2xx" not in out
        until(lambda: len(one.lines("?ab")) + len(two.lines("?ab")) == REQUESTS, "as many lines as requests")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
            sock.sendall(b"GET /ticks HTTP/1.1\r\nHost: x\r\n\r\n")
            heard = b""
            while b"data: " not in heard:
                piece = sock.recv(65536)
                assert piece, heard
                heard += piece

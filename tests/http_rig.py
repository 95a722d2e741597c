"""HTTP-lite as a process, alone and behind real proxies, for tests that talk to it with real clients.

The proxies run on the configuration files of `examples/http_lite/deploy`, letter for letter but for ports and paths.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import attrs
import pytest

from tests.kit import PATIENCE

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "examples" / "http_lite" / "deploy"
DEMO = ("--app", "examples.http_lite.demo:app")
#: Of tests that come in numbers, and all from one address.
MANY = ("--limit", "connections_per_peer=1000")
HELLO = b"hello, world\n"
#: What a client may take before it counts as stuck. Seconds.
CLIENT_SECONDS = 10.0


def furnish(root: Path, files: Mapping[str, bytes]) -> Path:
    """Make a directory to serve, with *files* in it and in `folder`, which has one of its own; return it."""
    (root / "folder" / "sub").mkdir(parents=True)
    for name, data in files.items():
        (root / name).write_bytes(data)
    return root


def tool(name: str) -> str:
    """Return where the program *name* is; skip the test if it is nowhere."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, stdin: bytes = b"", cwd: Path | None = None) -> tuple[str, str]:
    """Run a client to its end, which must be a good one; return what it wrote to stdout and stderr."""
    ended = subprocess.run(
        [tool(command[0]), *command[1:]], input=stdin, capture_output=True, timeout=CLIENT_SECONDS, cwd=cwd, check=False
    )
    out, error = ended.stdout.decode("utf-8", "replace"), ended.stderr.decode("utf-8", "replace")
    assert ended.returncode == 0, f"{command}: {ended.returncode}, {out}, {error}"
    return out, error


def until(predicate: Callable[[], Any], what: str = "it") -> Any:
    """Return what *predicate* returns, as soon as that is true of something that other processes do."""
    give_up = time.monotonic() + PATIENCE
    while not (found := predicate()):
        assert time.monotonic() < give_up, f"still waiting for {what}"
        time.sleep(0.01)  # no clock of ours hastens another process
    return found


def free_port() -> int:
    """Return a port that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionError:
        return False
    return True


@attrs.define(eq=False)
class Serving:
    """A server process and what it has written."""

    process: subprocess.Popen[bytes]
    output: Path
    errors: Path
    port: int = 0
    #: Of a WSGI application.
    threads: int = 0

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def lines(self, part: str = "") -> list[str]:
        """Return the lines of its access log that have *part* in them, in the order in which they were written."""
        return [line for line in self.output.read_text().splitlines()[1:] if part in line]

    def logged(self, part: str, count: int) -> list[str]:
        """Return the lines that have *part* in them, once there are *count*; there must not be more."""
        until(lambda: len(self.lines(part)) >= count, f"{count} lines with {part}")
        found = self.lines(part)
        assert len(found) == count
        return found

    def connect(self) -> socket.socket:
        """Return a connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)


@contextlib.contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """See to it that *process* is gone at the end."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving(
    place: Path, *arguments: str, bind: str = "127.0.0.1:0", errors: bool = False, python: tuple[str, ...] = (), **popen: Any
) -> Iterator[Serving]:
    """Run HTTP-lite, with its logs in *place*; asked to end it must end well, and have written nothing to stderr.

    Args:
        place: an empty directory.
        arguments: of the server, but for `--bind`.
        bind: where it listens.
        errors: it may write to stderr.
        python: options of the interpreter.
        popen: further arguments of `subprocess.Popen`.
    """
    command = [sys.executable, *python, "-m", "examples.http_lite", "--bind", bind, *arguments]
    made_in: IO[bytes]
    with open(place / "output", "wb") as made_in, open(place / "errors", "wb") as made_err:
        popen.setdefault("cwd", ROOT)
        process = subprocess.Popen(command, stdout=made_in, stderr=made_err, **popen)
    with ending(process):
        served = Serving(process, place / "output", place / "errors")

        def started() -> bool:
            assert process.poll() is None, served.errors.read_text()
            return b"\n" in served.output.read_bytes()

        until(started, "the start line")
        if found := re.search(r"http://[^\s/]*:(\d+)", served.output.read_text()):
            served.port = int(found[1])
        yield served
        if process.poll() is None:
            process.terminate()
            assert process.wait(PATIENCE) == 0, served.errors.read_text()
        said = served.errors.read_text()
        assert errors or said == "", said


@contextlib.contextmanager
def proxy(command: list[str], port: int, place: Path) -> Iterator[int]:
    """Run a proxy until it listens on *port*; give that."""
    with open(place / "proxy-errors", "wb") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors, cwd=place)
    with ending(process):

        def listens() -> bool:
            assert process.poll() is None, (place / "proxy-errors").read_text()
            return is_open(port)

        until(listens, command[0])
        yield port


def replaced(name: str, changes: dict[str, str]) -> str:
    """Return a configuration file of ours, after *changes* of which each must change something."""
    text = (DEPLOY / name).read_text("utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old} is not in {name}, once"
        text = text.replace(old, new)
    return text


#: What a distribution's own nginx.conf says, and what keeps this one to its directory.
_NGINX = """\
daemon off;
master_process off;
pid {place}/nginx.pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {place}/1;
    proxy_temp_path {place}/2;
    fastcgi_temp_path {place}/3;
    uwsgi_temp_path {place}/4;
    scgi_temp_path {place}/5;
    include {place}/http_lite.conf;
}}
"""


@contextlib.contextmanager
def nginx(place: Path, upstream: int) -> Iterator[int]:
    """Run nginx in front of a server on the port *upstream*; give its own port. `place / "static"` is what it serves."""
    command, port = tool("nginx"), free_port()
    changes = {
        "server 127.0.0.1:8000 ": f"server 127.0.0.1:{upstream} ",
        "listen 80;": f"listen 127.0.0.1:{port};",
        "/srv/http_lite/static/": f"{place}/static/",
    }
    (place / "http_lite.conf").write_text(replaced("nginx.conf", changes))
    (place / "nginx.conf").write_text(_NGINX.format(place=place))
    with proxy([command, "-e", "stderr", "-p", str(place), "-c", str(place / "nginx.conf")], port, place):
        yield port


@contextlib.contextmanager
def haproxy(place: Path, one: int, two: int) -> Iterator[int]:
    """Run HAProxy in front of servers on two ports; give its own port."""
    command, port = tool("haproxy"), free_port()
    changes = {
        "bind :80": f"bind 127.0.0.1:{port}",
        "server one 127.0.0.1:8000": f"server one 127.0.0.1:{one}",
        "server two 127.0.0.1:8001": f"server two 127.0.0.1:{two}",
    }
    (place / "haproxy.cfg").write_text(replaced("haproxy.cfg", changes))
    with proxy([command, "-db", "-f", str(place / "haproxy.cfg")], port, place):
        yield port


def read_answer(
    sock: socket.socket, rest: bytearray | None = None, *, bodiless: bool = False
) -> tuple[int, dict[str, str], bytes]:
    """Read one answer from *sock*: status, fields, body. What came after it is left in *rest*, for the next one."""
    read = bytearray() if rest is None else rest
    while b"\r\n\r\n" not in read:
        _more(sock, read)
    head, _, _ = bytes(read).partition(b"\r\n\r\n")
    del read[: len(head) + 4]
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = bytearray()
    status = int(first.split()[1])
    if bodiless or status in (204, 304):
        return status, fields, b""
    if fields.get("transfer-encoding") == "chunked":
        while True:
            while b"\r\n" not in read:
                _more(sock, read)
            size = int(bytes(read).partition(b"\r\n")[0], 16)
            start = read.index(b"\r\n") + 2
            while len(read) < start + size + 2:
                _more(sock, read)
            body += read[start : start + size]
            del read[: start + size + 2]
            if not size:
                break
    else:
        while len(read) < int(fields.get("content-length", "0")):
            _more(sock, read)
        body += read[: int(fields.get("content-length", "0"))]
        del read[: len(body)]
    return status, fields, bytes(body)


def _more(sock: socket.socket, read: bytearray) -> None:
    piece = sock.recv(65536)
    assert piece, f"the other side has closed, after {bytes(read[-500:])!r}"
    read += piece


def is_root() -> bool:
    """Whether this process may do everything."""
    return hasattr(os, "geteuid") and os.geteuid() == 0

"""HTTP servers beside HTTP-lite, one worker each and no log: a hello from code, a hello by WSGI, files of three sizes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from benchmarks import machine

#: By the names of their files, and how many bytes they have.
FILES = {"1k": 1000, "100k": 100_000, "10m": 10_000_000}
THREADS = 4
PATIENCE_SECONDS = 20.0

LITE = ["-m", "examples.http_lite", "--quiet", "--bind", "127.0.0.1:{port}"]
GRANIAN = ["-m", "granian", "--port", "{port}", "--no-log", "--interface"]
#: Debian has it where the PATH of most people does not lead.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NGINX_CONFIGURATION = """
worker_processes 1;
error_log stderr crit;
pid {place}.pid;
events {{}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port};
        root {place};
    }}
}}
"""
#: Programs and their arguments; those that begin with a dash are for this Python.
SERVERS: dict[str, list[str]] = {
    "ours": [*LITE, "{place}"],
    "ours, a route": [*LITE, "--app", "benchmarks.hello:app"],
    "ours, WSGI": [*LITE, "--wsgi", "benchmarks.hello:wsgi", "--threads", str(THREADS)],
    "ours, WSGI in the loop": [*LITE, "--wsgi", "benchmarks.hello:wsgi", "--threads", "0"],
    "recorded": ["-m", "reactor", "record", "{place}.journal", *LITE, "{place}"],
    "in a ring": ["-m", "reactor", "record", "--ring", "16", "{place}.journal", *LITE, "{place}"],
    "uvicorn": [
        *("-m", "uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "error"),
        *("--loop", "uvloop", "--http", "httptools", "benchmarks.hello:asgi"),
    ],
    "granian": [*GRANIAN, "asgi", "benchmarks.hello:asgi"],
    "granian, WSGI": [*GRANIAN, "wsgi", "benchmarks.hello:wsgi"],
    "aiohttp": ["-m", "benchmarks.hello", "{port}"],
    "waitress": ["-m", "waitress", "--listen", "127.0.0.1:{port}", f"--threads={THREADS}", "benchmarks.hello:wsgi"],
    "gunicorn": [
        *("-m", "gunicorn", "-k", "gthread", f"--threads={THREADS}", "--keep-alive", "60"),
        *("-b", "127.0.0.1:{port}", "benchmarks.hello:wsgi"),
    ],
    "nginx": [NGINX or "nginx", "-c", "{place}.conf", "-g", "daemon off;"],
}
NEEDS = {
    "uvicorn": "uvicorn",
    "granian": "granian",
    "granian, WSGI": "granian",
    "waitress": "waitress",
    "gunicorn": "gunicorn",
    "aiohttp": "aiohttp",
}


@attrs.frozen
class Served:
    """A server that answers."""

    pid: int
    address: tuple[str, int]
    request: bytes
    #: How long an answer is.
    reply_bytes: int


@contextmanager
def served(name: str, path: str) -> Iterator[Served]:
    """Run a server as a process group of its own, and ask it for *path* until it answers."""
    place = Path(tempfile.mkdtemp(prefix="reactor-benchmarks-"))
    place.chmod(0o755)  # nginx reads as somebody else
    for file, size in FILES.items():
        (place / file).write_bytes(b"x" * size)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    configuration = Path(f"{place}.conf")
    configuration.write_text(NGINX_CONFIGURATION.format(port=address[1], place=place), "ascii")
    words = [word.format(port=address[1], place=place) for word in SERVERS[name]]
    process = subprocess.Popen(
        [sys.executable, *words] if words[0].startswith("-") else words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=machine.pin_server,  # noqa: PLW1509  # there is no other thread
    )
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark\r\n\r\n".encode()
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                size = answer_bytes(address, request)
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield Served(process.pid, address, request, size)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(place)
        for suffix in ("conf", "pid", "journal"):
            Path(f"{place}.{suffix}").unlink(missing_ok=True)


def answer_bytes(address: tuple[str, int], request: bytes) -> int:
    """Ask once; return how long the answer is, which has to be 200 and to say its length."""
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as client, client.makefile("rb") as reader:
        client.sendall(request)
        lines = [reader.readline()]
        while lines[-1] not in (b"\r\n", b""):
            lines.append(reader.readline())
        lengths = [int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length:")]
        if b" 200 " not in lines[0] or not lengths:
            raise ConnectionError(repr(lines))
        return sum(map(len, lines)) + len(reader.read(lengths[0]))

"""HTTP servers beside HTTP-lite, each serving a thousand bytes, with one worker, and no log."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import machine

BODY = b"0123456789" * 100
REQUEST = b"GET /small.txt HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark\r\n\r\n"
PATIENCE_SECONDS = 20.0

LITE = ["-m", "examples.http_lite", "--quiet", "--bind", "127.0.0.1:{port}", "{place}"]
#: The arguments after the interpreter's name.
SERVERS: dict[str, list[str]] = {
    "ours": LITE,
    "recorded": ["-m", "reactor", "record", "{journal}", *LITE],
    "in a ring": ["-m", "reactor", "record", "--ring", "16", "{journal}", *LITE],
    "uvicorn": [
        *("-m", "uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "error"),
        *("--loop", "uvloop", "--http", "httptools", "benchmarks.http:asgi"),
    ],
    "granian": ["-m", "granian", "--port", "{port}", "--interface", "asgi", "--no-log", "benchmarks.http:asgi"],
    "waitress": ["-m", "waitress", "--listen", "127.0.0.1:{port}", "benchmarks.http:wsgi"],
    "gunicorn": ["-m", "gunicorn", "-k", "gthread", "--keep-alive", "60", "-b", "127.0.0.1:{port}", "benchmarks.http:wsgi"],
    "aiohttp": ["-m", "benchmarks.http", "{port}"],
}
NEEDS = {name: name for name in ("uvicorn", "granian", "waitress", "gunicorn", "aiohttp")}


async def asgi(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Answer, for uvicorn and granian."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer, for waitress and gunicorn."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def aiohttp(port: int) -> None:
    """Answer, with aiohttp."""
    from aiohttp import web

    async def answer(request: Any) -> Any:
        return web.Response(body=BODY, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/small.txt", answer)
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None)


@contextmanager
def served(name: str) -> Iterator[tuple[int, tuple[str, int]]]:
    """Run a server as a process group of its own; yield its leader and its address."""
    place = Path(tempfile.mkdtemp(prefix="reactor-benchmarks-"))
    (place / "small.txt").write_bytes(BODY)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    arguments = [word.format(port=address[1], place=place, journal=place.with_suffix(".journal")) for word in SERVERS[name]]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=machine.pin_server,  # noqa: PLW1509
    )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                reply_bytes(address)
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield process.pid, address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(place)
        place.with_suffix(".journal").unlink(missing_ok=True)


def reply_bytes(address: tuple[str, int]) -> int:
    """Ask once; return how long the answer is."""
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as client:
        client.sendall(REQUEST)
        found = b""
        while not found.endswith(BODY):
            data = client.recv(65536)
            if not data:
                raise ConnectionResetError(repr(found))
            found += data
        return len(found)


if __name__ == "__main__":
    aiohttp(int(sys.argv[1]))

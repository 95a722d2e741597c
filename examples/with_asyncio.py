"""The whole of asyncio beside handlers, in one thread: an HTTP server of aiohttp's, or one of asyncio's own, beside an echo.

It shows `reactor.beside_asyncio`: a selector that asyncio is given, and that serves a reactor in its waits. Tasks, timers,
subprocesses and signals of asyncio's work as ever. Hooks may start tasks, and tasks may write to streams: it is one thread.

Run it, and talk to both from elsewhere::

    python -m examples.with_asyncio --bind 127.0.0.1:7007 --http 127.0.0.1:8080
    python -m examples.echo_client 127.0.0.1:7007 hello
    curl http://127.0.0.1:8080/
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import attrs

from reactor import Inet, Reactor, Stream
from reactor.addresses import parse
from reactor.beside_asyncio import BesideAsyncio


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes; asked for the time, it has a task of asyncio's ask another program."""

    _task: asyncio.Task[None] | None = attrs.field(init=False, default=None)

    def on_data(self, data: bytes) -> None:
        if data.strip() == b"python":
            self._task = asyncio.get_running_loop().create_task(self.tell_version())
        else:
            self.write(data)

    async def tell_version(self) -> None:
        """Write what a child process says."""
        child = await asyncio.create_subprocess_exec(sys.executable, "-V", stdout=asyncio.subprocess.PIPE)
        said, _ = await child.communicate()
        if self.is_writable:
            self.write(said)


def page(reactor: Reactor) -> str:
    """What is served over HTTP: something of the reactor's."""
    return f"{len(reactor.handlers)} handlers, {reactor.stats().passes} passes\n"


@asynccontextmanager
async def by_aiohttp(reactor: Reactor, host: str, port: int) -> AsyncIterator[int]:
    """Serve HTTP by aiohttp; give the port."""
    web: Any = import_module("aiohttp.web")  # need not be there

    async def answer(_: Any) -> Any:
        await asyncio.sleep(0.01)
        return web.Response(text=page(reactor))

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def by_streams(reactor: Reactor, host: str, port: int) -> AsyncIterator[int]:
    """Serve as much of HTTP as fits here by asyncio's own streams; give the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.01)
        body = page(reactor).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def serve(reactor: Reactor, address: Inet, *, plain: bool) -> None:
    """Serve HTTP until SIGTERM, and say what is listened on."""
    http = by_streams if plain or find_spec("aiohttp") is None else by_aiohttp
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with http(reactor, address.host, address.port) as port:
        print(f"HTTP on {address.host}:{port}, {http.__name__}", flush=True)
        await stop.wait()
    print("bye", flush=True)


def main() -> None:
    """Run asyncio, with a selector that makes the reactor's passes."""
    parser = argparse.ArgumentParser(description="Echo by handlers, and HTTP by asyncio, in one thread.")
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1:7007", help="of the echo (default: %(default)s)")
    parser.add_argument("--http", metavar="HOST:PORT", default="127.0.0.1:8080", help="of HTTP (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="by asyncio's own streams, also if aiohttp is there")
    options = parser.parse_args()
    address = parse(options.http)
    if not isinstance(address, Inet):
        parser.error("HTTP needs a host and a port")
    with (
        Reactor() as reactor,
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(BesideAsyncio(reactor))) as runner,
    ):
        acceptor = reactor.listen(Echo, options.bind)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        runner.run(serve(reactor, address, plain=options.plain))


if __name__ == "__main__":
    main()

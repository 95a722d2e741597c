"""The same servers, written with other libraries as their documentation has them. Each is imported when it is run."""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

RECEIVE_BYTES = 65536
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class EchoProtocol(asyncio.Protocol):
    """Echo on asyncio's lower floor, and uvloop's."""

    def connection_made(self, transport: Any) -> None:
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


class LinesProtocol(EchoProtocol):
    """Cuts lines by itself, since that floor has nothing for it."""

    rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.write(line + b"\n")


async def _protocol(listener: socket.socket, factory: type[asyncio.Protocol]) -> None:
    server = await asyncio.get_running_loop().create_server(factory, sock=listener, backlog=4096)
    await server.serve_forever()


async def _read_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def _read_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(RECEIVE_BYTES):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _streams(listener: socket.socket, serve: Callable[..., Any]) -> None:
    server = await asyncio.start_server(serve, sock=listener, backlog=4096)
    await server.serve_forever()


def asyncio_echo(listener: socket.socket) -> None:
    """Serve with asyncio's Protocol."""
    asyncio.run(_protocol(listener, EchoProtocol))


def asyncio_streams_echo(listener: socket.socket) -> None:
    """Serve with asyncio's streams."""
    asyncio.run(_streams(listener, _read_bytes))


def asyncio_lines(listener: socket.socket) -> None:
    """Serve with asyncio's Protocol, and `split`."""
    asyncio.run(_protocol(listener, LinesProtocol))


def asyncio_streams_lines(listener: socket.socket) -> None:
    """Serve with asyncio's readline."""
    asyncio.run(_streams(listener, _read_lines))


def uvloop_echo(listener: socket.socket) -> None:
    """Serve with uvloop."""
    import uvloop

    uvloop.run(_protocol(listener, EchoProtocol))


def uvloop_lines(listener: socket.socket) -> None:
    """Serve with uvloop, and `split`."""
    import uvloop

    uvloop.run(_protocol(listener, LinesProtocol))


def uvloop_streams_lines(listener: socket.socket) -> None:
    """Serve with asyncio's readline on uvloop."""
    import uvloop

    uvloop.run(_streams(listener, _read_lines))


def _twisted(listener: socket.socket, protocol: Any) -> None:
    from twisted.internet import epollreactor
    from twisted.internet import protocol as protocols

    epollreactor.install()
    from twisted.internet import reactor

    listener.setblocking(False)
    reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, protocols.Factory.forProtocol(protocol))
    reactor.run()


def twisted_echo(listener: socket.socket) -> None:
    """Serve with Twisted."""
    from twisted.internet.protocol import Protocol

    class Echo(Protocol):
        def connectionMade(self) -> None:  # noqa: N802
            self.transport.setTcpNoDelay(True)

        def dataReceived(self, data: bytes) -> None:  # noqa: N802
            self.transport.write(data)

    _twisted(listener, Echo)


def twisted_lines(listener: socket.socket) -> None:
    """Serve with Twisted's LineOnlyReceiver."""
    from twisted.protocols.basic import LineOnlyReceiver

    class Lines(LineOnlyReceiver):
        delimiter = b"\n"

        def lineReceived(self, line: bytes) -> None:  # noqa: N802
            self.sendLine(line)

    _twisted(listener, Lines)


def tornado_echo(listener: socket.socket) -> None:
    """Serve with Tornado's IOStream."""
    from tornado.iostream import StreamClosedError
    from tornado.tcpserver import TCPServer

    class Echo(TCPServer):
        async def handle_stream(self, stream: Any, address: Any) -> None:
            stream.set_nodelay(True)
            try:
                while True:
                    await stream.write(await stream.read_bytes(RECEIVE_BYTES, partial=True))
            except StreamClosedError:
                pass

    async def run() -> None:
        listener.setblocking(False)
        Echo().add_socket(listener)
        await asyncio.Event().wait()

    asyncio.run(run())


def gevent_echo(listener: socket.socket) -> None:
    """Serve with gevent's StreamServer."""
    from gevent import socket as sockets
    from gevent.server import StreamServer

    def serve(sock: Any, address: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := sock.recv(RECEIVE_BYTES):
            sock.sendall(data)

    StreamServer(sockets.socket(fileno=listener.detach()), serve).serve_forever()


def trio_echo(listener: socket.socket) -> None:
    """Serve with trio."""
    import trio

    async def serve(stream: Any) -> None:
        while data := await stream.receive_some(RECEIVE_BYTES):
            await stream.send_all(data)

    async def run() -> None:
        await trio.serve_listeners(serve, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])

    trio.run(run)


def pyasyncore_echo(listener: socket.socket) -> None:
    """Serve with what asyncore was, on poll."""
    import asyncore

    class Echo(asyncore.dispatcher_with_send):
        def handle_read(self) -> None:
            self.send(self.recv(RECEIVE_BYTES))

    class Server(asyncore.dispatcher):
        def handle_accepted(self, sock: Any, address: Any) -> None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Echo(sock)

    listener.setblocking(False)
    Server(listener).accepting = True
    asyncore.loop(use_poll=True)


# Measured without servers

BATCH = 10_000


def loop_runner(name: str) -> Run:
    """Return what runs a coroutine on asyncio's loop, or on uvloop's. It imports: to be asked before the clock."""
    if name == "uvloop":
        import uvloop

        return functools.partial(uvloop.run)
    return asyncio.run


async def set_timers(count: int, waiting: int, *, again: bool) -> int:
    """Set *count* timers, beside those *waiting*; push each back, if *again*, and cancel it. Return the nanoseconds."""
    loop = asyncio.get_running_loop()
    kept = [loop.call_later(1000 + number, print) for number in range(waiting)]
    began = time.process_time_ns()
    for _ in range(0, count, BATCH):
        timers = [loop.call_later(60, print) for _ in range(min(BATCH, count))]
        if again:
            for number, timer in enumerate(timers):
                timer.cancel()
                timers[number] = loop.call_later(61, print)
        for timer in timers:
            timer.cancel()
        await asyncio.sleep(0)
    took = time.process_time_ns() - began
    for timer in kept:
        timer.cancel()
    return took


async def connect_all(address: tuple[str, int], count: int) -> None:
    """Make *count* connections at once."""
    loop = asyncio.get_running_loop()
    made = await asyncio.gather(*(loop.create_connection(asyncio.Protocol, *address) for _ in range(count)))
    for transport, _ in made:
        transport.abort()

"""What is written with this library: echo, lines, echo with deadlines; and what is written with nothing at all."""

from __future__ import annotations

import select
import socket

import attrs

from reactor import Codec, Limits, Lines, MessageStream, Reactor, Stream
from reactor.handler import Handler

RECEIVE_BYTES = 65536


@attrs.define(eq=False)
class Echo(Stream):
    """What a user of the library writes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


@attrs.define(eq=False)
class EchoWithin(Echo):
    """As that, and a connection on which nothing moves for a minute is closed."""

    default_limits = Limits(idle_timeout=60)


@attrs.define(eq=False)
class EchoLines(MessageStream[bytes, bytes]):
    """Takes a line, and sends it back."""

    codec: Codec[bytes, bytes] = attrs.field(init=False, factory=Lines)

    def on_message(self, message: bytes) -> None:
        self.send(message)


def _serve(factory: type[Handler], listener: socket.socket) -> None:
    with Reactor() as reactor:
        reactor.listen(factory, listener)
        reactor.run()


def echo(listener: socket.socket) -> None:
    """Serve with this library, on its defaults."""
    _serve(Echo, listener)


def echo_within(listener: socket.socket) -> None:
    """Serve with a deadline for each connection."""
    _serve(EchoWithin, listener)


def lines(listener: socket.socket) -> None:
    """Serve lines."""
    _serve(EchoLines, listener)


def by_hand(listener: socket.socket) -> None:
    """Serve with the least that an epoll loop in Python can be: no back-pressure, no errors, no timers, no end."""
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = sock
                epoll.register(sock.fileno(), select.EPOLLIN)
                continue
            sock = connections[fd]
            data = sock.recv(RECEIVE_BYTES)
            if data:
                sock.send(data)
            else:
                epoll.unregister(fd)
                connections.pop(fd).close()

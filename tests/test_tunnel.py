"""One conversation with a proxy: bytes are carried, and none of the target's is taken."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from reactor import HttpConnect, Inet, Proxy, Socks5, UsageError
from reactor import tunnel as module
from reactor.tunnel import Tunnel
from tests.kit import Fault, Refusing, Watched, faults, reset, tcp_pair

TARGET = Inet("host.example", 443)
OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


@attrs.define(eq=False)
class Noting(Tunnel):
    """Remembers how it ended."""

    got: list[socket.socket] = attrs.field(init=False, factory=list)
    failed: list[Exception] = attrs.field(init=False, factory=list)

    def on_open(self, sock: socket.socket) -> None:
        self.got.append(sock)

    def on_failed(self, exc: Exception) -> None:
        self.failed.append(exc)


@attrs.define(eq=False)
class Scene:
    reactor: Watched
    tunnel: Noting
    there: socket.socket

    def heard(self) -> bytes:
        return self.there.recv(1000)


def scene(reactor: Watched, proxy: Proxy) -> Scene:
    here, there = tcp_pair()
    here.setblocking(False)
    if isinstance(reactor.system, Fault):
        here = reactor.system.wrap(here)
    tunnel = Noting(proxy.negotiate(TARGET))
    tunnel.start(reactor, here)
    return Scene(reactor, tunnel, there)


@pytest.fixture
def http(faulty: Watched) -> Iterator[Scene]:
    made = scene(faulty, HttpConnect("proxy:3128"))
    with made.there:
        yield made
    for sock in made.tunnel.got:
        sock.close()


@pytest.fixture
def socks(faulty: Watched) -> Iterator[Scene]:
    made = scene(faulty, Socks5("proxy:1080"))
    with made.there:
        yield made
    for sock in made.tunnel.got:
        sock.close()


def test_it_asks_and_hands_the_socket_over(http: Scene) -> None:
    """The request is sent at once; when the proxy agrees, the socket goes on, with what came behind the answer in it."""
    assert http.heard().startswith(b"CONNECT host.example:443")
    http.there.sendall(OPEN + b"banner")
    http.reactor.run()
    (sock,) = http.tunnel.got
    assert sock.recv(100) == b"banner"
    assert not http.reactor.handlers
    assert not http.tunnel.failed


def test_an_answer_may_come_in_pieces(socks: Scene) -> None:
    """Whatever is there is taken, and the rest waited for."""
    assert socks.heard() == b"\5\1\0"
    socks.there.sendall(b"\5")
    socks.reactor.run_once()
    socks.there.sendall(b"\0")
    socks.reactor.run_once()
    assert socks.heard().startswith(b"\5\1\0\3")
    socks.there.sendall(b"\5\0\0\1" + bytes(6))
    socks.reactor.run()
    assert len(socks.tunnel.got) == 1


def test_readiness_without_bytes_is_nothing(http: Scene) -> None:
    """EAGAIN though "ready" is legal."""
    http.there.sendall(OPEN)
    faults(http.reactor, recv=[errno.EAGAIN])
    http.reactor.run_once()
    assert not http.tunnel.failed
    http.reactor.run()
    assert http.tunnel.got


def test_a_pass_takes_a_bounded_part(http: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that talks and talks does not hold up the loop."""
    monkeypatch.setattr(module, "RECEIVES_PER_PASS", 3)
    http.there.sendall(OPEN)
    http.reactor.run_once()
    assert not http.tunnel.got
    http.reactor.run()
    assert http.tunnel.got


def test_a_request_that_is_not_taken_at_once(faulty: Watched) -> None:
    """The rest goes when there is room; an answer that comes before it is none."""
    for said, opens in ((b"", True), (OPEN, False)):
        faults(faulty, send=[errno.EAGAIN])
        made = scene(faulty, HttpConnect("proxy:3128"))
        assert "write" in faulty.dump()
        with made.there:
            if said:
                made.there.sendall(said)
                faults(faulty, send=[errno.EAGAIN] * 99)
                made.tunnel.on_readable()
                assert "before it was asked" in str(made.tunnel.reason)
            else:
                faulty.run_once()
                assert made.heard().endswith(b"\r\n\r\n")
                made.there.sendall(OPEN)
            faults(faulty, send=[])
            faulty.run()
            assert bool(made.tunnel.got) is opens
            assert bool(made.tunnel.failed) is not opens
        for sock in made.tunnel.got:
            sock.close()


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda there: there.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), "502 Bad Gateway"),
        (lambda there: there.shutdown(socket.SHUT_WR), "ended the connection without an answer"),
        (reset, "reset by peer"),
    ],
)
def test_every_way_in_which_a_proxy_fails(http: Scene, act: Any, text: str) -> None:
    """on_failed comes once, with the reason; the socket is closed."""
    act(http.there)
    http.reactor.run()
    (error,) = http.tunnel.failed
    assert text in str(error)
    assert http.tunnel.sock.fileno() == -1


def test_what_cannot_be_sent_is_a_failure(socks: Scene) -> None:
    """The kernel's error comes out, and nothing is read after it."""
    socks.there.sendall(b"\5\0\5\0\0\1" + bytes(6))
    faults(socks.reactor, send=[errno.EPIPE])
    socks.reactor.run()
    assert isinstance(socks.tunnel.failed[0], BrokenPipeError)
    assert not socks.tunnel.got


def test_cancel_is_silent(http: Scene) -> None:
    """Nothing is called, and the socket is closed."""
    http.tunnel.cancel()
    assert http.tunnel.sock.fileno() == -1
    http.tunnel.cancel()
    http.reactor.run()
    assert not http.tunnel.got
    assert not http.tunnel.failed


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), UsageError("full")])
def test_a_selector_that_refuses_is_a_failure(error: Exception) -> None:
    """The socket is closed, and on_failed tells why."""
    selector = Refusing(error)
    with Watched(selector=selector, debug=True) as reactor:
        selector.left = 0
        made = scene(reactor, HttpConnect("proxy:3128"))
        with made.there:
            reactor.run()
        assert str(error.args[-1]) in str(made.tunnel.failed[0])
        assert made.tunnel.sock.fileno() == -1


def test_a_hook_that_raises_leaks_nothing(faulty: Watched) -> None:
    """If on_open raises, its socket is closed by RST and the error is told."""

    @attrs.define(eq=False)
    class Raising(Tunnel):
        def on_open(self, sock: socket.socket) -> None:
            raise ValueError("here")

    here, there = tcp_pair()
    Raising(HttpConnect("proxy:3128").negotiate(TARGET)).start(faulty, here)
    with there:
        there.recv(1000)
        there.sendall(OPEN)
        faulty.run()
        with pytest.raises(ConnectionResetError):
            there.recv(1)
    assert [str(context.exc) for context in faulty.raised] == ["here"]
    faulty.raised.clear()


def test_the_default_hooks_close_what_they_get(faulty: Watched) -> None:
    """A tunnel whose hooks are not overridden leaves nothing open."""
    for said in (OPEN, b"SSH-2.0\r\n"):
        here, there = tcp_pair()
        Tunnel(HttpConnect("proxy:3128").negotiate(TARGET)).start(faulty, here)
        with there:
            there.sendall(said)
            faulty.run()
        assert here.fileno() == -1

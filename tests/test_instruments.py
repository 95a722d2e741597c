"""Instruments hear what they have methods for, and can break nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from reactor import Acceptor, Address, ErrorContext, Handler, Instrument, Loop, Reactor
from tests.kit import Clock, Recorder, Watched, Watcher, tcp_pair, unix_pair

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = unix_pair()
    with here, there:
        yield here, there


@attrs.define(eq=False)
class Ear(Instrument):
    """Hears everything."""

    heard: list[tuple[Any, ...]] = attrs.field(factory=list)

    def on_pass(self, loop: Loop, began: float, ended: float) -> None:
        self.heard.append(("pass", loop))

    def on_poll(self, loop: Loop, began: float, ended: float, ready: int) -> None:
        self.heard.append(("poll", ready))

    def on_dispatch(self, handler: Handler, hook: str, began: float, ended: float) -> None:
        self.heard.append(("dispatch", handler, hook))

    def on_timer(self, owner: Handler | None, callback: Callable[..., object], began: float, ended: float) -> None:
        self.heard.append(("timer", owner, callback))

    def on_accept(self, acceptor: Acceptor, peer: Address) -> None:
        self.heard.append(("accept", acceptor))

    def on_connect(self, handler: Handler) -> None:
        self.heard.append(("connect", handler))

    def on_read(self, handler: Handler, count: int) -> None:
        self.heard.append(("read", handler, count))

    def on_write(self, handler: Handler, count: int) -> None:
        self.heard.append(("write", handler, count))

    def on_error(self, context: ErrorContext) -> None:
        self.heard.append(("error", context.where))

    def of(self, *names: str) -> list[tuple[Any, ...]]:
        return [each for each in self.heard if each[0] in names]


class Bytes:
    """Needs no base class, and hears what it has methods for."""

    def __init__(self) -> None:
        self.received = self.sent = 0

    def on_read(self, handler: Handler, count: int) -> None:
        self.received += count

    def on_write(self, handler: Handler, count: int) -> None:
        self.sent += count


def test_it_hears_what_happens(reactor: Watched) -> None:
    """A connection from its beginning, with passes, polls, hooks, timers and bytes."""
    ear = reactor.instrument(Ear())
    server, client = Recorder(act={"data": lambda each: each.write(b"answer")}), Recorder()
    acceptor = reactor.listen(lambda: server, "127.0.0.1:0")
    reactor.connect(client, f"127.0.0.1:{acceptor.port}")
    reactor.until(lambda: "connect" in client.events)
    client.write(b"hello")
    client.call_later(0, print)
    reactor.until(lambda: client.received)
    reactor.turn()
    assert ear.of("accept") == [("accept", acceptor)]
    assert ear.of("connect") == [("connect", client)]
    moved = [("write", client, 5), ("read", server, 5), ("write", server, 6), ("read", client, 6)]
    assert ear.of("read", "write") == moved
    assert ("dispatch", server, "on_readable") in ear.heard
    assert ("timer", client, print) in ear.heard
    assert ("pass", reactor) in ear.heard
    assert ("poll", 0) in ear.heard
    with_hooks = [each[0] for each in ear.heard]
    assert with_hooks.index("poll") < with_hooks.index("dispatch") < with_hooks.index("pass")


def test_it_hears_of_errors(reactor: Watched, pair: Pair) -> None:
    """Of what user code raises, as `on_error` does."""
    ear = reactor.instrument(Ear())
    reactor.attach(Watcher(act=lambda _: 1 / 0), pair[0])
    pair[1].send(b"x")
    reactor.turn()
    assert ear.of("error") == [("error", "event")]
    reactor.raised.clear()


def test_bytes_are_counted_by_whoever_wants_to(reactor: Watched) -> None:
    """Also of streams that were there before, of files and of what is queued; until the instrument is taken out."""
    here, there = tcp_pair()
    with there:
        stream = reactor.attach(Recorder(), here)
        reactor.turn()
        count = reactor.instrument(Bytes())
        there.send(b"in")
        stream.write(b"x" * 1_000_000)
        received = 0
        while received < 1_000_000:
            reactor.turn()
            received += len(there.recv(65536))
        assert (count.received, count.sent) == (2, 1_000_000)
        reactor.uninstrument(count)
        assert reactor.instruments is None
        stream.write(b"more")
        there.send(b"more")
        reactor.until(lambda: stream.received == b"inmore")
        assert (count.received, count.sent) == (2, 1_000_000)


def test_who_does_not_count_bytes_costs_streams_nothing(reactor: Watched, pair: Pair) -> None:
    """A stream gets no extras for the sake of an instrument that does not ask for its bytes."""

    class Passes:
        def on_pass(self, loop: Loop, began: float, ended: float) -> None:
            passes.append(loop.passes)

    passes: list[int] = []
    reactor.instrument(Passes())
    stream = reactor.attach(Recorder(), pair[0])
    reactor.turn(3)
    assert stream._extras is None
    assert len(passes) == 3


def test_one_that_raises_hears_nothing_more(reactor: Watched, logs: list[str]) -> None:
    """It is logged, once; others go on hearing, and the loop is not disturbed."""

    class Broken:
        def on_poll(self, loop: Loop, began: float, ended: float, ready: int) -> None:
            raise ValueError("here")

    reactor.instrument(Broken())
    ear = reactor.instrument(Ear())
    reactor.turn(3)
    assert len(ear.of("poll")) == 3
    assert "hears nothing more" in logs.pop()
    assert reactor.instruments is not None
    assert reactor.instruments.members == (ear,)


def test_every_reactor_may_begin_with_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """`default_instruments` is for those who wrap a whole program."""
    ear = Ear()
    monkeypatch.setattr(Loop, "default_instruments", (ear,))
    with Reactor(system=Clock()) as reactor:
        reactor.run_once(0)
    assert ear.of("pass") == [("pass", reactor)]

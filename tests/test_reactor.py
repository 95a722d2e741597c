"""The front door: whole programs, shutdown, many connections."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

import attrs
import pytest

from reactor import CloseKind, CloseReason, DelayError, Reactor, ReactorClosed, Stream
from tests.kit import PATIENCE, Clock, Recorder, Watched, Watcher, jam, read_all, tcp_pair, unix_pair


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes, and takes no more than it can send."""

    def on_data(self, data: bytes) -> None:
        self.write(data)

    def on_pause(self) -> None:
        self.pause()

    def on_drain(self) -> None:
        self.resume()


def test_a_program_as_its_user_writes_it() -> None:
    """A server and a client of a few lines, without debug mode, on the default selector."""
    heard: list[object] = []

    @attrs.define(eq=False)
    class Greeter(Stream):
        name: str

        def on_connect(self) -> None:
            self.write(f"hello {self.name}\r\n".encode())

        def on_data(self, data: bytes) -> None:
            heard.append(data)
            self.close()

        def on_close(self, reason: CloseReason) -> None:
            heard.append(reason.kind)
            self.reactor.stop()

    with Reactor() as reactor:
        acceptor = reactor.listen(Echo, ":0")
        reactor.connect(Greeter("world"), ("localhost", acceptor.port), timeout=5)
        reactor.run()

    assert heard == [b"hello world\r\n", CloseKind.LOCAL_CLOSE]


@attrs.define(eq=False)
class Client(Stream):
    """Sends *data* in random chunks, ends, and keeps what comes back."""

    data: bytes
    choose: random.Random
    sent: int = 0
    received: bytearray = attrs.field(init=False, factory=bytearray)
    most_queued: int = 0

    def on_connect(self) -> None:
        self.produce()

    def on_drain(self) -> None:
        self.produce()

    def on_data(self, data: bytes) -> None:
        self.received += data
        if self.choose.random() < 0.1:
            self.pause()
            self.call_soon(self.resume)

    def on_end(self) -> None:
        assert self.sent == len(self.data)
        self.close()

    def produce(self) -> None:
        while self.sent < len(self.data) and self.buffered <= self.limits.high:
            size = self.choose.choice((1, 100, 5000, 60_000, 300_000))
            self.write(self.data[self.sent : self.sent + size])
            self.sent += size
            self.most_queued = max(self.most_queued, self.buffered)
        if self.sent >= len(self.data):
            self.sent = len(self.data)
            self.end()


def test_every_byte_comes_back(reactor: Watched) -> None:
    """Twenty connections echo a megabyte each in random chunks and half-close: all of it, in order, in bounded memory."""
    acceptor = reactor.listen(Echo, "127.0.0.1:0")
    choose = random.Random(3)
    clients = [Client(choose.randbytes(1_000_000), choose) for _ in range(20)]
    for client in clients:
        reactor.connect(client, ("127.0.0.1", acceptor.port))
    reactor.until(lambda: all(client.reason for client in clients))

    for client in clients:
        assert client.received == client.data
        assert client.reason == CloseReason(CloseKind.PEER_END)
        assert client.most_queued <= client.limits.high + 300_000


@pytest.mark.parametrize("seed", range(5))
def test_chaos_leaves_nothing_behind(reactor: Watched, seed: int) -> None:
    """Streams that do anything at any time to themselves and to others: on_close once, last, and nothing leaks."""
    choose = random.Random(seed)
    streams: list[Recorder] = []

    def anything(_: object) -> None:
        if not streams:
            return
        stream = choose.choice(streams)
        if not stream.is_open:
            return
        what = choose.random()
        if what < 0.3:
            if stream.is_writable:
                stream.write(b"x" * choose.choice((1, 5000, 200_000)))
        elif what < 0.4:
            stream.pause()
        elif what < 0.7:
            stream.resume()
        elif what < 0.75:
            stream.end()
        elif what < 0.8:
            stream.close(timeout=choose.choice((0, 0.01)))
        elif what < 0.85:
            stream.abort()
        elif what < 0.88:
            raise ValueError("chaos")
        elif len(streams) < 60:
            add()

    def add() -> None:
        here, there = choose.choice((tcp_pair, unix_pair))()
        for sock in (here, there):
            acts: dict[str, Callable[[Recorder], object]] = dict.fromkeys(
                ("connect", "data", "pause", "drain", "end", "close"), anything
            )
            streams.append(reactor.attach(Recorder(acts), sock))

    for _ in range(10):
        add()
    timer = reactor.call_every(0.0005, anything, None)
    reactor.run_until(lambda: all(not stream.is_open for stream in streams), timeout=0.4)
    timer.cancel()
    for stream in streams:
        stream.abort()
    reactor.turn(3)
    reactor.raised.clear()

    for stream in streams:
        assert stream.events.count("close") == 1
        assert stream.events[-1] == "close"
        assert stream.sock.fileno() == -1
    assert not reactor.handlers
    assert len(reactor.poller.selector.get_map()) == 1


# shutdown


def test_shutdown_ends_run(reactor: Watched) -> None:
    """Acceptors close, streams flush, timers and calls do not hold it up; run returns and may be called again."""
    here, there = unix_pair()
    acceptor = reactor.listen(Recorder, "127.0.0.1:0")
    stream, bare = reactor.attach(Recorder(), here), Watcher()
    other_here, other_there = unix_pair()
    reactor.attach(bare, other_here)
    timer = reactor.call_later(3600, print)
    every = reactor.call_every(3600, print)
    reactor.turn()
    stream.write(b"last words")
    reactor.call_soon(reactor.shutdown, 10)
    reactor.call_soon(lambda: states.append(reactor.is_shutting_down))
    states: list[bool] = []
    with there, other_there:

        def read_and_go() -> None:
            read_all(there)
            there.close()

        reactor.call_soon(read_and_go)
        reactor.run(forever=True)

    assert states == [True]
    assert not acceptor.is_open
    assert [each.reason for each in (acceptor, stream, bare)] == [CloseReason(CloseKind.SHUTDOWN)] * 3
    assert stream.events == ["connect", "close"]
    assert not reactor.is_shutting_down
    assert timer.cancel()
    assert every.cancel()
    assert len(reactor.timers) == 0
    reactor.run()


def test_the_grace_is_an_end() -> None:
    """What has not gone by then is aborted, and told SHUTDOWN."""
    here, there = tcp_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = reactor.attach(Recorder(), here)
        reactor.turn()
        jam(stream)
        begin = reactor.time()
        reactor.shutdown(100)
        reactor.shutdown(5)
        stream.limits = attrs.evolve(stream.limits)
        reactor.run()
        assert reactor.time() == begin + 5
        assert stream.events[-1] == "close"
        assert stream.kind in (CloseKind.SHUTDOWN, CloseKind.TIMEOUT)
        with pytest.raises(ConnectionResetError):
            read_all(there)


def test_a_handler_that_stays_is_cut_at_the_grace() -> None:
    """An override of on_timeout that does nothing does not hold the reactor."""

    @attrs.define(eq=False)
    class Stubborn(Recorder):
        def on_timeout(self, kind: str) -> None:
            self.hear("timeout")

    here, there = tcp_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = reactor.attach(Stubborn(), here)
        reactor.turn()
        jam(stream)
        stream.close(timeout=1)
        reactor.shutdown(5)
        reactor.run()
        assert stream.events[-1] == "close"
        assert stream.kind is CloseKind.SHUTDOWN


def test_who_finishes_is_not_cut_and_who_does_not_is_named() -> None:
    """`on_shutdown` is told to each; whoever takes longer than the grace is aborted and stands in `cut`."""

    @attrs.define(eq=False)
    class Working(Recorder):
        takes: float = 1.0
        grace: float = attrs.field(init=False, default=0.0)

        def on_shutdown(self, grace: float) -> None:
            self.grace = grace
            self.call_later(self.takes, self.finish)

        def finish(self) -> None:
            self.write(b"done")
            self.close()

    pairs = [unix_pair() for _ in range(2)]
    with pairs[0][1] as quick_peer, pairs[1][1], Watched(system=Clock(), debug=True) as reactor:
        quick = reactor.attach(Working(takes=2), pairs[0][0])
        slow = reactor.attach(Working(takes=60), pairs[1][0])
        reactor.turn()
        reactor.shutdown(10)
        assert not reactor.cut
        reactor.run()
        assert quick_peer.recv(10) == b"done"
        assert (quick.kind, slow.kind) == (CloseKind.LOCAL_CLOSE, CloseKind.SHUTDOWN)
        assert quick.grace == 10
        assert reactor.cut == (slow,)
        reactor.shutdown(1)
        reactor.run()
        assert not reactor.cut


def test_an_on_shutdown_that_raises_is_an_error_of_its_handler(reactor: Watched) -> None:
    """It is closed for it, and the shutdown goes on."""

    @attrs.define(eq=False)
    class Broken(Recorder):
        def on_shutdown(self, grace: float) -> None:
            raise ZeroDivisionError

    here, there = unix_pair()
    with there:
        broken = reactor.attach(Broken(), here)
        reactor.turn()
        reactor.shutdown(10)
        reactor.run()
    assert broken.kind is CloseKind.HANDLER_ERROR
    assert [context.where for context in reactor.raised] == ["on_shutdown"]
    reactor.raised.clear()


def test_nobody_is_taken_in_while_it_shuts_down(reactor: Watched) -> None:
    """listen, connect and attach are refused, so that a client that reconnects from on_close cannot go on for ever."""
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    reactor.shutdown()
    with there:
        for call in (
            lambda: reactor.listen(Recorder, "127.0.0.1:0"),
            lambda: reactor.connect(Recorder(), "127.0.0.1:1"),
            lambda: reactor.attach(Recorder(), there),
        ):
            with pytest.raises(ReactorClosed, match="is shutting down"):
                call()
    reactor.run()
    assert stream.events[-1] == "close"
    reactor.listen(Recorder, "127.0.0.1:0").close()


def test_a_bad_grace_changes_nothing(reactor: Watched) -> None:
    """NaN is refused before anything is closed."""
    acceptor = reactor.listen(Recorder, "127.0.0.1:0")
    with pytest.raises(DelayError):
        reactor.shutdown(float("nan"))
    assert acceptor.is_open


def test_stopping_a_shutdown_keeps_it_going(reactor: Watched) -> None:
    """stop leaves run at once; the next run goes on with the shutdown, and its grace."""
    here, there = unix_pair()
    with there:
        stream = reactor.attach(Recorder(), here)
        reactor.turn()
        reactor.shutdown()
        reactor.stop()
        reactor.run()
        assert stream.is_open
        assert reactor.is_shutting_down
        there.close()
        reactor.run(forever=True)
        assert not stream.is_open


def test_echo_without_debug(selector: Callable[[], object]) -> None:
    """The production path, without any check that debug mode adds."""
    with Watched(selector=selector()) as reactor:  # type: ignore[arg-type]
        acceptor = reactor.listen(Echo, "127.0.0.1:0")
        with socket.create_connection(("127.0.0.1", acceptor.port), timeout=PATIENCE) as client:
            client.send(b"hello")
            reactor.until(lambda: len(reactor.handlers) == 2)
            reactor.turn()
            assert client.recv(100) == b"hello"

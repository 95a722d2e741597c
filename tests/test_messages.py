"""MessageStream: messages in order, one by one, as long as the program wants them; whatever the codec, and its changes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from reactor import (
    BadMessage,
    CloseKind,
    CloseReason,
    Codec,
    Fixed,
    FrameTooLong,
    FrameTruncated,
    FramingError,
    LengthPrefixed,
    Lines,
    MessageStream,
    Netstring,
    UsageError,
    Varint,
)
from reactor.messages import MESSAGES_PER_PASS
from reactor.testing import Faults, Network, Simulation
from tests.kit import Recorder, Watched, read_all, unix_pair

Act = Callable[["Talk", bytes], object]


@attrs.define(eq=False)
class Talk(MessageStream[bytes, bytes]):
    """A stream of messages that writes down what it hears, and may act on it."""

    act: Act = attrs.field(default=lambda self, message: None)
    codec: Codec[bytes, bytes] = attrs.field(init=False, factory=lambda: Lines(maximum=100))
    heard: list[bytes] = attrs.field(init=False, factory=list)
    raw: bytearray = attrs.field(init=False, factory=bytearray)
    events: list[str] = attrs.field(init=False, factory=list)
    answer: bytes = b""

    def on_message(self, message: bytes) -> None:
        self.heard.append(message)
        self.act(self, message)

    def on_raw(self, data: bytes) -> None:
        self.raw += data
        self.act(self, data)

    def on_framing_error(self, exc: FramingError) -> None:
        self.events.append("framing error")
        if self.answer:
            self.write(self.answer)
            self.close()
        else:
            super().on_framing_error(exc)

    def on_end(self) -> None:
        self.events.append("end")
        super().on_end()

    def on_close(self, reason: CloseReason) -> None:
        self.events.append("close")


@pytest.fixture
def there() -> Iterator[list[socket.socket]]:
    """The other ends; closed at last."""
    made: list[socket.socket] = []
    yield made
    for sock in made:
        sock.close()


@pytest.fixture
def talk(reactor: Watched, there: list[socket.socket]) -> Callable[..., tuple[Talk, socket.socket]]:
    """Make a stream, and the socket at its other end."""

    def make(act: Act | None = None, **fields: Any) -> tuple[Talk, socket.socket]:
        here, other = unix_pair()
        there.append(other)
        made = Talk(**fields) if act is None else Talk(act, **fields)
        return reactor.attach(made, here), other

    return make


Make = Callable[..., tuple[Talk, socket.socket]]


def test_messages_come_whole_and_in_order(reactor: Watched, talk: Make) -> None:
    """However the bytes come, each message is handed over once, whole; what is sent arrives encoded."""
    stream, other = talk(lambda self, message: self.send(message.upper()))
    for piece in (b"on", b"e\ntwo\nthr", b"ee\n"):
        other.sendall(piece)
        reactor.turn(2)
    assert stream.heard == [b"one", b"two", b"three"]
    other.shutdown(socket.SHUT_WR)
    assert stream.events == []
    reactor.until(lambda: "close" in stream.events)
    assert read_all(other) == b"ONE\nTWO\nTHREE\n"
    assert (stream.events, stream.reason) == (["end", "close"], CloseReason(CloseKind.PEER_END))


def test_what_cannot_be_encoded_is_not_sent(reactor: Watched, talk: Make) -> None:
    """The caller hears of it, and the connection goes on."""
    stream, other = talk()
    reactor.turn()
    with pytest.raises(BadMessage):
        stream.send(b"a\nb")
    stream.send(b"c")
    stream.close()
    reactor.turn()
    assert read_all(other) == b"c\n"


def test_pause_holds_back_what_is_here_already(reactor: Watched, talk: Make) -> None:
    """After `pause` no message comes; after `resume` they come from the loop, in order, and before what is read later."""

    def pause(self: Talk, message: bytes) -> None:
        if message in (b"2", b"3", b"5"):
            self.pause()

    stream, other = talk(pause)
    other.sendall(b"1\n2\n3\n4\n5\n6")
    reactor.turn(3)
    assert stream.heard == [b"1", b"2"]
    other.sendall(b"\n7\n")
    stream.resume()
    assert stream.heard == [b"1", b"2"], "nothing is called from inside resume"
    assert stream.interest == 0, "nothing is read while messages wait"
    reactor.turn()
    assert stream.heard == [b"1", b"2", b"3"]
    stream.resume()
    stream.pause()
    reactor.turn(3)
    assert stream.heard == [b"1", b"2", b"3"]
    for _ in range(3):
        stream.resume()
    reactor.turn(3)
    assert stream.heard == [b"1", b"2", b"3", b"4", b"5"]
    stream.resume()
    reactor.turn(3)
    assert stream.heard == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    stream.abort()


def test_pause_and_resume_inside_change_nothing(reactor: Watched, talk: Make) -> None:
    """Both in one `on_message` are nothing at all: no message is lost, doubled or nested."""
    depth = []

    def both(self: Talk, message: bytes) -> None:
        depth.append(message)
        assert len(depth) == 1
        self.pause()
        self.resume()
        depth.pop()

    stream, other = talk(both)
    other.sendall(b"1\n2\n3\n")
    reactor.turn(4)
    assert stream.heard == [b"1", b"2", b"3"]
    stream.abort()


@pytest.mark.parametrize("how", ["close", "abort"])
def test_no_message_after_the_end(reactor: Watched, talk: Make, how: str) -> None:
    """What came in the same chunk as the message at which the program closed is dropped."""
    stream, other = talk(lambda self, message: getattr(self, how)())
    other.sendall(b"1\n2\n3\n")
    other.shutdown(socket.SHUT_WR)
    reactor.until(lambda: stream.events == ["close"])
    assert stream.heard == [b"1"]


def test_close_drops_what_waits(reactor: Watched, talk: Make) -> None:
    """A paused stream that is closed reads and drops; what was held back never comes."""
    stream, other = talk(lambda self, message: self.pause())
    other.sendall(b"1\n2\n3\n")
    reactor.turn(2)
    stream.close()
    stream.resume()
    other.sendall(b"4\n")
    other.close()
    reactor.until(lambda: stream.events == ["close"])
    assert stream.heard == [b"1"]


def test_a_pass_hands_over_so_many_messages(reactor: Watched, talk: Make, there: list[socket.socket]) -> None:
    """One chunk of very many messages starves nobody: others are served in between."""
    stream, other = talk()
    beside = Recorder()
    here, its = unix_pair()
    there.append(its)
    reactor.attach(beside, here)
    reactor.turn()
    other.sendall(b"\n" * (3 * MESSAGES_PER_PASS))
    its.sendall(b"x")
    seen = [0]
    while seen[-1] < 3 * MESSAGES_PER_PASS:
        reactor.turn()
        seen.append(len(stream.heard))
        assert seen[-1] - seen[-2] <= MESSAGES_PER_PASS
        assert beside.received == b"x"
    other.sendall(b"last\n")
    reactor.until(lambda: stream.heard[-1] == b"last")
    assert len(stream.heard) == 3 * MESSAGES_PER_PASS + 1
    stream.abort()
    beside.abort()


def test_the_codec_changes_between_two_messages(reactor: Watched, talk: Make) -> None:
    """What is here already goes to the new codec from the next byte on, also if the old one could make nothing of it."""

    def switch(self: Talk, message: bytes) -> None:
        if message.startswith(b"take "):
            self.switch(Fixed(int(message[5:])))
        elif isinstance(self.codec, Fixed):
            self.switch(Netstring())
        elif message == b"raw":
            self.switch(None)

    stream, other = talk(switch)
    body = b"\n" + b"x" * 5000  # a line that would be too long
    other.sendall(b"hello\ntake 5001\n" + body + b"2:ab,3:raw,as it is\n")
    reactor.turn(3)
    assert stream.heard == [b"hello", b"take 5001", body, b"ab", b"raw"]
    assert stream.raw == b"as it is\n"
    other.sendall(b"and on")
    reactor.turn()
    assert stream.raw == b"as it is\nand on"
    stream.abort()


def test_back_from_raw(reactor: Watched, talk: Make) -> None:
    """What `on_raw` was given is used up; the next byte belongs to the codec, an old one or a new one."""
    lines = Lines()

    def switch(self: Talk, data: bytes) -> None:
        self.switch(lines if data == b"raw" else None)

    stream, other = talk(switch)
    stream.switch(None)
    other.sendall(b"raw")
    reactor.turn(2)
    other.sendall(b"line\nmore")
    reactor.turn(2)
    other.close()
    reactor.until(lambda: stream.events[-1:] == ["close"])
    assert (bytes(stream.raw), stream.heard) == (b"rawmore", [b"line"])


def test_many_changes_in_one_chunk(reactor: Watched, talk: Make) -> None:
    """A codec for each message costs what the messages cost: nothing is cut ahead very far."""

    def switch(self: Talk, message: bytes) -> None:
        self.switch(Varint() if isinstance(self.codec, Lines) else Lines())

    stream, other = talk(switch)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    other.sendall(b"\n\0" * 3000)
    reactor.until(lambda: len(stream.heard) == 6000)
    stream.abort()


def test_a_change_from_outside(reactor: Watched, talk: Make) -> None:
    """An unfinished message is cut anew by the new codec, from the loop; so is what waits during a pause."""
    stream, other = talk(lambda self, message: self.pause() if message == b"stop" else None)
    other.sendall(b"3:abc,4:s")
    reactor.turn(2)
    stream.switch(Netstring())
    assert stream.heard == []
    reactor.turn(2)
    assert stream.heard == [b"abc"]
    other.sendall(b"top,line\n")
    reactor.turn(2)
    stream.switch(Lines())
    reactor.turn()
    assert stream.heard == [b"abc", b"stop"]
    stream.resume()
    reactor.turn(2)
    assert stream.heard == [b"abc", b"stop", b"line"]
    stream.close()
    stream.switch(Netstring())
    other.close()
    reactor.until(lambda: stream.events[-1:] == ["close"])
    stream.switch(Lines())


def test_a_filter_may_deliver_more_while_messages_wait(reactor: Watched, talk: Make) -> None:
    """What `on_data` is given meanwhile comes after what waits."""
    stream, _other = talk(lambda self, message: self.pause() if message == b"1" else None)
    reactor.turn()
    stream.on_data(b"1\n2\n")
    stream.on_data(b"3\n4")
    stream.on_data(b"\n")
    stream.resume()
    reactor.turn(2)
    assert stream.heard == [b"1", b"2", b"3", b"4"]
    stream.abort()


@pytest.mark.parametrize("sent", [b"ok\n" + b"x" * 101, b"ok\n" + b"x" * 200 + b"\nok\n"])
def test_a_framing_error_aborts(reactor: Watched, talk: Make, sent: bytes) -> None:
    """What came before it is handed over; then the connection is reset, and the reason says what was wrong."""
    stream, other = talk()
    other.sendall(sent)
    reactor.until(lambda: stream.events == ["framing error", "close"])
    assert stream.heard == [b"ok"]
    assert stream.reason is not None
    assert stream.reason.kind is CloseKind.ERROR
    assert isinstance(stream.reason.error, FrameTooLong)


def test_a_framing_error_can_be_answered(reactor: Watched, talk: Make) -> None:
    """An override may write and close: the peer gets the answer, whatever it sends meanwhile, and the reason is the same."""
    stream, other = talk(answer=b"500 line too long\n")
    other.sendall(b"x" * 5000)
    reactor.turn(2)
    other.sendall(b"x" * 5000)
    other.shutdown(socket.SHUT_WR)
    assert read_all(other) == b"500 line too long\n"
    reactor.until(lambda: stream.events == ["framing error", "close"])
    assert stream.reason is not None
    assert stream.reason.kind is CloseKind.ERROR
    assert isinstance(stream.reason.error, FrameTooLong)


@pytest.mark.parametrize("answer", [b"", b"and then?\n"])
def test_an_end_in_the_middle_is_a_framing_error(reactor: Watched, talk: Make, answer: bytes) -> None:
    """A torn message is never taken for a whole one, and may be answered; `on_end` is not called."""
    stream, other = talk(answer=answer)
    other.sendall(b"whole\nto")
    other.shutdown(socket.SHUT_WR)
    reactor.until(lambda: stream.events == ["framing error", "close"])
    assert stream.heard == [b"whole"]
    assert stream.reason is not None
    assert stream.reason.kind is CloseKind.ERROR
    assert isinstance(stream.reason.error, FrameTruncated)
    if answer:
        assert read_all(other) == answer


def test_a_framing_error_that_a_hook_raises_is_its_own(reactor: Watched, talk: Make) -> None:
    """It closes the connection like anything else that a hook raises."""

    def fail(self: Talk, message: bytes) -> None:
        raise FramingError("mine")

    stream, other = talk(fail)
    other.sendall(b"1\n2\n")
    reactor.until(lambda: stream.events == ["close"])
    assert stream.heard == [b"1"]
    assert stream.reason is not None
    assert stream.reason.kind is CloseKind.HANDLER_ERROR
    assert [str(reactor.raised.pop().exc)] == ["mine"]


def test_a_codec_is_needed_and_is_not_shared(reactor: Watched, talk: Make) -> None:
    """A class without a codec, and one codec for all instances, are refused before a byte goes wrong."""

    @attrs.define(eq=False)
    class Bare(MessageStream[bytes, bytes]):
        """No codec."""

    @attrs.define(eq=False)
    class Shared(MessageStream[bytes, bytes]):
        """One codec for all."""

        codec: Codec[bytes, bytes] = attrs.field(init=False, default=Lines())

    here, other = unix_pair()
    with here, other:
        with pytest.raises(UsageError, match="Bare has no codec"):
            reactor.attach(Bare(), here)
        first = reactor.attach(Shared(), here)
        with pytest.raises(UsageError, match="another connection"):
            reactor.attach(Shared(), other)
        with pytest.raises(UsageError, match="another connection"):
            talk()[0].switch(first.codec)
        first.abort()
        reactor.turn()
    bare = Bare()
    bare.on_message(b"")
    bare.on_raw(b"")


@attrs.define(eq=False)
class Server(MessageStream[bytes, bytes]):
    """Gives each message back; pauses now and then, and changes to netstrings when asked."""

    codec: Codec[bytes, bytes] = attrs.field(init=False, factory=LengthPrefixed)
    count: int = attrs.field(init=False, default=0)

    def on_message(self, message: bytes) -> None:
        self.count += 1
        self.send(message)
        if message == b"switch":
            self.switch(Netstring())
        if self.count % 5 == 0:
            self.pause()
            self.call_later(0.001, self.resume)


@attrs.define(eq=False)
class Client(MessageStream[bytes, bytes]):
    """Sends all at once, and remembers what comes back."""

    messages: list[bytes]
    codec: Codec[bytes, bytes] = attrs.field(init=False, factory=LengthPrefixed)
    heard: list[bytes] = attrs.field(init=False, factory=list)

    def on_connect(self) -> None:
        codec: Codec[bytes, bytes] = self.codec
        for message in self.messages:
            self.write(codec.encode(message))
            codec = Netstring() if message == b"switch" else codec
        self.end()

    def on_message(self, message: bytes) -> None:
        self.heard.append(message)
        if message == b"switch":
            self.switch(Netstring())


@pytest.mark.parametrize("seed", range(25))
def test_every_message_under_faults(seed: int) -> None:
    """On a network that cuts and stalls, both sides get every message, in order; if it resets, the first ones."""
    faults = Faults(again=0.1, short=0.3, early=0.1, spurious=0.1, shuffle=0.2, stall=0.2, reset=0.2 * (seed % 2))
    messages = [bytes([place]) * (place * 7 % 300) for place in range(60)]
    messages[30] = b"switch"
    with Simulation(seed, network=Network(), faults=faults) as sim:
        server = sim.host("server").reactor()
        client_reactor = sim.host("client").reactor()
        accepted: list[Server] = []

        def make() -> Server:
            accepted.append(Server())
            return accepted[-1]

        with server, client_reactor:
            server.listen(make, ":7000")
            client = Client(messages)
            client_reactor.connect(client, f"{sim.host('server').addresses[0]}:7000")
            sim.run(until=lambda: client.reason is not None and all(each.reason for each in accepted), timeout=120)
            assert client.reason is not None
            if client.reason.kind in (CloseKind.LOCAL_CLOSE, CloseKind.PEER_END):
                assert client.heard == messages
            else:
                assert client.heard == messages[: len(client.heard)]
                assert "reset" in sim.strikes


@pytest.mark.parametrize("inside", [True, False])
def test_what_a_codec_holds_goes_through_the_pipe_first(inside: bool) -> None:
    """A proxy reads a request by a codec and then pipes: what came behind the request is passed on, and in order."""
    with Simulation() as sim, Watched(system=sim) as reactor:
        (here, far), (there, other) = sim.sockets.socketpair(), sim.sockets.socketpair()
        out = reactor.attach(Recorder(), there)
        talk = Talk(lambda self, message: self.pipe_to(out) if inside else None)
        reactor.attach(talk, here)
        far.send(b"CONNECT\nhalf a mess")
        sim.advance(1)
        if not inside:
            talk.pipe_to(out)
        far.send(b"age")
        far.shutdown(socket.SHUT_WR)
        sim.advance(1)
        assert (talk.heard, bytes(talk.raw), talk.events) == ([b"CONNECT"], b"", [])
        assert (other.recv(100), other.recv(100)) == (b"half a message", b"")
        far.close()
        other.close()
        sim.advance(10)

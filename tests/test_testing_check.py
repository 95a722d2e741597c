"""`check_handler` passes good handlers, and finds what is wrong with each broken one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import pytest

from reactor import CloseKind, CloseReason, Handler, Limits, Stream, UsageError
from reactor.testing import BrokenContract, Effort, Ended, Outcome, check_handler
from reactor.testing.trial import Blow, blows

#: Enough for each kind of case, and quick.
SOME = Effort(two_way=8, by_chance=4, points=4, hooks=8, seeds=2)
LINES = b"one\ntwo\nquit\nmore\n"


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


@attrs.define(eq=False)
class Lines(Stream):
    """Answers each line, and ends on "quit"."""

    lines: list[bytes] = attrs.field(init=False, factory=list)
    _rest: bytes = attrs.field(init=False, default=b"")

    def on_connect(self) -> None:
        self.write(b"hello\n")

    def on_data(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.lines.append(line)
            self.write(line.upper() + b"\n")
            if line == b"quit":
                self.close()
                return


@attrs.define(eq=False)
class AtTheEnd(Stream):
    """Answers when the peer has ended."""

    size: int = attrs.field(init=False, default=0)

    def on_data(self, data: bytes) -> None:
        self.size += len(data)

    def on_end(self) -> None:
        self.write(b"%d bytes" % self.size)
        self.close()


@attrs.define(eq=False)
class Faucet(Stream):
    """Writes for ever, and keeps within its limits."""

    default_limits: ClassVar[Limits] = Limits(high=8192, low=4096, hard=65536)
    flows: bool = attrs.field(init=False, default=True)

    def on_connect(self) -> None:
        self.call_soon(self.pour)

    def pour(self) -> None:
        if self.flows and self.is_writable and self.write(b"x" * 4096):
            self.call_soon(self.pour)

    def on_pause(self) -> None:
        self.flows = False

    def on_drain(self) -> None:
        self.flows = True
        self.pour()

    def on_end(self) -> None:
        self.abort()


@attrs.define(eq=False)
class BareEcho(Handler):
    """No stream: receives and sends by itself."""

    def on_readable(self) -> None:
        try:
            data = self.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        while data:  # a short answer, which always finds room
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                continue
            except OSError:
                self.close()
                return


@attrs.define(eq=False)
class Stops(Echo):
    """Has its reactor stop at every end."""

    def on_close(self, reason: CloseReason) -> None:
        self.reactor.stop()


@attrs.define(eq=False)
class Raises(Echo):
    """Raises what its user expects."""

    def on_data(self, data: bytes) -> None:
        if b"x" in data:
            raise ValueError("x")
        super().on_data(data)


@attrs.define(eq=False)
class Refuses(Stream):
    """Wants nothing."""

    def on_connect(self) -> None:
        self.abort()


@attrs.define(eq=False)
class Breaks(Stream):
    """Begins a long answer, and breaks off."""

    def on_data(self, data: bytes) -> None:
        self.write(b"x" * 100_000)
        self.call_soon(self.abort)


@attrs.define(eq=False)
class BreaksDifferently(Stream):
    """Tells the size of the first piece, and breaks off."""

    def on_data(self, data: bytes) -> None:
        self.write(b"%d" % len(data))
        self.call_soon(self.abort)


@attrs.define(eq=False)
class Deaf(Echo):
    """Reads nothing, for ever."""

    def on_connect(self) -> None:
        self.pause()


@attrs.define(eq=False)
class CountsPieces(Stream):
    def on_data(self, data: bytes) -> None:
        self.write(b"%d " % len(data))


@attrs.define(eq=False)
class SeesPieces(Echo):
    sizes: list[int] = attrs.field(init=False, factory=list)

    def on_data(self, data: bytes) -> None:
        self.sizes.append(len(data))
        super().on_data(data)


@attrs.define(eq=False)
class TakesPiecesForMessages(Stream):
    def on_data(self, data: bytes) -> None:
        if b"quit" in data:
            self.close()


@attrs.define(eq=False)
class ExpectsMore(Stream):
    def on_connect(self) -> None:
        self.write(b"hello")

    def on_end(self) -> None:
        raise EOFError


@attrs.define(eq=False)
class ExpectsNoReset(Echo):
    def on_close(self, reason: CloseReason) -> None:
        assert reason.kind is not CloseKind.RESET


@attrs.define(eq=False)
class NeverEnds(Echo):
    def on_end(self) -> None:
        pass


@attrs.define(eq=False)
class LeavesTimer(Echo):
    def on_connect(self) -> None:
        self.reactor.call_later(3600, print)


@attrs.define(eq=False)
class LeavesDescriptor(Echo):
    other: Any = attrs.field(init=False, default=None)

    def on_connect(self) -> None:
        self.other = self.reactor.system.socket(socket.AF_INET)

    def on_end(self) -> None:
        self.other.close()
        self.close()


@attrs.define(eq=False)
class SpeaksLater(Echo):
    def on_end(self) -> None:
        self.reactor.call_later(0.1, self.on_data, b"more")
        self.abort()


@attrs.define(eq=False)
class WritesAfterClose(Echo):
    def on_connect(self) -> None:
        self.call_every(0.1, self.beat)

    def beat(self) -> None:
        self.write(b"")


@attrs.define(eq=False)
class NeedsConnect(Echo):
    """Has in `on_close` what its last hook would have made."""

    name: str = attrs.field(init=False)

    def on_data(self, data: bytes) -> None:
        super().on_data(data)
        self.name = "there"

    def on_close(self, reason: CloseReason) -> None:
        assert self.name


@attrs.define(eq=False)
class Floods(Stream):
    """Goes on writing after `on_pause`."""

    default_limits: ClassVar[Limits] = Limits(high=1024, low=1024, hard=16384)

    def on_data(self, data: bytes) -> None:
        for _ in data:
            self.write(b"x" * 4096)


@attrs.define(eq=False)
class Spins(Handler):
    """Is told that there is something to read, and does not read it."""


@attrs.define(eq=False)
class Shared(Stream):
    """All of them have one memory."""

    seen: ClassVar[list[bytes]] = []

    def on_data(self, data: bytes) -> None:
        self.seen.append(data)

    def on_end(self) -> None:
        self.write(b"".join(self.seen))
        self.close()


def fails() -> Handler:
    """Make nothing."""
    raise LookupError("nobody there")


@pytest.mark.parametrize(
    ("factory", "sends", "heard"),
    [
        (Echo, b"hello world", b"hello world"),
        (Echo, b"", b""),
        (Lines, LINES, b"hello\nONE\nTWO\nQUIT\n"),
        (AtTheEnd, b"hello", b"5 bytes"),
        (BareEcho, b"hello", b"hello"),
        (Stops, b"hello", b"hello"),
    ],
)
def test_good_handlers_pass(factory: Callable[[], Handler], sends: bytes, heard: bytes) -> None:
    """A handler that keeps its promises passes every case; what was observed of the input in one piece is returned."""
    (outcome,) = check_handler(factory, sends, effort=SOME)
    assert (outcome.heard, outcome.ended) == (heard, Ended.FIN)


def test_a_handler_that_never_stops_writing_passes() -> None:
    """Of an endless answer a bounded part is compared, and back-pressure keeps it within its limits."""
    (outcome,) = check_handler(Faucet, b"go", effort=Effort(two_way=1, by_chance=0, points=1, hooks=1, seeds=1))
    assert (len(outcome.heard), outcome.ended) == (1 << 18, Ended.ENOUGH)


def test_outcome_of_a_conversation() -> None:
    """What came back, how both sides saw the end, the hooks in order, and what `seen` made of the handler."""
    assert check_handler(Lines, LINES, seen=lambda lines: lines.lines, effort=SOME) == [
        Outcome(
            b"hello\nONE\nTWO\nQUIT\n",
            Ended.FIN,
            CloseKind.LOCAL_CLOSE,
            ("on_connect", "on_data", "on_close"),
            [b"one", b"two", b"quit"],
        )
    ]


def test_several_conversations() -> None:
    """Each conversation is checked by itself, and its failures have its number."""
    assert [outcome.heard for outcome in check_handler(Echo, [b"a", b"bc"], effort=SOME)] == [b"a", b"bc"]
    with pytest.raises(BrokenContract, match="conversation 1: byte by byte"):
        check_handler(CountsPieces, [b"a", b"bc"], effort=SOME)


def test_a_handler_that_refuses_passes() -> None:
    """A connection may be reset at once; what the peer still sends is lost."""
    (outcome,) = check_handler(Refuses, b"hello" * 5, effort=SOME)
    assert outcome == Outcome(b"", Ended.RST, CloseKind.LOCAL_ABORT, ("on_connect", "on_close"), None)


def test_what_a_reset_destroys_is_not_compared() -> None:
    """How much of an answer arrives before a reset depends on the network, and is no breach; what arrives must be right."""
    check_handler(Breaks, b"hello", effort=SOME)
    with pytest.raises(BrokenContract, match="heard: "):
        check_handler(BreaksDifferently, b"hello", effort=SOME)


def test_a_breach_comes_with_its_story() -> None:
    """What happened last stands in the notes of the failure."""
    with pytest.raises(BrokenContract) as caught:
        check_handler(LeavesTimer, b"hello", effort=SOME)
    (note,) = caught.value.__notes__
    assert note.startswith("what happened last:\n")
    assert "server LeavesTimer.on_close" in note


def test_a_handler_that_reads_nothing_is_found() -> None:
    """A peer that cannot send all it has gives up in the end, and then the handler must end, too."""
    with pytest.raises(BrokenContract, match="these are left: Deaf"):
        check_handler(Deaf, b"x" * 1_000_000, effort=SOME)


def test_expected_errors_pass() -> None:
    """What hooks may raise is part of the outcome: it ends the connection, by reset."""
    (outcome,) = check_handler(Raises, b"xyz", raises=(ValueError,), effort=SOME)
    assert (outcome.ended, outcome.kind) == (Ended.RST, CloseKind.HANDLER_ERROR)


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (
            CountsPieces,
            r"CountsPieces, conversation 0: byte by byte: the outcome differs .*\nheard: b'1 1 .*, whole: b'18 '",
        ),
        (TakesPiecesForMessages, r"byte by byte: .*\nkind: PEER_END, whole: LOCAL_CLOSE\n"),
        (ExpectsMore, r"whole: on_end|event of ExpectsMore raised EOFError\(\); it heard on_connect, on_data"),
        (ExpectsNoReset, r"reset after 0 bytes: on_close of ExpectsNoReset raised AssertionError"),
        (Deaf, r"whole: the peer has gone, and these are left: Deaf"),
        (NeverEnds, r"whole: the peer has gone, and these are left: NeverEnds"),
        (LeavesTimer, r"whole: the peer has gone, and these are left: timer of <built-in function print>"),
        (LeavesDescriptor, r"reset after 0 bytes: the peer has gone, and these are left: descriptor \d"),
        (SpeaksLater, r"SpeaksLater.on_data was called after CLOSE|these are left: timer"),
        (WritesAfterClose, r"close in on_connect #1: timer of WritesAfterClose raised StreamClosed"),
        (NeedsConnect, r"on_close of NeedsConnect raised AttributeError"),
        (Floods, r"bytes queued for .*; the limit is 16384: it goes on writing after on_pause"),
        (Spins, r"spins: readiness is told, and nothing moves"),
        (Shared, r"byte by byte: the outcome differs"),
        (fails, r"fails, conversation 0: whole: on_accept of .* raised LookupError\('nobody there'\)"),
    ],
)
def test_each_breach_is_found(factory: Callable[[], Handler], says: str) -> None:
    """What is wrong with each broken handler is found, and the failure says in which case."""
    Shared.seen.clear()
    with pytest.raises(BrokenContract, match=says):
        check_handler(factory, LINES, effort=SOME)


def test_what_is_seen_is_compared() -> None:
    """What the caller looks at must not depend on the pieces either."""
    check_handler(SeesPieces, b"hello", effort=SOME)
    with pytest.raises(BrokenContract, match=r"seen: \[1, 1, 1, 1, 1\], whole: \[5\]"):
        check_handler(SeesPieces, b"hello", seen=lambda handler: handler.sizes, effort=SOME)


def test_one_case_is_rerun() -> None:
    """A failure names its case, and that one alone is tried again; there must be one of that name."""
    made: list[Handler] = []

    def factory() -> Handler:
        made.append(LeavesDescriptor())
        return made[-1]

    with pytest.raises(BrokenContract) as caught:
        check_handler(factory, b"abc", effort=SOME)
    again = "to rerun: check_handler(factory, …, effort=Effort(only='0: close after 0 bytes'))"
    assert str(caught.value).endswith(again) or "0: reset after" in str(caught.value)
    name = str(caught.value).rpartition("only='")[2].removesuffix("'))")
    made.clear()
    with pytest.raises(BrokenContract, match=name):
        check_handler(factory, b"abc", effort=Effort(only=name))
    assert len(made) == 2  # the whole, and this
    with pytest.raises(UsageError, match="no case has the name"):
        check_handler(Echo, b"abc", effort=attrs.evolve(SOME, only="0: nonsense"))


def test_blows_strike_at_every_hook() -> None:
    """Every action, in the first and the last call of each hook, and in some between."""
    calls = ["on_connect", *["on_data"] * 10, "on_close"]
    assert {(blow.hook, blow.count) for blow in blows(calls, 4)} == {
        ("on_connect", 1),
        ("on_data", 1),
        ("on_data", 10),
        ("on_close", 1),
    }
    assert len(blows(calls, 100)) == 3 * 12
    assert len({blow.count for blow in blows(calls, 6) if blow.hook == "on_data"}) == 4
    assert blows([], 4) == []
    assert Blow("abort", "on_data", 1) in blows(calls, 0)

"""Streams: bytes in order both ways, marks, halves, and every way to end."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import random
import socket
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator
from mmap import PAGESIZE
from pathlib import Path
from typing import Any

import attrs
import pytest

from reactor import (
    BufferOverflow,
    CloseKind,
    CloseReason,
    DelayError,
    FileShrank,
    Limits,
    NotConnected,
    Stream,
    StreamBusy,
    StreamClosed,
    UsageError,
)
from reactor.buffers import BLOCK_BYTES_MAX, JOIN_BYTES_BELOW, Buffer
from reactor.stream import RECEIVE_BYTES, RECEIVE_BYTES_MAX
from tests.kit import (
    PAIRS,
    PATIENCE,
    Clock,
    Fault,
    Recorder,
    Watched,
    faults,
    fill,
    jam,
    read_all,
    reset,
    tcp_pair,
    unix_pair,
)

HOOKS = ("connect", "data", "end", "pause", "drain", "timeout", "close", "error")


@pytest.fixture(params=PAIRS, ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets, TCP and Unix in turn."""
    here, there = request.param()
    with here, there:
        yield here, there


@pytest.fixture
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = tcp_pair()
    with here, there:
        yield here, there


def attach(reactor: Watched, sock: socket.socket, act: dict[str, Callable[[Recorder], object]] | None = None) -> Recorder:
    """A recorder on *sock* that has heard on_connect."""
    if isinstance(reactor.system, Fault):
        sock = reactor.system.wrap(sock)
    stream = reactor.attach(Recorder(act or {}), sock)
    reactor.turn()
    assert stream.events[:1] == ["connect"]
    return stream


# Receiving


def test_bytes_are_handed_over_in_order(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """What the peer sends arrives, whatever the cuts; no chunk is empty or longer than one receive."""
    sizes: list[int] = []
    stream = attach(reactor, pair[0])
    stream.act["data"] = lambda stream: sizes.append(len(stream.received))
    data = random.Random(1).randbytes(300_000)
    sent = 0
    pair[1].setblocking(False)
    while len(stream.received) < len(data):
        if sent < len(data):
            try:
                sent += pair[1].send(data[sent : sent + 50_000])
            except BlockingIOError:
                pass
        reactor.turn()

    assert bytes(stream.received) == data
    assert all(0 < after - before <= RECEIVE_BYTES_MAX for before, after in zip([0, *sizes], sizes, strict=False))


#: Takes and drops, again and again, what three filled receives would; prints how many pages the kernel had to find for it.
CHUNKS_COME_AND_GO = """
from resource import RUSAGE_SELF, getrusage
from reactor.buffers import Buffer, BLOCK_BYTES_MAX, JOIN_BYTES_BELOW
from reactor.stream import RECEIVE_BYTES_MAX
before = 0
for _ in range(100):
    chunks = [b"x" * RECEIVE_BYTES_MAX for _ in range(3)]
    before = before or getrusage(RUSAGE_SELF).ru_minflt
    del chunks
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.kernel("a process of its own")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other mallocs keep memory by rules of their own")
def test_memory_of_large_chunks_stays_with_the_process() -> None:
    """What was received is dropped and its memory used again; malloc need not ask the kernel for each chunk."""
    settings = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES" and name[:7] != "MALLOC_"}
    done = subprocess.run(
        [sys.executable, "-c", CHUNKS_COME_AND_GO],
        env=settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert int(done.stdout) < RECEIVE_BYTES_MAX // PAGESIZE  # not even those of one chunk, of nearly 300


@pytest.mark.kernel("the simulated buffers hold less than two receives")
def test_a_stream_that_fills_what_it_receives_at_a_time_receives_more(
    reactor: Watched, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A receive that was filled is followed by larger ones, until one would have had room enough as at first."""
    stream = attach(reactor, pair[0])
    pair[1].setblocking(False)
    chunks: list[int] = []
    stream.act["data"] = lambda stream: chunks.append(len(stream.received) - sum(chunks))
    for _ in range(2):
        count = pair[1].send(b"x" * 150_000)
        assert count > 2 * RECEIVE_BYTES
        reactor.until(lambda: sum(chunks) == count)  # noqa: B023
        assert chunks == [RECEIVE_BYTES, count - RECEIVE_BYTES]

        pair[1].send(b"x")
        reactor.turn()
        stream.received.clear()
        chunks.clear()


def test_spurious_readiness_is_harmless(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """EAGAIN although ready calls nothing and closes nothing."""
    stream = attach(reactor, pair[0])
    stream.on_readable()
    stream.on_writable()

    assert stream.events == ["connect"]


def test_pause_and_resume(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Nothing is heard while paused, nothing is lost, both may be called twice, and the end waits for the data."""
    stream = attach(reactor, pair[0])
    stream.pause()
    stream.pause()
    pair[1].send(b"abc")
    pair[1].shutdown(socket.SHUT_WR)
    reactor.turn(3)
    assert stream.events == ["connect"]
    assert stream.interest == 0
    stream.resume()
    stream.resume()
    reactor.turn(3)
    assert stream.events == ["connect", "data", "end", "close"]
    assert stream.received == b"abc"
    stream.pause()
    stream.resume()


def test_pause_inside_on_data(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """The very next chunk waits."""
    stream = attach(reactor, pair[0], {"data": lambda stream: stream.pause()})
    pair[1].send(b"abc")
    reactor.turn()
    pair[1].send(b"def")
    reactor.turn(3)
    assert stream.received == b"abc"
    stream.resume()
    reactor.turn()
    assert stream.received == b"abcdef"


# The peer's end


def test_the_default_end_flushes_and_closes(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Everything that was queued when the peer ended arrives, then the end; the reason is PEER_END."""
    stream = attach(reactor, pair[0])
    written = jam(stream)
    pair[1].shutdown(socket.SHUT_WR)
    reactor.until(lambda: "end" in stream.events)
    assert stream.is_open
    assert not stream.is_writable
    read = bytearray()
    pair[1].setblocking(False)
    while stream.is_open:
        reactor.turn()
        try:
            read += pair[1].recv(1 << 20)
        except BlockingIOError:
            pass
    pair[1].settimeout(PATIENCE)
    read += read_all(pair[1])

    assert len(read) == written
    assert stream.events == ["connect", "end", "close"]
    assert stream.kind is CloseKind.PEER_END


def test_an_override_may_go_on_writing(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """After the peer's end our direction is open until we close it; no second on_end, and the loop does not spin."""
    stream = attach(reactor, pair[0], {"end": lambda stream: stream.write(b"still here")})
    pair[1].shutdown(socket.SHUT_WR)
    reactor.turn(3)
    assert stream.is_writable
    assert stream.interest == 0
    stream.write(b", and here")
    assert pair[1].recv(100) == b"still here, and here"
    stream.close()
    reactor.turn()
    assert pair[1].recv(1) == b""
    assert stream.events == ["connect", "end", "close"]
    assert stream.kind is CloseKind.PEER_END


def test_the_end_comes_after_all_data(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """A peer that sends a lot and ends at once is heard to its last byte."""
    stream = attach(reactor, tcp[0])
    sent = fill(tcp[1])
    tcp[1].close()
    reactor.until(lambda: "close" in stream.events)

    assert len(stream.received) == sent
    assert stream.events[-2:] == ["end", "close"]


# Writing


def test_a_small_write_goes_at_once(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """When nothing is queued, write sends; nothing is registered, nothing queued; b"" is nothing."""
    stream = attach(reactor, pair[0])
    assert stream.write(b"abc")
    assert stream.write(b"")
    assert stream.write(bytearray(b"def"))
    assert stream.write(memoryview(b"ghi"))
    assert stream.write(memoryview(struct.pack("2I", 1, 2)).cast("I"))
    assert stream.writelines([b"jkl", bytearray(b"mno"), b""])

    assert pair[1].recv(100) == b"abcdefghi" + struct.pack("2I", 1, 2) + b"jklmno"
    assert stream.buffered == 0
    assert stream.interest == 1


@pytest.mark.parametrize("data", ["text", 7, None, ["list"], array("b", [1, 2, 3])])
@pytest.mark.parametrize("jammed", [False, True])
def test_only_bytes_are_written(
    reactor: Watched, pair: tuple[socket.socket, socket.socket], data: Any, jammed: bool
) -> None:
    """Anything else is refused, queue or no queue, and nothing of it is sent."""
    stream = attach(reactor, pair[0])
    if jammed:
        jam(stream)
    before = stream.buffered
    wrongs: list[Any] = [data, type(data)()] if isinstance(data, (str, list)) else [data]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="takes bytes, a bytearray or a memoryview"):
            stream.write(wrong)
    assert stream.buffered == before
    pair[1].setblocking(False)
    if not jammed:
        with pytest.raises(BlockingIOError):
            pair[1].recv(1)


def test_order_is_kept_between_sent_and_queued(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Small after large, many after few: the peer reads exactly what was written, in order."""
    choose = random.Random(2)
    stream = attach(reactor, pair[0])
    sent, read = bytearray(), bytearray()
    pair[1].setblocking(False)
    while len(sent) < 3_000_000 or len(read) < len(sent):
        if len(sent) < 3_000_000:
            chunk = choose.randbytes(choose.choice((1, 10, 3000, 100_000)))
            stream.write(chunk)
            sent += chunk
        reactor.turn()
        try:
            read += pair[1].recv(choose.choice((1, 1000, 200_000)))
        except BlockingIOError:
            pass

    assert read == sent
    assert stream.buffered == 0


def test_a_callers_buffer_may_change_after_write(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """What was queued is what is sent."""
    stream = attach(reactor, pair[0])
    written = jam(stream)
    data = bytearray(b"a" * 100_000)
    stream.write(data)
    data[:] = b"b" * 100_000
    stream.end()
    pair[1].setblocking(False)
    read = bytearray()
    while not read.endswith(b"a" * 100_000):
        reactor.turn()
        try:
            chunk = pair[1].recv(1 << 20)
            assert chunk
            read += chunk
        except BlockingIOError:
            pass

    assert len(read) == written + 100_000
    assert b"b" not in read


def test_marks_are_told_from_the_loop(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """on_pause once above the high mark, on_drain once at the low one, neither from inside write."""
    stream = attach(reactor, pair[0])
    jam(stream)
    for _ in range(3):
        stream.write(b"x" * 65536)
    assert stream.events == ["connect"]
    reactor.turn()
    assert stream.events == ["connect", "pause"]
    pair[1].setblocking(False)
    low = stream.limits.low
    while stream.events[-1] != "drain":
        assert stream.buffered > low
        try:
            pair[1].recv(4096)
        except BlockingIOError:
            pass
        reactor.turn()
    assert stream.events == ["connect", "pause", "drain"]
    assert stream.buffered <= low


def test_writelines_meets_the_marks_too(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Ten megabytes at once are told of like any other."""
    stream = attach(reactor, pair[0])
    assert stream.writelines([b"x" * 1_000_000] * 10)
    reactor.turn()

    assert stream.events == ["connect", "pause"]
    assert stream.buffered > stream.limits.high


def test_a_queue_that_drains_before_on_pause_says_drain_only(faulty: Watched) -> None:
    """Pressure that came and went in one pass: on_pause is left out, on_drain comes, so nobody waits for ever."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here)
        stream.limits = Limits(high=10, low=5)
        faults(faulty, send=[errno.EAGAIN])
        stream.write(b"x" * 11)
        stream.on_writable()
        faulty.turn()
        assert stream.events == ["connect", "drain"]


def test_closing_takes_back_a_pause_that_was_not_told(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """on_pause is not called on a stream that has been closed meanwhile."""
    stream = attach(reactor, pair[0])
    jam(stream)
    stream.write(b"x" * stream.limits.high)
    stream.close()
    reactor.turn(2)
    assert stream.events == ["connect"]
    stream.abort()
    reactor.turn()
    assert stream.events == ["connect", "close"]


def test_on_drain_may_write(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A producer driven by on_drain sends everything with bounded memory, and without recursion."""
    left = [200]
    most = [0]

    def produce(stream: Recorder) -> None:
        while left[0] and stream.buffered <= stream.limits.high:
            left[0] -= 1
            stream.write(b"x" * 50_000)
            most[0] = max(most[0], stream.buffered)

    stream = attach(reactor, pair[0], {"drain": produce})
    produce(stream)
    pair[1].setblocking(False)
    read = 0
    while read < 200 * 50_000:
        try:
            read += len(pair[1].recv(1 << 20))
        except BlockingIOError:
            pass
        reactor.turn()

    assert most[0] <= stream.limits.high + 50_000


def test_the_hard_limit_aborts(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """More than limits.hard: the write says False, the reason says why, and the peer sees a reset."""
    stream = attach(reactor, tcp[0])
    stream.limits = Limits(hard=1_000_000)
    while stream.write(b"x" * 100_000):
        assert stream.buffered <= 1_000_000
    reactor.turn()

    assert stream.events[-1] == "close"
    assert stream.reason is not None
    assert isinstance(stream.reason.error, BufferOverflow)
    assert "the limit is 1000000" in str(stream.reason.error)
    assert not stream.write(b"late")
    with pytest.raises(ConnectionResetError):
        read_all(tcp[1])


def test_limits_may_be_a_class_attribute(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A subclass gives its own limits for all its instances."""

    @attrs.define(eq=False)
    class Small(Stream):
        default_limits = Limits(high=100, low=10)
        name: str

    class Plain(Stream):
        default_limits = Limits(high=200, low=20)

    assert Small("x").limits.high == 100
    assert Plain().limits.high == 200
    assert Stream().limits == Limits()


@pytest.mark.parametrize("late", [False, True])
def test_close_after_end_is_bounded_too(late: bool) -> None:
    """With the FIN sent already, close lingers as long as ever, and closing again does not prolong it."""
    here, there = unix_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = attach(reactor, here)
        stream.end()
        begin = reactor.time()
        stream.close()
        if late:
            reactor.call_later(1, stream.close)
        reactor.run()
        assert reactor.time() == begin + stream.limits.linger
        assert stream.kind is CloseKind.LOCAL_CLOSE


@pytest.mark.parametrize("sent", [0, 3])
def test_short_writes_are_no_end(faulty: Watched, sent: int) -> None:
    """send may take nothing, or less than it was given: the rest follows."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here)
        shorten = [sent, sent]
        real = stream.sock.send

        def send(data: Any) -> int:
            return real(bytes(data)[: shorten.pop()]) if shorten else real(data)

        stream.sock = Shortened(stream.sock, send)  # type: ignore[assignment]
        stream.write(b"abcdefgh")
        faulty.turn(2)
        assert there.recv(100) == b"abcdefgh"


class Shortened:
    """A socket with another send."""

    def __init__(self, sock: socket.socket, send: Callable[[Any], int]) -> None:
        self.sock, self.send = sock, send

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINTR, errno.ENOBUFS])
def test_not_now_is_no_error(faulty: Watched, number: int) -> None:
    """What the kernel cannot do now is done when it can."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here)
        faults(faulty, send=[number, number], recv=[number])
        stream.write(b"abc")
        there.send(b"def")
        faulty.turn(3)
        assert there.recv(10) == b"abc"
        assert stream.received == b"def"


# Our end


def test_end_sends_the_rest_then_fin(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Reading goes on after end; ending twice is allowed; writing is an error of ours."""
    stream = attach(reactor, pair[0])
    stream.write(b"last")
    stream.end()
    stream.end()
    assert read_all(pair[1]) == b"last"
    with pytest.raises(StreamClosed, match="after end"):
        stream.write(b"more")
    pair[1].send(b"answer")
    reactor.turn()
    assert stream.received == b"answer"
    pair[1].close()
    reactor.turn(2)
    assert stream.events == ["connect", "data", "end", "close"]
    assert stream.kind is CloseKind.PEER_END


def test_end_with_bytes_queued(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """The FIN comes after the last queued byte."""
    stream = attach(reactor, pair[0])
    written = jam(stream)
    stream.end()
    pair[1].setblocking(False)
    read = 0
    while True:
        reactor.turn()
        try:
            chunk = pair[1].recv(1 << 20)
        except BlockingIOError:
            continue
        if not chunk:
            break
        read += len(chunk)
    assert read == written
    assert stream.is_open


def test_both_ends_are_the_end(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """When both directions have ended there is nothing left to close: on_close comes, though on_end closed nothing."""
    stream = attach(reactor, pair[0], {"end": lambda _: None})
    pair[1].shutdown(socket.SHUT_WR)
    reactor.turn()
    assert stream.is_open
    stream.end()
    reactor.turn()
    assert stream.events == ["connect", "end", "close"]
    other_here, other_there = unix_pair()
    with other_there:
        other = attach(reactor, other_here, {"end": lambda _: None})
        other.end()
        other_there.shutdown(socket.SHUT_WR)
        reactor.turn()
        assert other.events == ["connect", "end", "close"]


def test_a_shutdown_that_fails_is_no_error(faulty: Watched) -> None:
    """macOS says ENOTCONN when the peer was faster; the stream goes on to its end."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here)
        faults(faulty, shutdown=[errno.ENOTCONN])
        stream.end()
        assert stream.is_open


# close


def test_close_flushes_ends_and_waits_for_the_peer(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Everything queued is sent, then FIN; what the peer still sends is dropped; its end closes."""
    stream = attach(reactor, pair[0])
    stream.write(b"bye")
    stream.close()
    stream.close()
    assert read_all(pair[1]) == b"bye"
    assert stream.is_open
    pair[1].send(b"too late")
    reactor.turn(2)
    stream.pause()
    stream.resume()
    pair[1].close()
    reactor.turn(2)
    assert stream.events == ["connect", "close"]
    assert stream.kind is CloseKind.LOCAL_CLOSE
    assert len(reactor.timers) == 0
    with pytest.raises(StreamClosed):
        stream.write(b"x")


def test_close_after_the_peers_end_does_not_wait(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """There is nothing to wait for: the descriptor is free at once."""
    stream = attach(reactor, pair[0], {"end": lambda _: None})
    pair[1].shutdown(socket.SHUT_WR)
    reactor.turn()
    stream.close()
    assert stream.fileno() == -1


def test_a_refusal_survives_unread_input(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """A peer that goes on sending reads our last words, not a reset that destroys them."""

    def refuse(stream: Recorder) -> None:
        stream.write(b"413 too large")
        stream.close()

    stream = attach(reactor, tcp[0], {"data": refuse})
    tcp[1].setblocking(False)
    sent = 0
    while sent < 3_000_000:
        try:
            sent += tcp[1].send(b"x" * 65536)
        except BlockingIOError:
            reactor.turn()
    tcp[1].settimeout(PATIENCE)
    tcp[1].shutdown(socket.SHUT_WR)
    reactor.until(lambda: not stream.is_open)

    assert read_all(tcp[1]) == b"413 too large"
    assert len(stream.received) <= RECEIVE_BYTES


def test_lingering_is_bounded() -> None:
    """A peer that never ends is left after limits.linger seconds; what we sent is a whole all the same."""
    here, there = unix_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = attach(reactor, here)
        stream.write(b"bye")
        begin = reactor.time()
        stream.close()
        reactor.run()
        assert reactor.time() == begin + stream.limits.linger
        assert stream.kind is CloseKind.LOCAL_CLOSE
        assert read_all(there) == b"bye"


def test_flushing_is_bounded() -> None:
    """A peer that does not read is left after the timeout of close: on_timeout, then on_close, TIMEOUT, and a reset."""
    here, there = tcp_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = attach(reactor, here)
        jam(stream)
        begin = reactor.time()
        stream.close(timeout=7)
        reactor.run()
        assert reactor.time() == begin + 7
        assert stream.events == ["connect", "timeout", "close"]
        assert stream.kind is CloseKind.TIMEOUT
        assert "bytes unsent" in str(stream.reason)
        with pytest.raises(ConnectionResetError):
            read_all(there)


def test_closing_again_does_not_prolong_it() -> None:
    """However often close is called, the first deadline holds."""
    here, there = tcp_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = attach(reactor, here)
        jam(stream)
        begin = reactor.time()
        stream.close(timeout=5)
        every = reactor.call_every(1, stream.close)
        every.unref()
        reactor.run()
        every.cancel()
        assert reactor.time() == begin + 5
        assert stream.kind is CloseKind.TIMEOUT


def test_on_timeout_may_grant_more() -> None:
    """An override that closes again, with a new timeout, has set a new deadline."""

    @attrs.define(eq=False)
    class Patient(Recorder):
        def on_timeout(self, kind: str) -> None:
            self.hear("timeout")
            if self.events.count("timeout") < 3:
                self.close(timeout=2)
            else:
                self.abort()

    here, there = tcp_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = reactor.attach(Patient(), here)
        reactor.turn()
        jam(stream)
        begin = reactor.time()
        stream.close(timeout=1)
        reactor.run()
        assert reactor.time() == begin + 5
        assert stream.events == ["connect", "timeout", "timeout", "timeout", "close"]


def test_a_second_close_may_shorten_the_deadline() -> None:
    """A later call with less patience counts; the default is limits.close_timeout."""
    here, there = tcp_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = attach(reactor, here)
        jam(stream)
        begin = reactor.time()
        stream.close()
        stream.close(timeout=1)
        reactor.run()
        assert reactor.time() == begin + 1


def test_linger_begins_when_the_queue_is_empty() -> None:
    """The time to flush and the time to linger are two; the deadline of close ends with the flush."""
    here, there = tcp_pair()
    with there, Watched(system=Clock(), debug=True) as reactor:
        stream = attach(reactor, here)
        jam(stream)
        stream.close(timeout=5)
        reactor.call_later(4, lambda: drain_some(there))
        begin = reactor.time()
        while stream.buffered:
            drain_some(there)
            reactor.run_once(0)
        reactor.run()
        assert stream.kind is CloseKind.LOCAL_CLOSE
        assert reactor.time() <= begin + 5 + stream.limits.linger


def drain_some(sock: socket.socket) -> None:
    sock.setblocking(False)
    try:
        while sock.recv(1 << 20):
            pass
    except BlockingIOError:
        pass


def test_bad_timeouts_are_refused(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """close(timeout=NaN) closes nothing."""
    stream = attach(reactor, pair[0])
    with pytest.raises(DelayError):
        stream.close(timeout=float("nan"))
    assert stream.is_writable


# abort, resets, errors


def test_abort_is_seen_as_a_reset(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """The peer cannot take what it has for the whole; on_close follows in the same pass, never from inside."""
    stream = attach(reactor, tcp[0])
    stream.write(b"half a mess")
    stream.abort()
    assert stream.events == ["connect"]
    assert stream.fileno() == -1
    reactor.turn()
    assert stream.events == ["connect", "close"]
    assert stream.kind is CloseKind.LOCAL_ABORT
    with pytest.raises(ConnectionResetError):
        read_all(tcp[1])
    with pytest.raises(StreamClosed):
        stream.write(b"x")


def test_a_reset_by_the_peer(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """on_close alone, no on_end, with the kernel's error; a late write is dropped, and says so."""
    stream = attach(reactor, tcp[0])
    reset(tcp[1])
    reactor.until(lambda: stream.events[-1] == "close")

    assert stream.events == ["connect", "close"]
    assert stream.kind is CloseKind.RESET
    assert stream.reason is not None
    assert isinstance(stream.reason.error, ConnectionResetError)
    assert stream.write(b"late") is False


def test_data_before_a_failed_write_is_still_read(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """The peer sends its last words and resets; our write fails first, and the words are heard before the end."""
    stream = attach(reactor, tcp[0])
    tcp[1].send(b"last words")
    stream.write(b"unread, so that close resets")
    tcp[1].close()
    assert stream.write(b"x") in (True, False)
    assert stream.write(b"y") is False
    assert stream.is_open
    reactor.until(lambda: stream.events[-1] == "close")

    assert stream.received == b"last words"
    assert stream.events == ["connect", "data", "close"]  # no on_end: the rest was lost
    assert stream.kind is CloseKind.RESET


def test_the_first_error_is_kept(faulty: Watched) -> None:
    """A write fails with one error, the read after it with another: the reason has the first."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here)
        faults(faulty, send=[errno.EPIPE], recv=[errno.ECONNRESET])
        assert not stream.write(b"x")
        there.send(b"x")
        faulty.turn()
        assert isinstance(stream.reason, CloseReason)
        assert isinstance(stream.reason.error, OSError)
        assert stream.reason.error.errno == errno.EPIPE


def test_a_queued_write_that_fails_ends_like_a_direct_one(faulty: Watched) -> None:
    """The error may come when the queue is flushed."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here)
        faults(faulty, send=[errno.EAGAIN, errno.EPIPE], recv=[errno.ECONNRESET])
        stream.write(b"x")
        there.send(b"x")
        faulty.turn(3)
        assert stream.events == ["connect", "close"]
        assert stream.buffered == 0


@pytest.mark.parametrize("state", ["paused", "ended", "closing"])
def test_a_failed_write_where_nobody_would_hear_the_rest(faulty: Watched, state: str) -> None:
    """A stream that is not reading ends at once; nothing waits for a resume that never comes."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here, {"end": lambda _: None})
        if state == "paused":
            stream.pause()
        elif state == "ended":
            there.shutdown(socket.SHUT_WR)
            faulty.turn()
        faults(faulty, send=[errno.EAGAIN, errno.EPIPE])
        stream.write(b"x")
        if state == "closing":
            stream.close()
        faulty.turn(2)
        assert stream.events[-1] == "close"
        assert stream.kind is CloseKind.RESET


def test_close_of_a_broken_stream_is_at_once(faulty: Watched) -> None:
    """There is nothing left to flush."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here)
        faults(faulty, send=[errno.EPIPE])
        stream.write(b"x")
        stream.close()
        assert stream.fileno() == -1
        assert stream.kind is CloseKind.RESET


def test_an_error_that_is_no_reset_is_an_error(faulty: Watched) -> None:
    """What the kernel says is in the reason; keepalive's ETIMEDOUT is a TIMEOUT."""
    for number, kind in ((errno.EHOSTUNREACH, CloseKind.ERROR), (errno.ETIMEDOUT, CloseKind.TIMEOUT)):
        for call in ("send", "recv"):
            here, there = unix_pair()
            with there:
                stream = attach(faulty, here)
                there.send(b"x")
                failing: dict[str, list[int | BaseException]] = {"send": [], "recv": [number], call: [number]}
                faults(faulty, **failing)
                stream.write(b"x")
                faulty.turn(2)
                assert stream.kind is kind


def test_an_end_after_a_failed_write_is_no_end(faulty: Watched) -> None:
    """recv may say b"" once the error of a reset is consumed: nobody may take that for a whole message."""
    here, there = unix_pair()
    with there:
        stream = attach(faulty, here)
        faults(faulty, send=[errno.ECONNRESET])
        stream.write(b"x")
        there.close()
        faulty.turn(2)
        assert stream.events == ["connect", "close"]
        assert stream.kind is CloseKind.RESET


def test_a_raising_hook_resets_its_own_connection(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """A torn answer is a reset, the error is told once, on_close comes last; others live."""
    other_here, other_there = tcp_pair()
    other = attach(reactor, other_here)
    stream = attach(reactor, tcp[0], {"data": lambda stream: (stream.write(b"half"), 1 / 0)})
    tcp[1].send(b"x")
    reactor.until(lambda: stream.events[-1] == "close")

    assert stream.events == ["connect", "data", "error", "close"]
    assert stream.kind is CloseKind.HANDLER_ERROR
    assert len(reactor.raised) == 1
    reactor.raised.clear()
    with pytest.raises(ConnectionResetError):
        read_all(tcp[1])
    with other_there:
        other_there.send(b"x")
        reactor.until(lambda: other.received)


# Every hook


@pytest.mark.parametrize("how", ["close", "abort", "end", "detach", "pause"])
@pytest.mark.parametrize("hook", HOOKS)
def test_anything_may_be_called_from_any_hook(reactor: Watched, hook: str, how: str) -> None:
    """close, abort, end, detach, pause from inside every hook: hooks stay in order, on_close is once and last."""
    here, there = tcp_pair()

    def act(stream: Recorder) -> None:
        try:
            getattr(stream, how)()
        except (NotConnected, StreamBusy):
            pass

    def write(stream: Recorder) -> None:
        stream.limits = Limits(high=70_000, low=60_000)
        stream.writelines([b"x" * 5_000_000])

    acts: dict[str, Callable[[Recorder], object]] = {"connect": write, "end": lambda _: None}
    if hook == "error":
        acts["data"] = lambda _: 1 / 0
    acts[hook] = act
    if hook == "timeout":
        acts["pause"] = lambda stream: stream.close(timeout=0)
    stream = reactor.attach(Recorder(acts), here)
    there.send(b"hello")
    reactor.turn(3)
    there.setblocking(False)
    for _ in range(30):
        try:
            there.recv(1 << 20)
        except OSError:
            pass
        reactor.turn()
    there.close()
    reactor.turn(5)
    if stream.is_open:
        stream.resume()
        stream.abort()
    reactor.turn(2)
    if stream.reason is None:
        stream.sock.close()  # detached
    reactor.raised.clear()

    heard = stream.events
    assert heard[0] == "connect"
    assert heard.count("close") <= 1
    assert "close" not in heard[:-1]
    assert heard.count("end") <= 1
    assert "data" not in heard[heard.index("end") :] if "end" in heard else True
    assert (stream.reason is None) == ("close" not in heard)


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("hook", ["connect", "data", "end", "pause", "drain", "close"])
def test_a_neighbour_may_be_ended_from_any_hook(reactor: Watched, hook: str, how: str) -> None:
    """Ending another stream from a hook, in the same batch, leaves both in order."""
    (a, a_peer), (b, b_peer) = tcp_pair(), tcp_pair()
    streams: list[Recorder] = []

    def act(stream: Recorder) -> None:
        for other in streams:
            if other is not stream:
                getattr(other, how)()
        if hook == "end":
            stream.close()

    acts: dict[str, Callable[[Recorder], object]] = {
        "connect": lambda stream: stream.writelines([b"x" * 4_000_000]),
        hook: act,
    }
    streams += [reactor.attach(Recorder(dict(acts)), sock) for sock in (a, b)]
    for peer in (a_peer, b_peer):
        peer.send(b"hello")
        peer.setblocking(False)
    for _ in range(60):
        reactor.turn()
        for peer in (a_peer, b_peer):
            try:
                peer.recv(1 << 20)
            except OSError:
                pass
    for peer in (a_peer, b_peer):
        peer.close()
    reactor.turn(5)
    for stream in streams:
        stream.abort()
    reactor.turn(2)

    for stream in streams:
        assert stream.events.count("close") == 1
        assert stream.events[-1] == "close"


# Before, after, beside


@pytest.mark.parametrize(
    "call",
    [
        lambda stream: stream.write(b"x"),
        lambda stream: stream.writelines([b"x"]),
        lambda stream: stream.end(),
        lambda stream: stream.pause(),
        lambda stream: stream.resume(),
        lambda stream: stream.peer,
        lambda stream: stream.local,
        lambda stream: stream.detach(),
    ],
)
def test_use_before_the_connection_is_an_error(call: Callable[[Stream], object]) -> None:
    """Each says that there is no connection yet."""
    with pytest.raises(NotConnected):
        call(Stream())


def test_a_stream_is_described_before_it_is_connected() -> None:
    """Nothing is queued, nothing wanted, it cannot be written to; closing spends it."""
    stream = Stream()
    assert (stream.buffered, stream.interest, stream.is_writable) == (0, 0, False)
    stream.close()
    stream.abort()


def test_detach_refuses_while_bytes_are_queued(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """They would be lost; without them the socket goes, unread bytes in it."""
    stream = attach(reactor, pair[0])
    pair[1].send(b"unread")
    written = jam(stream)
    with pytest.raises(StreamBusy, match=f"{stream.buffered} bytes"):
        stream.detach()
    pair[1].setblocking(False)
    stream.pause()
    read = 0
    while stream.buffered or read < written:
        try:
            read += len(pair[1].recv(1 << 20))
        except BlockingIOError:
            pass
        reactor.turn()
    sock = stream.detach()
    assert sock.recv(100) == b"unread"
    with pytest.raises(NotConnected):
        stream.detach()
    with pytest.raises(StreamClosed):
        stream.write(b"x")
    assert not stream.buffered


def test_addresses_survive_the_end(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """local and peer are what they were."""
    stream = attach(reactor, tcp[0])
    local, peer = tcp[0].getsockname(), tcp[1].getsockname()
    stream.abort()

    assert str(stream.local) == f"{local[0]}:{local[1]}"
    assert str(stream.peer) == f"{peer[0]}:{peer[1]}"


def test_nagle_is_off(reactor: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """TCP_NODELAY is set on every TCP stream."""
    stream = attach(reactor, tcp[0])
    assert stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_default_hooks_are_enough(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A bare Stream discards what comes and closes when the peer does."""
    stream = reactor.attach(Stream(), pair[0])
    stream.limits = Limits(high=10, low=5)
    pair[1].send(b"x")
    jam(stream)
    reactor.turn(2)
    drain_some(pair[1])
    reactor.turn(2)
    drain_some(pair[1])
    pair[1].close()
    reactor.until(lambda: not stream.is_open)
    assert stream.reason is not None


def test_a_shut_down_stream_flushes(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Reactor.shutdown lets it send what is queued; writes are dropped meanwhile; the reason is SHUTDOWN."""
    stream = attach(reactor, pair[0])
    written = jam(stream)
    reactor.shutdown()
    assert stream.write(b"x") is False
    pair[1].setblocking(False)
    read = 0
    while read < written:
        try:
            read += len(pair[1].recv(1 << 20))
        except BlockingIOError:
            pass
        reactor.turn()
    pair[1].close()
    reactor.run()
    assert stream.events[-1] == "close"
    assert stream.kind is CloseKind.SHUTDOWN


# Holding back, and files


@pytest.mark.parametrize(
    "chunks",
    [
        [b"%02d" % number for number in range(100)],
        [b"%04d" % number for number in range(1000)],
        [b"head", b"b" * BLOCK_BYTES_MAX],
        [b"head", b"b" * (BLOCK_BYTES_MAX + 1)],
        [b"h" * JOIN_BYTES_BELOW, b"body"],
        [b"", bytearray(b"a"), b"", memoryview(array("H", [0x6262])), b"c"],
        [bytearray(BLOCK_BYTES_MAX + 1), b"tail"],
    ],
    ids=["few", "many", "a block", "more than a block", "a long head", "of all kinds", "a bytearray"],
)
@pytest.mark.parametrize("has_deadline", [False, True])
def test_what_on_data_writes_is_sent_together(
    faulty: Watched, tcp: tuple[socket.socket, socket.socket], chunks: list[Buffer], *, has_deadline: bool
) -> None:
    """However many writes there are in one `on_data`, and however long they are: they are one call of the kernel."""
    stream = attach(faulty, tcp[0])
    if has_deadline:
        stream.deadline("idle", 60)

    def write_all(stream: Recorder) -> None:
        for chunk in chunks:
            stream.write(chunk)
        held.append(stream.buffered)

    held: list[int] = []
    stream.act["data"] = write_all
    calls = faulty.system.calls  # type: ignore[attr-defined]
    before = calls["send"]
    tcp[1].send(b"go")
    faulty.until(lambda: stream.received)
    size = len(b"".join(chunks))
    assert (held, stream.buffered, faulty.queued) == ([size], 0, 0)
    assert calls["send"] == before + 1
    stream.close()
    assert read_all(tcp[1]) == b"".join(chunks)
    tcp[1].close()
    faulty.until_closed(stream)


def test_corked_sends_together(faulty: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """So are those in a `with corked()`, which may be nested, empty, and end the stream."""
    stream = attach(faulty, tcp[0])
    calls = faulty.system.calls  # type: ignore[attr-defined]
    with stream.corked(), stream.corked():
        stream.write(b"a")
        stream.write(bytearray(b"b"))
        assert stream.buffered == 2
    assert (calls["send"], stream.buffered) == (1, 0)
    with stream.corked():
        pass
    with stream.corked():
        stream.write(b"c")
        stream.close()
    assert calls["send"] == 2
    assert read_all(tcp[1]) == b"abc"
    tcp[1].close()
    faulty.until_closed(stream)
    with stream.corked():
        pass


def test_writelines_tells_when_all_has_gone(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """`on_sent` is called once for all chunks; a peer that takes no more makes it False."""
    told: list[Any] = []
    stream = attach(reactor, pair[0])
    assert stream.writelines([b"a", b"b"], told.append)
    reactor.turn(2)
    assert (told, pair[1].recv(10)) == ([None], b"ab")
    pair[1].close()
    with contextlib.suppress(StreamClosed):
        while stream.write(b"c"):
            reactor.turn()
    assert not stream.writelines([b"d", b"e"], told.append)
    reactor.until_closed(stream)


def test_end_inside_on_data_sends_what_was_written(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """An answer, then `end`, `close` or `detach` in the same hook: the answer goes first."""

    def answer(stream: Recorder) -> None:
        stream.write(b"bye")
        stream.end()

    stream = attach(reactor, pair[0], {"data": answer})
    pair[1].send(b"x")
    reactor.until(lambda: stream.received)
    assert read_all(pair[1]) == b"bye"
    pair[1].close()
    reactor.until_closed(stream)


def test_detach_inside_on_data_sends_what_was_written(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """What was written before a `detach` in the same hook has gone when the socket is handed out."""
    kept: list[socket.socket] = []

    def answer(stream: Recorder) -> None:
        stream.write(b"bye")
        kept.append(stream.detach())

    stream = attach(reactor, pair[0], {"data": answer})
    pair[1].send(b"x")
    reactor.until(lambda: kept)
    assert pair[1].recv(10) == b"bye"
    kept[0].close()
    assert stream.events == ["connect", "data"]


def test_a_hook_that_raises_sends_nothing_of_what_it_wrote(
    reactor: Watched, tcp: tuple[socket.socket, socket.socket]
) -> None:
    """A torn answer does not even begin to go out."""

    def answer(stream: Recorder) -> None:
        stream.write(b"half of")
        raise ZeroDivisionError

    stream = attach(reactor, tcp[0], {"data": answer})
    tcp[1].send(b"x")
    reactor.until_closed(stream)
    with pytest.raises(ConnectionResetError):
        tcp[1].recv(100)
    reactor.raised.clear()


def test_held_bytes_meet_a_full_kernel(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """What the kernel does not take when a hook ends is queued, in order, and meets the marks."""
    total = 12_000_000
    stream = attach(reactor, pair[0], {"data": lambda stream: stream.write(b"q" * total)})
    pair[1].send(b"x")
    reactor.until(lambda: "pause" in stream.events)
    received = 0
    while received < total:
        received += len(pair[1].recv(1 << 20))
        reactor.turn()
    assert stream.events == ["connect", "data", "pause", "drain"]


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_queue_that_was_high_inside_a_hook_drains(
    reactor: Watched, pair: tuple[socket.socket, socket.socket], chunks: int
) -> None:
    """Who sees more than the high mark in a hook is told by `on_drain` when it has gone, be it at once."""

    def answer(stream: Recorder) -> None:
        for _ in range(chunks):
            stream.write(b"h" * 6000)
        assert stream.buffered > stream.limits.high

    stream = attach(reactor, pair[0], {"data": answer})
    stream.limits = Limits(high=5000, low=1000)
    pair[1].send(b"x")
    reactor.until(lambda: stream.events[-1] == "drain")
    assert stream.events == ["connect", "data", "drain"]
    assert len(pair[1].recv(100_000)) == 6000 * chunks


@pytest.mark.kernel("in a simulation the monitor listens")
def test_a_queue_that_was_high_costs_nothing_where_nobody_listens(
    reactor: Watched, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Without an `on_drain` nothing is called for that, so that the loop waits instead of making another pass."""
    heard: list[bytes] = []

    @attrs.define(eq=False)
    class Answers(Stream):
        def on_data(self, data: bytes) -> None:
            heard.append(data)
            self.write(b"h" * 1500)

    stream = reactor.attach(Answers(), pair[0])
    stream.limits = Limits(high=1200, low=100)
    reactor.turn()
    pair[1].send(b"x")
    reactor.until(lambda: heard)
    assert reactor.next_timeout() is None
    assert len(pair[1].recv(100_000)) == 1500


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_queue_that_was_high_inside_a_hook_drains_from_between_the_marks(
    reactor: Watched, pair: tuple[socket.socket, socket.socket], chunks: int
) -> None:
    """So it is if the kernel took enough to get below the high mark, and not enough to get to the low one."""

    def answer(stream: Recorder) -> None:
        for _ in range(chunks):
            stream.write(b"h" * 4_000_000)
        assert stream.buffered > stream.limits.high

    stream = attach(reactor, pair[0], {"data": answer})
    stream.limits = Limits(high=4_000_000 * chunks - 1, low=10)
    pair[1].send(b"x")
    received = 0
    while received < 4_000_000 * chunks:
        reactor.turn()
        with contextlib.suppress(BlockingIOError):
            received += len(pair[1].recv(1 << 20))
    reactor.turn()
    assert [event for event in stream.events if event != "pause"] == ["connect", "data", "drain"]


def test_too_much_inside_a_hook_is_too_much(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """The hard limit holds while bytes are held back, too."""

    def answer(stream: Recorder) -> None:
        while stream.write(b"w" * 100_000):
            pass

    stream = attach(reactor, pair[0], {"data": answer})
    stream.limits = Limits(hard=1_000_000)
    pair[1].send(b"x")
    reactor.until_closed(stream)
    assert stream.reason is not None
    assert isinstance(stream.reason.error, BufferOverflow)


def test_errors_of_a_held_send_end_the_stream(faulty: Watched, tcp: tuple[socket.socket, socket.socket]) -> None:
    """EAGAIN is waited out, any other error ends the stream, when what was held is sent."""
    stream = attach(faulty, tcp[0], {"data": lambda stream: stream.write(b"echo")})
    faults(faulty, send=[errno.EAGAIN])
    tcp[1].send(b"x")
    faulty.until(lambda: stream.received)
    faulty.turn(2)
    assert tcp[1].recv(10) == b"echo"
    faults(faulty, send=[errno.EPIPE])
    tcp[1].send(b"x")
    faulty.until(lambda: len(stream.received) == 2)
    tcp[1].close()
    faulty.until_closed(stream)
    assert stream.kind is CloseKind.RESET


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Any]:
    """A file of a megabyte."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4096)
    with path.open("rb") as opened:
        yield opened


@pytest.mark.parametrize("by_kernel", [True, False])
def test_a_file_goes_in_its_turn(
    faulty: Watched, tcp: tuple[socket.socket, socket.socket], file: Any, by_kernel: bool
) -> None:
    """Bytes before a file, the file, bytes behind it: in this order, whoever copies, and the news when each has gone."""
    stream = attach(faulty, tcp[0])
    if not by_kernel:
        faults(faulty, send_file=[errno.EINVAL] * 100)
    told: list[str] = []
    stream.write(b"head", lambda error: told.append(f"head {error}"))
    stream.send_file(file, on_sent=lambda error: told.append(f"file {error}"))
    stream.send_file(file.fileno(), 256, 512)
    stream.write(b"tail", lambda error: told.append(f"tail {error}"))
    expected = b"head" + bytes(range(256)) * 4098 + b"tail"
    received = bytearray()
    while len(received) < len(expected):
        faulty.turn()
        tcp[1].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            received += tcp[1].recv(100_000)
    faulty.turn(2)
    assert received == expected
    assert told == ["head None", "file None", "tail None"]
    assert file.tell() == 0
    assert not stream.is_sending


def test_an_empty_file_is_nothing(reactor: Watched, pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    """No bytes of a file are sent at once, and told of."""
    told: list[Any] = []
    stream = attach(reactor, pair[0])
    with (tmp_path / "empty").open("wb+") as empty:
        stream.send_file(empty, on_sent=told.append)
        reactor.turn(2)
    assert told == [None]


@pytest.mark.parametrize("by_kernel", [True, False])
def test_a_file_that_shrinks_is_an_error(
    faulty: Watched, tcp: tuple[socket.socket, socket.socket], tmp_path: Path, by_kernel: bool
) -> None:
    """The connection is aborted: the peer shall not take what came for the whole."""
    stream = attach(faulty, tcp[0])
    if not by_kernel:
        faults(faulty, send_file=[errno.EINVAL] * 100)
    told: list[Any] = []
    with (tmp_path / "file").open("wb+") as shrinking:
        shrinking.truncate(50_000_000)
        stream.send_file(shrinking, on_sent=told.append)
        shrinking.truncate(1000)
        with contextlib.suppress(ConnectionResetError):
            while tcp[1].recv(1 << 20) and stream.is_open:
                faulty.turn()
        faulty.until_closed(stream)
    assert stream.reason is not None
    assert isinstance(stream.reason.error, FileShrank)
    assert [type(error) for error in told] == [FileShrank]


def test_a_file_has_to_be_one(reactor: Watched, pair: tuple[socket.socket, socket.socket], file: Any) -> None:
    """A closed file, a directory, and what the file has not got are refused; after `end` nothing is taken."""
    stream = attach(reactor, pair[0])
    for offset, count in ((-1, None), (0, -1), (1 << 20, 1), (0, (1 << 20) + 1)):
        with pytest.raises(UsageError, match="cannot be sent"):
            stream.send_file(file, offset, count)
    with open(os.devnull) as device:
        for wrong in (device.fileno(), 10_000):
            with pytest.raises(UsageError, match="takes an open file"):
                stream.send_file(wrong)
    stream.end()
    with pytest.raises(StreamClosed):
        stream.send_file(file)


def test_a_descriptor_that_goes_bad_ends_the_stream(
    reactor: Watched, tcp: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    """A file that its owner closes too early is an error of the stream."""
    stream = attach(reactor, tcp[0])
    with (tmp_path / "file").open("wb+") as early:
        early.truncate(50_000_000)
        stream.send_file(early)
    while stream.is_open:
        drain_some(tcp[1])
        reactor.turn()
    reactor.until_closed(stream)
    assert stream.reason is not None
    assert getattr(stream.reason.error, "errno", None) == errno.EBADF

"""What a replay says when the program is not the one that was recorded, and how it leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reactor import Reactor, System
from reactor.testing import Divergence, JournalEnded, JournalError, Recorder, Replayer, ReplayOver, replayed
from tests import kit
from tests.journals import names
from tests.journals import replayed as replay
from tests.kit import PATIENCE, Watcher


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run.journal")


def record(path: str, scenario: Callable[[System], object]) -> None:
    with Recorder(path) as recorder:
        scenario(recorder)


def answering(answer: bytes, streams: list[kit.Recorder] | None = None) -> Callable[[System], object]:
    """Return a program that answers so, once, swallows every exception, and in the end closes what it has."""

    def scenario(system: System) -> object:
        one, other = system.socketpair()
        with contextlib.closing(other), Reactor(system=system) as reactor:

            def act(it: kit.Recorder) -> None:
                with contextlib.suppress(Exception):
                    it.write(answer)
                it.end()

            stream = reactor.attach(kit.Recorder(act={"data": act}), one)
            if streams is not None:
                streams.append(stream)
            other.send(b"x")
            reactor.run_until(lambda: "data" in stream.events, timeout=PATIENCE)
            reactor.call_soon(other.recv, 10)
            reactor.call_soon(other.close)
            reactor.run()
            return stream.events

    return scenario


def test_another_answer_is_a_divergence(path: str) -> None:
    """The message says where, what the journal has, what the program did, and what went before."""
    record(path, answering(b"yes"))
    assert replay(path, answering(b"yes")) == ["connect", "data", "end", "close"]
    with pytest.raises(Divergence) as caught:
        replay(path, answering(b"no"))
    where, journal, program, after, *before = str(caught.value).splitlines()
    place = names(path).index("send", names(path).index("recv"))
    assert where.startswith(f"record {place}, 0.")
    assert where.endswith("s: the program has left the journal")
    assert journal.startswith("  the journal: send fd ")
    assert program.startswith("  the program: send fd ")
    assert journal.removesuffix(" -> 3") != program
    assert after == "after"
    assert before[-1].split(maxsplit=1) == [str(place - 1), before[-1].split(maxsplit=1)[1]]
    assert "recv" in before[-1]
    assert len(before) == 6


def test_a_divergence_passes_through_the_program(path: str) -> None:
    """It is no Exception, closes what was being served, and leaves the with block of the reactor in good order."""
    assert not issubclass(ReplayOver, Exception)
    record(path, answering(b"yes"))
    streams: list[kit.Recorder] = []
    scenario = answering(b"no", streams)
    with Replayer(path) as replayer:
        with pytest.raises(Divergence) as caught:
            scenario(replayer)
        assert replayer.over is caught.value
        # From here on nothing answers any more, and nothing raises but what has to.
        assert streams[0].events == ["connect", "data", "close"]
        assert streams[0].reason is not None
        assert streams[0].reason.error is caught.value
        assert streams[0].fileno() == -1
        assert replayer.monotonic() == replayer.now
        assert replayer.time() == 0.0
        with pytest.raises(Divergence) as again:
            replayer.selector().select(0)
        assert again.value is caught.value
        with pytest.raises(Divergence):
            replayer.finish()


def test_a_call_that_was_not_made_is_a_divergence(path: str) -> None:
    """A program that ends before its journal has left out something."""
    record(path, lambda system: [system.has_dualstack_ipv6(), system.time()])
    with pytest.raises(Divergence, match="the journal: time -> .*\n  the program: the program has ended"):
        replay(path, lambda system: system.has_dualstack_ipv6())


def test_a_call_too_many_is_a_divergence(path: str) -> None:
    """A program that goes on after its journal has done something that it had not."""
    record(path, lambda system: system.time())
    with pytest.raises(Divergence, match="the journal: end\n  the program: time"):
        replay(path, lambda system: [system.time(), system.time()])


def test_a_journal_that_ends_is_no_divergence(path: str) -> None:
    """The recorded process was killed: whatever it asks next is where that happened."""
    record(path, answering(b"yes"))
    os.truncate(path, os.path.getsize(path) - 1)
    with pytest.raises(JournalEnded, match=r"record 0, 0\.0+ s: the journal ends here; the process was killed"):
        replay(path, answering(b"yes"))


def test_a_journal_without_its_beginning_cannot_be_replayed(path: str) -> None:
    """A ring that was full is shown, not replayed, and the file is closed again."""
    with Recorder(path, ring_bytes=1) as recorder:
        for _ in range(2):
            recorder.time()
            recorder.tape.flush()
        recorder.dump()
    with pytest.raises(JournalError, match="its first 1 records are lost, so it can be shown, not replayed"):
        Replayer(path)


def raising(error: Exception) -> Callable[[System], object]:
    def scenario(system: System) -> object:
        with kit.Watched(system=system) as reactor:
            reactor.call_soon(self_raise, error)
            reactor.run()
            reactor.raised.clear()
        return None

    def self_raise(error: Exception) -> None:
        raise error

    return scenario


def test_another_exception_is_a_divergence(path: str) -> None:
    """What user code raises is compared by its class."""
    record(path, raising(KeyError("x")))
    replay(path, raising(KeyError("y")))
    with pytest.raises(
        Divergence, match=r"the journal: raised 'call' -> 'KeyError'\n  the program: raised call -> ValueError"
    ):
        replay(path, raising(ValueError("x")))


def test_a_signal_that_nobody_expects_is_a_divergence(path: str) -> None:
    """The program has set nothing for what has come."""

    def scenario(system: System) -> object:
        before = system.set_signal(signal.SIGUSR1, lambda *_: None)
        if isinstance(system, Recorder):
            os.kill(os.getpid(), signal.SIGUSR1)
        return [system.time(), system.set_signal(signal.SIGUSR1, before)]

    record(path, scenario)
    replay(path, scenario)
    with Replayer(path) as replayer:
        replayer.set_signal(signal.SIGUSR1, signal.SIG_IGN)
        with pytest.raises(
            Divergence, match=f"signal {int(signal.SIGUSR1)} has come, for which the program has set nothing"
        ):
            replayer.time()


def test_signals_of_a_program_that_is_over(path: str) -> None:
    """On the way out, what the program puts back is not compared any more."""
    record(path, lambda system: system.time())
    with Replayer(path) as replayer:
        with pytest.raises(Divergence):
            replayer.has_dualstack_ipv6()
        assert replayer.get_signal(signal.SIGUSR1) is None
        assert replayer.set_signal(signal.SIGUSR1, signal.SIG_IGN) is None
        assert replayer.set_wakeup_fd(3) == -1
        assert replayer.socket_file("x") is None
        replayer.ring(3, b"x")
        replayer.raise_signal(signal.SIGUSR1)
        replayer.unlink("x")
        replayer.note_error("call", ValueError())


# Threads


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads get hardly any time."""
    monkeypatch.setattr(replayed, "LOOKALIKE_SECONDS", 0.01)
    monkeypatch.setattr(replayed, "THREAD_PATIENCE_SECONDS", 0.02)


def threaded(value: float | None) -> Callable[[System], object]:
    """Return a program one thread of which sends a call, or does not."""

    def scenario(system: System) -> object:
        made: list[float] = []
        with Reactor(system=system) as reactor:

            def send() -> None:
                if value is not None:
                    reactor.call_threadsafe(made.append, value)

            thread = threading.Thread(target=send)
            thread.start()
            reactor.call_later(PATIENCE, reactor.stop)  # something must be alive until the thread has called
            reactor.run_until(lambda: made)
            thread.join()
        return made

    return scenario


@pytest.mark.usefixtures("impatient")
def test_a_thread_that_sends_something_else(path: str) -> None:
    """A call of the same name is taken, after a while, with the arguments of this time."""
    record(path, threaded(1.0))
    assert replay(path, threaded(2.0)) == [2.0]


@pytest.mark.usefixtures("impatient")
def test_a_thread_that_does_not_call(path: str) -> None:
    """The wait is bounded, and what was waited for is named."""
    record(path, threaded(1.0))
    with pytest.raises(Divergence, match=r"no thread has called list\.append through call_threadsafe"):
        replay(path, threaded(None))


@pytest.mark.usefixtures("impatient")
def test_a_thread_that_looks_up_another_name(path: str) -> None:
    """It is told, and so is everybody who asks later."""
    record(path, lambda system: system.time())
    errors: list[ReplayOver] = []

    def look_up(replayer: Replayer) -> None:
        for _ in range(2):
            try:
                replayer.getaddrinfo("127.0.0.1", 80, flags=socket.AI_NUMERICHOST)
            except ReplayOver as over:
                errors.append(over)

    with Replayer(path) as replayer:
        replayer._peek()
        thread = threading.Thread(target=look_up, args=(replayer,))
        thread.start()
        thread.join()
    assert ["a thread looks up" in str(error) for error in errors] == [True, True]


def test_is_alive_asked_in_other_threads(path: str) -> None:
    """Answers to other threads are not in the journal."""

    def scenario(system: System) -> object:
        with Reactor(system=system) as reactor:
            reactor.call_threadsafe(print)
            alive: list[bool] = []
            thread = threading.Thread(target=lambda: alive.append(reactor.is_alive))
            thread.start()
            thread.join()
            return alive, reactor.dump()

    record(path, scenario)
    assert replay(path, scenario)


# Debugging


def test_a_replay_can_be_stopped_at_a_record(path: str) -> None:
    """Whoever asks is called before that record is taken, and only then."""
    record(path, lambda system: [system.time(), system.time(), system.time()])
    stops: list[int] = []
    with Replayer(path, stop_at=1, on_stop=lambda: stops.append(replayer.position)) as replayer:
        for _ in range(3):
            replayer.time()
    assert stops == [1]


def test_a_replayed_selector_is_a_selector(path: str) -> None:
    """Its map and keys are there to be looked at; what fails is forgotten, as the real one does."""

    def scenario(system: System) -> Iterator[object]:
        with Reactor(system=system) as reactor:
            one, other = system.socketpair()
            handler = reactor.attach(Watcher(), one)
            selector = reactor.poller.selector
            assert selector.get_key(one.fileno()).data is handler
            assert len(selector.get_map()) == 2
            handler.wants = 3
            handler.refresh()
            assert selector.get_key(one.fileno()).events == 3
            other.close()
        yield reactor.poller.name

    with Recorder(path) as recorder:
        assert list(scenario(recorder)) == ["RecordedSelector"]
    with Replayer(path) as replayer:
        assert list(scenario(replayer)) == ["ReplayedSelector"]
        replayer.finish()

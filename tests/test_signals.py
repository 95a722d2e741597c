"""Signals in the loop, and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from reactor import Reactor, UsageError, WrongThread
from tests.kit import Recorder, Watched, read_all, tcp_pair, unix_pair

NUMBER = signal.SIGUSR1


def kill(number: int = NUMBER) -> None:
    signal.raise_signal(number)


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Every test leaves the process's signal handling as it was."""
    before = [signal.getsignal(number) for number in (NUMBER, signal.SIGUSR2, signal.SIGINT)]
    yield
    assert [signal.getsignal(number) for number in (NUMBER, signal.SIGUSR2, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_many_callbacks_hear_one_signal(reactor: Watched) -> None:
    """Each that is set is called, in the loop, with its arguments, in the order of setting."""
    heard: list[object] = []
    handles = [reactor.on_signal(NUMBER, heard.append, number) for number in range(3)]
    handles[1].cancel()
    reactor.call_soon(kill)
    reactor.run_until(lambda: heard, timeout=20)

    assert heard == [0, 2]


@pytest.mark.kernel("a thread that a signal strikes")
def test_a_signal_ends_the_wait(reactor: Watched) -> None:
    """A loop asleep with nothing to do hears a signal, whichever thread the kernel gave it to."""
    reactor.on_signal(NUMBER, reactor.stop)
    thread = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), NUMBER))
    reactor.call_soon(thread.start)
    reactor.run(forever=True)
    thread.join()


def test_what_was_before_is_restored_with_the_last_callback(reactor: Watched) -> None:
    """Removing callbacks gives back the previous handler, when the last one goes; removing twice is harmless."""
    heard: list[int] = []

    def previous(number: int, _: object) -> None:
        heard.append(number)

    before = signal.signal(NUMBER, previous)
    try:
        one, two = reactor.on_signal(NUMBER, print), reactor.on_signal(NUMBER, print)
        assert one.cancel()
        assert signal.getsignal(NUMBER) is not previous
        assert two.cancel()
        assert not two.cancel()
        assert signal.getsignal(NUMBER) is previous
        kill()
        assert heard == [NUMBER]
    finally:
        signal.signal(NUMBER, before)


def test_closing_the_reactor_restores_everything() -> None:
    """The end of the reactor is the end of its signals."""
    before = signal.getsignal(NUMBER)
    with Reactor() as reactor:
        reactor.on_signal(NUMBER, print)
        reactor.on_signal(signal.SIGUSR2, print)
    assert signal.getsignal(NUMBER) == before


def test_a_signal_that_was_not_delivered_goes_to_who_had_it_before() -> None:
    """What came too late for the loop is not swallowed."""
    heard: list[int] = []
    before = signal.signal(NUMBER, lambda number, _: heard.append(number))
    try:
        with Reactor() as reactor:
            reactor.on_signal(NUMBER, print)
            kill()
        assert heard == [NUMBER]
    finally:
        signal.signal(NUMBER, before)


def test_somebody_elses_handler_is_not_overwritten(reactor: Watched) -> None:
    """If the action was replaced meanwhile, it stays."""
    handle = reactor.on_signal(NUMBER, print)
    before = signal.getsignal(NUMBER)

    def theirs(number: int, _: object) -> None: ...

    assert signal.signal(NUMBER, theirs) == before
    handle.cancel()
    assert signal.getsignal(NUMBER) is theirs
    signal.signal(NUMBER, signal.SIG_DFL)


def test_two_reactors_hear_one_signal() -> None:
    """The second passes it on to the first; a handle that is gone hears nothing."""
    heard: list[str] = []
    with Watched() as one, Watched() as two:
        first = one.on_signal(NUMBER, heard.append, "one")
        two.on_signal(NUMBER, heard.append, "two")
        kill()
        one.turn()
        two.turn()
        assert sorted(heard) == ["one", "two"]
        first.cancel()
        kill()
        one.turn()
        two.turn()
        assert sorted(heard) == ["one", "two", "two"]


def test_the_second_reactor_gives_a_signal_back_to_the_first() -> None:
    """Whoever comes last puts back whoever still listens."""
    heard: list[str] = []
    with Watched() as one, Watched() as two:
        one.on_signal(NUMBER, heard.append, "one")
        two.on_signal(NUMBER, heard.append, "two").cancel()
        kill()
        one.turn()
    assert heard == ["one"]


def test_reactors_that_take_turns_on_a_signal_do_not_go_round_in_circles() -> None:
    """Set here, there, and here again: one signal is heard once by each, and everything is put back in any order."""
    heard: list[str] = []
    with Watched() as one, Watched() as two:
        first = one.on_signal(NUMBER, heard.append, "one")
        second = two.on_signal(NUMBER, heard.append, "two")
        first.cancel()
        first = one.on_signal(NUMBER, heard.append, "one")
        kill()
        one.turn()
        two.turn()
        assert sorted(heard) == ["one", "two"]
        first.cancel()
        kill()
        two.turn()
        assert sorted(heard) == ["one", "two", "two"]
        second.cancel()


def test_a_flood_of_signals_is_heard_to_the_last(reactor: Watched) -> None:
    """The byte in the pipe is a doorbell only: signals are counted where they cannot be lost."""
    heard: list[int] = []
    reactor.on_signal(NUMBER, heard.append, 1)
    for _ in range(5000):
        signal.raise_signal(NUMBER)
    reactor.turn(2)

    assert len(heard) == 5000


def test_a_signal_during_a_callback_waits_for_its_turn(reactor: Watched) -> None:
    """Each signal is a call of its own: one that comes while another is delivered does not get in before queued calls."""
    heard: list[str] = []

    def first() -> None:
        heard.append("signal")
        if len(heard) == 1:
            kill()
            reactor.call_soon(heard.append, "call")

    reactor.on_signal(NUMBER, first)
    kill()
    reactor.turn(4)
    assert heard == ["signal", "call", "signal"]


def test_a_callback_that_raises_is_told_and_the_next_one_hears(reactor: Watched) -> None:
    """One bad callback does not silence the others."""
    heard: list[int] = []
    reactor.on_signal(NUMBER, lambda: 1 / 0)
    reactor.on_signal(NUMBER, heard.append, 1)
    kill()
    reactor.turn()

    assert heard == [1]
    assert [context.where for context in reactor.raised] == ["signal"]
    reactor.raised.clear()


@pytest.mark.parametrize("number", [signal.SIGKILL, 0, 9999, "x"])
def test_only_signals_that_can_be_handled(reactor: Watched, number: int) -> None:
    """SIGKILL, and what is no signal, are refused."""
    with pytest.raises(UsageError, match="no signal that can be handled"):
        reactor.on_signal(number, print)


@pytest.mark.kernel("which thread is the main one")
def test_only_the_main_thread_sets_signals(reactor: Watched) -> None:
    """Elsewhere Python cannot; the error says so."""
    errors: list[WrongThread] = []

    def work() -> None:
        try:
            reactor.on_signal(NUMBER, print)
        except WrongThread as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert "main thread only" in str(errors[0])


def test_a_handler_set_from_c_is_put_back_to_the_default(reactor: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python cannot restore what it does not know."""
    before = signal.getsignal(NUMBER)
    handle = reactor.on_signal(NUMBER, print)
    reactor._signals._previous[NUMBER] = None
    handle.cancel()
    assert signal.getsignal(NUMBER) is signal.SIG_DFL
    signal.signal(NUMBER, before)


@pytest.mark.kernel("which thread is the main one")
@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_loop_that_ends_in_another_thread_gives_its_signals_back(how: str) -> None:
    """Only the main thread can put a handler back: it does when the next signal comes, which is not swallowed."""
    heard: list[int] = []
    before = signal.signal(NUMBER, lambda number, _: heard.append(number))
    previous = signal.getsignal(NUMBER)
    try:
        with Reactor() as reactor:
            handle = reactor.on_signal(NUMBER, print)
            thread = threading.Thread(target=handle.cancel if how == "cancel" else reactor.close)
            thread.start()
            thread.join()
        kill()
        assert heard == [NUMBER]
        assert signal.getsignal(NUMBER) is previous
    finally:
        signal.signal(NUMBER, before)


def test_a_handler_that_passes_signals_on_to_a_closed_reactor_is_not_called_in_circles(reactor: Watched) -> None:
    """Somebody who has replaced our action, and still calls it when we are gone, hears each signal once."""
    heard: list[int] = []
    handle = reactor.on_signal(NUMBER, print)
    ours = signal.getsignal(NUMBER)
    assert callable(ours)

    def theirs(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        ours(number, frame)

    signal.signal(NUMBER, theirs)
    try:
        handle.cancel()
        kill()
        assert heard == [NUMBER]
    finally:
        signal.signal(NUMBER, signal.SIG_DFL)


def test_a_signal_while_the_reactor_closes_goes_to_who_had_it_before() -> None:
    """It is neither an error in the main thread's code nor lost."""
    heard: list[int] = []
    before = signal.signal(NUMBER, lambda number, _: heard.append(number))
    here, there = unix_pair()
    try:
        with Reactor() as reactor, there:
            reactor.on_signal(NUMBER, print)
            reactor.attach(Recorder(act={"close": lambda _: kill()}), here)
        assert heard == [NUMBER]
    finally:
        signal.signal(NUMBER, before)


# Ctrl-C


def test_ctrl_c_handled_by_the_program_from_inside_run(reactor: Watched) -> None:
    """A callback for SIGINT that is set while the reactor runs replaces the drain; in the end Python's own is back."""
    heard: list[int] = []
    reactor.call_soon(reactor.on_signal, signal.SIGINT, heard.append, 1)
    reactor.call_soon(kill, signal.SIGINT)
    reactor.run_until(lambda: heard, timeout=20)
    assert heard == [1]
    reactor.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_first_interrupt_drains(reactor: Watched) -> None:
    """Ctrl-C lets a stream send what it has queued, then leaves run as KeyboardInterrupt."""
    here, there = tcp_pair()
    stream = reactor.attach(Recorder(act={"connect": lambda stream: stream.write(b"x" * 100)}), here)
    reactor.call_soon(kill, signal.SIGINT)
    with there:

        def read_and_go() -> None:
            if not reactor.is_shutting_down:
                reactor.call_soon(read_and_go)
                return
            read_all(there)
            there.close()

        reactor.call_soon(read_and_go)
        with pytest.raises(KeyboardInterrupt):
            reactor.run()

    assert stream.events == ["connect", "close"]
    assert stream.reason is not None
    assert stream.reason.kind.name == "SHUTDOWN"


def test_the_second_interrupt_stops_at_once(reactor: Watched) -> None:
    """A peer that does not go is not waited for any more."""
    here, there = tcp_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.call_soon(kill, signal.SIGINT)
    reactor.call_later(0.01, kill, signal.SIGINT)
    with there, pytest.raises(KeyboardInterrupt):
        reactor.run()

    assert stream.is_open


def test_the_third_interrupt_strikes_where_it_is(reactor: Watched) -> None:
    """A hook that never returns can be broken."""

    def busy() -> None:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        raise AssertionError("unreachable")

    reactor.call_soon(busy)
    with pytest.raises(KeyboardInterrupt):
        reactor.run_until(lambda: False)


def test_who_handles_interrupts_himself_keeps_them(reactor: Watched) -> None:
    """With another handler set, run does not touch SIGINT."""
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        reactor.call_soon(kill, signal.SIGINT)
        reactor.run()
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_set_during_run_stays(reactor: Watched) -> None:
    """A hook that sets its own SIGINT handler is not undone."""

    def theirs(number: int, _: object) -> None: ...

    reactor.call_soon(signal.signal, signal.SIGINT, theirs)
    reactor.run()
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is theirs

"""Slow phases are told of, seldom and with names; a loop that looks closely does the same as one that does not."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from reactor import DelayError, Reactor
from reactor import watch as module
from tests.kit import Clock, Watched, Watcher, unix_pair

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = unix_pair()
    with here, there:
        yield here, there


@pytest.fixture
def slow() -> Iterator[list[str]]:
    """The warnings of slow phases."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    keep = Keep()
    logging.getLogger("reactor.slow").addHandler(keep)
    yield messages
    logging.getLogger("reactor.slow").removeHandler(keep)


@pytest.fixture
def reactor() -> Iterator[Watched]:
    """A reactor whose clock only moves when it is told to, or instead of waiting."""
    with Watched(system=Clock()) as made:
        yield made
    assert not made.raised, made.raised


def block(reactor: Reactor, seconds: float) -> None:
    """What a hook does that takes time."""
    assert isinstance(reactor.system, Clock)
    reactor.system.moment += seconds


def test_a_slow_hook_is_told_of(reactor: Watched, pair: Pair, slow: list[str]) -> None:
    """The warning names the handlers that were called in the pass, and how long it took."""
    handler = reactor.attach(Watcher(act=lambda each: block(reactor, 0.5)), pair[0])
    pair[1].send(b"x")
    reactor.turn()
    (told,) = slow
    assert told == f"a pass took 0.500 s, in which nothing else was served; called: <Watcher fd={handler.fileno()}>"
    assert reactor.stats().slow_phases == 1
    assert reactor.stats().longest_phase == 0.5


def test_after_a_slow_pass_hooks_are_timed_one_by_one(reactor: Watched, pair: Pair, slow: list[str]) -> None:
    """The next warning, which comes no sooner than some seconds later, names hooks and their times."""
    handler = reactor.attach(Watcher(act=lambda each: block(reactor, 0.5)), pair[0])
    pair[1].send(b"x")
    reactor.turn(4)
    assert len(slow) == 1
    block(reactor, module.SLOW_WARNING_SECONDS)
    reactor.turn()
    (_, told) = slow
    assert told.startswith("a pass took 0.500 s, in which nothing else was served; ")
    assert told.endswith(
        f"on_readable of <Watcher fd={handler.fileno()}> took 0.500 s; 3 more slow phases since the last warning"
    )
    assert reactor.stats().slow_phases == 5


def test_a_slow_pass_in_run_is_told_of_too(reactor: Watched, pair: Pair, slow: list[str]) -> None:
    """Where one pass follows another, the second's clock tells of the first."""

    def act(handler: Watcher) -> None:
        block(reactor, 0.5)
        handler.sock.recv(10)
        reactor.call_later(1, reactor.stop)

    reactor.attach(Watcher(act=act), pair[0])
    pair[1].send(b"x")
    reactor.run()
    assert len(slow) == 1


def test_slow_timers_and_calls_are_told_of(reactor: Watched, slow: list[str]) -> None:
    """They are a phase of their own; the second time they have names."""
    reactor.call_soon(block, reactor, 0.3)
    reactor.turn()
    block(reactor, module.SLOW_WARNING_SECONDS)
    reactor.call_soon(block, reactor, 0.4)
    reactor.turn()
    block(reactor, module.SLOW_WARNING_SECONDS)
    reactor.call_later(0, block, reactor, 0.5)
    reactor.turn()
    assert slow == [
        "timers and calls took 0.300 s, in which nothing else was served; hooks will be timed from now on",
        "timers and calls took 0.400 s, in which nothing else was served; block took 0.400 s",
        "timers and calls took 0.500 s, in which nothing else was served; block took 0.500 s",
    ]


def test_only_some_are_named(slow: list[str]) -> None:
    """The longest ones come first."""
    with Watched(system=Clock(), debug=True) as reactor:
        for number in range(module.NAMED_MAX + 2):
            reactor.call_soon(block, reactor, 0.01 * number)
        reactor.turn()
    (told,) = slow
    assert "served; block took 0.060 s, block took 0.050 s" in told
    assert told.endswith("and 2 more")


def test_what_happens_between_runs_is_nobodys(reactor: Watched, slow: list[str]) -> None:
    """A host loop may take its time between two `run_once`."""
    reactor.turn()
    block(reactor, 100)
    reactor.turn(2)
    assert not slow
    assert reactor.stats().longest_phase == 0


def test_waiting_is_not_slow(reactor: Watched, slow: list[str]) -> None:
    """However long a poll takes."""
    reactor.call_later(3600, print)
    reactor.run_until(lambda: not reactor.stats().timers)
    assert not slow


def test_it_can_be_set_or_left_out(pair: Pair, slow: list[str]) -> None:
    """`slow_phase` is a number of seconds, or None for no warnings; the longest phase is kept all the same."""
    for limit, warnings in ((0.7, 0), (None, 0), (0.4, 1)):
        slow.clear()
        with Watched(system=Clock(), slow_phase=limit) as reactor:
            reactor.call_soon(block, reactor, 0.5)
            reactor.turn()
            assert len(slow) == warnings
            assert reactor.stats().longest_phase == 0.5
    with pytest.raises(DelayError):
        Reactor(slow_phase=float("nan"))


def test_to_be_timed_ends(reactor: Watched, slow: list[str]) -> None:
    """After some passes without a slow one the loop looks no more closely than before."""
    reactor.call_soon(block, reactor, 0.5)
    reactor.turn()
    assert reactor._plain_until == 0
    reactor.turn(module.CLOSE_PASSES + 1)
    assert reactor._plain_until > reactor.stats().passes


def test_what_a_timed_hook_raises_is_told_as_ever(virtual: Watched, pair: Pair) -> None:
    """In debug mode, hooks, timers and calls that raise are reported, and close their handler."""

    def fail(*_: object) -> None:
        raise ValueError("here")

    handler = virtual.attach(Watcher(act=fail), pair[0])
    pair[1].send(b"x")
    virtual.call_soon(fail)
    virtual.call_later(0, fail)
    virtual.turn(2)
    assert [context.where for context in virtual.raised] == ["timer", "call", "event"]
    assert not handler.is_open
    virtual.raised.clear()

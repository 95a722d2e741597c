"""The loop: the order of a pass, ways to run it, calls, timers, errors, looking in."""

from __future__ import annotations

import gc
import math
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from reactor import (
    READ,
    AlreadyRunning,
    CloseReason,
    DelayError,
    ErrorContext,
    Handler,
    Reactor,
    ReactorClosed,
    WrongThread,
)
from reactor.loop import WAIT_SECONDS_MAX
from tests.kit import PATIENCE, Clock, Recorder, Watched, Watcher, unix_pair
from tests.worlds import System


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = unix_pair()
    with here, there:
        yield here, there


# The pass


def test_the_order_of_a_pass(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Due timers, calls queued before this pass, poll, dispatch, on_close: in this order."""
    order: list[str] = []

    @attrs.define(eq=False)
    class Noting(Handler):
        def on_readable(self) -> None:
            order.append("readable")
            self.sock.recv(1)
            self.reactor.call_soon(order.append, "call made in dispatch")
            self.close()

        def on_close(self, reason: CloseReason) -> None:
            order.append("close")

    reactor.attach(Noting(), pair[0])
    pair[1].send(b"x")
    reactor.call_soon(order.append, "call")
    reactor.call_later(0, order.append, "timer")
    reactor.run_once(0)
    assert order == ["timer", "call", "readable", "close"]
    reactor.run_once(0)
    assert order[4:] == ["call made in dispatch"]


def test_timers_without_delay_do_not_starve_descriptors(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A timer that sets itself anew, and a call that queues itself anew, let the poll have its turn in each pass."""
    handler = reactor.attach(Watcher(act=lambda handler: handler.close()), pair[0])

    def again() -> None:
        if handler.is_open:
            reactor.call_later(0, again)

    def soon() -> None:
        if handler.is_open:
            reactor.call_soon(soon)

    again()
    soon()
    reactor.turn()
    pair[1].send(b"x")
    reactor.turn(2)

    assert handler.heard == ["readable", "close"]


def test_run_returns_when_nothing_is_alive(reactor: Watched) -> None:
    """No handler, no timer, no call: run is over; it may be run again."""
    reactor.run()
    made: list[int] = []
    reactor.call_later(0, reactor.call_soon, made.append, 1)
    reactor.run()
    reactor.call_soon(made.append, 2)
    reactor.run()

    assert made == [1, 2]


def test_run_does_not_wait_for_what_its_last_call_has_ended(reactor: Watched) -> None:
    """When a call or timer ends the last thing that counted, the pass does not wait any more."""
    reactor.call_later(3600, print).unref()
    reactor.call_soon(lambda: None)
    reactor.run()


def test_an_unreffed_timer_runs_while_something_else_lives(virtual: Watched) -> None:
    """Housekeeping goes on beside real work, and ends with it."""
    made: list[float] = []
    virtual.call_every(1, lambda: made.append(virtual.now)).unref()
    virtual.call_later(3.5, lambda: None)
    virtual.run()

    assert len(made) == 3


@pytest.mark.kernel("a thread beside the loop")
def test_run_forever_waits_for_stop(reactor: Watched) -> None:
    """With forever, run goes on with nothing alive, until a thread stops it."""
    thread = threading.Thread(target=lambda: reactor.call_threadsafe(reactor.stop))
    thread.start()
    reactor.run(forever=True)
    thread.join()


def test_stop_before_run_counts(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """A stop that comes first makes the next run return at once, and only that one."""
    handler = reactor.attach(Watcher(act=lambda handler: handler.close()), pair[0])
    reactor.stop()
    reactor.run()
    assert handler.is_open
    pair[1].send(b"x")
    reactor.run()
    assert not handler.is_open


def test_stop_finishes_the_pass(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """What is ready in the pass of the stop is served, what is closed is told, and nothing is waited for."""
    handler = reactor.attach(Watcher(act=lambda handler: handler.close()), pair[0])
    pair[1].send(b"x")
    reactor.call_soon(reactor.stop)
    reactor.run()

    assert handler.heard == ["readable", "close"]


@pytest.mark.kernel("a thread beside the loop")
def test_stop_from_a_thread_ends_the_wait(reactor: Watched) -> None:
    """stop needs no call_threadsafe."""
    started = threading.Event()

    def stop() -> None:
        started.wait(PATIENCE)
        reactor.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    reactor.call_soon(started.set)
    reactor.run(forever=True)
    thread.join()


def test_run_once_counts_what_it_called(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Timers, calls, events and closes each count as one."""
    reactor.attach(Watcher(act=lambda handler: handler.close()), pair[0])
    assert reactor.run_once(0) == 1  # attach's own call
    pair[1].send(b"x")
    reactor.call_soon(lambda: None)
    reactor.call_later(0, lambda: None)

    assert reactor.run_once() == 4
    assert reactor.run_once(0) == 0


def test_run_until_tells_whether_it_came_true(virtual: Watched) -> None:
    """It ends with the predicate, with the timeout, with stop, and when nothing is left that could make it true."""
    made: list[int] = []
    virtual.call_later(2, made.append, 1)
    assert not virtual.run_until(lambda: made, timeout=1)
    assert virtual.run_until(lambda: made, timeout=10)
    assert virtual.run_until(lambda: True, timeout=0)
    assert not virtual.run_until(lambda: False)
    virtual.call_soon(virtual.stop)
    virtual.call_later(5, print)
    assert not virtual.run_until(lambda: False)


@pytest.mark.parametrize("inner", ["run", "run_once", "run_until"])
def test_running_does_not_nest(reactor: Watched, inner: str) -> None:
    """run inside run is an error that says so, in the hook; the outer one goes on."""
    arguments: list[Any] = [lambda: True] if inner == "run_until" else []
    reactor.call_soon(lambda: getattr(reactor, inner)(*arguments))
    reactor.run()

    (context,) = reactor.raised
    reactor.raised.clear()
    assert isinstance(context.exc, AlreadyRunning)
    assert "do not nest" in str(context.exc)


def test_several_reactors_live_side_by_side() -> None:
    """One may run inside a call of another; they share nothing."""
    made: list[str] = []
    with Watched() as one, Watched() as other:
        other.call_soon(made.append, "inner")
        one.call_soon(other.run)
        one.call_soon(made.append, "outer")
        one.run()

    assert made == ["inner", "outer"]


@pytest.mark.kernel("a thread beside the loop")
def test_reactors_in_threads_do_not_meet() -> None:
    """Four reactors in four threads each serve their own timers."""
    made: list[list[int]] = [[] for _ in range(4)]

    def work(mine: list[int]) -> None:
        with Reactor() as reactor:
            for number in range(100):
                reactor.call_later(number / 1e5, mine.append, number)
            reactor.run()

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert made == [list(range(100))] * 4


@pytest.mark.parametrize("call", ["call_soon", "call_later", "close_handler", "refresh", "detach", "attach"])
def test_a_foreign_thread_is_refused(reactor: Watched, pair: tuple[socket.socket, socket.socket], call: str) -> None:
    """While the reactor runs in one thread, a call from another raises, and says what to use instead."""
    handler = reactor.attach(Watcher(), pair[0])
    calls: dict[str, Callable[[], object]] = {
        "call_soon": lambda: reactor.call_soon(print),
        "call_later": lambda: reactor.call_later(1, print),
        "close_handler": handler.close,
        "refresh": handler.refresh,
        "detach": handler.detach,
        "attach": lambda: reactor.attach(Watcher(), pair[1]),
    }
    errors: list[Exception] = []

    def intrude() -> None:
        try:
            calls[call]()
        except WrongThread as error:
            errors.append(error)
        reactor.stop()

    thread = threading.Thread(target=intrude)
    reactor.call_soon(thread.start)
    reactor.call_soon(thread.join)
    reactor.run()

    assert "call_threadsafe" in str(errors[0])
    assert handler.is_open


def test_it_may_be_made_in_one_thread_and_run_in_another(reactor: Watched) -> None:
    """Only running ties a reactor to a thread."""
    made: list[int | None] = []
    reactor.call_soon(lambda: made.append(threading.get_ident()))
    thread = threading.Thread(target=reactor.run)
    thread.start()
    thread.join()

    assert made == [thread.ident]


# The end


def test_close_tells_every_handler(pair: tuple[socket.socket, socket.socket]) -> None:
    """The end of the with block closes handlers, drops timers, frees descriptors; twice is allowed."""
    with Watched() as reactor:
        one, other = reactor.attach(Watcher(), pair[0]), reactor.attach(Watcher(), pair[1])
        timer = reactor.call_later(1, print)
        reactor.call_soon(print)
    reactor.close()

    assert (one.heard, other.heard) == (["close"], ["close"])
    assert one.reason is not None
    assert one.reason.kind.name == "SHUTDOWN"
    assert timer.callback is None
    assert reactor.is_closed


@pytest.mark.parametrize(
    "call",
    [
        lambda reactor: reactor.run(),
        lambda reactor: reactor.run_once(),
        lambda reactor: reactor.call_soon(print),
        lambda reactor: reactor.call_later(1, print),
        lambda reactor: reactor.call_threadsafe(print),
        lambda reactor: reactor.attach(Watcher(), None),
        lambda reactor: reactor.listen(Watcher, ":0"),
        lambda reactor: reactor.connect(Watcher(), "localhost:1"),
        lambda reactor: reactor.on_signal(2, print),
        lambda reactor: reactor.shutdown(),
    ],
)
def test_use_after_close_is_an_error(call: Callable[[Reactor], object]) -> None:
    """Whatever is asked of a closed reactor raises ReactorClosed."""
    reactor = Reactor()
    reactor.close()
    with pytest.raises(ReactorClosed, match="the reactor is closed"):
        call(reactor)


def test_close_inside_run_is_an_error(reactor: Watched) -> None:
    """A hook cannot close the reactor under itself; the error says what to do."""
    reactor.call_soon(reactor.close)
    reactor.run()

    (context,) = reactor.raised
    reactor.raised.clear()
    assert "call stop(), and close() after run()" in str(context.exc)


def test_closing_during_close_is_told_too(pair: tuple[socket.socket, socket.socket]) -> None:
    """An on_close hook that closes its neighbour while the reactor closes changes nothing for either."""
    others: list[Watcher] = []

    @attrs.define(eq=False)
    class Closing(Watcher):
        def on_close(self, reason: CloseReason) -> None:
            self.heard.append("close")
            for other in others:
                other.close()

    with Watched() as reactor:
        others += [reactor.attach(Closing(), pair[0]), reactor.attach(Closing(), pair[1])]

    assert [other.heard for other in others] == [["close"], ["close"]]


@pytest.mark.kernel("a simulation keeps what is open, to tell of it at its end")
def test_a_reactor_that_was_never_closed_says_so() -> None:
    """Garbage collection warns, names the place in debug mode, and frees the descriptors."""
    reactor = Reactor(debug=True)
    with pytest.warns(ResourceWarning, match=r"a reactor was never closed, made at .*test_loop.py:\d+"):
        del reactor
        gc.collect()


def test_a_failed_construction_leaves_nothing_open() -> None:
    """If the waker cannot be made, the selector is closed again."""

    class NoPairs(System):
        def socketpair(self) -> tuple[socket.socket, socket.socket]:
            raise OSError(24, "Too many open files")

    with pytest.raises(OSError, match="Too many"):
        Reactor(system=NoPairs())


# Calls and timers


def test_equal_calls_may_be_queued_once(reactor: Watched) -> None:
    """idempotent drops a call that waits already; once it has run, it may be queued again."""
    made: list[int] = []
    for _ in range(3):
        reactor.call_threadsafe(made.append, 1, idempotent=True)
        reactor.call_threadsafe(made.append, 2)
    reactor.turn()
    assert made == [1, 2, 2, 2]
    reactor.call_threadsafe(made.append, 1, idempotent=True)
    reactor.turn()
    assert made == [1, 2, 2, 2, 1]


def test_timers_are_never_early(virtual: Watched) -> None:
    """Each fires when its moment has come, in order, however the waits are cut."""
    fired: list[tuple[float, float]] = []
    for delay in (0.5, 0.001, 2.0, 0.25, 100 * 24 * 3600.0):
        due = virtual.time() + delay
        virtual.call_later(delay, lambda due=due: fired.append((due, virtual.time())))
    virtual.run()

    assert [due for due, _ in fired] == sorted(due for due, _ in fired)
    assert all(now >= due for due, now in fired)
    assert len(fired) == 5


def test_a_delay_counts_from_the_call_not_from_the_pass(virtual: Watched) -> None:
    """A hook that took long sets its timer by the real time, so that it does not fire early."""
    clock = virtual.system
    assert isinstance(clock, Clock)
    fired: list[float] = []

    def slow() -> None:
        clock.moment += 5
        virtual.call_later(1, lambda: fired.append(clock.moment))

    begin = clock.moment
    virtual.call_soon(slow)
    virtual.run()

    assert fired == [begin + 6]


def test_waits_are_clamped(virtual: Watched) -> None:
    """No wait is longer than a day, so that no selector overflows; epoll takes 24 days at most."""
    assert isinstance(virtual.system, Clock)
    virtual.call_later(1e9, virtual.stop)
    virtual.run()

    assert max(wait for wait in virtual.system.waits if wait is not None) == WAIT_SECONDS_MAX


def test_an_idle_loop_does_not_poll(virtual: Watched) -> None:
    """With one timer an hour away, one wait of an hour is all."""
    assert isinstance(virtual.system, Clock)
    virtual.call_later(3600, lambda: None)
    virtual.run()

    assert [wait for wait in virtual.system.waits if wait] == [3600]


@pytest.mark.parametrize("delay", [math.nan, math.inf])
def test_times_are_checked(reactor: Watched, delay: float) -> None:
    """A timer with NaN, and every other time that is none, is refused."""
    for call in (reactor.call_later, reactor.call_at, reactor.call_every):
        with pytest.raises(DelayError):
            call(delay, print)
    with pytest.raises(DelayError):
        reactor.run_once(delay)
    with pytest.raises(DelayError):
        reactor.run_until(print, delay)


def test_next_timeout_is_for_embedding(virtual: Watched) -> None:
    """How long another loop may wait: not at all, until the next timer, or for ever."""
    assert virtual.next_timeout() is None
    virtual.call_later(2, print)
    assert virtual.next_timeout() == 2
    virtual.call_soon(lambda: None)
    assert virtual.next_timeout() == 0
    virtual.run_once(0)
    assert virtual.next_timeout() == 2


def test_the_selectors_descriptor_is_readable_when_there_is_work() -> None:
    """Another loop can watch ours by its descriptor, and serve it by run_once(0)."""
    if not hasattr(selectors.DefaultSelector, "fileno"):
        pytest.skip("this platform's default selector has no descriptor")
    with Watched() as inner, selectors.SelectSelector() as outer:
        outer.register(inner.fileno(), READ)
        assert outer.select(0) == []
        made: list[int] = []
        inner.call_threadsafe(made.append, 1)
        assert outer.select(PATIENCE)
        inner.turn(2)
        assert made == [1]
        assert outer.select(0) == []


# Errors


def test_a_call_that_raises_is_told_and_the_rest_goes_on(reactor: Watched) -> None:
    """Calls and timers without an owner are reported; their neighbours run."""
    made: list[int] = []

    def fail() -> None:
        raise ValueError("here")

    reactor.call_soon(fail)
    reactor.call_soon(made.append, 1)
    reactor.call_later(0, fail)
    reactor.call_later(0, made.append, 2)
    reactor.turn()

    assert sorted(made) == [1, 2]
    assert [(context.where, context.handler) for context in reactor.raised] == [("timer", None), ("call", None)]
    assert reactor.stats().errors == 2
    reactor.raised.clear()


def test_a_timer_that_raises_fires_once(virtual: Watched) -> None:
    """The error does not set it again."""

    def fail() -> None:
        raise ValueError("here")

    virtual.call_later(1, fail)
    virtual.run()

    assert len(virtual.raised) == 1
    virtual.raised.clear()


@pytest.mark.parametrize("exit_", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["call", "timer", "event", "on_close"])
def test_exits_leave_run_after_clean_up(
    reactor: Watched, pair: tuple[socket.socket, socket.socket], exit_: type[BaseException], where: str
) -> None:
    """KeyboardInterrupt and SystemExit come out of run; the handler is closed and told, no call and no timer is lost."""

    def leave(*_: object) -> None:
        raise exit_

    @attrs.define(eq=False)
    class Leaving(Watcher):
        def on_close(self, reason: CloseReason) -> None:
            self.heard.append("close")
            if where == "on_close":
                raise exit_

    handler = reactor.attach(Leaving(), pair[0])
    reactor.turn()
    made: list[str] = []
    if where == "call":
        handler.call_soon(leave)
    elif where == "timer":
        handler.call_later(0, leave)
    elif where == "event":
        handler.act = leave
        pair[1].send(b"x")
    else:
        handler.close()
    reactor.call_soon(made.append, "call")
    reactor.call_later(0, made.append, "timer")
    with pytest.raises(exit_):
        reactor.run()
    assert handler.heard[-1] == "close"
    assert reactor.raised == []
    reactor.run()

    assert sorted(made) == ["call", "timer"]
    assert handler.heard.count("close") == 1


def test_errors_are_logged_by_default(pair: tuple[socket.socket, socket.socket], logs: list[str]) -> None:
    """The default on_error says what was called, of which handler; a __repr__ that raises does not break it."""

    @attrs.define(eq=False, repr=False)
    class Rude(Watcher):
        def __repr__(self) -> str:
            raise ValueError("no")

        def on_readable(self) -> None:
            raise ValueError("here")

    with Reactor() as reactor:
        fd = pair[0].fileno()
        reactor.attach(Rude(), pair[0])
        pair[1].send(b"x")
        reactor.call_soon(lambda: 1 / 0)
        reactor.run_once(0)

    assert logs[0] == "error in call"
    assert logs[1].startswith("error in event of <")
    assert logs[1].endswith(f"Rude fd={fd}>")
    logs.clear()


def test_an_error_hook_that_raises_is_logged_not_recursive(logs: list[str]) -> None:
    """When on_error itself raises, both errors are in the log, and the loop goes on."""

    class Broken(Reactor):
        def on_error(self, context: ErrorContext) -> None:
            raise ValueError("in on_error")

    with Broken() as reactor:
        reactor.call_soon(lambda: 1 / 0)
        reactor.run()

    assert logs == ["on_error raised; what it was told of: call: ZeroDivisionError('division by zero')"]
    logs.clear()


# Looking in


def test_stats_count(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """The snapshot has what happened, and what is there."""
    reactor.attach(Watcher(act=lambda handler: handler.sock.recv(1)), pair[0])
    reactor.call_later(60, print)
    pair[1].send(b"x")
    reactor.turn(2)
    reactor.call_soon(print)
    stats = reactor.stats()

    assert (stats.passes, stats.events, stats.handlers, stats.timers, stats.calls_queued) == (2, 1, 1, 1, 1)
    assert stats.seconds_idle >= 0
    reactor.turn()


def test_dump_shows_what_keeps_it_going(reactor: Watched, pair: tuple[socket.socket, socket.socket]) -> None:
    """Every handler with what it waits for, every timer, every call."""
    handler = reactor.attach(Watcher(), pair[0])
    idle = reactor.attach(Watcher(0), pair[1])
    reactor.call_later(60, print)
    handler.call_later(60, reactor.stop)
    reactor.call_soon(reactor.stop)
    text = reactor.dump()

    assert f"<Watcher fd={handler.fileno()}> waits to read" in text
    assert f"<Watcher fd={idle.fileno()}> waits to be resumed" in text
    assert "timer print due in" in text
    assert f"timer Loop.stop of <Watcher fd={handler.fileno()}> due in" in text
    assert "call Loop.stop" in text
    assert "not running" in text
    assert repr(reactor) == f"<Watched on {reactor.poller.name}, 2 handlers>"


def test_the_reactor_knows_whether_it_runs(reactor: Watched) -> None:
    """is_running holds inside a pass."""
    seen: list[bool] = []
    reactor.call_soon(lambda: seen.append(reactor.is_running))
    assert reactor.is_alive
    reactor.turn()

    assert seen == [True]
    assert not reactor.is_running
    assert not reactor.is_alive


def test_a_falsy_selector_is_used_all_the_same() -> None:
    """Only None means the default."""

    class Empty(selectors.DefaultSelector):
        def __len__(self) -> int:
            return 0

    selector = Empty()
    with Watched(selector=selector) as reactor:
        assert reactor.poller.selector is selector


@pytest.mark.parametrize("how", ["call_soon", "call_threadsafe", "timer", "hook"])
def test_no_event_comes_before_on_connect(reactor: Watched, how: str) -> None:
    """Wherever attach is called from, with bytes waiting already, on_connect is first."""
    here, there = unix_pair()
    there.send(b"hello")
    stream = Recorder()
    if how == "hook":
        other, other_there = unix_pair()
        reactor.attach(Recorder(act={"connect": lambda _: reactor.attach(stream, here)}), other)
    elif how == "timer":
        reactor.call_later(0, reactor.attach, stream, here)
    else:
        getattr(reactor, how)(reactor.attach, stream, here)
    reactor.until(lambda: stream.received)
    assert stream.events == ["connect", "data"]
    there.close()
    if how == "hook":
        other_there.close()


@pytest.mark.parametrize("how", ["timer", "call", "dispatch"])
def test_no_hook_at_all_comes_before_on_connect(reactor: Watched, how: str) -> None:
    """A stream that is written to and closed in the very call that attaches it hears on_connect before the rest."""
    here, there = unix_pair()
    stream = Recorder()

    def attach(_: object = None) -> None:
        reactor.attach(stream, here)
        stream.write(b"x" * 5_000_000)
        if how != "call":
            stream.call_later(0, stream.on_timeout, "own")

    if how == "timer":
        reactor.call_later(0, attach)
    elif how == "call":
        reactor.call_soon(attach)
    else:
        other, other_there = unix_pair()
        reactor.attach(Watcher(act=lambda handler: (attach(), handler.close())), other)  # type: ignore[func-returns-value]
        other_there.send(b"x")
    reactor.until(lambda: len(stream.events) > 1)
    there.close()
    if how == "dispatch":
        other_there.close()
    assert stream.events[0] == "connect"


def test_closed_before_it_was_told_of_its_connection(reactor: Watched) -> None:
    """A stream that is aborted right after attach hears on_close alone."""
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    stream.abort()
    reactor.turn()
    there.close()
    assert stream.events == ["close"]


def test_an_exit_in_on_close_does_not_stop_the_closing() -> None:
    """Everybody is told, everything is freed, and then the exit comes out of close."""
    pairs = [unix_pair() for _ in range(3)]

    @attrs.define(eq=False)
    class Leaving(Watcher):
        def on_close(self, reason: CloseReason) -> None:
            self.heard.append("close")
            raise SystemExit

    reactor = Watched()
    handlers = [reactor.attach(Leaving(), here) for here, _ in pairs]
    with pytest.raises(SystemExit):
        reactor.close()
    for _, there in pairs:
        there.close()
    assert [handler.heard for handler in handlers] == [["close"]] * 3
    assert reactor.is_closed


def test_an_exit_in_on_connect_is_not_charged_to_the_acceptor(reactor: Watched) -> None:
    """SystemExit closes the connection whose hook raised it; the listener lives."""

    def leave(_: Recorder) -> None:
        raise SystemExit

    acceptor = reactor.listen(lambda: Recorder(act={"connect": leave}), "127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", acceptor.port)):
        with pytest.raises(SystemExit):
            reactor.run()
    assert acceptor.is_open


def test_a_signal_handler_that_raises_does_not_deafen_the_loop(reactor: Watched) -> None:
    """An exception that strikes in the waker's own code leaves run; later calls from threads are heard."""
    reader = reactor._waker.sock

    class Struck:
        def __getattr__(self, name: str) -> Any:
            return getattr(reader, name)

        def recv(self, _: int) -> bytes:
            raise KeyboardInterrupt

    reactor._waker.sock = Struck()  # type: ignore[assignment]
    reactor.call_threadsafe(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        reactor.run(forever=True)
    reactor._waker.sock = reader
    thread = threading.Thread(target=reactor.call_threadsafe, args=(reactor.stop,))
    thread.start()
    thread.join()
    reactor.run(forever=True)


# What comes from threads and signal handlers


def test_a_run_does_not_end_before_a_call_that_was_sent_last(
    reactor: Watched, pair: tuple[socket.socket, socket.socket]
) -> None:
    """When all that is left is what the last hook has sent through call_threadsafe, it is called before run returns."""
    made: list[int] = []

    def last(handler: Watcher) -> None:
        handler.close()
        reactor.call_threadsafe(made.append, 1)

    reactor.attach(Watcher(act=last), pair[0])
    pair[1].send(b"x")
    reactor.run()
    assert made == [1]


def test_a_call_that_waits_in_the_inbox_keeps_the_reactor_alive(reactor: Watched) -> None:
    """is_alive, stats and dump know of a call that the loop has not taken yet."""
    assert not reactor.is_alive
    reactor.call_threadsafe(print)
    assert reactor.is_alive
    assert reactor.stats().calls_queued == 1
    assert "call print" in reactor.dump()
    reactor.turn()
    assert not reactor.is_alive


def test_a_call_may_send_itself_again_and_again(reactor: Watched) -> None:
    """What is taken from the inbox is what was there: a call that sends another lets the pass end."""
    made: list[int] = []

    def again() -> None:
        made.append(1)
        reactor.call_threadsafe(again)

    reactor.call_threadsafe(again)
    reactor.turn(10)
    assert 1 < len(made) <= 10


def test_a_stop_from_a_thread_between_runs_counts(reactor: Watched) -> None:
    """The next run returns at once, as after a stop from its own thread."""
    thread = threading.Thread(target=reactor.stop)
    thread.start()
    thread.join()
    reactor.run(forever=True)


class Counting(System):
    """A system that notes who runs."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def enter(self) -> int:
        self.heard.append("enter")
        return super().enter()

    def leave(self) -> None:
        self.heard.append("leave")


def test_the_system_hears_of_every_run() -> None:
    """It is told when a thread begins to run the reactor, and when it has ended, be it by an exception."""
    system = Counting()
    with Reactor(system=system) as reactor:
        reactor.run()
        reactor.call_soon(sys.exit)
        with pytest.raises(SystemExit):
            reactor.run()
    assert system.heard == ["enter", "leave"] * 2


def test_a_reactor_that_is_given_no_system_asks_for_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`System.default` can be replaced for a whole program."""
    system = Counting()
    monkeypatch.setattr("reactor.system.System.default", lambda: system)
    with Reactor() as reactor:
        assert reactor.system is system

"""Calls in other threads: results come into the loop, for those who are still there; the rest is bounded and dropped."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import attrs
import pytest

from reactor import (
    CloseKind,
    NotConnected,
    PoolFull,
    Reactor,
    ReactorClosed,
    ThreadCall,
    ThreadOptions,
    UsageError,
    WrongThread,
)
from reactor.testing import Simulation
from tests.kit import PATIENCE, Recorder, Watched, unix_pair

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="none")


@attrs.define(eq=False)
class Gate:
    """Work that says that it has begun, and stays until it is let through."""

    begun: threading.Event = attrs.field(factory=threading.Event)
    open: threading.Event = attrs.field(factory=threading.Event)
    error: BaseException | None = None

    def __call__(self) -> str:
        self.begun.set()
        assert self.open.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return "through"


def test_the_result_comes_into_the_loop(reactor: Watched) -> None:
    """The function runs in a thread of the pool, `then` in the loop's; `run` goes on until the result has come."""
    heard: list[Any] = []

    def work(one: int, other: int) -> tuple[str, int]:
        return threading.current_thread().name, one + other

    def then(result: tuple[str, int]) -> None:
        heard.append((threading.current_thread(), *result))

    call = reactor.run_in_thread(work, 1, 2, then=then)
    assert isinstance(call, ThreadCall)
    assert call.is_pending
    assert reactor.is_alive
    assert reactor.stats().thread_calls == 1
    reactor.run()
    assert heard == [(threading.current_thread(), "reactor-calls", 3)]
    assert not call.is_pending
    assert not call.cancel()
    assert reactor.stats().thread_calls == 0


def test_nobody_need_care_for_the_result(reactor: Watched) -> None:
    """Without `then` the call is made all the same, and `run` goes on until it has been."""
    done = threading.Event()
    reactor.run_in_thread(done.set)
    reactor.run()
    assert done.is_set()


def test_context_variables_are_seen_in_the_thread(reactor: Watched) -> None:
    """The thread sees what stood in them when the call was asked for, and changes nobody else's."""
    heard: list[str] = []

    def work() -> str:
        seen = REQUEST.get()
        REQUEST.set("changed")
        return seen

    token = REQUEST.set("17")
    reactor.run_in_thread(work, then=heard.append)
    REQUEST.set("18")
    reactor.run()
    assert heard == ["17"]
    assert REQUEST.get() == "18"
    REQUEST.reset(token)


def test_an_error_goes_to_on_error(reactor: Watched) -> None:
    """What the function raises is handed over, and that is all."""
    heard: list[Any] = []
    reactor.run_in_thread(int, "x", then=heard.append, on_error=heard.append)
    reactor.run()
    assert [type(each) for each in heard] == [ValueError]
    heard.clear()


@pytest.mark.parametrize("who", ["function", "then", "on_error"])
def test_what_nobody_catches_closes_the_owner(reactor: Watched, who: str) -> None:
    """An error without `on_error`, and what one of the two callbacks raises, is charged to the owner: HANDLER_ERROR."""
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    error = ValueError("no")

    def fail(*_: Any) -> None:
        raise error

    work: Callable[[], Any] = (lambda: 1) if who == "then" else fail
    stream.run_in_thread(work, then=fail if who == "then" else None, on_error=fail if who == "on_error" else None)
    reactor.until_closed(stream)
    assert stream.kind is CloseKind.HANDLER_ERROR
    assert stream.events == ["connect", "error", "close"]
    assert reactor.raised.pop().exc is error
    assert not reactor.raised
    there.close()


def test_without_an_owner_it_goes_to_the_reactor(reactor: Watched) -> None:
    """An error that nobody else wants is reported once; the loop goes on."""
    reactor.run_in_thread(int, "x")
    reactor.run_in_thread(str, then=int)
    reactor.run()
    assert sorted(context.where for context in reactor.raised) == ["run_in_thread", "then"]
    assert {type(context.exc) for context in reactor.raised} == {ValueError}
    reactor.raised.clear()


def test_an_exit_leaves_run(reactor: Watched) -> None:
    """SystemExit in the thread leaves `run`, as one in a hook does; `on_error` is for errors."""
    reactor.run_in_thread(Gate(open=_set(), error=SystemExit(3)), on_error=print)
    with pytest.raises(SystemExit):
        reactor.run()
    reactor.run()


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_nothing_is_delivered_after_the_owners_end(reactor: Watched) -> None:
    """The result of a call whose owner has been closed meanwhile is dropped, an error too; `run` does not wait for it."""
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    gates = [Gate(), Gate(error=ValueError("nobody hears this"))]
    heard: list[Any] = []
    calls = [stream.run_in_thread(gate, then=heard.append, on_error=heard.append) for gate in gates]
    for gate in gates:
        assert gate.begun.wait(PATIENCE)
    assert (
        f"call in a thread of <Recorder fd={here.fileno()}>: Gate" in reactor.dump() or "call in a thread" in reactor.dump()
    )
    stream.abort()
    assert not any(call.is_pending for call in calls)
    reactor.run()
    for gate in gates:
        gate.open.set()
    reactor.close()
    assert heard == []
    there.close()


def test_an_owner_has_to_be_there(reactor: Watched) -> None:
    """Before and after its connection a handler owns no calls; another reactor's handler owns none here."""
    stream = Recorder()
    with pytest.raises(NotConnected):
        stream.run_in_thread(print)
    here, there = unix_pair()
    reactor.attach(stream, here)
    with Reactor() as other, pytest.raises(UsageError, match="belongs to another reactor"):
        other.run_in_thread(print, owner=stream)
    stream.abort()
    with pytest.raises(NotConnected):
        reactor.run_in_thread(print, owner=stream)
    there.close()


def test_a_call_is_cancelled(selector: Callable[[], Any]) -> None:
    """One that waits for a thread is never made; of one that has begun the result is dropped; the loop waits for neither."""
    with Watched(selector=selector(), threads=ThreadOptions(threads=1)) as reactor:
        gate, late, heard = Gate(), Gate(), []  # type: ignore[var-annotated]
        running, waiting = reactor.run_in_thread(gate, then=heard.append), reactor.run_in_thread(late, then=heard.append)
        assert gate.begun.wait(PATIENCE)
        assert running.cancel()
        assert waiting.cancel()
        assert not waiting.cancel()
        reactor.run()
        gate.open.set()
        last = reactor.run_in_thread(lambda: "last", then=heard.append)
        reactor.run()
        assert heard == ["last"]
        assert not late.begun.is_set()
        assert not last.is_pending


def test_unref_lets_run_return(reactor: Watched) -> None:
    """A call that nobody need wait for keeps `run` no more; its result still comes if the loop goes on."""
    gate = Gate()
    heard: list[str] = []
    call = reactor.run_in_thread(gate, then=heard.append)
    assert call.unref() is call
    call.unref()
    reactor.run()
    assert call.is_pending
    gate.open.set()
    reactor.call_later(0, len, "")
    while not heard:
        reactor.run_once(PATIENCE)
    call.unref()
    reactor.run_in_thread(str, 0, then=heard.append)
    reactor.run()
    assert heard == ["through", "0"]


def test_one_call_too_many_is_refused(selector: Callable[[], Any]) -> None:
    """No more wait than the options allow: PoolFull, at once, and those who wait are served."""
    with Watched(selector=selector(), threads=ThreadOptions(threads=1, queue=2)) as reactor:
        gate = Gate()
        heard: list[Any] = []
        reactor.run_in_thread(gate, then=heard.append)
        assert gate.begun.wait(PATIENCE)
        for number in range(2):
            reactor.run_in_thread(int, number, then=heard.append)
        with pytest.raises(PoolFull, match="2 jobs wait for the 1 threads of 'calls'"):
            reactor.run_in_thread(print)
        assert reactor._threads.queued == 2
        gate.open.set()
        reactor.run()
        assert heard == ["through", 0, 1]


@pytest.mark.parametrize("options", [{"threads": 0}, {"queue": 0}, {"threads": True}])
def test_options_are_checked(options: dict[str, int]) -> None:
    """Whole numbers from 1 on."""
    with pytest.raises(UsageError, match="ThreadOptions"):
        ThreadOptions(**options)


def test_a_closed_reactor_makes_no_calls(reactor: Watched) -> None:
    """`close` drops what is pending and waits a moment for threads; afterwards calls are refused."""
    gate = Gate()
    heard: list[str] = []
    call = reactor.run_in_thread(gate, then=heard.append)
    assert gate.begun.wait(PATIENCE)
    gate.open.set()
    reactor.close()
    assert not call.is_pending
    assert heard == []
    with pytest.raises(ReactorClosed):
        reactor.run_in_thread(print)


def test_a_shutdown_waits_for_handlers_only(reactor: Watched) -> None:
    """What is under way in threads keeps no shutdown waiting, as timers and calls do not."""
    gate = Gate()
    reactor.run_in_thread(gate)
    assert gate.begun.wait(PATIENCE)
    reactor.shutdown(0)
    reactor.run()
    gate.open.set()


def test_calls_are_for_the_loops_own_thread(reactor: Watched) -> None:
    """Another thread asks by `call_threadsafe`."""
    raised: list[Exception] = []

    def work() -> None:
        try:
            reactor.run_in_thread(print)
        except WrongThread as error:
            raised.append(error)

    reactor.run_in_thread(work)
    reactor.run()
    assert raised


def test_nothing_is_held_on_to(reactor: Watched) -> None:
    """When a call is over, its function, arguments, result and error are let go."""

    class Thing:
        pass

    thing, result, error = Thing(), Thing(), Thing()
    watched = [weakref.ref(each) for each in (thing, result, error)]

    def work(_: Thing) -> Thing:
        return kept.pop()

    def fail() -> None:
        problem = ValueError("no")
        problem.thing = kept.pop()  # type: ignore[attr-defined]
        raise problem

    kept = [result]
    call = reactor.run_in_thread(work, thing, then=lambda _: None)
    del thing, result
    reactor.run()
    kept = [error]
    reactor.run_in_thread(fail, on_error=lambda _: None)
    del error
    reactor.run()
    reactor.run_in_thread(len, "")
    reactor.run()
    gc.collect()
    assert [each() for each in watched] == [None, None, None]
    assert call.then is None


def test_in_the_simulation_it_takes_virtual_time() -> None:
    """The same calls, without threads: the same seed gives the same run."""
    with Simulation(5) as sim:
        host = sim.host("host")
        with host.reactor() as reactor:
            heard: list[Any] = []
            before = reactor.time()
            reactor.run_in_thread(threading.current_thread, then=heard.append)
            reactor.run_in_thread(int, "x", on_error=heard.append)
            reactor.run()
            assert heard[0] is threading.current_thread()
            assert isinstance(heard[1], ValueError)
            assert reactor.time() > before


def test_another_thread_writes_and_closes(reactor: Watched) -> None:
    """`handler.call_threadsafe` calls in the loop while the handler lives, and is dropped after that, silently."""
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()

    def elsewhere() -> None:
        stream.call_threadsafe(stream.write, b"from elsewhere")
        stream.call_threadsafe(stream.close)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(PATIENCE)
    reactor.until(lambda: not stream.is_writable)
    assert there.recv(100) == b"from elsewhere"
    there.close()
    reactor.until_closed(stream)
    stream.call_threadsafe(stream.write, b"too late")
    reactor.turn(2)
    reactor.close()
    stream.call_threadsafe(stream.write, b"too late")
    with pytest.raises(NotConnected):
        Recorder().call_threadsafe(print)


def test_what_such_a_call_raises_closes_the_handler(reactor: Watched) -> None:
    """It is the handler's own affair."""
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    stream.call_threadsafe(int, "x")
    reactor.until_closed(stream)
    assert stream.kind is CloseKind.HANDLER_ERROR
    assert isinstance(reactor.raised.pop().exc, ValueError)
    there.close()


def test_an_owner_of_an_idempotent_call(reactor: Watched) -> None:
    """It is queued once for each owner, and dropped with him; a later owner's is queued anew."""
    heard: list[str] = []
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    for _ in range(3):
        reactor.call_threadsafe(heard.append, "x", idempotent=True, owner=stream)
        reactor.call_threadsafe(heard.append, "y", idempotent=True)
    stream.abort()
    reactor.turn(3)
    assert heard == ["y"]
    reactor.call_threadsafe(heard.append, "y", idempotent=True)
    reactor.turn(2)
    assert heard == ["y", "y"]
    there.close()

"""A reactor in a forked child: it does nothing, it harms nobody, and it can begin anew."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from reactor import (
    Acceptor,
    CloseReason,
    Feed,
    ForkedReactor,
    Handler,
    Limits,
    ListenOptions,
    MemoryBudget,
    OverrideResolver,
    Reactor,
    Stream,
    UsageError,
    WrongThread,
)
from reactor.fork import Severed
from tests.forks import in_child
from tests.kit import PATIENCE, Recorder, Watched, Watcher, jam, listening, tcp_pair, unix_pair

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


def asks(sock: socket.socket, reactor: Watched, question: bytes = b"still there?") -> bytes:
    """Return what an echo of *reactor* answers on *sock*, its peer."""
    sock.sendall(question)
    for _ in range(100):
        reactor.run_once(PATIENCE)
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            return sock.recv(100)
    raise AssertionError("no answer")


def test_every_command_is_refused_in_the_child(reactor: Watched) -> None:
    """Whatever would act on the parent's reactor raises ForkedReactor, write too, though debug is off."""
    reactor.debug = False
    here, there = unix_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()

    def body() -> None:
        assert reactor.is_inherited
        spare, other = unix_pair()
        commands: list[Callable[[], object]] = [
            reactor.run,
            lambda: reactor.run_once(0),
            lambda: reactor.run_until(lambda: True),
            reactor.stop,
            lambda: reactor.shutdown(1),
            reactor.fileno,
            lambda: reactor.call_soon(print),
            lambda: reactor.call_later(1, print),
            lambda: reactor.call_every(1, print),
            lambda: reactor.call_threadsafe(print),
            lambda: reactor.run_in_thread(print),
            lambda: reactor.listen(Echo, "127.0.0.1:0"),
            lambda: reactor.connect(Recorder(), "127.0.0.1:7"),
            lambda: reactor.attach(Recorder(), spare),
            lambda: reactor.on_signal(signal.SIGTERM, print),
            lambda: stream.write(b"x"),
            lambda: stream.writelines([b"x"]),
            stream.end,
            stream.refresh,
            stream.pause,
            stream.detach,
            lambda: stream.call_later(1, print),
            lambda: stream.call_threadsafe(print),
        ]
        for command in commands:
            with pytest.raises(ForkedReactor, match="belongs to the parent process"):
                command()
        assert reactor.next_timeout() is None
        assert "Recorder" in reactor.dump()
        assert not reactor.is_running
        other.close()
        spare.close()

    in_child(body)
    assert not reactor.is_inherited
    stream.write(b"from the parent")
    assert there.recv(100) == b"from the parent"
    there.close()


def test_trap_47_the_parents_registrations_outlive_the_child(reactor: Watched) -> None:
    """A child that closes handlers, and the whole reactor, takes nothing off the parent's selector, and ends nothing."""
    here, there = tcp_pair()
    stream = reactor.attach(Echo(), here)
    other, end = tcp_pair()
    second = reactor.attach(Echo(), other)
    reactor.turn()

    def body() -> None:
        stream.close()
        second.abort()
        assert (here.fileno(), other.fileno()) == (-1, -1)
        reactor.close()
        reactor.close()
        with pytest.raises(ForkedReactor):
            reactor.run()

    in_child(body)
    assert asks(there, reactor) == b"still there?"
    assert asks(end, reactor) == b"still there?"
    there.close()
    end.close()


def test_the_peer_hears_of_the_end_though_a_child_has_the_socket(reactor: Watched) -> None:
    """The parent's `close` ends the connection, whatever a child that never closes anything may hold."""
    here, there = tcp_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    waits, end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(end)
        os.read(waits, 1)
        os._exit(0)
    try:
        there.shutdown(socket.SHUT_WR)
        reactor.until_closed(stream)
        there.settimeout(PATIENCE)
        assert there.recv(1) == b""
    finally:
        there.close()
        os.close(waits)
        os.close(end)
        os.waitpid(pid, 0)


def test_close_in_the_child_calls_no_hook_and_closes_every_descriptor(reactor: Watched) -> None:
    """Handlers hear nothing there, whatever state they are in; selector, doorbell and sockets are closed."""
    heard: list[str] = []

    @attrs.define(eq=False)
    class Teller(Stream):
        def on_close(self, reason: CloseReason) -> None:
            heard.append("close")

    ends = []
    for _ in range(3):
        here, there = unix_pair()
        reactor.attach(Teller(), here)
        ends.append(there)
    with listening() as listener:
        reactor.connect(Teller(), listener.getsockname(), timeout=PATIENCE)
        acceptor = reactor.listen(Teller, "127.0.0.1:0")
        here, there = unix_pair()
        closed = reactor.attach(Teller(), here)
        ends.append(there)
        reactor.call_soon(heard.append, "call")
        reactor.call_later(0, heard.append, "timer")
        closed.close()
        handlers = list(reactor.handlers)

        def body() -> None:
            reactor.close()
            assert heard == []
            assert all(handler.fileno() == -1 for handler in handlers)
            assert not reactor.handlers
            assert not acceptor.is_open

        in_child(body)
        reactor.close()
    assert heard.count("close") == 5
    for there in ends:
        there.close()


def test_a_reactor_that_is_dropped_in_the_child_is_closed_silently() -> None:
    """The garbage collector closes descriptors, warns of nothing and rings nobody."""
    reactor = Reactor()
    here, there = unix_pair()
    reactor.attach(Echo(), here)
    kept = [reactor]

    def body() -> None:
        kept.clear()
        gc.collect()
        assert here.fileno() == -1

    del reactor
    in_child(body)
    kept.pop().close()
    there.close()


def test_no_reset_is_arranged_for_the_parents_connection(reactor: Watched) -> None:
    """SO_LINGER belongs to the open socket, which both processes have: an abort in the child does not touch it."""
    here, there = tcp_pair()
    stream = reactor.attach(Recorder(), here)
    reactor.turn()
    in_child(stream.abort)
    stream.close()
    reactor.until(lambda: stream.has_ended or not stream.is_writable)
    assert there.recv(100) == b""
    there.close()
    reactor.until_closed(stream)


def test_what_is_queued_is_sent_once_by_the_parent(reactor: Watched) -> None:
    """A child that comes back into a hook sends nothing of what was written before, and hears of nobody else's events."""
    read, write = os.pipe()
    told: list[str] = []

    @attrs.define(eq=False)
    class Forker(Stream):
        def on_data(self, data: bytes) -> None:
            self.write(data)
            if pid := os.fork():
                os.waitpid(pid, 0)
            else:
                told.append("child")

    @attrs.define(eq=False)
    class Neighbour(Stream):
        def on_data(self, data: bytes) -> None:
            if told:
                os.write(write, b"the neighbour heard an event in the child")
            self.write(data)

    pairs = [unix_pair(), unix_pair(), unix_pair()]
    for (here, _), kind in zip(pairs, (Neighbour, Forker, Neighbour), strict=True):
        reactor.attach(kind(), here)
    reactor.turn()
    for _, there in pairs:
        there.sendall(b"hello")
    in_parent = os.getpid()
    try:
        reactor.run_once(PATIENCE)
        reactor.turn(2)
    except ForkedReactor:
        os.write(write, b"refused")
    if os.getpid() != in_parent:
        from tests.forks import leave

        leave(write, "\n")
    os.close(write)
    assert os.read(read, 100) == b"refused\n"
    os.close(read)
    for _, there in pairs:
        assert there.recv(100) == b"hello"
        there.setblocking(False)
        with pytest.raises(BlockingIOError):
            there.recv(100)
        there.close()


@pytest.mark.parametrize("where", ["call", "timer", "on_connect", "on_close", "accept"])
def test_a_child_that_comes_back_into_a_pass_is_turned_out(reactor: Watched, where: str) -> None:
    """Wherever user code forks: the rest of the batch is not made in the child, and run raises there."""
    made: list[str] = []
    read, write = os.pipe()
    parent = os.getpid()

    def fork(*_: Any) -> None:
        made.append("fork")
        if pid := os.fork():
            os.waitpid(pid, 0)

    def rest(*_: Any) -> None:
        made.append("rest")

    ends = []
    if where == "call":
        reactor.call_soon(fork)
        reactor.call_soon(rest)
    elif where == "timer":
        reactor.call_later(0, fork)
        reactor.call_later(0, rest)
    elif where == "accept":

        def factory() -> Recorder:
            if not made:
                fork()
            made.append("accepted")
            return Recorder()

        acceptor = reactor.listen(factory, "127.0.0.1:0")
        ends = [socket.create_connection(("127.0.0.1", acceptor.port)) for _ in range(2)]
    else:
        for act in (fork, rest):
            here, there = unix_pair()
            ends.append(there)
            stream = reactor.attach(Recorder({where.removeprefix("on_"): act}), here)
            if where == "on_close":
                stream.close()
                stream.abort()
    try:
        reactor.run_once(PATIENCE)
        reactor.turn(3)
    except ForkedReactor:
        os.write(write, ",".join(made).encode())
    if os.getpid() != parent:
        from tests.forks import leave

        leave(write, "\n")
    os.close(write)
    said = os.read(read, 100)
    os.close(read)
    assert said == (b"fork,accepted\n" if where == "accept" else b"fork\n")
    assert made.count("rest") == (where != "accept")
    for there in ends:
        there.close()


def test_a_forked_child_rings_no_bell_of_the_parents(reactor: Watched) -> None:
    """A signal that comes in a child does what it did before there was a reactor, and does not wake the parent."""
    heard: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("before"))
    try:
        reactor.on_signal(signal.SIGUSR1, heard.append, "reactor")

        def hook() -> None:
            def body() -> None:
                signal.raise_signal(signal.SIGUSR1)
                assert heard == ["before"]
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

            in_child(body)

        reactor.call_soon(hook)
        reactor.call_later(0, reactor.call_later, 0, len, "")
        reactor.run_until(lambda: reactor.passes > 2, PATIENCE)
        assert reactor.stats().wakeups == 0
        reactor.close()
    finally:
        assert signal.signal(signal.SIGUSR1, before) is not None
    assert heard == []


def test_somebody_elses_wake_up_descriptor_is_put_back_in_the_child(reactor: Watched) -> None:
    """In a child of a running reactor signals ring where they rang before it ran, also if reactors run in each other."""
    mine, bell = unix_pair()
    for sock in (mine, bell):
        sock.setblocking(False)
    before = signal.set_wakeup_fd(bell.fileno())
    seen: list[int] = []

    def body() -> None:
        seen.append(signal.set_wakeup_fd(-1))
        assert seen[0] in (bell.fileno(), -1)

    try:
        reactor.call_soon(in_child, body)
        reactor.turn()
        with Reactor() as other:
            for inner, outer in ((reactor, other), (other, reactor)):
                inner.call_soon(in_child, body)
                outer.call_soon(inner.run_once, 0)
                outer.run_once(0)
    finally:
        signal.set_wakeup_fd(before)
        mine.close()
        bell.close()


def test_a_fork_of_the_main_thread_while_another_runs_the_reactor(reactor: Watched) -> None:
    """The child has no such thread: the reactor does not run there, and can be closed."""
    started = threading.Event()
    thread = threading.Thread(target=reactor.run, kwargs={"forever": True})
    reactor.call_soon(started.set)
    thread.start()
    assert started.wait(PATIENCE)

    def body() -> None:
        assert not reactor.is_running
        reactor.close()

    try:
        with pytest.raises(WrongThread):
            reactor.call_soon(print)
        with pytest.warns() if hasattr(os, "process_cpu_count") else contextlib.nullcontext():  # 3.12 on: threads and fork
            in_child(body)
    finally:
        reactor.stop()
        thread.join(PATIENCE)


def test_reinit_is_for_children_only(reactor: Watched) -> None:
    """In the process that made it there is nothing to begin anew."""
    with pytest.raises(UsageError, match="this process made the reactor itself"):
        reactor.reinit_after_fork()


def test_reinit_keeps_what_is_asked_for(reactor: Watched) -> None:
    """The kept stream is served by the child, the others' descriptors are closed there, and the parent serves those."""
    here, there = tcp_pair()
    kept = reactor.attach(Echo(), here)
    other, end = tcp_pair()
    left = reactor.attach(Echo(), other)
    reactor.turn()

    def body() -> None:
        reactor.reinit_after_fork(lambda handler: handler is kept)
        assert not reactor.is_inherited
        assert left.fileno() == -1
        assert list(reactor.handlers) == [kept]
        assert asks(there, reactor) == b"still there?"
        reactor.call_threadsafe(reactor.stop)
        reactor.run()
        reactor.close()
        with pytest.raises(UsageError):
            reactor.reinit_after_fork()

    in_child(body)
    assert asks(end, reactor) == b"still there?"
    assert asks(there, reactor) == b"still there?"
    there.close()
    end.close()


def test_reinit_keeps_a_listener_with_all_its_doors(reactor: Watched) -> None:
    """Child and parent accept from one queue; attempts to connect, farewells and doors by themselves are not asked for."""
    acceptor = reactor.listen(Echo, "localhost:0", options=ListenOptions(max_connections=1))
    first = socket.create_connection(("127.0.0.1", acceptor.port))
    reactor.until(lambda: acceptor.connections == 1)
    with listening() as listener:
        reactor.connect(Recorder(), listener.getsockname(), timeout=PATIENCE)
        asked: list[Handler] = []

        def body() -> None:
            def keep(handler: Handler) -> bool:
                asked.append(handler)
                return handler is acceptor

            reactor.reinit_after_fork(keep)
            assert {type(handler) for handler in asked} == {Acceptor, Echo}
            assert len(reactor.handlers) == len(acceptor.addresses)
            assert acceptor.connections == 0
            with socket.create_connection(("127.0.0.1", acceptor.port)) as client:
                assert asks(client, reactor) == b"still there?"
            reactor.close()

        in_child(body)
    first.close()
    reactor.until(lambda: acceptor.connections == 0)
    with socket.create_connection(("127.0.0.1", acceptor.port)) as client:
        assert asks(client, reactor) == b"still there?"


def test_a_unix_sockets_file_stays_the_parents(reactor: Watched, tmp_path: Path) -> None:
    """A child that closes the listener leaves the file where it is."""
    path = tmp_path / "socket"
    acceptor = reactor.listen(Echo, path)
    in_child(acceptor.close)
    in_child(reactor.close)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert asks(client, reactor) == b"still there?"


def test_timers_and_calls_of_kept_handlers_go_on(virtual: Watched) -> None:
    """What has an owner that is kept is kept; the rest is the parent's."""
    heard: list[str] = []
    here, there = unix_pair()
    kept = virtual.attach(Watcher(), here)
    fresh_sock, fresh_end = unix_pair()
    virtual.turn()
    kept.call_soon(heard.append, "call")
    kept.call_later(5, heard.append, "timer")
    virtual.call_soon(heard.append, "nobody's call")
    virtual.call_later(5, heard.append, "nobody's timer")
    fresh = virtual.attach(Recorder(), fresh_sock)

    def body() -> None:
        virtual.reinit_after_fork(lambda handler: True)
        virtual.run_until(lambda: "timer" in heard)
        assert heard == ["call", "timer"]
        assert fresh.events == ["connect"]
        kept.call_later(1, kept.close)
        fresh.close()
        there.close()
        fresh_end.close()
        virtual.run()
        virtual.close()

    in_child(body)
    virtual.turn()
    assert heard == ["call", "nobody's call"]
    there.close()
    fresh_end.close()


def test_a_kept_stream_begins_with_an_empty_queue(reactor: Watched) -> None:
    """What was queued, fed or piped stays with the parent; the budget begins anew."""
    reactor.close()
    with Watched(budget=MemoryBudget(1024 * 1024, refuse=0.1, relax=0.1), debug=True) as budgeted:
        here, there = unix_pair()
        stream = budgeted.attach(Recorder(), here)
        stream.limits = Limits(high=10, low=5)
        acceptor = budgeted.listen(Echo, "127.0.0.1:0")
        budgeted.turn()
        stream.deadline("login", 3600)
        jam(stream)
        stream.write(b"x" * 512 * 1024)
        fed: list[Feed] = [stream.send_from(b"x" for _ in range(3))]
        budgeted.log.disabled = True
        budgeted.turn(2)
        budgeted.log.disabled = False
        assert not acceptor.interest

        def body() -> None:
            budgeted.reinit_after_fork(lambda handler: True)
            assert stream.buffered == budgeted.stats().bytes_queued == 0
            assert acceptor.interest
            there.close()
            budgeted.turn()
            assert fed
            budgeted.close()

        in_child(body)
        assert stream.buffered
        stream.abort()
        there.close()


def test_a_resolver_of_the_childs_own(reactor: Watched) -> None:
    """Names are looked up anew, by whatever the child is given."""

    def body() -> None:
        first = reactor.resolver
        reactor.reinit_after_fork()
        assert reactor.resolver is not first
        with listening() as listener:
            stream = Recorder()
            reactor.connect(stream, f"localhost:{listener.getsockname()[1]}", timeout=PATIENCE)
            reactor.until(lambda: stream.events)
            assert stream.events == ["connect"]
        reactor.close()

    def other() -> None:
        mine = OverrideResolver({"db.example": "127.0.0.1"})
        reactor.reinit_after_fork(resolver=mine)
        assert reactor.resolver is mine
        reactor.close()

    in_child(body)
    in_child(other)


def test_calls_in_threads_stay_behind(reactor: Watched) -> None:
    """The child has no such threads: it waits for no result of theirs, and has a pool of its own when it needs one."""
    gate = threading.Event()
    heard: list[str] = []
    begun = threading.Event()

    def work() -> str:
        begun.set()
        gate.wait(PATIENCE)
        return "parent"

    reactor.run_in_thread(work, then=heard.append)
    assert begun.wait(PATIENCE)

    def body() -> None:
        reactor.reinit_after_fork()
        reactor.run()
        assert heard == []
        reactor.run_in_thread(lambda: "child", then=heard.append)
        reactor.run()
        assert heard == ["child"]
        reactor.close()

    with pytest.warns() if hasattr(os, "process_cpu_count") else contextlib.nullcontext():
        in_child(body)
    gate.set()
    reactor.until(lambda: heard)
    assert heard == ["parent"]


def test_no_descriptors_for_a_new_selector(reactor: Watched) -> None:
    """A child that cannot begin anew is told so, and can try again."""

    def body() -> None:
        import resource

        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = os.dup(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, limits[1]))
        taken = [spare]
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        os.close(taken.pop())
        with pytest.raises(OSError, match="Too many open files"):
            reactor.reinit_after_fork()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert reactor.is_inherited
        reactor.reinit_after_fork()
        reactor.turn()
        reactor.close()

    in_child(body)


def test_a_closed_reactor_stays_closed_in_the_child(reactor: Watched) -> None:
    """There is nothing to inherit of it."""
    reactor.close()

    def body() -> None:
        reactor.close()
        assert not reactor.is_inherited

    in_child(body)


def test_time_goes_on(reactor: Watched) -> None:
    """The child's clock is read when it begins anew."""

    def body() -> None:
        reactor.reinit_after_fork()
        assert abs(reactor.now - time.monotonic()) < PATIENCE
        reactor.close()

    in_child(body)


def test_a_severed_selector_knows_nobody() -> None:
    """What stands in the place of the parent's selector refuses everything, and has nothing to show."""
    severed = Severed()
    assert not severed.get_map()
    for call in (severed.select, severed.fileno, partial(severed.register, 0, 1), partial(severed.unregister, 0)):
        with pytest.raises(ForkedReactor):
            call()

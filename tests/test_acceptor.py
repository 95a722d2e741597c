"""Accepting: batches, errors of accept(2), exhaustion, pauses, handlers."""

from __future__ import annotations

import contextlib
import errno
import functools
import pathlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from reactor import (
    Acceptor,
    Address,
    AddressInUse,
    CloseKind,
    CloseReason,
    Handler,
    HandlerReused,
    Inet,
    Keepalive,
    Limits,
    ListenOptions,
    UsageError,
)
from reactor import acceptor as module
from reactor.acceptor import FAREWELLS_MAX
from tests.kit import Fault, Recorder, Refusing, Virtual, Watched, Watcher, exists, faults, fill, unix_pair
from tests.worlds import System


@contextlib.contextmanager
def clients(acceptor: Acceptor, count: int = 1) -> Iterator[list[socket.socket]]:
    """Clients that are connected as far as the kernel is concerned."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", acceptor.port), timeout=20)) for _ in range(count)]


@attrs.define(eq=False)
class Hasty(Recorder):
    """A recorder that does not wait for its peer's end."""

    default_limits = Limits(linger=0)


@attrs.define(eq=False)
class Keeping:
    """A factory that remembers what it made."""

    make: Callable[[], Handler] = Recorder
    made: list[Any] = attrs.field(factory=list)

    def __call__(self) -> Handler:
        handler = self.make()
        self.made.append(handler)
        return handler


def test_each_connection_gets_a_handler_of_its_own(reactor: Watched) -> None:
    """It is bound, knows both addresses, and hears on_connect."""
    factory = Keeping()
    acceptor = reactor.listen(factory, "127.0.0.1:0")
    with clients(acceptor, 3) as connected:
        reactor.until(lambda: len(factory.made) == 3)
        names = {client.getsockname() for client in connected}

        assert {(handler.peer.host, handler.peer.port) for handler in factory.made} == names
        assert {str(handler.local) for handler in factory.made} == {f"127.0.0.1:{acceptor.port}"}
        assert all(handler.events == ["connect"] for handler in factory.made)
        assert all(handler.sock.gettimeout() == 0 for handler in factory.made)
        assert reactor.stats().accepted == 3


def test_addresses_on_a_wildcard_are_real(reactor: Watched) -> None:
    """Behind ':0' the local address is the one that the client reached, and an IPv4 peer is shown as one."""
    factory = Keeping()
    acceptor = reactor.listen(factory, ":0")
    with clients(acceptor):
        reactor.until(lambda: factory.made)

        assert str(factory.made[0].local) == f"127.0.0.1:{acceptor.port}"
        assert factory.made[0].peer.host == "127.0.0.1"


@pytest.mark.parametrize("factory", [functools.partial(Recorder, {}), lambda: Recorder({}), Recorder])
def test_a_factory_is_any_callable(reactor: Watched, factory: Callable[[], Handler]) -> None:
    """A class, a partial, a lambda."""
    acceptor = reactor.listen(factory, "127.0.0.1:0")
    with clients(acceptor):
        reactor.until(lambda: len(reactor.handlers) == 2)


@pytest.mark.parametrize("factory", [Recorder(), 7])
def test_a_handler_is_no_factory(reactor: Watched, factory: Any) -> None:
    """An instance in place of a class is refused at once, not at the first connection."""
    with pytest.raises(UsageError, match="what makes a handler for each connection"):
        reactor.listen(factory, "127.0.0.1:0")


@pytest.mark.parametrize("wrong", ["raises", "returns a used handler", "returns no handler"])
def test_a_bad_factory_costs_its_own_connection_only(reactor: Watched, wrong: str) -> None:
    """The client sees a reset, on_error hears why, no descriptor leaks, and the next client is served."""
    used = Recorder()
    good: list[Recorder] = []
    calls: list[int] = []

    def factory() -> Handler:
        calls.append(1)
        if len(calls) == 2:
            if wrong == "raises":
                raise ValueError("no handler today")
            return used if wrong == "returns a used handler" else None  # type: ignore[return-value]
        good.append(used if len(calls) == 1 else Recorder())
        return good[-1]

    acceptor = reactor.listen(factory, "127.0.0.1:0")
    with clients(acceptor):
        reactor.until(lambda: good)
        with clients(acceptor) as (victim,):
            reactor.until(lambda: reactor.raised)
            with pytest.raises(ConnectionResetError):
                victim.recv(1)
        with clients(acceptor):
            reactor.until(lambda: len(good) == 2)

    (context,) = reactor.raised
    reactor.raised.clear()
    assert context.where == "on_accept"
    assert isinstance(context.exc, {"raises": ValueError, "returns a used handler": HandlerReused}.get(wrong, UsageError))
    assert acceptor.is_open


def test_an_exit_in_a_factory_leaves_run(reactor: Watched) -> None:
    """SystemExit is no error of one connection; its socket is closed all the same."""

    def factory() -> Handler:
        raise SystemExit

    acceptor = reactor.listen(factory, "127.0.0.1:0")
    with clients(acceptor) as (client,):
        with pytest.raises(SystemExit):
            reactor.run()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_on_connect_that_raises_ends_its_own_connection(reactor: Watched) -> None:
    """The peer sees a reset; on_close comes once; the acceptor lives."""
    factory = Keeping(lambda: Recorder(act={"connect": lambda _: 1 / 0}))
    acceptor = reactor.listen(factory, "127.0.0.1:0")
    with clients(acceptor) as (client,):
        reactor.until(lambda: factory.made)
        with pytest.raises(ConnectionResetError):
            client.recv(1)

    assert factory.made[0].events == ["connect", "error", "close"]
    assert [context.where for context in reactor.raised] == ["on_connect"]
    reactor.raised.clear()
    assert acceptor.is_open


def test_on_accept_may_be_overridden(reactor: Watched) -> None:
    """A subclass decides about each socket; one that it hands to a handler before it raises is that handler's."""
    seen: list[Address] = []

    @attrs.define(eq=False)
    class Choosy(Acceptor):
        def on_accept(self, sock: socket.socket, peer: Address) -> None:
            seen.append(peer)
            if len(seen) == 1:
                sock.close()
            elif len(seen) == 2:
                self.reactor.attach(kept, sock)
                raise ValueError("after the handover")
            else:
                raise ValueError("before")

    kept = Recorder()
    acceptor = Choosy().listen(reactor, "127.0.0.1:0")
    with clients(acceptor, 3) as (one, two, three):
        reactor.until(lambda: len(seen) == 3)
        assert one.recv(1) == b""
        with pytest.raises(ConnectionResetError):
            three.recv(1)
        two.send(b"x")
        reactor.until(lambda: kept.received)

    assert len(reactor.raised) == 2
    reactor.raised.clear()


def test_an_acceptor_without_a_factory_must_override(reactor: Watched) -> None:
    """Otherwise each connection is an error that says so."""
    acceptor = Acceptor().listen(reactor, "127.0.0.1:0")
    with clients(acceptor):
        reactor.until(lambda: reactor.raised)
    assert "has no factory" in str(reactor.raised.pop().exc)


def test_it_can_be_attached_to_a_listening_socket(reactor: Watched) -> None:
    """A socket that listens already is served like any other, by listen or by attach."""
    for how in ("listen", "attach"):
        factory = Keeping()
        sock = socket.create_server(("127.0.0.1", 0))
        acceptor = reactor.listen(factory, sock) if how == "listen" else reactor.attach(Acceptor(factory), sock)
        assert acceptor.port == sock.getsockname()[1]
        with clients(acceptor):
            reactor.until(lambda made=factory.made: made)  # type: ignore[misc]
        acceptor.close()


def test_an_acceptor_listens_once(reactor: Watched) -> None:
    """A second listen is refused."""
    acceptor = reactor.listen(Recorder, "127.0.0.1:0")
    with pytest.raises(HandlerReused, match="make a new one"):
        acceptor.listen(reactor, "127.0.0.1:0")


# Batches


def test_a_flood_is_taken_in_bounded_batches(reactor: Watched) -> None:
    """No pass accepts more than accepts_per_pass; one event calls accept once, and twice as often while more come."""
    factory = Keeping()
    acceptor = reactor.listen(factory, "127.0.0.1:0", options=ListenOptions(accepts_per_pass=8))
    with clients(acceptor, 40):
        taken = []
        while len(factory.made) < 40:
            before = len(factory.made)
            reactor.run_once()
            taken.append(len(factory.made) - before)

    assert [batch for batch in taken if batch][:5] == [1, 2, 4, 8, 8]
    assert max(taken) == 8


def test_closing_the_acceptor_from_inside_stops_the_batch(reactor: Watched) -> None:
    """After it was closed, by the handler that it has just made, it accepts nobody."""
    factory = Keeping(lambda: Recorder(act={"connect": lambda _: acceptor.close()}))
    acceptor = reactor.listen(factory, "127.0.0.1:0")
    acceptor._batch = 8
    with clients(acceptor, 3):
        reactor.until(lambda: not acceptor.is_open)

    assert len(factory.made) == 1
    assert acceptor.reason == CloseReason(CloseKind.LOCAL_CLOSE)


def test_pausing_from_inside_stops_the_batch(reactor: Watched) -> None:
    """The clients that were not accepted yet wait in the kernel."""
    factory = Keeping(lambda: Recorder(act={"connect": lambda _: acceptor.pause()}))
    acceptor = reactor.listen(factory, "127.0.0.1:0")
    acceptor._batch = 8
    with clients(acceptor, 3):
        reactor.until(lambda: factory.made)
        reactor.turn(3)
        assert len(factory.made) == 1
        acceptor.resume()
        reactor.until(lambda: len(factory.made) == 2)


def test_pauses_have_reasons(reactor: Watched) -> None:
    """It accepts again when the last reason is gone, in whatever order."""
    factory = Keeping()
    acceptor = reactor.listen(factory, "127.0.0.1:0")
    acceptor.pause("limit")
    acceptor.pause("memory")
    acceptor.pause("memory")
    assert "paused by limit, memory" in reactor.dump()
    with clients(acceptor):
        acceptor.resume("memory")
        acceptor.resume("never given")
        reactor.turn(2)
        assert not factory.made
        acceptor.resume("limit")
        reactor.until(lambda: factory.made)


# Errors of accept(2)


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR, errno.ENETDOWN])
def test_an_error_of_one_connection_is_passed_over(faulty: Watched, number: int) -> None:
    """The batch goes on, the error is counted, nothing is logged."""
    factory = Keeping()
    acceptor = faulty.listen(factory, "127.0.0.1:0")
    acceptor._batch = 4
    faults(faulty, accept=[number, number])
    with clients(acceptor, 2):
        faulty.run_once()
        assert len(factory.made) == 2
    assert faulty.stats().accept_errors == {errno.errorcode[number]: 2}


def test_readiness_without_a_client_is_no_error(reactor: Watched) -> None:
    """Another process may have been faster: EAGAIN although ready."""
    acceptor = reactor.listen(Recorder, "127.0.0.1:0")
    acceptor.on_readable()
    assert reactor.stats().accept_errors == {}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_exhaustion_rests_and_is_told_once(number: int, logs: list[str]) -> None:
    """One warning, no accept in between, rests that double up to their maximum, and service as soon as it works again."""
    with Watched(system=Virtual(), debug=True) as reactor:
        factory = Keeping()
        acceptor = reactor.listen(factory, "127.0.0.1:0")
        with clients(acceptor):
            begin, failures = reactor.time(), 10
            faults(reactor, accept=[number] * failures)
            reactor.until(lambda: factory.made)
            rested = reactor.time() - begin

        expected, rest = 0.0, module.REST_SECONDS_MIN
        for _ in range(failures):
            expected += rest
            rest = min(2 * rest, module.REST_SECONDS_MAX)
        assert rested == pytest.approx(expected)
        assert reactor.stats().accept_errors == {errno.errorcode[number]: failures}
        assert len(logs) == 1
        assert "resting until descriptors are free" in logs[0]
        logs.clear()

        reactor.call_later(module.EPISODE_GAP_SECONDS + 1, lambda: None)
        reactor.run_until(lambda: not reactor.timers.waiting)
        faults(reactor, accept=[number])
        with clients(acceptor):
            reactor.until(lambda: len(factory.made) == 2)
        assert len(logs) == 1  # a new episode
        logs.clear()


def test_a_freed_descriptor_ends_the_rest_at_once(logs: list[str]) -> None:
    """The client that waits is accepted in the pass after any handler closes, with no time passing."""
    here, there = unix_pair()
    with there, Watched(system=Virtual(), debug=True) as reactor:
        factory = Keeping()
        acceptor = reactor.listen(factory, "127.0.0.1:0")
        other = reactor.attach(Watcher(), here)
        with clients(acceptor):
            faults(reactor, accept=[errno.EMFILE])
            reactor.run_once(0)
            moment = reactor.time()
            other.close()
            reactor.turn(3)
            assert factory.made
            assert reactor.time() == moment
    assert len(logs) == 1
    logs.clear()


def test_exhaustion_may_shed_instead(faulty: Watched, logs: list[str]) -> None:
    """With a reserved descriptor, clients that cannot be served are turned away by RST, and nobody rests."""
    factory = Keeping()
    acceptor = faulty.listen(factory, "127.0.0.1:0", options=ListenOptions(on_exhaustion="shed"))
    with clients(acceptor, 2) as waiting:
        faults(faulty, accept=[errno.EMFILE])
        faulty.run_once()
        for client in waiting:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    assert faulty.counts["shed"] == 2
    assert not factory.made
    with clients(acceptor):
        faulty.until(lambda: factory.made)
    assert "closing new ones" in logs[0]
    logs.clear()


def test_shedding_without_its_reserve_rests(faulty: Watched, logs: list[str]) -> None:
    """If somebody takes the reserved descriptor meanwhile, the acceptor backs off like others."""
    factory = Keeping()
    acceptor = faulty.listen(factory, "127.0.0.1:0", options=ListenOptions(on_exhaustion="shed", accepts_per_pass=1))
    with clients(acceptor, 2):
        faults(faulty, accept=[errno.EMFILE], socket=[errno.EMFILE])
        faulty.run_once()
        faults(faulty, accept=[errno.EMFILE])
        faulty.run_once()
        assert acceptor._pauses == {"exhaustion"}
        faulty.until(lambda: factory.made)
    logs.clear()


def test_an_overloaded_kernel_is_not_shed(faulty: Watched, logs: list[str]) -> None:
    """A descriptor given up helps against EMFILE only; ENFILE and others rest."""
    acceptor = faulty.listen(Recorder, "127.0.0.1:0", options=ListenOptions(on_exhaustion="shed"))
    with clients(acceptor):
        faults(faulty, accept=[errno.ENFILE])
        faulty.run_once()
        assert acceptor._pauses == {"exhaustion"}
    logs.clear()


def test_on_exhausted_may_be_overridden(faulty: Watched) -> None:
    """The hook is told the error, and may close the acceptor."""
    told: list[OSError] = []

    @attrs.define(eq=False)
    class Quitting(Acceptor):
        def on_exhausted(self, exc: OSError) -> None:
            told.append(exc)
            self.close()

    acceptor = Quitting(Recorder).listen(faulty, "127.0.0.1:0")
    with clients(acceptor):
        faults(faulty, accept=[errno.EMFILE])
        faulty.until(lambda: told)

    assert told[0].errno == errno.EMFILE
    assert not acceptor.is_open


@pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL, errno.ENOTSOCK])
def test_a_dead_listener_is_closed_and_told(faulty: Watched, number: int) -> None:
    """It neither spins nor stays."""
    acceptor = faulty.listen(Recorder, "127.0.0.1:0")
    with clients(acceptor):
        faults(faulty, accept=[number])
        faulty.run_once()

    assert acceptor.reason is not None
    assert acceptor.reason.kind is CloseKind.ERROR
    assert [context.where for context in faulty.raised] == ["accept"]
    faulty.raised.clear()


def test_an_unknown_error_is_told_and_rested_on(faulty: Watched) -> None:
    """What nobody foresaw neither ends the acceptor nor makes it spin."""
    factory = Keeping()
    acceptor = faulty.listen(factory, "127.0.0.1:0")
    with clients(acceptor):
        faults(faulty, accept=[errno.EIO])
        faulty.run_once()
        assert acceptor._pauses == {"exhaustion"}
        faulty.until(lambda: factory.made)

    assert [context.where for context in faulty.raised] == ["accept"]
    faulty.raised.clear()


# Several sockets


class TwoFamilies(System):
    """Without dual-stack sockets ':0' is two."""

    def has_dualstack_ipv6(self) -> bool:
        return False


def test_several_sockets_are_one_acceptor() -> None:
    """One port, both families served; paused, resumed and closed together."""
    factory = Keeping()
    with Watched(system=TwoFamilies(), debug=True) as reactor:
        acceptor = reactor.listen(factory, ":0")
        assert len(acceptor.addresses) == 2
        assert {address.port for address in acceptor.addresses if isinstance(address, Inet)} == {acceptor.port}
        assert f"a door of {acceptor.addresses[0]}" in reactor.dump()
        for host in ("127.0.0.1", "::1"):
            count = len(factory.made)
            acceptor.pause()
            with socket.create_connection((host, acceptor.port), timeout=20):
                reactor.turn(2)
                assert len(factory.made) == count
                acceptor.resume()
                reactor.until(lambda count=count: len(factory.made) == count + 1)  # type: ignore[misc]
        acceptor.close()
        for host in ("127.0.0.1", "::1"):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, acceptor.port))
        reactor.until(lambda: all(made.reason for made in factory.made))
        assert not reactor.handlers
        assert not reactor.raised


def test_losing_one_socket_closes_the_acceptor(logs: list[str]) -> None:
    """Half an acceptor would be a hang that nobody can explain."""
    with Watched(system=TwoFamilies(), debug=True) as reactor:
        acceptor = reactor.listen(Recorder, ":0")
        acceptor._doors[0]._close(CloseReason(CloseKind.ERROR, OSError(5, "gone")))
        reactor.turn()
        assert not acceptor.is_open
        assert acceptor.reason is not None
        assert acceptor.reason.kind is CloseKind.ERROR


def test_what_cannot_be_registered_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    """If the second socket cannot be watched, the first is closed too, and a Unix socket's file removed."""
    selector = Refusing(UsageError("full"))
    with Watched(selector=selector, system=TwoFamilies(), debug=True) as reactor:
        for left, address in ((1, ":0"), (0, tmp_path / "s")):
            selector.left = left
            with pytest.raises(UsageError, match="full"):
                reactor.listen(Recorder, address)
        assert not exists(tmp_path / "s")
        assert not reactor.handlers


# Unix sockets


def test_a_unix_acceptor_serves_and_cleans_up(reactor: Watched, tmp_path: pathlib.Path) -> None:
    """It has no port, its file is gone after close, and a live one is not taken over."""
    factory = Keeping()
    acceptor = reactor.listen(factory, tmp_path / "s")
    assert str(acceptor.addresses[0]) == f"unix:{tmp_path / 's'}"
    with pytest.raises(UsageError, match="has no port"):
        _ = acceptor.port
    with pytest.raises(AddressInUse):
        reactor.listen(factory, tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        reactor.until(lambda: factory.made)
        assert str(factory.made[0].peer) == "unix:"
        acceptor.close()
        assert not exists(tmp_path / "s")


def test_a_reset_between_accept_and_set_up_harms_nobody(faulty: Watched) -> None:
    """Where the kernel says ENOTCONN or EINVAL about a socket just accepted, the handler is served all the same."""
    here, there = unix_pair()
    assert isinstance(faulty.system, Fault)
    sock = faulty.system.wrap(here)
    faults(faulty, getpeername=[errno.EINVAL], getsockname=[errno.EINVAL], setsockopt=[errno.EINVAL])
    stream = faulty.attach(Recorder(), sock)
    with there:
        fill(there)
        faulty.until(lambda: stream.received)
    with pytest.raises(Exception, match="no addresses"):
        _ = stream.peer
    assert "unknown peer" in faulty.dump()


def test_a_hook_that_raises_does_not_end_the_listener(faulty: Watched) -> None:
    """on_exhausted is told, and what it raises too; the acceptor rests and goes on."""

    @attrs.define(eq=False)
    class Raising(Acceptor):
        def on_exhausted(self, exc: OSError) -> None:
            raise ValueError("here")

    factory = Keeping()
    acceptor = Raising(factory).listen(faulty, "127.0.0.1:0")
    with clients(acceptor):
        faults(faulty, accept=[errno.EMFILE])
        faulty.until(lambda: factory.made)
    assert [context.where for context in faulty.raised] == ["on_exhausted"]
    faulty.raised.clear()


def test_rests_leave_nothing_behind(faulty: Watched, logs: list[str]) -> None:
    """However often it has rested, and when it is closed while it rests, nobody waits for a descriptor any more."""
    factory = Keeping()
    acceptor = faulty.listen(factory, "127.0.0.1:0")
    with clients(acceptor):
        faults(faulty, accept=[errno.EMFILE] * 3)
        faulty.until(lambda: factory.made)
        assert not faulty.awaiting_descriptor
    with clients(acceptor):
        faults(faulty, accept=[errno.EMFILE])
        faulty.until(lambda: faulty.stats().accept_errors["EMFILE"] == 4)
        acceptor.close()
        assert not faulty.awaiting_descriptor
    logs.clear()


def test_a_reserve_that_cannot_be_had_is_done_without(faulty: Watched) -> None:
    """With no descriptor to spare, "shed" begins as "backoff"."""
    sock = socket.create_server(("127.0.0.1", 0))
    faults(faulty, socket=[errno.EMFILE])
    acceptor = faulty.attach(Acceptor(Recorder, ListenOptions(on_exhaustion="shed")), sock)
    assert acceptor.is_open
    assert acceptor._reserve is None


@pytest.mark.parametrize("early", [True, False])
def test_unref_is_for_every_socket(early: bool) -> None:
    """An acceptor of two sockets that said unref does not keep run going."""
    with Watched(system=TwoFamilies(), debug=True) as reactor:
        acceptor = Acceptor(Recorder)
        if early:
            acceptor.unref()
        acceptor.listen(reactor, ":0")
        if not early:
            acceptor.unref()
        reactor.run()
        assert acceptor.is_open


@pytest.mark.kernel("a process of its own")
def test_exhaustion_is_survived_by_a_process_that_has_imported_nothing() -> None:
    """The report needs no descriptor: with the real limit reached, the listener rests, and serves when others leave."""
    program = """
import resource, socket, sys
from reactor import Reactor, Stream
served = []
class Count(Stream):
    def on_connect(self):
        served.append(self)
        if len(served) == 60:
            self.reactor.stop()
        self.call_later(0.02, self.abort)
with Reactor() as reactor:
    acceptor = reactor.listen(Count, "127.0.0.1:0")
    print(acceptor.port, flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
    reactor.run()
print(len(served), reactor.stats().accept_errors.get("EMFILE", 0) > 0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            said, complaints = server.communicate(timeout=60)
    assert said == "60 True\n"
    assert complaints.count("\n") == 1
    assert "resting until descriptors are free" in complaints


# How many


@attrs.define(eq=False)
class Door(Acceptor):
    """An acceptor that says goodbye."""

    def on_overload(self, sock: socket.socket, peer: Address) -> None:
        self.turn_away(sock, b"421 too many\r\n")


def test_a_full_house_leaves_clients_in_the_queue(reactor: Watched) -> None:
    """With `max_connections` alive nobody is accepted; when one leaves, the next comes in."""
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    acceptor = reactor.listen(factory, "127.0.0.1:0", options=ListenOptions(max_connections=2))
    with clients(acceptor, 4) as connected:
        reactor.until(lambda: len(made) == 2)
        reactor.turn(5)
        assert (len(made), acceptor.connections) == (2, 2)
        made[0].abort()
        reactor.until(lambda: len(made) == 3)
        connected[1].close()
        reactor.until(lambda: len(made) == 4)
        assert acceptor.connections == 2


def test_the_slack_has_to_leave(reactor: Watched) -> None:
    """With a slack of two, the door opens when two have left, also by `detach`."""
    factory = Keeping()
    acceptor = reactor.listen(factory, "127.0.0.1:0", options=ListenOptions(max_connections=2, slack=2))
    with clients(acceptor, 4):
        reactor.until(lambda: len(factory.made) == 2)
        factory.made[0].abort()
        reactor.turn(5)
        assert len(factory.made) == 2
        factory.made[1].detach().close()
        reactor.until(lambda: len(factory.made) == 4)


@pytest.mark.parametrize(
    "options", [ListenOptions(max_connections=1, on_limit="reject"), ListenOptions(max_per_peer=1)], ids=["all", "peer"]
)
def test_whoever_is_too_much_is_reset(reactor: Watched, options: ListenOptions) -> None:
    """Rejected connections are closed by RST, counted, and cost nobody else anything."""
    factory = Keeping()
    acceptor = reactor.listen(factory, "127.0.0.1:0", options=options)
    with clients(acceptor) as (first,), clients(acceptor) as (second,):
        reactor.until(lambda: reactor.counts["overloaded"])
        with pytest.raises(ConnectionResetError):
            second.recv(1)
        first.send(b"still here")
        reactor.until(lambda: factory.made[0].received)
        assert (len(factory.made), acceptor.connections) == (1, 1)


def test_a_goodbye_arrives(reactor: Watched) -> None:
    """`turn_away` says its message also to a client that has sent something, and ends in order."""
    acceptor = Door(Recorder, ListenOptions(max_per_peer=1)).listen(reactor, "127.0.0.1:0")
    with clients(acceptor), clients(acceptor) as (second,):
        second.send(b"HELO\r\n")
        second.setblocking(False)
        heard = bytearray()

        def over() -> bool:
            with contextlib.suppress(BlockingIOError):
                chunk = second.recv(100)
                heard.extend(chunk)
                return not chunk
            return False

        reactor.until(over)
        assert heard == b"421 too many\r\n"


def test_there_is_a_limit_to_politeness(virtual: Watched) -> None:
    """No more goodbyes are under way than `FAREWELLS_MAX`; whoever comes then is reset; each ends in bounded time."""
    acceptor = Door(Recorder, ListenOptions(max_connections=1, on_limit="reject", backlog_connections=200)).listen(
        virtual, "127.0.0.1:0"
    )
    with clients(acceptor, 1 + FAREWELLS_MAX + 1) as connected:
        virtual.until(lambda: virtual.counts["overloaded"] == FAREWELLS_MAX + 1)
        assert connected[1].recv(100) == b"421 too many\r\n"
        with pytest.raises(ConnectionResetError):
            connected[-1].recv(100)
        virtual.until(lambda: len(virtual.handlers) == 2)


def test_a_hook_for_too_many_that_raises_costs_that_client_only(reactor: Watched) -> None:
    """The socket is closed, the error is told once, the acceptor lives."""

    @attrs.define(eq=False)
    class Broken(Acceptor):
        def on_overload(self, sock: socket.socket, peer: Address) -> None:
            raise ZeroDivisionError

    acceptor = Broken(Recorder, ListenOptions(max_per_peer=1)).listen(reactor, "127.0.0.1:0")
    with clients(acceptor), clients(acceptor) as (second,):
        reactor.until(lambda: reactor.raised)
        with pytest.raises(ConnectionResetError):
            second.recv(1)
    (context,) = reactor.raised
    reactor.raised.clear()
    assert (context.where, acceptor.is_open) == ("on_overload", True)


def test_sockets_that_on_accept_keeps_for_itself_are_not_counted(reactor: Watched) -> None:
    """Only a handler can say when it goes."""
    kept: list[socket.socket] = []

    @attrs.define(eq=False)
    class Keeper(Acceptor):
        def on_accept(self, sock: socket.socket, peer: Address) -> None:
            kept.append(sock)

    acceptor = Keeper(options=ListenOptions(max_connections=1)).listen(reactor, "127.0.0.1:0")
    with clients(acceptor, 2):
        reactor.until(lambda: len(kept) == 2)
        assert acceptor.connections == 0
        for sock in kept:
            sock.close()


def test_an_acceptor_without_limits_counts_nobody(reactor: Watched) -> None:
    """Counting costs something, and is done where it is asked for."""
    assert reactor.listen(Recorder, "127.0.0.1:0").connections == 0


@pytest.mark.kernel("sets options that the simulated kernel does not have")
def test_accepted_connections_inherit_options(reactor: Watched) -> None:
    """What a listening socket is told, the kernel does for each connection; it takes buffers twice as large as asked for."""
    options = ListenOptions(
        keepalive=Keepalive(idle=7, interval=3, count=2),
        user_timeout=1.5,
        notsent_lowat=9000,
        send_buffer=20_000,
        receive_buffer=30_000,
    )
    factory = Keeping(Hasty)
    acceptor = reactor.listen(factory, "127.0.0.1:0", options=options)
    with clients(acceptor):
        reactor.until(lambda: factory.made)
        sock = factory.made[0].sock
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT", "TCP_NOTSENT_LOWAT")
        found = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
        assert found == [7, 3, 2, 1500, 9000]
        found = [
            sock.getsockopt(socket.SOL_SOCKET, getattr(socket, name)) for name in ("SO_KEEPALIVE", "SO_SNDBUF", "SO_RCVBUF")
        ]
        assert found == [1, 40_000, 60_000]


@pytest.mark.parametrize("nodelay", [True, False])
def test_accepted_connections_inherit_nodelay(reactor: Watched, nodelay: bool) -> None:
    """It is set on the listening socket, once, and not on each connection."""
    factory = Keeping(Hasty)
    acceptor = reactor.listen(factory, "127.0.0.1:0", options=ListenOptions(nodelay=nodelay))
    with clients(acceptor):
        reactor.until(lambda: factory.made)
        assert bool(factory.made[0].sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is nodelay


def test_a_shutdown_serves_those_who_wait(reactor: Watched) -> None:
    """Connections in the kernel's queue are accepted before the listener is closed."""
    factory = Keeping(Hasty)
    acceptor = reactor.listen(factory, "127.0.0.1:0")
    with clients(acceptor, 5) as connected:
        for client in connected:
            client.sendall(b"x")
        reactor.shutdown(5)
        reactor.run()
        assert len(factory.made) == 5
        assert all(handler.kind is CloseKind.SHUTDOWN for handler in factory.made)
        assert not acceptor.is_open


def test_a_paused_acceptor_is_not_drained(reactor: Watched) -> None:
    """Whoever was not to be accepted is not accepted by a shutdown either."""
    factory = Keeping(Hasty)
    acceptor = reactor.listen(factory, "127.0.0.1:0")
    acceptor.pause()
    with clients(acceptor):
        reactor.shutdown(5)
        reactor.run()
    assert not factory.made


def test_draining_ends_with_the_first_error_that_is_no_ones(faulty: Watched) -> None:
    """ECONNABORTED is passed over, EMFILE ends it; a factory that closes the acceptor does, too."""
    factory = Keeping(Hasty)
    acceptor = faulty.listen(factory, "127.0.0.1:0")
    with clients(acceptor, 3):
        faults(faulty, accept=[errno.ECONNABORTED, errno.EMFILE])
        faulty.shutdown(5)
        faulty.run()
    assert not factory.made

    closing = faulty.listen(lambda: closing.close() or Hasty(), "127.0.0.1:0")  # type: ignore[func-returns-value]
    with clients(closing, 2):
        faulty.shutdown(5)
        faulty.run()
    assert faulty.stats().accepted == 1


def test_draining_has_a_bound(reactor: Watched) -> None:
    """A shutdown accepts no more than the queue can have held; others are refused with it."""
    factory = Keeping(Hasty)
    acceptor = reactor.listen(factory, "127.0.0.1:0", options=ListenOptions(backlog_connections=2))
    with clients(acceptor, 3):
        reactor.shutdown(5)
        reactor.run()
        assert len(factory.made) == 2

"""Simulations under attack: what is closed from the wrong place, raised at the wrong moment, or never ends."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from reactor import CloseKind
from reactor.testing import Faults, Network, Simulation, SimulationError, simulation
from tests.facts import said
from tests.testing.kit import Client, Echo, Quiet, world

#: Of the journal of `scenario`, on every Python. It changes with the calls that the library makes, and with what seeds mean.
DIGEST = "6263c0478d6030b9"


def scenario() -> str:
    """Return the digest of a run in which everything happens."""
    faults = Faults.all(0.03, signals=(signal.SIGTERM,))
    with world(11, network=Network(jitter=0.01, loss=0.05, duplication=0.1), faults=faults) as here:
        here.reactor.on_signal(signal.SIGTERM, lambda: None)
        clients = [here.connect(Client(bytes([number]) * 2000), timeout=600) for number in range(20)]
        local = Client(bytes(5000))
        here.serving.listen(Echo, "unix:echo.sock")
        here.serving.connect(local, "unix:echo.sock")
        here.sim.after(1, here.sim.partition, "server", "client")
        here.sim.after(9, here.sim.heal)
        here.until_closed(*clients, local)
        with (
            here.server.sockets.socket(type=socket.SOCK_DGRAM) as one,
            here.client.sockets.socket(type=socket.SOCK_DGRAM) as two,
        ):
            one.bind(("", 9))
            for number in range(100):
                two.sendto(bytes([number]), (here.server.addresses[0], 9))
            here.sim.advance(10)
            while isinstance(said(one.recv, 10, socket.MSG_DONTWAIT), bytes):
                pass
        return hashlib.sha256(str(here.sim.journal).encode()).hexdigest()[:16]


# Determinism


@pytest.mark.skipif(sys.platform != "linux", reason="signals and errors have other numbers elsewhere")
def test_a_seed_is_the_same_run_everywhere() -> None:
    """The journal does not depend on the process, its hashes, its directory, the version of Python or what ran before."""
    root = Path(__file__).parents[2]
    told = {scenario()}
    for hash_seed in ("0", "42"):
        told.add(
            subprocess.run(
                [sys.executable, "-m", __name__],
                cwd="/",
                env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
        )
    assert told == {DIGEST}


# Time


def test_time_that_is_stuck_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who always has something to do at the same moment is reported, instead of running for ever."""
    monkeypatch.setattr(simulation, "PASSES_AT_ONCE_MAX", 500)

    @attrs.define(eq=False)
    class Ping(Echo):
        def on_connect(self) -> None:
            self.write(b"x")

    with Simulation(network=Network(latency=0)) as sim:
        with Quiet(system=sim.host("a")) as one, Quiet(system=sim.host("b")) as other:
            one.listen(Ping, ":7")
            other.connect(Ping(), ("10.0.0.2", 7))
            with pytest.raises(SimulationError, match=r"at 0\.000000 s: time is stuck: 501 passes at one moment"):
                sim.advance(1)

        def again() -> None:
            sim.after(0, again)

        monkeypatch.setattr(simulation, "EVENTS_AT_ONCE_MAX", 500)
        sim.after(1, again)
        with pytest.raises(SimulationError, match=r"at 1\.000000 s: time is stuck: 501 events at one moment"):
            sim.run()


def test_many_passes_are_no_stuck_time_while_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is of one moment."""
    monkeypatch.setattr(simulation, "PASSES_AT_ONCE_MAX", 500)
    with Simulation() as sim, Quiet(system=sim) as reactor:
        ticks: list[int] = []
        reactor.call_every(0.001, ticks.append, 1)
        sim.advance(2)
        assert len(ticks) > 1000


def test_reactors_take_turns() -> None:
    """A reactor that always has something to do at once does not keep the others from their passes."""
    with Simulation() as sim, Quiet(system=sim.host("a")) as busy, Quiet(system=sim.host("b")) as other:
        done: list[int] = []

        def again() -> None:
            if not done:
                busy.call_soon(again)

        busy.call_soon(again)
        other.call_soon(done.append, 1)
        assert sim.run(lambda: done)
        assert sim.now == 1000


def test_time_is_left_where_run_was_told_to_leave_it() -> None:
    """With a time-out time goes on to its end, whatever is there; without one it stays where the last thing happened."""
    with Simulation() as sim:
        sim.run(timeout=5)
        assert sim.now == 1005
        sim.after(3, lambda: None)
        sim.run(timeout=1)
        assert sim.now == 1006
        sim.run()
        assert sim.now == 1008
        assert sim.run(lambda: True, timeout=9) is True
        assert sim.now == 1008


# What is raised


def test_what_a_call_at_a_moment_raises_comes_out_of_run() -> None:
    """It is nobody's hook: no handler is closed for it, even if it struck in the middle of one; what is left goes on."""
    with Simulation() as sim, Quiet(system=sim) as reactor:
        here, there = sim.sockets.socketpair()
        echo = reactor.attach(Echo(), here)
        happened: list[int] = []
        sim.after(1, divmod, 1, 0)
        sim.after(1, happened.append, 1)
        with pytest.raises(ZeroDivisionError):
            sim.advance(2)
        assert not happened
        sim.advance(0)
        assert happened
        sim.after(0, divmod, 1, 0)
        there.send(b"x")  # a system call, in which it strikes
        with pytest.raises(ZeroDivisionError):
            reactor.run_once(0)
        assert echo.is_open
        assert not reactor.raised
        there.close()
        sim.advance(1)
        sim.after(0, divmod, 1, 0)
        sim.settle()
        with pytest.raises(ZeroDivisionError):
            sim.check()


def interrupt() -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def test_an_interrupt_inside_another_reactor_comes_out() -> None:
    """KeyboardInterrupt in a reactor's hook leaves the reactor that waits as well, and both can go on."""
    with Simulation() as sim, Quiet(system=sim.host("a")) as waiting, Quiet(system=sim.host("b")) as other:
        waiting.listen(Echo, ":7")
        for run in (waiting.run, sim.run):
            other.call_later(1, interrupt)
            with pytest.raises(KeyboardInterrupt):
                run()
            assert [waiting.is_running, other.is_running] == [False, False]
        sim.after(1, interrupt)
        with pytest.raises(KeyboardInterrupt):
            waiting.run()
        client = Client()
        other.connect(client, ("10.0.0.2", 7))
        assert sim.run(lambda: client.reason)
        assert client.received == b"hello"


# What is closed from elsewhere


def test_a_reactor_may_be_closed_in_a_pass_of_another() -> None:
    """Its handlers hear SHUTDOWN, its peers a reset or the end, and nobody runs it again."""
    with Simulation() as sim, Quiet(system=sim.host("b")) as other:
        gone = Quiet(system=sim.host("a"))
        gone.listen(Echo, ":7")
        gone.call_later(50, gone.stop)
        client = Client(bytes(1_000_000))
        other.connect(client, (sim.host("a").addresses[0], 7))
        other.call_later(0.01, gone.close)
        sim.advance(100)
        assert client.kind is CloseKind.RESET
        assert gone.is_closed
        assert not other.raised


def test_a_reactor_that_waits_cannot_be_closed_from_another() -> None:
    """`close` in another reactor's pass is refused while a reactor runs, as it is anywhere."""
    with Simulation() as sim, Quiet(system=sim.host("a")) as waiting, Quiet(system=sim.host("b")) as other:
        other.call_later(1, waiting.close)
        waiting.call_later(2, waiting.stop)
        waiting.run()
        (context,) = other.raised
        assert "while the reactor runs" in str(context.exc)


def test_hooks_may_close_anybody() -> None:
    """A hook that closes its handler, its siblings and a socket whose number is used again at once harms nobody."""
    with world(3, faults=Faults(short=0.1, again=0.1, shuffle=0.5)) as here:
        clients: list[Client] = []

        @attrs.define(eq=False)
        class Killer(Client):
            def on_data(self, data: bytes) -> None:
                self.close()
                for other in clients[:3]:
                    other.abort()
                here.client.sockets.socket().close()
                if len(clients) < 100:
                    clients.append(here.connect(Killer(bytes(100))))

        clients += [here.connect(Killer(bytes(100))) for _ in range(20)]
        here.sim.run(lambda: all(client.reason for client in clients), timeout=1000)
        assert len(clients) == 100
        assert [*here.reactor.raised, *here.serving.raised] == []


@pytest.mark.parametrize("target", ["127.0.0.1:7", "[::1]:7", "unix:/run/echo.sock"])
def test_two_reactors_of_one_host_talk(target: str) -> None:
    """Over loopback and over a Unix socket, without time going on, whoever of the two it is that waits."""
    with Simulation() as sim, Quiet(system=sim) as serving, Quiet(system=sim) as reactor:
        serving.listen(Echo, target)
        client = Client(bytes(300_000))
        reactor.connect(client, target)
        assert reactor.run_until(lambda: client.reason)
        assert client.received == client.message
        assert sim.now == 1000
        second = Client()
        reactor.connect(second, target)
        serving.run_until(lambda: second.reason, timeout=1)
        assert second.received == b"hello"


def test_a_server_without_descriptors_rests() -> None:
    """With few descriptors to have, a server accepts as many as it can, and the others when these have gone."""
    with Simulation() as sim:
        few = sim.host("few")
        few.kernel.descriptors_max = 8
        with Quiet(system=few) as serving, Quiet(system=sim) as reactor:
            serving.log.setLevel("CRITICAL")
            serving.listen(Echo, ":7")
            clients = [Client(bytes(3000)) for _ in range(20)]
            for client in clients:
                reactor.connect(client, ("10.0.0.2", 7))
            assert sim.run(lambda: all(client.reason for client in clients), timeout=600)
            assert all(client.received == client.message for client in clients)
            assert serving.stats().accept_errors["EMFILE"] > 0
            serving.log.setLevel("NOTSET")


def test_two_thousand_connections() -> None:
    """A crowd is served as one is."""
    with world() as here:
        clients = [here.connect(Client(), timeout=3000) for _ in range(2000)]
        here.until_closed(*clients)
        assert {client.kind for client in clients} == {CloseKind.LOCAL_CLOSE}


if __name__ == "__main__":
    print(scenario())

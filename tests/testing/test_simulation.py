"""Simulations: virtual time, hosts that talk, networks that fail, and verdicts on what is wrong."""

from __future__ import annotations

import errno
import signal
import socket
from typing import Any

import attrs
import pytest

from reactor import READ, Acceptor, Address, CloseKind, ConnectError, Handler, Reactor, Stream, UsageError
from reactor.testing import Faults, Hang, InjectedError, Leak, Network, Simulation, Violation
from reactor.testing.faults import KINDS
from reactor.testing.selector import KINDS as SELECTOR_KINDS
from reactor.testing.selector import Kind
from tests.testing.kit import Client, Echo, Quiet, world

# Time and hosts


@pytest.mark.parametrize("kind", SELECTOR_KINDS)
def test_handlers_of_two_hosts_talk(kind: Kind) -> None:
    """An echo through the network comes back whole, and takes the time that the links take."""
    with world(network=Network(latency=0.25), kind=kind) as here:
        client = here.connect(Client(b"x" * 500_000))
        here.until_closed(client)
        assert client.received == client.message
        assert client.kind is CloseKind.LOCAL_CLOSE
        assert here.sim.now - 1000 > 1.5


def test_a_year_of_timers_takes_no_time() -> None:
    """Timers fire in virtual time, in their order; `time` goes on with `monotonic`."""
    with Simulation() as sim, sim.reactor() as reactor:
        fired: list[float] = []
        reactor.call_every(3600, lambda: fired.append(reactor.time()))
        wall = sim.time()
        sim.advance(365 * 86400)
        assert len(fired) == 8760
        assert sim.time() - wall == pytest.approx(365 * 86400)


def test_a_simulation_is_a_system() -> None:
    """`Reactor(system=Simulation())` runs by itself, without `sim.run`."""
    with Simulation() as sim, Reactor(system=sim) as reactor:
        reactor.listen(Echo, "127.0.0.1:7")
        client = Client()
        reactor.connect(client, "127.0.0.1:7")
        assert reactor.run_until(lambda: client.reason)
        assert client.received == b"hello"


def test_while_one_reactor_waits_the_others_run() -> None:
    """A program that calls `run` itself is answered by a server on another host."""
    with world() as here:
        client = here.connect(Client())
        here.reactor.run()
        assert client.received == b"hello"


def test_a_blocking_socket_makes_time_go_on() -> None:
    """A test's own blocking socket connects to a reactor on another host, sends and receives."""
    with world() as here:
        with here.client.sockets.create_connection((here.server.addresses[1], 7), timeout=5) as sock:
            sock.sendall(b"abc")
            assert sock.recv(10) == b"abc"
            with pytest.raises(TimeoutError):
                sock.recv(10)
            assert here.sim.now >= 1005
        here.sim.run(timeout=10)


def test_run_ends_with_its_predicate_its_time_or_when_nothing_can_happen() -> None:
    """`run` tells whether its predicate holds."""
    with Simulation() as sim, sim.reactor() as reactor:
        fired: list[int] = []
        reactor.call_later(5, fired.append, 1)
        assert sim.run(lambda: fired, timeout=2) is False
        assert sim.now == 1002
        assert sim.run(lambda: fired) is True
        assert sim.now == 1005
        assert sim.run(lambda: len(fired) > 1) is False
        sim.run()


def test_a_reactor_that_stops_makes_no_more_passes_in_this_run() -> None:
    """`stop` ends a reactor's part in `sim.run`; the next run goes on with it."""
    with Simulation() as sim, sim.reactor() as reactor:
        ticks: list[int] = []

        def tick() -> None:
            ticks.append(1)
            reactor.stop()

        reactor.call_every(1, tick)
        sim.advance(10)
        assert len(ticks) == 1
        sim.advance(10)
        assert len(ticks) == 2


def test_calls_at_a_moment_come_from_outside() -> None:
    """`at` and `after` call from no reactor, in order; a past moment is now."""
    with Simulation() as sim:
        order: list[str] = []
        sim.after(2, order.append, "second")
        sim.at(0, order.append, "first")
        sim.after(2, order.append, "third")
        sim.run()
        assert order == ["first", "second", "third"]
        assert sim.now == 1002


# Networks


def test_a_partition_is_survived_if_it_heals() -> None:
    """What is sent while a link is cut arrives after it has healed, by retransmission."""
    with world() as here:
        client = here.connect(Client(b"y" * 1000))
        here.sim.run(lambda: client.is_open)
        here.sim.partition(here.server, "client")
        here.sim.advance(60)
        assert not client.received
        here.sim.heal("server", here.client)
        here.until_closed(client)
        assert client.received == client.message


def test_a_partition_for_ever_ends_in_a_timeout() -> None:
    """TCP gives a silent peer up in the end, with ETIMEDOUT, and tells."""
    with world() as here:
        client = here.connect(Client(b"y"))
        here.sim.run(lambda: client.is_open)
        here.sim.partition("server", "client")
        client.write(b"z")
        here.until_closed(client)
        assert client.reason is not None
        assert getattr(client.reason.error, "errno", None) == errno.ETIMEDOUT
        here.sim.heal()
        here.sim.run(timeout=3600)


@pytest.mark.parametrize(
    ("address", "number", "seconds"),
    [
        ("10.0.0.77", errno.EHOSTUNREACH, 3),
        ("192.0.2.1", errno.ENETUNREACH, 0),
        ("[2001:db8::1]", errno.ENETUNREACH, 0),
        ("198.51.100.1", errno.ETIMEDOUT, 127),
        ("10.0.0.2", errno.ECONNREFUSED, 0.002),
    ],
)
def test_connects_fail_as_they_do_outside(address: str, number: int, seconds: float) -> None:
    """Nobody there, no route, silence, nobody listening: each with its errno, after its time."""
    with world() as here:
        here.sim.swallow("198.51.100.1")
        client = Client()
        here.reactor.connect(client, f"{address}:81", timeout=1000)
        here.until_closed(client)
        assert client.reason is not None
        assert isinstance(client.reason.error, ConnectError)
        assert client.reason.error.errno == number
        assert here.sim.now - 1000 == pytest.approx(seconds)


def test_a_syn_is_sent_again() -> None:
    """A connect during a partition succeeds when the link has healed, with the next SYN."""
    with world() as here:
        here.sim.partition("server", "client")
        client = here.connect(Client())
        here.sim.advance(2)
        here.sim.heal()
        here.until_closed(client)
        assert client.received == b"hello"
        assert here.sim.now >= 1003


def test_a_connection_that_was_given_up_leaves_nothing_at_the_listener() -> None:
    """A connect that is cancelled while the answer is on its way is never accepted."""
    with world(network=Network(latency=1)) as here:
        dial = here.reactor.connect(Client(), (here.server.addresses[0], 7))
        here.sim.advance(1.5)
        assert dial.cancel()
        here.sim.advance(10)
        assert here.serving.stats().accepted == 0


def test_a_link_may_be_slow() -> None:
    """One link may be unlike the others."""
    with world() as here:
        here.sim.link("server", here.client, Network(latency=0.5, bandwidth=1000))
        client = here.connect(Client(b"z" * 2000))
        here.until_closed(client)
        assert here.sim.now - 1000 > 4


# Faults


def test_all_faults_lose_no_byte() -> None:
    """With every fault but those that end a connection, echoes come back whole; and each kind has struck."""
    faults = Faults.all(0.05, reset=0, hook=0, signals=(signal.SIGTERM,))
    struck: set[str] = set()
    for seed in range(10):
        with world(seed, network=Network(jitter=0.01, loss=0.05), faults=faults) as here:
            here.reactor.on_signal(signal.SIGTERM, lambda: None)
            clients = [here.connect(Client(bytes([number]) * 3000), timeout=1000) for number in range(10)]
            here.until_closed(*clients)
            assert all(client.received == client.message for client in clients)
            struck |= {strike.partition("#")[0] for strike in here.sim.strikes}
            here.reactor.raised.clear()
            here.serving.raised.clear()
    assert struck == set(KINDS) - {"reset", "hook", "lookup", "slow_lookup"}


def test_resets_and_raising_hooks_end_connections_and_nothing_else() -> None:
    """Every connection ends, whatever strikes it, and the hooks' errors are the injected ones."""
    kinds = set()
    for seed in range(5):
        with world(seed, faults=Faults(reset=0.5, hook=0.05)) as here:
            clients = [here.connect(Client(bytes(6000))) for _ in range(20)]
            here.until_closed(*clients)
            here.sim.run(timeout=100)
            kinds |= {client.kind for client in clients}
            raised = [*here.reactor.raised, *here.serving.raised]
            assert {type(each.exc) for each in raised} <= {InjectedError}
    assert {CloseKind.RESET, CloseKind.HANDLER_ERROR, CloseKind.LOCAL_CLOSE} <= kinds


def journal(seed: int) -> str:
    """The journal of a run with everything on."""
    with world(seed, network=Network(jitter=0.01, loss=0.05), faults=Faults.all(0.03)) as here:
        clients = [here.connect(Client(bytes([number]) * 2000), timeout=600) for number in range(10)]
        here.until_closed(*clients)
        return str(here.sim.journal)


def test_a_seed_is_a_run() -> None:
    """The same seed gives the same journal, byte by byte; another seed another one."""
    assert journal(4) == journal(4) != journal(5)


def test_only_some_strikes_may_be_left() -> None:
    """With `only`, nothing but the strikes that are named happens."""
    with world(2, faults=Faults.all(0.1)) as here:
        here.until_closed(here.connect(Client(bytes(3000)), timeout=600))
        here.sim.run(timeout=100)
        strikes = here.sim.strikes
    keep = strikes[0]
    with world(2, faults=attrs.evolve(Faults.all(0.1), only={keep})) as here:
        here.until_closed(here.connect(Client(bytes(3000))))
        assert here.sim.strikes == (keep,)


# Signals


def test_signals_arrive_where_they_are_sent() -> None:
    """A host's signal reaches the callbacks of its reactor, and its action is put back."""
    with Simulation() as sim, sim.reactor() as reactor:
        heard: list[int] = []
        handle = reactor.on_signal(signal.SIGTERM, heard.append, 1)
        sim.raise_signal(signal.SIGTERM)
        sim.run()
        assert heard == [1]
        handle.cancel()
        assert sim.get_signal(signal.SIGTERM) == signal.SIG_DFL
        sim.raise_signal(signal.SIGTERM)
        with pytest.raises(UsageError):
            reactor.on_signal(signal.SIGKILL, heard.append, 1)
        with pytest.raises(UsageError):
            reactor.on_signal(4711, heard.append, 1)


def test_a_ctrl_c_ends_a_run() -> None:
    """SIGINT on a host shuts its reactor down, and `run` raises, as outside."""
    with Simulation() as sim, sim.reactor() as reactor:
        reactor.listen(Echo, ":7")
        sim.after(5, sim.raise_signal, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            reactor.run()
        assert sim.now == 1005


# Names


def test_names_are_those_of_hosts_and_those_that_were_added() -> None:
    """`getaddrinfo` knows hosts, added names, numbers and localhost, and nothing else."""
    with Simulation() as sim:
        server = sim.host("server")
        sim.add_name("example.org", "192.0.2.7", "2001:db8::7")
        four, six = int(socket.AF_INET), int(socket.AF_INET6)
        assert sim.getaddrinfo("server", 80) == [(six, ("fd00::2", 80, 0, 0)), (four, ("10.0.0.2", 80))]
        assert server.getaddrinfo("example.org", 1) == [(six, ("2001:db8::7", 1, 0, 0)), (four, ("192.0.2.7", 1))]
        assert sim.getaddrinfo("server", 80, family=socket.AF_INET) == [(four, ("10.0.0.2", 80))]
        assert sim.getaddrinfo("localhost", 1) == [(six, ("::1", 1, 0, 0)), (four, ("127.0.0.1", 1))]
        assert sim.getaddrinfo("192.0.2.9", 1, flags=socket.AI_NUMERICHOST) == [(four, ("192.0.2.9", 1))]
        assert sim.getaddrinfo(None, 1) == sim.getaddrinfo("localhost", 1)
        assert sim.getaddrinfo(None, 1, flags=socket.AI_PASSIVE) == [(six, ("::", 1, 0, 0)), (four, ("0.0.0.0", 1))]
        for name, flags in (("nobody", 0), ("server", socket.AI_NUMERICHOST)):
            with pytest.raises(socket.gaierror):
                sim.getaddrinfo(name, 1, flags=flags)
        assert sim.host("server") is server


# Files and descriptors


def test_socket_files_are_the_hosts() -> None:
    """What asks for a socket file finds those that are bound on the host; a number is open while it names something."""
    with Simulation() as sim:
        sock = sim.socket(socket.AF_UNIX)
        sock.bind("/run/x")
        assert (sim.is_open(3), sim.is_open(4)) == (True, False)
        sim.set_permissions("/run/x", 0o600, None, None)
        sim.unlink("/run/x")
        with pytest.raises(FileNotFoundError):
            sim.unlink("/run/x")
        with pytest.raises(FileNotFoundError):
            sim.set_permissions("/run/x", 0o600, None, None)
        with sim.directory_lock("/run/x") as held:
            assert held
        sock.close()
        sim.ring(3, b"x")


# Verdicts


def test_a_leak_is_told() -> None:
    """Whatever is open at the end of the block is named, on its host."""
    sim = Simulation(3)
    sock = sim.host("a").sockets.socket()
    with pytest.raises(Leak, match=r"seed 3, at 0\.000000 s: still open: a: descriptor 3, Tcp"):
        sim.close()
    sock.close()
    sim.close()


def test_an_error_in_the_block_is_not_hidden_by_a_leak() -> None:
    """What is raised in the block comes out of it, whatever is open."""

    def fail(sim: Simulation) -> None:
        with sim:
            sim.sockets.socket()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(Simulation())


def test_a_hang_is_told() -> None:
    """A reactor that waits for what can never happen raises instead, and says who waits for what."""
    with Simulation() as sim, sim.reactor() as reactor:
        reactor.listen(Echo, ":7")
        with pytest.raises(Hang, match=r"(?s)nothing can happen any more\n.*Acceptor fd=6> waits to read") as caught:
            reactor.run()
        assert "what happened last:" in caught.value.__notes__[0]


def test_a_forgotten_refresh_is_told() -> None:
    """A handler whose interest has changed without `refresh` is a violation."""

    @attrs.define(eq=False)
    class Forgetful(Handler):
        wants: int = 0

        @property
        def interest(self) -> int:
            return self.wants

    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        handler = reactor.attach(Forgetful(), here)
        handler.wants = READ
        with there, pytest.raises(Violation, match=r"Forgetful wants 1, the poller was told 0"):
            reactor.run_once(0)


def test_a_descriptor_closed_behind_a_handlers_back_is_told() -> None:
    """A handler that lives with a closed descriptor is a violation."""
    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        reactor.attach(Handler(), here)
        here.close()
        with there, pytest.raises(Violation, match=r"Handler lives, and its descriptor \d is closed"):
            reactor.run_once(0)


def test_a_spin_is_told() -> None:
    """A handler that is told of readiness and does nothing about it, pass after pass, is a violation."""
    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        reactor.attach(Handler(), here)
        there.send(b"x")
        with there, pytest.raises(Violation, match=r"sim spins: readiness is told, and nothing moves"):
            sim.run()


def test_hooks_out_of_order_are_told() -> None:
    """A hook that a program calls itself, out of order, is a violation."""

    @attrs.define(eq=False)
    class Impatient(Stream):
        def on_connect(self) -> None:
            self.on_end()
            self.on_data(b"")

    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        reactor.attach(Impatient(), here)
        with there, pytest.raises(Violation, match=r"Impatient\.on_data was called after END"):
            sim.run()


def test_checks_may_be_left_out() -> None:
    """With `checks=False` nobody looks, and handlers keep their class."""
    with Simulation(checks=False) as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        handler = reactor.attach(Handler(), here)
        there.send(b"x")
        for _ in range(10):
            reactor.run_once(0)
        assert type(handler) is Handler
        there.close()


def test_a_watched_handler_is_what_it_was() -> None:
    """The class that watches has the name of the one it watches, and is a subclass of it."""
    with world() as here:
        client = here.connect(Client())
        here.sim.run(lambda: client.is_open)
        assert isinstance(client, Client)
        assert (type(client).__name__, type(client).__qualname__) == ("Client", "Client")
        here.until_closed(client)


def test_after_on_close_nothing_may_be_called() -> None:
    """A bare handler's hook after its `on_close` is a violation."""
    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        handler = reactor.attach(Handler(), here)
        handler.close()
        sim.run()
        assert sim.monitor.is_closed(handler)
        handler.on_readable()
        with there, pytest.raises(Violation, match=r"Handler\.on_readable was called after on_close"):
            sim.check()


def test_an_acceptor_accepts_nobody_after_its_end() -> None:
    """A hook of a handler that is no stream, after its `on_close`, is a violation."""

    @attrs.define(eq=False)
    class Ignoring(Acceptor):
        def on_accept(self, sock: socket.socket, peer: Address) -> None:
            pass

    with Simulation() as sim, sim.reactor() as reactor, sim.sockets.socket() as sock:
        acceptor = Ignoring().listen(reactor, ":7")
        acceptor.close()
        sim.run()
        acceptor.on_accept(sock, acceptor.addresses[0])
        with pytest.raises(Violation, match=r"Ignoring\.on_accept was called after on_close"):
            sim.check()


def test_a_handler_is_not_called_once_it_is_closed() -> None:
    """What is told of readiness after `close`, and before `on_close`, is a violation."""
    with Simulation() as sim, sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        handler = reactor.attach(Handler(), here)
        handler.close()
        handler.on_readable()
        with there, pytest.raises(Violation, match=r"Handler\.on_readable was called after it was closed"):
            sim.check()


def test_a_handler_that_was_not_told_of_its_end_is_told_of() -> None:
    """A handler that has ended without `on_close` is a violation at the end of the simulation."""
    sim = Simulation()
    with sim.reactor() as reactor:
        here, there = sim.sockets.socketpair()
        handler = reactor.attach(Handler(), here)
        handler.close()
        reactor._closed.clear()  # what the library must not do
    there.close()
    with pytest.raises(Violation, match=r"Handler has ended, .*, and was not told"):
        sim.close()


def test_a_reactor_that_is_not_woken_is_told() -> None:
    """A call from elsewhere, and no ring at the door: a violation, since nobody would ever make it."""
    with Simulation() as sim, sim.reactor() as reactor:
        reactor.listen(Echo, ":7")
        reactor._inbox.append((print, (), None))  # as `call_threadsafe` does, and then it rings
        with pytest.raises(Violation, match=r"sim sleeps on a call from elsewhere"):
            sim.run()


def test_a_ring_at_an_empty_doorbell_is_never_refused() -> None:
    """EAGAIN by fault does not strike a Unix socket whose peer has read everything: it could not be full."""
    with Simulation(faults=Faults(again=1.0)) as sim:
        here, there = sim.sockets.socketpair()
        here.setblocking(False)
        with here, there:
            assert here.send(b"x") == 1
            with pytest.raises(BlockingIOError):
                here.send(b"x")


def test_a_reset_by_fault_waits_behind_what_a_cut_path_holds_up() -> None:
    """What was sent before the reset is neither lost nor overtaken, and both ends hear of the reset once the path heals."""
    for seed in range(20):
        with world(seed, faults=Faults(reset=1.0, only=["reset#1"])) as here:
            client = here.connect(Client(b"".join(b"%06d" % number for number in range(2000))))
            here.sim.advance(0.01)
            here.sim.partition("client", "server")
            here.sim.advance(1.0)
            here.sim.heal()
            here.until_closed(client)
            assert client.message.startswith(client.received)
            assert client.kind is CloseKind.RESET


def test_a_busy_pass_finds_much_ready_at_once() -> None:
    """The fault `busy` lets time pass before a wait; what comes meanwhile is there, all of it, when it is over."""
    with Simulation(faults=Faults(busy=1.0, busy_seconds_max=0.5)) as sim, sim.reactor() as reactor:
        sim.after(0.0, sim.note, "now")
        reactor.run_once(0)
        assert 0 < sim.jumped <= 0.5
        assert sim.now == pytest.approx(1000.0 + sim.jumped)


# What it refuses


def test_a_foreign_socket_is_refused() -> None:
    """A reactor of a simulation takes neither a real socket nor one of another host."""
    with Simulation() as sim, sim.reactor() as reactor, socket.socket() as real, sim.host("b").sockets.socket() as other:
        for sock in (real, other):
            with pytest.raises(UsageError, match=r"a reactor on simulated host 'sim' takes sockets of that host"):
                reactor.attach(Handler(), sock)


def test_an_unknown_kind_of_selector_is_refused() -> None:
    """The message names the kinds that there are."""
    kind: Any = "iocp"
    with Simulation() as sim, pytest.raises(UsageError, match="one of epoll, poll, select, not 'iocp'"):
        sim.selector(kind)


def test_the_real_descriptors_are_left_alone() -> None:
    """A simulation opens nothing outside itself: the loop in it has simulated sockets only."""
    with Simulation() as sim, Quiet(system=sim) as reactor:
        assert type(reactor._waker.sock).__name__ == "SimulatedSocket"
        assert repr(sim) == "<Simulation seed=0, 1 hosts, 0.000000 s>"

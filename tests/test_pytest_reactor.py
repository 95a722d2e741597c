"""The pytest plugin, by tests that run tests: in this process where it can be, in another one where it must."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import pytest_reactor
import reactor.testing  # noqa: F401  # else each inner run would import, and forget, it anew

#: What pytest says under -O.
OPTIMIZED = "ignore:assertions not in test modules:pytest.PytestConfigWarning"
#: For each inner run: the plugin is there whether or not it is installed, and warnings are errors.
OPTIONS = ("-p", "pytest_reactor", "-p", "no:cacheprovider", "--strict-markers", "-W", "error", "-W", OPTIMIZED)

HANDLERS = """
import socket
import attrs
import pytest
from reactor import Stream
from reactor.testing import Faults

@attrs.define(eq=False)
class Echo(Stream):
    def on_data(self, data):
        self.write(data)

@attrs.define(eq=False)
class Raises(Stream):
    def on_connect(self):
        raise LookupError("in a hook")

def talk(sim, factory=Echo):
    with sim.host("server").reactor() as reactor:
        reactor.listen(factory, (sim.host("server").addresses[0], 7))
        with sim.host("client").sockets.create_connection(("server", 7)) as client:
            client.sendall(b"hello")
            return client.recv(5)
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no other plugins in inner runs, so that what they show is this one's."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """Run *tests*, in this process."""
    pytester.makepyfile(test_inner=HANDLERS + tests)
    return pytester.runpytest_inprocess(*OPTIONS, *options)


def test_it_costs_nothing_when_unused(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in which nobody asks for a fixture imports nothing of the library."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            assert "pytest_reactor" in sys.modules
            assert not [name for name in sys.modules if name.partition(".")[0] in ("reactor", "attr", "attrs")]
        """
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(pytest_reactor.__file__).parent))
    result = pytester.run(sys.executable, "-m", "pytest", *OPTIONS)
    result.assert_outcomes(passed=1)


def test_what_it_offers_is_described(pytester: pytest.Pytester) -> None:
    """`pytest --fixtures`, `--markers` and `--help` tell of it."""
    pytester.runpytest_inprocess(*OPTIONS, "--fixtures").stdout.fnmatch_lines(
        ["sim -- *", "reactor -- *", "reactor_thread -- *", "leaks -- *"]
    )
    pytester.runpytest_inprocess(*OPTIONS, "--markers").stdout.fnmatch_lines(["@pytest.mark.seeds(count=20, *"])
    pytester.runpytest_inprocess(*OPTIONS, "--help").stdout.fnmatch_lines(["*--sim-seed=SEED*", "*--sim-seeds=N*"])


def test_reactor(pytester: pytest.Pytester) -> None:
    """`reactor` is a real reactor, which is closed afterwards."""
    result = run(
        pytester,
        """
kept = []

def test_one(reactor):
    here, there = socket.socketpair()
    stream = reactor.attach(Echo(), here)
    with there:
        there.sendall(b"hello")
        assert reactor.run_until(lambda: stream.buffered or reactor.events, timeout=20)
        assert there.recv(10) == b"hello"
    kept.append(reactor)

def test_two():
    assert kept[0].is_closed
""",
    )
    result.assert_outcomes(passed=2)


def test_reactor_fails_for_what_hooks_raise(pytester: pytest.Pytester) -> None:
    """An error of a hook that was not expected fails the test; one that is taken out of `errors` does not."""
    result = run(
        pytester,
        """
def test_unexpected(reactor):
    here, there = socket.socketpair()
    with there:
        reactor.attach(Raises(), here)
        reactor.run_once(0)

def test_expected(reactor):
    here, there = socket.socketpair()
    with there:
        reactor.attach(Raises(), here)
        reactor.run_once(0)
    assert [str(context.exc) for context in reactor.errors] == ["in a hook"]
    reactor.errors.clear()
""",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*LookupError: in a hook", "*raised in on_connect of Raises"])


def test_reactor_thread(pytester: pytest.Pytester) -> None:
    """A blocking client is served by a thread; what hooks raise there fails the test."""
    result = run(
        pytester,
        """
def ask(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"hello")
            return client.recv(5)
    except OSError:
        return b"reset"

def test_served(reactor_thread, leaks):
    acceptor = reactor_thread.listen(Echo)
    assert ask(acceptor.port) == b"hello"
    reactor_thread.call(acceptor.close)

def test_raises(reactor_thread):
    ask(reactor_thread.listen(Raises).port)
""",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*LookupError: in a hook"])


def test_leaks(pytester: pytest.Pytester) -> None:
    """What a test leaves behind fails it, and is named; what it closes, and what its fixtures have, does not."""
    result = run(
        pytester,
        """
kept = []

def test_descriptor(leaks):
    kept.extend(socket.socketpair())

def test_timer(leaks, reactor):
    reactor.call_later(1000, print)

def test_nothing(leaks, reactor, sim):
    for sock in kept:
        sock.close()
    reactor.call_later(1000, print).cancel()
""",
    )
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(["left behind: descriptor *", "left behind: timer of <built-in function print>"])


def test_sim_without_a_marker(pytester: pytest.Pytester) -> None:
    """A test that uses `sim` runs once, with seed 0, or with the one that is given."""
    tests = """
def test_talk(sim):
    print("seed is", sim.seed)
    assert talk(sim) == b"hello"
"""
    run(pytester, tests, "-s").stdout.fnmatch_lines(["*seed is 0"])
    result = run(pytester, tests, "-s", "--sim-seed=7")
    result.stdout.fnmatch_lines(["*seed is 7"])
    result.assert_outcomes(passed=1)


def test_seeds(pytester: pytest.Pytester) -> None:
    """A marked test runs once for each seed; options say how many, or which one."""
    tests = """
@pytest.mark.seeds(3, faults=Faults(short=1.0))
def test_talk(sim):
    assert talk(sim) == b"h"
    assert sim.strikes

@pytest.mark.seeds
def test_default(sim):
    pass

@pytest.mark.seeds(5)
def test_other():
    pass
"""
    result = run(pytester, tests, "-v")
    result.assert_outcomes(passed=3 + 20 + 1)
    result.stdout.fnmatch_lines(["*::test_talk?seed=0? *", "*::test_talk?seed=1? *", "*::test_talk?seed=2? *"])
    run(pytester, tests, "--sim-seeds=4").assert_outcomes(passed=4 + 4 + 1)
    result = run(pytester, tests, "-v", "--sim-seed=17")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_talk?seed=17? *"])


FAILING = """
@pytest.mark.seeds(3, faults=Faults(short=1.0))
def test_talk(sim):
    assert talk(sim) == b"h"
    assert sim.seed != 1

@pytest.mark.parametrize("what", ["a b"])
@pytest.mark.seeds(2)
def test_other(sim, what):
    assert sim.seed != 1
"""


def test_a_failure_says_how_it_is_rerun(pytester: pytest.Pytester) -> None:
    """The report of a test that fails has the seed, the command, the faults that struck and what happened last."""
    result = run(pytester, FAILING)
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_talk?seed=1?*",
            "*-- simulation --*",
            "seed 1; to rerun: pytest test_inner.py::test_talk --sim-seed=1",
            "faults that struck: short#1, *",
            "what happened last:",
            "1000.* client recv *",
            "*-- simulation --*",
            "seed 1; to rerun: pytest 'test_inner.py::test_other?seed=1-a b?' --sim-seed=1",
            "faults that struck: none",
        ]
    )


def test_that_command_reruns_it(pytester: pytest.Pytester) -> None:
    """Each command that a failure prints fails again, alone."""
    run(pytester, FAILING)
    for name in ("test_inner.py::test_talk", "test_inner.py::test_other[seed=1-a b]"):
        again = pytester.runpytest_inprocess(*OPTIONS, name, "--sim-seed=1")
        again.assert_outcomes(failed=1)


def test_what_a_simulation_leaves_fails_its_test(pytester: pytest.Pytester, logs: list[str]) -> None:
    """A socket that is open in the end, and an error of a hook, are errors, whose reports tell of the simulation."""
    result = run(
        pytester,
        """
def test_leak(sim):
    sim.sockets.socket()

def test_hook(sim):
    with pytest.raises(ConnectionResetError):
        talk(sim, Raises)
""",
    )
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*Leak: seed 0, *", "*-- simulation --*", "*LookupError: in a hook", "*-- simulation --*"])
    assert len(logs) == 1
    logs.clear()


def test_expected_errors(pytester: pytest.Pytester, logs: list[str]) -> None:
    """What the marker expects of hooks, and what the fault `hook` raises, fails no test."""
    result = run(
        pytester,
        """
@pytest.mark.seeds(1, raises=LookupError)
def test_expected(sim):
    with pytest.raises(ConnectionResetError):
        talk(sim, Raises)

@pytest.mark.seeds(1, faults=Faults(hook=1.0))
def test_injected(sim):
    with pytest.raises(ConnectionResetError):
        talk(sim)

def test_no_exception(sim):
    with sim.reactor() as reactor:
        reactor.log.error("only words")
""",
    )
    result.assert_outcomes(passed=3)
    assert logs
    logs.clear()


def test_a_failure_leaves_nothing(pytester: pytest.Pytester) -> None:
    """Reactors that a failed test has left open are closed, and warn nobody later, in another test."""
    result = run(
        pytester,
        """
import gc

def test_fails(sim):
    reactor = sim.reactor()
    reactor.listen(Echo, ("127.0.0.1", 7))
    other = sim.host("other").reactor()
    sim.host("bare").selector()
    assert not reactor

def test_later():
    gc.collect()
""",
    )
    result.assert_outcomes(passed=1, failed=1)

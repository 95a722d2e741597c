"""The pytest plugin: the fixtures `reactor`, `sim`, `leaks` and `reactor_thread`, and the marker `seeds`.

pytest imports it at every start, so it imports nothing of `reactor` until a fixture is asked for. It is a module of its own
beside the package for that reason: whatever is inside the package imports the package first.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from logging import ERROR, Handler, LogRecord, getLogger
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reactor.testing import ReactorThread, Simulation, WatchedReactor

#: Seeds of a test that is marked `seeds` and does not say how many.
SEEDS = 20
#: Lines of the journal in a report.
REPORT_LINES = 40

_simulation: pytest.StashKey[Simulation] = pytest.StashKey()
_failed: pytest.StashKey[bool] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--sim-seed` and `--sim-seeds`."""
    group = parser.getgroup("reactor", "simulated networks")
    group.addoption("--sim-seed", type=int, metavar="SEED", help="run each test that uses `sim` with this seed alone")
    group.addoption("--sim-seeds", type=int, metavar="N", help="run each test that is marked `seeds` with seeds 0 to N - 1")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"seeds(count={SEEDS}, *, faults=None, network=None, raises=()): run a test that uses `sim` with seeds from 0 on; "
        "faults, network: those of the simulation; raises: classes of what hooks may raise",
    )


def _marked(count: int = SEEDS, *, faults: Any = None, network: Any = None, raises: Any = ()) -> dict[str, Any]:
    """Return the arguments of the marker."""
    return {"count": count, "faults": faults, "network": network, "raises": raises}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked `seeds` once for each."""
    marker = metafunc.definition.get_closest_marker("seeds")
    if marker is None or "sim" not in metafunc.fixturenames:
        return
    seed, count = metafunc.config.option.sim_seed, metafunc.config.option.sim_seeds
    seeds = (
        [seed] if seed is not None else range(_marked(*marker.args, **marker.kwargs)["count"] if count is None else count)
    )
    metafunc.parametrize("sim", seeds, indirect=True, ids=[f"seed={each}" for each in seeds])


@pytest.fixture
def reactor() -> Iterator[WatchedReactor]:
    """A reactor on real sockets, which is closed afterwards.

    What its hooks raise fails the test, unless the test takes it out of `reactor.errors`.
    """
    from reactor.testing import WatchedReactor

    with WatchedReactor(debug=True) as made:
        yield made
    made.check_errors()


@pytest.fixture
def reactor_thread() -> Iterator[ReactorThread]:
    """A reactor that runs in a thread, for clients that block: `acceptor = reactor_thread.listen(Echo)`.

    What its hooks raise fails the test, unless the test takes it out of `reactor_thread.reactor.errors`.
    """
    from reactor.testing import ReactorThread

    with ReactorThread() as thread:
        yield thread


@pytest.fixture
def leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves descriptors, threads, reactors, or handlers and timers of a reactor that it was given."""
    for name in ("reactor", "reactor_thread", "sim"):
        if name in request.fixturenames:
            request.getfixturevalue(name)  # first, so that what it has by itself is there before, and after
    from reactor.testing.leaks import Inventory

    before = Inventory.take()
    yield
    left = before.left_since()
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A simulated network, from a seed: see the marker `seeds`. It must be empty in the end, and no hook may have raised."""
    from reactor.testing import NO_FAULTS, Simulation

    marker = request.node.get_closest_marker("seeds")
    marked = _marked() if marker is None else _marked(*marker.args, **marker.kwargs)
    seed = getattr(request, "param", request.config.option.sim_seed or 0)
    made = Simulation(seed, network=marked["network"], faults=marked["faults"] or NO_FAULTS)
    request.node.stash[_simulation] = made
    errors = _Errors(marked["raises"])
    getLogger("reactor").addHandler(errors)
    try:
        yield made
    finally:
        getLogger("reactor").removeHandler(errors)
        failed = request.node.stash.get(_failed, False)
        if failed:
            _close_reactors(made)
    if not failed:
        if errors.raised:
            raise errors.raised[0]
        made.close()


class _Errors(Handler):
    """Keeps what hooks have raised, which reactors log."""

    def __init__(self, expected: type[BaseException] | tuple[type[BaseException], ...]) -> None:
        super().__init__(ERROR)
        self.raised: list[BaseException] = []
        self._expected = expected

    def emit(self, record: LogRecord) -> None:
        from reactor.testing import InjectedError

        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, InjectedError) and not isinstance(error, self._expected):
            self.raised.append(error)


def _close_reactors(sim: Simulation) -> None:
    """Close what a test that failed has left, so that nothing of it warns later, in another test."""
    for selector in list(sim.selectors):
        if selector.reactor is not None:
            with suppress(Exception):
                selector.reactor.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Have the report of a failed test say how its simulation is run again, and what happened in it."""
    report = yield
    made = item.stash.get(_simulation, None)
    if report.failed and made is not None:
        item.stash[_failed] = True
        strikes = ", ".join(made.strikes) or "none"
        lines = [f"seed {made.seed}; to rerun: {_rerun(item)} --sim-seed={made.seed}", f"faults that struck: {strikes}"]
        lines += ["what happened last:", *made.journal.lines(REPORT_LINES)]
        report.sections.append(("simulation", "\n".join(lines)))
    return report


def _rerun(item: pytest.Item) -> str:
    """Return the command that runs this test."""
    nodeid = item.nodeid
    callspec = getattr(item, "callspec", None)
    if callspec is not None and list(callspec.params) == ["sim"]:
        nodeid = nodeid.partition("[")[0]
    return f"pytest {shlex.quote(nodeid)}"

"""Fixtures that every test gets: nothing leaks, nothing is logged or raised that the test did not expect."""

from __future__ import annotations

import gc
import logging
import os
import selectors
import threading
from collections.abc import Callable, Iterator

import pytest

pytest.register_assert_rewrite("tests.kit", "tests.testing.kit", "tests.http_rig")

from reactor.system import System  # noqa: E402
from tests.kit import SELECTORS, Clock, Fault, Watched  # noqa: E402  # its asserts are rewritten, too
from tests.worlds import CORE, SELECTOR_NAMES, World  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that does not say, in its docstring, which behaviour it asserts."""
    for item in items:
        if isinstance(item, pytest.Function) and item.cls is None and not item.function.__doc__:
            raise pytest.UsageError(f"{item.nodeid} has no docstring")


#: Whether each test runs once only: in the real world, and on the platform's best selector.
ONCE = os.environ.get("REACTOR_TESTS") == "once"
#: What tests whole programs, and is left out by `REACTOR_TESTS=package`; what tests them beside other people's is by `once`.
PROGRAMS = ["test_docs.py", "test_examples.py", "test_howto.py", "test_http_lite*.py"]
LEFT_OUT = {"package": PROGRAMS, "once": ["test_http_lite_tools.py", "test_http_lite_attacks.py"]}
collect_ignore_glob = LEFT_OUT.get(os.environ.get("REACTOR_TESTS", ""), [])

#: A thread that lives longer after its test is left over. Seconds.
THREAD_PATIENCE = 2.0


def descriptors() -> set[str]:
    """Return what this process has open: numbers, and what they name."""
    found = set()
    for number in os.listdir("/dev/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    """Fail a test after which more descriptors are open, or more threads run, than before."""
    threads = set(threading.enumerate())
    before = descriptors() if os.path.isdir("/dev/fd") else set()
    System.has_forked = False  # no test before this one is to make a difference
    yield
    if (descriptors() if os.path.isdir("/dev/fd") else set()) - before:
        gc.collect()
        left = descriptors() - before
        assert not left, f"left open: {left}"
    for thread in set(threading.enumerate()) - threads:
        thread.join(THREAD_PATIENCE)  # one that has done its work, and is about to end
    assert not set(threading.enumerate()) - threads


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Fail a test that logs; one that expects it takes the messages out of this list."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name != "reactor.slow":  # a busy machine makes every test slow now and then
                messages.append(record.getMessage())

    keep = Keep()
    logging.getLogger("reactor").addHandler(keep)
    yield messages
    logging.getLogger("reactor").removeHandler(keep)
    assert not messages, f"logged: {messages}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a test of the core run in both worlds, and what needs a selector on each that the world has."""
    worlds = [False]
    name = metafunc.module.__name__.removeprefix("tests.test_")
    if name in CORE and not ONCE and metafunc.definition.get_closest_marker("kernel") is None:
        worlds.append(True)
    if "selector" in metafunc.fixturenames:
        kinds = [selectors.DefaultSelector] if ONCE else SELECTORS
        real = [pytest.param(False, kind, id=kind.__name__) for kind in kinds]
        simulated = [pytest.param(True, name, id=f"simulated-{name}") for name in SELECTOR_NAMES]
        metafunc.parametrize(("world", "selector"), real + simulated * (len(worlds) - 1), indirect=True)
    elif len(worlds) > 1:
        metafunc.parametrize("world", worlds, indirect=True, ids=["real", "simulated"])


@pytest.fixture(autouse=True)
def world(request: pytest.FixtureRequest, leaks: None) -> Iterator[World | None]:
    """The simulated world in which the test runs; None for the real one."""
    if not getattr(request, "param", False):
        yield None
        return
    checks = request.node.get_closest_marker("unchecked") is None
    with World(checks=checks).around(request.module) as world:
        yield world


@pytest.fixture
def selector(request: pytest.FixtureRequest, world: World | None) -> Callable[[], selectors.BaseSelector]:
    """Each selector class in turn that the world has."""
    kind: Callable[[], selectors.BaseSelector] = request.param if world is None else world.selectors[request.param]
    return kind


@pytest.fixture
def reactor(selector: Callable[[], selectors.BaseSelector]) -> Iterator[Watched]:
    """A reactor on each selector; what hooks raise and the test does not take out of `raised` fails the test."""
    with Watched(selector=selector(), debug=True) as made:
        yield made
    assert not made.raised, made.raised


@pytest.fixture
def faulty(selector: Callable[[], selectors.BaseSelector]) -> Iterator[Watched]:
    """A reactor on each selector, whose system fails as it is told; see `tests.kit.faults`."""
    with Watched(selector=selector(), system=Fault(), debug=True) as made:
        yield made
    assert not made.raised, made.raised


@pytest.fixture
def virtual() -> Iterator[Watched]:
    """A reactor whose clock jumps instead of waiting; `virtual.system.moment` is its time."""
    with Watched(system=Clock(), debug=True) as made:
        yield made
    assert not made.raised, made.raised

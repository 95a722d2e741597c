"""The tests of the core run in both worlds: how many of them, and that a world keeps what it promises."""

from __future__ import annotations

import importlib
import inspect
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reactor import System as RealSystem
from reactor import UsageError
from reactor.testing import Leak, Simulation
from reactor.testing.sockets import SimulatedSocket
from tests import kit, worlds
from tests.worlds import CORE, REAL, System, World

#: Of the core's tests this share runs in both worlds at least.
SHARE_MIN = 0.9
#: Fixtures that are of the world in which the test runs.
OF_A_WORLD = {"reactor", "faulty", "virtual", "selector"}

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "reactor"


def functions_of(name: str) -> dict[str, Callable[..., object]]:
    """Return the test functions of the module for *name*."""
    module = importlib.import_module(f"tests.test_{name}")
    return {key: value for key, value in vars(module).items() if key.startswith("test_") and inspect.isfunction(value)}


def marks(function: Callable[..., object], name: str) -> list[pytest.Mark]:
    return [mark for mark in getattr(function, "pytestmark", ()) if mark.name == name]


def test_nobody_opts_out_silently() -> None:
    """Nine of ten tests of the core run in both worlds; each of the others says why it does not."""
    functions = [function for name in CORE for function in functions_of(name).values()]
    out = [mark for function in functions for mark in marks(function, "kernel")]
    excused = [mark for function in functions for mark in marks(function, "unchecked")]
    assert all(len(mark.args) == 1 and mark.args[0] for mark in (*out, *excused))
    share = 1 - len(out) / len(functions)
    assert share >= SHARE_MIN, f"{len(out)} of {len(functions)} tests of the core run on the real kernel only"
    assert len(excused) / len(functions) <= 0.02


def test_every_module_that_needs_a_world_is_of_the_core() -> None:
    """The tests of a file of the package that use a reactor are named in `tests.worlds`, so that they run in both worlds."""
    for path in TESTS.glob("test_*.py"):
        name = path.stem.removeprefix("test_")
        if (PACKAGE / f"{name}.py").exists() and name not in (*CORE, *REAL):
            used = {each for function in functions_of(name).values() for each in inspect.signature(function).parameters}
            assert not used & OF_A_WORLD, f"tests/test_{name}.py is not in tests.worlds.CORE"


# A world


@pytest.fixture
def inside() -> Iterator[World]:
    """A world around this module."""
    with World().around(importlib.import_module(__name__)) as inside:
        yield inside


def test_names_mean_stand_ins_while_the_world_lasts() -> None:
    """`socket`, `selectors` and `signal` of the module and of the kit are stand-ins inside, and the real ones after."""
    real = socket, selectors, signal, kit.socket  # type: ignore[attr-defined]
    with World().around(importlib.import_module(__name__)):
        assert all(now is not then for now, then in zip((socket, selectors, signal, kit.socket), real, strict=True))  # type: ignore[attr-defined]
        assert socket.SHUT_WR == real[0].SHUT_WR
        assert selectors.EVENT_READ == real[1].EVENT_READ
        assert signal.SIGINT == real[2].SIGINT
        with socket.socket() as sock:
            assert isinstance(sock, SimulatedSocket)
    assert (socket, selectors, signal, kit.socket) == real  # type: ignore[attr-defined]


def test_what_is_left_open_is_an_error() -> None:
    """A world that ends with a descriptor open says which."""
    with pytest.raises(Leak, match="still open: test: descriptor 3"):
        with World().around(importlib.import_module(__name__)):
            socket.socket()


def test_systems_of_a_test_are_its_host(inside: World) -> None:
    """They share one kernel and one doorbell for signals, and take each other's sockets; a test's overrides count."""

    class Single(System):
        def has_dualstack_ipv6(self) -> bool:
            return False

    one, other = Single(), System()
    assert not one.has_dualstack_ipv6()
    assert other.has_dualstack_ipv6()
    with one.socket(socket.AF_INET) as sock:
        assert other.is_open(sock.fileno())
        assert other.adopt(sock) is sock
        one.set_wakeup_fd(sock.fileno())
        assert signal.set_wakeup_fd(-1) == sock.fileno()
    with Simulation().socket(socket.AF_INET) as strange, pytest.raises(UsageError, match="takes sockets of that host"):
        one.adopt(strange)


def test_the_operating_system_is_not_asked(inside: World) -> None:
    """In the simulation the real system, and what has no stand-in, is an error."""
    with pytest.raises(AssertionError, match="has asked the operating system"):
        RealSystem().socketpair()
    with pytest.raises(AttributeError, match="mark the test as kernel"):
        _ = signal.setitimer


def test_a_blocking_call_runs_no_reactor_of_its_own_host(inside: World) -> None:
    """As in the real world: whoever blocks in the thread of a reactor waits in vain for what only that could send."""
    heard: list[int] = []
    with kit.Watched(system=System()) as reactor:
        reactor.call_later(1, heard.append, 1)
        here, there = socket.socketpair()
        with here, there:
            there.settimeout(5)
            with pytest.raises(TimeoutError):
                there.recv(1)
        assert heard == []
        reactor.run_once(0)
        assert heard == [1]


@pytest.mark.parametrize("name", worlds.SELECTOR_NAMES)
def test_selectors_are_asked_by_file_or_number(inside: World, name: str) -> None:
    """Their map has numbers, and knows sockets, too."""
    here, there = socket.socketpair()
    with getattr(selectors, name)() as selector, here, there:
        assert type(selector).__name__ == name
        key = selector.register(here, selectors.EVENT_READ)
        keys = selector.get_map()
        assert (keys[here], keys[here.fileno()], keys.get(there), list(keys), len(keys)) == (
            key,
            key,
            None,
            [here.fileno()],
            1,
        )
        selector.unregister(here)


def test_a_detached_descriptor_becomes_a_socket_again(inside: World) -> None:
    """`socket.socket(fileno=…)` takes what `detach` has let go, with all that it is; other numbers are errors."""
    here, there = socket.socketpair()
    with there:
        number = here.detach()
        assert here.fileno() == -1
        with socket.socket(fileno=number) as again:
            assert (again.fileno(), again.family) == (number, socket.AF_UNIX)
            assert not again.get_inheritable()
            again.send(b"x")
            assert there.recv(1) == b"x"
        assert there.recv(1) == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        socket.socket(fileno=number)
    with selectors.EpollSelector() as epoll, pytest.raises(OSError, match="Socket operation on non-socket"):
        socket.socket(fileno=epoll.fileno())


def test_names_are_names_by_idna(inside: World) -> None:
    """What the stdlib could not ask anybody for is refused as it refuses it."""
    with pytest.raises(UnicodeError):
        socket.getaddrinfo(f"{'a' * 70}.x", 80)


def test_a_host_begins_as_python_does(inside: World) -> None:
    """SIGPIPE is ignored, SIGINT is Python's own."""
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

"""The house of docs/design/floors.md stands: the page names every file, and every import goes down."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reactor

PACKAGE = Path(reactor.__file__).parent
PAGE = Path(__file__).parent.parent / "docs" / "design" / "floors.md"

#: Each file's floor and place on it, as the page has them.
PLACES = {
    name: (int(floor), place)
    for floor, names in re.findall(r"^\| (\d) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    for place, name in enumerate(re.findall(r"`([\w/]+)`", names))
}
MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))
#: What stands in the operating system's place, or is a program of its own, may ask it.
ASKERS = {
    "system",
    "pool",
    "hosting",
    "beside_asyncio",
    "__main__",
    *(module for module in MODULES if module.startswith("testing/")),
}
#: So may what runs beside the loop, or around a whole program.
ASKERS |= {"watchdog", "tracing", "program"}
#: What asks the operating system, and what of it may be used outside `system`: constants, types and pure functions.
ASKING = {"os", "random", "selectors", "signal", "threading", "time", "subprocess", "fcntl", "select"}
HARMLESS = {
    "os.PathLike",
    "os.fsdecode",
    "os.fsencode",
    "os.name",
    "os.strerror",
    "selectors.BaseSelector",
    "selectors.EVENT_READ",
    "selectors.EVENT_WRITE",
    "selectors.SelectSelector",
    "selectors.SelectorKey",
    "signal.SIGINT",
    "signal.SIG_DFL",
    "signal.default_int_handler",
}


def run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Iterate over all of *node* that is ever run: what stands under `if TYPE_CHECKING` is not."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from run_nodes(child)


def parsed(module: str) -> list[ast.AST]:
    """Return all that *module* runs."""
    return list(run_nodes(ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))))


def imported(module: str) -> Iterator[str]:
    """Iterate over the full names that *module* imports: `reactor.errors.CloseKind`, `os`, `socket.SHUT_WR`."""
    for node in parsed(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place_of(name: str) -> str:
    """Return which file the full name of something imported lies in, as the page has it."""
    parts = name.split(".")
    return "/".join(parts[:2]) if parts[0] == "testing" else parts[0]


def test_the_page_names_every_file() -> None:
    """Every file of the package stands on one floor of the page, and the page names no other."""
    assert sorted(PLACES) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    """A file imports from lower floors, and on its own only from files that stand before it."""
    for name in imported(module):
        package, _, rest = name.partition(".")
        if package == "reactor":
            below = place_of(rest)
            assert below in PLACES, f"{module} imports {name} from the package's own __init__"
            assert PLACES[below] < PLACES[module], f"{module} imports {below}, which is not below it"


@pytest.mark.parametrize("module", [module for module in MODULES if module not in ASKERS])
def test_only_system_asks_the_operating_system(module: str) -> None:
    """Other files use of such modules only what asks nothing; the poller calls a selector that it was given, and the pool
    of threads is a part of the system in a file of its own.
    """
    used = {
        f"{node.value.id}.{node.attr}"
        for node in parsed(module)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ASKING
    }
    used |= {name for name in imported(module) if name.partition(".")[0] in ASKING and "." in name}
    assert used <= HARMLESS


def test_nothing_but_the_command_line_imports_testing() -> None:
    """A program that imports the library loads none of what stands in the operating system's place."""
    users = {module for module in MODULES if any(name.startswith("reactor.testing") for name in imported(module))}
    assert {user for user in users if not user.startswith("testing/")} == {"__main__"}


def test_the_front_loads_what_type_checkers_are_told() -> None:
    """Each name of the stub's `__all__` is what its module has under that name, and nothing else is offered."""
    body = ast.parse((PACKAGE / "__init__.pyi").read_text("utf-8")).body
    homes = {alias.name: node.module for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(ast.literal_eval(body[-1].value)) == sorted(homes)  # type: ignore[attr-defined]
    assert reactor.__all__ == sorted(homes)
    assert set(dir(reactor)) >= set(homes)
    for name, home in homes.items():
        assert home is not None
        assert getattr(reactor, name) is getattr(importlib.import_module(home), name)
    with pytest.raises(AttributeError, match="module 'reactor' has no attribute 'Protocol'"):
        reactor.Protocol  # type: ignore[attr-defined]  # noqa: B018


def test_a_module_is_loaded_when_one_of_its_names_is_asked_for() -> None:
    """`import reactor` loads nothing; a class, what it needs."""
    asked = "import sys, reactor; before = set(sys.modules); reactor.CloseReason; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout.split()
    assert {name for name in loaded if name.startswith("reactor")} == {"reactor.errors"}
    assert "attrs" in loaded


def test_the_front_of_testing_re_exports() -> None:
    """It defines nothing of its own, and offers in `__all__` just what it imports."""
    body = ast.parse((PACKAGE / "testing" / "__init__.py").read_text("utf-8")).body
    names = [alias.asname or alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == sorted(importlib.import_module("reactor.testing").__all__)
    assert {type(node) for node in body} == {ast.Expr, ast.ImportFrom, ast.Assign}

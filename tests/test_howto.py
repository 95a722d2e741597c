"""The page that takes a newcomer from a flaky test to a seed tells the truth: its files run, and print what it prints."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

import reactor
from reactor.testing import check_handler  # noqa: F401  # else each inner run would import, and forget, it anew

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "howto" / "simulate.md"
FILES = ROOT / "docs" / "howto" / "simulate"
OPTIMIZED = "ignore:assertions not in test modules:pytest.PytestConfigWarning"  # under -O
OPTIONS = ("-p", "pytest_reactor", "-p", "no:cacheprovider", "--strict-markers", "-W", "error", "-W", OPTIMIZED)


def without_numbers(text: str) -> str:
    """Return *text* with each number replaced, since which seeds fail, and when, is not what the page is about."""
    return re.sub(r"\d+(\.\d+)?", "0", text)


@pytest.fixture
def directory(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files of the page, in which tests are run, by processes too."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(reactor.__file__).parent.parent))
    for path in FILES.glob("*.py"):
        shutil.copy(path, pytester.path)
    return pytester.path


def said(title: str) -> list[str]:
    """Return the lines that the page prints as output under the heading *title*."""
    section = PAGE.read_text("utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [line for block in re.findall(r"```text\n(.*?)```", section, re.DOTALL) for line in block.splitlines() if line]


def test_the_page_includes_every_file() -> None:
    """Every file of the page stands on it, and it includes no other."""
    included = re.findall(r"\{literalinclude\} simulate/(\w+\.py)", PAGE.read_text("utf-8"))
    assert sorted(included) == sorted(path.name for path in FILES.glob("*.py"))


def test_the_flaky_test_passes(directory: Path, pytester: pytest.Pytester) -> None:
    """On real sockets the bug is not seen."""
    pytester.runpytest_inprocess(*OPTIONS, "test_real.py").assert_outcomes(passed=1)


def test_the_simulation_finds_the_bug(directory: Path, pytester: pytest.Pytester, logs: list[str]) -> None:
    """Some seeds fail, and the report says what the page says."""
    result = pytester.runpytest_inprocess(*OPTIONS, "test_simulated.py")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] + outcomes["failed"] == 20
    assert 0 < outcomes["failed"] < 20
    printed = without_numbers(result.stdout.str())
    for line in said("The same test, from a seed"):
        assert without_numbers(line) in printed
    logs.clear()


def test_the_search_prints_the_line_that_reruns_it(directory: Path, pytester: pytest.Pytester) -> None:
    """The search finds one strike, and prints what the page prints."""
    result = pytester.run(sys.executable, "search.py")
    assert result.ret == 0
    assert result.outlines == said("Which fault was it?")


def test_the_contract_finds_the_bug(directory: Path, pytester: pytest.Pytester) -> None:
    """Without a test for it, the bug is found, and the message is that of the page."""
    result = pytester.runpytest_inprocess(*OPTIONS, "test_contract.py")
    result.assert_outcomes(failed=1)
    for line in said("What you did not think of"):
        assert line in result.stdout.str()


def test_what_is_mended_passes(directory: Path, pytester: pytest.Pytester) -> None:
    """With the mended server every test of the page passes, and so does the codec."""
    shutil.copy(FILES / "mended.py", directory / "sums.py")
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=1 + 20 + 1 + 1)

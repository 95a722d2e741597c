"""Bugs that others have had, planted into a copy of the package: the soak finds each, and within how few seeds.

If a patch fits no more, plant the same bug anew: the text above a patch says what it is. If one is found later than it
was, find out why before the number is changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import reactor
from tests.patching import apply

PLANTS = Path(__file__).with_name("plants")

#: Within how many seeds each is found, from seed 0 on.
WITHIN = {
    "accepted_socket_leaked": 5,
    "close_not_told": 2,
    "close_told_twice": 2,
    "dispatch_without_recheck": 15,
    "drain_untold": 15,
    "end_resets": 8,
    "end_told_again": 2,
    "exhaustion_without_rest": 5,
    "fin_before_queue": 2,
    "linger_left_out": 5,
    "read_while_paused": 2,
    "refusal_unnoticed": 2,
    "short_write_is_whole": 2,
    "timer_early": 2,
    "timer_moved_in_heap": 2,
    "timers_outlive_handler": 2,
    "torn_message_whole": 2,
    "unregister_after_close": 2,
    "wake_up_lost": 25,
    "write_interest_kept": 2,
}


def soak(package: Path, count: int) -> subprocess.CompletedProcess[str]:
    """Run the first *count* seeds with the package that lies in the directory *package*."""
    path = f"{package}{os.pathsep}{Path(__file__).parent.parent}"
    return subprocess.run(
        [sys.executable, "-P", "-m", "tests.soak", "--first", "--jobs", "1", "--seeds", f"0:{count}"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_table_names_every_plant() -> None:
    """Each patch has its number."""
    assert sorted(path.stem for path in PLANTS.glob("*.patch")) == list(WITHIN)


@pytest.mark.skipif(not os.environ.get("REACTOR_PLANTS"), reason="takes most of a minute; tox runs it in one environment")
@pytest.mark.parametrize("plant", WITHIN)
def test_a_planted_bug_is_found(plant: str, tmp_path: Path) -> None:
    """The soak fails on a package with this bug, within so many seeds."""
    shutil.copytree(Path(reactor.__file__).parent, tmp_path / "reactor", ignore=shutil.ignore_patterns("__pycache__"))
    apply((PLANTS / f"{plant}.patch").read_text("utf-8"), tmp_path)
    done = soak(tmp_path, WITHIN[plant])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "rerun: python -m tests.soak --seeds " in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("plant", WITHIN)
def test_every_patch_fits(plant: str, tmp_path: Path) -> None:
    """A patch is for the package as it is."""
    shutil.copytree(Path(reactor.__file__).parent, tmp_path / "reactor", ignore=shutil.ignore_patterns("__pycache__"))
    apply((PLANTS / f"{plant}.patch").read_text("utf-8"), tmp_path)


def test_a_patch_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """What it takes away has to be there, once."""
    (tmp_path / "file").write_text("one\ntwo\ntwo\n")
    with pytest.raises(ValueError, match="0 times"):
        apply("--- a/file\n+++ b/file\n@@ -1 +1 @@\n-three\n+four\n", tmp_path)
    with pytest.raises(ValueError, match="2 times"):
        apply("--- a/file\n+++ b/file\n@@ -1 +1 @@\n-two\n+four\n", tmp_path)
    with pytest.raises(ValueError, match="no file"):
        apply("nothing", tmp_path)
    apply("why\n\n--- a/file\n+++ b/file\n@@ -1,2 +1,2 @@\n one\n-two\n+four\n", tmp_path)
    assert (tmp_path / "file").read_text() == "one\nfour\ntwo\n"

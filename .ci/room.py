#!/usr/bin/env python3
"""Furnish a room for tests: a directory with all that they need, and without the package, which they are to find installed.

Usage: room.py REPOSITORY ROOM [NAME...]
"""

import shutil
import sys
from pathlib import Path

FURNITURE = ("tests", "examples", "docs", "benchmarks", "README.md", "pyproject.toml")


def furnish(repository: Path, room: Path, names: tuple[str, ...]) -> None:
    """Copy what is there of *names* from *repository* to *room*."""
    for name in names:
        source = repository / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "_build")
            shutil.copytree(source, room / name, ignore=ignored, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy2(source, room / name)


if __name__ == "__main__":
    furnish(Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:]) or FURNITURE)

"""Applies a unified diff, strictly: what a hunk takes away has to be there, word for word, and once."""

from __future__ import annotations

import re
from pathlib import Path


def apply(patch: str, root: Path) -> None:
    """Change the files below *root* as *patch* says; line numbers in it mean nothing.

    Raises:
        ValueError: the patch does not fit, or says nothing.
    """
    parts = re.split(r"^--- a/.*\n\+\+\+ b/(.*)\n", patch, flags=re.MULTILINE)[1:]
    if not parts:
        raise ValueError("the patch changes no file")
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        path = root / name
        text = path.read_text("utf-8")
        for hunk in re.split(r"^@@ .*\n", body, flags=re.MULTILINE)[1:]:
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            if text.count(before) != 1:
                raise ValueError(f"{name} has this {text.count(before)} times, not once:\n{before}")
            text = text.replace(before, after)
        path.write_text(text, "utf-8")

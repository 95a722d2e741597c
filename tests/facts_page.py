"""The page of the facts, whose tables are what the facts say of themselves; `python -m tests.facts_page` writes it anew."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import ModuleType

from tests import facts_accept, facts_connect, facts_datagrams, facts_ends, facts_fresh, facts_names, facts_streams
from tests.facts import FACTS, FAMILIES, Fact

#: The files of facts, in the order of the page.
FILES = (facts_fresh, facts_names, facts_connect, facts_accept, facts_streams, facts_ends, facts_datagrams)
PAGE = Path(__file__).parent.parent / "docs" / "testing" / "fidelity.md"


def filled(page: str) -> str:
    """Return *page* with its tables made anew: each stands between two comments."""
    page = re.sub(r"(?s)(<!-- facts -->\n).*(<!-- end of facts -->)", lambda match: match[1] + facts() + match[2], page)
    return re.sub(
        r"(?s)(<!-- differences -->\n).*(<!-- end of differences -->)",
        lambda match: match[1] + differences() + match[2],
        page,
    )


def facts() -> str:
    """Return a heading and a table for each file of facts."""
    parts = []
    for file in FILES:
        head = (file.__doc__ or "").removeprefix("Facts about ").partition(":")[0].rstrip(".")
        parts.append(f"\n## {head[0].upper()}{head[1:]}\n\n| fact | of | says |\n| --- | --- | --- |\n")
        parts += [row(list(same)) for _, same in itertools.groupby(of(file), lambda fact: fact.script)]
    return "".join(parts) + "\n"


def of(file: ModuleType) -> list[Fact]:
    """Return the facts of one file."""
    return [fact for fact in FACTS if fact.script.__module__ == file.__name__]


def row(same: list[Fact]) -> str:
    """Return the row of one script, which stands for as many facts as it has families."""
    families = ", ".join(FAMILIES[fact.family] for fact in same if fact.family is not None)
    return f"| `{same[0].script.__name__}` | {families} | {cell(same[0].sentence)} |\n"


def differences() -> str:
    """Return the table of what is known to be different elsewhere."""
    notes = ((fact, "; ".join(filter(None, (fact.differs, fact.simulated)))) for file in FILES for fact in of(file))
    rows = dict.fromkeys(f"| `{fact.script.__name__}` | {cell(note)} |\n" for fact, note in notes if note)
    return "\n| fact | elsewhere |\n| --- | --- |\n" + "".join(rows) + "\n"


def cell(text: str) -> str:
    """Return *text* as a table has it; bytes are code."""
    return re.sub(r'(?<!`)(b"\w*")', r"`\1`", text.replace("|", "\\|"))


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")

"""How Sphinx builds the documentation. Nothing is fetched during a build."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.ext.napoleon.docstring import GoogleDocstring

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parent.parent)]  # and the examples

project = "reactor"
copyright = "2026, The reactor developers"  # noqa: A001  # Sphinx's name for it
version = release = version_of("selector-reactor")

extensions = ["myst_parser", "sphinx.ext.autodoc", "state_tables", "benchmark_results"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "reactor"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# Single backticks in docstrings are code; what has a page is linked by the signatures.
default_role = "code"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}

nitpicky = True
nitpick_ignore_regex = [
    # The standard library's own pages lie on the network, which a build does not ask.
    (r"py:.*", r"(asyncio|collections\.abc|contextvars|enum|os|selectors|socket|types|typing)\..*"),
    (r"py:.*", r"(Any|Callable|Enum|Iterable|Literal|Mapping|PathLike|Protocol|TypeAlias|socket)"),
    # attrs' and Python's words for what a class body holds.
    (r"py:.*", r"attr\..*|attrs\..*"),
    # What time.time says of itself: 3.11 without a hyphen.
    (r"py:class", r"floating.point number"),
    # How two of its classes share what they have is no affair of readers.
    (r"py:.*", r"reactor\.testing\.owner\..*"),
    # What is written, and who is told, stands in words where it is taken.
    (r"py:class", r"Buffer|OnSent"),
    # Type variables have no page.
    (r"py:.*", r"(reactor\.[\w.]+\.)?(H|T|Message|Message_co|In|Out|Raw|RawOut)"),
    # What classes share that have one.
    (r"py:.*", r"abc\.ABC|reactor\.(counted|delimited)\.(Counted|Prefixed|Delimited)"),
]


def read_docstring(_app: Sphinx, what: Any, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Bring a docstring of the package into the form that Sphinx reads.

    Napoleon as an extension takes the words before a colon in an attribute's description for a type, so only its parser is
    used, and not for attributes; there, what a comment says of other systems' limits goes into parentheses.
    """
    if what in ("attribute", "data", "property"):
        lines[:] = [re.sub(r"\s+# (.+)", r" (elsewhere: \1)", line) for line in lines]
    else:
        lines[:] = GoogleDocstring(list(lines), None, None, what, name, thing, options).lines()


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.connect("autodoc-process-docstring", read_docstring)

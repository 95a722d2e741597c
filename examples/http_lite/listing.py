"""The page that lists a directory. Pure: entries in, HTML out."""

from __future__ import annotations

import os
import stat
import time
from html import escape
from urllib.parse import quote_from_bytes

from examples.http_lite.files import Folder
from examples.http_lite.response import Answer, page

STYLE = """\
ul { list-style: none; margin: 0; padding: 0; }
li { display: flex; gap: 0 1.5rem; padding: .4rem .25rem; border-bottom: 1px solid var(--line); }
li a { flex: 1; overflow-wrap: anywhere; }
.folder { font-weight: 600; }
span { color: var(--dim); font-variant-numeric: tabular-nums; white-space: nowrap; }
.size { min-width: 5rem; text-align: right; }
@media (max-width: 32rem) { time { display: none; } .size { min-width: 0; } }
"""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def listing(folder: Folder) -> Answer:
    """Return the page for *folder*: directories first, then by name, without regard to case."""
    rows = [_row(name, info) for name, info in sorted(folder.entries, key=_order)]
    if folder.path != "/":
        rows.insert(0, '<li><a class="folder" href="../">../</a></li>')
    title = escape(folder.path)
    note = f"<p>Only {len(folder.entries)} entries are shown.</p>" if folder.is_cut else ""
    body = "\n".join((f"<h1>{title}</h1>", "<ul>", *rows, "</ul>", note if rows else "<p>Nothing is here.</p>"))
    return page(200, title, body, STYLE)


def size_for_people(size: int) -> str:
    """Return *size* with a unit, to two digits or as whole numbers: "17 B", "1.5 KiB", "230 MiB"."""
    amount, unit = float(size), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit and amount < 10 else f"{amount:.0f} {_UNITS[unit]}"


def _order(entry: tuple[bytes, os.stat_result]) -> tuple[bool, str, bytes]:
    name, info = entry
    return not stat.S_ISDIR(info.st_mode), os.fsdecode(name).casefold(), name


def _row(name: bytes, info: os.stat_result) -> str:
    """Return one entry. Everything but letters, digits and `_.-~` is escaped in the link: no name is taken for a scheme."""
    is_folder = stat.S_ISDIR(info.st_mode)
    slash = "/" if is_folder else ""
    link = f'<a{" class=folder" * is_folder} href="{quote_from_bytes(name, safe="")}{slash}">'
    size = "" if is_folder else size_for_people(info.st_size)
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.st_mtime))
    shown = f"{escape(os.fsdecode(name))}{slash}"
    return f'<li>{link}{shown}</a><span><time>{changed}</time></span><span class="size">{size}</span></li>'

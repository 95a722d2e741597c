"""Forms: what a request's body holds, urlencoded or multipart; files are on the disk if they are not small.

The parser is `python-multipart`; how much may come is for `Options.body_bytes`.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import attrs

from examples.http_lite.request import Request

#: More fields and files than this are refused.  # Django 1000, PHP 1000
PARTS_MAX = 1000


@attrs.frozen
class Upload:
    """A file that was sent. It is gone when nobody has it any more."""

    #: As the client calls it: not to be trusted as a path.
    name: str
    size: int
    file: BinaryIO


def form_of(request: Request) -> dict[str, str | Upload]:
    """Return the fields and files of *request*'s body, the last one of each name. Reads the disk: for a thread, if it is large.

    Raises:
        ValueError: it is no form, a broken one, or one of too many parts.
    """
    from python_multipart import parse_form
    from python_multipart.exceptions import FormParserError

    found: dict[str, str | Upload] = {}
    count = 0

    def add(name: bytes | None, value: Any) -> None:
        nonlocal count
        count += 1
        if count > PARTS_MAX:
            raise ValueError("a form of too many parts")
        found[(name or b"").decode("utf-8", "replace")] = value

    def add_file(part: Any) -> None:
        part.file_object.seek(0)
        add(part.field_name, Upload((part.file_name or b"").decode("utf-8", "replace"), part.size, part.file_object))

    kind = request.fields.get("content-type", "")
    if request.file is None or not kind.lower().startswith(("multipart/form-data", "application/x-www-form-urlencoded")):
        raise ValueError(f"no form, but {kind!r}")
    request.file.seek(0)
    try:
        parse_form(
            {"Content-Type": kind.encode("latin-1")},
            request.file,  # type: ignore[arg-type]  # it reads
            lambda field: add(field.field_name, (field.value or b"").decode("utf-8", "replace")),
            add_file,
        )
    except FormParserError as error:
        raise ValueError(f"a broken form: {error}") from error
    return found

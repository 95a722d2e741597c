"""The access log: one line per request, on a text stream, in the common or the combined log format or as JSON.

Lines of one pass of the loop are written together. Writing may block if whoever reads the stream does not keep up; a stream
that breaks is given up, and the server goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Literal, TextIO

import attrs

from examples.http_lite.request import Request

#: What could end a quoted string or a line.
_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 161))}}


@attrs.define(eq=False)
class AccessLog:
    """Writes lines to *stream*, or drops them if that is None.

    Args:
        stream: where to.
        call_soon: calls what it is given soon, once; `Reactor.call_soon`.
        clock: returns the seconds since the epoch; `System.time`, so that a replay writes the same lines.
        form: what a line looks like. JSON has the duration in seconds, and what cut the answer short, if anything did.
    """

    stream: TextIO | None
    call_soon: Callable[[Callable[[], None]], object]
    clock: Callable[[], float] = time.time
    form: Literal["common", "combined", "json", "off"] = "common"
    _lines: list[str] = attrs.field(init=False, repr=False, factory=list)
    _second: int = attrs.field(init=False, default=-1)
    _stamp: str = attrs.field(init=False, default="")

    @property
    def is_on(self) -> bool:
        """Whether anybody reads it."""
        return self.stream is not None

    def note(self, client: str, request: Request, status: int, sent: int, seconds: float, cut: str) -> None:  # noqa: PLR0913, PLR0917
        """Note what *client*'s *request* was answered with: a *status* (0: none), *sent* bytes of a body, in *seconds*."""
        if not self._lines:
            self.call_soon(self.flush)
        self._lines.append(self._line(client, request, status, sent, seconds, cut))

    def flush(self) -> None:
        """Write what was noted."""
        lines, self._lines = self._lines, []
        if self.stream is None or not lines:
            return
        try:
            self.stream.write("".join(lines))
            self.stream.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            self.stream = None

    def _line(self, client: str, request: Request, status: int, sent: int, seconds: float, cut: str) -> str:  # noqa: PLR0913, PLR0917
        when, fields = self._now(), request.fields
        if self.form == "json":
            what = {"time": when, "client": client, "method": request.method, "target": request.target, "status": status}
            more = {"bytes": sent, "seconds": round(seconds, 6), "host": request.host, "cut": cut or None}
            return json.dumps(what | more | {"agent": fields.get("user-agent"), "referer": fields.get("referer")}) + "\n"
        line = f'{client} - - [{when}] "{request.line.translate(_ESCAPES)}" {status or "-"} {sent or "-"}'
        if self.form == "combined":
            quoted = (fields.get(name, "-").translate(_ESCAPES) for name in ("referer", "user-agent"))
            line += ' "{}" "{}"'.format(*quoted)
        return line + "\n"

    def _now(self) -> str:
        second = int(self.clock())
        if second != self._second:
            form = "%Y-%m-%dT%H:%M:%S%z" if self.form == "json" else "%d/%b/%Y:%H:%M:%S %z"
            self._second, self._stamp = second, time.strftime(form, time.localtime(second))
        return self._stamp

"""The access log: one line per request, on a text stream, in the common or the combined log format or as JSON.

Lines of one pass of the loop are written together. Writing may block if whoever reads the stream does not keep up; a stream
that breaks is given up, and the server goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TextIO

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
        form: "common", "combined" or "json". JSON has the duration in seconds, and, where an answer was cut, the reason why
            the connection was closed.
    """

    stream: TextIO | None
    call_soon: Callable[[Callable[[], None]], object]
    clock: Callable[[], float] = time.time
    form: str = "common"
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
        second, fields = int(self.clock()), request.fields
        if second != self._second:
            form = "%Y-%m-%dT%H:%M:%S%z" if self.form == "json" else "%d/%b/%Y:%H:%M:%S %z"
            self._second, self._stamp = second, time.strftime(form, time.localtime(second))
        if self.form == "json":
            what = {"time": self._stamp, "client": client, "method": request.method, "target": request.target}
            what |= {"host": request.host, "agent": fields.get("user-agent"), "referer": fields.get("referer")}
            result = {"status": status, "bytes": sent, "seconds": round(seconds, 6), "closed": cut or None}
            line = json.dumps(what | result)
        else:
            line = f'{client} - - [{self._stamp}] "{request.line.translate(_ESCAPES)}" {status or "-"} {sent or "-"}'
            if self.form == "combined":
                quoted = (fields.get(name, "-").translate(_ESCAPES) for name in ("referer", "user-agent"))
                line += ' "{}" "{}"'.format(*quoted)
        self._lines.append(line + "\n")

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

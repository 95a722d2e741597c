"""Applications: which handler answers a request, and the forms that it may be sent.

    app = App()

    @app.route("GET", "/users/{name}")
    def user(request, name):
        return {"name": name}

A handler answers at once, by what `as_answer` takes; later, by returning a function, which is called with another one that
takes the answer, once, in the loop; or bit by bit: see `Answer`. What it raises is answered with 500, and reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import attrs

from examples.http_lite.request import Request
from examples.http_lite.response import METHODS, Answer, other_method, status_page
from reactor import Reactor

Action = Callable[[Request], Any]
H = TypeVar("H", bound=Callable[..., Any])
_PARAMETER = re.compile(r"\{(\w+)\}")
#: More fields and files than this are refused.  # Django, PHP 1000
PARTS_MAX = 1000


@attrs.define(eq=False)
class App:
    """Routes; and, for what has none, something that finds what answers a request, like `find`: by default 404.

    A route for GET answers HEAD, too; OPTIONS is answered for every route; TRACE and CONNECT never are.
    """

    otherwise: Callable[[Request], Action] | None = None
    #: Whose loop calls the handlers; there once it is served.
    reactor: Reactor = attrs.field(init=False, default=None)
    #: Called when the server has ended, for what is left to be closed.
    on_end: Callable[[], object] = attrs.field(init=False, default=bool)
    #: Who asks, while a handler is called: an IP address, or "-" on a Unix socket.
    client: str = attrs.field(init=False, default="-")
    #: Where it is served: a TCP port, or 80 on a Unix socket.
    port: int = attrs.field(init=False, default=80)
    _exact: dict[str, dict[str, Callable[..., Any]]] = attrs.field(init=False, factory=dict)
    _patterns: dict[re.Pattern[str], dict[str, Callable[..., Any]]] = attrs.field(init=False, factory=dict)

    def route(self, method: str, path: str) -> Callable[[H], H]:
        """Have what follows answer *method* on *path*; `{name}` stands for one part of that, and is an argument."""
        if method not in METHODS - {"TRACE", "CONNECT", "OPTIONS", "HEAD"}:
            raise ValueError(f"{method} cannot have a route")

        def add(handler: H) -> H:
            parts = _PARAMETER.split(path)
            pattern = re.compile("".join(f"(?P<{x}>[^/]+)" if at % 2 else re.escape(x) for at, x in enumerate(parts)))
            routes = self._patterns.setdefault(pattern, {}) if len(parts) > 1 else self._exact.setdefault(path, {})
            routes[method] = handler
            return handler

        return add

    def add_unless_there(self, path: str, handler: Callable[..., Any]) -> None:
        """Have *handler* answer GET on *path*, if no route does."""
        self._exact.setdefault(path, {}).setdefault("GET", handler)

    def find(self, request: Request) -> Action:
        """Return what answers *request*, and any other one that says the same."""
        method, path, parameters = request.method, request.path, {}
        if request.refusal:
            return always(status_page(request.refusal))
        handlers = self._exact.get(path)
        for pattern, found in self._patterns.items() if handlers is None else ():
            if match := pattern.fullmatch(path):
                handlers, parameters = found, {name: unquote(value) for name, value in match.groupdict().items()}
                break
        if method in ("TRACE", "CONNECT"):  # RFC 9110, 9.3.8: TRACE would give away what others have put in
            return always(other_method(method, ("GET", "HEAD", "OPTIONS")))
        if handlers is None and path == "*":
            return always(other_method(method, METHODS - {"TRACE", "CONNECT"}))
        if handlers is None:
            return self.otherwise(request) if self.otherwise else always(status_page(404 if method in METHODS else 501))
        handler = handlers.get("GET" if method == "HEAD" else method)
        if handler is not None:
            return partial(handler, **parameters) if parameters else handler
        return always(other_method(method, {*handlers, "OPTIONS"} | ({"HEAD"} if "GET" in handlers else set())))

    def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return, from a handler, what answers with what *function* returns, which may block: it is called in a thread."""
        return lambda give: self.reactor.run_in_thread(function, *arguments, then=give, on_error=give)


def always(answer: Answer) -> Action:
    """Return what answers every request by *answer*."""
    return lambda _: answer


@attrs.frozen
class Upload:
    """A file that was sent, on the disk if it is not small. It is gone when nobody has it any more."""

    name: str  # as the client calls it: not to be trusted as a path
    size: int
    file: Any


def form_of(request: Request) -> dict[str, str | Upload]:
    """Return the fields and files of *request*'s body, the last one of each name; ValueError: it is no form, or broken.

    The parser is `python-multipart`. If the body is large, call this in a thread.
    """
    from python_multipart import parse_form
    from python_multipart.exceptions import FormParserError

    kind = request.fields.get("content-type", "")
    if kind.lower().startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=PARTS_MAX))
    if request.file is None or not kind.lower().startswith("multipart/form-data"):
        raise ValueError(f"no form, but {kind!r}")
    parts: list[tuple[bytes | None, str | Upload]] = []

    def add(part: Any) -> None:
        if len(parts) == PARTS_MAX:
            raise ValueError("a form of too many parts")
        value: str | Upload = (getattr(part, "value", None) or b"").decode("utf-8", "replace")
        if hasattr(part, "file_object"):
            part.file_object.seek(0)
            value = Upload((part.file_name or b"").decode("utf-8", "replace"), part.size, part.file_object)
        parts.append((part.field_name, value))

    request.file.seek(0)
    try:
        parse_form({"Content-Type": kind.encode("latin-1")}, request.file, add, add)
    except FormParserError as error:
        raise ValueError(f"a broken form: {error}") from error
    return {(name or b"").decode("utf-8", "replace"): value for name, value in parts}

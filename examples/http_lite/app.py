"""Applications: which handler answers a request. Pure: a request in, an answer out.

    app = App()

    @app.route("GET", "/users/{name}")
    def user(request, name):
        return {"name": name}

A handler answers at once, by what `as_answer` takes; later, by a `Later`, or in a thread; or bit by bit, by an iterator or a
`Flow`. What it raises is answered with 500, and reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import unquote

import attrs

from examples.http_lite.request import Request
from examples.http_lite.response import METHODS, Answer, Later, other_method, status_page
from reactor import Reactor

Handler = Callable[..., Any]
Action = Callable[[Request], Any]
H = TypeVar("H", bound=Handler)
_PARAMETER = re.compile(r"\{(\w+)\}")


@runtime_checkable
class Prepares(Protocol):
    """Something that answers requests, and finds out once for all that say the same how."""

    def prepare(self, request: Request) -> Action:
        """Return what answers *request*."""
        ...


@attrs.define(eq=False)
class App:
    """Routes, and what answers where none fits: by default 404.

    A route for GET answers HEAD, too; OPTIONS is answered for every route; TRACE and CONNECT never are.
    """

    otherwise: Prepares | Action | None = None
    #: Whose loop calls the handlers; there once it is served.
    reactor: Reactor = attrs.field(init=False, default=None)
    #: Who asks, while a handler is called: an IP address, or "-" on a Unix socket.
    client: str = attrs.field(init=False, default="-")
    _exact: dict[str, dict[str, Handler]] = attrs.field(init=False, factory=dict)
    _patterns: dict[re.Pattern[str], dict[str, Handler]] = attrs.field(init=False, factory=dict)

    def route(self, method: str, path: str) -> Callable[[H], H]:
        """Have the function that follows answer *method* on *path*; `{name}` stands for one part of it, and is an argument.

        Raises:
            ValueError: a method that no route may have.
        """
        if method not in METHODS - {"TRACE", "CONNECT", "OPTIONS", "HEAD"}:
            raise ValueError(f"{method} cannot have a route")

        def add(handler: H) -> H:
            parts = _PARAMETER.split(path)
            pattern = re.compile("".join(f"(?P<{x}>[^/]+)" if at % 2 else re.escape(x) for at, x in enumerate(parts)))
            routes = self._patterns.setdefault(pattern, {}) if len(parts) > 1 else self._exact.setdefault(path, {})
            routes[method] = handler
            return handler

        return add

    def find(self, request: Request) -> Action:
        """Return what answers *request*, and any other one that says the same; it is remembered there."""
        request.action = action = self._find(request)
        return action

    def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Later:
        """Return the promise of what *function* returns, which may block: it is called in another thread."""
        later = Later()
        self.reactor.run_in_thread(function, *arguments, then=later.give, on_error=later.give)
        return later

    def _find(self, request: Request) -> Action:
        method, path, parameters = request.method, request.path, {}
        if request.refusal:
            return always(status_page(request.refusal))
        handlers = self._exact.get(path)
        if handlers is None:
            for pattern, found in self._patterns.items():
                if match := pattern.fullmatch(path):
                    handlers, parameters = found, {name: unquote(value) for name, value in match.groupdict().items()}
                    break
        if method in ("TRACE", "CONNECT"):  # RFC 9110, 9.3.8: TRACE would give away what others have put in
            return always(other_method(method, ("GET", "HEAD", "OPTIONS")))
        if handlers is None and path == "*":
            return always(other_method(method, METHODS - {"TRACE", "CONNECT"}))
        if handlers is None and self.otherwise is not None:
            return self.otherwise.prepare(request) if isinstance(self.otherwise, Prepares) else self.otherwise
        if handlers is None:
            return always(status_page(404 if method in METHODS else 501))
        handler = handlers.get("GET" if method == "HEAD" else method)
        if handler is not None:
            return partial(handler, **parameters) if parameters else handler
        return always(other_method(method, {*handlers, "OPTIONS"} | ({"HEAD"} if "GET" in handlers else set())))


def always(answer: Answer) -> Action:
    """Return what answers every request by *answer*."""
    return lambda _: answer

"""Applications: which handler answers a request. Pure: a request in, an answer out.

    app = App()

    @app.route("GET", "/users/{name}")
    def user(request, name):
        return {"name": name}

A handler answers at once, by what `as_answer` takes; later, by a `Later`; or bit by bit, by an iterator or a `Flow`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote

import attrs

from examples.http_lite.request import Request
from examples.http_lite.response import METHODS, Answer, not_allowed, status_page
from reactor import Reactor

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
_PARAMETER = re.compile(r"\{(\w+)\}")


@attrs.define(eq=False)
class App:
    """Routes, and what answers where none fits: by default 404.

    A route for GET answers HEAD, too; OPTIONS is answered for every route; TRACE and CONNECT never are.
    """

    otherwise: Handler | None = None
    #: Whose loop calls the handlers; there once it is served.
    reactor: Reactor = attrs.field(init=False, default=None)
    _exact: dict[str, dict[str, Handler]] = attrs.field(init=False, factory=dict)
    _patterns: list[tuple[re.Pattern[str], dict[str, Handler]]] = attrs.field(init=False, factory=list)

    def route(self, method: str, path: str) -> Callable[[H], H]:
        """Have the function that follows answer *method* on *path*; `{name}` stands for one part of it, and is an argument.

        Raises:
            ValueError: a method that no route may have.
        """
        if method not in METHODS - {"TRACE", "CONNECT", "OPTIONS"}:
            raise ValueError(f"{method} cannot have a route")

        def add(handler: H) -> H:
            if not _PARAMETER.search(path):
                self._exact.setdefault(path, {})[method] = handler
                return handler
            parts = _PARAMETER.split(path)
            text = "".join(f"(?P<{part}>[^/]+)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
            for pattern, handlers in self._patterns:
                if pattern.pattern == text:
                    handlers[method] = handler
                    return handler
            self._patterns.append((re.compile(text), {method: handler}))
            return handler

        return add

    def __call__(self, request: Request) -> Any:
        """Return what the right handler returns."""
        method, parameters = request.method, {}
        handlers = self._exact.get(request.path)
        if handlers is None:
            for pattern, found in self._patterns:
                if match := pattern.fullmatch(request.path):
                    handlers = found
                    parameters = {name: unquote(value) for name, value in match.groupdict().items()}
                    break
        if method in ("TRACE", "CONNECT"):  # RFC 9110, 9.3.8: TRACE would give away what others have put in
            return not_allowed(_allowed(handlers or {"GET": None}))
        if handlers is None:
            return self._otherwise(request)
        handler = handlers.get(method) or (handlers.get("GET") if method == "HEAD" else None)
        if handler is not None:
            return handler(request, **parameters)
        return self._without(request, _allowed(handlers))

    def _otherwise(self, request: Request) -> Any:
        if request.path == "*":
            return self._without(request, METHODS - {"TRACE", "CONNECT"})
        if self.otherwise is not None:
            return self.otherwise(request)
        return status_page(404 if request.method in METHODS else 501)

    @staticmethod
    def _without(request: Request, methods: frozenset[str]) -> Answer:
        """Return the answer to a method that has no handler."""
        if request.method == "OPTIONS":
            return Answer(204, fields=(("Allow", ", ".join(sorted(methods))),))
        return not_allowed(methods) if request.method in METHODS else status_page(501)


def _allowed(handlers: dict[str, Any]) -> frozenset[str]:
    """Return the methods that are answered where *handlers* are."""
    return frozenset({*handlers, "OPTIONS"} | ({"HEAD"} if "GET" in handlers else set()))

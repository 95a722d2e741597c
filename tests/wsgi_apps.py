"""WSGI applications that do whatever PEP 3333 allows, and what it does not: for tests of the gateway, which serve `app`.

The first part of the path says which: `/plain`, `/checked` (the same under `wsgiref.validate`), `/flask`, `/django`, and
`/closed`, which tells how many bodies were closed, by name.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.util import shift_path_info
from wsgiref.validate import validator

import attrs

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]

TEXT = [("Content-Type", "text/plain")]
CLOSED: Counter[str] = Counter()
MEETING = threading.Barrier(3)
PATIENCE = 20.0
PIECE = b"x" * 65536


@attrs.define(eq=False)
class Body:
    """Pieces that count how often they are closed, under *name*; in a file, too, if that is a path."""

    name: str
    pieces: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)

    def close(self) -> None:
        CLOSED[self.name] += 1
        if "/" in self.name:
            Path(self.name).write_text(str(CLOSED[self.name]))


def plain(environ: Environ, start: Start) -> Iterable[bytes]:
    """Do what the path says."""
    name = environ["PATH_INFO"].strip("/").partition("/")[0]
    query = {key: values[-1] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    found: Iterable[bytes] = ROUTES[name](environ, start, query)
    return found


def say(start: Start, what: Any) -> list[bytes]:
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(what).encode()]


def show_environ(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    assert type(environ) is dict
    return say(start, {key: value if isinstance(value, (str, bool)) else repr(value) for key, value in environ.items()})


def listed(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    start("200 OK", [*TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "caf\xe9")])
    return Body("listed", [b"one ", b"", b"two ", b"three"])


def sized(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    """Say that it is so long, and be as long as the query has it."""
    start("200 OK", [*TEXT, ("Content-Length", query["says"])])
    size = int(query["gives"])
    return Body("sized", [b"%d" % (at % 10) for at in range(size)] if query.get("pieces") else [b"0123456789"[:size]])


def written(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    write = start("200 OK", TEXT)
    write(b"one ")
    write(b"two ")
    return Body("written", [b"three"])


def bodiless(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    start(f"{query['status']} Nothing", [])
    return Body("bodiless", [b"this is not to be sent"])


def read(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    """Read as the query has it."""
    given, how = environ["wsgi.input"], query["how"]
    if how == "read":
        found = [given.read(), given.read(), given.read(5)]
    elif how == "sizes":
        found = [given.read(3), given.read(0), given.read(1_000_000), given.read(1)]
    elif how == "lines":
        found = [given.readline(), given.readline(2), *given.readlines(), given.readline()]
    elif how == "iteration":
        found = list(given)
    else:
        found = []
    return say(start, [piece.decode("latin-1") for piece in found])


def digest(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    """Say how long the body is, and its digest."""
    given, size, sums = environ["wsgi.input"], 0, hashlib.sha256()
    while piece := given.read(8192):
        size += len(piece)
        sums.update(piece)
    return say(start, {"size": size, "digest": sums.hexdigest()})


def stepwise(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    """Make the second piece no sooner than there is a file, which the client makes when it has the first one."""

    def pieces() -> Iterator[bytes]:
        yield b"first"
        give_up = time.monotonic() + PATIENCE
        while not Path(query["file"]).exists():
            if time.monotonic() > give_up:
                raise TimeoutError
            time.sleep(0.01)  # the client is another process
        yield b"second"

    start("200 OK", TEXT)
    return Body(query.get("name", "stepwise"), pieces())


def endless(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    def pieces() -> Iterator[bytes]:
        while True:
            yield PIECE

    start("200 OK", TEXT)
    return Body(query["name"], pieces())


def large(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    start("200 OK", TEXT)
    if query["how"] == "list":
        return [PIECE * 64]
    return Body("large", [PIECE * 64] if query["how"] == "whole" else (PIECE for _ in range(64)))


def meet(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    """Wait until three are here."""
    MEETING.wait(PATIENCE)
    start("200 OK", TEXT)
    return [b"met"]


def waits(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    """Say that it is here by a file, and answer when that is gone."""
    Path(query["file"]).touch()
    give_up = time.monotonic() + PATIENCE
    while Path(query["file"]).exists() and time.monotonic() < give_up:
        time.sleep(0.01)  # the client is another process
    start("200 OK", TEXT)
    return [b"waited"]


def raises(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    """Fail at once, after `start_response`, in the first `next`, or after a piece."""
    when = query["when"]

    def pieces() -> Iterator[bytes]:
        if when == "next":
            raise ValueError("as asked")
        yield b"some of it"
        raise ValueError("as asked")

    if when == "at once":
        raise ValueError("as asked")
    start("200 OK", TEXT)
    if when == "started":
        raise ValueError("as asked")
    return Body("raises", pieces())


def tells(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    """Tell of an error by *exc_info*, before and after something was sent."""

    def pieces() -> Iterator[bytes]:
        if query["when"] == "late":
            yield b"some of it"
        try:
            int("as asked")
        except ValueError:
            start("502 Bad Gateway", [*TEXT, ("X-Told", "yes")], sys.exc_info())
        yield b"told"

    start("200 OK", [*TEXT, ("X-First", "yes")])
    return Body("tells", pieces())


def breaks(environ: Environ, start: Start, query: Any) -> Iterable[bytes] | None:
    """Break a rule of PEP 3333."""
    how = query["how"]
    if how == "no start":
        return Body("breaks", [b"a"])
    headers = {"a line": [("X-A", "b\r\nX-B: c")], "a name": [("X-A\r\nX-B", "c")], "a length": [("Content-Length", "3x")]}
    start("200 OK", headers.get(how, TEXT))
    if how == "two starts":
        start("200 OK", TEXT)
    if how == "none":
        return None
    return Body("breaks", ["text" if how == "text" else b"a"])  # type: ignore[list-item]


def complains(environ: Environ, start: Start, query: Any) -> Iterable[bytes]:
    print("a complaint of the application", file=environ["wsgi.errors"], flush=True)
    start("200 OK", TEXT)
    return []


ROUTES: dict[str, Callable[[Environ, Start, Any], Any]] = {
    "environ": show_environ,
    "listed": listed,
    "sized": sized,
    "written": written,
    "bodiless": bodiless,
    "read": read,
    "digest": digest,
    "stepwise": stepwise,
    "endless": endless,
    "large": large,
    "meet": meet,
    "waits": waits,
    "raises": raises,
    "tells": tells,
    "breaks": breaks,
    "complains": complains,
}


def checkable(environ: Environ, start: Start) -> Iterable[bytes]:
    """Do what the validator lets pass."""
    if environ["PATH_INFO"] == "/read":
        environ["wsgi.errors"].flush()
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size)
        start("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
        return Body("checked", [body])
    if environ["PATH_INFO"] == "/write":
        start("200 OK", TEXT)(b"one ")
        return Body("checked", iter([b"two"]))
    start("200 OK", TEXT)
    return Body("checked", (b"%d\n" % number for number in range(300)))


checked: Any = validator(checkable)


def closed(environ: Environ, start: Start) -> Iterable[bytes]:
    """Tell how many bodies were closed."""
    return say(start, CLOSED)


def flask_app() -> Any:
    """Make an application with Flask."""
    import flask

    made = flask.Flask("tests")

    @made.get("/hello/<name>")
    def hello(name: str) -> Any:
        answer = flask.jsonify(name=name, root=flask.request.root_path, secure=flask.request.is_secure)
        answer.set_cookie("seen", "yes")
        return answer

    @made.post("/form")
    def form() -> Any:
        files = {name: [each.filename, len(each.read())] for name, each in flask.request.files.items()}
        return {"form": dict(flask.request.form), "files": files}

    @made.post("/body")
    def body() -> Any:
        return {"size": len(flask.request.get_data())}

    @made.get("/stream")
    def stream() -> Any:
        return flask.Response((f"{number}\n" for number in range(1000)), mimetype="text/plain")

    @made.get("/wrong")
    def wrong() -> Any:
        raise ValueError("as asked")

    return made


def django_app() -> Any:
    """Make an application with Django."""
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
    from django.urls import path

    def hello(request: HttpRequest, name: str) -> Any:
        answer = JsonResponse({"name": name, "root": request.META["SCRIPT_NAME"], "secure": request.is_secure()})
        answer.set_cookie("seen", "yes")
        return answer

    def form(request: HttpRequest) -> Any:
        files = {name: [each.name, each.size] for name, each in request.FILES.items()}
        return JsonResponse({"form": request.POST.dict(), "files": files})

    def body(request: HttpRequest) -> Any:
        return JsonResponse({"size": len(request.body)})

    def stream(request: HttpRequest) -> Any:
        return StreamingHttpResponse((f"{number}\n" for number in range(1000)), content_type="text/plain")

    def wrong(request: HttpRequest) -> Any:
        raise ValueError("as asked")

    urls = [
        path("hello/<str:name>", hello),
        path("form", form),
        path("body", body),
        path("stream", stream),
        path("wrong", wrong),
    ]
    settings.configure(
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": urls}),
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="for tests",
        LOGGING_CONFIG=None,
    )
    return get_wsgi_application()


APPS: dict[str, Any] = {"plain": plain, "checked": checked, "closed": closed}
MAKERS = {"flask": flask_app, "django": django_app}
MAKING = threading.Lock()


def app(environ: Environ, start: Start) -> Iterable[bytes]:
    """Pass on to the application that the path begins with; frameworks are loaded when they are first asked for."""
    name = shift_path_info(environ) or ""
    with MAKING:
        if name in MAKERS and name not in APPS:
            APPS[name] = MAKERS[name]()
    found: Iterable[bytes] = APPS[name](environ, start)
    return found

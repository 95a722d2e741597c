"""An application to look at: `python -m examples.http_lite --app examples.http_lite.demo:app`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from examples.http_lite.app import App, Upload, form_of
from examples.http_lite.connection import Flow
from examples.http_lite.request import Request
from examples.http_lite.response import Answer, page, status_page

app = App()


@app.route("GET", "/hello")
def hello(_: Request) -> str:
    """Answer at once."""
    return "Hello, world!\n"


@app.route("GET", "/users/{name}")
def user(_: Request, name: str) -> dict[str, str]:
    """Answer in JSON."""
    return {"name": name}


@app.route("POST", "/sum")
def add_up(request: Request) -> Any:
    """Read JSON, and answer in JSON."""
    try:
        return {"sum": sum(request.json())}
    except (ValueError, TypeError):
        return status_page(400)


@app.route("GET", "/later")
def later(_: Request) -> Callable[..., object]:
    """Answer in a moment, and let others be answered meanwhile."""
    return lambda give: app.reactor.call_later(0.1, give, "That took a while.\n")


@app.route("GET", "/upload")
def upload_form(_: Request) -> Answer:
    """Show a form."""
    form = '<form method="post" enctype="multipart/form-data"><input type="file" name="file"> <button>Upload</button></form>'
    return page(200, "Upload a file", form, policy="form-action 'self'; style-src 'unsafe-inline'")


@app.route("POST", "/upload")
def upload(request: Request) -> Any:
    """Take a file, in a thread, since it may be large: `--limit body_bytes=1000000000` allows more than a little one."""
    return app.in_thread(digest, request)


def digest(request: Request) -> Any:
    """Say what has come."""
    try:
        found = form_of(request).get("file")
    except ValueError:
        return status_page(400)
    if not isinstance(found, Upload):
        return status_page(400)
    return {"name": found.name, "size": found.size, "sha256": hashlib.file_digest(found.file, "sha256").hexdigest()}


@app.route("GET", "/ticks")
def ticks(_: Request) -> Answer:
    """Send an event every second: in a browser, `new EventSource("/ticks").onmessage = print`."""

    def start(flow: Flow) -> None:
        # Who takes nothing is cut by `Options.write_seconds`.
        numbers = iter(range(1, 1 << 62))
        flow.endless, flow.on_over = (
            True,
            app.reactor.call_every(1.0, lambda: flow.write(b"data: %d\n\n" % next(numbers))).cancel,
        )
        flow.write(b"data: 0\n\n")

    return Answer(200, start, "text/event-stream", (("Cache-Control", "no-store"),))


@app.route("GET", "/count/{number}")
def count_up(_: Request, number: str) -> Answer:
    """Send many lines, no faster than the client takes them."""
    return Answer(200, (b"%d\n" % each for each in range(int(number)))) if number.isdecimal() else status_page(404)

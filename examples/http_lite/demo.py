"""An application to look at: `python -m examples.http_lite --app examples.http_lite.demo:app`."""

from __future__ import annotations

import hashlib
from typing import Any

from examples.http_lite.app import App
from examples.http_lite.forms import Upload, form_of
from examples.http_lite.request import Request
from examples.http_lite.response import Answer, Flow, Later, page, status_page

app = App()


@app.route("GET", "/hello")
def hello(request: Request) -> str:
    """Answer at once."""
    return "Hello, world!\n"


@app.route("GET", "/users/{name}")
def user(request: Request, name: str) -> dict[str, str]:
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
def later(request: Request) -> Later:
    """Answer in a moment, and let others be answered meanwhile."""
    promise = Later()
    app.reactor.call_later(0.1, promise.give, "That took a while.\n")
    return promise


@app.route("GET", "/upload")
def upload_form(request: Request) -> Answer:
    """Show a form."""
    inputs = '<input type="file" name="file"> <button>Upload</button>'
    form = f'<form method="post" enctype="multipart/form-data">{inputs}</form>'
    return page(200, "Upload a file", form, policy="form-action 'self'; style-src 'unsafe-inline'")


@app.route("POST", "/upload")
def upload(request: Request) -> Later:
    """Take a file, in a thread, since it may be large: `--limit body_bytes=1000000000` allows more than a little one."""
    return app.in_thread(take, request)


def take(request: Request) -> Any:
    """Say what has come."""
    try:
        found = form_of(request).get("file")
    except ValueError:
        return status_page(400)
    if not isinstance(found, Upload):
        return status_page(400)
    return {"name": found.name, "size": found.size, "sha256": hashlib.file_digest(found.file, "sha256").hexdigest()}


@app.route("GET", "/ticks")
def ticks(request: Request) -> Answer:
    """Send an event every second: in a browser, `new EventSource("/ticks").onmessage = print`."""
    count = 0

    def start(flow: Flow) -> None:
        def tick() -> None:
            nonlocal count
            count += 1
            flow.write(b"data: %d\n\n" % count)  # who takes nothing is cut by `Options.write_seconds`

        timer = app.reactor.call_every(1.0, tick)
        flow.on_over = timer.cancel
        tick()

    return Answer(200, Flow(start, endless=True), "text/event-stream", (("Cache-Control", "no-store"),))


@app.route("GET", "/count/{number}")
def count_up(request: Request, number: str) -> Answer:
    """Send many lines, no faster than the client takes them."""
    if not number.isdigit():
        return status_page(404)
    return Answer(200, (b"%d\n" % each for each in range(int(number))))

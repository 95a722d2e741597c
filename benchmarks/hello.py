"""The same small answer, as an application for each kind of server; `python -m benchmarks.hello PORT` runs aiohttp's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from examples.http_lite.app import App
from examples.http_lite.request import Request
from examples.http_lite.response import Answer

HELLO = b"Hello, world!\n"

app = App()


@app.route("GET", "/hello")
def hello(_: Request) -> Answer:
    """Answer, for HTTP-lite."""
    return Answer(200, HELLO)


async def asgi(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Answer, for uvicorn and granian."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(HELLO))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": HELLO})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer, for servers that speak WSGI."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))])
    return [HELLO]


def main() -> None:
    """Serve with aiohttp."""
    from aiohttp import web

    async def answer(request: Any) -> Any:
        return web.Response(body=HELLO, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/hello", answer)
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()

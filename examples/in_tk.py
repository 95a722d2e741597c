"""A reactor inside Tk: a window that shows how many are connected to an echo server, without a thread.

It shows the three calls by which a reactor lives in another loop: `fileno()`, `run_once(0)`, `next_timeout()`; see
`in_asyncio.py`. Tk counts milliseconds, and is given them rounded up, so that no timer is early.

It needs a display, and a Tk that watches descriptors, which the one of Windows does not::

    python -m examples.in_tk
    python -m examples.echo_client 127.0.0.1:7007 hello
"""

from __future__ import annotations

import argparse
import math
from importlib import import_module
from typing import Any

import attrs

from reactor import CloseReason, Reactor, Stream

try:
    tk: Any = import_module("tkinter")
except ImportError:
    tk = None  # `main` says so


@attrs.define(eq=False)
class InTk:
    """Makes the passes of a reactor from Tk's main loop."""

    reactor: Reactor
    root: Any
    _timer: str | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """Watch the reactor from now on."""
        self.root.createfilehandler(self.reactor.fileno(), tk.READABLE, self.turn)
        self.turn()

    def turn(self, *_: object) -> None:
        """Make a pass, and be called again when the next one is due."""
        self.reactor.run_once(0)
        self._forget_timer()
        delay = self.reactor.next_timeout()
        if delay is not None:
            self._timer = self.root.after(math.ceil(delay * 1000), self.turn)

    def stop(self) -> None:
        """Watch it no more."""
        self.root.deletefilehandler(self.reactor.fileno())
        self._forget_timer()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self.root.after_cancel(self._timer)
            self._timer = None


@attrs.define(eq=False)
class Window:
    """Shows how many are there; closes when so many have left."""

    clients: int
    root: Any = attrs.field(init=False)
    shown: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.root = tk.Tk()
        self.root.title("echo")
        self.shown = tk.IntVar(self.root)
        tk.Label(self.root, textvariable=self.shown, font=("", 48), width=4).pack()

    def came(self) -> None:
        """One has come."""
        self.shown.set(self.shown.get() + 1)

    def left(self, reason: CloseReason) -> None:
        """One has left."""
        print(reason, flush=True)
        self.shown.set(self.shown.get() - 1)
        self.clients -= 1
        if not self.clients:
            self.root.quit()


@attrs.define(eq=False)
class Echo(Stream):
    """Sends back what comes, a moment later."""

    window: Window

    def on_connect(self) -> None:
        self.window.came()

    def on_data(self, data: bytes) -> None:
        self.call_later(0.01, self.write, data)

    def on_end(self) -> None:
        self.call_later(0.02, self.close)

    def on_close(self, reason: CloseReason) -> None:
        self.window.left(reason)


def main() -> None:
    """Run Tk's loop."""
    parser = argparse.ArgumentParser(description="Echo, by a reactor that lives in Tk.")
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1:7007", help="where to listen (default: %(default)s)")
    parser.add_argument("--clients", metavar="N", type=int, default=3, help="end after so many (default: %(default)s)")
    options = parser.parse_args()
    if tk is None:
        parser.error("this Python was built without Tk")
    window = Window(options.clients)
    with Reactor() as reactor:
        acceptor = reactor.listen(lambda: Echo(window), options.bind)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        host = InTk(reactor, window.root)
        host.start()
        window.root.mainloop()
        host.stop()


if __name__ == "__main__":
    main()

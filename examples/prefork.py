"""Many processes behind one port: a parent that forks children, replaces those that die, and lets all finish on SIGTERM.

It shows what a child does with a reactor that it has inherited: `reinit_after_fork(keep)` gives it a selector of its own and
the listener, which all children share; everything else stays the parent's. The parent accepts nobody itself.

Run it, and talk to it from elsewhere::

    python -m examples.prefork --children 4
    python -m examples.echo_client 127.0.0.1:7007 hello

Each client is told the number of the process that serves it, and what it sends is sent back.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import traceback

import attrs

from reactor import Acceptor, Reactor, Stream

#: A child that has died is replaced after so many seconds, so that one that dies at once costs no core.
RESTART_SECONDS = 0.1


@attrs.define(eq=False)
class Echo(Stream):
    """Says who it is, and sends back what comes."""

    def on_connect(self) -> None:
        self.write(f"{os.getpid()}\n".encode())

    def on_data(self, data: bytes) -> None:
        self.write(data)


@attrs.define(eq=False)
class Parent:
    """Keeps *children* processes going."""

    reactor: Reactor
    acceptor: Acceptor
    children: set[int] = attrs.field(init=False, factory=set)
    ending: bool = attrs.field(init=False, default=False)

    def spawn(self) -> None:
        """Fork one child. It never comes back into the parent's pass."""
        if self.ending:
            return
        pid = os.fork()
        if pid:
            self.children.add(pid)
            return
        status = 1
        try:
            status = self.serve()
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)

    def serve(self) -> int:
        """Be a child; return its exit status."""
        reactor = self.reactor
        reactor.reinit_after_fork(lambda handler: handler is self.acceptor)
        self.acceptor.resume()
        reactor.on_signal(signal.SIGTERM, reactor.shutdown)
        with contextlib.suppress(KeyboardInterrupt):
            reactor.run()
        reactor.close()
        return 1 if reactor.cut else 0

    def reap(self) -> None:
        """Children have died: replace them, or leave when the last one has gone."""
        for pid in list(self.children):
            found, status = os.waitpid(pid, os.WNOHANG)  # never -1: that would take the children of others, too
            if found:
                self.children.discard(pid)
                if not self.ending:
                    print(f"{pid} has died: {os.waitstatus_to_exitcode(status)}", flush=True)
                    self.reactor.call_later(RESTART_SECONDS, self.spawn)
        if self.ending and not self.children:
            self.reactor.stop()

    def end(self) -> None:
        """Have all children finish what they are about."""
        self.ending = True
        for pid in self.children:
            os.kill(pid, signal.SIGTERM)
        self.reap()


def main() -> None:
    """Be the parent."""
    parser = argparse.ArgumentParser(description="Echo, by many processes.")
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1:7007", help="where to listen (default: %(default)s)")
    parser.add_argument("--children", metavar="N", type=int, default=2, help="how many processes (default: %(default)s)")
    options = parser.parse_args()
    with Reactor() as reactor:
        acceptor = reactor.listen(Echo, options.bind)
        acceptor.pause()
        parent = Parent(reactor, acceptor)
        reactor.on_signal(signal.SIGCHLD, parent.reap)
        reactor.on_signal(signal.SIGTERM, parent.end)
        reactor.on_signal(signal.SIGINT, parent.end)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        for _ in range(options.children):
            reactor.call_soon(parent.spawn)
        reactor.run(forever=True)


if __name__ == "__main__":
    main()

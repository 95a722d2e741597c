"""A client that sends its standard input, or its arguments, and prints what comes back.

It shows `connect` and how it fails, half-close, and how a thread feeds a stream in bounded memory. Standard input may be a
file, a pipe or a terminal, and reading it may block; so a thread reads it, and the loop stays free for what comes back.
Between the two stands a queue of a few chunks. While the connection takes no more (`on_pause`), the loop leaves the queue
alone, the queue fills up, and the thread waits.

Run it against `echo.py`::

    python -m examples.echo_client 127.0.0.1:7007 hello world
    python -m examples.echo_client 127.0.0.1:7007 <some_file

The exit status is 0 if the peer ended the connection in order, 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import sys
import threading

import attrs

from reactor import AddressError, CloseKind, CloseReason, Reactor, ReactorClosed, Stream

#: At most CHUNKS_MAX chunks of CHUNK_BYTES_MAX bytes each are read ahead of what the connection takes.
CHUNK_BYTES_MAX = 65536
CHUNKS_MAX = 4


@attrs.define(eq=False)
class Client(Stream):
    """The connection. It sends *words*, one in a line, or standard input if there are none."""

    words: list[str]
    #: The exit status of the program.
    status: int = attrs.field(init=False, default=1)
    _chunks: queue.Queue[bytes] = attrs.field(init=False, repr=False, factory=lambda: queue.Queue(CHUNKS_MAX))
    _may_send: bool = attrs.field(init=False, default=True)

    def on_connect(self) -> None:
        if self.words:
            self.write("".join(f"{word}\n" for word in self.words).encode())
            self.end()
        else:
            threading.Thread(target=self.read_input, daemon=True).start()

    def read_input(self) -> None:
        """Read standard input, in a thread of its own; an empty chunk marks its end."""
        with contextlib.suppress(ReactorClosed):  # the peer was faster: nobody wants the rest
            while True:
                chunk = os.read(sys.stdin.fileno(), CHUNK_BYTES_MAX)
                self._chunks.put(chunk)  # waits while the queue is full
                self.reactor.call_threadsafe(self.send_chunks, idempotent=True)
                if not chunk:
                    return

    def send_chunks(self) -> None:
        """Send what the thread has read, then half-close: the peer learns that nothing follows, and may still answer."""
        while self._may_send and not self._chunks.empty():
            if chunk := self._chunks.get():
                self.write(chunk)
            else:
                self.end()

    def on_pause(self) -> None:
        self._may_send = False

    def on_drain(self) -> None:
        self._may_send = True
        self.send_chunks()

    def on_data(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def on_end(self) -> None:
        self._may_send = False
        self.close()

    def on_close(self, reason: CloseReason) -> None:
        if reason.kind is CloseKind.PEER_END:
            self.status = 0
        elif reason.error is not None:
            print(reason.error, file=sys.stderr)


def main() -> int:
    """Connect, send, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Send words, or standard input, to a server and print what comes back.")
    parser.add_argument("address", metavar="ADDRESS", help="where to connect: HOST:PORT or unix:PATH")
    parser.add_argument("words", metavar="WORD", nargs="*", help="sent instead of standard input, one in a line")
    options = parser.parse_args()
    client = Client(options.words)
    with contextlib.suppress(KeyboardInterrupt), Reactor() as reactor:
        try:
            reactor.connect(client, options.address, timeout=10)
        except AddressError as error:
            parser.error(str(error))
        reactor.run()
    return client.status


if __name__ == "__main__":
    sys.exit(main())

"""Adds the numbers that come, one in a line, and answers with each sum; and has a bug."""

import signal

import attrs

from reactor import Reactor, Stream


@attrs.define(eq=False)
class Adder(Stream):
    """One client, and its sum."""

    total: int = 0

    def on_data(self, data: bytes) -> None:
        for line in data.split():
            self.total += int(line)
            self.write(b"%d\n" % self.total)


with Reactor() as reactor:
    reactor.listen(Adder, ":7007")
    reactor.on_signal(signal.SIGTERM, reactor.shutdown)
    reactor.run()

"""Stop as a service should: on SIGTERM, listen no more, let connections finish, and go."""

import signal

import attrs

from reactor import Reactor, Stream


@attrs.define(eq=False)
class Echo(Stream):
    """One connection."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


with Reactor() as reactor:
    acceptor = reactor.listen(Echo, ":7007")
    reactor.on_signal(signal.SIGTERM, reactor.shutdown, 5.0)
    print("listening on port", acceptor.port, flush=True)
    reactor.run()
print("bye")

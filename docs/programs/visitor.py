"""Connect, and say what came of it."""

import attrs

from reactor import CloseReason, ConnectError, ConnectOptions, ConnectTimeout, Keepalive, NameNotFound, Reactor, Stream

OPTIONS = ConnectOptions(attempt_timeout=2, keepalive=Keepalive(idle=30))


@attrs.define(eq=False)
class Client(Stream):
    """One connection, or the story of why there is none."""

    def on_connect(self) -> None:
        print("connected to", self.peer)
        self.close()

    def on_close(self, reason: CloseReason) -> None:
        error = reason.error
        if isinstance(error, NameNotFound):
            print("there is no such name")
        elif isinstance(error, ConnectTimeout):
            print("nobody answered in time; it was busy with:", error.phase)
        elif isinstance(error, ConnectError):
            for attempt in error.attempts:
                print(attempt.address, attempt.error.strerror)


with Reactor() as reactor:
    reactor.connect(Client(), "localhost:7007", timeout=5, options=OPTIONS)
    reactor.run()

"""Say hello, print the answer, leave."""

import attrs

from reactor import CloseReason, Reactor, Stream


@attrs.define(eq=False)
class Greeter(Stream):
    """A connection with a field of its user's."""

    name: str

    def on_connect(self) -> None:
        self.write(f"hello {self.name}\r\n".encode())

    def on_data(self, data: bytes) -> None:
        print(data.decode(), end="")
        self.close()

    def on_close(self, reason: CloseReason) -> None:
        print(reason)


with Reactor() as reactor:
    reactor.connect(Greeter("world"), "localhost:7007", timeout=5)
    reactor.run()

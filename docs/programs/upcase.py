"""Answer when the peer has sent its last byte: half of the connection is over, the other half is not."""

import attrs

from reactor import Reactor, Stream


@attrs.define(eq=False)
class Upcase(Stream):
    """Collects a request, answers in capitals."""

    request: bytearray = attrs.field(factory=bytearray)

    def on_data(self, data: bytes) -> None:
        self.request += data

    def on_end(self) -> None:
        self.write(self.request.upper())
        self.close()


with Reactor() as reactor:
    reactor.listen(Upcase, ":7007")
    reactor.run()

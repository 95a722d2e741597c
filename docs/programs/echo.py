"""Send back whatever comes."""

import attrs

from reactor import Reactor, Stream


@attrs.define(eq=False)
class Echo(Stream):
    """One connection; each gets an object of its own."""

    def on_data(self, data: bytes) -> None:
        self.write(data)


with Reactor() as reactor:
    reactor.listen(Echo, ":7007")
    reactor.run()

"""Send ten megabytes to whoever connects, and never hold more than a little of it in memory."""

import attrs

from reactor import CloseReason, Reactor, Stream

CHUNK = b"drop" * 4096


@attrs.define(eq=False)
class Faucet(Stream):
    """Runs while the peer drinks."""

    left: int = 10_000_000
    is_paused: bool = False

    def on_connect(self) -> None:
        self.flow()

    def on_pause(self) -> None:
        self.is_paused = True

    def on_drain(self) -> None:
        self.is_paused = False
        self.flow()

    def flow(self) -> None:
        """Send a chunk, and come back in the next pass."""
        if self.left and not self.is_paused:
            chunk = CHUNK[: self.left]
            self.left -= len(chunk)
            self.write(chunk)
            self.call_soon(self.flow)
        elif not self.left:
            self.close()

    def on_close(self, reason: CloseReason) -> None:
        print(self.peer, reason)


with Reactor() as reactor:
    reactor.listen(Faucet, ":7007")
    reactor.run()

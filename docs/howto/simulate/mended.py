"""Adds up the numbers that come, one on a line, and answers each with the sum so far."""

import attrs

from reactor import Stream


@attrs.define(eq=False)
class Adder(Stream):
    """One client, its sum, and what has come of a line whose end has not."""

    total: int = attrs.field(init=False, default=0)
    unfinished: bytes = attrs.field(init=False, default=b"")

    def on_data(self, data: bytes) -> None:
        *lines, self.unfinished = (self.unfinished + data).split(b"\n")
        for line in lines:
            self.total += int(line)
            self.write(b"%d\n" % self.total)

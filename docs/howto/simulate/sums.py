"""Adds up the numbers that come, one on a line, and answers each with the sum so far. There is a bug in it."""

import attrs

from reactor import Stream


@attrs.define(eq=False)
class Adder(Stream):
    """One client, and its sum."""

    total: int = attrs.field(init=False, default=0)

    def on_data(self, data: bytes) -> None:
        for line in data.splitlines():
            self.total += int(line)
            self.write(b"%d\n" % self.total)

"""Lines, out of bytes that are cut anywhere."""

from collections.abc import Iterator

import attrs


class LineTooLong(Exception):
    """The peer sends a line that is longer than we take."""


@attrs.define(eq=False)
class Lines:
    """Yields each line, without its end."""

    limit: int = 80
    unfinished: bytes = attrs.field(init=False, default=b"")
    failed: bool = attrs.field(init=False, default=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take *data*, yield the lines that are whole now."""
        *lines, self.unfinished = (self.unfinished + data).split(b"\n")
        for line in lines:
            self.check(line)
            yield line
        self.check(self.unfinished)

    def check(self, line: bytes) -> None:
        """Raise, from now on always, if *line* is too long."""
        self.failed = self.failed or len(line) > self.limit
        if self.failed:
            self.unfinished = b""
            raise LineTooLong

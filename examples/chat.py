"""A chat room: what one member says, all others read.

It shows how handlers share an object, how lines are cut out of a stream, and what to do about one slow reader among many.
Nobody waits for it: while more than `limits.high` bytes are queued for a member, it misses messages, and is told how many
as soon as it has caught up. So a member costs bounded memory, and its slowness is its own affair.

Run it, and join from as many terminals as you like::

    python -m examples.chat
    nc 127.0.0.1 7009

The first line that a member sends is its name.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal

import attrs

from reactor import AddressError, CloseReason, ListenError, Reactor, Stream

#: A longer line is refused; so a line costs bounded memory, too.
LINE_BYTES_MAX = 1024
NAME_LENGTH_MAX = 20


@attrs.define(eq=False)
class Room:
    """Who is in, by name."""

    members: dict[str, Member] = attrs.field(init=False, factory=dict)

    def enter(self, member: Member) -> None:
        """Let *member* in, who has a name that nobody else has."""
        self.members[member.name] = member
        self.broadcast(member, f"* {member.name} has joined")

    def leave(self, member: Member) -> None:
        """Let *member* out, if it is in."""
        if self.members.get(member.name) is member:
            del self.members[member.name]
            self.broadcast(member, f"* {member.name} has left")

    def broadcast(self, sender: Member, text: str) -> None:
        """Send *text* to everybody but *sender*."""
        for member in self.members.values():
            if member is not sender:
                member.tell(text)


@attrs.define(eq=False)
class Member(Stream):
    """One connection. It is in the room from its first line, its name, to its end."""

    room: Room
    name: str = attrs.field(init=False, default="")
    #: How many messages were not sent to it because it reads too slowly.
    missed: int = attrs.field(init=False, default=0)
    _line: bytes = attrs.field(init=False, repr=False, default=b"")  # the part of a line that is here already

    # Lines

    def on_connect(self) -> None:
        self.tell("* What is your name?")

    def on_data(self, data: bytes) -> None:
        *ends, rest = data.split(b"\n")
        for end in ends:
            self.grow_line(end)
            line, self._line = self._line.removesuffix(b"\r"), b""
            if len(line) > LINE_BYTES_MAX:
                self.tell(f"* refused: a line has at most {LINE_BYTES_MAX} bytes")
            else:
                self.on_line(line.decode(errors="replace"))
        self.grow_line(rest)

    def grow_line(self, part: bytes) -> None:
        """Add *part* to the line. Of one that is too long keep no more than shows that it is: the carriage return does not
        count, and the byte after it settles the matter.
        """
        self._line += part[: LINE_BYTES_MAX + 2 - len(self._line)]

    def on_line(self, line: str) -> None:
        """A whole line came, without its end."""
        if self.name:
            self.room.broadcast(self, f"{self.name}: {line}")
        elif not line.isprintable() or not 0 < len(line) <= NAME_LENGTH_MAX:
            self.tell(f"* A name has 1 to {NAME_LENGTH_MAX} printable characters. What is your name?")
        elif line in self.room.members:
            self.tell(f"* {line} is here already. What is your name?")
        else:
            self.tell(f"* Welcome. Here are: {', '.join(self.room.members) or 'only you'}")
            self.name = line
            self.room.enter(self)

    # Messages to this member

    def tell(self, text: str) -> None:
        """Send *text*, unless too much is queued. A member that has begun to miss goes on to, until it has caught up."""
        mark = self.limits.low if self.missed else self.limits.high
        if self.buffered > mark:
            self.missed += 1
            return
        self.tell_missed()
        self.write(f"{text}\n".encode())

    def tell_missed(self) -> None:
        """Own up to what was left out."""
        if self.missed:
            self.write(f"* you missed {self.missed} messages\n".encode())
            self.missed = 0

    def on_drain(self) -> None:
        self.tell_missed()

    # The end

    def on_end(self) -> None:
        self.room.leave(self)  # before `close`: a stream that is closing cannot be written to
        self.close()

    def on_close(self, reason: CloseReason) -> None:
        self.room.leave(self)


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Serve a chat room; join it with `nc HOST PORT`.")
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:7009",
        help="where to listen: HOST:PORT, :PORT for every interface, or unix:PATH; port 0 means any free one"
        " (default: %(default)s)",
    )
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt), Reactor() as reactor:
        try:
            acceptor = reactor.listen(functools.partial(Member, Room()), options.bind)
        except (AddressError, ListenError) as error:
            parser.error(str(error))
        reactor.on_signal(signal.SIGTERM, reactor.shutdown)
        print("listening on", ", ".join(map(str, acceptor.addresses)), flush=True)
        reactor.run()


if __name__ == "__main__":
    main()

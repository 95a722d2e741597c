"""Peer: the other side of a connection in a simulation, which does what a script says and remembers what it was told.

It is no handler and has no reactor: a plain non-blocking socket, so that what it finds is not the library's opinion.
It owns the socket.
"""

from __future__ import annotations

import socket
from enum import Enum
from typing import TYPE_CHECKING

import attrs

from reactor.testing.kernel import ERR, HUP, IN, OUT

if TYPE_CHECKING:
    from reactor.testing.simulation import Host
    from reactor.testing.sockets import SimulatedSocket

#: Between two pieces that are sent; long enough for each to be received by itself. All seconds are virtual.
GAP_SECONDS = 0.0001
#: Silence after which the peer takes it that there is nothing more to come, and finishes.
QUIET_SECONDS = 5.0
#: How long it waits for the other side's end, or to be rid of what it has to send.
PATIENCE_SECONDS = 3600.0
#: Bytes that it takes at most; then it has heard enough, and resets.
HEARD_BYTES_MAX = 1 << 18
#: A slow one takes so many bytes so often.
SLOW_BYTES = 1024
SLOW_SECONDS = 0.01

_RECEIVE_BYTES = 65536
_LINGER_ZERO = b"\1\0\0\0\0\0\0\0"


class Finish(Enum):
    """How a peer ends, when it has sent everything."""

    END = "end"  # FIN, then it reads on
    CLOSE = "close"
    RESET = "reset"


class Ended(Enum):
    """How the other side has ended, as its peer sees it."""

    #: It had not, when the peer closed.
    OPEN = "not at all"
    #: With everything that it had to say.
    FIN = "with a clean end"
    #: It broke off.
    RST = "by a reset"
    #: It sent so much that the peer did not wait for the end.
    ENOUGH = f"not before {HEARD_BYTES_MAX} bytes"


@attrs.frozen(kw_only=True)
class Script:
    """What a peer does."""

    pieces: tuple[bytes, ...]
    finish: Finish = Finish.END
    #: Whether it waits for silence before it finishes.
    waits: bool = True
    #: Whether it reads slowly.
    slow: bool = False


@attrs.define(eq=False)
class Peer:
    """One connection from *host*, made by `play`."""

    host: Host
    heard: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    ended: Ended = attrs.field(default=Ended.OPEN, init=False)
    _sock: SimulatedSocket = attrs.field(init=False, repr=False)
    _slow: bool = attrs.field(default=False, init=False)
    _next_read: float = attrs.field(default=0.0, init=False)

    def play(self, script: Script, address: tuple[str, int]) -> None:
        """Connect to *address*, do what *script* says, and close."""
        sim, self._slow = self.host.sim, script.slow
        self._sock = self.host.sockets.create_connection(address)
        self._sock.setblocking(False)
        try:
            for piece in script.pieces:
                self._send(piece)
                sim.advance(GAP_SECONDS)
            if script.waits:
                self._listen(QUIET_SECONDS)
            if script.finish is Finish.END and self.ended in (Ended.OPEN, Ended.FIN):
                self._end()
                self._listen(PATIENCE_SECONDS)
            if script.finish is Finish.RESET or self.ended is Ended.ENOUGH:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        finally:
            self._sock.close()

    def _send(self, data: bytes) -> None:
        """Send *data*, and read meanwhile; give up if the other side takes nothing any more."""
        sim, give_up = self.host.sim, self.host.sim.now + PATIENCE_SECONDS
        while data and self.ended in (Ended.OPEN, Ended.FIN) and sim.now < give_up:
            self._read()
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                self._wait(OUT, give_up)
            except OSError:
                self.ended = Ended.RST

    def _end(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.ended = Ended.RST

    def _listen(self, seconds: float) -> None:
        """Read until the other side ends, or has been silent for some *seconds*."""
        sim = self.host.sim
        deadline = sim.now + seconds
        while self.ended is Ended.OPEN and sim.now < deadline:
            if self._read():
                deadline = sim.now + seconds
            else:
                self._wait(0, deadline)

    def _read(self) -> bool:
        """Take what is there, as a slow one a little of it; tell whether there was anything."""
        if self.ended is not Ended.OPEN or (self._slow and self.host.sim.now < self._next_read):
            return False
        self._next_read = self.host.sim.now + SLOW_SECONDS
        try:
            data = self._sock.recv(SLOW_BYTES if self._slow else _RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            self.ended = Ended.RST
            return False
        self.heard += data
        if not data:
            self.ended = Ended.FIN
        elif len(self.heard) >= HEARD_BYTES_MAX:
            del self.heard[HEARD_BYTES_MAX:]
            self.ended = Ended.ENOUGH
        return bool(data)

    def _wait(self, events: int, deadline: float) -> None:
        """Let time go on until one of *events* is there, or it may read, or the *deadline* comes."""
        sim, end = self.host.sim, self._sock.end
        if self._slow and sim.now < self._next_read:
            sim.advance(min(deadline, self._next_read) - sim.now)
            return
        if self.ended is Ended.OPEN:
            events |= IN
        sim.run(until=lambda: end.poll() & (events | ERR | HUP), timeout=deadline - sim.now)

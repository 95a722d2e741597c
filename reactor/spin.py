"""Spins: finds the handler that stays ready and does nothing about it, says so once, and parks it.

A selector names a descriptor again and again until somebody reads what is there, accepts who waits, or writes. A handler
that never does burns a core. Every so many passes those that are ready are suspects; who is ready in each of the next
passes is measured; and whoever has moved nothing in that time is taken off the selector, for longer each time.

Nobody is accused who may be innocent. Of a TCP connection Linux keeps count; of others, what has been called in this thread
is watched for some passes; and where neither can tell, nobody is accused. No descriptor is owned here.
"""

from __future__ import annotations

import errno
import sys
from socket import SO_ERROR, SOCK_STREAM, SOL_SOCKET
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import attrs

from reactor.poller import READ, WRITE, describe

if TYPE_CHECKING:
    import selectors

    from reactor.handler import Handler
    from reactor.loop import Loop
    from reactor.timers import Timer

#: One pass of so many begins to look for suspects.
LOOK_EVERY_PASSES = 1024
#: Passes in a row in which a suspect is ready, before it is measured; and then those in which it has moved nothing.
READY_PASSES = 8
MEASURED_PASSES = 8
#: Seconds for which a spinning handler is off the selector: doubled each time, back to the first when it has moved anything.
PARK_SECONDS_MIN = 0.05
PARK_SECONDS_MAX = 5.0

#: Functions by which something is taken from a descriptor, and put into it, whatever object they belong to.
_TAKING = {
    *("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "accept", "_accept", "do_handshake"),
    *("read", "read1", "readinto", "readinto1", "readline", "readv", "pread", "preadv", "eventfd_read", "splice"),
}
_PUTTING = {
    *("send", "sendall", "sendto", "sendmsg", "sendmsg_afalg", "sendfile", "connect", "connect_ex", "do_handshake"),
    *("write", "writev", "pwrite", "pwritev", "shutdown", "splice"),
}


@attrs.define(eq=False)
class _Suspect:
    """Somebody who was ready in every pass so far."""

    #: For what.
    bits: int
    #: What the kernel had been told then.
    told: int
    progress: tuple[int, int] | None = None
    unread: int | None = None


@attrs.define(eq=False)
class _Record:
    """What is known of somebody who has been parked."""

    seconds: float
    suspect: _Suspect
    timer: Timer

    def stands(self, now: _Suspect) -> bool:
        """Whether nothing has moved since."""
        then = self.suspect
        as_before = (then.bits, then.told, then.progress) == (now.bits, now.told, now.progress)
        return as_before and (now.unread or 0) >= (then.unread or 0)


@attrs.define(eq=False)
class Spins:
    """Of one loop."""

    _loop: Loop = attrs.field(repr=False)
    #: The next pass that is of interest here.
    look_at: int = attrs.field(default=LOOK_EVERY_PASSES, init=False)
    _suspects: dict[Handler, _Suspect] = attrs.field(factory=dict, init=False, repr=False)
    _step: int = attrs.field(default=0, init=False)
    _listening_in: bool = attrs.field(default=False, init=False)
    _records: WeakKeyDictionary[Handler, _Record] = attrs.field(factory=WeakKeyDictionary, init=False, repr=False)

    def look(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Look at who is *ready* in this pass, which is `look_at` or a later one."""
        now = self._loop.passes
        if self._step == 0 or now != self.look_at:  # in a pass between, nobody was ready
            self.rest()
            self._suspects = {
                key.data: _Suspect(bits, key.data._told)
                for key, events in ready
                if (bits := events & key.data._told) and key.data in self._loop.handlers
            }
        else:
            self._narrow({key.data: events for key, events in ready})
        if not self._suspects:
            self.rest()
            return
        self._step += 1
        self.look_at = now + 1
        if self._step == READY_PASSES:
            self._measure()
        elif self._step == READY_PASSES + MEASURED_PASSES:
            accused = self._suspects
            self.rest()
            for handler, suspect in accused.items():
                self._accuse(handler, suspect)

    def run_begins(self) -> None:
        """The loop's thread runs the loop."""
        if self._listening_in:
            sys.setprofile(self._heard)

    def run_ends(self) -> None:
        """It will run other code from now on."""
        if self._listening_in:
            sys.setprofile(None)

    def rest(self) -> None:
        """Begin anew, some time."""
        self.run_ends()
        self._listening_in = False
        self._suspects, self._step = {}, 0
        self.look_at = self._loop.passes + LOOK_EVERY_PASSES

    def _narrow(self, ready: dict[Handler, int]) -> None:
        """Keep those that are still ready, and still have done nothing."""
        for handler, suspect in list(self._suspects.items()):
            suspect.bits &= ready.get(handler, 0) if handler._told == suspect.told else 0
            if suspect.bits and self._step >= READY_PASSES:
                self._compare(handler, suspect)
            if not suspect.bits:
                del self._suspects[handler]

    def _measure(self) -> None:
        """Note how far each is; and have those watched of whom the kernel keeps no count."""
        system, uncounted = self._loop.system, False
        for handler, suspect in list(self._suspects.items()):
            suspect.progress = system.progress(handler.sock)
            if suspect.progress is None:
                uncounted = True
                suspect.unread = system.unread(handler.sock)
                if suspect.unread is None or sys.getprofile() is not None:  # cannot tell, or somebody else is listening in
                    del self._suspects[handler]
        if uncounted and self._suspects:
            self._listening_in = True
            sys.setprofile(self._heard)

    def _compare(self, handler: Handler, suspect: _Suspect) -> None:
        """Clear *suspect* of what has moved since it was measured."""
        system = self._loop.system
        if suspect.progress is not None:
            now = system.progress(handler.sock) or (-1, -1)
            for bit, before, after in zip((READ, WRITE), suspect.progress, now, strict=True):
                if before != after:
                    suspect.bits &= ~bit
        elif system.unread(handler.sock) != suspect.unread:
            suspect.bits &= ~READ

    def _heard(self, frame: FrameType, event: str, function: Any) -> None:  # pragma: no cover  # see below
        """A function written in C has returned in this thread: if it can move bytes, it clears whoever it may concern."""
        # no cover: Python traces nothing while a profile function runs, so coverage cannot see a line of this.
        cleared, fd = moved_by(function) if event == "c_return" else (0, None)
        if cleared:
            for handler, suspect in self._suspects.items():
                if suspect.progress is None and (fd is None or fd == handler._fd):
                    at_end = suspect.unread == 0 and handler.sock.type == SOCK_STREAM  # it is b"" that was read
                    suspect.bits &= ~(cleared & ~READ if at_end else cleared)

    def _accuse(self, handler: Handler, suspect: _Suspect) -> None:
        """Park it; and say so, unless nothing has changed since it was said."""
        loop = self._loop
        record = self._records.get(handler)
        if record is not None:
            record.timer.cancel()
        loop.counts["spins"] += 1
        if record is not None and record.stands(suspect):
            delay = min(2 * record.seconds, PARK_SECONDS_MAX)
        else:
            delay = PARK_SECONDS_MIN
            self._report(handler, suspect.bits, delay)
        timer = loop.call_later(delay, self._release, handler, owner=handler).unref()
        self._records[handler] = _Record(delay, suspect, timer)
        loop.poller.park(handler, suspect.bits)

    def _report(self, handler: Handler, bits: int, delay: float) -> None:
        try:
            number = handler.sock.getsockopt(SOL_SOCKET, SO_ERROR)
            pending = errno.errorcode.get(number, str(number)) if number else "no error"
        except OSError as error:
            pending = str(error)
        ready = " and ".join(word for bit, word in ((READ, "on_readable"), (WRITE, "on_writable")) if bits & bit)
        self._loop.log.warning(
            "%s spins: it is ready in every pass, and its %s moves nothing; interest %s, SO_ERROR: %s%s; "
            "it is off the selector for %g s, then for longer, until its interest changes",
            describe(handler),
            ready,
            ("none", "read", "write", "read and write")[handler._told & 3],
            pending,
            self._loop.site_of(handler),
            delay,
        )

    def _release(self, handler: Handler) -> None:
        """Give it another chance, and look closely."""
        self._loop.poller.unpark(handler)
        self.look_at = self._loop.passes
        self._loop.look_closely()


def moved_by(function: Any) -> tuple[int, int | None]:
    """Return what a call of *function* may have moved, READ, WRITE, both or 0, and of which descriptor; None: of any."""
    name = function.__name__
    bits = (READ if name in _TAKING else 0) | (WRITE if name in _PUTTING else 0)
    fileno = getattr(function.__self__, "fileno", None) if bits else None
    try:
        return bits, None if fileno is None else fileno()
    except Exception:  # a file that is closed, or stands for none
        return bits, None

"""Whose calls are on the tape: those of the one thread that makes and runs the reactors.

A journal is one sequence, so it holds the calls of one thread. Others may read the clock, which is not noted, look names up,
which is noted apart, and send calls, which are noted when they are taken.
"""

from __future__ import annotations

import threading

import attrs

from reactor.errors import UsageError
from reactor.system import System


@attrs.define(eq=False)
class OneThread(System):
    """A system that knows whose calls count."""

    #: The number of the thread whose calls are on the tape.
    owner: int = attrs.field(init=False, factory=threading.get_ident)
    _inside: int = attrs.field(init=False, default=0)  # how many reactors it runs, one within the other
    _inboxes: int = attrs.field(init=False, default=0)

    def claim(self, what: str) -> None:
        """Have the calling thread's calls on the tape from now on.

        Raises:
            UsageError: another thread runs a reactor.
        """
        thread = threading.get_ident()
        if thread != self.owner:
            if self._inside:
                raise UsageError(f"{what}: another thread runs a reactor, and a journal holds the reactors of one thread")
            self.owner = thread

    def enter(self) -> int:
        self.claim("run")
        self._inside += 1
        return self.owner

    def leave(self) -> None:
        self._inside -= 1

    def _next_inbox(self) -> int:
        self.claim("Reactor()")
        self._inboxes += 1
        return self._inboxes

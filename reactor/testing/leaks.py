"""Inventory: what a process has open at a moment, so that a test can say what it has left behind.

Descriptors, where the platform lists them; threads; and of every reactor that is open, its handlers and timers. Nothing is
owned, and nothing is closed.
"""

from __future__ import annotations

import gc
import os
import threading

import attrs

from reactor.loop import Loop
from reactor.poller import describe

_DESCRIPTORS = "/dev/fd"


@attrs.frozen(eq=False)
class Inventory:
    """What is there; made by `take`."""

    #: Numbers, and what they name.
    descriptors: frozenset[str]
    threads: frozenset[threading.Thread]
    #: Of every open reactor: its handlers and timers.
    reactors: dict[Loop, frozenset[object]]

    @classmethod
    def take(cls) -> Inventory:
        """Return what is there now."""
        reactors = {each: _contents(each) for each in gc.get_objects() if isinstance(each, Loop) and not each.is_closed}
        return cls(_descriptors(), frozenset(threading.enumerate()), reactors)

    def left_since(self) -> list[str]:
        """Return, in words, what is there now and was not there then."""
        now = Inventory.take()
        if now.descriptors - self.descriptors:
            gc.collect()  # what nobody holds any more is no leak of this kind
            now = Inventory.take()
        left = [f"descriptor {each}" for each in sorted(now.descriptors - self.descriptors)]
        left += [f"thread {each.name}" for each in now.threads - self.threads]
        for reactor, contents in now.reactors.items():
            if reactor not in self.reactors:
                left.append(f"a reactor that was not closed: {reactor.dump()}")
            else:
                before = self.reactors[reactor]
                left += [f"handler {describe(each)}" for each in reactor.handlers if each in contents - before]
                left += [f"timer of {each.callback!r}" for each in reactor.timers if each in contents - before]
        return left


def _contents(reactor: Loop) -> frozenset[object]:
    return frozenset([*reactor.handlers, *reactor.timers])


def _descriptors() -> frozenset[str]:
    if not os.path.isdir(_DESCRIPTORS):
        return frozenset()
    found = []
    for number in os.listdir(_DESCRIPTORS):
        try:
            found.append(f"{number} {os.readlink(f'{_DESCRIPTORS}/{number}')}")
        except OSError:  # the one that listed them
            continue
    return frozenset(found)

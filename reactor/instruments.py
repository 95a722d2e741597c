"""Instruments: who listens in on a reactor, for metrics, traces and logs. It decides nothing and owns nothing.

An instrument has any of the methods of `Instrument`. Which it has is found out once, when it is added: a reactor without
instruments, and a method that nobody has, cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from reactor.acceptor import Acceptor
    from reactor.addresses import Address
    from reactor.handler import Handler
    from reactor.loop import ErrorContext, Loop


class Instrument:
    """What an instrument may be told; override what you want to hear. Moments are those of the reactor's own clock.

    It is called in the loop's thread, in the middle of what it is told of: it may look, and shall do nothing else. What it
    raises is logged, and it hears nothing more.
    """

    def on_pass(self, loop: Loop, began: float, ended: float) -> None:
        """A pass is over."""

    def on_poll(self, loop: Loop, began: float, ended: float, ready: int) -> None:
        """The loop has waited, from *began* to *ended*, and so many descriptors were *ready*."""

    def on_dispatch(self, handler: Handler, hook: str, began: float, ended: float) -> None:
        """`on_readable` or `on_writable` of *handler* was called."""

    def on_timer(self, owner: Handler | None, callback: Callable[..., object], began: float, ended: float) -> None:
        """A timer has fired, or a call that was queued was made."""

    def on_accept(self, acceptor: Acceptor, peer: Address) -> None:
        """A connection was accepted."""

    def on_connect(self, handler: Handler) -> None:
        """What `connect` was asked for has come about."""

    def on_read(self, handler: Handler, count: int) -> None:
        """A stream has received *count* bytes."""

    def on_write(self, handler: Handler, count: int) -> None:
        """The kernel has taken *count* bytes of a stream."""

    def on_error(self, context: ErrorContext) -> None:
        """User code raised."""


NAMES = tuple(name for name in vars(Instrument) if name.startswith("on_"))


@attrs.frozen(eq=False)
class Instruments:
    """Those of one reactor, and for each method the ones that have it."""

    members: tuple[object, ...]
    hooks: dict[str, tuple[Callable[..., Any], ...]]

    @classmethod
    def of(cls, members: tuple[object, ...]) -> Instruments | None:
        """Return them sorted out; None for none."""
        if not members:
            return None
        return cls(members, {name: tuple(_hooks(members, name)) for name in NAMES})

    def count_bytes(self) -> bool:
        """Tell whether anybody wants to hear of each read and write."""
        return bool(self.hooks["on_read"] or self.hooks["on_write"])


def _hooks(members: tuple[object, ...], name: str) -> list[Callable[..., Any]]:
    """Return the methods of that *name* which do anything."""
    return [
        getattr(member, name)
        for member in members
        if getattr(type(member), name, None) not in (None, getattr(Instrument, name))
    ]

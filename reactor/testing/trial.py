"""Trial: one connection of a user's handler in a simulation, served, observed, and held to what every handler promises.

What differs from trial to trial is compared elsewhere: see `check`. What must hold in each is looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING

import attrs

from reactor.errors import BufferOverflow, CloseKind
from reactor.handler import Handler
from reactor.stream import Stream
from reactor.testing.faults import NO_FAULTS, Faults
from reactor.testing.monitor import HOOKS
from reactor.testing.network import Network
from reactor.testing.peer import PATIENCE_SECONDS, Ended, Peer, Script
from reactor.testing.simulation import NOTE_LINES, Simulation
from reactor.testing.verdicts import BrokenContract, InjectedError, SimulationError
from reactor.testing.watched import WatchedReactor

if TYPE_CHECKING:
    from reactor.testing.simulation import Host

PORT = 7007
#: What may be done to a handler from inside its hooks.
ACTIONS = ("close", "abort", "raise")
# When these are called depends on how fast the peer reads.
_OF_PRESSURE = ("on_pause", "on_drain")
_BARE = ("on_readable", "on_writable")


@attrs.frozen
class Blow:
    """What strikes the handler when it has heard *hook* for the *count*-th time: one of `ACTIONS`."""

    action: str
    hook: str
    count: int

    def strike(self, handler: Handler) -> None:
        """Do it."""
        if self.action == "raise":
            raise InjectedError(f"after {self.hook}")
        (handler.close if self.action == "close" else handler.abort)()


@attrs.frozen
class Outcome:
    """What can be observed of a connection, whatever the handler is."""

    #: Bytes that came back.
    heard: bytes
    #: How it ended, as the peer sees it.
    ended: Ended
    #: How it ended, as the handler was told.
    kind: CloseKind | None
    #: The hooks in order; several `on_data` in a row are one, and those of the queue's marks are left out.
    hooks: tuple[str, ...]
    #: What `seen` made of the handler in the end.
    seen: object


@attrs.define(eq=False)
class Trial:
    """One run; `run` is called once."""

    factory: Callable[[], Handler]
    script: Script
    seen: Callable[[Handler], object] | None = None
    #: Classes of what hooks may raise.
    raises: tuple[type[Exception], ...] = ()
    seed: int = 0
    faults: Faults = NO_FAULTS
    network: Network | None = None
    blow: Blow | None = None
    #: Every call of a hook, in order.
    calls: list[str] = attrs.field(factory=list, init=False)
    _made: list[Handler] = attrs.field(factory=list, init=False)

    def run(self) -> Outcome:
        """Serve the peer, and return what could be observed.

        Raises:
            BrokenContract: something that must hold for every handler does not.
        """
        try:
            with Simulation(self.seed, network=self.network, faults=self.faults) as sim:
                sim.monitor.after = self._after
                server = sim.host("server")
                with WatchedReactor(system=server, selector=server.selector(), debug=True) as reactor:
                    return self._serve(reactor, server, Peer(sim.host("peer")))
        except SimulationError as error:
            raise BrokenContract(str(error)) from error
        except BrokenContract as broken:
            broken.add_note("\n".join(["what happened last:", *sim.journal.lines(NOTE_LINES)]))
            raise

    def _serve(self, reactor: WatchedReactor, server: Host, peer: Peer) -> Outcome:
        address = server.addresses[0], PORT
        reactor.listen(self._make, address)
        handlers, timers, files = set(reactor.handlers), set(reactor.timers), set(server.kernel.files)
        peer.play(self.script, address)
        server.sim.run(
            until=lambda: not set(reactor.handlers) - handlers and not set(server.kernel.files) - files,
            timeout=PATIENCE_SECONDS,
        )
        self._check_errors(reactor)
        left = [
            *(repr(handler) for handler in reactor.handlers if handler not in handlers),
            *(f"timer of {timer.callback!r}" for timer in reactor.timers if timer not in timers),
            *(f"descriptor {fd}" for fd in server.kernel.files if fd not in files),
        ]
        if left:
            raise BrokenContract(f"the peer has gone, and these are left: {', '.join(left)}\n{reactor.dump()}")
        return self._observed(peer)

    def _observed(self, peer: Peer) -> Outcome:
        handler = self._made[0] if self._made else None
        reason = None if handler is None else handler.reason
        if reason is not None and isinstance(reason.error, BufferOverflow):
            raise BrokenContract(f"{reason.error}: it goes on writing after on_pause")
        return Outcome(
            bytes(peer.heard),
            peer.ended,
            None if reason is None else reason.kind,
            tuple(name for name, _ in groupby(each for each in self.calls if each not in _OF_PRESSURE)),
            None if self.seen is None or handler is None else self.seen(handler),
        )

    def _check_errors(self, reactor: WatchedReactor) -> None:
        allowed = (*self.raises, InjectedError) if self.blow is not None else self.raises
        for context in reactor.errors:
            if not isinstance(context.exc, allowed):
                whose = "" if context.handler is None else f" of {type(context.handler).__name__}"
                heard = f"; it heard {', '.join(self.calls)}" if self.calls else ""
                raise BrokenContract(f"{context.where}{whose} raised {context.exc!r}{heard}") from context.exc

    def _make(self) -> Handler:
        self._made.append(self.factory())
        return self._made[-1]

    def _after(self, handler: Handler, hook: str) -> None:
        if handler in self._made[:1] and not (isinstance(handler, Stream) and hook in _BARE):
            self.calls.append(hook)
            blow = self.blow
            if blow is not None and hook == blow.hook and self.calls.count(hook) == blow.count:
                blow.strike(handler)


def blows(calls: list[str], most: int) -> list[Blow]:
    """Return what is to strike at a handler that has heard *calls*: every action, after the first and the last call of each
    hook, and after some between; after *most* calls at most, if that is enough for one of each hook.
    """
    numbered = [(hook, calls[: place + 1].count(hook)) for place, hook in enumerate(calls)]
    ends = {(hook, count) for hook in HOOKS for count in (1, calls.count(hook)) if hook in calls}
    between = [each for each in numbered if each not in ends]
    room = max(0, most - len(ends))
    step = max(1, -(-len(between) // room)) if room else len(between) + 1
    chosen = {*ends, *(between[::step] if room else ())}
    return [Blow(action, hook, count) for hook, count in numbered if (hook, count) in chosen for action in ACTIONS]

"""Check: whether a handler class keeps what handlers promise, whatever the network and the peer do.

Each case is a trial of its own: a new simulation, a new reactor, a new handler. A case has a name, by which it is rerun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import TypeVar, cast

import attrs

from reactor.errors import UsageError
from reactor.handler import Handler
from reactor.testing.faults import NO_FAULTS, Faults
from reactor.testing.network import Network
from reactor.testing.peer import Ended, Finish, Script
from reactor.testing.splits import EFFORT, Effort, name_of, pieces, points, splits
from reactor.testing.trial import Blow, Outcome, Trial, blows
from reactor.testing.verdicts import BrokenContract

H = TypeVar("H", bound=Handler)

#: Faults that a handler must not notice.
HARMLESS = Faults(again=0.05, short=0.2, early=0.02, spurious=0.02, shuffle=0.2, wake=0.01)
#: A kernel that holds hardly anything, so that a slow peer is felt at once.
NARROW = Network(send_buffer=4608, receive_buffer=2304)
#: Pieces of the conversation while the handler is closed from its hooks.
_PIECES_MAX = 8


@attrs.frozen(kw_only=True)
class Case:
    """One trial: what is done, and whether its outcome must be that of the whole."""

    name: str
    script: Script
    seed: int = 0
    faults: Faults = NO_FAULTS
    network: Network | None = None
    blow: Blow | None = None
    compares: bool = False


def check_handler(
    factory: Callable[[], H],
    sends: bytes | Iterable[bytes] = b"",
    *,
    seen: Callable[[H], object] | None = None,
    raises: tuple[type[Exception], ...] = (),
    effort: Effort = EFFORT,
) -> list[Outcome]:
    """Serve a peer with handlers from *factory*, in simulations, and see that they keep what handlers promise.

    - However its input is cut, whatever harmless faults there are, and however slowly the peer reads: the same bytes come
      back, it ends in the same way, hears the same hooks, and *seen* is the same.
    - Wherever the peer ends, closes or resets, and from whichever hook the handler is closed, aborted or broken by an
      exception: it comes to its end, raises nothing else, and leaves no descriptor, no timer and no handler.
    - Hooks come in their order, and none after `on_close`; its queue keeps within its limits.

    Args:
        factory: a handler class, a partial, any callable without arguments that returns a new handler.
        sends: what a peer sends; or several of these, each a conversation of its own.
        seen: what else shall be the same: is given the handler in the end, and returns something that can be compared.
        raises: classes of what hooks may raise, other than by us.
        effort: how much is tried.

    Returns:
        what was observed of each conversation, sent whole.

    Raises:
        BrokenContract: a promise is not kept. The message names the case, and how to rerun it alone.
        UsageError: no case has the name `effort.only`.
    """
    __tracebackhide__ = True
    outcomes = []
    found = effort.only is None
    for number, data in enumerate([sends] if isinstance(sends, bytes) else sends):
        check = _Check(factory, cast("Callable[[Handler], object] | None", seen), raises, effort, number)
        outcomes.append(check.reference(data))
        for case in check.cases(data):
            if effort.only in (None, f"{number}: {case.name}"):
                found = True
                check.try_case(case)
    if not found:
        raise UsageError(f"no case has the name {effort.only!r}")
    return outcomes


@attrs.define(eq=False)
class _Check:
    """Of one conversation."""

    factory: Callable[[], Handler]
    seen: Callable[[Handler], object] | None
    raises: tuple[type[Exception], ...]
    effort: Effort
    number: int
    _whole: Outcome | None = attrs.field(default=None, init=False)

    def reference(self, data: bytes) -> Outcome:
        """Have the conversation with everything in one piece."""
        __tracebackhide__ = True
        self._whole = self._try(Case(name="whole", script=Script(pieces=pieces(data, ()))))[0]
        return self._whole

    def cases(self, data: bytes) -> Iterator[Case]:
        """Iterate over all that is tried."""
        __tracebackhide__ = True
        effort, size = self.effort, len(data)
        whole = Script(pieces=pieces(data, ()))
        for cuts in splits(size, effort):
            yield Case(name=name_of(cuts, size), script=Script(pieces=pieces(data, cuts)), compares=True)
        slow = Case(name="slow", script=attrs.evolve(whole, slow=True), network=NARROW, compares=True)
        yield slow
        for seed in range(effort.seed, effort.seed + effort.seeds):
            yield Case(name=f"seed {seed}", script=whole, seed=seed, faults=HARMLESS, compares=True)
        for point in points(0, size, effort.points):
            for finish in Finish:
                for waits in (True, False):
                    script = Script(pieces=pieces(data[:point], ()), finish=finish, waits=waits)
                    when = "" if waits else " at once"
                    yield Case(name=f"{finish.value} after {point} bytes{when}", script=script)
        some = Script(pieces=pieces(data, tuple(points(1, size - 1, _PIECES_MAX - 1)) if size > 1 else ()))
        for case in (Case(name="", script=some), attrs.evolve(slow, name="slow, ", compares=False)):
            calls = self._try(case)[1]
            for blow in blows(calls, effort.hooks):
                yield attrs.evolve(case, name=f"{case.name}{blow.action} in {blow.hook} #{blow.count}", blow=blow)

    def try_case(self, case: Case) -> None:
        """Try it, and compare."""
        __tracebackhide__ = True
        outcome = self._try(case)[0]
        if case.compares:
            assert self._whole is not None
            outcome, whole = _comparable(outcome, self._whole)
            differs = [
                f"{field.name}: {_shown(getattr(outcome, field.name))}, whole: {_shown(getattr(whole, field.name))}"
                for field in attrs.fields(Outcome)
                if getattr(outcome, field.name) != getattr(whole, field.name)
            ]
            if differs:
                self._fail(case, "\n".join(["the outcome differs from that of the input in one piece", *differs]), None)

    def _try(self, case: Case) -> tuple[Outcome, list[str]]:
        __tracebackhide__ = True
        trial = Trial(self.factory, case.script, self.seen, self.raises, case.seed, case.faults, case.network, case.blow)
        try:
            return trial.run(), trial.calls
        except BrokenContract as broken:
            self._fail(case, str(broken), broken.__cause__, getattr(broken, "__notes__", ()))
            raise AssertionError("_fail raises") from None

    def _fail(self, case: Case, message: str, cause: BaseException | None, notes: Iterable[str] = ()) -> None:
        __tracebackhide__ = True
        name = getattr(self.factory, "__name__", repr(self.factory))
        full = f"{self.number}: {case.name}"
        again = f"to rerun: check_handler({name}, …, effort=Effort(only={full!r}))"
        broken = BrokenContract(f"{name}, conversation {full}: {message}\n{again}")
        for note in notes:
            broken.add_note(note)
        raise broken from cause


def _comparable(one: Outcome, other: Outcome) -> tuple[Outcome, Outcome]:
    """Return both, without what a reset has destroyed for only one of them: how much that is depends on the network."""
    if one.ended is other.ended is Ended.RST:
        size = min(len(one.heard), len(other.heard))
        return attrs.evolve(one, heard=one.heard[:size]), attrs.evolve(other, heard=other.heard[:size])
    return one, other


def _shown(value: object) -> str:
    return value.name if isinstance(value, Enum) else repr(value)

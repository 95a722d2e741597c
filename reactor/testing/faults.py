"""Faults: what goes wrong in a simulation, each kind with the rate at which it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from reactor.errors import UsageError
from reactor.testing.dice import Dice, Die


def _rate(instance: Any, field: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"Faults.{field.name} is a rate from 0 to 1, not {value!r}")


def _frozen(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


@attrs.frozen(kw_only=True)
class Faults:
    """Rates from 0, never, to 1, always; each says of what it is a share.

    Raises:
        UsageError: a rate that is none.
    """

    #: Of the calls on a socket that could do something: they, and up to `storm_calls_max` after them, say EAGAIN.
    again: float = attrs.field(default=0.0, validator=_rate)
    #: Of the calls that receive or send: one byte.
    short: float = attrs.field(default=0.0, validator=_rate)
    #: Of the waits: they end at once and empty, as by EINTR.
    early: float = attrs.field(default=0.0, validator=_rate)
    #: Of the waits: somebody is reported ready who is not.
    spurious: float = attrs.field(default=0.0, validator=_rate)
    #: Of the waits: those who are ready come in another order.
    shuffle: float = attrs.field(default=0.0, validator=_rate)
    #: Of the connections: a reset strikes both ends after some bytes.
    reset: float = attrs.field(default=0.0, validator=_rate)
    #: Of the segments on a link: held up for up to `stall_seconds_max`.
    stall: float = attrs.field(default=0.0, validator=_rate)
    #: Of the connections: they reach the accept queue late.
    slow_accept: float = attrs.field(default=0.0, validator=_rate)
    #: Of the calls of accept: EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED or EPROTO.
    accept: float = attrs.field(default=0.0, validator=_rate)
    #: Of the lookups: the name server fails.
    lookup: float = attrs.field(default=0.0, validator=_rate)
    #: Of the lookups: they take long.
    slow_lookup: float = attrs.field(default=0.0, validator=_rate)
    #: Of the waits: the clock has jumped ahead meanwhile, as after a suspend.
    jump: float = attrs.field(default=0.0, validator=_rate)
    #: Of the waits: the pass before them took its time, up to `busy_seconds_max`; what came meanwhile is there all at once.
    busy: float = attrs.field(default=0.0, validator=_rate)
    #: Of the hooks called: they raise `InjectedError` before they do anything.
    hook: float = attrs.field(default=0.0, validator=_rate)
    #: Of the system calls: a signal for which there is a handler arrives, one of `signals`.
    signal: float = attrs.field(default=0.0, validator=_rate)
    #: Of the system calls: the doorbell of the loop rings, for nothing.
    wake: float = attrs.field(default=0.0, validator=_rate)

    #: Which signals the fault `signal` sends.
    signals: tuple[int, ...] = ()
    #: The longest storm of EAGAIN, in calls.
    storm_calls_max: int = 4
    #: The longest that a segment is held up, an accept or a lookup late, or the clock jumps. Seconds.
    stall_seconds_max: float = 5.0
    #: The longest that a pass takes.
    busy_seconds_max: float = 0.05
    #: Of all strikes only these happen, by name; None: all. What `shrink` returns, and what reruns it.
    only: frozenset[str] | None = attrs.field(default=None, converter=_frozen)

    @classmethod
    def all(cls, rate: float = 0.01, **changes: Any) -> Faults:
        """Return every kind at *rate*, but for *changes*; what strikes a connection as a whole, at five times that."""
        rates: dict[str, Any] = dict.fromkeys(KINDS, rate)
        rates.update(reset=min(1.0, 5 * rate), slow_accept=min(1.0, 5 * rate))
        return cls(**{**rates, **changes})


#: The names of all kinds.
KINDS: tuple[str, ...] = tuple(field.name for field in attrs.fields(Faults) if field.validator is _rate)

#: Nothing goes wrong.
NO_FAULTS = Faults()


@attrs.frozen
class FaultDice:
    """A die for each kind of fault."""

    again: Die
    short: Die
    early: Die
    spurious: Die
    shuffle: Die
    reset: Die
    stall: Die
    slow_accept: Die
    accept: Die
    lookup: Die
    slow_lookup: Die
    jump: Die
    busy: Die
    hook: Die
    signal: Die
    wake: Die

    @classmethod
    def of(cls, faults: Faults, dice: Dice) -> FaultDice:
        """Return the dice for *faults*."""
        return cls(**{kind: dice.die(kind, getattr(faults, kind)) for kind in KINDS})

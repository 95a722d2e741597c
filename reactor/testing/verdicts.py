"""What a simulation raises, beside what the simulated kernel does."""

from __future__ import annotations

from reactor.errors import ReactorError


class InjectedError(Exception):
    """Raised by the fault `hook` in place of a hook, or before it. Nobody's fault: a test that asked for it expects it."""


class SimulationError(ReactorError):
    """Root of what is wrong with a run; the message has the seed, and the last lines of the journal are in its notes."""


class Violation(SimulationError):
    """An invariant does not hold: a bug, in a handler or in this library."""


class Hang(SimulationError):
    """Nothing can ever happen any more, and somebody waits for it."""


class Leak(SimulationError):
    """Descriptors were open when the simulation was closed."""


class BrokenContract(ReactorError, AssertionError):
    """What `check_handler` or `check_codec` has found: a bug in what was checked. The message says how to rerun it."""

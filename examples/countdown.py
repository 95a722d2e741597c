"""A countdown: timers, and nothing else.

It shows `call_every`, whose n-th call is due at start + n periods, so that no delay adds up; `call_later`; and `cancel`.
Nothing polls: the process sleeps from one timer to the next, and `run` returns when none is left.

Run it::

    python -m examples.countdown 3
    python -m examples.countdown 10 --period 0.1
"""

from __future__ import annotations

import argparse
import contextlib

import attrs

from reactor import DelayError, Reactor, Timer


@attrs.define(eq=False)
class Countdown:
    """Says *number*, then each lower one after a *period*, and "go" instead of 0."""

    reactor: Reactor
    number: int
    period: float
    _ticking: Timer = attrs.field(init=False)

    def start(self) -> None:
        """Say the first number now, and the others by timers.

        Raises:
            DelayError: the period is not a finite number above 0.
        """
        self._ticking = self.reactor.call_every(self.period, self.tick)
        self.say()

    def tick(self) -> None:
        """One period is over."""
        self.number -= 1
        self.say()

    def say(self) -> None:
        """Say the number; after the last one, "go" needs one more period and no more ticks."""
        print(self.number, flush=True)
        if self.number == 1:
            self._ticking.cancel()
            self.reactor.call_later(self.period, print, "go")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("count from 1 at least")
    return number


def main() -> None:
    """Count down, once."""
    parser = argparse.ArgumentParser(description="Count down to 1 and say go.")
    parser.add_argument("number", metavar="NUMBER", type=_count, help="where to begin, 1 at least")
    parser.add_argument(
        "--period", metavar="SECONDS", type=float, default=1.0, help="time between two numbers (default: %(default)g)"
    )
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt), Reactor() as reactor:
        try:
            Countdown(reactor, options.number, options.period).start()
        except DelayError as error:
            parser.error(str(error))
        reactor.run()


if __name__ == "__main__":
    main()

"""Count three ticks, without drift; then nothing is left to wait for, and `run` returns."""

from itertools import count

from reactor import Reactor

ticks = count(1)


def tick() -> None:
    """Print a number; after the third, tick no more."""
    number = next(ticks)
    print("tick", number)
    if number == 3:
        timer.cancel()


with Reactor() as reactor:
    timer = reactor.call_every(0.05, tick)
    reactor.run()
print("done")

"""The queue of timers, by itself."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reactor import DelayError, Timer
from reactor.timers import DEAD_ENTRIES_KEPT, TimerQueue, seconds


@attrs.define
class Now:
    time: float = 0.0

    def __call__(self) -> float:
        return self.time


def nothing() -> None:
    pass


def fire(queue: TimerQueue, now: float) -> list[Timer]:
    """Run one batch; return what fired."""
    queue.begin(now)
    fired = []
    while (timer := queue.pop()) is not None:
        fired.append(timer)
    return fired


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def queue(now: Now) -> TimerQueue:
    return TimerQueue(now)


@pytest.mark.parametrize("delay", [math.nan, math.inf, -math.inf, 10**400, "1", None])
def test_a_delay_is_a_finite_number(delay: Any) -> None:
    """NaN, infinities and what is no number are refused, with what was given."""
    with pytest.raises(DelayError, match="finite number of seconds"):
        seconds(delay)


def test_a_delay_in_the_past_is_now() -> None:
    """A negative delay means at once."""
    assert seconds(-3) == 0.0


def test_timers_fire_in_the_order_of_their_moments(queue: TimerQueue) -> None:
    """What is due earlier fires earlier, and what is not due does not."""
    late, early, never = (queue.add(due, nothing) for due in (2.0, 1.0, 3.0))

    assert fire(queue, 2.0) == [early, late]
    assert list(queue) == [never]


def test_equal_moments_fire_first_in_first_out(queue: TimerQueue) -> None:
    """Fifty timers due at one moment keep the order in which they were set."""
    timers = [queue.add(1.0, nothing) for _ in range(50)]

    assert fire(queue, 1.0) == timers


def test_cancel_tells_whether_it_was_in_time(queue: TimerQueue) -> None:
    """cancel is True once, while the timer waits; then, and after it fired, False."""
    timer, fired = queue.add(1.0, nothing), queue.add(0.0, nothing)
    fire(queue, 0.0)

    assert [timer.cancel(), timer.cancel(), fired.cancel()] == [True, False, False]
    assert queue.next_due() is None
    assert fire(queue, 9.0) == []
    assert timer.callback is None


def test_a_timer_cancelled_by_its_neighbour_does_not_fire(queue: TimerQueue) -> None:
    """Of two in one batch, the first may cancel the second."""
    first, second = queue.add(1.0, nothing), queue.add(1.0, nothing)
    queue.begin(1.0)

    assert queue.pop() is first
    assert second.cancel()
    assert queue.pop() is None
    assert len(queue) == 0


def test_a_timer_set_by_a_timer_waits_for_the_next_batch(queue: TimerQueue) -> None:
    """A delay of 0 set while a batch runs is not in that batch."""
    queue.add(1.0, nothing)
    queue.begin(1.0)
    queue.pop()
    again = queue.add(1.0, nothing)

    assert queue.pop() is None
    assert fire(queue, 1.0) == [again]


def test_restart_later_moves_no_entry(queue: TimerQueue, now: Now) -> None:
    """Pushing a timer back leaves its neighbour where it was: both fire at their own moments."""
    first, second = queue.add(1.0, nothing), queue.add(1.2, nothing)
    assert queue.next_due() == 1.0
    now.time = 0.9
    first.restart(1.0)

    assert queue.next_due() == 1.2
    assert fire(queue, 1.3) == [second]
    assert queue.next_due() == pytest.approx(1.9)
    assert fire(queue, 1.9) == [first]


def test_restart_earlier_fires_earlier_and_once(queue: TimerQueue) -> None:
    """A timer pulled forward fires at the new moment only."""
    timer = queue.add(5.0, nothing)
    timer.restart(1.0)

    assert fire(queue, 1.0) == [timer]
    assert fire(queue, 9.0) == []
    assert queue.next_due() is None


def test_restart_within_a_batch_takes_the_timer_out_of_it(queue: TimerQueue) -> None:
    """A timer that its neighbour pushes back does not fire in this batch."""
    queue.add(1.0, nothing)
    timer = queue.add(1.0, nothing)
    queue.begin(1.0)
    queue.pop()
    timer.restart_at(2.0)

    assert queue.pop() is None
    assert fire(queue, 2.0) == [timer]


def test_restart_after_it_fired_sets_it_again(queue: TimerQueue) -> None:
    """A timer that fired may be used again."""
    timer = queue.add(1.0, nothing)
    fire(queue, 1.0)
    timer.restart(2.0)

    assert fire(queue, 2.0) == [timer]


def test_a_cancelled_timer_stays_cancelled(queue: TimerQueue) -> None:
    """restart after cancel does nothing."""
    timer = queue.add(1.0, nothing)
    timer.cancel()
    timer.restart(0)

    assert fire(queue, 9.0) == []


def test_restart_earlier_fires_earlier_and_once_wherever_it_stood(queue: TimerQueue) -> None:
    """The same of one that others have been compared with; and however often, no thousand entries are left behind."""
    timer, other = queue.add(5000.0, nothing), queue.add(6000.0, nothing)
    for moment in range(4999, 0, -1):
        assert queue.next_due() == moment + 1.0
        timer.restart_at(float(moment))

    assert len(queue) == 2
    assert len(queue._heap) <= DEAD_ENTRIES_KEPT + 3
    assert fire(queue, 1.0) == [timer]
    assert fire(queue, 5999.0) == []
    assert fire(queue, 6000.0) == [other]


def test_a_timer_restarted_at_once_comes_after_those_set_before(queue: TimerQueue) -> None:
    """Equal moments fire in the order in which they were set, the last time."""
    first, second = queue.add(1.0, nothing), queue.add(1.0, nothing)
    first.restart_at(1.0)

    assert fire(queue, 1.0) == [second, first]


def test_a_batch_broken_off_is_not_lost(queue: TimerQueue) -> None:
    """What was left of a batch comes first in the next one."""
    first, second = queue.add(1.0, nothing), queue.add(1.0, nothing)
    queue.begin(1.0)
    assert queue.pop() is first

    assert queue.next_due() == 1.0
    assert list(queue) == [second]
    assert fire(queue, 1.0) == [second]


def test_dead_entries_are_swept(queue: TimerQueue) -> None:
    """A million cancelled timeouts leave no million entries behind."""
    kept = queue.add(1.0, nothing)
    for _ in range(10_000):
        queue.add(5.0, nothing).cancel()

    assert len(queue._heap) <= DEAD_ENTRIES_KEPT + 2
    assert len(queue) == 1
    assert fire(queue, 9.0) == [kept]


def test_an_unreffed_timer_does_not_count(queue: TimerQueue) -> None:
    """`waiting` leaves out timers that said unref, whenever they said it."""
    timer = queue.add(1.0, nothing)
    assert queue.waiting == 1
    assert timer.unref() is timer
    timer.unref()
    assert queue.waiting == 0
    fire(queue, 1.0)
    timer.restart(1.0)
    assert queue.waiting == 0
    assert timer.cancel()
    timer.unref()
    assert queue.waiting == 0


def test_an_owner_knows_its_waiting_timers(queue: TimerQueue) -> None:
    """A timer is in its owner's set while it waits, and only then."""

    @attrs.define
    class Owner:
        _timers: set[Timer] | None = None

    owner = Owner()
    one, two = queue.add(1.0, nothing, (), owner), queue.add(2.0, nothing, (), owner)
    assert owner._timers == {one, two}
    fire(queue, 1.0)
    assert owner._timers == {two}
    two.cancel()
    assert owner._timers == set()
    owner._timers = None
    three = queue.add(1.0, nothing, (), owner)
    owner._timers = None
    assert three.cancel()


class Model(RuleBasedStateMachine):
    """The queue against a sorted list."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Now()
        self.queue = TimerQueue(self.now)
        self.timers: list[Timer] = []
        self.model: dict[int, tuple[float, int]] = {}
        self.order = 0

    def note(self, index: int, due: float) -> None:
        self.order += 1
        self.model[index] = (due, self.order)

    @rule(delay=st.integers(0, 20))
    def add(self, delay: int) -> None:
        due = self.now.time + delay
        self.timers.append(self.queue.add(due, nothing))
        self.note(len(self.timers) - 1, due)

    @rule(index=st.integers(0, 100), delay=st.integers(0, 20))
    def restart(self, index: int, delay: int) -> None:
        if index < len(self.timers) and self.timers[index].callback is not None:
            self.timers[index].restart(delay)
            self.note(index, self.now.time + delay)

    @rule(index=st.integers(0, 100))
    def cancel(self, index: int) -> None:
        if index < len(self.timers):
            assert self.timers[index].cancel() == (self.model.pop(index, None) is not None)

    @rule(step=st.integers(0, 10))
    def advance(self, step: int) -> None:
        self.now.time += step
        due = sorted((key, index) for index, key in self.model.items() if key[0] <= self.now.time)
        fired = fire(self.queue, self.now.time)
        # A timer moved to a moment that is past already may wait for the next batch.
        fired += fire(self.queue, self.now.time)
        assert sorted(self.timers.index(timer) for timer in fired) == sorted(index for _, index in due)
        for _, index in due:
            del self.model[index]

    @invariant()
    def lengths_agree(self) -> None:
        assert len(self.queue) == self.queue.waiting == len(self.model)
        soonest = min(self.model.values(), default=None)
        assert self.queue.next_due() == (None if soonest is None else soonest[0])


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)

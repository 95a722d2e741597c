"""What a loop says of itself: counters, and every handler, timer and call, as data and as text.

Nothing is kept for it but what the loop needs or what costs one number. Bytes are not counted: two additions in each echo of
a small message are measurable; an instrument with `on_read` and `on_write` counts them where they are wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import attrs

from reactor.poller import READ, WRITE, describe
from reactor.watch import name_of

if TYPE_CHECKING:
    from reactor.handler import Handler
    from reactor.loop import Loop


@attrs.frozen(kw_only=True)
class Stats:
    """What `Loop.stats` returns: first what has happened since the reactor was made, then what is there now."""

    passes: int
    #: Readiness of one descriptor, told by the selector.
    events: int
    #: What user code raised.
    errors: int
    accepted: int
    #: By the names of their errnos, such as "EMFILE".
    accept_errors: dict[str, int]
    connected: int
    connect_errors: int
    #: Waits that a thread or a signal has ended.
    wakeups: int
    #: How often a handler was taken off the selector because it was ready and moved nothing.
    spins: int
    #: Passes whose hooks, or whose timers and calls, took longer than `slow_phase`.
    slow_phases: int
    #: Seconds.
    longest_phase: float
    #: Seconds that were spent waiting.
    seconds_idle: float
    handlers: int
    #: Those of the handlers that carry bytes or datagrams: no listeners, and none that is connecting.
    connections: int
    timers: int
    calls_queued: int
    #: In the write queues of all streams.
    bytes_queued: int
    #: Names that wait for their turn to be looked up.
    lookups_queued: int = 0
    #: Results that are to come from other threads.
    thread_calls: int = 0


def stats_of(loop: Loop) -> Stats:
    """Return a snapshot of the counters."""
    prefix, counts = "accept_error.", loop.counts
    return Stats(
        passes=loop.passes,
        events=loop.events,
        errors=counts["errors"],
        accepted=counts["accepted"],
        accept_errors={name[len(prefix) :]: n for name, n in counts.items() if name.startswith(prefix)},
        connected=counts["connected"],
        connect_errors=counts["connect_errors"],
        wakeups=loop._waker.wakeups,
        spins=counts["spins"],
        slow_phases=loop._watch.slow_phases,
        longest_phase=loop._watch.longest,
        handlers=len(loop.handlers),
        connections=sum(handler._is_connection and handler.is_open for handler in loop.handlers),
        timers=len(loop.timers),
        calls_queued=len(loop._soon) + len(loop._inbox),
        bytes_queued=loop.queued,
        seconds_idle=loop._idle,
    )


def snapshot_of(loop: Loop) -> dict[str, Any]:
    """Return all that is there, of what JSON knows."""
    now = loop.time()
    calls = [*loop._soon, *filter(None, list(loop._inbox))]
    return {
        "reactor": type(loop).__name__,
        "selector": loop.poller.name,
        "running": loop.is_running,
        "stats": attrs.asdict(loop.stats()),
        "handlers": [_handler(loop, each, now) for each in sorted(loop.handlers, key=lambda handler: handler._fd)],
        "timers": [
            {
                "callback": name_of(timer.callback) if timer.callback is not None else "",
                "owner": None if timer.owner is None else describe(cast("Handler", timer.owner)),
                "due_in": (timer.due or now) - now,
            }
            for timer in loop.timers
        ],
        "calls": [name_of(callback) for callback, _, _ in calls],
    }


def dump_of(loop: Loop) -> str:
    """Return the same as text for people."""
    found = snapshot_of(loop)
    stats, running = found["stats"], "" if found["running"] else "not "
    lines = [f"{found['reactor']} on {found['selector']}, pass {stats['passes']}, {running}running"]
    for handler, facts in zip(sorted(loop.handlers, key=lambda handler: handler._fd), found["handlers"], strict=True):
        waits = facts["waits_to"].replace(" and ", "+") or "be resumed"
        parts = [f"  {facts['handler']} waits to {waits}{handler._details}", f"{facts['age']:.1f} s old"]
        parts += [f"idle {facts['idle']:.1f} s"] if facts["idle"] is not None else []
        parts += [f"parked: {facts['parked']}"] if facts["parked"] else []
        parts += [f"peer {facts['peer_gone']}"] if facts["peer_gone"] else []
        deadline = facts.get("deadline")
        parts += [f"{deadline['kind']} deadline in {deadline['due_in']:.1f} s"] if deadline else []
        parts += [f"made at {facts['made_at']}"] if facts["made_at"] else []
        lines.append(", ".join(parts))
    for timer in found["timers"]:
        owner = "" if timer["owner"] is None else f" of {timer['owner']}"
        lines.append(f"  timer {timer['callback']}{owner} due in {timer['due_in']:.3f} s")
    lines += [f"  call {name}" for name in found["calls"]]
    return "\n".join(lines)


def _handler(loop: Loop, handler: Handler, now: float) -> dict[str, Any]:
    """Return what is known of one."""
    gone = loop.system.hung_up([handler._fd]) if handler._minds_hangups and handler.is_open and not handler._told else {}
    return {
        "handler": describe(handler),
        "class": f"{type(handler).__module__}.{type(handler).__qualname__}",
        "fd": handler._fd,
        "life": handler._life.name,
        "waits_to": _words(handler._told),
        "parked": _words(loop.poller.parked.get(handler, (0, 0))[1]),
        "age": now - handler._since,
        "idle": handler._idle_seconds(now),
        "peer_gone": gone[handler._fd].name.lower().replace("_", " ") if handler._fd in gone else None,
        "made_at": loop.sites.get(handler),
        **handler._facts(now),
    }


def _words(interest: int) -> str:
    return " and ".join(word for bit, word in ((READ, "read"), (WRITE, "write")) if interest & bit)

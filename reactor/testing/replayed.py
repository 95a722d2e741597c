"""The parts of a `Replayer`: an inbox that waits for the program's own threads, and a selector that waits for nothing."""

from __future__ import annotations

import selectors
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reactor.system import Inbox
from reactor.testing.recorded import label

if TYPE_CHECKING:
    from reactor.testing.replayer import Replayer

#: Real seconds that a thread of the program has to make a call that it has made when it was recorded.
THREAD_PATIENCE_SECONDS = 30.0
#: After this many, a call of the same name is taken although its arguments are others.
LOOKALIKE_SECONDS = 1.0


class _Never(dict[Any, object]):
    """Knows of no call that waits. Which one of two equal calls found the other still waiting is in the journal."""

    def setdefault(self, key: Any, default: Any = None) -> Any:
        return default

    def __delitem__(self, key: Any) -> None: ...


class ReplayedInbox(Inbox):
    """Gives what the journal says that was taken, as soon as the program's threads have sent it again."""

    def __init__(self, replayer: Replayer, number: int) -> None:
        super().__init__()
        self.once = _Never()
        self._replayer, self._number = replayer, number
        self._sent = threading.Condition()

    def append(self, call: Any) -> None:
        with self._sent:
            super().append(call)
            self._sent.notify_all()

    def take(self) -> list[Any]:
        return [self._await(tuple(wanted)) for wanted in self._replayer.answer("take", None, self._number)]

    def __bool__(self) -> bool:
        if threading.get_ident() != self._replayer.owner or self._replayer.over is not None:
            return len(self) > 0
        return bool(self._replayer.answer("waiting", None, self._number))

    def _await(self, wanted: tuple[str, str]) -> Any:
        """Wait for the call that was taken, in real time: its arguments are those of now."""
        with self._sent:
            if self._sent.wait_for(lambda: self._place(wanted) is not None, LOOKALIKE_SECONDS):
                return self._pull(self._place(wanted))
            if self._sent.wait_for(lambda: self._place(wanted[:1]) is not None, THREAD_PATIENCE_SECONDS):
                return self._pull(self._place(wanted[:1]))
        self._replayer._next = ("take", None, self._number, (wanted,))
        raise self._replayer._diverged(f"no thread has called {wanted[0]} through call_threadsafe")

    def _place(self, wanted: tuple[str, ...]) -> int | None:
        """Return where the first call stands whose label begins so."""
        return next((place for place, call in enumerate(self) if label(call)[: len(wanted)] == wanted), None)

    def _pull(self, place: int | None) -> Any:
        assert place is not None
        call = self[place]
        del self[place]
        return call


class ReplayedSelector(selectors.BaseSelector):
    """Finds ready what the journal says. Waits for nothing."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer = replayer
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self._replayer.answer("register", fileobj, events)
        self._keys[fileobj] = selectors.SelectorKey(fileobj, fileobj, events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        if self._replayer.over is None:
            self._replayer.answer("unregister", fileobj, None)
        return self._keys.pop(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        try:
            self._replayer.answer("modify", fileobj, events)
        except Exception:
            self._keys.pop(fileobj, None)  # as the real one does
            raise
        self._keys[fileobj] = selectors.SelectorKey(fileobj, fileobj, events, data)
        return self._keys[fileobj]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._replayer.answer("select", None, timeout)
        return [(self._keys[number >> 2], number & 3) for number in ready]

    def close(self) -> None:
        self._keys.clear()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

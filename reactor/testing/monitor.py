"""Watches the hooks of every handler: their order, and that nothing follows the last one. Some it makes raise, by fault.

A handler that is registered in a simulation gets a class of its own, a subclass of the one that it has, which differs in
nothing but that each hook is noted and checked before it is called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum, auto
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from reactor.handler import Handler
from reactor.states import Life
from reactor.stream import Stream
from reactor.testing.dice import Die
from reactor.testing.verdicts import InjectedError

#: The hooks of every kind of handler that are called from the loop.
HOOKS = (
    "on_readable",
    "on_writable",
    "on_accept",
    "on_connect",
    "on_data",
    "on_end",
    "on_pause",
    "on_drain",
    "on_timeout",
    "on_overload",
    "on_shutdown",
    "on_close",
)
#: Those of the library's own that a program does not see as hooks of its stream.
_OWN = frozenset({"on_readable", "on_writable"})


class Heard(Enum):
    """What a handler has heard last, of what says what may follow."""

    NOTHING = auto()
    CONNECT = auto()
    END = auto()
    CLOSE = auto()


#: For a stream: what may be called when, and what has been heard then.
STREAM_ORDER: dict[Heard, dict[str, Heard]] = {
    Heard.NOTHING: {"on_connect": Heard.CONNECT, "on_close": Heard.CLOSE},
    Heard.CONNECT: {
        **dict.fromkeys(("on_data", "on_pause", "on_drain", "on_timeout", "on_shutdown"), Heard.CONNECT),
        "on_end": Heard.END,
        "on_close": Heard.CLOSE,
    },
    Heard.END: {**dict.fromkeys(("on_pause", "on_drain", "on_timeout", "on_shutdown"), Heard.END), "on_close": Heard.CLOSE},
    Heard.CLOSE: {},
}


@attrs.define(eq=False)
class Monitor:
    """Of one simulation."""

    _hook_fault: Die
    _note: Callable[[Handler, str, tuple[Any, ...]], None]
    #: Called when a hook has returned, with the handler and the hook's name; what it raises, the hook raises.
    after: Callable[[Handler, str], None] | None = attrs.field(default=None, init=False)
    #: What was wrong; the simulation raises it when the pass is over.
    violations: list[str] = attrs.field(factory=list, init=False)
    #: Whose hooks raised by fault.
    struck: list[Handler] = attrs.field(factory=list, init=False, repr=False)
    #: Nobody asks about a handler that nobody has.
    _heard: WeakKeyDictionary[Handler, Heard] = attrs.field(factory=WeakKeyDictionary, init=False, repr=False)
    _classes: dict[type, type] = attrs.field(factory=dict, init=False, repr=False)

    def watch(self, handler: Handler) -> None:
        """Watch *handler* from now on."""
        if handler not in self._heard:
            self._heard[handler] = Heard.NOTHING
            handler.__class__ = self._watched(type(handler))

    def before(self, handler: Handler, hook: str, args: tuple[Any, ...]) -> None:
        """Check that *hook* may be called now.

        Raises:
            InjectedError: by fault.
        """
        heard, name = self._heard[handler], type(handler).__name__
        if hook in _OWN:
            if handler._life is Life.CLOSED or handler._life is Life.OVER:
                when = "on_close" if heard is Heard.CLOSE else "it was closed"
                self.violations.append(f"{name}.{hook} was called after {when}")
            return
        self._note(handler, hook, args)
        if isinstance(handler, Stream):
            after = STREAM_ORDER[heard].get(hook)
            if after is None:
                self.violations.append(f"{name}.{hook} was called after {heard.name}")
            else:
                self._heard[handler] = after
        elif heard is Heard.CLOSE:
            self.violations.append(f"{name}.{hook} was called after on_close")
        elif hook == "on_close":
            self._heard[handler] = Heard.CLOSE
        # A name that begins so is the library's own, and nobody overrides its hooks.
        if not name.startswith("_") and self._hook_fault.roll():
            self.struck.append(handler)
            raise InjectedError(f"{self._hook_fault.name} in {name}.{hook}")

    def is_closed(self, handler: Handler) -> bool:
        """Tell whether *handler* has heard `on_close`."""
        return self._heard.get(handler) is Heard.CLOSE

    def untold(self) -> list[Handler]:
        """Return those that have ended, and have not heard `on_close` although nothing else will be told them."""
        return [
            handler
            for handler, heard in self._heard.items()
            if heard is not Heard.CLOSE and handler.reason is not None and handler.reactor.is_closed
        ]

    def _watched(self, kind: type) -> type:
        if kind not in self._classes:
            body: dict[str, Any] = {"__slots__": (), "__module__": __name__, "__doc__": kind.__doc__}
            for name in HOOKS:
                original = getattr(kind, name, None)
                if original is not None:
                    body[name] = self._hook(name, original)
            made = type(kind.__name__, (kind,), body)
            made.__qualname__ = kind.__qualname__
            self._classes[kind] = self._classes[made] = made
        return self._classes[kind]

    def _hook(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def hook(handler: Handler, *args: Any) -> Any:
            self.before(handler, name, args)
            result = original(handler, *args)
            if self.after is not None:
                self.after(handler, name)
            return result

        return hook

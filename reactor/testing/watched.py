"""WatchedReactor: a reactor that keeps what user code raised, for those who test it to look at."""

from __future__ import annotations

import attrs

from reactor.loop import ErrorContext
from reactor.reactor import Reactor


@attrs.define(eq=False, kw_only=True, repr=False, on_setattr=attrs.setters.NO_OP)
class WatchedReactor(Reactor):
    """A `Reactor` that logs no errors, but keeps them. A test takes out of `errors` what it expects."""

    #: What has been raised, and where; the oldest first.
    errors: list[ErrorContext] = attrs.field(init=False, factory=list)

    def on_error(self, context: ErrorContext) -> None:
        self.errors.append(context)

    def check_errors(self) -> None:
        """Raise what is left in `errors`: one exception as it is, several as a group; once.

        Raises:
            BaseExceptionGroup: more than one was raised.
        """
        raised = [_noted(context) for context in self.errors]
        self.errors.clear()
        if len(raised) == 1:
            raise raised[0]
        if raised:
            raise BaseExceptionGroup("hooks and calls raised", raised)


def _noted(context: ErrorContext) -> BaseException:
    """Return the exception, which says where it was raised."""
    whose = "" if context.handler is None else f" of {type(context.handler).__name__}"
    context.exc.add_note(f"raised in {context.where}{whose}")
    return context.exc

"""What replaces or wraps the operating system: for tests, and for finding out afterwards what happened.

`import reactor` does not load it.
"""

from reactor.errors import Divergence, JournalEnded, JournalError, ReplayOver
from reactor.testing.recorder import Recorder
from reactor.testing.replayer import Replayer

__all__ = [
    "Divergence",
    "JournalEnded",
    "JournalError",
    "Recorder",
    "ReplayOver",
    "Replayer",
]

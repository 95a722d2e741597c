"""The exception tree and the reasons."""

from __future__ import annotations

import re

import pytest

from reactor import CloseKind, CloseReason, errors


def subclasses(root: type[BaseException], depth: int = 0) -> list[tuple[int, str]]:
    found = [(depth, root.__name__)]
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:  # reactor.testing has some of its own
            found += subclasses(child, depth + 1)
    return found


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    """The drawing names every class, under its parent, in the order of the source."""
    drawn = [
        (len(indent) // 4, name)
        for indent, name in re.findall(r"^    ([│├└─ ]*)(\w+)(?: .*)?$", errors.__doc__ or "", re.MULTILINE)
    ]

    assert drawn == subclasses(errors.ReactorError)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.AddressError, ValueError),
        (errors.DelayError, ValueError),
        (errors.AlreadyRunning, RuntimeError),
        (errors.ListenError, OSError),
        (errors.ConnectTimeout, TimeoutError),
    ],
)
def test_errors_are_the_builtin_that_one_would_catch(kind: type[Exception], builtin: type[Exception]) -> None:
    """Who knows nothing of the library catches its errors by their builtin kinds."""
    assert issubclass(kind, builtin)


def test_children_of_oserror_keep_errno() -> None:
    """An error that wraps the kernel's has its number."""
    assert errors.AddressInUse(98, "taken").errno == 98


def test_a_reason_reads_as_a_sentence() -> None:
    """The text of a reason says what happened, and the error behind it."""
    assert str(CloseReason(CloseKind.TIMEOUT)) == "a deadline passed"
    assert str(CloseReason(CloseKind.RESET, OSError(104, "gone"))) == "reset by the peer: [Errno 104] gone"

"""What every handler promises, without a test for each promise."""

from sums import Adder

from reactor.testing import check_handler


def test_adder() -> None:
    """The adder keeps what handlers promise, and its sums do not depend on how its input is cut."""
    (outcome,) = check_handler(Adder, b"12\n30\n", seen=lambda adder: adder.total)
    assert outcome.heard == b"12\n42\n"

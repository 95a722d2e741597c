"""What every codec promises."""

from lines import Lines

from reactor.testing import check_codec


def test_lines() -> None:
    """Lines come out the same, however the bytes are cut; and one without end is refused."""
    assert check_codec(Lines, b"12\n30\nrest", endless=b"x") == [b"12", b"30"]
    assert check_codec(Lines, b"12\n" + b"x" * 100 + b"\n30\n") == [b"12"]

"""Options check themselves when they are made."""

from __future__ import annotations

import math
import socket
from typing import Any

import pytest

from reactor import AddressError, ConnectOptions, DelayError, Inet, Keepalive, Limits, ListenOptions, Unsupported, UsageError


def test_the_defaults_hold() -> None:
    """What is given nothing has the documented defaults."""
    limits = Limits()

    assert (limits.high, limits.low, limits.hard) == (65536, 16384, 16 * 1024 * 1024)
    assert ListenOptions().on_exhaustion == "backoff"


@pytest.mark.parametrize("options", [{"high": 0}, {"low": -1}, {"hard": 1.5}, {"high": True}, {"high": "1"}])
def test_a_limit_is_a_whole_number_from_one_on(options: dict[str, Any]) -> None:
    """Other values are refused by name."""
    with pytest.raises(UsageError, match=f"Limits.{next(iter(options))} is a whole number"):
        Limits(**options)


@pytest.mark.parametrize("options", [{"low": 100_000}, {"high": 2**40}])
def test_marks_are_in_order(options: dict[str, int]) -> None:
    """low, high and hard come in that order."""
    with pytest.raises(UsageError, match="low <= high <= hard"):
        Limits(**options)


@pytest.mark.parametrize("options", [{"linger": math.nan}, {"close_timeout": math.inf}])
def test_times_are_finite(options: dict[str, Any]) -> None:
    """A limit in seconds is a finite number."""
    with pytest.raises(DelayError, match=f"Limits.{next(iter(options))}"):
        Limits(**options)


def test_policies_are_named() -> None:
    """An unknown policy is refused, with those that there are."""
    with pytest.raises(UsageError, match='"backoff" or "shed"'):
        ListenOptions(on_exhaustion="panic")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match='"wait" or "reject"'):
        ListenOptions(on_limit="panic")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="max_connections"):
        ListenOptions(max_connections=0)
    with pytest.raises(UsageError, match="backlog_connections"):
        ListenOptions(backlog_connections=0)


def test_connect_options_are_checked() -> None:
    """Values that cannot be are refused by name."""
    bad: list[dict[str, Any]] = [
        {"family": socket.AF_UNIX},
        {"attempt_delay": 0.009},
        {"attempt_delay": 2.1},
        {"attempt_timeout": 0},
        {"user_timeout": 0},
        {"user_timeout": 2**22},
        {"notsent_lowat": 0},
        {"remember": math.nan},
    ]
    for options in bad:
        with pytest.raises(UsageError, match=f"ConnectOptions.{next(iter(options))}"):
            ConnectOptions(**options)
    for name in ("idle", "interval", "count"):
        with pytest.raises(UsageError, match=f"Keepalive.{name} is a whole number"):
            Keepalive(**{name: 0})
        with pytest.raises(UsageError, match="more than 32767 seconds, or 127 questions"):
            Keepalive(**{name: 32768})


def test_the_defaults_of_connecting() -> None:
    """What is given nothing has the documented defaults, and what is allowed passes."""
    options = ConnectOptions()
    assert (options.family, options.local, options.attempt_delay, options.nodelay) == (0, (), 0.25, True)
    assert (options.attempt_timeout, options.keepalive, options.user_timeout, options.remember) == (None, None, None, 0)
    ConnectOptions(family=socket.AF_INET6, attempt_timeout=1, user_timeout=30, keepalive=Keepalive(), attempt_delay=0.01)


@pytest.mark.parametrize(
    "options", [{"send_buffer": 0}, {"receive_buffer": 1.5}, {"user_timeout": -1}, {"notsent_lowat": -1}]
)
def test_options_of_accepted_connections_that_cannot_be(options: Any) -> None:
    """The same as of those that are made; the error says whose option it was."""
    (name,) = options
    with pytest.raises(UsageError, match=f"ListenOptions.{name}"):
        ListenOptions(**options)


@pytest.mark.parametrize(
    ("given", "local"),
    [
        ("192.0.2.7", (Inet("192.0.2.7", 0),)),
        ("192.0.2.7:4000", (Inet("192.0.2.7", 4000),)),
        ("::1", (Inet("::1", 0),)),
        ("[::1]:4000", (Inet("::1", 4000),)),
        (("192.0.2.7", 0), (Inet("192.0.2.7", 0),)),
        (["192.0.2.7", ("fe80::1%eth0", 0)], (Inet("192.0.2.7", 0), Inet("fe80::1%eth0", 0))),
        ([], ()),
    ],
)
def test_local_addresses_in_many_forms(given: Any, local: tuple[Inet, ...]) -> None:
    """One, or a list with one for each family; a bare host means any port. What comes out can go in again."""
    options = ConnectOptions(local=given)
    assert options.local == local
    assert ConnectOptions(local=options.local) == options


@pytest.mark.parametrize("given", ["localhost:0", "unix:/x", ":0", ["192.0.2.7", "192.0.2.8"], "nonsense", 7])
def test_local_addresses_that_cannot_be(given: Any) -> None:
    """Names, paths, every interface, and two of one family."""
    with pytest.raises(AddressError):
        ConnectOptions(local=given)


@pytest.mark.parametrize("name", ["user_timeout", "notsent_lowat"])
def test_a_platform_without_an_option(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where the kernel has no such thing, that is said when it is asked for."""
    option = f"TCP_{name.upper()}"
    monkeypatch.delattr(socket, option)
    with pytest.raises(Unsupported, match=option):
        ConnectOptions(**{name: 1})  # type: ignore[arg-type]

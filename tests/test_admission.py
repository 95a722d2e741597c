"""Admission, by itself: who is counted for whom, and when there is room."""

from __future__ import annotations

import pytest

from reactor import Inet, Unix
from reactor.admission import Admission, network_of


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        (Inet("192.0.2.7", 1), "192.0.2.7"),
        (Inet("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (Inet("2001:db8:1:2::9", 2), "2001:db8:1:2::/64"),
        (Inet("fe80::1%eth0", 1), "fe80::/64"),
        (Unix(""), "unix"),
    ],
)
def test_a_peer_is_its_network(peer: Inet | Unix, network: str) -> None:
    """An IPv4 address counts by itself, an IPv6 address for its /64, Unix sockets together."""
    assert network_of(peer) == network


def test_a_full_house_opens_when_enough_have_left() -> None:
    """At the limit nobody comes in; it is open again when the slack has left."""
    admission = Admission(3, None, 2)
    for _ in range(3):
        assert admission.has_room("a")
        admission.enter("a")
    assert (admission.is_full, admission.has_room("b"), admission.is_open_again) == (True, False, False)
    admission.leave("a")
    assert (admission.is_full, admission.is_open_again) == (False, False)
    admission.leave("a")
    assert admission.is_open_again


def test_one_peer_does_not_take_it_all() -> None:
    """A limit for each peer leaves room for others, and forgets who has left."""
    admission = Admission(None, 1, 1)
    admission.enter("a")
    assert (admission.has_room("a"), admission.has_room("b")) == (False, True)
    admission.leave("a")
    assert (admission.has_room("a"), admission.is_open_again, admission.live) == (True, True, 0)

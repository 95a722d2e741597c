"""A few seeds of the second scenario of the soak."""

from __future__ import annotations

import pytest

from tests.scenario_streams import Run
from tests.soak import main


@pytest.mark.parametrize("seed", [*range(8), 1031])
def test_streams_hold(seed: int) -> None:
    """Every notice is told of once, sums are right, rates hold and nothing is left, with every fault on."""
    Run(seed)()


def test_the_runner_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """It is run by its name."""
    assert main(["--scenario", "streams", "--seeds", "1:2", "--jobs", "1"]) == 0
    assert "1 of 1 seeds, 0 failed" in capsys.readouterr().out

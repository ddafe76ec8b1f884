"""The truly best setting drops out as seldom as said, at unequal spreads and numbers of seeds: by simulation."""

import math

import pytest

from benchmarks.rows.best_errors import SimulatedSettings, cases, dropped, hsu, ours

SHORT, LONG = 400, 1000


def limit(sweeps: int) -> float:
    """Return the largest share of errors that chance explains, within three standard errors of 5 %."""
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / sweeps)


@pytest.mark.parametrize(
    "case",
    [
        SimulatedSettings("collapsing", (3,) * 6, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
        SimulatedSettings("others collapse", (3,) * 6, (1.0, 10.0, 10.0, 10.0, 10.0, 10.0)),
        SimulatedSettings("uneven", (10, 2, 2, 2, 2, 2), (1.0, 3.0, 3.0, 3.0, 3.0, 3.0)),
        SimulatedSettings("correlated", (5,) * 6, (1.0, 2.0, 1.0, 2.0, 1.0, 2.0), correlation=0.5),
        SimulatedSettings("two", (2, 2), (1.0, 1.0)),
    ],
    ids=lambda case: case.what,
)
def test_the_truly_best_seldom_drops_out(case: SimulatedSettings) -> None:
    assert dropped(case, ours, SHORT)[0] <= limit(SHORT)


def test_one_spread_for_all_isnt_what_collapsing_trials_have() -> None:
    """What this comparison is there for: the simulation sees the error that it does away with."""
    collapsing = SimulatedSettings("collapsing", (3,) * 6, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0))
    assert dropped(collapsing, hsu, SHORT)[0] > 0.09
    assert dropped(SimulatedSettings("even", (3,) * 6, (1.0,) * 6), hsu, SHORT)[0] <= limit(SHORT)


def test_a_setting_that_is_worse_by_far_drops_out() -> None:
    """What the level costs: with five seeds settings are told apart by about six standard deviations."""
    error, found = dropped(SimulatedSettings("far", (5,) * 6, (1.0,) * 6, ahead=6.0), ours, SHORT)
    assert error == 0.0
    assert found > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in cases() if len(case.seeds) < 30], ids=lambda case: case.what)
def test_the_truly_best_seldom_drops_out_in_every_case(case: SimulatedSettings) -> None:
    assert dropped(case, ours, LONG)[0] <= limit(LONG)

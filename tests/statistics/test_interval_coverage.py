"""Intervals over images hold the truth as often as said, or there is none: by simulation."""

import math

import pytest

from benchmarks.rows.interval_coverage import CoverageCase, cases
from sweep.statistics.metric_intervals import too_few

SHORT, LONG = 150, 1500
SHOWN = list(cases())
NARROW = ("collapse",)
"""What docs/error_rates.md says is too narrow."""
ELSEWHERE = ("RMSE of a log-normal", "R2 of a log-normal")
"""Tested with fewer resamples in test_number_outputs.py."""
EVERY = [case for case in SHOWN if not any(words in case.what for words in (*NARROW, *ELSEWHERE))]
ANALYTIC = [case for case in EVERY if not case.resampled]


def held(case: CoverageCase, count: int) -> None:
    """Check the coverage, within three standard errors of 92 % from below."""
    covered = case.coverage(count)
    assert math.isnan(covered) or covered >= 0.92 - 3 * math.sqrt(0.92 * 0.08 / count)


@pytest.mark.parametrize("case", ANALYTIC[::3], ids=lambda case: case.what)
def test_intervals_hold_the_truth(case: CoverageCase) -> None:
    held(case, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.what)
def test_every_interval_holds_the_truth(case: CoverageCase) -> None:
    held(case, SHORT if case.resampled else LONG)


def test_with_too_few_images_there_is_none_and_the_reason_is_said() -> None:
    import numpy as np

    random = np.random.default_rng(0)
    said = {case.what: too_few(case.metric, case.draw(random)) for case in EVERY if case.metric}
    assert said["sensitivity 80 %, 7 positives, 3 seeds"] == "too few positives: 7 of 10"
    assert said["accuracy 75 %, 2 tiles of 25 images"] == "too few tiles with images: 2 of 4"
    assert said["sensitivity 80 %, 10 positives, 1 seed"] == ""


def test_a_collapse_that_no_seed_shows_is_outside_of_the_interval() -> None:
    (case,) = (case for case in SHOWN if case.what.startswith("mean over 3 seeds, 20 % of which collapse"))
    assert case.coverage(LONG) < 0.7, "as docs/error_rates.md says"

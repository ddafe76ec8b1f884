"""Plans with pairs of seasons: an axis of the sweep, refused where no place of the store has two dates."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from support.stores import of_seasons

from sweep.planning.dataset_sizes import check_data, check_questions, size_of
from sweep.planning.plan import Plan, make_plan
from sweep.space import Grid, Objective, SearchSpace, Stage
from trainables.data.store_format import INFO_FILE
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError

SPACE = SearchSpace(
    name="x",
    description="x",
    base={"dataset": "seasons", "epochs": 1, "batch_size": 8},
    stages=(Stage("grid", (Grid(),)),),
    objective=Objective("test/lidar"),
    baselines=("untrained",),
)


def plan() -> Plan:
    found = make_plan(SPACE, assignments={"pairs": ["image", "season"]}, size_of=size_of)
    check_questions(found)
    check_data(found)
    return found


def test_it_is_an_axis_and_a_baseline_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    of_seasons(tmp_path)
    trials = plan().trials
    assert [(trial.baseline, trial.config.pairs) for trial in trials] == [
        ("untrained", "image"),
        (None, "image"),
        (None, "season"),
    ]
    assert "season" in trials[2].name


def test_the_plan_counts_the_whole_places_of_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All dates of a place or none: a batch of the limit itself has too few images, and is refused by the plan."""
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    store = of_seasons(tmp_path)
    changes = {"pairs": ["season"], "max_train_images": [20], "batch_size": [8]}
    *_, trial = make_plan(SPACE, assignments=changes, size_of=size_of).trials
    images = len(TrialData(trial.config, store).train)
    assert trial.train_images == images < 20
    for batch, words in ((images, ""), (20, f"batch_size: 20 is larger than the {images} train images of seasons")):
        with pytest.raises(BadInputError, match=words) if words else nullcontext():
            make_plan(SPACE, assignments={**changes, "batch_size": [batch]}, size_of=size_of)


@pytest.mark.parametrize("earlier", [False, True], ids=["counted when prepared", "by an earlier version"])
def test_a_store_of_one_date_is_refused(earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    store = of_seasons(tmp_path, dates=1)
    if earlier:
        path = tmp_path / "seasons" / INFO_FILE
        path.write_text(store.info.model_dump_json(exclude={"place_dates"}))
    with pytest.raises(BadInputError) as caught:
        plan()
    assert str(caught.value) == (
        "pairs: 'season' needs train images of one place at two dates, and seasons has none: 14 train images of 14 "
        "places at 1 date, 0 with another date of their place; prepare scenes of other dates with them, or set "
        "pairs=image"
    )

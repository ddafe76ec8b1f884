"""Spaces become plans: counts, ids, names, stages, smoke runs and every fault that planning finds."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from search_spaces.eurosat_baselines import SPACE as EUROSAT_BASELINES
from search_spaces.eurosat_grid import SPACE as EUROSAT
from search_spaces.quickstart import SPACE as QUICKSTART
from search_spaces.thesis_grid import SPACE as THESIS
from sweep.planning.dataset_sizes import prepare_embedded, size_of
from sweep.planning.expansion import needs
from sweep.planning.plan import Plan, extend, make_plan
from sweep.planning.plan_table import summary
from sweep.planning.stage_selection import decide
from sweep.planning.trial import DataSize
from sweep.space import SELECTED_ON_TEST, Best, Grid, RankingObjective, SearchSpace, Stage, load_space
from trainables.config import UNTRAINABLE
from trainables.errors import BadInputError

SIZES = {
    "tiny_imagenet": DataSize(100_000, 10_000, 200, "aa", "prepared"),
    "bigearthnet_v1": DataSize(109_830, 36_610, 43, "bb", "prepared"),
    "eurosat": DataSize(21_600, 5_400, 10, "cc", "prepared"),
    "digits": DataSize(1_425, 372, 10, "dd", "prepared"),
}


def plan_of(space: SearchSpace, assignments: dict[str, list[object]] | None = None, **options: object) -> Plan:
    return make_plan(space, assignments=assignments or {}, size_of=SIZES.__getitem__, **options)  # type: ignore[arg-type]


def settings(plan: Plan) -> list[tuple[str, int, float, int]]:
    return [
        (trial.config.dataset, trial.config.batch_size, trial.config.temperature, trial.config.epochs)
        for trial in plan.trials
        if trial.baseline is None
    ]


def test_thesis_grid_is_the_thesis() -> None:
    plan = plan_of(THESIS)
    assert settings(plan) == [
        ("tiny_imagenet", batch, temperature, 50) for batch in (256, 1024, 2048) for temperature in (0.25, 0.5)
    ] + [("bigearthnet_v1", batch, temperature, 50) for batch in (256, 1024) for temperature in (0.25, 0.5)]
    by_name = {trial.name: trial for trial in plan.trials}
    first = by_name["tiny_imagenet-b256-t0.25-e50-s0"]
    # Reference: num_examples * epochs // batch_size + 1.
    assert first.steps == 19_532
    assert first.views == 2 * 19_532 * 256
    assert by_name["bigearthnet_v1-b1024-t0.5-e50-s0"].steps == 5_363
    assert {trial.baseline for trial in plan.trials} == {None, "untrained"}
    assert needs(plan.pending[0], {}) == [Best("temperature", dataset="tiny_imagenet")]


def test_second_stage_takes_the_best_temperature() -> None:
    plan = plan_of(THESIS)
    results = {
        trial.trial_id: {"test/top1": published.metrics["test/top1"]}
        for trial in plan.trials
        for published in THESIS.published
        if "test/top1" in published.metrics
        and all(getattr(trial.config, name) == value for name, value in published.setting.items())
    }
    assert len(results) == 6
    decided = decide(needs(plan.pending[0], {}), plan.trials, THESIS.objective, results.get)
    assert decided == {Best("temperature", dataset="tiny_imagenet"): 0.25}
    longer = extend(plan, decided, size_of=SIZES.__getitem__)
    assert settings(longer)[10:] == [
        ("tiny_imagenet", batch, 0.25, epochs) for batch in (256, 1024) for epochs in (100, 200, 400)
    ]
    assert longer.pending == ()
    assert longer.digest == plan.digest


def test_nothing_finished_decides_nothing() -> None:
    plan = plan_of(THESIS)
    assert decide(needs(plan.pending[0], {}), plan.trials, THESIS.objective, lambda _: None) == {}


def test_minimised_objective_decides_by_the_smallest_mean() -> None:
    plan = plan_of(QUICKSTART)
    values = {trial.trial_id: {"val/loss": trial.config.temperature} for trial in plan.trials}
    best = Best("temperature", dataset="digits")
    assert decide([best], plan.trials, RankingObjective("val/loss", "min"), values.get) == {best: 0.25}


def test_assignments_replace_axes_and_make_new_ones() -> None:
    plan = plan_of(
        QUICKSTART,
        {
            "temperature": [0.1],
            "jitter_strength": [0.2, 1.0],
            "seed": [3, 4],
            "batch_size": [32, 64],
            "label_draw": [0],
        },
    )
    chosen = [trial.config for trial in plan.trials if trial.baseline is None]
    assert len(chosen) == 2 * 1 * 2 * 2
    assert {config.temperature for config in chosen} == {0.1}
    names = [trial.name for trial in plan.trials]
    assert "digits-b64-t0.1-e5-jitter_strength_0.2-s3" in names
    assert len(set(names)) == len(names)
    assert sum(trial.baseline == "untrained" for trial in plan.trials) == 2
    assert sum(trial.baseline == "pixels" for trial in plan.trials) == 1


def test_baselines_with_weights_come_once_a_seed_and_those_without_once() -> None:
    plan = plan_of(EUROSAT_BASELINES)
    assert Counter(trial.baseline for trial in plan.trials) == {
        None: 3,
        "untrained": 3,
        "calibrated": 3,
        "colours": 1,
        "pixels": 1,
    }
    for trial in plan.trials:
        if trial.baseline:
            assert trial.config.epochs == 0
            assert trial.config.calibrate_batch_norm == (trial.baseline == "calibrated")
            assert trial.config.encoder == (trial.baseline if trial.baseline in UNTRAINABLE else "resnet18")
            assert trial.name.startswith(f"eurosat-{trial.baseline}-")


def test_assignment_to_what_a_stage_waits_for_decides_it() -> None:
    plan = plan_of(THESIS, {"temperature": [0.5]})
    assert plan.pending == ()
    assert {trial.config.temperature for trial in plan.trials if trial.stage == 2} == {0.5}


def test_ids_are_of_settings_and_data_alone() -> None:
    first, second = plan_of(QUICKSTART), plan_of(QUICKSTART, workers=2)
    assert [trial.trial_id for trial in first.trials] == [trial.trial_id for trial in second.trials]
    other_data = {**SIZES, "digits": DataSize(1_425, 372, 10, "ee", "prepared")}
    moved = make_plan(QUICKSTART, assignments={}, size_of=other_data.__getitem__)
    assert not {trial.trial_id for trial in first.trials} & {trial.trial_id for trial in moved.trials}
    assert first.digest != moved.digest


def test_smoke_keeps_settings_distinct_and_small() -> None:
    plan = plan_of(THESIS, smoke=True)
    decided = dict.fromkeys(needs(plan.pending[0], {}), 0.5)
    plan = extend(plan, decided, size_of=SIZES.__getitem__)
    chosen = [trial for trial in plan.trials if trial.baseline is None]
    assert len({trial.trial_id for trial in chosen}) == 16
    assert {trial.config.batch_size for trial in chosen} == {16, 64, 128}
    assert {trial.config.epochs for trial in chosen} == {1, 2, 3, 4}
    assert max(trial.steps for trial in chosen) <= 70
    assert plan.digest != plan_of(THESIS).digest


def test_smoke_that_cannot_stay_distinct_is_refused() -> None:
    with pytest.raises(BadInputError, match="--smoke: batch sizes"):
        plan_of(QUICKSTART, {"batch_size": [64, 100_000]}, smoke=True)


def test_points_are_listed_and_not_crossed() -> None:
    points = ({"batch_size": 32, "temperature": 0.1}, {"batch_size": 64, "temperature": 0.2})
    space = SearchSpace(
        "s", "", (Stage("a", (Grid(points=points),)),), RankingObjective("test/top1"), {"dataset": "digits"}
    )
    assert [setting[1:3] for setting in settings(plan_of(space))] == [(32, 0.1), (64, 0.2)]


@pytest.mark.parametrize(
    ("assignments", "workers", "message"),
    [
        ({"batch_size": [2048]}, 1, r"batch_size: 2048 is larger than the 1211 train images of digits"),
        (
            {"batch_size": [32, 64]},
            129,
            r"batch_size: 32 is less than one image for 129 workers; .*\nbatch_size: 64 is less than one",
        ),
        ({"temperature": [0.0]}, 1, r"temperature: must be greater than 0, got 0"),
    ],
)
def test_faults_are_found_before_anything_starts(
    assignments: dict[str, list[object]], workers: int, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        plan_of(QUICKSTART, assignments, workers=workers)


def test_a_data_set_of_one_class_is_refused_and_named() -> None:
    one = DataSize(1_425, 372, 1, "dd", "prepared", class_names=("pets",))
    with pytest.raises(
        BadInputError, match="dataset: digits has one class, 'pets', so a probe has nothing to distinguish"
    ):
        make_plan(QUICKSTART, assignments={}, size_of=lambda name: one)
    other = {"digits": one, "eurosat": SIZES["eurosat"]}
    assert make_plan(QUICKSTART, assignments={"evaluation_dataset": ["eurosat"]}, size_of=other.__getitem__).trials


def test_spaces_are_found_by_name_module_and_file(tmp_path: Path) -> None:
    assert load_space("eurosat_grid") is EUROSAT
    assert load_space("search_spaces.eurosat_grid") is EUROSAT
    path = tmp_path / "mine.py"
    path.write_text("from search_spaces.quickstart import SPACE\n")
    assert load_space(str(path)) is QUICKSTART
    for name, message in (
        (
            "nope",
            "unknown; known: bigearthnet_labels, eurosat_bands, eurosat_baselines",
        ),
        (str(tmp_path / "no.py"), "no such file"),
    ):
        with pytest.raises(BadInputError, match=message):
            load_space(name)
    path.write_text("SPACE = 1 / 0\n")
    with pytest.raises(BadInputError, match="ZeroDivisionError"):
        load_space(str(path))


def test_dry_run_imports_nothing_heavy_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['sweep.run', '--space', 'thesis_grid', '--dry-run']\n"
        "from sweep.run import main; from sweep.console.app import run_command\n"
        "try:\n    run_command(main)\nexcept SystemExit as stop:\n    assert stop.code in (0, None), stop.code\n"
        "heavy = {'torch', 'ray', 'mlflow', 'pyarrow', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"SWEEP_DATA": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "10 trials and 2 baselines" in done.stdout
    assert "stage 2, longer training: 6 more trials, temperature decided by stage 1" in done.stdout
    assert "109,830 train and 36,610 test images (published sizes)" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_of_a_plan() -> None:
    code = (
        "import sys; sys.argv = ['sweep.run', '--help']\n"
        "from sweep.run import main; from sweep.console.app import run_command\n"
        "try:\n    run_command(main)\nexcept SystemExit as stop:\n    assert stop.code in (0, None), stop.code\n"
        "assert 'sweep.console.options' in sys.modules\n"
        "heavy = {'sweep.planning.plan', 'sweep.planning.launch', 'trainables.config', 'pydantic.main'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout


def test_a_plan_says_what_its_settings_are_selected_on() -> None:
    thesis, quick = plan_of(load_space("thesis_grid")), plan_of(QUICKSTART)
    assert (thesis.selected_on, quick.selected_on) == ("test", "validation")
    assert SELECTED_ON_TEST in summary(thesis)
    assert SELECTED_ON_TEST not in summary(quick)
    assert plan_of(load_space("eurosat_baselines"), {"seed": [0]}).selected_on == "nothing"


def test_a_slice_of_train_and_a_validation_split_of_its_own_are_one_too_many() -> None:
    sizes = {"v2": DataSize(100, 50, 19, "ee", "prepared", validation=50)}
    space = SearchSpace(
        name="x",
        description="",
        stages=(Stage("grid", (Grid(base={"dataset": "v2", "batch_size": 8, "validation_fraction": 0.1}),)),),
        objective=RankingObjective("val/knn_top1"),
    )
    with pytest.raises(BadInputError, match="validation_fraction: v2 has its own validation split; set it to 0"):
        make_plan(space, assignments={}, size_of=sizes.__getitem__)
    make_plan(space, assignments={"validation_fraction": [0.0]}, size_of=sizes.__getitem__)


def test_another_data_set_to_evaluate_on_is_part_of_the_trial() -> None:
    alone, with_eurosat = (
        plan_of(QUICKSTART, {"dataset": ["eurosat"], **more}) for more in ({}, {"evaluation_dataset": ["digits"]})
    )
    assert not {trial.trial_id for trial in alone.trials} & {trial.trial_id for trial in with_eurosat.trials}
    assert {trial.labelled.train for trial in with_eurosat.trials} == {1_425}
    assert {trial.train_images for trial in with_eurosat.trials} == {21_600}  # no slice: that is cut from digits
    assert with_eurosat.trials[0].config.labelled_dataset == "digits"
    assert "digits evaluates what eurosat pretrains" in summary(with_eurosat)
    assert "digits: 1,425 train and 372 test images (prepared sizes)" in summary(with_eurosat)


def test_an_embedded_data_set_of_an_older_format_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    for name in ("digits", "eurosat"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "store.json").write_text('{"format_version": 1}')
    with pytest.raises(BadInputError, match=r"store format 1, this program reads 2; remove it .* remove eurosat"):
        size_of("eurosat")
    plan = make_plan(QUICKSTART, assignments={}, size_of=size_of)
    assert prepare_embedded(plan)
    assert "preparing digits" in capsys.readouterr().out
    assert size_of("digits").origin == "prepared"
    assert not prepare_embedded(make_plan(QUICKSTART, assignments={}, size_of=size_of))


def test_undefined_results_decide_nothing() -> None:
    plan = plan_of(QUICKSTART)
    best = Best("temperature", dataset="digits")
    temperatures = list(dict.fromkeys(trial.config.temperature for trial in plan.trials if trial.baseline is None))
    first = temperatures[0]
    known = dict(zip(temperatures, (float("nan"), 0.5, 0.9), strict=False))
    for direction in ("max", "min"):
        values = {trial.trial_id: {"val/top1": known.get(trial.config.temperature, 0.1)} for trial in plan.trials}
        decided = decide([best], plan.trials, RankingObjective("val/top1", direction), values.get)
        assert decided[best] != first
    nothing = {trial.trial_id: {"val/top1": float("nan")} for trial in plan.trials}
    assert decide([best], plan.trials, RankingObjective("val/top1"), nothing.get) == {}

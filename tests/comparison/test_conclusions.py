"""What the comparison says in words: only what the numbers carry."""

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from support.small_sweeps import seeded
from support.written_sweeps import space_of, write_sweep

from sweep.comparison.cells import ComparisonCell
from sweep.comparison.conclusions import _against_baselines, conclusions, notes
from sweep.comparison.dataset_report import dataset_reports
from sweep.comparison.ranking import compare
from sweep.comparison.standing import _alike, standing
from sweep.comparison.table import ComparisonRow
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.comparison.wording import described, metric_words, short_words
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.report.page_tables import setting_rows
from sweep.report.terminal_table import print_comparison
from sweep.statistics.metric_intervals import PairedDifference
from sweep.statistics.number_outputs import NumberOutputs
from sweep.statistics.share_intervals import ConfidenceInterval
from trainables.data.store import ImageStore
from trainables.storage.trial_records import AttemptRecord


def said(values: dict[float, list[float]], pair: PairedDifference | None = None) -> str:
    sweep, found = seeded(values)
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    return " ".join(conclusions(sweep, table, replace(standing(sweep, table), second=pair)))


@pytest.fixture(scope="module")
def written(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepRecord, SweepStorage]:
    """Two settings with one seed, and what their classifiers said of each image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(store.path.parent))
        return write_sweep(space_of(2, seeds=1), tmp_path_factory.mktemp("written"))


def test_the_winner_stands_beside_the_baselines_on_both_splits_with_intervals(
    written: tuple[SweepRecord, SweepStorage],
) -> None:
    (part,) = dataset_reports(*written)
    best, chance, test, brackets, untrained = part.conclusions[:5]
    value, interval = r"\d+\.\d %", r"\d+\.\d to \d+\.\d"
    baselines = rf"; untrained encoder {value} \({interval}\), raw pixels {value} \({interval}\)\."
    assert re.fullmatch(rf"Best on validation: temperature 0\.25 \(kNN {value}, {interval}\){baselines}", best)
    sides = rf"sensitivity {value} \({interval}\), specificity {value} \({interval}\)"
    assert re.fullmatch(rf"On test {value} \({interval}\), {sides}{baselines}", test)
    assert brackets == "In brackets: 95 % intervals over the evaluated images."
    words = r"points (above|below) the untrained encoder"
    assert re.fullmatch(rf"On the same test images it is \d+\.\d {words} \(95 % from -?{interval}\)\.", untrained)
    assert chance.startswith("Only one seed per setting: the order may be chance; add --set seed=0,1,2.")
    row = part.row_of(part.table.settings[0])
    known = row.cells["test/knn_top1"]
    assert known.mean is not None
    assert known.images is not None
    assert f"On test {100 * known.mean:.1f} % ({100 * known.images.low:.1f} to {100 * known.images.high:.1f})" in test


def test_a_baseline_of_one_seed_has_its_interval_over_images_beside_those_over_seeds(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    (part,) = dataset_reports(*write_sweep(space_of(2, seeds=2), tmp_path))
    (pixels,) = (one for one in part.rows if one.label == "raw pixels")
    known = pixels.cells["val/knn_top1"]
    assert known.mean is not None
    assert known.seeds is None
    assert known.images is not None
    low, high = (f"{100 * end:.1f}" for end in (known.images.low, known.images.high))
    best, _, _, brackets = part.conclusions[:4]
    assert f"raw pixels {100 * known.mean:.1f} % ({low} to {high} over images)." in best
    assert best.count("over images") == 1
    assert brackets == "In brackets: 95 % intervals over 2 seeds, or where marked over the evaluated images."


def test_the_terminal_says_the_same_as_the_page(written: tuple[SweepRecord, SweepStorage]) -> None:
    record, storage = written
    (part,) = dataset_reports(record, storage)
    stream = io.StringIO()
    print_comparison(record, [part.table], TrialOutputs(storage), console=Console(file=stream, width=400))
    for sentence in part.conclusions:
        assert sentence in stream.getvalue()


def test_the_time_of_terminal_and_page_is_that_of_all_attempts_and_devices(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, storage = write_sweep(space_of(1, seeds=1), tmp_path)
    files = storage.trial_of(next(entry for entry in record.trials if entry.baseline is None))
    lost = AttemptRecord(number=2, sweep="written", started_ms=0, ended_ms=3_600_000, outcome="crash", devices=4.0)
    files.write_attempt(lost)
    (part,) = dataset_reports(record, storage)
    row = setting_rows(part)[0]
    assert row["time"].startswith("4 h")
    stream = io.StringIO()
    print_comparison(record, [part.table], console=Console(file=stream, width=400))
    (line,) = (line for line in stream.getvalue().splitlines() if line.strip().startswith("the setting"))
    assert f" {row['time']} " in line


def test_a_clear_best_is_said_with_its_interval() -> None:
    text = said({0.1: [0.50, 0.51, 0.52], 0.2: [0.80, 0.81, 0.82]})
    assert text.startswith(
        "Best on validation: temperature 0.2 (kNN 81.0 %, 78.5 to 83.5); untrained encoder 30.0 %, raw pixels 30.0 %. "
        "The other setting is worse beyond what seeds explain (95 %). In brackets: 95 % intervals over 3 seeds."
    )
    assert "no better" not in text
    assert "The other 1 are worse" not in text
    assert "The other setting is worse beyond what seeds explain (95 %)." in text


def test_of_two_equal_settings_one_is_seldom_called_worse() -> None:
    """The word is about either one, so it takes half the error of dropping a given one."""
    random = np.random.default_rng(0)
    words = [said({0.1: list(one), 0.2: list(other)}) for one, other in random.normal(0.7, 0.01, (400, 2, 3))]
    worse = sum("The other setting is worse" in text for text in words) / len(words)
    alone = sum("It alone may be the best (95 %)." in text for text in words) / len(words)
    assert worse < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 400)
    assert 0.02 < worse + alone < 0.10 + 4 * math.sqrt(0.1 * 0.9 / 400)


@pytest.mark.parametrize(("direction", "biased"), [("max", "high"), ("min", "low")])
def test_the_best_of_several_is_too_good_in_the_direction_of_the_metric(direction: str, biased: str) -> None:
    sweep, found = seeded({0.1: [0.5], 0.2: [0.6]})
    sweep = sweep.model_copy(update={"direction": direction})
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    (said,) = (line for line in notes(sweep, [table]) if "was chosen by the numbers shown" in line)
    assert f"so its own number is probably too {biased}" in said


def test_several_that_may_be_best_are_named() -> None:
    text = said({0.1: [0.50, 0.51, 0.52], 0.2: [0.58, 0.60, 0.62], 0.5: [0.57, 0.59, 0.62]})
    assert "With 3 seeds temperature 0.5 may be just as good." in text
    text = said({0.1: [0.58, 0.60, 0.63], 0.2: [0.58, 0.60, 0.62], 0.5: [0.57, 0.59, 0.62]})
    assert "With 3 seeds any of the other 2 settings may be just as good." in text


def test_a_best_setting_of_one_seed_is_not_told_from_settings_of_several() -> None:
    sweep, found = seeded({0.1: [0.60] * 3, 0.2: [0.58, 0.60, 0.61], 0.5: [0.57, 0.58, 0.6]})
    alone = [one for one in sweep.trials if one.config["temperature"] != 0.1 or one.config["seed"] == 0]
    (table,) = compare(sweep.model_copy(update={"trials": tuple(alone)}), lambda entry: found[entry.trial_id])
    text = " ".join(conclusions(sweep, table))
    assert "As it has one seed, temperature 0.2 may be just as good." in text


def test_a_ranking_without_labels_says_that_labels_are_needed_to_check_it() -> None:
    sweep, found = seeded({0.1: [7.0], 0.5: [9.0]})
    sweep = sweep.model_copy(update={"objective": "val/lidar", "columns": ()})
    values = {key: one.metrics["val/knn_top1"] for key, one in found.items()}
    settings = {entry.trial_id for entry in sweep.trials if entry.baseline is None}
    for key, value in values.items():
        found[key] = replace(found[key], metrics={"val/lidar": value} if key in settings else {})
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    text = " ".join(conclusions(sweep, table))
    assert text.startswith("Best on validation: temperature 0.5 (LiDAR 9). Only one seed per setting")
    assert "LiDAR needs no labels, and its best need not be the best for your classes or numbers" in text
    lines = notes(sweep, [table])
    assert "ranked by val/lidar (val split), final epoch" in lines
    assert any(line.startswith("baselines have no LiDAR: it is measured behind the projection head") for line in lines)
    (table,) = compare(sweep, lambda entry: replace(found[entry.trial_id], metrics={"val/lidar": 8.0}))
    assert not any("projection head" in line for line in notes(sweep, [table]))
    labelled = {
        **found,
        **{key: replace(found[key], metrics={"val/lidar": values[key], "test/knn_top1": 0.5}) for key in settings},
    }
    (table,) = compare(sweep, lambda entry: labelled[entry.trial_id])
    assert "needs no labels" not in " ".join(conclusions(sweep, table))


@pytest.mark.parametrize(
    ("objective", "where"),
    [
        ("val/alpha_req_gap", "of too few images"),
        ("val/linear_r2", "where all numbers are equal"),
        ("val/linear_sensitivity", "without a positive among the images that it is measured on"),
    ],
)
def test_an_undefined_objective_says_where_it_is_and_has_no_best_to_warn_of(objective: str, where: str) -> None:
    sweep, found = seeded({0.1: [7.0], 0.5: [9.0]})
    sweep = sweep.model_copy(update={"objective": objective, "columns": ()})
    found = {key: replace(one, metrics={objective: math.nan}) for key, one in found.items()}
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    (sentence,) = conclusions(sweep, table)
    assert sentence.endswith(f"undefined (NaN) in all that finished, as {where}.")
    assert not any("was chosen by the numbers shown" in line for line in notes(sweep, [table]))


def test_one_seed_says_nothing_of_chance_but_compares_images() -> None:
    assert "Only one seed per setting: the order may be chance; add --set seed=0,1,2." in said({0.1: [0.5], 0.2: [0.6]})
    pair = PairedDifference(0.1, ConfidenceInterval(0.08, 0.12), 0.001)
    text = said({0.1: [0.5], 0.2: [0.6]}, pair)
    assert "seed=0,1,2. On the same images it is 10.0 points above temperature 0.1 (95 % from 8.0 to 12.0)." in text
    assert "interval" not in text


def test_numbers_have_their_difference_on_the_same_images_in_their_own_unit() -> None:
    sweep, found = seeded({0.1: [0.2], 0.2: [0.1]})
    sweep = sweep.model_copy(update={"objective": "val/linear_rmse", "direction": "min"})
    errors = {name: result.metrics["val/knn_top1"] for name, result in found.items()}
    metrics = {name: {"val/linear_rmse": error, "test/linear_rmse": error} for name, error in errors.items()}
    (table,) = compare(sweep, lambda entry: replace(found[entry.trial_id], metrics=metrics[entry.trial_id]))

    def of_row(row: ComparisonRow, metric: str) -> list[NumberOutputs]:
        truth, noise = np.random.default_rng(0).normal(size=(2, 200))
        noise = noise + 0.3 * np.random.default_rng(1).normal(size=200) * row.known_mean(metric)
        names = tuple(map(str, range(200)))
        return [NumberOutputs(truth, truth + row.known_mean(metric) * noise, names, np.zeros(0, dtype=bool))]

    stands = standing(sweep, table, SimpleNamespace(of_row=of_row))  # type: ignore[arg-type]
    text = " ".join(conclusions(sweep, table, stands))
    by = r"its root mean squared error is 0\.\d+ below that of"
    untrained = rf"On the same test images {by} the untrained encoder \(95 % from (-0\.2\d*) to (-0\.1\d*)\)\."
    second = rf"On the same images {by} temperature 0\.1 \(95 % from (-0\.1\d*) to (-0\.0\d*)\)\."
    for pattern in (untrained, second):
        assert re.search(pattern, text), text
    assert "points" not in text


def test_a_setting_without_a_mean_is_compared_with_nothing() -> None:
    """The objective of one of its seeds is NaN, so that it has no rank; its other seeds are the largest of all."""
    sweep, found = seeded({0.1: [0.5, 0.51, 0.52], 0.2: [0.49, 0.5, 0.52], 0.5: [0.9, 0.91, 0.8]})
    (entry,) = (one for one in sweep.trials if (one.config["temperature"], one.config["seed"]) == (0.5, 2))
    found[entry.trial_id] = replace(found[entry.trial_id], metrics={"val/knn_top1": math.nan})
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    assert [row.maybe_best for row in table.settings] == [True, True, None]
    text = " ".join(conclusions(sweep, table))
    assert "With 3 seeds temperature 0.2 may be just as good. 1 of 3 settings has no result." in text


def test_baselines_that_do_better_and_settings_without_result_are_said() -> None:
    text = said({0.1: [0.2, 0.21, 0.22], 0.2: [0.25, 0.26, 0.27], 0.5: [math.nan, math.nan, math.nan]})
    assert "On validation it does no better than the untrained encoder and raw pixels." in text
    assert "1 of 3 settings has no result." in text
    assert said({0.1: [math.nan], 0.2: [math.nan]}) == (
        "No setting on tiny_imagenet has a result: all 2 trials failed."
    )
    assert "The value of temperature 0.2 is the same." in said({0.1: [0.5], 0.2: [0.5]})
    assert "is the same" not in said({0.1: [0.5], 0.2: [0.4]})


def test_more_than_two_baselines_that_do_better_are_a_list() -> None:
    """A baseline's name may have "and" in it: mean and deviation of each channel."""
    metric = "val/knn_top1"
    worse, better = ({metric: ComparisonCell(mean, None, None, None)} for mean in (0.5, 0.6))
    sweep: Any = SimpleNamespace(direction="max", objective=metric)
    stands: Any = SimpleNamespace(best=worse, baselines=dict.fromkeys(("a", "b and c", "d"), better))
    assert _against_baselines(sweep, stands) == ["On validation it does no better than a; b and c; d."]


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("test/linear_sensitivity", "sensitivity (logistic regression, test split)"),
        ("val/knn_top1", "top-1 accuracy (nearest neighbours, validation split)"),
        ("test/roc_auc", "ROC AUC (linear probe, test split)"),
        ("train/contrastive_loss", "contrastive loss (train)"),
    ],
)
def test_metrics_have_words(metric: str, words: str) -> None:
    assert metric_words(metric) == words


def test_settings_have_words() -> None:
    assert (
        described({"batch_size": 64, "temperature": 0.25}, ("batch_size", "temperature"))
        == "batch size 64, temperature 0.25"
    )
    assert described({}, ()) == "the one setting"
    assert described({"crop_area": [0.08, 1.0]}, ("crop_area",)) == "crop area 0.08 to 1"
    assert (
        described({"positive": ["a", "b"], "knn_also": []}, ("positive", "knn_also"))
        == "positive a and b, knn also none"
    )


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("val/knn_top1", "kNN"),
        ("val/knn20_top1", "kNN, k = 20"),
        ("test/linear_sensitivity", "logistic regression sensitivity"),
        ("test/roc_auc", "linear probe ROC AUC"),
        ("val/feature_rank", "feature rank"),
    ],
)
def test_metrics_have_short_words(metric: str, words: str) -> None:
    assert short_words(metric) == words


def test_baselines_stand_beside_the_best_setting_at_its_own_label_fraction() -> None:
    def row(baseline: str | None, fraction: float, told: tuple[str, ...]) -> ComparisonRow:
        entry = SimpleNamespace(baseline=baseline, method="", config={"label_fraction": fraction})
        return ComparisonRow((SimpleNamespace(entry=entry),), {}, told)  # type: ignore[arg-type]

    best, of_fraction = row(None, 1.0, ()), ("label_fraction",)
    few, all_labels = (row("untrained", fraction, of_fraction) for fraction in (0.1, 1.0))
    pixels = row("pixels", 0.1, ())
    assert [one.label for one in _alike(best, [few, all_labels, pixels])] == ["untrained encoder", "raw pixels"]
    assert [one.label for one in _alike(best, [few])] == ["untrained encoder, label fraction 0.1"], "there is no other"

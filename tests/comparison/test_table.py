"""The comparison: pure from records to rows, and what the terminal shows of it."""

import io
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console
from scipy import stats
from support.small_sweeps import seeded

from search_spaces.thesis_grid import SPACE as THESIS
from sweep.comparison.cells import ComparisonCells
from sweep.comparison.conclusions import conclusions
from sweep.comparison.ranking import compare
from sweep.comparison.table import ComparisonRow
from sweep.console.formatting import duration
from sweep.planning.plan import make_plan
from sweep.planning.trial import DataSize
from sweep.records.sweep_record import SweepRecord, describe
from sweep.records.trial_result import TrialResult
from sweep.report.terminal_table import print_comparison
from sweep.running.summary import summarise


def record(smoke: bool = False) -> SweepRecord:
    sizes = {
        "tiny_imagenet": DataSize(100_000, 10_000, 200, "aa", "prepared"),
        "bigearthnet_v1": DataSize(109_830, 36_610, 43, "bb", "prepared"),
    }
    plan = make_plan(THESIS, assignments={}, size_of=sizes.__getitem__, smoke=smoke)
    return describe(plan, name="mine", command="python -m sweep.run", commit=None, versions={})


def results(sweep: SweepRecord) -> dict[str, TrialResult]:
    """Top-1 falls from trial to trial; the third failed, the fourth diverged, the fifth runs."""
    found = {}
    for number, entry in enumerate(sweep.trials):
        metrics = {"test/top1": 0.5 - number / 100, "test/sensitivity": 0.5 if number == 11 else 0.6}
        found[entry.trial_id] = TrialResult("finished", metrics, int(entry.config["epochs"]), 100.0)
    settings = [entry for entry in sweep.trials if entry.baseline is None]
    found[settings[2].trial_id] = TrialResult("failed", {}, 0, 0.0, "crash: it fell over, see /log")
    found[settings[3].trial_id] = TrialResult("finished", {"test/top1": float("nan")}, 50, 1.0)
    found[settings[4].trial_id] = TrialResult("running", {"test/top1": 0.99}, 3, 1.0)
    return found


def test_rows_are_ranked_within_a_data_set_with_published_numbers_beside() -> None:
    sweep = record()
    tiny, farmland = compare(sweep, lambda entry: results(sweep)[entry.trial_id])
    assert (tiny.dataset, farmland.dataset) == ("tiny_imagenet", "bigearthnet_v1")
    assert tiny.axes == ("batch_size", "temperature")
    assert [row.trials[0].result.status for row in tiny.settings[:3]] == ["finished"] * 3
    tops = [row.mean("test/top1") for row in tiny.settings[:3]]
    assert tops == sorted(tops, reverse=True)  # type: ignore[type-var]
    # A trial that failed, diverged or isn't done can't lead, whatever its number.
    assert {row.trials[0].entry.name for row in tiny.settings[3:]} == {
        "tiny_imagenet-b1024-t0.25-e50-s0",
        "tiny_imagenet-b1024-t0.5-e50-s0",
        "tiny_imagenet-b2048-t0.25-e50-s0",
    }
    assert tiny.settings[0].published == {"test/top1": 0.3226, "test/top5": 0.5808}
    by_name: dict[str, ComparisonRow] = {row.trials[0].entry.name: row for row in farmland.settings}
    assert by_name["bigearthnet_v1-b1024-t0.5-e50-s0"].published["test/sensitivity"] == 0.6331
    assert [row.label for row in tiny.baselines] == ["untrained encoder"]


def test_smoke_rows_carry_the_numbers_of_what_they_stand_for() -> None:
    sweep = record(smoke=True)
    tiny, _ = compare(sweep, lambda entry: results(sweep)[entry.trial_id])
    by_name = {row.trials[0].entry.name: row.published for row in tiny.settings}
    assert by_name["tiny_imagenet-b16-t0.25-e1-s0"] == {"test/top1": 0.3226, "test/top5": 0.5808}
    assert by_name["tiny_imagenet-b128-t0.5-e1-s0"] == {"test/top1": 0.1885, "test/top5": 0.4073}


def test_terminal_shows_what_a_reader_needs() -> None:
    sweep = record()
    stream = io.StringIO()
    tables = compare(sweep, lambda entry: results(sweep)[entry.trial_id])
    print_comparison(sweep, tables, console=Console(file=stream, width=200))
    shown = stream.getvalue()
    assert "48.00 / 32.26" in shown
    assert "untrained encoder" in shown
    assert "undefined / 18.05" in shown
    assert "failed, crash: it fell over, see /log" in shown
    assert "SELECTED ON TEST" in shown
    assert "waits for results: longer training" in shown
    assert "3/50" in shown
    assert "one seed per setting" in shown
    assert "±" not in shown


def test_a_collapsed_trial_is_marked_in_its_row_and_below() -> None:
    sweep = record()
    found = results(sweep)
    entry = next(entry for entry in sweep.trials if entry.baseline is None)
    metrics = {"test/top1": 0.3, "test/collapsed": 1.0}
    found[entry.trial_id] = TrialResult("finished", metrics, int(entry.config["epochs"]), 100.0)
    stream = io.StringIO()
    print_comparison(
        sweep, compare(sweep, lambda entry: found[entry.trial_id]), console=Console(file=stream, width=200)
    )
    lines = stream.getvalue().splitlines()
    assert sum("finished, COLLAPSED" in line for line in lines) == 1
    assert sum(f"{entry.name} collapsed: its embeddings" in line for line in lines) == 1


def test_seeds_are_folded_into_mean_and_interval_and_the_best_is_not_alone() -> None:
    values = {0.1: [0.50, 0.51, 0.52], 0.2: [0.58, 0.60, 0.62], 0.5: [0.57, 0.59, 0.62], 0.9: [0.7, math.nan, math.nan]}
    sweep, found = seeded(values)
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    assert table.axes == ("temperature",)
    assert [row.config["temperature"] for row in table.settings] == [0.9, 0.2, 0.5, 0.1]
    assert [len(row.trials) for row in table.settings] == [3, 3, 3, 3]
    assert [len(row.trials) for row in table.baselines if row.label == "untrained encoder"] == [3]
    second = table.settings[1]
    assert second.mean("val/knn_top1") == pytest.approx(0.6)
    interval = second.interval("val/knn_top1")
    assert interval is not None
    assert tuple(interval) == pytest.approx(stats.t.interval(0.95, 2, 0.6, 0.02 / math.sqrt(3)))
    assert table.settings[0].interval("val/knn_top1") is None
    # With one seed nothing is known of the first one's spread: it can neither drop out nor make others drop out.
    assert [row.maybe_best for row in table.settings] == [True, True, True, False]

    stream = io.StringIO()
    print_comparison(sweep, [table], console=Console(file=stream, width=200))
    shown = stream.getvalue()
    assert "60.00 ± 4.97" in shown
    assert "1 finished; 2 failed" in shown
    assert "● 0.9" in shown
    assert "the truly best one lacks this mark in at most 5 % of comparisons" in shown
    assert "of 2 intervals, at least one misses its true value in up to 10 % of sweeps" in shown
    assert "no interval includes the effect of another split" in shown
    assert "the best of 4 settings was chosen by the numbers shown" in shown


def test_a_setting_near_the_best_is_marked_with_it() -> None:
    sweep, found = seeded({0.1: [0.50, 0.51, 0.52], 0.2: [0.58, 0.60, 0.62], 0.5: [0.57, 0.59, 0.62]})
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    assert [(row.config["temperature"], row.maybe_best) for row in table.settings] == [
        (0.2, True),
        (0.5, True),
        (0.1, False),
    ]


def test_durations_read() -> None:
    assert [duration(value) for value in (3.14, 245, 12_000)] == ["3.1 s", "4 min 05 s", "3 h 20 min"]


def test_records_from_before_a_field_existed_compare_with_those_after() -> None:
    sweep, found = seeded({0.1: [0.5, 0.51], 0.2: [0.58, 0.60]})
    old = [
        entry.model_copy(update={"config": {k: v for k, v in entry.config.items() if k != "initial_weights"}})
        if entry.config["seed"] == 0
        else entry
        for entry in sweep.trials
    ]
    (table,) = compare(sweep.model_copy(update={"trials": tuple(old)}), lambda entry: found[entry.trial_id])
    assert [len(row.trials) for row in table.settings] == [2, 2]
    assert table.settings[0].first is not None
    assert table.settings[0].first.entry.config["seed"] == 0


def test_settings_that_halving_ended_stand_apart_at_their_epoch() -> None:
    sweep, found = seeded({0.1: [0.50, 0.51, 0.52], 0.2: [0.58, 0.60, 0.62], 0.5: [0.90, 0.95, 0.97]})
    for entry in sweep.trials:
        if entry.baseline is None and entry.config["temperature"] == 0.5 and entry.config["seed"] < 2:
            reached = {"val/knn_top1": 0.30 + entry.config["seed"] / 10}
            found[entry.trial_id] = TrialResult("stopped", reached, 2, 1.0, halved=True)
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    assert [row.config["temperature"] for row in table.settings] == [0.2, 0.1], "not by the seed that finished"
    assert table.best is table.settings[0]
    (row,) = table.halved
    assert (row.config["temperature"], row.halved) == (0.5, 2)
    assert row.reached("val/knn_top1") == pytest.approx(0.35)
    assert row.maybe_best is None
    stream = io.StringIO()
    print_comparison(sweep, [table], console=Console(file=stream, width=200))
    shown = stream.getvalue()
    assert "ended early by halving: means over seeds at that epoch, not to be compared with those above" in shown
    assert "35.00" in shown
    assert "97.00" not in shown
    assert "Halving ended 1 more setting early." in " ".join(conclusions(sweep, table))


def test_a_table_without_a_finite_number_has_no_best() -> None:
    sweep = record()
    undefined = {
        entry.trial_id: TrialResult("finished", {sweep.objective: math.nan}, int(entry.config["epochs"]), 1.0)
        for entry in sweep.trials
    }
    tables = compare(sweep, lambda entry: undefined[entry.trial_id])
    for table in tables:
        assert table.best is None
        (said,) = conclusions(sweep, table)
        assert said.startswith(f"No setting on {table.dataset} is best: ")
        assert "does best" not in said
        assert not any(row.maybe_best for row in table.settings)
    assert summarise(sweep, undefined, tables, status="finished", why="", device_hours=0.0, records="")["best"] == {}


def test_an_interval_over_seeds_ends_where_the_metric_does() -> None:
    sweep, found = seeded({0.1: [0.2, 0.9]})
    for name, (low, high) in {"r2": (-math.inf, 1.0), "rmse": (0.0, math.inf), "spearman": (-1.0, 1.0)}.items():
        metric = f"test/linear_{name}"
        own = {key: replace(one, metrics={metric: one.metrics["val/knn_top1"]}) for key, one in found.items()}
        (table,) = compare(sweep, lambda entry, own=own: own[entry.trial_id])
        ends = table.settings[0].interval(metric)
        assert ends is not None
        assert (ends.low == low) == math.isfinite(low)
        assert (ends.high == high) == math.isfinite(high)


def test_a_terminal_too_narrow_for_one_metric_cuts_no_word() -> None:
    sweep, found = seeded({0.1: [0.5, 0.6], 0.2: [0.7, 0.9]})
    trials = [one.model_copy(update={"baseline": "colours"}) if one.baseline else one for one in sweep.trials]
    (table,) = compare(sweep.model_copy(update={"trials": tuple(trials)}), lambda entry: found[entry.trial_id])
    stream = io.StringIO()
    console = Console(file=stream, width=50, force_terminal=True, color_system=None)
    print_comparison(sweep, [table], console=console)
    shown = stream.getvalue().split("Best on")[0]
    assert max(map(len, shown.splitlines())) <= 50
    assert "…" not in shown
    assert shown.count("finished") == len(table.settings) + len(table.baselines)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_whole_words_and_a_file_the_whole_table(columns: int) -> None:
    sweep, found = seeded({0.1: [0.5, 0.6], 0.2: [0.7, 0.9]})
    metrics = [f"test/{name}_top1" for name in ("linear", "knn200", "centroid")] + ["test/linear_calibration_error"]
    sweep = sweep.model_copy(update={"columns": tuple(metrics)})
    for key, one in found.items():
        found[key] = replace(one, metrics={**one.metrics, **dict.fromkeys(metrics, one.metrics["val/knn_top1"])})
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    terminal, file = io.StringIO(), io.StringIO()
    print_comparison(
        sweep, [table], console=Console(file=terminal, width=columns, force_terminal=True, color_system=None)
    )
    print_comparison(sweep, [table], console=Console(file=file, width=columns))
    lines = terminal.getvalue().split("Best on")[0].splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in terminal.getvalue()
    head = lines[: next(number for number, line in enumerate(lines) if "───" in line)]
    words = " ".join(head).split()
    shown = [name for name in table.metrics if set(name.split("/")[1].split("_")) <= set(words)]
    assert shown == list(table.metrics[: len(shown)])
    assert len(shown) == {80: 4, 120: 5}[columns]
    said = "1 more column in a wider terminal, with --html or --json: test/linear_calibration_error"
    assert (said in " ".join(terminal.getvalue().split())) == (columns == 80)
    assert "80.00 ± 80.00  80.00 ± 80.00" in file.getvalue()
    assert sum(line.rstrip().endswith("finished") for line in file.getvalue().splitlines()) == 4


def test_a_mean_that_is_undefined_has_no_interval() -> None:
    """One seed's metric is NaN: an interval of the other two would stand beside no mean."""
    sweep, found = seeded({0.1: [0.5, 0.6, math.nan], 0.2: [0.7, 0.9, 0.8]})
    lost = next(one for one in sweep.trials if (one.config["temperature"], one.config["seed"]) == (0.1, 2))
    undefined = TrialResult("finished", {"val/knn_top1": math.nan}, 1, 1.0)
    (table,) = compare(sweep, lambda entry: undefined if entry.trial_id == lost.trial_id else found[entry.trial_id])
    row = table.settings[-1]
    assert len(row.values("val/knn_top1")) == 3
    assert row.interval("val/knn_top1") is None
    outputs = SimpleNamespace(of_row=lambda row, metric: pytest.fail("read for nothing"))
    cell = ComparisonCells(outputs).of(row, "val/knn_top1")  # type: ignore[arg-type]
    assert (cell.seeds, cell.images) == (None, None)
    stream = io.StringIO()
    print_comparison(sweep, [table], console=Console(file=stream, width=200))
    assert "undefined ±" not in stream.getvalue()

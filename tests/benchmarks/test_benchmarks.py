"""What the benchmarks make of what they measured: ratios, goals, exponents, counted operations; nothing is timed."""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import check, gpu, speed
from benchmarks.harness.arithmetic import counted, grid_hours, peak_of, step_flops, thesis_trials, view_flops
from benchmarks.harness.chart import draw_growth, draw_rows
from benchmarks.harness.machine import OtherProcesses
from benchmarks.harness.measurement import BenchmarkRow, CostGrowth, PairedTimings, PlannedMeasurement, beside, exponent
from benchmarks.harness.steps import TrialSteps, bare_step, made_trial
from benchmarks.rows import views
from benchmarks.rows.two_workers import make_local
from trainables.config import TrialConfig
from trainables.models.batch_norm import GlobalBatchNorm
from trainables.models.simclr_model import SimCLR

CORES = os.cpu_count() or 1
CPU = torch.device("cpu")
TINY: dict[str, Any] = {"encoder": "resnet18", "image_size": 40, "batch_size": 4}


def row(ratio: float, goal: float | None, *, at_most: bool) -> BenchmarkRow:
    return BenchmarkRow("ours", ratio, 1.0, "s", "theirs", ratio, (ratio, ratio), goal, at_most)


def test_both_are_called_in_turns_and_compared_turn_by_turn() -> None:
    calls: list[str] = []
    took = beside(lambda: calls.append("a"), lambda: calls.append("b"), turns=3, least_seconds=0.0)
    assert calls == ["a", "b", "a", "b", *["a", "b"] * 3]  # warmed up, looked at once, then timed
    assert len(took.ours) == len(took.peer) == 3


def test_a_ratio_is_the_median_over_turns_whatever_moods_the_machine_has() -> None:
    assert PairedTimings((1.0, 10.0, 3.0), (2.0, 20.0, 1.0)).ratio == 0.5
    assert PairedTimings((1.0, 10.0, 3.0), (2.0, 20.0, 1.0)).rates(4.0).ratio == 2.0
    assert PairedTimings((2.0,), (4.0,)).rates(10.0, 30.0) == PairedTimings((5.0,), (7.5,))


@pytest.mark.parametrize(
    ("ratio", "at_most", "met", "margin"),
    [(1.0, True, True, 1.5), (3.0, True, False, 0.5), (3.0, False, True, 2.0), (0.75, False, False, 0.5)],
)
def test_a_goal_is_met_from_its_side(ratio: float, at_most: bool, met: bool, margin: float) -> None:
    made = row(ratio, 1.5, at_most=at_most)
    assert made.met is met
    assert made.margin == pytest.approx(margin)
    assert row(ratio, None, at_most=at_most).met is None


def test_only_what_is_half_as_good_as_its_goal_fell_behind() -> None:
    kept = [row(2.9, 1.5, at_most=True), row(0.76, 1.5, at_most=False), row(9.0, None, at_most=True)]
    fallen = [row(3.1, 1.5, at_most=True), row(0.74, 1.5, at_most=False)]
    assert check.behind([*kept, *fallen]) == fallen


def test_a_row_says_when_others_were_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = iter([(10.0, 5.0, 0.0), (10.0 + 0.5 * CORES, 5.25, 1.0), (0.0, 0.0, 0.0), (0.5 * CORES, 0.5 * CORES, 1.0)])
    monkeypatch.setattr(OtherProcesses, "_now", staticmethod(lambda: next(clocks)))
    measurement = PlannedMeasurement("ours", "theirs", lambda: PairedTimings((1.0, 1.0), (1.0, 1.0)))
    assert measurement.row().note == f"others had {0.5 - 0.25 / CORES:.0%} of the cores"
    assert measurement.row().note == ""


def test_the_exponent_of_a_power_law_is_its_power() -> None:
    assert exponent([(float(n), 3.0 * n**1.7) for n in (1, 2, 5, 40)]) == pytest.approx(1.7)


def test_results_read_back_are_the_same_and_new_ones_take_the_place_of_old_ones(tmp_path: Path) -> None:
    measurement = PlannedMeasurement(
        "ours", "theirs", lambda: PairedTimings((1.0, 3.0, 2.0), (1.0, 1.0, 1.0)), goal=1.5
    )
    growth = CostGrowth("cost", "images", "seconds", [(1.0, 2.0), (2.0, 4.0)], 1.1)
    found = {
        "machine": {"date": "2026-01-01"},
        "rows": [vars(measurement.row()) | {"met": False}],
        "growth": [vars(growth) | {"exponent": 1.0}],
    }
    text = json.loads(json.dumps(found))
    rows, growths = speed.rows_of(text)
    assert rows[0].ratio == 2.0
    assert rows[0].spread == (1.0, 3.0)
    assert growths[0].exponent == pytest.approx(1.0)
    newer = {"machine": {"date": "later"}, "rows": [{**found["rows"][0], "ratio": 7.0}], "growth": []}
    both = speed.merged(text, newer)
    assert [each["ratio"] for each in both["rows"]] == [7.0]
    assert both["growth"] == text["growth"]
    by_epochs = {**text["growth"][0], "work": "epochs"}
    assert speed.merged(text, {**newer, "growth": [by_epochs]})["growth"] == [*text["growth"], by_epochs]
    draw_rows(rows, "a machine", tmp_path / "rows.png")
    draw_growth(growths, tmp_path / "growth.png")
    assert (tmp_path / "rows.png").stat().st_size > 5000
    assert (tmp_path / "growth.png").stat().st_size > 5000


@pytest.mark.parametrize("encoder", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
@pytest.mark.parametrize("side", [64, 120])
def test_counted_operations_are_those_that_torch_counts(encoder: str, side: int) -> None:
    config = TrialConfig.parse({"dataset": "digits", "encoder": encoder, "image_size": side, "batch_size": 2})
    model = SimCLR(config, 200).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    assert view_flops(config, 200) == counter.get_total_flops()
    assert step_flops(config, 200) == 3 * 2 * 2 * counter.get_total_flops()


def test_the_thesis_grid_is_counted_in_full() -> None:
    trials = list(thesis_trials())
    assert len(trials) == 16
    assert counted()["flop"] == pytest.approx(1.0e18, rel=0.05)
    images = sum(
        trial.epochs * {"tiny_imagenet": 100_000, "bigearthnet_v1": 109_830}[trial.dataset] for trial in trials
    )
    assert grid_hours(lambda trial: 1000.0) == pytest.approx(images / 1000 / 3600)


def test_peaks_are_known_by_a_part_of_the_name() -> None:
    assert peak_of("NVIDIA H100 80GB HBM3", "bf16") == 989e12
    assert peak_of("NVIDIA H100 PCIe", "bf16") == 756e12
    assert peak_of("NVIDIA H200", "tf32") == 494.5e12
    assert peak_of("NVIDIA GeForce RTX 3060", "bf16") is None


def test_the_bare_step_is_of_as_many_views_as_the_trial_has(tmp_path: Path) -> None:
    trial = made_trial(tmp_path, CPU, **TINY)
    before = [weight.clone() for weight in trial.model.parameters()]
    with FlopCounterMode(display=False) as ours:
        TrialSteps(trial)()
    with FlopCounterMode(display=False) as bare:
        bare_step(trial)()
    assert any(not torch.equal(old, new) for old, new in zip(before, trial.model.parameters(), strict=True))
    assert (
        0.9 < bare.get_total_flops() / ours.get_total_flops() < 1.0
    )  # projector, probe and loss are the trial's alone


def test_batch_norm_made_local_is_torchs() -> None:
    ours, torchs = GlobalBatchNorm(3), nn.BatchNorm2d(3)
    values = torch.randn(4, 3, 5, 5)
    make_local(nn.Sequential(ours))
    assert torch.equal(ours(values), torchs(values))
    assert torch.equal(ours.running_var, torchs.running_var)  # unbiased, as ours is not


def test_the_check_needs_no_lightly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightly", None)
    importlib.reload(views)
    importlib.reload(check)
    assert len(check.measurements()) == 4
    with pytest.raises(ImportError):
        views.lightly_transform(64)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="error: torch sees no GPU here; --device cpu --quick"):
        gpu.main()


@pytest.mark.slow
def test_every_path_of_the_gpu_benchmark_runs_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    found = gpu.run(CPU, quick=True, minutes=8.0, only="")
    assert {(case["encoder"], case["precision"]) for case in found["cases"]} == {
        (encoder, precision) for encoder in ("resnet18", "resnet50") for precision in ("bf16", "fp32")
    }
    assert set(found["thesis"]["grid_hours"]) == {"bf16", "fp32"}
    assert "conv" in "\n".join(found["profile"])
    json.dumps(found)
    assert "the thesis' grid in bf16" in capsys.readouterr().out

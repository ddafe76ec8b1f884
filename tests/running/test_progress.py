"""What a person sees while trials run: estimates that are measured, and a table that fits the terminal."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from sweep.planning.resources import TrialShape
from sweep.records.status import LiveTrial
from sweep.records.sweep_record import TrialEntry
from sweep.running.progress import ProgressDisplay
from sweep.running.progress_bar import ProgressBar
from sweep.running.trials_table import draw_trials, shortened_name, shown_columns
from sweep.scheduling.task import TrialTask
from trainables.config import TrialConfig
from trainables.storage.trial_records import AttemptRecord, EpochRecord

METRICS = {
    "train/contrastive_loss": 4.567,
    "train/contrastive_accuracy": 0.98765,
    "train/supervised_accuracy": 0.87654,
    "val/top1": 0.76543,
    "val/linear_balanced_accuracy": 0.65432,
    "train/images_per_second": 12345.6,
    "train/gpu_memory_gib": 23.4,
}


def entry(number: int, *, epochs: int) -> TrialEntry:
    config = TrialConfig(dataset="digits", epochs=epochs, batch_size=10).model_dump(mode="json")
    return TrialEntry(
        trial_id=f"{number:012x}",
        name=f"trial-{number}",
        stage=1,
        baseline=None if epochs else "untrained",
        config=config,
        stands_for={},
        steps=10 * epochs,
    )


def task_of(one: TrialEntry) -> TrialTask:
    return TrialTask(one.trial_id, one.name, one.config, "/store", "aa", "/files", TrialShape(1, 1, use_gpu=False))


def epoch(number: int, seconds: float) -> EpochRecord:
    return EpochRecord(epoch=number, time_ms=1, seconds=seconds, metrics={})


def test_time_left_is_measured_and_not_guessed_from_a_baseline() -> None:
    progress = ProgressDisplay(io.StringIO(), "s", "val/top1", as_json=True)
    baseline, first, second = entry(0, epochs=0), entry(1, epochs=10), entry(2, epochs=10)
    progress.planned([baseline, first, second])
    for one in (baseline, first):
        progress.started(task_of(one), AttemptRecord(number=1, sweep="s", started_ms=1), [])
    progress.epoch(task_of(baseline), epoch(0, 9.0), durable=True)
    progress.finished(task_of(baseline))
    assert progress.left_seconds() is None, "a baseline says nothing of a training"
    progress.epoch(task_of(first), epoch(1, 6.0), durable=True)
    assert progress.left_seconds() == pytest.approx(9 * 6.0 + 10 * 6.0)
    progress.epoch(task_of(first), epoch(2, 4.0), durable=True)
    assert progress.left_seconds() == pytest.approx(8 * 5.0 + 10 * 5.0)
    progress.started(task_of(second), AttemptRecord(number=1, sweep="s", started_ms=1), [])
    assert progress.left_seconds() == pytest.approx(50.0), "two at once: the longer one decides"


def test_the_bar_counts_an_interrupted_trial_as_left(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = entry(1, epochs=10), entry(2, epochs=10)
    with ProgressBar("s", "val/top1") as progress:
        progress.planned([first, second])
        progress.finished(task_of(first))
        progress.stopped(task_of(second), "interrupted", for_good=False)
    assert "1 of 2 trials" in capsys.readouterr().err.rpartition("\r")[2]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_table_of_running_trials_cuts_no_number(width: int) -> None:
    long = "bigearthnet_v2-b2048-t0.25-e400-crop_area_0.08_1-jitter_strength_0.5-s"
    trials = [
        LiveTrial(
            trial_id=f"{number:012x}",
            name=f"{long}{number}",
            state="interrupted" if number else "running",
            epoch=100,
            epochs=400,
            metrics=METRICS,
            attempt=2,
            left_seconds=12360.0,
            note="",
        )
        for number in range(3)
    ]
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=False)
    console.print(draw_trials(trials, {"running": 1}, shown_columns("val/linear_balanced_accuracy"), 3600.0))
    drawn = file.getvalue()
    lines = drawn.splitlines()
    assert max(map(cell_len, lines)) <= width
    for number, trial in enumerate(trials):
        (line,) = [line for line in lines if f"s{number}" in line]
        assert {"100/400", trial.state, "65.43", "3 h 26 min"} <= {cell.strip() for cell in line.split("│")}
    assert "…" in drawn or width == 200
    assert ("12,346" in drawn) == (width >= 120)


def test_names_keep_their_ends() -> None:
    assert shortened_name("eurosat-b256-t0.25-s0", 30) == "eurosat-b256-t0.25-s0"
    assert shortened_name("eurosat-b256-t0.25-s0", 12) == "euro…0.25-s0"

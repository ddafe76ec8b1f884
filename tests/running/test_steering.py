"""Real sweeps that are stopped, resumed, extended and watched, from other processes and by signals."""

import json
import math
import signal
import sys
from pathlib import Path

import pytest
from support.sample_data import write_bigearthnet, write_tiny_imagenet
from support.small_trials import LABELS
from support.sweep_shell import ALONE, GRID, Shell, rest, until, until_the_lease_tells_an_epoch

from sweep.comparison.dataset_report import sweep_tables
from trainables.data.preparing.prepare import prepare

TWO_PLACES = ("epoch 1/1", "epoch 2/3")
"""Output at which a sweep is killed: in an epoch, and in the longer trainings of its second stage."""
FIVE_PLACES = ("started", "epoch 1/1", "  finished\n", "epoch 1/2", "epoch 2/3")
"""The same, also as it begins and between two trials."""


@pytest.mark.slow
def test_a_budget_ends_in_good_order_and_more_of_it_goes_on(shell: Shell) -> None:
    space = shell.space(GRID)
    on_end = f'{sys.executable} -c \'import sys; open("summary.json", "w").write(sys.stdin.read())\''
    out = shell("run", "--space", space, "--trials", "1", "--on-end", on_end, *ALONE, code=3)
    assert "budget of 1 trials reached; 2 trials are left" in out
    assert "python -m sweep.run --resume small" in out
    summary = json.loads((shell.folder / "summary.json").read_text())
    assert summary["trials"] == {"finished": 1, "waiting": 2}
    assert summary["status"] == "stopped"

    facts = json.loads(shell("status", "--json"))
    assert (facts["sweep"], facts["running"], facts["counts"]) == ("small", False, {"finished": 1, "waiting": 2})

    out = shell("run", "--resume", "small", "--trials", "2", "--json", *ALONE, code=3)
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert [event["event"] for event in events if event.get("trial", "").startswith("digits-b32-t0.1")] == ["reused"]
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [1, 2, 3]
    assert events[-1]["trials"] == {"finished": 2, "waiting": 1}

    (shell.folder / "space.py").write_text((shell.folder / "space.py").read_text().replace("0.1, 0.2, 0.5", "0.1, 0.3"))
    out = shell("run", "--resume", "small", "--space", space, code=2)
    assert "error: - digits-b32-t0.2-e3-s0" in out
    assert "error: + digits-b32-t0.3-e3-s0" in out
    out = shell("run", "--resume", "small", "--space", space, "--extend", *ALONE)
    assert set(shell.trials("small")) == {"digits-b32-t0.1-e3-s0", "digits-b32-t0.3-e3-s0"}


@pytest.mark.slow
@pytest.mark.parametrize("signs", [TWO_PLACES, pytest.param(FIVE_PLACES, marks=pytest.mark.long)])
def test_the_thesis_grid_ends_as_ever_though_it_is_killed_at_several_places(
    tmp_path: Path, mlflow_database: Path, signs: tuple[str, ...]
) -> None:
    data, sources = tmp_path / "data", tmp_path / "sources"
    prepare("tiny_imagenet", source=write_tiny_imagenet(sources, images=48), root=data)
    labels = [*LABELS, ["Non-irrigated arable land"]] * 48
    prepare("bigearthnet_v1", source=write_bigearthnet(sources, labels), root=data, fraction=1.0)
    shell = Shell(tmp_path, data, mlflow_database)
    command, name = ("--space", "thesis_grid", "--smoke", *ALONE), "thesis_grid-smoke"
    for sign in signs:
        with shell.background("run", *command) as running:
            until(running, sign)
            running.kill()
            running.wait()
        assert "its process is gone" in shell("status", name)
        command = ("--resume", name, *ALONE)
    assert "SMOKE RUN" in shell("run", *command)
    assert shell.storage.record(name).smoke
    trials = shell.trials(name)
    assert len(trials) == 18  # 16 settings of the thesis, and an untrained encoder for each data set
    for files in trials.values():
        final = files.final()
        assert final is not None
        epochs = [record.epoch for record in files.epochs()]
        assert epochs == (list(range(1, epochs[-1] + 1)) if epochs[-1] else [0])
        attempts = files.attempts()
        assert {attempt.outcome for attempt in attempts[:-1]} <= {"interrupted"}
        assert attempts[-1].outcome == "finished"
    assert sum(len(files.attempts()) for files in trials.values()) > len(trials), "some were cut off"

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/.sweep/mlflow.db")
    experiment = client.get_experiment_by_name("sweep")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 1 + len(trials)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["sweep.smoke"] for run in runs} == {"true"}
    by_name = {run.info.run_name: run for run in runs}
    for trial, files in trials.items():
        metrics = by_name[trial].data.metrics
        last = {name: value for name, value in files.epochs()[-1].metrics.items() if math.isfinite(value)}
        assert {name: metrics[name] for name in last} == pytest.approx(last)
        steps = [metric.step for metric in client.get_metric_history(by_name[trial].info.run_id, "test/knn_top1")]
        assert len(steps) == len(set(steps))


@pytest.mark.slow
def test_a_sweep_is_stopped_watched_and_refused_from_another_terminal(shell: Shell) -> None:
    space = shell.space(GRID)
    with shell.background("run", "--space", space, *ALONE, "--set", "epochs=4000") as running:
        until(running, "epoch 1/4000")
        until_the_lease_tells_an_epoch(shell.storage, "small")
        facts = json.loads(shell("status", "small", "--json"))
        assert facts["running"]
        assert facts["counts"] == {"running": 1, "waiting": 2}
        assert facts["trials"][0]["epoch"] >= 1
        assert "is running already" in shell("run", "--space", space, "--set", "epochs=4000", code=2)
        assert "stops for good after its epoch" in shell("stop", "small", "--trial", "digits-b32-t0.5-e4000-s0")
        assert "stops after the running epochs" in shell("stop", "small")
        out = rest(running)
        assert running.returncode == 3
    assert "asked to stop; 3 trials are left" in out
    first, _, last = shell.trials("small").values()
    assert first.attempts()[-1].outcome == "interrupted"
    assert first.checkpoint_epochs()[-1] == first.attempts()[-1].last_epoch
    assert last.epochs() == []
    assert list(shell.storage.stopped("small").values()) == ["asked to stop"]
    assert "small: isn't running" in shell("stop", "small", code=2)


@pytest.mark.slow
def test_ctrl_c_leaves_checkpoints(shell: Shell) -> None:
    space = shell.space(GRID)
    with shell.background("run", "--space", space, "--set", "epochs=400") as running:
        until(running, "epoch 1")
        running.send_signal(signal.SIGINT)
        out = rest(running)
        assert running.returncode == 130, out
    assert "interrupted; 3 trials are left" in out
    begun = [files for files in shell.trials("small").values() if files.attempts()]
    assert begun
    for files in begun:
        assert files.attempts()[-1].outcome == "interrupted"
        assert files.checkpoint_epochs()[-1] == files.attempts()[-1].last_epoch


@pytest.mark.slow
def test_two_sweeps_at_once_share_trials_and_train_none_twice(shell: Shell) -> None:
    space = shell.space(GRID)
    command = ("run", "--space", space, *ALONE)
    with shell.background(*command, "--name", "one") as one, shell.background(*command, "--name", "two") as two:
        outs = [rest(one), rest(two)]
        assert (one.returncode, two.returncode) == (0, 0), outs
    for name in ("one", "two"):
        for files in shell.trials(name).values():
            assert [attempt.outcome for attempt in files.attempts()][-1] == "finished"
            trained = [attempt for attempt in files.attempts() if attempt.first_epoch is not None]
            assert len(trained) == 1, "nothing is trained twice"
    out = shell(*command, "--name", "three", "--no-reuse")
    assert out.count("epoch 3/3") == 3
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{shell.folder}/.sweep/mlflow.db")
    experiment = client.get_experiment_by_name("sweep")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3 * 4
    linked = [run for run in runs if run.data.tags.get("sweep.reused_from")]
    assert len(linked) == 3
    for run in linked:
        assert client.get_run(run.data.tags["sweep.reused_run"]).data.metrics == run.data.metrics


@pytest.mark.slow
def test_a_failed_trial_leaves_its_neighbour_alone_and_waits_until_it_is_asked_for(shell: Shell) -> None:
    space = shell.space('Stage("grid", (Grid(axes={"base_learning_rate": (1.0, 1e30)}),))')
    out = shell("run", "--space", space, code=1)
    assert "FAILED, non_finite_loss" in out
    assert "Traceback" not in out
    assert sorted(files.final() is None for files in shell.trials("small").values()) == [False, True]
    out = shell("run", "--resume", "small", code=1)
    assert "failed before (non_finite_loss); --retry-failed tries it again" in out
    assert "started" not in out
    out = shell("run", "--resume", "small", "--retry-failed", code=1)
    assert "started, attempt 2" in out


@pytest.mark.slow
def test_a_learning_search_under_halving_goes_on_with_its_history(shell: Shell) -> None:
    """Two seeds a setting; its process is killed in the middle, and the sweep resumed."""
    stage = (
        'Stage("search", (Grid(axes={"temperature": (0.9,)}, required=True),), '
        'Search({"temperature": Range(0.05, 0.8, log=True)}, settings=6, method="optuna"), '
        'Halving("train/contrastive_accuracy", grace=1, reduction=2))'
    )
    space = shell.space(stage)
    path = shell.folder / space
    path.write_text(path.read_text().replace("baselines=(),", "baselines=(), seeds=(0, 1),"))
    # Killed after halving has ended a setting, and amid another whose seeds wait for each other.
    with shell.background("run", "--space", space, *ALONE) as running:
        until(running, "halving: ")
        until(running, "epoch 1/3")
        running.kill()
        running.wait()
    ended = shell.storage.stopped("small")
    assert ended
    first = {entry.setting: entry.config["temperature"] for entry in shell.storage.sweep("small").trials}  # type: ignore[union-attr]
    out = shell("run", "--resume", "small", *ALONE)
    record = shell.storage.sweep("small")
    assert record is not None
    again = {entry.setting: entry.config["temperature"] for entry in record.trials}
    assert {number: again[number] for number in first} == first
    assert set(again) == {None, 0, 1, 2, 3, 4, 5}
    stopped = shell.storage.stopped("small")
    assert stopped.items() >= ended.items()
    assert all(why.startswith("halving: ") for why in stopped.values())
    for number in again:
        own = [entry for entry in record.trials if entry.setting == number]
        ends = {(entry.trial_id in stopped, shell.storage.trial_of(entry).epochs()[-1].epoch) for entry in own}
        assert len(own) == 2
        assert len(ends) == 1, "the seeds of a setting go on or end together"
    (table,) = sweep_tables(record, shell.storage)
    halved = {trial.entry.trial_id for row in table.halved for trial in row.trials}
    assert halved == set(stopped)
    assert all(row.halved in (1, 2) and len(row.trials) == 2 for row in table.halved)
    assert all(len(row.finished) == 2 for row in table.settings)
    assert not halved & {trial.entry.trial_id for row in table.settings for trial in row.trials}
    assert len(table.settings) + len(table.halved) == 7
    (shown,) = json.loads(shell("compare", "small", "--json"))["comparisons"][0]["tables"]
    assert [row["ended_at_epoch"] for row in shown["halved"]] == [row.halved for row in table.halved]
    for entry in record.trials:
        files = shell.storage.trial_of(entry)
        assert (files.final() is None) == (entry.trial_id in stopped)
        assert files.checkpoint_epochs(), "halving keeps checkpoints"
    assert "stopped" in out
    assert "ended early by halving" in shell("compare", "small")

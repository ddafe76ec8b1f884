"""Evaluations: their plan is pure, and a real one of a finished sweep gives rows that the comparison reads."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support.paths import ROOT
from support.ports import free_port
from typer.testing import CliRunner

from sweep.__main__ import app
from sweep.comparison.dataset_report import dataset_reports
from sweep.comparison.ranking import compare
from sweep.planning.evaluation_space import (
    FINE_TUNED,
    FROZEN,
    SCRATCH,
    EvaluatedData,
    EvaluatedWeights,
    EvaluationDesign,
    evaluation_space,
)
from sweep.planning.pinned_weights import with_weights
from sweep.planning.plan import make_plan
from sweep.planning.trial import DataSize, PlannedTrial
from sweep.records.sweep_record import SweepRecord, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import TrialResult, result_of
from sweep.report.linked_pages import write_page
from sweep.running import session
from sweep.running.evaluation_request import EvaluationRequest, label_fractions, shares_of_labels
from sweep.running.run_location import RunLocation
from sweep.space import read_space, written
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.weights.initial_weights import InitialWeights

PRETRAINED = TrialConfig(
    dataset="d", encoder="resnet18", batch_size=256, epochs=20, warmup_epochs=4, base_learning_rate=2.0
)


def asked(**changes: object) -> EvaluationDesign:
    files = tuple(InitialWeights(f"/w/{seed}.pt", "d-b256", f"{seed:016d}") for seed in range(3))
    fields = {"target": "classes", "positive": ()}
    values = {
        "sweep": "s",
        "config": PRETRAINED,
        "weights": (EvaluatedWeights("d-b256", files, {}),),
        "data": (EvaluatedData("d", 900, False, fields),),
        "label_fractions": (0.1, 1.0),
        "draws": 3,
        "epochs": 10,
        "learning_rate": 0.6,
        "changes": {},
    }
    return EvaluationDesign(**{**values, **changes})  # type: ignore[arg-type]


def planned(evaluation: EvaluationDesign, validation: int = 0) -> list[PlannedTrial]:
    space = read_space(json.loads(json.dumps(written(evaluation_space(evaluation)))))
    assert space == read_space(written(space))
    size = DataSize(1000, 100, 10, "f", "prepared", validation)
    plan = make_plan(space, assignments={}, size_of=lambda name: size)
    return [trial for trial in plan.trials if trial.baseline is None]


def test_every_method_share_and_draw_is_a_trial() -> None:
    trials = planned(asked())
    counts = {method: sum(trial.method == method for trial in trials) for method in (FROZEN, FINE_TUNED, SCRATCH)}
    assert counts == {FROZEN: 6, FINE_TUNED: 6, SCRATCH: 6}
    assert len({trial.name for trial in trials}) == 18
    tuned = [trial.config for trial in trials if trial.method == FINE_TUNED]
    assert {config.base_learning_rate for config in tuned} == {0.6}
    assert {config.warmup_epochs for config in tuned} == {2.0}
    assert {config.batch_size for config in tuned} == {16, 128}
    assert {config.validation_fraction for config in tuned} == {0.1}
    # Each replicate starts from another pretraining's weights, and buys other labels.
    starts = {(config.seed, config.initial_weights, config.label_draw) for config in tuned if config.label_fraction < 1}
    assert len({start for _, start, _ in starts}) == 3
    assert {(seed, draw) for seed, _, draw in starts} == {(0, 0), (1, 1), (2, 2)}


def test_one_file_with_all_labels_has_no_false_replicates() -> None:
    one = EvaluatedWeights("imagenet", (InitialWeights("/i.pt", "imagenet", "0" * 16),), {"stem": "large"})
    frozen = [trial.config for trial in planned(asked(weights=(one,))) if trial.method == FROZEN]
    assert [config.label_fraction for config in frozen] == [0.1, 0.1, 0.1, 1.0]
    assert {config.stem for config in frozen} == {"large"}


def test_a_transfer_takes_the_data_sets_own_question() -> None:
    data = EvaluatedData("e", 500, True, {"target": "positive", "positive": ("farmland",), "wanted_specificity": 0.9})
    space = evaluation_space(asked(data=(data,)))
    assert space.objective.metric == "val/linear_balanced_accuracy"
    assert "test/linear_sensitivity" in space.columns
    (config, *_) = (trial.config for trial in planned(asked(data=(data,)), validation=50))
    assert (config.dataset, config.target, config.validation_fraction) == ("e", "positive", 0.0)


def test_baselines_say_what_those_of_their_kind_differ_in() -> None:
    narrow = EvaluatedWeights("narrow", (InitialWeights("/n.pt", "narrow", "1" * 16),), {"encoder": "resnet10"})
    space = evaluation_space(asked(weights=(asked().weights[0], narrow)))
    plan = make_plan(space, assignments={}, size_of=lambda name: DataSize(1000, 100, 10, "f", "prepared"))
    record = describe(plan, name="e", command="", commit=None, versions={})
    (table,) = compare(record, lambda entry: TrialResult("waiting", {}, 0, 0.0))
    labels = [row.label for row in table.baselines]
    assert len(set(labels)) == len(labels) == 12
    assert any(label.startswith("untrained encoder") and "encoder resnet10" in label for label in labels)
    assert "raw pixels, label fraction 1" in labels
    assert set(table.axes) >= {"method", "initial_weights", "label_fraction"}


def test_weights_of_a_space_are_pinned(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    fresh = EvaluatedWeights("w", (InitialWeights(str(path), "w"),), {})
    (stage,) = with_weights(evaluation_space(asked(weights=(fresh,)))).stages
    texts = {point["initial_weights"] for grid in stage.grids for point in grid.points if "initial_weights" in point}
    (text,) = texts
    assert InitialWeights.parse(text) == fresh.files[0].pinned()


@pytest.fixture(scope="module")
def evaluated(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path_factory: pytest.TempPathFactory
) -> SweepStorage:
    """A copy of the sweep of conftest.py, evaluated by its own command."""
    folder = tmp_path_factory.mktemp("evaluated") / "storage"
    shutil.copytree(swept[1].storage.root, folder)
    command = [sys.executable, "-m", "sweep.evaluate", "mine", "--storage", str(folder)]
    command += ["--labels", "0.2,1", "--epochs", "1", "--draws", "2", "--max-concurrent", "1"]
    environment = {**os.environ, "SWEEP_DATA": str(store.path.parent), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return SweepStorage(folder)


def test_two_encoders_of_one_name_and_two_names_of_one_file_are_refused(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    for number in (0, 1):
        torch.save({"conv1.weight": torch.full((1, 1), float(number))}, tmp_path / f"{number}.pt")
    first, second = (f"{tmp_path}/{number}.pt" for number in (0, 1))

    def asked_for(*weights: str) -> EvaluationDesign:
        return EvaluationRequest(weights=weights, epochs=0).of_sweep(swept[1], "mine")

    with pytest.raises(BadInputError, match="--weights a: is the name of two encoders; give one another name"):
        asked_for(f"a={first}", f"a={second}")
    with pytest.raises(BadInputError, match="--weights b: is the same file as a; leave one out"):
        asked_for(f"a={first}", f"b={first}")
    assert len(asked_for(f"a={first}", f"a={first},stem=large", f"b={second}").weights) == 4


@pytest.mark.slow
def test_an_evaluation_is_a_sweep_of_its_own(evaluated: SweepStorage, tmp_path: Path) -> None:
    record = evaluated.record()
    assert record.name.endswith("-evaluated")
    (table,) = compare(record, lambda entry: result_of(evaluated.trial_of(entry)))
    assert table.axes == ("method", "label_fraction")
    rows = {(row.config["method"], row.config["label_fraction"]): row for row in table.settings}
    assert set(rows) == {(method, share) for method in (FROZEN, FINE_TUNED, SCRATCH) for share in (0.2, 1.0)}
    for (method, _), row in rows.items():
        assert all(trial.result.status == "finished" for trial in row.trials)
        assert (row.mean("test/top1") is None) == (method == FROZEN)
        for metric in ("test/linear_top1", "test/knn_top1", "test/knn200_top1", "test/centroid_top1"):
            assert 0.0 <= (row.mean(metric) or 0.0) <= 1.0
    assert {row.config["label_fraction"] for row in table.baselines} == {0.2, 1.0}
    assert {len(row.told) for row in table.baselines} == {1}
    page = write_page(dataset_reports(record, evaluated), evaluated, tmp_path, pictures=False).read_text()
    assert "Why positives are missed" in page
    assert "At probability one half, frozen finds" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--labels", "0,2"], "--labels 0,2: give shares above 0"),
        (["--weights", "imagenet"], "give NAME=FILE"),
        (["--weights", "i=/missing.pt"], "--weights 'i=/missing.pt': /missing.pt: no such file"),
        (["--trial", "nobody"], "--trial nobody: not in sweep"),
        (["--dataset", "nothing"], "nothing"),
        (["--dataset", "digit"], "not one of the known (digits"),
        (["--dataset", "digit"], "did you mean 'digits'?"),
        (["--labels", "0.5,0.5"], "--labels 0.5,0.5: give shares above 0 and up to 1, each once"),
        (["--dataset", "digits", "--dataset", "digits"], "--dataset digits: is given twice"),
        (["--epochs", "3", "--set", "epochs=5"], "--set epochs: the evaluation itself varies it; use --epochs"),
        (
            ["--learning-rate", "1", "--set", "base_learning_rate=3"],
            "--set base_learning_rate: --learning-rate is given",
        ),
        (["--learning-rate", "0"], "--learning-rate: must be above 0, got 0"),
        (["mine", "--name", "mine"], "--name mine: is the sweep that is evaluated"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(
    swept: tuple[SweepRecord, SweepStorage],
    store: ImageStore,
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    found = CliRunner().invoke(app, ["evaluate", "--storage", swept[1].storage.root, *arguments])
    assert found.exit_code != 0
    said = str(found.exception) if isinstance(found.exception, BadInputError) else found.output
    assert words in said
    assert swept[1].sweep_names() == ["mine"]


@pytest.mark.slow
def test_it_waits_for_a_cluster_as_a_sweep_does(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    locations: list[RunLocation] = []
    whole = session.SweepSession.__init__

    def noting(self: session.SweepSession, *arguments: Any) -> None:
        locations.append(arguments[-1])
        whole(self, *arguments)

    monkeypatch.setattr(session.SweepSession, "__init__", noting)
    shutil.copytree(swept[1].storage.root, tmp_path / "storage")
    place = ["--storage", str(tmp_path / "storage"), "--address", f"127.0.0.1:{free_port()}"]
    begun = time.monotonic()
    found = CliRunner().invoke(app, ["evaluate", "--epochs", "0", "--wait-cluster", "0.05", *place])
    assert "no Ray cluster answers there" in str(found.exception)
    assert time.monotonic() - begun > 3
    assert [one.again for one in locations] == [("mine",)], "the latest sweep would be the evaluation itself"


@pytest.mark.parametrize(
    ("train", "given", "epochs", "shares"),
    [
        (300, None, 5, (0.1, 1.0)),
        (900, None, 5, (0.01, 0.1, 1.0)),
        (50, None, 5, (1.0,)),
        (50, None, 0, (0.01, 0.1, 1.0)),
        (300, "0.05,1", 5, (0.05, 1.0)),
    ],
)
def test_small_data_sets_are_evaluated_with_the_shares_that_they_have(
    train: int, given: str | None, epochs: int, shares: tuple[float, ...]
) -> None:
    data = (EvaluatedData("trees", train, False, {}), EvaluatedData("large", 10_000, False, {}))
    assert shares_of_labels(given and label_fractions(given), data, trained=epochs > 0) == shares


def test_shares_are_sized_by_the_validation_fraction_that_is_set(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    train = store.info.splits["train"]

    def design(**changes: Any) -> EvaluationDesign:
        return EvaluationRequest(epochs=1, changes=changes).of_sweep(swept[1], "mine")

    own = design()
    assert own.data[0].train == own.config.max_train_images == 64
    assert design(max_train_images=40).data[0].train == 40
    assert design(validation_fraction=0.8, max_train_images=None).data[0].train == round(0.2 * train)
    assert design(max_train_images=None).label_fractions == (0.01, 0.1, 1.0)
    assert design(max_train_images=None, validation_fraction=0.97).label_fractions == (1.0,)


def test_an_evaluation_needs_a_validation_split(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    with pytest.raises(BadInputError, match=r"--set validation_fraction=0: penalties .* validation, and digits has no"):
        EvaluationRequest(epochs=0, changes={"validation_fraction": 0}).of_sweep(swept[1], "mine")


def test_a_share_that_buys_too_few_labels_is_refused_with_a_way_out() -> None:
    with pytest.raises(BadInputError, match=r"0\.01 of the 300 .* is 3, but .* give 0\.027 or more, or --epochs 0"):
        shares_of_labels((0.01, 1.0), (EvaluatedData("trees", 300, False, {}),), trained=True)

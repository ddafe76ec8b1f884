"""The report's value: computed once from the records, then only read."""

import os
import subprocess
import sys

import pytest
from support.paths import ROOT

from sweep.comparison import cells, classifier_curves
from sweep.comparison.dataset_report import dataset_reports
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.report.comparison_figures import comparison_figures
from sweep.report.csv_tables import comparison_rows, epoch_rows, trial_rows
from sweep.report.page_tables import pivot_rows, setting_rows
from sweep.statistics import intervals
from trainables.storage.trial_files import TrialFiles


def test_drawing_reads_the_value_alone(
    swept: tuple[SweepRecord, SweepStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = dataset_reports(*swept)

    def computed_again(*_: object, **__: object) -> None:
        raise AssertionError("drawing computes what the value has")

    for module, name in (
        (cells, "sampling_interval"),
        (classifier_curves, "sampling_interval"),
        (intervals, "image_interval"),
    ):
        monkeypatch.setattr(module, name, computed_again)
    for name in ("outputs", "epochs", "final", "attempts"):
        monkeypatch.setattr(TrialFiles, name, computed_again)
    names = [name for name, _, _ in comparison_figures(part)]
    assert {"ranking", "roc_linear", "precision_recall_linear", "calibration_linear"} <= set(names)
    assert len(setting_rows(part)) == len(list(comparison_rows(part))) == len(part.rows)
    assert len(list(trial_rows(part))) == len(part.trials)
    assert list(epoch_rows(part))
    assert pivot_rows(part) == []  # one axis has no table


def test_all_metrics_of_a_setting_come_from_one_reading(
    swept: tuple[SweepRecord, SweepStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, storage = swept
    read: list[tuple[str, str]] = []
    outputs = TrialFiles.outputs

    def noted(files: TrialFiles, split: str) -> object:
        read.append((files.storage.address(), split))
        return outputs(files, split)

    monkeypatch.setattr(TrialFiles, "outputs", noted)
    (part,) = dataset_reports(record, storage)
    assert len(part.table.metrics) > 2
    assert len(read) == len(set(read)), "an outputs file is read once while its setting is at hand"


def test_a_missing_trial_has_no_outputs(swept: tuple[SweepRecord, SweepStorage]) -> None:
    record, storage = swept
    assert TrialOutputs(storage).of_trial(record.trials[-1], "test/top1") is None


def test_data_frames_and_choosing_a_trial_draw_nothing(swept: tuple[SweepRecord, SweepStorage]) -> None:
    record, storage = swept
    place = str(storage.storage.root)
    code = (
        "import sys\n"
        "from sweep.compare import load\n"
        "from sweep.deployment.trial_choice import find_trial\n"
        "from sweep.records.sweep_storage import SweepStorage\n"
        f"assert len(load({record.name!r}, storage={place!r}).settings) == 3\n"
        f"print(find_trial(SweepStorage({place!r}), {record.name!r}).trial.entry.name)\n"
        "assert not {'matplotlib', 'plotly', 'mlflow', 'ray'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {entry.name for entry in record.trials}

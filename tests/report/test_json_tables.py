"""The comparison as JSON: what the tables say, for other programs."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweep.compare import main as compare
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import result_of


def no_constant(name: str) -> float:
    raise AssertionError(f"{name} is no JSON")


@pytest.fixture
def value(swept: tuple[SweepRecord, SweepStorage], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The value of the sweep, in which one metric of a trial is undefined."""
    record, storage = swept
    shutil.copytree(storage.storage.root, tmp_path / "storage")
    entry = next(entry for entry in record.trials if entry.baseline is None)
    path = tmp_path / "storage" / "trials" / entry.folder / "epochs" / "000002.json"
    content = json.loads(path.read_text())
    content["metrics"] |= {"test/linear_sensitivity": math.nan}
    path.write_text(json.dumps(content))
    compare(["mine"], storage=str(tmp_path / "storage"), html=None, as_json=True)
    return json.loads(capsys.readouterr().out, parse_constant=no_constant)


def test_it_says_what_the_records_say(value: Any, swept: tuple[SweepRecord, SweepStorage]) -> None:
    record, storage = swept
    (comparison,) = value["comparisons"]
    (table,) = comparison["tables"]
    assert (comparison["sweeps"], comparison["objective"], table["axes"]) == (["mine"], "val/knn_top1", ["temperature"])
    trials = [trial for row in (*table["settings"], *table["baselines"]) for trial in row["trials"]]
    assert {trial["trial_id"] for trial in trials} == {entry.trial_id for entry in record.trials}
    results = {entry.trial_id: result_of(storage.trial_of(entry)) for entry in record.trials}
    for trial in trials:
        assert trial["metrics"].get("val/knn_top1") == results[trial["trial_id"]].metrics.get("val/knn_top1")
    assert [row["best"] for row in table["settings"]] == [True, False]
    whole = next(row for row in table["settings"] if row["finished"] == 2)
    own = [trial["metrics"]["val/knn_top1"] for trial in whole["trials"]]
    cell = whole["metrics"]["val/knn_top1"]
    assert cell["mean"] == pytest.approx(sum(own) / 2)
    assert cell["seeds"]["low"] <= cell["mean"] <= cell["seeds"]["high"]
    assert [row["baseline"] for row in table["baselines"]] == ["pixels"]
    assert table["sentences"][0].startswith("Best on validation: temperature")
    assert any(line.startswith("ranked by val/knn_top1") for line in comparison["notes"])
    assert value["not_comparable"] == []


def test_an_undefined_number_is_null(value: Any) -> None:
    (table,) = value["comparisons"][0]["tables"]
    assert None in [
        trial["metrics"].get("test/linear_sensitivity", 0.0) for row in table["settings"] for trial in row["trials"]
    ]

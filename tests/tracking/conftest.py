"""Fixtures of the tracking tests: a storage with MLflow's database, and the digits prepared in it."""

import shutil
from pathlib import Path

import pytest

from sweep.records.paths import tracking_database
from trainables.data.store_format import INFO_FILE
from trainables.data.store_info import LeakCounts, StoreInfo


@pytest.fixture
def storage(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "data"))
    shutil.copy(mlflow_database, tracking_database(tmp_path))
    return tmp_path


@pytest.fixture
def digits(storage: Path) -> StoreInfo:
    """A data set that is known here, and another one beside it."""
    info = StoreInfo(
        format_version=2,
        name="digits",
        data_set="digits",
        source="scikit-learn",
        image_size=(8, 8),
        channels=3,
        dtype="uint8",
        class_names=("0", "1"),
        multi_label=False,
        rules={},
        splits={"train": 6, "test": 4},
        class_counts={"train": (3, 3), "test": (2, 2)},
        rule_counts={},
        options={"fraction": 1.0},
        licence="BSD",
        notes=(),
        leaks=LeakCounts(identical=0, near_identical=0, neighbours=0, examples=()),
        corrupt=(),
        made="now",
        fingerprint="0123456789abcdef" * 4,
    )
    for name in ("digits", "other"):
        folder = storage / "data" / name
        folder.mkdir(parents=True)
        (folder / INFO_FILE).write_text(info.model_copy(update={"name": name}).model_dump_json())
    return info

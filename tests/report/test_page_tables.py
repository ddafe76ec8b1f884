"""Tables of the page: pivot tables, and a single setting."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.written_sweeps import space_of, write_sweep

from sweep.compare import main
from sweep.comparison.dataset_report import ReportRow
from sweep.comparison.pivots import PivotTable
from sweep.comparison.table import ComparedTrial, ComparisonRow
from sweep.records.trial_result import TrialResult
from sweep.report.page import DatasetSection
from sweep.report.page_tables import pivot_rows, setting_rows
from trainables.data.store import ImageStore


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("val/lidar", "LiDAR (validation split)"),
        ("test/knn_top1", "top-1 accuracy (nearest neighbours, test split) (%)"),
        ("test/linear_r2", "R2 (ridge regression, test split)"),
    ],
)
def test_only_pivot_tables_of_shares_are_in_percent(metric: str, title: str) -> None:
    pivot = PivotTable("temperature", "crop_area", "", {})
    part: Any = SimpleNamespace(sweep=SimpleNamespace(objective=metric), pivots={metric: [pivot]})
    assert [row["title"] for row in pivot_rows(part)] == [title]


def row_of(config: Mapping[str, Any], *trials: TrialResult) -> ReportRow:
    """Return a row of settings with made-up values."""
    entry: Any = SimpleNamespace(config={"epochs": 60, **config}, baseline=None, name="x", method="")
    row = ComparisonRow(tuple(ComparedTrial(entry, result) for result in trials), {})
    return ReportRow(row, "", {})


def test_an_unfinished_setting_says_what_became_of_its_trials() -> None:
    failed, stopped = TrialResult("failed", {}, 0, 1.0), TrialResult("interrupted", {}, 30, 1.0)
    finished = TrialResult("finished", {}, 60, 1.0)
    rows = [row_of({}, failed), row_of({}, stopped, finished), row_of({}, finished)]
    part: Any = SimpleNamespace(rows=rows, table=SimpleNamespace(axes=(), best=None))
    assert [(row["seeds"], row["status"]) for row in setting_rows(part)] == [
        ("0 of 1", "failed, epoch 0/60"),
        ("1 of 2", "1 interrupted, epoch 30/60; 1 finished"),
        ("1 of 1", ""),
    ]


def test_columns_of_text_are_aligned_to_the_left() -> None:
    finished = TrialResult("finished", {}, 60, 1.0)
    rows = [row_of({"bands": ["B04"], "temperature": value}, finished).row for value in (0.1, 0.5)]
    section: Any = SimpleNamespace(part=SimpleNamespace(table=SimpleNamespace(settings=rows, halved=())))
    assert [DatasetSection.is_text(section, axis) for axis in ("bands", "temperature")] == [True, False]


@pytest.mark.slow
def test_a_single_setting_stands_as_text_above_its_baselines_without_effects_of_axes(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, _ = write_sweep(space_of(1, seeds=1), tmp_path / "sweeps")
    main([record.name], storage=str(tmp_path / "sweeps"), html=tmp_path / "page", pictures=False)
    page = (tmp_path / "page" / "report.html").read_text()
    assert '<th scope="col" class="text">setting</th>' in page
    assert '<th scope="row" class="text" data-value="the setting">' in page
    assert '<p class="small">Nothing varies.</p>' in page
    assert "Effects of the axes" not in page

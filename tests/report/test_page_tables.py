"""Tables of the page: pivot tables, and a single setting."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.written_sweeps import space_of, write_sweep

from sweep.compare import main
from sweep.comparison.pivots import PivotTable
from sweep.report.page_tables import pivot_rows
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

"""The page of a search: charts from its records, small, and drawn without a warning."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.written_sweeps import OVER, space_of, write_sweep

from sweep.comparison.dataset_report import DataSetReport, dataset_reports
from sweep.comparison.exploration import AxisScale, ExploredSetting
from sweep.comparison.pivots import pivot_tables
from sweep.figures.images import RIGHT, WRONG
from sweep.figures.style import COLOURS, REST
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.report.charts import InteractiveChart, plotly_packed, plotly_source
from sweep.report.exploration_charts import _axis_of, exploration_charts, importance_chart
from sweep.report.learning_curves import learning_curves
from sweep.report.linked_pages import check_is_folder, write_page
from sweep.report.parallel_chart import parallel_chart
from sweep.space import Search
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

PAPERS = {"white": "#ffffff", "dark": "#14181d"}
"""Of the page in its two themes."""


@pytest.fixture(scope="module")
def searched(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepRecord, SweepStorage]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(store.path.parent))
        return write_sweep(space_of(32, seeds=1, searched=True), tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def part(searched: tuple[SweepRecord, SweepStorage]) -> DataSetReport:
    (found,) = dataset_reports(*searched)
    return found


@pytest.fixture(scope="module")
def page(
    part: DataSetReport, searched: tuple[SweepRecord, SweepStorage], tmp_path_factory: pytest.TempPathFactory
) -> str:
    return write_page([part], searched[1], tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def test_columns_have_short_lines_as_titles_and_logarithmic_axes_their_values() -> None:
    scales = [AxisScale("temperature", (0.05, 0.1, 1.0)), AxisScale("base_learning_rate", (0.1, 0.5, 5.0))]
    settings = [
        ExploredSetting("one", {"temperature": 0.05, "base_learning_rate": 0.5}, 0.5, None, 0),
        ExploredSetting("other", {"temperature": 0.5, "base_learning_rate": 5.0}, 0.6, None, 1),
    ]
    part: Any = SimpleNamespace(sweep=SimpleNamespace(objective="val/linear_balanced_accuracy", direction="max"))
    (chart,) = parallel_chart(part, settings, scales, "")
    columns = chart.layout["xaxis"]
    assert columns["ticktext"] == ["temperature", "base<br>learning<br>rate", "val linear<br>balanced<br>accuracy (%)"]
    assert columns["ticklabeloverflow"] == "allow"
    (own,) = (_axis_of(scale) for scale in scales[:1])
    assert (own["type"], own["tickvals"], own["ticktext"]) == ("log", [0.05, 0.1, 1.0], ["0.05", "0.1", "1"])


def test_a_search_is_shown_by_axis_by_pair_in_its_order_and_as_a_distribution(part: DataSetReport) -> None:
    charts = {chart.name: chart for chart in exploration_charts(part, "")}
    assert charts.keys() == {"slices", "pairs", "parallel", "history", "edf"}
    assert [name for name, _, _ in charts["slices"].views] == ["batch size", "base learning rate", "temperature"]
    assert next(name for name, _, _ in charts["pairs"].views) == "batch size and base learning rate"
    results = [row.mean("val/knn_top1") for row in part.table.settings]
    order = {entry.trial_id: place for place, entry in enumerate(part.sweep.trials)}
    drawn = sorted(part.table.settings, key=lambda row: order[row.trials[0].entry.trial_id])
    dots, line = charts["history"].data
    assert dots["y"] == pytest.approx([100 * row.known_mean("val/knn_top1") for row in drawn])
    assert line["y"] == pytest.approx(np.maximum.accumulate(dots["y"]))
    assert max(charts["edf"].data[0]["x"]) == pytest.approx(100 * max(value for value in results if value is not None))
    assert [line["line"]["dash"] for line in charts["parallel"].data] == 31 * ["solid"] + ["dash"]
    first = charts["slices"].data[0]
    best = part.row_of(part.table.settings[0]).cells["val/knn_top1"].images
    assert best is not None
    assert first["y"][0] - first["error_y"]["arrayminus"][0] == pytest.approx(100 * best.low)


def test_importance_has_its_uncertainty(part: DataSetReport) -> None:
    chart = importance_chart(part, "")
    assert chart is not None
    (bars,) = chart.data
    assert sum(bars["x"]) == pytest.approx(100)
    assert bars["y"][-1] == "temperature"
    assert all(width >= 0 for width in bars["error_x"]["array"])
    assert max(bars["error_x"]["array"]) > 0


def test_few_settings_have_no_such_charts(swept: tuple[SweepRecord, SweepStorage]) -> None:
    (few,) = dataset_reports(*swept)
    assert exploration_charts(few, "") == []
    assert importance_chart(few, "") is None
    assert learning_curves(few, "") is not None


def test_a_small_search_is_shown_by_axis_and_in_no_table_of_single_values(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    space = space_of(32, seeds=1, searched=True)
    stage = replace(space.stages[0], search=Search(over=OVER, settings=6))
    (small,) = dataset_reports(*write_sweep(replace(space, stages=(stage,)), tmp_path))
    assert list(pivot_tables(small.table, small.sweep.objective)) == []
    assert "slices" in {chart.name for chart in exploration_charts(small, "")}


def test_the_page_is_small_and_its_parts_have_names(page: str) -> None:
    assert len(page.encode()) < 2_000_000
    assert len(plotly_packed()) < len(plotly_source()) / 2
    assert page.count("<main>") == page.count("</main>") == 1
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "headings in order"
    assert all(re.search(r'role="img" aria-label="[^"]{5,}"', svg) for svg in re.findall(r"<svg [^>]*>", page))
    tables = re.findall(r"<table.*?</table>", page, flags=re.DOTALL)
    assert all("<caption>" in table for table in tables if "<thead>" in table)
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", page))
    charts = [json.loads(text) for text in re.findall(r'class="chart">(.*?)</script>', page)]
    assert all({"data", "layout", "views"} == chart.keys() for chart in charts)


def test_numbers_of_charts_are_short_and_names_end_no_element() -> None:
    chart = InteractiveChart("x", "X", "</script>", [{"x": [1 / 3, float("nan")], "name": "</script><b>"}], {})
    assert "0.33333," in chart.values
    assert "null" in chart.values
    assert "<" not in chart.values


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("colour", [*COLOURS, REST, RIGHT, WRONG])
def test_marks_are_seen_on_both_papers(colour: str, paper: str) -> None:
    one, other = sorted((luminance(colour), luminance(PAPERS[paper])))
    assert (other + 0.05) / (one + 0.05) >= 3.0


def luminance(colour: str) -> float:
    """Return WCAG's relative luminance."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_file_in_the_folders_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    for folder in (tmp_path / "report", tmp_path / "report" / "below"):
        with pytest.raises(BadInputError, match=r"--html .*: .*report is a file; name a folder"):
            check_is_folder(folder)
    assert (tmp_path / "report").read_text() == "mine"

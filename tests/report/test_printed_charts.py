"""The page's charts on paper, in a browser."""

from pathlib import Path

import pytest
from support.page_script import BROWSER, found_by
from support.written_sweeps import space_of, write_sweep

from sweep.comparison.dataset_report import dataset_reports
from sweep.report.linked_pages import write_page
from trainables.data.store import ImageStore

PRINTED = """
const gap = () => {
  const chart = document.getElementById("learning-curves");
  const [legend, title] = [".legend", ".xtitle"].map((part) => chart.querySelector(part).getBoundingClientRect());
  return [Math.round(legend.top - title.bottom), chart._fullLayout.width];
};
addEventListener("load", async () => {
  await window.chartsDrawn;
  const screen = gap();
  dispatchEvent(new Event("beforeprint"));
  const paper = gap();
  dispatchEvent(new Event("afterprint"));
  document.title = "FOUND" + JSON.stringify([screen, paper, gap()]) + "END";
});
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
def test_the_legend_stays_below_the_curves_on_paper(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, storage = write_sweep(space_of(8, seeds=1), tmp_path / "sweeps")
    page = write_page(dataset_reports(record, storage), storage, tmp_path / "page", pictures=False).read_text()
    screen, paper, again = found_by(PRINTED, page, tmp_path, "--window-size=500,900", "--virtual-time-budget=60000")
    assert screen[1] < paper[1] == 680, "the sheet is wider than the window, so the legend has fewer rows"
    assert screen == again
    assert min(gap for gap, _ in (screen, paper, again)) >= 0

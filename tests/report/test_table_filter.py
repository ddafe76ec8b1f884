"""The rows of a page's table that a phrase leaves, in a browser."""

from pathlib import Path

import pytest
from support.page_script import BROWSER, found_by
from support.written_sweeps import space_of, write_sweep

from sweep.comparison.dataset_report import dataset_reports
from sweep.report.linked_pages import write_page
from trainables.data.store import ImageStore

TYPED = """
const input = document.querySelector("[data-filter] input");
const rows = [...document.querySelectorAll(".sortable tbody tr")];
const left = (phrase) => {
  input.value = phrase;
  input.dispatchEvent(new Event("input"));
  const shown = rows.filter((row) => !row.hidden);
  return shown.map((row) => row.cells[0].textContent + "/" + row.cells[1].textContent.trim());
};
const phrases = [input.placeholder, "temperature 0.5", "batch size 64", "untrained", "64 0.25", "no such thing", ""];
document.title = "FOUND" + JSON.stringify(phrases.map((phrase) => [phrase, left(phrase)])) + "END";
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
def test_a_phrase_finds_the_column_and_value_that_it_names(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, storage = write_sweep(space_of(8, seeds=1), tmp_path / "sweeps")
    page = write_page(dataset_reports(record, storage), storage, tmp_path / "page", pictures=False).read_text()
    left = [rows for _, rows in found_by(TYPED, page, tmp_path)]
    own, temperature, batch, untrained, both, nothing, everything = left
    assert own, "the example in the empty field finds rows"
    assert len(temperature) == 2
    assert all(row.endswith("/0.5") for row in temperature)
    assert len(batch) == 4
    assert all(row.removeprefix("● ").startswith("64/") for row in batch)
    assert [row.partition("/")[0] for row in untrained] == ["untrained encoder"]
    assert "64/0.25" in both
    assert nothing == []
    assert len(everything) == 10

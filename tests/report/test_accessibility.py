"""The page in a browser as axe-core sees it, in both themes, with everything open."""

import html
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from support.written_sweeps import space_of, write_sweep

from sweep.comparison.dataset_report import dataset_reports
from sweep.report.linked_pages import write_page
from trainables.data.store import ImageStore

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
NPM = shutil.which("npm")
AXE = "axe-core@4.14.1"
RUN = """
addEventListener("load", async () => {
  await window.chartsDrawn;
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  const found = await axe.run();
  const faults = found.violations.map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))]);
  const charts = document.querySelectorAll(".js-plotly-plot").length;
  document.title = "AXE" + JSON.stringify({ faults, charts, passes: found.passes.length }) + "END";
});
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(NPM is None, reason="axe-core comes from npm, which isn't here: apt-get install npm"),
]


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder, command = tmp_path_factory.mktemp("axe"), [str(NPM), "pack", "--silent", AXE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"{AXE} can't be had from npm here")
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


@pytest.fixture(scope="module")
def page(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a search, which has every kind of chart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(store.path.parent))
        record, storage = write_sweep(space_of(32, seeds=1, searched=True), tmp_path_factory.mktemp("searched"))
        page = write_page(dataset_reports(record, storage), storage, tmp_path_factory.mktemp("page"))
    return page.read_text(encoding="utf-8")


def audited(page: str, axe: str, folder: Path, *flags: str) -> dict[str, list[object]]:
    """Return what axe finds on the page, whose policy would keep axe from running."""
    assert BROWSER is not None
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    at = text.rindex("</body>")
    file = folder / "audited.html"
    file.write_text(f"{text[:at]}<script>{axe}</script><script>{RUN}</script>{text[at:]}", encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=120000", *flags, "--dump-dom"]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=300, check=True)
    found = re.search(r"<title>AXE(.*?)END</title>", done.stdout, flags=re.DOTALL)
    assert found is not None, "axe ran"
    result: dict[str, list[object]] = json.loads(html.unescape(found[1]))
    return result


@pytest.mark.parametrize("flags", [(), ("--blink-settings=preferredColorScheme=0",)], ids=["light", "dark"])
def test_axe_finds_nothing(page: str, axe: str, tmp_path: Path, flags: tuple[str, ...]) -> None:
    found = audited(page, axe, tmp_path, *flags)
    assert found["faults"] == []
    assert isinstance(found["passes"], int)
    assert found["passes"] > 30
    assert found["charts"] == page.count('class="chart">{')


def test_axe_would_find_something(page: str, axe: str, tmp_path: Path) -> None:
    """A picture without a text, words too pale to read, a table that scrolls out of the keyboard's reach."""
    spoilt = page.replace('role="img" aria-label=', 'role="img" data-label=').replace(
        "--soft: #5d6672", "--soft: #b8bdc4"
    )
    names = [name for name, _ in audited(spoilt, axe, tmp_path)["faults"]]  # type: ignore[misc]
    assert {"svg-img-alt", "color-contrast"} <= set(names)

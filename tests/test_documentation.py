"""Documentation leads to files that exist, and the hooks before a commit are those of `make lint`."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "sweep").rglob("*.md"),
    *(ROOT / "trainables").rglob("*.md"),
]
SUFFIXES = ("py", "md", "js", "json", "yaml")
ROOMS = [page for page in PAGES if page.name == "README.md" and page.parents[1] != ROOT and "plotly" not in page.parts]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_anchors(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    files = [link.partition("#")[0] for link in links]
    assert [file for file in files if file and not (page.parent / file).exists()] == []
    own = [link[1:] for link in links if re.fullmatch(r"#d\d+", link)]
    assert [anchor for anchor in own if f'<a id="{anchor}"></a>' not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_anchors_of_other_pages_are_their_headings(page: Path) -> None:
    links = re.findall(r"\]\(([\w./-]+\.md)#([\w-]+)\)", page.read_text(encoding="utf-8"))
    assert [(file, anchor) for file, anchor in links if anchor not in anchors(page.parent / file)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:sweep|trainables|tests|benchmarks|deploy|docs|search_spaces)/[\w./-]+)`", page.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_tests_behind_the_claims_on_reproducibility_exist() -> None:
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    page = (ROOT / "docs" / "reproducibility.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"\btest_\w+", page)) - files) == []


@pytest.mark.parametrize("page", ROOMS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_and_names_of_a_room_exist(page: Path) -> None:
    """`scene_map.write_map` in a room's README is a name in its file."""
    lacking = []
    for file, name in re.findall(r"`([a-z_]+)\.(\w+)`", page.read_text(encoding="utf-8")):
        module = page.parent / f"{file}.py"
        if file != "sweep" and name not in SUFFIXES:
            text = module.read_text(encoding="utf-8") if module.exists() else ""
            lacking += [] if re.search(rf"\b{name}\b", text) else [f"{file}.{name}"]
    assert lacking == []


def test_every_page_stands_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert sorted(page for page in pages if f"({page})" not in index) == []


def test_hooks_are_the_checks_of_make_lint_and_download_nothing() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert lint is not None
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in lint.group(1).splitlines()]
    assert [hook["entry"] for hook in hooks if "stages" not in hook] == commands


@pytest.mark.parametrize(
    "module",
    [
        *("trainables.losses", "trainables.augment.views", "trainables.schedule", "trainables.lars", "sweep.space"),
        *("trainables.data.bands", "trainables.data.share_count", "trainables.weights.initial_weights"),
    ],
)
def test_examples_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0

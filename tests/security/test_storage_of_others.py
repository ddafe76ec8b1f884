"""A storage that somebody else wrote: whoever reads it runs none of its code, and loses nothing outside of it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from search_spaces.quickstart import SPACE
from sweep.planning.launch import Launch, plan_of
from sweep.records.sweep_record import describe
from sweep.records.sweep_storage import SweepStorage
from sweep.run import main as run
from sweep.space import Best, Grid, Objective, Range, Search, SearchSpace, Stage, read_space, written
from trainables.data.preparing.prepare import prepare
from trainables.errors import BadInputError


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path_factory.getbasetemp() / "digits"
    monkeypatch.setenv("SWEEP_DATA", str(root))
    if not (root / "digits").exists():
        prepare("digits", root=root)


@pytest.fixture
def storage(data: None, tmp_path: Path) -> SweepStorage:
    """Return a storage with the record of a sweep that nobody ran."""
    storage = SweepStorage(tmp_path / "shared")
    launch = Launch(space="quickstart", written=written(SPACE))
    storage.write_sweep(
        describe(plan_of(launch), name="quickstart", command="", commit=None, versions={}, launch=launch)
    )
    return storage


def change(storage: SweepStorage, **fields: Any) -> None:
    """Change fields of the sweep's record, as anybody can who may write the storage."""
    path = Path(storage.storage.root) / "sweeps" / "quickstart" / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("kind", ["file", "module", "record without how it was started"])
@pytest.mark.parametrize("extend", [False, True])
def test_resuming_imports_nothing_that_a_record_names(
    storage: SweepStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, extend: bool
) -> None:
    """Even where it keeps no values: then a person has to name the code."""
    marker = tmp_path / "code ran"
    (tmp_path / "strangers_space.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    file, module = str(tmp_path / "strangers_space.py"), "strangers_space.SPACE"
    launch = {"space": module if kind == "module" else file}
    change(storage, space=file, launch=None if kind.startswith("record") else launch)
    with pytest.raises(BadInputError, match=r"if you trust that code, say so: --resume quickstart --space "):
        run(resume="quickstart", storage=storage.storage.root, dry_run=True, extend=extend)
    change(storage, launch={**launch, "written": written(SPACE)})
    if extend:
        with pytest.raises(BadInputError, match=r"--extend: the record keeps the space as it was; for what it is now"):
            run(resume="quickstart", storage=storage.storage.root, dry_run=True, extend=True)
    else:
        run(resume="quickstart", storage=storage.storage.root, dry_run=True)
    assert not marker.exists()
    assert "strangers_space" not in sys.modules


def test_code_is_imported_where_it_is_typed(storage: SweepStorage, capsys: pytest.CaptureFixture[str]) -> None:
    change(storage, launch=None)
    run(resume="quickstart", space="quickstart", storage=storage.storage.root, dry_run=True)
    assert "4 trials" in capsys.readouterr().out


EVERYTHING = SearchSpace(
    name="everything",
    description="each kind of value that a space can hold",
    stages=(
        Stage("first", (Grid(axes={"temperature": [0.1, 0.5], "crop_area": ((0.08, 1.0), (0.5, 1.0))}),)),
        Stage(
            "second",
            (Grid(base={"temperature": Best("temperature", "digits")}, points=({"batch_size": 32},)),),
            Search({"momentum": Range(0, 1), "epochs": [1, 2], "image_size": (16, 32)}, 3, method="optuna"),
        ),
    ),
    objective=Objective("val/top1"),
    seeds=range(3),
)


def test_a_record_keeps_a_space_to_the_last_value() -> None:
    """A search's spelling is a part of the plan's digest: a resumed sweep has the one that it was started with."""
    back = read_space(json.loads(json.dumps(written(EVERYTHING))))
    assert repr(back.stages[1].search) == repr(EVERYTHING.stages[1].search)
    assert [repr(grid.axes) for stage in back.stages for grid in stage.grids] == [
        repr(grid.axes) for stage in EVERYTHING.stages for grid in stage.grids
    ]
    assert back.stages[1].grids[0].base == EVERYTHING.stages[1].grids[0].base
    assert tuple(back.seeds) == (0, 1, 2)


def test_what_is_no_value_is_refused_before_it_is_recorded() -> None:
    with pytest.raises(BadInputError, match=r"space 'x': can't be kept in the sweep's record: .* is a function"):
        written(SearchSpace("x", "", (), Objective("val/top1"), base={"temperature": lambda: 0.5}))
    with pytest.raises(BadInputError, match=r"base.temperature: is no value of a setting"):
        read_space({**written(SPACE), "base": {"temperature": {"__reduce__": "os.system"}}})

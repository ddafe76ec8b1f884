"""A storage that somebody else wrote: whoever reads it runs none of its code, and loses nothing outside of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search_spaces.quickstart import SPACE
from sweep.planning.launch import LaunchOptions, plan_of
from sweep.records.removal import archive_sweep, plan_removal
from sweep.records.status import state_of
from sweep.records.sweep_record import describe
from sweep.records.sweep_storage import SweepStorage
from sweep.run import main as run
from sweep.space import Best, Grid, Range, RankingObjective, Search, SearchSpace, Stage, read_space, written
from trainables.data.preparing.prepare import prepare
from trainables.errors import BadInputError
from trainables.storage.filesystem import Storage


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
    launch = LaunchOptions(space="quickstart", written=written(SPACE))
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
    with pytest.raises(BadInputError, match=r"if you trust that code, name it: --resume quickstart --space "):
        run(resume="quickstart", storage=storage.storage.root, dry_run=True, extend=extend)
    change(storage, launch={**launch, "written": written(SPACE)})
    if extend:
        with pytest.raises(
            BadInputError, match=r"--extend: the record has the space as it was at the start; to use the present one"
        ):
            run(resume="quickstart", storage=storage.storage.root, dry_run=True, extend=True)
    else:
        run(resume="quickstart", storage=storage.storage.root, dry_run=True)
    assert not marker.exists()
    assert "strangers_space" not in sys.modules


def test_code_is_imported_where_it_is_typed(storage: SweepStorage, capsys: pytest.CaptureFixture[str]) -> None:
    change(storage, launch=None)
    run(resume="quickstart", space="quickstart", storage=storage.storage.root, dry_run=True)
    assert "8 trials" in capsys.readouterr().out


EVERYTHING = SearchSpace(
    name="everything",
    description="each kind of value that a space can hold",
    stages=(
        Stage("first", (Grid(axes={"temperature": [0.1, 0.5], "crop_area": ((0.08, 1.0), (0.5, 1.0))}),)),
        Stage(
            "second",
            (Grid(base={"temperature": Best("temperature", "digits")}, points=({"batch_size": 32},)),),
            Search({"momentum": Range(0, 0.9), "epochs": [1, 2], "image_size": (16, 32)}, 3, method="optuna"),
        ),
    ),
    objective=RankingObjective("val/top1"),
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
    with pytest.raises(BadInputError, match=r"SearchSpace: base: \w+: must be a number, text, .* got function"):
        written(SearchSpace("x", "", (), RankingObjective("val/top1"), base={"temperature": lambda: 0.5}))
    with pytest.raises(BadInputError, match=r"base: temperature: can't be a field's value"):
        read_space({**written(SPACE), "base": {"temperature": {"__reduce__": "os.system"}}})


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a folder outside of the storage, which nothing may touch."""
    photos = tmp_path / "victim" / "photos"
    photos.mkdir(parents=True)
    (photos / "one.jpg").write_text("the only copy")
    return photos


def remove(storage: SweepStorage, **options: Any) -> None:
    from sweep.remove import main

    main("quickstart", storage=storage.storage.root, yes=True, **options)


def entries(storage: SweepStorage, **fields: Any) -> list[dict[str, Any]]:
    """Return the record's trials, the first with other fields."""
    path = Path(storage.storage.root) / "sweeps" / "quickstart" / "sweep.json"
    first, *others = json.loads(path.read_text())["trials"]
    return [{**first, **fields}, *others]


@pytest.mark.parametrize("place", ["../../victim/photos", "{victim}", "..", ".", "a/../..", "a\x00b", "a\nb"])
@pytest.mark.parametrize("field", ["place", "trial_id", "name"])
def test_a_record_that_names_a_place_outside_is_refused_in_one_line(
    storage: SweepStorage, victim: Path, place: str, field: str
) -> None:
    change(storage, trials=entries(storage, **{field: place.format(victim=victim)}))
    with pytest.raises(BadInputError, match=rf"sweep\.json: isn't a record .*: trials\.0\.{field}: ") as caught:
        remove(storage)
    assert "\n" not in str(caught.value)
    assert (victim / "one.jpg").exists()


def test_a_record_is_of_the_sweep_that_its_folder_names(storage: SweepStorage, victim: Path) -> None:
    change(storage, name="another")
    with pytest.raises(BadInputError, match=r"sweeps/quickstart/sweep\.json: is the record of sweep 'another'"):
        remove(storage)
    change(storage, name="../../victim")
    with pytest.raises(BadInputError, match=r"sweeps/quickstart/sweep\.json: isn't a record .*: name: "):
        remove(storage)


@pytest.mark.parametrize("linked", ["trials", "trials/ID", "trials/ID/checkpoints", "sweeps/quickstart/logs"])
def test_links_out_of_the_storage_are_not_followed(storage: SweepStorage, victim: Path, linked: str) -> None:
    """Neither to delete, nor to copy to an archive, nor to write."""
    trial_id = storage.record("quickstart").trials[0].trial_id
    link = Path(storage.storage.root) / linked.replace("ID", trial_id)
    for name in ("epochs", trial_id):
        (victim / name).mkdir()
        (victim / name / "kept").touch()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(victim)
    for options in ({}, {"target": str(victim.parent / "archive")}, {"checkpoints_only": True}):
        if not options.get("checkpoints_only"):
            with pytest.raises(BadInputError, match=r"behind a link|is a link to"):
                remove(storage, **options)
    for name in ("trials/x", f"trials/{trial_id}/x", f"trials/{trial_id}/checkpoints/000001.pt"):
        if name.startswith(f"{linked.replace('ID', trial_id)}/"):
            for act in (lambda: storage.storage.write(name, b""), lambda: storage.storage.delete(name)):  # noqa: B023
                with pytest.raises(BadInputError, match="behind a link"):
                    act()
    if linked.endswith("logs"):
        with pytest.raises(BadInputError, match="behind a link"):
            storage.log_folder("quickstart")
    assert (victim / "one.jpg").read_text() == "the only copy"
    assert (victim / trial_id / "kept").exists()
    assert not (victim.parent / "archive").exists()


def test_a_sweep_whose_trials_nobody_can_tell_keeps_others_from_being_removed(
    storage: SweepStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """Its trials might be these; what only reads leaves it out, and says so once."""
    storage.storage.write("sweeps/torn/sweep.json", b'{"name": "torn", "trials": [')
    with pytest.raises(BadInputError, match=r"sweeps/torn/sweep\.json: isn't a record"):
        remove(storage)
    assert storage.sweep_names() == storage.sweep_names() == ["quickstart"]
    assert caplog.text.count("left out: ") == 1


@pytest.mark.parametrize(
    "spelled",
    ["{root}", "{root}/", "{root}/.", "{root}/../shared", "file://{root}/", "{root}/old", "{parent}", "{link}"],
)
def test_an_archive_that_is_the_storage_itself_is_refused(
    storage: SweepStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelled: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "link").symlink_to(storage.storage.root)
    target = spelled.format(root=storage.storage.root, parent=tmp_path, link=tmp_path / "link")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInputError, match="overlaps with this storage"):
        remove(storage, target=target)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of an object store's server: bucket "sweeps", below ?endpoint_override."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1").create_bucket(Bucket="sweeps")
    yield f"?endpoint_override=127.0.0.1%3A{port}&scheme=http&region=us-east-1"
    server.stop()


@pytest.mark.parametrize("spelled", ["sweeps/here/", "sweeps//here", "sweeps/here/old", "sweeps", "localhost", "apart"])
def test_an_object_store_is_compared_by_what_it_holds(storage: SweepStorage, buckets: str, spelled: str) -> None:
    remote = SweepStorage(f"s3://sweeps/here{buckets}")
    remote.write_sweep(storage.record("quickstart"))
    removal = plan_removal(remote, remote.record("quickstart"))
    other = f"s3://sweeps/here{buckets.replace('127.0.0.1', 'localhost')}"
    address = other if spelled == "localhost" else f"s3://{spelled}{buckets}"
    if spelled == "apart":
        archive_sweep(remote, removal, Storage.at(f"s3://sweeps/apart{buckets}"))
    else:
        with pytest.raises(BadInputError, match="overlaps with this storage"):
            archive_sweep(remote, removal, Storage.at(address))
    assert remote.sweep_names() == ["quickstart"]
    assert [name for name, _ in remote.storage.files("sweeps")] == ["sweeps/quickstart/sweep.json"]


def test_an_archive_keeps_what_it_has_and_is_compared_before_anything_goes(
    storage: SweepStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    archive = Storage.at(tmp_path / "archive")
    archive.write("sweeps/quickstart/sweep.json", b"another sweep of this name")
    with pytest.raises(BadInputError, match="has another sweep 'quickstart' already"):
        remove(storage, target=str(tmp_path / "archive"))
    assert archive.read("sweeps/quickstart/sweep.json") == b"another sweep of this name"

    def torn(self: Storage, name: str, fill: Any) -> None:
        Path(self.root, name).parent.mkdir(parents=True, exist_ok=True)
        Path(self.root, name).write_bytes(b"")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write_stream", torn)
        with pytest.raises(BadInputError, match=r"differs from the original; nothing was removed"):
            remove(storage, target=str(tmp_path / "elsewhere"))
    assert storage.sweep_names() == ["quickstart"]


def test_a_setting_that_lacks_a_field_is_shown(storage: SweepStorage) -> None:
    """As those of earlier versions do."""
    (first, *_) = entries(storage)
    change(storage, trials=entries(storage, config={k: v for k, v in first["config"].items() if k != "epochs"}))
    assert state_of(storage.record("quickstart"), storage).counts == {"waiting": 16}

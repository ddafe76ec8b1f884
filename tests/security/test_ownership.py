"""What a sweep writes is its user's alone, unless its folder is shared; other users' locks and caches are refused."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.records.removal import SweepRemoval, archive_sweep
from sweep.records.sweep_storage import SweepStorage
from sweep.tracking.store import TrackingStore
from trainables.data.cache import local_copy
from trainables.data.preparing.atomic_folder import atomic_folder, locked
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.storage.filesystem import Storage
from trainables.storage.ownership import files_as_private_as, is_shared, make_private, refuse_foreign

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def usual_mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The address of a store, and its fingerprint."""
    root = tmp_path_factory.mktemp("data")
    prepare("digits", root=root)
    return (root / "digits").as_uri(), ImageStore.open("digits", root).fingerprint


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_storage_is_for_its_user_alone_and_so_is_what_a_sweep_writes_there(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "storage"
    storage = SweepStorage(root)
    storage.check_writable()
    assert mode(tmp_path / "deep") == 0o700
    root.chmod(0o700)
    with storage.private_files():
        storage.storage.write("live/x.json", b"")
        assert mode(root / "live" / "x.json") == 0o600
    assert os.umask(0o022) == 0o022, "as before"


@as_root
def test_another_user_reads_nothing_of_a_new_storage(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    SweepStorage(tmp_path / "new").check_writable()
    done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "ls", tmp_path / "new"], check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("permissions", [0o755, 0o2775, 0o750])
def test_a_storage_that_was_there_keeps_its_rules(tmp_path: Path, permissions: int) -> None:
    root = tmp_path / "storage"
    root.mkdir()
    root.chmod(permissions)
    storage = SweepStorage(root)
    storage.check_writable()
    with storage.private_files():
        storage.storage.write("sweeps/x.json", b"")
    assert mode(root) == permissions
    assert mode(root / "sweeps" / "x.json") == 0o644
    assert mode(root / "sweeps") & 0o777 == 0o755


def test_one_made_in_a_shared_folder_is_shared(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    assert is_shared(shared)
    os.umask(0o002)
    make_private(shared / "storage")
    assert mode(shared / "storage") & 0o777 == 0o775
    with files_as_private_as(shared / "storage"):
        (shared / "storage" / "file").touch()
    assert mode(shared / "storage" / "file") == 0o664
    shared.chmod(0o1777)
    assert not is_shared(shared), "as /tmp"


def test_mlflows_database_and_caches_are_made_in_private_folders(tmp_path: Path, digits: tuple[str, str]) -> None:
    database = tmp_path / "tracking" / "mlflow.db"
    with TrackingStore.choose(f"sqlite:///{database}", storage=tmp_path, experiment="sweep")._lock():
        assert mode(database.parent) == 0o700
    with locked(tmp_path / "data" / "digits", "prepared"):
        assert mode(tmp_path / "data") == 0o700
    local_copy(*digits, cache=tmp_path / "cache")
    assert mode(tmp_path / "cache") == 0o700


def test_an_archive_is_as_private(tmp_path: Path) -> None:
    storage = SweepStorage(tmp_path / "storage")
    storage.check_writable()
    storage.storage.write("sweeps/mine/sweep.json", b"{}")
    archive_sweep(storage, SweepRemoval("mine", ("sweeps/mine",), (), 1, 2), Storage.at(tmp_path / "archive"))
    assert mode(tmp_path / "archive") == 0o700
    assert (tmp_path / "archive" / "sweeps" / "mine" / "sweep.json").read_bytes() == b"{}"


@as_root
def test_a_lock_of_another_user_is_refused_by_name(tmp_path: Path) -> None:
    lock = tmp_path / ".digits.lock"
    lock.touch()
    os.chown(lock, NOBODY, -1)
    with (
        pytest.raises(BadInputError, match=r"\.digits\.lock: belongs to another user"),
        locked(tmp_path / "digits", "x"),
    ):
        pass
    with pytest.raises(BadInputError, match=r"\.digits\.lock: belongs to another user"):
        prepare("digits", root=tmp_path)
    database = tmp_path / "mlflow.db"
    Path(f"{database}.lock").touch()
    os.chown(f"{database}.lock", NOBODY, -1)
    store = TrackingStore.choose(f"sqlite:///{database}", storage=tmp_path, experiment="sweep")
    with pytest.raises(BadInputError, match=r"mlflow\.db\.lock: belongs to another user"):
        store.connect()


@as_root
def test_a_lock_that_is_a_link_of_another_user_empties_no_file(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    lock = tmp_path / ".digits.lock"
    lock.symlink_to(victim)
    os.lchown(lock, NOBODY, -1)
    with pytest.raises(BadInputError, match="belongs to another user"), locked(tmp_path / "digits", "prepared"):
        pass
    assert victim.read_text() == "mine"


@as_root
@pytest.mark.parametrize("whose", ["root", "store", "lock"])
def test_a_cache_of_another_user_is_refused_by_name(tmp_path: Path, digits: tuple[str, str], whose: str) -> None:
    cache = tmp_path / "cache"
    folder = local_copy(*digits, cache=cache)
    planted = {"root": cache, "store": folder, "lock": cache / f".{folder.name}.lock"}[whose]
    if whose == "lock":
        shutil.rmtree(folder)
    os.chown(planted, NOBODY, -1)
    with pytest.raises(BadInputError, match=f"{planted}: belongs to another user"):
        local_copy(*digits, cache=cache)


@as_root
def test_in_a_folder_that_a_group_shares_a_members_lock_is_taken(tmp_path: Path) -> None:
    lock = tmp_path / ".digits.lock"
    lock.touch()
    os.chown(lock, NOBODY, -1)
    tmp_path.chmod(0o2770)
    refuse_foreign(lock)
    tmp_path.chmod(0o1777)
    with pytest.raises(BadInputError, match="belongs to another user"):
        refuse_foreign(lock)


def test_temporary_names_are_new_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for number in range(2):
        with atomic_folder(tmp_path / f"store{number}") as partial:
            names.append(partial.name.removeprefix(f".store{number}."))
    assert names[0] != names[1]
    monkeypatch.setattr("trainables.storage.filesystem.secrets.token_hex", lambda _: "guessed")
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "file.guessed.partial").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        Storage.at(tmp_path).write("file", b"theirs")
    assert (tmp_path / "victim").read_text() == "mine"

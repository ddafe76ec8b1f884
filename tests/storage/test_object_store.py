"""Records and checkpoints in an object store: a local S3 server stands for it."""

import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.process_group import single_thread
from support.small_trials import CPU, changed

from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord
from trainables.training.trial import train


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Return the address of an empty bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "planted-secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="sweeps")
        yield f"s3://sweeps/some/folder?endpoint_override={host}%3A{port}&scheme=http&region=us-east-1"
        server.stop()


def test_what_is_written_is_read_listed_and_removed(bucket: str) -> None:
    storage = Storage.at(bucket).child("basics")
    assert storage.read("a/b.json") is None
    assert storage.names("a") == []
    storage.write("a/b.json", b"one")
    storage.write("a/b.json", b"two")
    storage.write("a/c.json", b"three")
    assert storage.read("a/b.json") == b"two"
    assert storage.names("a") == ["b.json", "c.json"]
    storage.delete("a/b.json")
    storage.delete("a/never.json")
    assert storage.names("a") == ["c.json"]
    assert not storage.is_local


def test_processes_delete_the_same_file_and_folder_at_the_same_time(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)

    def write_and_delete(_: int) -> None:
        for _ in range(30):
            storage.write("probe", b"")
            storage.delete("probe")

    for number in range(100):
        storage.write(f"folder/{number}", b"")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_delete, range(4)))
        list(pool.map(storage.delete_folder, 4 * ["folder"]))
    assert storage.names() == []


def test_files_are_listed_while_another_process_deletes_them(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    for number in range(50):
        storage.write(f"folder/{number:02d}", b"kept")
    listing = storage.files("folder")
    assert next(listing)[1] == 4
    for name in storage.names("folder")[::2]:
        storage.delete(f"folder/{name}")
    assert 24 <= len(list(listing)) <= 25


def test_an_address_leads_to_the_same_place_again_and_holds_no_secret(bucket: str) -> None:
    storage = Storage.at(bucket).child("again")
    storage.write("x", b"here")
    address = storage.address()
    assert Storage.at(address).read("x") == b"here"
    assert urllib.parse.urlsplit(storage.address("x")).path == "/some/folder/again/x"
    assert "planted-secret" not in address


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("x" * 300, r"storage 'x+': can't be used \(File name too long\); give another folder"),
        ("loop", r"storage 'loop': can't be used \(Too many levels of symbolic links\)"),
        ("s3://", "storage 's3://': names no bucket"),
    ],
)
def test_an_address_that_nothing_can_lie_at_is_one_line(
    address: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(BadInputError, match=message):
        Storage.at(address)


def test_credentials_in_an_address_are_refused() -> None:
    with pytest.raises(BadInputError, match="credentials belong in the environment"):
        Storage.at("s3://key:planted-secret@sweeps/folder")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd"])
def test_a_name_cannot_leave_its_root(tmp_path: Path, name: str) -> None:
    storage = Storage.at(tmp_path / "root")
    with pytest.raises(BadInputError, match="leads out of it"):
        storage.write(name, b"")
    with pytest.raises(BadInputError, match="leads out of it"):
        storage.read(name)
    with pytest.raises(BadInputError, match="leads out of it"):
        storage.child(name)


def test_a_trial_goes_on_from_a_checkpoint_in_the_store(bucket: str, tmp_path: Path) -> None:
    prepare("digits", root=tmp_path, fraction=0.2)
    store, config = ImageStore(tmp_path / "digits"), changed(epochs=3)

    def records(files: TrialFiles) -> Iterator[EpochRecord]:
        return train(config, store=store, files=files, device=CPU)

    with single_thread():
        expected = list(records(TrialFiles(Storage.at(tmp_path / "local"))))
        address = Storage.at(bucket).child("trials/abc").address()
        first = records(TrialFiles(Storage.at(address), DeferredWrites()))
        next(first)
        first.close()  # type: ignore[attr-defined]
        rest = list(records(TrialFiles(Storage.at(address), DeferredWrites())))
    files = TrialFiles(Storage.at(address))
    assert [record.epoch for record in rest] == [2, 3]
    assert files.checkpoint_epochs() == [2, 3]
    assert files.final() is not None
    for mine, theirs in zip(files.epochs(), expected, strict=True):
        assert mine.metrics["train/contrastive_loss"] == theirs.metrics["train/contrastive_loss"]

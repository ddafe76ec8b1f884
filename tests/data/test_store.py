"""The store: what goes in comes out, it can't be seen half-made, and damage is noticed and named."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from sklearn.datasets import load_digits
from support.sample_data import write_bigearthnet

from trainables.data.dataset_facts import KNOWN
from trainables.data.preparing import decode_workers
from trainables.data.preparing.prepare import prepare, remove
from trainables.data.preparing.verify import verify
from trainables.data.splits import TEST, exact_split
from trainables.data.stable_hash import stable_fraction
from trainables.data.store import ImageStore
from trainables.data.store_addresses import store_folder
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError

LAND = "Land principally occupied by agriculture, with significant areas of natural vegetation"
PATCH_LABELS = [
    ["Sea and ocean"],
    ["Mixed forest", LAND],
    ["Pastures", "Non-irrigated arable land", "Complex cultivation patterns"],
    ["Coniferous forest", "Mixed forest", "Peatbogs"],
    ["Sea and ocean", "Estuaries"],
    ["Vineyards"],
    ["Airports", "Sea and ocean"],
    ["Water bodies", "Mixed forest"],
]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 100 digits, so that 18 of them are decoded in worker processes and the last one is smaller."""
    monkeypatch.setattr(decode_workers, "CHUNK_BYTES", 100 * 8 * 8 * 3)


@pytest.fixture
def patches(tmp_path: Path) -> ImageStore:
    """Eight multi-label patches in both splits."""
    source = write_bigearthnet(tmp_path / "in", PATCH_LABELS)
    prepare("bigearthnet_v1", source=source, root=tmp_path / "out", splits="random")
    return ImageStore.open("bigearthnet_v1", tmp_path / "out")


@pytest.mark.usefixtures("small_chunks")
def test_a_gather_over_many_chunks_gives_the_original_pixels_and_labels(tmp_path: Path) -> None:
    prepare("digits", root=tmp_path)
    store = ImageStore.open("digits", tmp_path)
    scans = load_digits()
    indices = np.random.default_rng(0).integers(0, len(store), 3000)  # with repeats, in no order, over all batches
    originals = [int(name.removeprefix("digit_")) for name in store.names(indices)]

    images = store.images(indices)

    assert images.shape == (3000, 8, 8, 3)
    assert images.dtype == torch.uint8
    expected = np.rint(scans.images[originals] * 255 / 16)
    for channel in range(3):
        np.testing.assert_array_equal(images[..., channel].numpy(), expected)
    assert store.labels(indices).tolist() == scans.target[originals].tolist()
    assert torch.equal(store.label_matrix(indices).int().argmax(dim=1), store.labels(indices))
    images.zero_()  # a copy: the store is not touched
    assert store.images(torch.from_numpy(indices)).float().mean() > 10


@pytest.mark.usefixtures("small_chunks")
def test_splits_share_out_all_rows_and_agree_with_what_the_metadata_promises(tmp_path: Path) -> None:
    info = prepare("digits", root=tmp_path)
    store = ImageStore.open("digits", tmp_path)
    splits = {name: store.split(name) for name in ("train", "test")}
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(1797))
    assert {name: len(indices) for name, indices in splits.items()} == info.splits == KNOWN["digits"].published_sizes
    for name, indices in splits.items():
        assert tuple(torch.bincount(store.labels(indices)).tolist()) == info.class_counts[name]
        assert int(store.positive_mask(indices, ("closed_loop",)).sum()) == info.rule_counts["closed_loop"][name]
    with pytest.raises(BadInputError, match=r"split 'val': digits has train, test"):
        store.split("val")


def test_several_labels_an_image_and_the_rules_over_them(patches: ImageStore) -> None:
    indices = [5, 0, 5, 7, 2, 1, 6, 3, 4]
    names = patches.info.class_names
    expected = [sorted(PATCH_LABELS[int(name.split("_")[-2])]) for name in patches.names(indices)]
    matrix = patches.label_matrix(indices)
    assert [sorted(names[column] for column in row.nonzero().flatten()) for row in matrix] == expected

    farmland = {LAND, "Non-irrigated arable land", "Complex cultivation patterns"}
    assert patches.positive_mask(indices, ("farmland",)).tolist() == [bool(farmland & {*row}) for row in expected]
    either = patches.positive_mask(indices, ("farmland", "Vineyards")).tolist()
    assert either == [bool((farmland | {"Vineyards"}) & {*row}) for row in expected]
    assert not patches.positive_mask(indices, ()).any()
    with pytest.raises(BadInputError, match=r"several labels; set target=labels, .* \(known: farmland, agriculture\)"):
        patches.labels(indices)


def test_stable_fraction_is_the_salted_sha256_of_the_name() -> None:
    digest = hashlib.sha256(b"subset:a_1.jpg").digest()
    value = stable_fraction(["a_1.jpg"], salt="subset")[0]
    assert value == pytest.approx(int.from_bytes(digest[:8], "big") / 2**64, abs=2**-52)


def test_stable_fractions_are_uniform_and_independent_of_other_purposes() -> None:
    names = [f"n{index}.JPEG" for index in range(20_000)]
    subset, test, validation = (stable_fraction(names, salt=salt) for salt in ("subset", "test", "validation"))
    assert np.max(np.abs(np.sort(subset) - np.linspace(0, 1, len(names)))) < 1.63 / np.sqrt(len(names))  # 1 % level
    assert np.abs(np.corrcoef([subset, test, validation]) - np.eye(3)).max() < 0.03
    assert np.mean(test[subset < 0.25] < 0.25) == pytest.approx(0.25, abs=0.02)


def test_known_sizes_of_eurosat_are_a_fifth_of_each_class() -> None:
    counts = {"Highway": 2500, "Industrial": 2500, "Pasture": 2000, "PermanentCrop": 2500, "River": 2500}
    classes = KNOWN["eurosat"].class_names
    names = [f"{name}_{index}.jpg" for name in classes for index in range(1, counts.get(name, 3000) + 1)]
    labels = [(classes.index(name.split("_")[0]),) for name in names]
    codes = exact_split(names, labels, 0.2)
    for label, name in enumerate(classes):
        tested = sum(code == TEST for code, own in zip(codes, labels, strict=True) if own == (label,))
        assert tested == counts.get(name, 3000) // 5
    # The images of a class that are tested are those of its smallest hashes, whatever the order they come in.
    assert exact_split(names[::-1], labels[::-1], 0.2)[::-1].tolist() == codes.tolist()
    sizes = {"train": int((codes != TEST).sum()), "test": int((codes == TEST).sum())}
    assert sizes == KNOWN["eurosat"].published_sizes


def test_the_fingerprint_follows_content_and_options_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = prepare("digits", root=tmp_path / "a")
    monkeypatch.setattr(decode_workers, "CHUNK_BYTES", 10_000)
    assert prepare("digits", root=tmp_path / "b", store_name="scans").fingerprint == plain.fingerprint
    half = prepare("digits", root=tmp_path / "a", fraction=0.5, store_name="half")
    assert half.fingerprint != plain.fingerprint
    assert half.images == pytest.approx(1797 / 2, rel=0.08)
    assert half.splits["test"] / half.images == pytest.approx(0.2, abs=0.04)
    verify("scans", tmp_path / "b")


def test_prepared_twice_is_left_alone_and_other_options_are_refused(tmp_path: Path) -> None:
    first = prepare("digits", root=tmp_path)
    written = (store_folder("digits", tmp_path) / "pixels.bin").stat().st_mtime_ns
    assert prepare("digits", root=tmp_path) == first
    assert (store_folder("digits", tmp_path) / "pixels.bin").stat().st_mtime_ns == written
    with pytest.raises(BadInputError, match=r"fraction is 1.0, requested 0.5; choose another name with --as"):
        prepare("digits", root=tmp_path, fraction=0.5)


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_run_leaves_nothing_and_the_next_clears_up(tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int | None) -> None:
        assert (stage, total) == ("converting images", 1797)
        assert StoreInfo.read("digits", tmp_path) is None
        if done > 900:
            raise KeyboardInterrupt

    stale = tmp_path / ".digits.partial" / "pixels.bin"
    stale.parent.mkdir()
    stale.write_text("from a run that was killed")
    with pytest.raises(KeyboardInterrupt):
        prepare("digits", root=tmp_path, progress=interrupt)
    assert not stale.parent.exists()
    assert StoreInfo.read("digits", tmp_path) is None
    assert prepare("digits", root=tmp_path).images == 1797


def test_two_at_once_and_a_folder_that_is_no_store_are_refused(tmp_path: Path) -> None:
    with (tmp_path / ".digits.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BadInputError, match="being prepared by another process"):
            prepare("digits", root=tmp_path)
    (tmp_path / "digits").mkdir()
    with pytest.raises(BadInputError, match="exists and is not a store"):
        prepare("digits", root=tmp_path)


def test_verify_names_the_row_with_a_flipped_bit(tmp_path: Path) -> None:
    prepare("digits", root=tmp_path)
    store = ImageStore.open("digits", tmp_path)
    path = store.path / "pixels.bin"
    content = bytearray(path.read_bytes())
    content[int(store._positions[1234]) * 8 * 8 * 3 + 17] ^= 1
    name = store.names([1234])[0]
    del store
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=rf"row 1234 \({name}\) differs from its checksum"):
        verify("digits", tmp_path)


def test_damage_to_the_files_or_their_description_is_one_clear_error(tmp_path: Path) -> None:
    prepare("digits", root=tmp_path)
    folder = tmp_path / "digits"
    pixels, rows, described = folder / "pixels.bin", folder / "rows.arrow", folder / "store.json"
    for path, message in ((rows, "damaged"), (pixels, "can't be read|images, 1797 expected")):
        intact = path.read_bytes()
        for kept in (0, 100, len(intact) // 2, len(intact) - 3):
            path.write_bytes(intact[:kept])
            with pytest.raises(BadInputError, match=message):
                ImageStore.open("digits", tmp_path)
        path.write_bytes(intact)
    fields = json.loads(described.read_text())
    for change, message in {
        "format_version": "store format 0, this program reads 2; remove it and prepare it again: python -m sweep.data",
        "options": "differs from its fingerprint",
        "colour": "unknown field",
    }.items():
        described.write_text(json.dumps({**fields, change: {} if change == "options" else 0}))
        with pytest.raises(BadInputError, match=message):
            verify("digits", tmp_path)
    described.write_text("{")
    with pytest.raises(BadInputError, match="can't be read"):
        StoreInfo.read("digits", tmp_path)
    assert remove("digits", tmp_path) > 0  # of whatever format, however damaged
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_removed_store_goes_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that takes it in between would prepare the store beside the next one, which makes a lock of its own."""
    prepare("digits", root=tmp_path)
    unlink, taken = Path.unlink, []

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path.name == ".digits.lock":
            with pytest.raises(Timeout):
                FileLock(path, is_singleton=False).acquire(blocking=False)
            taken.append(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    remove("digits", tmp_path)
    assert taken
    assert list(tmp_path.iterdir()) == []


def resident_mebibytes() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def read_all_of_a_sparse_store(folder: Path, size: int) -> float:
    """Make a store of `size` bytes whose pixels are a hole in the file; return by how many MiB a pass over it grows."""
    prepare("digits", root=folder)
    row, images = 8 * 8 * 3, 1797
    side = int((size / images / 3) ** 0.5)
    path = folder / "digits"
    fields = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps({**fields, "image_size": [side, side]}))
    with (path / "pixels.bin").open("wb") as file:
        file.truncate(images * side * side * 3)
    assert side * side * 3 > row
    store = ImageStore.open("digits", folder)
    store.images(range(4))
    before, most = resident_mebibytes(), 0.0
    for start in range(0, images, 16):
        store.images(range(start, min(start + 16, images)))
        most = max(most, resident_mebibytes())
    return most - before


@pytest.mark.slow
def test_resident_memory_stays_flat_over_a_pass(tmp_path: Path) -> None:
    assert read_all_of_a_sparse_store(tmp_path, 2 * 2**30) < 700


@pytest.mark.long
def test_resident_memory_stays_flat_over_a_store_larger_than_memory(tmp_path: Path) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert read_all_of_a_sparse_store(tmp_path, round(1.2 * memory)) < 1200


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed() -> None:
    from sweep.cluster.processes import runs

    program = (
        "import time\nfrom trainables.data.preparing.decode_workers import _workers\nif __name__ == '__main__':\n"
        " with _workers() as (pool, count):\n"
        "  jobs = [pool.submit(time.sleep, 60) for _ in range(count)]\n"
        "  time.sleep(0.5)\n"
        "  print(*pool._processes, flush=True)\n"
        "  time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert workers
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(map(runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers if runs(worker)]


def test_metadata_addresses_and_the_command_line_import_nothing_heavy() -> None:
    heavy = "torch pyarrow sklearn numpy PIL ray mlflow requests filelock"
    modules = "trainables.data.store_targets, sweep.data"
    program = f"import sys, {modules}; print(*[m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

"""Label sets in shared storage: they refer to the pixels of the store that they label."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data.cache import local_copy
from trainables.data.preparing.label_set import LabelRequest, attach_labels
from trainables.data.preparing.prepare import prepare, remove
from trainables.data.preparing.verify import verify
from trainables.data.shared_pixels import beside, labelled_store
from trainables.data.store import ImageStore
from trainables.data.store_upload import upload
from trainables.errors import BadInputError


@pytest.fixture
def labelled(tmp_path: Path) -> ImageStore:
    """Forty images without labels, and a label set of half of them."""
    (tmp_path / "in").mkdir()
    random, root = np.random.default_rng(0), tmp_path / "made"
    for number in range(40):
        image = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "in" / f"{number:02d}.png")
    prepare("folder", source=tmp_path / "in", root=root, store_name="pool")
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join(f"{n:02d}.png,{'ab'[n % 2]}" for n in range(20)))
    attach_labels(LabelRequest("pool", tmp_path / "t.csv", "set"), root)
    return ImageStore.open("pool.set", root)


def address(tmp_path: Path, name: str) -> str:
    return f"file://{tmp_path}/shared/{name}"


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_store_goes_up_first_and_a_node_links_its_pixels(labelled: ImageStore, tmp_path: Path) -> None:
    place, node = address(tmp_path, "pool.set"), tmp_path / "node"
    told: list[tuple[int, int]] = []
    upload(labelled.path, place, progress=lambda *both: told.append(both))
    assert files(tmp_path / "shared/pool.set") == {"rows.arrow", "store.json"}
    assert files(tmp_path / "shared/pool") == {"rows.arrow", "store.json", "pixels.bin"}
    verify(place)
    copied = local_copy(place, labelled.fingerprint, cache=node)
    there = ImageStore(copied)
    np.testing.assert_array_equal(there.images(range(40)), labelled.images(range(40)))
    np.testing.assert_array_equal(there.labels(range(40)), labelled.labels(range(40)))
    pool = local_copy(address(tmp_path, "pool"), ImageStore.open("pool", tmp_path / "made").fingerprint, cache=node)
    assert (pool / "pixels.bin").samefile(copied / "pixels.bin")
    assert local_copy(place, labelled.fingerprint, cache=node) == copied


def test_a_store_that_is_there_is_not_sent_again(labelled: ImageStore, tmp_path: Path) -> None:
    upload(tmp_path / "made/pool", address(tmp_path, "pool"))
    remove("pool", tmp_path / "made")
    sent: list[tuple[int, int]] = []
    upload(labelled.path, address(tmp_path, "pool.set"), progress=lambda *both: sent.append(both))
    assert sent[-1][1] < 40 * 32 * 32 * 3 < (labelled.path / "pixels.bin").stat().st_size + 1
    assert files(tmp_path / "shared/pool.set") == {"rows.arrow", "store.json"}


def test_without_its_store_a_label_set_takes_its_pixels_along(labelled: ImageStore, tmp_path: Path) -> None:
    remove("pool", tmp_path / "made")
    place = address(tmp_path, "pool.set")
    upload(labelled.path, place)
    verify(place)
    there = ImageStore(local_copy(place, labelled.fingerprint, cache=tmp_path / "node"))
    np.testing.assert_array_equal(there.images(range(40)), labelled.images(range(40)))


def test_a_store_that_went_or_changed_is_said(labelled: ImageStore, tmp_path: Path) -> None:
    place, shared = address(tmp_path, "pool.set"), tmp_path / "shared"
    upload(labelled.path, place)
    (shared / "pool").rename(shared / "gone")
    with pytest.raises(
        BadInputError, match=r"is a label set of pool [0-9a-f]{12}, which isn't at file://.*/shared/pool;"
    ):
        local_copy(place, labelled.fingerprint, cache=tmp_path / "node")
    with pytest.raises(BadInputError, match="which isn't at"):
        verify(place)
    Image.new("RGB", (32, 32)).save(tmp_path / "in" / "40.png")
    prepare("folder", source=tmp_path / "in", root=tmp_path / "other", store_name="pool")
    upload(tmp_path / "other/pool", address(tmp_path, "pool"))
    with pytest.raises(BadInputError, match="which isn't at"):
        local_copy(place, labelled.fingerprint, cache=tmp_path / "node")
    again = address(tmp_path, "again/pool.set")
    upload(tmp_path / "other/pool", address(tmp_path, "again/pool"))
    upload(labelled.path, again)
    assert "pixels.bin" in files(shared / "again/pool.set"), "another pool lies there"


def test_what_a_label_set_names_is_a_plain_name(labelled: ImageStore) -> None:
    assert labelled_store(labelled.info) == ("pool", ImageStore.open("pool", labelled.path.parent).fingerprint[:12])
    for named in ("../pool 0123456789ab", "pool xyz", "pool", " 0123456789ab"):
        assert labelled_store(labelled.info.model_copy(update={"options": {"labels of": named}})) is None
    assert beside("s3://b/stores/a.set?endpoint_override=h:1", "a") == "s3://b/stores/a?endpoint_override=h:1"

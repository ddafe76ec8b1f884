"""Scenes cut into chips: what is read, what is kept of each chip, which are chosen, and how they are split."""

import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from support.products import LEFT, METRES, TOP, band_values, write_product
from support.scenes import write_scene

from sweep.maps.chip_grid import SceneGrid
from sweep.maps.open_scene import open_scene
from sweep.maps.scene import Scene
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing import decode_workers
from trainables.data.preparing.label_set import LabelRequest, attach_labels
from trainables.data.preparing.prepare import prepare
from trainables.data.seasons import SeasonPairs
from trainables.data.spatial_splits import distances
from trainables.data.splits import SPLITS
from trainables.data.store import ImageStore
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError


def pool(source: Path, root: Path, name: str = "pool", **options: Any) -> ImageStore:
    settings = {"chip_size": 24, "splits": "random", "pixels": "none"} | options
    prepare("scenes", source=source, root=root, store_name=name, reader=read_scenes, **settings)
    return ImageStore.open(name, root)


def test_one_worker_takes_a_run_of_a_scenes_chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one worker all chips are one run, which needs no process of its own."""
    monkeypatch.setattr(decode_workers, "CHUNK_BYTES", 1)
    monkeypatch.setattr(decode_workers, "_worker_count", lambda: 1)
    monkeypatch.setattr(decode_workers, "_workers", lambda: pytest.fail("the chips of one scene were dealt out singly"))
    write_product(tmp_path / "in")
    assert len(pool(tmp_path / "in", tmp_path)) == 25


def test_a_scene_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for value in (1000, 2000):
        write_scene(tmp_path / "in" / "field.tif", np.full((24, 240, 3), value, np.uint16))
        store = pool(tmp_path / "in", tmp_path, f"pool{value}")
        assert (store.images(range(len(store))) == value).all()


def test_chips_of_two_dates_are_pairs_of_seasons(tmp_path: Path) -> None:
    """The second product lies one chip further east: 20 of its 25 places are those of the first."""
    write_product(tmp_path / "in")
    write_product(tmp_path / "in", date="20230901", seed=1, left=LEFT + 240)
    store = pool(tmp_path / "in", tmp_path)
    rows = store.split("train")
    chips = store.chips(rows) or []
    pairs = SeasonPairs.of(store, rows)
    partners = pairs.partners(np.arange(len(rows)), np.zeros(len(rows)))
    for number, partner in enumerate(partners.tolist()):
        others = [k for k, chip in enumerate(chips) if chip.place == chips[number].place and k != number]
        assert partner == (others[0] if others else number)
    assert store.info.place_dates == pairs.counts
    assert pairs.counts.dates == 2
    assert 0 < pairs.counts.paired < len(rows)


def everything(store: ImageStore) -> list[Any]:
    return store.chips(np.arange(len(store))) or []


def rows_of(store: ImageStore) -> dict[str, int]:
    return {name: row for row, name in enumerate(store.names(np.arange(len(store))))}


def test_chips_of_a_product_are_its_pixels_where_they_lie(tmp_path: Path) -> None:
    product = write_product(tmp_path / "in")
    store = pool(tmp_path / "in", tmp_path, bands=("B04", "B05", "B01"))
    assert len(store) == 25
    name = product.name.removesuffix(".SAFE")
    row = rows_of(store)[f"{name}/00048_00024"]
    image = store.images([row])[0].numpy()
    wanted = [
        np.repeat(np.repeat(band_values(band, 120), repeat, 0), repeat, 1)[48:72, 24:48].astype(int) - 1000
        for band, repeat in (("B04", 1), ("B05", 2), ("B01", 6))
    ]
    np.testing.assert_array_equal(image, np.stack(wanted, -1))
    chip = everything(store)[row]
    assert chip.transform == (10.0, 0.0, LEFT + 240, 0.0, -10.0, TOP - 480)
    assert (chip.crs, chip.date, chip.tile, chip.nodata) == ("EPSG:32634", "2023-06-13", "T34VER", 0.0)
    assert chip.longitude == pytest.approx(21.0, abs=0.01)
    assert chip.latitude == pytest.approx(63.12, abs=0.02)
    assert store.info.unlabelled == store.info.splits
    assert "-1000" in store.info.decisions["offset"]
    assert store.info.bands[0].scale == 1e-4


def test_percentiles_of_all_bands_are_of_those_that_the_product_has(tmp_path: Path) -> None:
    write_product(tmp_path / "in")
    store = pool(tmp_path / "in", tmp_path, bands=("all",), pixels="percentiles")
    ranges = str(store.info.options["percentiles"]).split(", ")
    assert [one.partition(":")[0] for one in ranges] == [band.name for band in store.info.bands] == sorted(METRES)


def test_chips_take_numbers(tmp_path: Path) -> None:
    write_product(tmp_path / "in")
    names = sorted(rows_of(pool(tmp_path / "in", tmp_path)))
    (tmp_path / "t.csv").write_text("path,tons\n" + "\n".join(f"{name},{n / 4}" for n, name in enumerate(names[:20])))
    attach_labels(LabelRequest("pool", tmp_path / "t.csv", "yield", {"label": "tons"}, number=True), tmp_path)
    store = ImageStore.open("pool.yield", tmp_path)
    assert store.info.labelled_images == 20
    np.testing.assert_array_equal(store.numbers(np.arange(len(store)))[:20], np.arange(20) / 4)
    assert store.labelled(np.arange(len(store))).tolist() == [True] * 20 + [False] * 5
    assert everything(store)[0].crs == "EPSG:32634"


def test_scl_gives_shares_and_limits_leave_chips_out(tmp_path: Path) -> None:
    scl = np.full((60, 60), 4, dtype=np.uint8)
    scl[:12, :12] = 9  # the first chip, all cloud
    scl[:6, 12:24] = 3  # half of the second in shadow
    scl[12:15, :12] = 11
    scl[48:, 48:51] = 0
    write_product(tmp_path / "in", scl=scl)
    store = pool(tmp_path / "in", tmp_path, max_nodata=1.0)
    found = {(chip.transform[2] - LEFT, TOP - chip.transform[5]): chip for chip in everything(store)}
    assert found[0, 0].cloud == 1.0
    assert found[240, 0].shadow == 0.5
    assert found[0, 240].snow == 0.25
    assert found[960, 960].nodata == 0.25
    fewer = pool(tmp_path / "in", tmp_path, "fewer", max_cloud=0.5, max_shadow=0.4)
    assert len(fewer) == 22
    assert fewer.info.decisions["left out"].count("1 chips with more than") == 3


def test_level_1c_says_that_its_clouds_are_unknown(tmp_path: Path) -> None:
    write_product(tmp_path / "in", level="L1C")
    store = pool(tmp_path / "in", tmp_path)
    assert any("without a scene classification" in note for note in store.info.notes)
    assert {chip.cloud for chip in everything(store)} == {None}


@pytest.mark.parametrize("rule", ["bilinear", "bicubic"])
def test_coarse_bands_are_enlarged_as_the_whole_scene_is(tmp_path: Path, rule: str) -> None:
    from PIL import Image

    write_product(tmp_path / "in")
    store = pool(tmp_path / "in", tmp_path, bands=("B04", "B11"), resample=rule)
    whole = Image.fromarray(band_values("B11", 120).astype(np.float32))
    large = np.rint(np.asarray(whole.resize((120, 120), Image.Resampling[rule.upper()]))).clip(1000) - 1000
    for name, row in rows_of(store).items():
        top, left = map(int, name.rpartition("/")[2].split("_"))
        own = store.images([row])[0].numpy()[..., 1]
        np.testing.assert_allclose(own, large[top : top + 24, left : left + 24], atol=1)


def test_n_chips_a_scene_are_the_same_whatever_else_is_there(tmp_path: Path) -> None:
    write_product(tmp_path / "in")
    alone = pool(tmp_path / "in", tmp_path, chips=7)
    write_product(tmp_path / "in", date="20230101", tile="T34VES", left=LEFT + 1200, seed=1)
    both = pool(tmp_path / "in", tmp_path, "both", chips=7)
    assert len(alone) == 7
    assert len(both) == 14
    assert set(rows_of(alone)) < set(rows_of(both))


def test_a_place_is_taken_once_a_date_from_the_later_processing(tmp_path: Path) -> None:
    product = write_product(tmp_path / "in")
    shutil.copytree(product, product.with_name(product.name.replace("T200000", "T210000")))
    write_product(tmp_path / "in", date="20230813", seed=2)
    store = pool(tmp_path / "in", tmp_path)
    assert len(store) == 50
    assert {chip.scene[-7:] for chip in everything(store) if chip.date == "2023-06-13"} == {"T210000"}
    assert "25 chips of a place and date" in store.info.decisions["left out"]


def test_geotiffs_are_read_with_their_nodata_and_date(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 255, (96, 120, 4)).astype(np.uint8)
    values[:10, :10] = 0
    path = write_scene(
        tmp_path / "in.tif", values, nodata=0, photometric="minisblack", tiled=True, blockxsize=32, blockysize=32
    )
    with rasterio.open(path, "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2022:07:01 10:00:00")
    store = pool(path, tmp_path, stride=12)
    assert store.info.channels == 4
    assert len(store) == 7 * 9 - 1
    assert everything(store)[0].date == "2022-07-01"
    with pytest.raises(BadInputError, match=r"8-bit values.*--pixels none"):
        pool(path, tmp_path, "other", pixels="thesis")


def geotiff_with_gaps(path: Path, **packing: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    values = np.random.default_rng(1).integers(1, 4000, (240, 260, 3)).astype(np.uint16)
    values[:50, 40:90] = 0
    values[100, 200] = 0
    values[150:, 130:160] = 0
    return write_scene(path, values, nodata=0, tiled=True, blockxsize=64, blockysize=64, **packing)


@pytest.mark.parametrize(("most", "packing"), [(0.0, {}), (0.4, {}), (0.4, {"compress": "deflate"})])
def test_nodata_counted_as_chips_are_read_is_that_counted_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, packing: dict[str, str]
) -> None:
    path = geotiff_with_gaps(tmp_path / "in.tif", **packing)
    before = pool(path, tmp_path, "before", max_nodata=most, stride=12, chips=10_000)
    monkeypatch.setattr(SceneGrid, "counted", lambda *_: pytest.fail("the scene was read through before its chips"))
    monkeypatch.setattr(decode_workers, "CHUNK_BYTES", 1)
    store = pool(path, tmp_path, max_nodata=most, stride=12)
    assert rows_of(store) == rows_of(before)
    assert everything(store) == everything(before)
    assert (tmp_path / "pool" / "pixels.bin").read_bytes() == (tmp_path / "before" / "pixels.bin").read_bytes()
    assert store.info.decisions["left out"] == before.info.decisions["left out"]
    assert store.info.decisions["chips"] == before.info.decisions["chips"]
    assert len({chip.nodata for chip in everything(store)}) == 1 if most == 0.0 else len(store) > 200


def test_a_row_of_chips_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_workers, "_worker_count", lambda: 1)
    read: list[tuple[Any, ...]] = []
    window = Scene.window
    monkeypatch.setattr(Scene, "window", lambda *given: read.append(given[1:3]) or window(*given))
    pool(geotiff_with_gaps(tmp_path / "in.tif"), tmp_path)
    assert read == [((24 * row, 24), (0, 240)) for row in range(10)]


def test_the_cache_holds_the_tiles_of_a_strip_until_the_next(tmp_path: Path) -> None:
    path = geotiff_with_gaps(tmp_path / "in.tif")
    with open_scene(path, (), 3) as scene:
        cache, row_of_tiles = scene.row_cache_bytes(24), 3 * 64 * 5 * 64 * 2
    for top in range(260 - 24):
        touched = {row // 64 for row in range(top, top + 24)}
        assert len(touched) * row_of_tiles < cache <= 3 * row_of_tiles


def test_scenes_that_share_places_are_counted_before_one_is_chosen(tmp_path: Path) -> None:
    first = geotiff_with_gaps(tmp_path / "in" / "a_20220101.tif")
    with rasterio.open(shutil.copy(first, first.with_name("b_20220101.tif")), "r+") as file:
        file.write(np.zeros((3, 48, 260), np.uint16), window=((0, 48), (0, 260)))
    store = pool(tmp_path / "in", tmp_path)
    scenes = {(chip.scene[0], chip.transform[5]) for chip in everything(store)}
    top = max(line for _, line in scenes)
    assert {scene for scene, line in scenes if line > top - 480} == {"a"}
    assert {scene for scene, line in scenes if line <= top - 480} == {"b"}


def test_a_scene_without_data_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "in.tif", np.zeros((60, 60, 3), dtype=np.uint16), nodata=0)
    with pytest.raises(BadInputError, match=r"no usable image.*chips with more than 0% nodata"):
        pool(path, tmp_path)


def test_blocks_keep_test_and_train_apart(tmp_path: Path) -> None:
    write_product(tmp_path / "in", side=240)
    write_product(tmp_path / "in", date="20230813", side=240, seed=3)
    store = pool(tmp_path / "in", tmp_path, splits="block", block_size=480.0, buffer=240.0, stride=12)
    chips = everything(store)
    codes = np.array([SPLITS.index(split) for split in store._rows.column("split").to_pylist()], dtype=np.int8)
    train, test = ([chip.centre for chip, own in zip(chips, codes, strict=True) if own == code] for code in (0, 2))
    gaps = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) - 240.0 for a in train for b in test]
    assert min(gaps) >= 240.0
    assert {chip.place for chip, own in zip(chips, codes, strict=True) if own == 0}.isdisjoint(
        chip.place for chip, own in zip(chips, codes, strict=True) if own == 2
    )
    nearest = [min(np.hypot(a[0] - b[0], a[1] - b[1]) for a in train) for b in test]
    np.testing.assert_allclose(distances(chips, codes), nearest, rtol=0.0005)
    assert "left out" in store.info.decisions["splits"]
    told = re.findall(r"(\d+) m", store.info.decisions["distance between splits"])
    assert [int(one) for one in told] == pytest.approx([np.median(nearest), min(nearest)], rel=0.01)


def test_longitude_and_tiles_split_whole_stretches(tmp_path: Path) -> None:
    write_product(tmp_path / "in")
    write_product(tmp_path / "in", tile="T34VES", left=LEFT + 1200, seed=1)
    store = pool(tmp_path / "in", tmp_path, splits="longitude")
    assert set(store.info.splits) == {"train", "validation", "test"}
    edges = [
        [chip.longitude for chip in store.chips(store.split(split)) or []] for split in ("train", "validation", "test")
    ]
    assert max(edges[0]) < min(edges[1])
    assert max(edges[1]) < min(edges[2])
    apart = pool(tmp_path / "in", tmp_path, "apart", splits="longitude", buffer=240.0)
    places = [[chip.centre[0] for chip in apart.chips(apart.split(split)) or []] for split in apart.info.splits]
    assert [min(east) - max(west) for west, east in pairwise(places)] == [480.0, 480.0]
    left_out = len(store) - len(apart)
    assert f"{left_out} chips that overlap one of the next split or lie within" in apart.info.decisions["splits"]
    tiles = pool(tmp_path / "in", tmp_path, "tiles", splits="tile")
    assert [len({chip.tile for chip in tiles.chips(tiles.split(split)) or []}) for split in ("train", "test")] == [1, 1]


def test_a_pool_is_known_again_and_an_edited_one_is_not(tmp_path: Path) -> None:
    write_product(tmp_path / "in")
    first = pool(tmp_path / "in", tmp_path)
    assert pool(tmp_path / "in", tmp_path).fingerprint == first.fingerprint
    write_product(tmp_path / "in", date="20230901", seed=5)
    with pytest.raises(BadInputError, match="25 images added to the source"):
        pool(tmp_path / "in", tmp_path)
    assert StoreInfo.read("pool", tmp_path) == first.info


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chip_size": 2}, "--chip-size must be >= 4"),
        ({"max_cloud": 2.0}, "--max-cloud must be from 0 to 1"),
        ({"block_size": 100.0}, "--block-size: is for --splits block"),
        ({"buffer": 100.0}, "--buffer: is for --splits block, tile or longitude; leave it out with --splits random"),
        ({"splits": "block", "buffer": float("inf")}, "--buffer must be a number >= 0, got inf"),
        ({"image_size": 32}, "--image-size: chips keep their pixels"),
        ({"chip_size": 500}, "no scene holds a whole chip of 500 pixels"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = write_scene(tmp_path / "in.tif", np.ones((60, 60, 3), dtype=np.uint16))
    with pytest.raises(BadInputError, match=message):
        pool(path, tmp_path, **options)


def test_show_draws_the_pool_and_where_its_chips_lie(tmp_path: Path) -> None:
    from PIL import Image

    from sweep.data import main

    write_product(tmp_path / "in")
    pool(tmp_path / "in", tmp_path)
    output = tmp_path / "pool.png"
    with pytest.raises(SystemExit) as ended:
        main(["show", "pool", "--root", str(tmp_path), "--output", str(output), "--set", "image_size=24"])
    assert ended.value.code == 0
    drawn = np.asarray(Image.open(tmp_path / "pool-map.png").convert("RGB"))
    assert (drawn == (0x00, 0x72, 0xB2)).all(axis=2).sum() > 100

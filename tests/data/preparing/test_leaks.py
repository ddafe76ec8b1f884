"""Images in two splits at once: hashes against a slow oracle, pairs against all pairs, and bounded work."""

import hashlib
import io
from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.sample_data import sample_folder

from trainables.data.patch_names import tile_position
from trainables.data.preparing import leaks
from trainables.data.preparing.leaks import find_leaks, perceptual_hashes

Images = NDArray[np.uint8]


def textured(count: int, seed: int = 0, size: int = 32) -> Images:
    """Return smooth images with structure, as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in coarse]
    )


def jpeg(image: Images, quality: int) -> Images:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content))


def slow_hash(image: Images) -> int:
    height, width, _ = image.shape

    def edges(length: int, parts: int) -> list[tuple[int, int]]:
        starts = [min(part * length // parts, length - 1) for part in range(parts)]
        return [(start, max(stop, start + 1)) for start, stop in zip(starts, [*starts[1:], length], strict=True)]

    bits = ""
    for top, bottom in edges(height, 8):
        cells = [image[top:bottom, left:right].astype(float).mean() for left, right in edges(width, 9)]
        bits += "".join("1" if left < right else "0" for left, right in pairwise(cells))
    return int(bits, 2) if 8 <= bits.count("1") <= 56 else 0


def found(images: Images, splits: list[str], **options: object) -> leaks.SplitLeaks:
    content = np.array([hashlib.md5(image.tobytes()).digest() for image in images], dtype="V16")
    return find_leaks(
        names=[f"{number}.jpg" for number in range(len(images))],
        splits=splits,
        content=content,
        hashes=perceptual_hashes(images),
        tiles=options.get("tiles"),  # type: ignore[arg-type]
        pixels=options.get("pixels", lambda rows: images[rows]),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("shape", [(64, 64), (120, 120), (33, 47), (8, 9), (5, 4), (1, 1)])
def test_a_hash_says_which_cell_is_darker_than_the_next(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    for channels in (1, 3, 13):
        images = random.integers(0, 256, (5, *shape, channels), dtype=np.uint8)
        assert perceptual_hashes(images).tolist() == [slow_hash(image) for image in images]
    wide = random.integers(0, 2**16, (5, *shape, 4), dtype=np.uint16)
    assert perceptual_hashes(wide).tolist() == [slow_hash(image) for image in wide]


def test_the_sums_of_tall_bright_images_fit() -> None:
    """An eighth of 2,100 rows of white has a sum beyond 16 bits."""
    tall = np.random.default_rng(1).integers(245, 256, (2, 2100, 9, 1), dtype=np.uint8)
    assert perceptual_hashes(tall).tolist() == [slow_hash(image) for image in tall]


def test_brightness_leaves_a_hash_and_compression_hardly_moves_it() -> None:
    images = textured(40) // 2
    hashes = perceptual_hashes(images)
    assert (perceptual_hashes(images + 50) == hashes).all()
    again = perceptual_hashes(np.stack([jpeg(image, 90) for image in images]))
    assert (np.bitwise_count(hashes ^ again) <= 3).mean() > 0.75
    assert (perceptual_hashes(np.full((3, 32, 32, 3), 70, np.uint8)) == 0).all()


def test_twins_across_splits_are_counted_once_and_named() -> None:
    images = textured(30)
    images[20] = images[3]  # test = train
    images[21] = images[3]  # test = train, the same one
    images[22] = images[20]  # validation = test and train
    images[5] = images[4]  # both train: no leak
    images[23] = jpeg(images[6], 95)  # nearly
    images[29] = jpeg(images[7], 95)
    splits = ["train"] * 20 + ["test", "test", "validation"] + ["test"] * 7
    result = found(images, splits)
    assert (result.identical, result.near_identical, result.neighbours) == (3, 2, 0)
    assert "20.jpg (test) is 3.jpg (train)" in result.examples
    assert "23.jpg (test) is nearly 6.jpg (train)" in result.examples
    assert found(images, ["train"] * 30).identical == 0


def test_flat_images_are_never_nearly_identical() -> None:
    images = np.full((10, 32, 32, 3), 40, np.uint8)
    images[np.arange(10), 0, 0, 0] = np.arange(10)
    assert found(images, ["train"] * 5 + ["test"] * 5).near_identical == 0


def test_pairs_agree_with_a_comparison_of_all() -> None:
    base = textured(60, seed=3)
    images = np.concatenate([base, np.stack([jpeg(image, 75) for image in base]), textured(60, seed=4)])
    splits = np.random.default_rng(5).choice(["train", "test", "validation"], len(images)).tolist()
    hashes = perceptual_hashes(images)
    small = images.astype(float) / 255
    expected = set()
    for one, other in combinations(range(len(images)), 2):
        near = hashes[one] and hashes[other] and int(hashes[one] ^ hashes[other]).bit_count() <= 3
        if splits[one] != splits[other] and near and np.abs(small[one] - small[other]).mean() <= 8 / 255:
            expected |= {row for row in (one, other) if splits[row] != "train"}
    assert len(expected) > 20
    assert found(images, splits).near_identical == len(expected)


def test_thousands_alike_take_bounded_work() -> None:
    images = np.repeat(textured(1), 3000, axis=0)
    images[:, 0, 0, 0] = np.arange(3000) % 251
    images[:, 0, 0, 1] = np.arange(3000) // 251  # none identical, all nearly
    read = []

    def pixels(rows: NDArray[np.int64]) -> Images:
        read.append(len(rows))
        return images[rows]

    result = found(images, ["train", "test"] * 1500, pixels=pixels)
    assert result.near_identical > 700
    assert sum(read) < 10 * len(images)


@pytest.mark.parametrize("count", [leaks.LARGEST_BUCKET, leaks.LARGEST_BUCKET + 1, 1500])
@pytest.mark.parametrize("order", [["train", "test"], ["test", "train"], ["test", "validation", "train"]])
def test_the_order_of_splits_and_the_size_of_a_bucket_hide_no_twin(count: int, order: list[str]) -> None:
    images = np.repeat(textured(1), count, axis=0)
    images[:, 0, 0, 0] = np.arange(count) % 251
    images[:, 0, 0, 1] = np.arange(count) // 251
    splits = [order[number * len(order) // count] for number in range(count)]
    assert found(images, splits).near_identical == sum(split != "train" for split in splits)


def test_hashes_alike_of_images_that_differ_read_few_pixels() -> None:
    count, read = 1000, []
    images = np.random.default_rng(6).integers(0, 256, (count, 8, 9, 1), dtype=np.uint8)

    def pixels(rows: NDArray[np.int64]) -> Images:
        read.append(len(rows))
        return images[rows]

    result = find_leaks(
        names=[str(number) for number in range(count)],
        splits=["train"] * 500 + ["test"] * 500,
        content=np.arange(2 * count, dtype=np.uint64).view("V16"),
        hashes=np.repeat(np.array([0x0F0F0F0F0F0F0F0F, 0x3333333333333333], np.uint64), 500)[
            np.arange(count) % 2 * 500
        ],
        tiles=None,
        pixels=pixels,
    )
    assert result.near_identical == 0
    assert sum(read) <= 500 * leaks.MOST_CANDIDATES * 2
    assert max(read) <= 2 * leaks.PAIRS_AT_ONCE


def test_patches_beside_each_other_in_one_tile() -> None:
    assert tile_position("S2A_MSIL2A_20170613T101032_0_50") == ("S2A_MSIL2A_20170613T101032", 0, 50)
    v2 = "S2A_MSIL2A_20170613T101032_N9999_R022_T34VER"
    assert tile_position(f"{v2}_00_50") == (v2, 0, 50)
    for other in ("n01443537_0.JPEG", "S2A_MSIL2A_mine_1_2", "S2A_MSIL2A_20170613T101032", f"{v2}_00_50_B04"):
        assert tile_position(other) is None
    images = textured(6)
    tiles = [("a", 0, 0), ("a", 1, 1), ("a", 3, 3), ("b", 0, 1), ("a", 0, 1), None]
    result = found(images, ["train", "test", "test", "test", "train", "test"], tiles=tiles)
    assert (result.neighbours, result.examples) == (1, ("1.jpg (test) lies beside 0.jpg (train)",))


def test_eurosat_has_no_twin_across_a_split() -> None:
    paths = sorted(sample_folder("eurosat-rgb").rglob("*.jpg"))[::3]
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    result = found(images, ["test" if number % 5 == 0 else "train" for number in range(len(paths))])
    assert result.identical == 0
    assert result.near_identical <= 2


def test_compression_hardly_moves_the_hash_of_a_textured_satellite_image() -> None:
    paths = sorted(sample_folder("eurosat-rgb").rglob("*.jpg"))[::5]
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    images = images[images.mean(axis=3).std(axis=(1, 2)) > 10]
    again = np.stack([jpeg(image, 90) for image in images])
    moved = np.bitwise_count(perceptual_hashes(images) ^ perceptual_hashes(again))
    assert len(images) > 200
    assert (moved <= leaks.NEAR_BITS).mean() > 0.93

"""Draws of a view: functions of seed, stream and step, distributed as the reference's; random numbers are Philox's."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from support.sample_data import golden
from support.views import PLAIN, draws

from trainables import augment
from trainables.augment.parameters import PER_IMAGE, ViewDraws, draw_view
from trainables.config import TrialConfig
from trainables.randomness.counter_based import RandomStream, permutation, positions, random_words, uniform

FEW = settings(max_examples=50, deadline=None, database=None)
Arrays = dict[str, NDArray[Any]]


def drawn_by(config: TrialConfig, count: int, *, step: int = 3) -> ViewDraws:
    return draw_view(config, RandomStream.VIEW_A, step, count, height=64, width=64)


def same(a: ViewDraws, b: ViewDraws) -> bool:
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(ViewDraws))


def test_draws_are_a_function_of_seed_stream_and_step() -> None:
    bands = {"jitter_per": "band", "band_drop_probability": 0.5}
    config = TrialConfig(vertical_flip_probability=0.5, rotation_probability=0.5, **bands)
    drawn = draw_view(config, RandomStream.VIEW_A, 7, 40, height=64, width=64)
    np.random.seed(1)
    torch.manual_seed(1)
    assert same(drawn, draw_view(config, RandomStream.VIEW_A, 7, 40, height=64, width=64))
    others = [
        draw_view(config, RandomStream.VIEW_B, 7, 40, height=64, width=64),
        draw_view(config, RandomStream.VIEW_A, 8, 40, height=64, width=64),
        draw_view(config.model_copy(update={"seed": 1}), RandomStream.VIEW_A, 7, 40, height=64, width=64),
    ]
    for other in others:
        for name in PER_IMAGE:
            assert not np.array_equal(getattr(drawn, name), getattr(other, name)), name
    # An image's parameters don't depend on how many follow it, nor on how they fare.
    assert same(drawn.slice(slice(0, 9)), draw_view(config, RandomStream.VIEW_A, 7, 9, height=64, width=64))


def test_each_purpose_of_a_view_has_its_own_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coins, numbers, sigma and every attempt at a crop: one block read twice would tie two of them together."""
    blocks: list[int] = []

    def recorded(seed: int, stream: RandomStream, index: int, shape: tuple[int, ...], *, block: int = 0) -> Any:
        blocks.append(block)
        return uniform(seed, stream, index, shape, block=block)

    monkeypatch.setattr("trainables.augment.parameters.uniform", recorded)
    drawn_by(TrialConfig(), 200)
    assert len(blocks) > 4
    assert len(set(blocks)) == len(blocks)


def test_two_views_of_an_image_differ() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 64, 64), dtype=np.uint8))
    pair = [
        draw_view(TrialConfig(), stream, 0, 6, height=64, width=64)
        for stream in (RandomStream.VIEW_A, RandomStream.VIEW_B)
    ]
    a, b = augment.two_views(pixels, (pair[0], pair[1]), image_size=64)
    assert ((a - b).abs().amax((1, 2, 3)) > 0.05).all()


def test_draws_have_the_distributions_of_the_reference() -> None:
    count = 20_000
    drawn = drawn_by(TrialConfig(blur_sigma_per="image"), count)
    for name, probability in (("flip", 0.5), ("jitter", 0.8), ("grayscale", 0.2), ("blur", 0.5)):
        error = 4 * math.sqrt(probability * (1 - probability) / count)
        assert getattr(drawn, name).mean() == pytest.approx(probability, abs=error), name
    coins = np.stack([drawn.flip, drawn.jitter, drawn.grayscale, drawn.blur])
    assert np.abs(np.corrcoef(coins) - np.eye(4)).max() < 4 / math.sqrt(count)
    grid = np.linspace(0, 1, count)
    for index, (low, high) in enumerate([(0.2, 1.8), (0.2, 1.8), (0.2, 1.8), (-0.2, 0.2)]):
        assert np.abs(np.sort((drawn.factors[:, index] - low) / (high - low)) - grid).max() < 1.95 / math.sqrt(count)
    assert np.abs(np.sort((drawn.sigma - 0.1) / 1.9) - grid).max() < 1.95 / math.sqrt(count)
    orders, counts = np.unique(drawn.order, axis=0, return_counts=True)
    assert len(orders) == 24
    assert np.abs(counts - count / 24).max() < 4.5 * math.sqrt(count / 24)
    strong = drawn_by(TrialConfig(jitter_strength=2.0), 1000).factors[:, :3]
    assert (strong.min(), strong.max()) == pytest.approx((0.0, 2.6), abs=0.01)  # max(0, 1 - 0.8 s)


def test_sigma_is_one_a_batch_or_one_an_image() -> None:
    shared = [drawn_by(TrialConfig(), 50, step=step).sigma for step in range(20)]
    assert all(len(np.unique(sigma)) == 1 for sigma in shared)
    assert len({float(sigma[0]) for sigma in shared}) == 20
    own = drawn_by(TrialConfig(blur_sigma_per="image"), 50).sigma
    assert len(np.unique(own)) == 50
    assert all(0.1 <= sigma.min() <= sigma.max() < 2.0 for sigma in [*shared, own])


# Random numbers


def slow_philox(key: tuple[int, int], counter: list[int]) -> list[int]:
    """Return the four words of Philox 4x64 with ten rounds, after table 2 of Salmon et al. 2011."""
    k0, k1 = key
    a, b, c, d = counter
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (high >> 64) ^ b ^ k0, high % 2**64, (low >> 64) ^ d ^ k1, low % 2**64
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % 2**64, (k1 + 0xBB67AE8584CAA73B) % 2**64
    return [a, b, c, d]


@FEW
@given(seed=st.integers(0, 2**32 - 1), index=st.integers(0, 2**40), block=st.integers(0, 200))
def test_random_words_are_philoxs(seed: int, index: int, block: int) -> None:
    found = random_words(seed, RandomStream.VIEW_B, index, 10, block=block).tolist()
    # numpy counts up before each block of four.
    expected = [word for place in (1, 2, 3) for word in slow_philox((seed, 3), [place, block, index, 0])]
    assert found == expected[:10]
    numbers = uniform(seed, RandomStream.VIEW_B, index, (2, 5), block=block)
    assert numbers.ravel().tolist() == [(word >> 11) / 2**53 for word in expected[:10]]


def test_blocks_of_streams_never_overlap() -> None:
    words = [
        random_words(seed, stream, index, 100, block=block)
        for seed in (0, 1, 2)
        for stream in RandomStream
        for index in range(5)
        for block in range(5)
    ]
    assert len(np.unique(np.concatenate(words))) == 3 * len(RandomStream) * 5 * 5 * 100


@FEW
@given(seed=st.integers(0, 99), examples=st.integers(1, 40), size=st.integers(1, 90), epochs=st.integers(1, 4))
def test_batches_cover_each_example_once_an_epoch_and_straddle(
    seed: int, examples: int, size: int, epochs: int
) -> None:
    steps = -(-examples * epochs // size)
    batches = [positions(seed, step * size, size, examples) for step in range(steps)]
    assert all(len(batch) == size for batch in batches)
    order = np.concatenate(batches)
    for epoch in range(epochs):
        part = order[epoch * examples : (epoch + 1) * examples]
        assert sorted(part.tolist()) == list(range(examples))
        assert np.array_equal(part, permutation(seed, epoch + 1, examples))
    assert np.array_equal(order, positions(seed, 0, len(order), examples))


def test_orders_differ_by_epoch_and_seed_and_are_uniform() -> None:
    assert not np.array_equal(permutation(0, 1, 50), permutation(0, 2, 50))
    assert not np.array_equal(permutation(0, 1, 50), permutation(1, 1, 50))
    assert not permutation(0, 1, 50).flags.writeable
    orders, counts = np.unique([permutation(seed, 1, 3) for seed in range(3000)], axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.abs(counts - 500).max() < 4.5 * math.sqrt(500)


# Crop boxes


@pytest.mark.parametrize("size", [32, 64, 120])
def test_crops_are_distributed_as_tensorflows(size: int) -> None:
    theirs = golden("crop_boxes.npz")[f"boxes{size}"].astype(np.int64)
    mine = np.concatenate([draws(PLAIN, 10_000, size=(size, size), step=step).boxes for step in range(2)])

    def quantities(boxes: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        top, left, height, width = boxes.T
        partial = (height < size) & (width < size)
        return {
            "area": height * width / size**2,
            "aspect": width / height,
            "top": top / 1.0,
            "left": left / 1.0,
            "share of the room above": top[partial] / (size - height[partial]),
            "share of the room to the left": left[partial] / (size - width[partial]),
        }

    found, expected = quantities(mine), quantities(theirs)
    for name in found:
        assert ks_2samp(found[name], expected[name], method="asymp").pvalue > 1e-3, name
    # torchvision's rule, area uniform, has mean 0.48 to 0.54; four standard errors of both samples.
    error = expected["area"].std() * math.sqrt(1 / len(mine) + 1 / len(theirs))
    assert found["area"].mean() == pytest.approx(expected["area"].mean(), abs=4 * error)
    assert found["area"].mean() < 0.44
    for number in range(4):
        assert abs(int(mine[:, number].min()) - int(theirs[:, number].min())) <= 1
        assert abs(int(mine[:, number].max()) - int(theirs[:, number].max())) <= 1


@pytest.mark.parametrize("size", [(32, 32), (40, 56), (90, 30)])
def test_crops_keep_their_bounds(size: tuple[int, int]) -> None:
    height, width = size
    config = PLAIN.model_copy(update={"crop_area": (0.3, 0.6), "crop_aspect": (0.5, 1.5)})
    boxes = draws(config, 5000, size=size).boxes
    area = boxes[:, 2] * boxes[:, 3] / (height * width)
    whole = (boxes == [0, 0, height, width]).all(axis=1)
    assert whole.mean() < 0.01
    assert ((area >= 0.3) & (area <= 0.6))[~whole].all()
    # Rounding the width moves the aspect by half a pixel.
    assert (np.abs(boxes[:, 3] - np.clip(boxes[:, 3], 0.5 * boxes[:, 2], 1.5 * boxes[:, 2]))[~whole] <= 0.5).all()
    assert (boxes[:, :2] >= 0).all()
    for start, length, room in ((boxes[:, 0], boxes[:, 2], height), (boxes[:, 1], boxes[:, 3], width)):
        assert (start + length < room + (length == room)).all()  # the upper end is excluded


def test_impossible_crops_end_as_the_whole_image() -> None:
    config = PLAIN.model_copy(update={"crop_area": (0.01, 0.02)})  # always under the 10 % that must be covered
    assert (draws(config, 4).boxes == [0, 0, 64, 64]).all()

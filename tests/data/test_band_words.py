"""Names of choices of bands: short, and of one choice alone."""

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.sample_data import write_eurosat_ms
from support.stores import made

from search_spaces.eurosat_bands import SPACE
from sweep.figures.image_views import SCREEN, StorePictures
from sweep.planning.dataset_sizes import check_questions, size_of
from sweep.planning.memory_budget import MemoryBudget
from sweep.planning.plan import Plan, make_plan
from sweep.planning.plan_table import print_plan
from trainables.config import TrialConfig
from trainables.data.bands import BAND_SETS, SENTINEL_2, band_words
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.fields.overrides import parse_assignments

ASSIGNMENTS = {"encoder": ["resnet10"], "batch_size": [4], "image_size": [16], "seed": [0]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    root = tmp_path_factory.mktemp("words")
    return made("eurosat_ms", root / "out", source=write_eurosat_ms(root), bands=("all",), pixels="reflectance")


def plan(store: ImageStore, monkeypatch: pytest.MonkeyPatch, **assignments: list[object]) -> Plan:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    return make_plan(SPACE, assignments={**ASSIGNMENTS, **assignments}, size_of=size_of)


def test_sets_have_their_name_and_others_say_what_is_in_them_or_lacks() -> None:
    l2a = tuple(name for name in SENTINEL_2 if name != "B10")
    for names, words in (
        ((), "all"),
        (("B4", "B03", "B02"), "RGB"),
        (("B02", "B03", "B04"), "B02, B03, B04"),
        (("B04", "B03", "B02", "B08"), "10 m"),
        (("B02", "B03", "B04", "B08"), "10 m, blue first"),
        (BAND_SETS["10 and 20 m"], "10 and 20 m"),
        (l2a, "12 of Sentinel-2, not B10"),
        (tuple(SENTINEL_2), "13 of Sentinel-2"),
        (("red", "nir"), "red, nir"),
    ):
        assert band_words(names) == words


def test_no_two_choices_have_one_name() -> None:
    choices = [own for count in (1, 3, 4, 7, 11, 12) for own in combinations(SENTINEL_2, count)]
    choices += [own[::-1] for own in choices if len(own) > 1]
    choices += [(), *BAND_SETS.values(), ("B04", "B03", "B02"), tuple(SENTINEL_2), ("red", "green", "blue")]
    assert len({band_words(own) for own in choices}) == len(set(choices))


def test_a_plan_tells_bands_apart_also_of_baselines_and_in_names(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(store, monkeypatch)
    names = [trial.name.split("-")[-2] for trial in planned.trials if trial.baseline is None]
    assert names == ["bands_RGB", "bands_10_m", "bands_10_and_20_m", "bands_all"]
    console = Console(file=io.StringIO(), width=160)
    print_plan(planned, MemoryBudget(), console)
    assert isinstance(console.file, io.StringIO)
    told = [line for line in console.file.getvalue().splitlines() if " untrained " in line]
    assert len(told) == 4
    for line, words in zip(told, ("RGB", "10 m", "10 and 20 m", "all"), strict=True):
        assert f" {words} " in line


def test_bands_that_a_store_lacks_are_refused_by_the_plan(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    check_questions(plan(store, monkeypatch))
    with pytest.raises(BadInputError, match="bands: 'B99' is none of eurosat_ms's: B01"):
        check_questions(plan(store, monkeypatch, bands=[("B99",)]))


def test_lists_that_are_no_json_are_refused() -> None:
    assert parse_assignments(['bands=[["B04","B03"],[]]']) == {"bands": [["B04", "B03"], []]}
    for text in ('bands=["B04","B03"],[]', "bands=[B04,B03]"):
        with pytest.raises(BadInputError, match=r"isn't JSON; one list: \[\"a\",\"b\"\], several: \[\[\"a\",\"b\"\]"):
            parse_assignments([text])
    with pytest.raises(BadInputError, match=r"\['B04', 'B03'\] and \['b4', 'B3'\] are both B04_B03; keep one of them"):
        parse_assignments(['bands=[["B04","B03"],["b4","B3"]]'])
    assert parse_assignments(["positive=[odd"]) == {"positive": [["[odd"]]}


def test_pictures_of_reflectance_are_encoded_for_a_screen(store: ImageStore, tmp_path: Path) -> None:
    config = TrialConfig(dataset="eurosat_ms", image_size=64)
    rows = np.arange(len(store))
    shown = StorePictures(store, config, rows).seen(rows)
    linear = store.images(rows).numpy()[..., [3, 2, 1]] / 65535
    low, high = np.percentile(shown_crop(linear), (2, 98))
    middle = (shown > 0) & (shown < 1)
    assert middle.mean() > 0.9
    expected = np.clip((shown_crop(linear) - low) / (high - low), 0, 1) ** SCREEN
    np.testing.assert_allclose(np.median(shown), np.median(expected), atol=0.02)


def shown_crop(images: np.ndarray) -> np.ndarray:
    return images[:, 4:-4, 4:-4]

"""Pairs of seasons: which images are partners, against a slow oracle, and a store's counts of places and dates."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.stores import of_seasons

from trainables.data.patch_names import ground_and_date
from trainables.data.seasons import SeasonPairs, Visit, whole_places
from trainables.data.store_info import PlaceDates
from trainables.errors import BadInputError


def random_visits(seed: int, count: int = 60) -> list[Visit]:
    random = np.random.default_rng(seed)
    places, dates = random.integers(0, 12, count).tolist(), random.integers(0, 4, count).tolist()
    return [
        None if place == 0 else (f"place {place}", f"2023-0{date + 1}-01")
        for place, date in zip(places, dates, strict=True)
    ]


def partners_of(number: int, visits: list[Visit]) -> set[int]:
    """Return by definition the images of the same place at another date."""
    own = visits[number]
    others = [k for k, other in enumerate(visits) if own and other and other[0] == own[0] and other[1] != own[1]]
    return set(others)


@pytest.mark.parametrize("seed", range(5))
def test_partners_are_all_images_of_the_place_at_other_dates_equally_often(seed: int) -> None:
    visits = random_visits(seed)
    pairs = SeasonPairs(visits)
    draws = np.linspace(0.0, 1.0, 240, endpoint=False)
    for number in range(len(visits)):
        expected = partners_of(number, visits)
        found = Counter(pairs.partners(np.full(len(draws), number), draws).tolist())
        assert set(found) == (expected or {number})
        assert max(found.values()) - min(found.values()) <= 1
        assert pairs.paired[number] == bool(expected)
    last = pairs.partners(np.arange(len(visits)), np.full(len(visits), np.nextafter(1.0, 0.0)))
    assert all(int(last[k]) in (partners_of(k, visits) or {k}) for k in range(len(visits)))
    known = [visit for visit in visits if visit is not None]
    assert pairs.counts == PlaceDates(
        images=len(known),
        places=len({place for place, _ in known}),
        dates=len({date for _, date in known}),
        paired=sum(bool(partners_of(k, visits)) for k in range(len(visits))),
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_limit_takes_whole_places(seed: int) -> None:
    """All dates of a place or none; the same places when the limit grows or images are added elsewhere."""
    visits = random_visits(seed)
    names = [f"{number}.png" for number in range(len(visits))]
    places = [name if visit is None else visit[0] for name, visit in zip(names, visits, strict=True)]
    sizes = Counter(places)
    for limit in (2, 7, 20, 33, len(visits)):
        kept = whole_places(names, visits, limit)
        chosen = Counter(places[number] for number in kept.tolist())
        assert all(count == sizes[place] for place, count in chosen.items())
        assert kept.tolist() == sorted(kept.tolist())
        assert limit - max(sizes.values()) < len(kept) <= limit
        assert all(size > limit - len(kept) for place, size in sizes.items() if place not in chosen)
        shuffled = np.random.default_rng(seed).permutation(len(visits)).tolist()
        again = whole_places([names[k] for k in shuffled], [visits[k] for k in shuffled], limit)
        assert {shuffled[k] for k in again.tolist()} == set(kept.tolist())


def test_a_limit_below_every_place_is_refused() -> None:
    visits: list[Visit] = [(f"place {number // 3}", f"2023-0{number % 3 + 1}-01") for number in range(9)]
    names = [f"{number}.png" for number in range(9)]
    with pytest.raises(BadInputError, match=r"max_train_images: 2 is less than the 3 .* set it to at least 3$"):
        whole_places(names, visits, 2)
    assert len(whole_places(names, visits, 3)) == 3


def test_without_any_place_every_image_is_its_own_partner() -> None:
    pairs = SeasonPairs([None] * 3)
    assert pairs.partners(np.arange(3), np.full(3, 0.9)).tolist() == [0, 1, 2]
    assert pairs.counts == PlaceDates(images=0, places=0, dates=0, paired=0)


def test_patches_of_version_2_have_a_ground_and_those_of_version_1_have_none() -> None:
    name = "S2A_MSIL2A_{}T101031_N9999_R022_T33UUP_26_57"
    assert ground_and_date(name.format("20170613")) == ("T33UUP 26 57", "2017-06-13")
    assert ground_and_date(f"a/{name.format('20180205')}.png") == ("T33UUP 26 57", "2018-02-05")
    assert ground_and_date("S2A_MSIL2A_20170613T101031_26_57") is None
    assert ground_and_date("photo.png") is None


def test_a_store_counts_the_places_and_dates_of_its_train_images(tmp_path: Path) -> None:
    store = of_seasons(tmp_path)
    rows = store.split("train")
    names = store.names(rows)
    visits = [ground_and_date(name) for name in names]
    found = store.info.place_dates
    assert found is not None
    assert found == SeasonPairs.of(store, rows).counts == PlaceDates(images=40, places=14, dates=3, paired=39)
    assert sum(bool(partners_of(number, visits)) for number in range(len(names))) == 39
    assert found.described() == "40 train images of 14 places at 3 dates, 39 with another date of their place"

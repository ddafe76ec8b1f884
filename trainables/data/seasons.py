"""Pairs of seasons: images of one place at two dates as the two views of a pair (SeCo, Manas et al. 2021)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from trainables.data.chip import Chip
from trainables.data.patch_names import ground_and_date
from trainables.data.stable_hash import SUBSET_SALT, hashed_groups
from trainables.data.store_info import PlaceDates
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from trainables.data.store import ImageStore  # loads torch, which preparing does without

Numbers = NDArray[np.int64]
Visit = tuple[str, str] | None
"""Footprint and date of an image; None if one of them is unknown."""


class SeasonPairs:
    """Partners of images: for each image, those of the same place at other dates.

    Attributes:
        paired: Mask (N,) bool of the images that have a partner.
        places: Number of known places.
        dates: Number of known dates.
        known: Number of images with a known place and date.
    """

    def __init__(self, visits: Sequence[Visit]) -> None:
        place_of, date_of = ({key: code for code, key in enumerate(keys)} for keys in _keys(visits))
        self.places, self.dates = len(place_of), len(date_of)
        self.known = sum(visit is not None for visit in visits)
        places, dates = np.arange(len(visits)) + len(place_of), np.zeros(len(visits), dtype=np.int64)
        for number, visit in enumerate(visits):  # an image of an unknown place keeps a place of its own
            if visit is not None:
                places[number], dates[number] = place_of[visit[0]], date_of[visit[1]]
        self._order = np.lexsort((dates, places))
        self._place_start, place_size = _runs(places, self._order)
        self._date_start, self._date_size = _runs(places * max(self.dates, 1) + dates, self._order)
        self._others = place_size - self._date_size

    @classmethod
    def of(cls, store: "ImageStore", rows: Numbers) -> Self:
        """Return the pairs among the images in these rows of the store; images are numbered by position in `rows`."""
        return cls(visits(store.names(rows), store.chips(rows)))

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Mask (N,) bool of the images that have a partner."""
        has_others: NDArray[np.bool_] = self._others > 0
        return has_others

    @property
    def counts(self) -> PlaceDates:
        """Numbers of images, places, dates and images with a partner."""
        return PlaceDates(images=self.known, places=self.places, dates=self.dates, paired=int(self.paired.sum()))

    def partners(self, images: Numbers, draws: NDArray[np.float64]) -> Numbers:
        """Return one partner (n,) of each image, uniform over the images of its place at other dates.

        Args:
            images: Positions (n,) of the images.
            draws: Uniform random numbers (n,) in [0, 1).

        Returns:
            Positions (n,) of the partners; an image without partners is its own.
        """
        others = self._others[images]
        # The product of a draw just below 1 may be rounded up to the number of partners.
        chosen = np.minimum((draws * others).astype(np.int64), others - 1)
        at = self._place_start[images] + chosen
        at += np.where(at >= self._date_start[images], self._date_size[images], 0)
        return np.where(others > 0, self._order[np.minimum(at, len(self._order) - 1)], images)


def whole_places(names: Sequence[str], visits: Sequence[Visit], limit: int) -> Numbers:
    """Return the images of a choice of whole places, at most `limit` images, in their order.

    Places are taken in the order of their stable hash; one that no longer fits is left out.

    Args:
        names: Names (N,) of the images; an image without a known place and date is a place of its own, by its name.
        visits: Footprints and dates (N,) of the images.
        limit: Maximum number of images.

    Returns:
        Positions (n,) of the images, ascending.

    Raises:
        BadInputError: Every place has more images than the limit.
    """
    keys = [name if visit is None else visit[0] for name, visit in zip(names, visits, strict=True)]
    kept: list[int] = []
    groups = hashed_groups(keys, SUBSET_SALT)
    for members in groups:
        if len(kept) + len(members) <= limit:
            kept += members.tolist()
    if groups and not kept:
        smallest = min(map(len, groups))
        raise BadInputError(
            f"max_train_images: {limit} is less than the {smallest} train images of the smallest place, and pairs of "
            f"seasons take all dates of a place; set it to at least {smallest}"
        )
    return np.sort(np.array(kept, dtype=np.int64))


def visits(names: Sequence[str], chips: Sequence[Chip] | None) -> list[Visit]:
    """Return each image's footprint and date: from its chip, else from its name as a BigEarthNet v2.0 patch."""
    if chips is None:
        return [ground_and_date(name) for name in names]
    return [(chip.footprint, chip.date) if chip.date else None for chip in chips]


def _keys(visits: Sequence[Visit]) -> tuple[list[str], list[str]]:
    known = [visit for visit in visits if visit is not None]
    return sorted({place for place, _ in known}), sorted({date for _, date in known})


def _runs(values: Numbers, order: Numbers) -> tuple[Numbers, Numbers]:
    """Return for each image the start and length of its value's run in the sorted order."""
    ordered = values[order]
    return (
        np.searchsorted(ordered, values, side="left"),
        np.searchsorted(ordered, values, side="right") - np.searchsorted(ordered, values, side="left"),
    )

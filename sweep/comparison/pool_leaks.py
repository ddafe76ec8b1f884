"""Leaks of a sweep's data: test images that an encoder was pretrained on, for each pair of stores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainables.data.shared_pixels import DIGITS, labelled_store
from trainables.data.store_info import StoreInfo, readable_info
from trainables.storage.trial_files import MODEL
from trainables.weights.initial_weights import InitialWeights

if TYPE_CHECKING:
    from sweep.records.sweep_storage import SweepStorage
    from trainables.data.preparing.store_leaks import StoreLeaks

LEAKS = "LEAKS"
"""Mark of a data set with leaks."""


@dataclass(frozen=True)
class StorePair:
    """Stores that a trial learned from and was evaluated on, by name and fingerprint."""

    pool: str
    pool_fingerprint: str
    evaluation: str
    evaluation_fingerprint: str


@dataclass(frozen=True)
class PoolLeaks:
    """Leaks between a train split and a test split."""

    pool: str
    evaluation: str
    found: "StoreLeaks"
    one_split: bool
    """Whether both are splits of the same images: of one store, or of a store and its label sets."""

    @property
    def marked(self) -> bool:
        """Whether a data set is marked for them: near-duplicates in one split are only described with its data."""
        certain = bool(self.found.counts.identical or self.found.overlapping)
        return certain or (self.found.found and not self.one_split)

    @property
    def counted(self) -> str:
        """Numbers of leaking images as text."""
        counts = {
            "identical to": self.found.counts.identical,
            "nearly identical to": self.found.counts.near_identical,
            "on the same ground as": self.found.overlapping,
        }
        return ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)

    @property
    def sentence(self) -> str:
        """The leaks in words, with one example: names of chips are long."""
        examples = (*self.found.counts.examples, *self.found.footprints)
        said = f" ({examples[0]})" if examples else ""
        whose = "its own train split" if self.pool == self.evaluation else f"the train split of {self.pool}"
        return (
            f"{LEAKS}: of the {self.found.tested:,} test images of {self.evaluation}: {self.counted} an image of "
            f"{whose}{said}"
        )


def store_pairs(config: Mapping[str, Any], fingerprint: str, storage: "SweepStorage") -> Iterator[StorePair]:
    """Yield a trial's evaluation store paired with its training store, and with that of its initial weights.

    Args:
        config: Fields of the trial.
        fingerprint: Fingerprint of its data; those of two stores are joined by "+".
        storage: Storage in which the trial that made the weights is looked for; other weights have no pair.
    """
    own, _, other = fingerprint.partition("+")
    evaluation = str(config.get("evaluation_dataset") or config["dataset"])
    yield StorePair(str(config["dataset"]), own, evaluation, other or own)
    if (pool := pretrained_on(config.get("initial_weights"), storage)) is not None:
        yield StorePair(*pool, evaluation, other or own)


def pretrained_on(weights: str | None, storage: "SweepStorage") -> tuple[str, str] | None:
    """Return name and fingerprint of the store that a trial of this storage trained the weights on; else None."""
    address = "" if weights is None else InitialWeights.parse(weights).address
    parts = address.split("/")
    if len(parts) < 2 or parts[-1] != MODEL:
        return None
    files = storage.trial(parts[-2])
    config, fingerprint = files.config(), files.fingerprint()
    if files.storage.address(MODEL) != address or config is None or fingerprint is None:
        return None
    return str(config["dataset"]), fingerprint.partition("+")[0]


def leaks_of(pair: StorePair, *, fetch: bool) -> PoolLeaks | None:
    """Return the leaks of a pair of stores; None if one isn't prepared here, or the evaluation store has no labels.

    `fetch` copies remote stores to this machine if they weren't compared before.
    """
    pool, evaluation = (
        _info(*one) for one in ((pair.pool, pair.pool_fingerprint), (pair.evaluation, pair.evaluation_fingerprint))
    )
    if pool is None or evaluation is None or not evaluation.labelled_images:
        return None
    from trainables.data.preparing.kept_leaks import kept_leaks  # torch

    found = kept_leaks(pool, evaluation, fetch=fetch)
    return None if found is None else PoolLeaks(pair.pool, pair.evaluation, found, _images(pool) == _images(evaluation))


def _images(info: StoreInfo) -> tuple[str, str]:
    """Return the store whose images and splits a store has: itself, or of a label set the one that it labels."""
    return labelled_store(info) or (info.name, info.fingerprint[:DIGITS])


def _info(name: str, fingerprint: str) -> StoreInfo | None:
    info = readable_info(name)
    return info if info is not None and info.fingerprint == fingerprint else None

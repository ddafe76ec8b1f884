"""Selection of images to show, and their positions in feature space; pure: arrays in, numbers out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.evaluation.multilabel import HALF

PERPLEXITY = 30
FEWEST_FOR_TSNE = 3 * PERPLEXITY
"""Minimum number of images for t-SNE with PERPLEXITY; fewer images are shown by principal components."""
KEPT_COMPONENTS = 50
"""Number of principal components as t-SNE's input, as in van der Maaten and Hinton (2008)."""

Numbers = NDArray[np.floating]
RowNumbers = NDArray[np.int64]


@dataclass(frozen=True)
class WrongPrediction:
    """Wrong prediction for one image."""

    image: int
    """Index of the image."""
    label: int
    """Predicted class; for multi-label images, the wrong label."""
    probability: float
    """Predicted probability of `label`."""
    truth: int | None
    """True class; None for multi-label images, where `label` is missed if its probability is below 0.5, else false."""


def mistakes(probabilities: Numbers, truth: NDArray[np.generic]) -> list[WrongPrediction]:
    """Return one mistake per wrongly classified image, most confident first.

    Args:
        probabilities: (n, K) of classes or labels.
        truth: (n,) int of classes, or (n, K) bool of labels.
    """
    if truth.ndim == 1:
        said = probabilities.argmax(axis=1)
        certain = np.where(said == truth, -1.0, probabilities.max(axis=1))
    else:
        wrong = (probabilities >= HALF) != truth
        distances = np.where(wrong, np.abs(probabilities - HALF), -1.0)
        said, certain = distances.argmax(axis=1), distances.max(axis=1)
    order = np.argsort(-certain, kind="stable")
    return [
        WrongPrediction(
            int(image),
            int(said[image]),
            float(probabilities[image, said[image]]),
            int(truth[image]) if truth.ndim == 1 else None,
        )
        for image in order[: int((certain >= 0).sum())]
    ]


def nearest(queries: Numbers, bank: Numbers, count: int) -> tuple[RowNumbers, Numbers]:
    """Return the indices (q, count) of the nearest bank rows by cosine similarity, nearest first, and the cosines."""
    cosines = _directions(queries) @ _directions(bank).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(cosines, order, axis=1)


def varied(labels: RowNumbers, order: RowNumbers, count: int) -> RowNumbers:
    """Return `count` images, sorted by class: the classes take turns, each with its next image in `order`."""
    turns: dict[int, int] = {}
    ranked = []
    for place, image in enumerate(order):
        turn = turns[int(labels[image])] = turns.get(int(labels[image]), -1) + 1
        ranked.append((turn, place, int(image)))
    chosen = [image for _, _, image in sorted(ranked)[:count]]
    return np.array(sorted(chosen, key=lambda image: int(labels[image])), dtype=np.int64)


@dataclass(frozen=True)
class FeatureMap:
    """Positions of images on a plane."""

    points: Numbers
    """Positions, (n, 2)."""
    method: str
    """Method of the projection and its limits, in words."""


def feature_map(features: Numbers) -> FeatureMap:
    """Return a 2D projection of normalised features (n, F): t-SNE with a fixed seed, or PCA for few images."""
    directions = _directions(features.astype(np.float64))
    centred = directions - directions.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    components = left * sizes
    if components.shape[1] < 2:
        components = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
    if len(features) < FEWEST_FOR_TSNE or sizes[0] < 1e-9:
        share = float((sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-30))
        method = f"first two principal components of the features' directions, {100 * share:.0f} % of their variance"
        return FeatureMap(components[:, :2], f"{method}: images that differ in other directions may overlap here")
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    kept = components[:, :KEPT_COMPONENTS]
    tsne = TSNE(
        perplexity=PERPLEXITY,
        init=(kept[:, :2] / kept[:, 0].std() * 1e-4).astype(np.float32),
        learning_rate="auto",
        random_state=0,
    )
    said = f"t-SNE of the features' directions (perplexity {PERPLEXITY}, seed 0): neighbours stay neighbours, but how "
    with threadpool_limits(1):  # beside other work, several threads wait for each other and take three times as long
        points = tsne.fit_transform(kept)
    return FeatureMap(points, f"{said}large groups are and how far apart they lie means nothing")


def _directions(rows: Numbers) -> Numbers:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))

"""Pictures of a report that show the best trial's images: its errors, nearest neighbours and feature map.

They take seconds to a minute, so they are drawn only for the report and not at the end of a sweep.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit, softmax

from sweep.comparison.effects import NotComputed
from sweep.comparison.wording import class_words
from sweep.figures import images as drawing
from sweep.figures.image_views import StorePictures
from sweep.figures.trial_files import CLASSIFIER
from sweep.report.encoded_images import EncodedImages, ImageLabels, encoded
from sweep.report.image_selection import WrongPrediction, feature_map, mistakes, nearest, varied
from sweep.statistics import confusion
from trainables.config import UNTRAINABLE, TrialConfig
from trainables.data.store import ImageStore
from trainables.data.store_addresses import remote_root
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.metrics import names
from trainables.models.encoder import Encoder
from trainables.models.inference import frozen_encoder
from trainables.printing.redaction import redact

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sweep.comparison.dataset_report import DataSetReport
    from sweep.comparison.table import ComparedTrial
    from sweep.records.sweep_storage import SweepStorage
    from sweep.report.comparison_figures import NamedFigure
    from trainables.storage.trial_files import TrialFiles

MOST_MAPPED = 1_000
"""Maximum number of test images on the map, for which t-SNE takes about eight seconds."""
SHOWN_MISTAKES, COLUMNS = 24, 6
QUERIES, NEIGHBOURS = 8, 6
MOST_NAMED = len(drawing.MAP_COLOURS)


def picture_figures(part: "DataSetReport", storage: "SweepStorage") -> "list[NamedFigure] | NotComputed":
    """Return the pictures of the best setting's first seed, or the reason why there are none.

    Args:
        part: Report of the data set.
        storage: Storage of the sweep.
    """
    best = part.table.best
    trial = None if best is None else best.first
    if trial is None:
        return NotComputed("no trial has finished yet")
    found = opened(trial, storage.trial_of(trial.entry), part.sweep.objective)
    return found if isinstance(found, NotComputed) else list(found.figures())


def opened(trial: "ComparedTrial", files: "TrialFiles", objective: str) -> "TrialPictures | NotComputed":
    """Return the data for a trial's pictures, or the reason why they are unavailable.

    Args:
        trial: Trial to show.
        files: Files of the trial.
        objective: Metric whose classifier determines right and wrong predictions.
    """
    config = TrialConfig.parse(trial.entry.setting_known)
    if config.target == "number":
        return NotComputed(
            "they show right and wrong classes, and a number is neither; each trial below has its residuals"
        )
    table = files.outputs("test")
    if config.encoder in UNTRAINABLE:
        return NotComputed(f"{trial.entry.name} has no encoder")
    if table is None:
        return NotComputed(
            f"they show right and wrong classes, and {trial.entry.name} stored no outputs for labelled test images"
        )
    if (address := remote_root()) is not None:
        return NotComputed(f"they need the images on this machine, but SWEEP_DATA is {redact(address)}")
    try:
        evaluated = config.evaluation_dataset
        data = TrialData(config, ImageStore.open(config.dataset), ImageStore.open(evaluated) if evaluated else None)
        encoder = frozen_encoder(files.load_model())
    except BadInputError as error:
        return NotComputed(f"they need the images on this machine: {str(error).splitlines()[0]}")
    except FileNotFoundError:
        return NotComputed(f"{trial.entry.name} kept no weights")
    except (OSError, KeyError, RuntimeError, EOFError, UnpicklingError) as error:  # of another program, or incomplete
        return NotComputed(f"the weights of {trial.entry.name} can't be read ({type(error).__name__})")
    if config.trial_id(data.fingerprint) != trial.entry.trial_id:
        return NotComputed(f"the {config.dataset} prepared here isn't the one that {trial.entry.name} was trained on")
    return TrialPictures(trial.entry.name, config, data, encoder, table, objective)


@dataclass(frozen=True)
class TrialPictures:
    """A trial with its images, as a source of pictures."""

    name: str
    config: TrialConfig
    data: TrialData
    encoder: Encoder
    table: pa.Table
    objective: str

    def figures(self) -> "Iterator[NamedFigure]":
        """Yield the most confident mistakes, the nearest neighbours of some images, and a map."""
        licence = f"images: {self._store.info.licence}"
        if (shown := self._mistakes()) is not None:
            yield "mistakes", shown[0], f"{shown[1]}; {licence}"
        figure, caption = self._neighbours()
        yield "neighbours", figure, f"{caption}; {licence}"
        yield "feature_map", *self._map()

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes or labels, for a reader."""
        return class_words(self.data.classes, self.config.model_dump())

    @property
    def _store(self) -> ImageStore:
        return self.data.test.store

    # Mistakes, from all test images

    def _mistakes(self) -> "tuple[Figure, str] | None":
        column = self._classifier
        logits = self.table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        logits = logits.reshape(len(self.table), -1).astype(np.float64)
        words = ImageLabels.of(self.data.test, self.classes)
        probabilities = expit(logits) if self.data.several_labels else softmax(logits, axis=1)
        found = mistakes(probabilities, words.targets)
        if not found:
            return None
        shown = found[:SHOWN_MISTAKES]
        rows = self.data.test.rows[[mistake.image for mistake in shown]]
        pictures = drawing.thumbnails(StorePictures(self._store, self.config, rows).seen(rows))
        cells = [
            drawing.CaptionedImage(picture, self._said(mistake, words), right=False)
            for picture, mistake in zip(pictures, shown, strict=True)
        ]
        kind = "images with a wrong label" if self.data.several_labels else "mistakes"
        caption = f"{len(shown)} of {len(found):,} {kind} among {len(self.table):,} test images"
        caption += f", by the {CLASSIFIER[column]}"
        title = "Most certain mistakes: what was said and how surely, and what is true"
        return drawing.picture_grid(cells, columns=COLUMNS, title=title), f"{self.name}: {caption}"

    @property
    def _classifier(self) -> str:
        """Return the column of the objective's classifier; k-NN gives no probabilities."""
        of_features = self.objective.partition("/")[2].startswith((names.LINEAR, names.KNN))
        probe = confusion.LOGITS in self.table.column_names and not of_features
        return confusion.LOGITS if probe else confusion.LINEAR_LOGITS

    def _said(self, mistake: WrongPrediction, words: ImageLabels) -> tuple[str, ...]:
        label, share = self.classes[mistake.label], f"{100 * mistake.probability:.0f} %"
        if mistake.truth is None:
            verb = "said" if mistake.probability >= 0.5 else "missed"
            return f"{verb} {share}", label, f"has {words.spelled(mistake.image)}"
        return (
            f"{drawing.shortened(label, drawing.LINE_WIDTH - 2 - len(share))}, {share}",
            f"is {words.spelled(mistake.image)}",
        )

    # Neighbours and map, from encoded images

    @cached_property
    def encoded(self) -> tuple[EncodedImages, EncodedImages]:
        """Return samples of test and train images with their features."""
        return encoded(self.encoder, self.data, self.classes, image_size=self.config.image_size)

    def _neighbours(self) -> "tuple[Figure, str]":
        test, train = self.encoded
        targets = test.words.targets if test.words.targets.ndim == 1 else np.zeros(len(test.split))
        queries = varied(targets.astype(np.int64), test.by_hash, QUERIES)
        found, cosines = nearest(test.features[queries], train.features, NEIGHBOURS)
        rows = np.c_[test.split.rows[queries], train.split.rows[found]].ravel()
        pictures = iter(drawing.thumbnails(StorePictures(self._store, self.config, rows).seen(rows)))
        cells, right = [], 0
        for query, near, similar in zip(queries, found, cosines, strict=True):
            cells.append(drawing.CaptionedImage(next(pictures), ("test image:", test.words.spelled(query))))
            for image, cosine in zip(near, similar, strict=True):
                shared = train.words.shared(image, test.words, query)
                right += shared
                lines = (f"{'✓' if shared else '✗'} {train.words.spelled(image)}", f"cosine {cosine:.3f}")
                cells.append(drawing.CaptionedImage(next(pictures), lines, right=shared))
        rule = "share a label with it" if self.data.several_labels else "are of its class"
        caption = (
            f"{self.name}: {len(queries)} test images, by stable hash, and the {found.shape[1]} nearest of "
            f"{len(train.split):,} labelled train images in the encoder's features; {right} of {found.size} {rule}"
        )
        title = "Nearest neighbours in feature space"
        return drawing.picture_grid(cells, columns=1 + found.shape[1], title=title), caption

    def _map(self) -> "tuple[Figure, str]":
        test, _ = self.encoded
        some = test.by_hash[:MOST_MAPPED]
        found = feature_map(test.features[some])
        groups, said = self._groups(ImageLabels(test.words.targets[some], test.words.classes))
        caption = f"{self.name}: {len(some):,} test images, {said}; {found.method}"
        return drawing.map_of_classes(found.points, groups, title="Test images in feature space"), caption

    def _groups(self, words: ImageLabels) -> tuple[dict[str, NDArray[np.bool_]], str]:
        """Return the members of each class that has a colour, and the remark on it."""
        if words.targets.ndim == 2:
            label = int(np.abs(words.targets.astype(np.float64).mean(axis=0) - 0.5).argmin())
            name, members = words.classes[label], words.targets[:, label].astype(np.bool_)
            return {name: members, f"not {name}": ~members}, "coloured by the label that is nearest to half of them"
        counts = np.bincount(words.targets.astype(np.int64), minlength=len(words.classes))
        chosen = sorted(np.argsort(-counts, kind="stable")[:MOST_NAMED].tolist())
        rest = "" if len(counts) <= MOST_NAMED else f", the {MOST_NAMED} commonest of {len(counts)}"
        return {words.classes[k]: words.targets == k for k in chosen if counts[k]}, f"coloured by class{rest}"

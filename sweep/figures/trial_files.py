"""Figures of one trial, read from its files."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from sweep.comparison.wording import class_words
from sweep.figures import trial as figures
from sweep.figures.numbers import number_figure
from sweep.statistics import confusion
from sweep.statistics.number_outputs import has_numbers, number_outputs
from trainables.metrics import names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainables.storage.trial_files import TrialFiles

HELD_OUT = {"test": "test", "val": "validation"}
"""Splits that may have outputs, and their names in titles."""
CLASSIFIER = {
    confusion.LOGITS: "linear probe",
    confusion.LINEAR_LOGITS: "logistic regression on frozen features",
}


def trial_figures(
    files: "TrialFiles", splits: Collection[str] = tuple(HELD_OUT), *, curves: bool = True
) -> "Iterator[tuple[str, Figure]]":
    """Yield the figures for which a trial's files have data, with their artifact paths.

    Args:
        files: Files of the trial.
        splits: Splits whose outputs are drawn: test, val.
        curves: Whether learning curves are drawn.
    """
    epochs = files.epochs()
    if curves and any(names.CONTRASTIVE_ACCURACY in record.metrics for record in epochs):
        yield "figures/accuracy.png", figures.accuracy_curves(epochs)
        yield "figures/loss.png", figures.loss_curves(epochs)
    final = files.final()
    for split in splits if final is not None else ():
        outputs = files.outputs(split)
        if final is not None and outputs is not None:
            if has_numbers(outputs):
                yield from _number_figures(split, outputs, final.number.name if final.number else "number")
            else:
                yield from _class_figures(split, outputs, class_words(final.classes, files.config()))


def _number_figures(split: str, table: pa.Table, name: str) -> "Iterator[tuple[str, Figure]]":
    for method, words in ((names.LINEAR, "ridge regression on frozen features"), ("", "linear head")):
        if (found := number_outputs(table, method)) is not None:
            about = f"{words}, {HELD_OUT[split]} split"
            yield (
                f"figures/{method}numbers_{split}.png",
                number_figure(found.truth, found.predicted, name=name, about=about),
            )


def _class_figures(split: str, outputs: pa.Table, classes: tuple[str, ...]) -> "Iterator[tuple[str, Figure]]":
    column = confusion.classifier_column(outputs)
    about = f"{CLASSIFIER[column]}, {HELD_OUT[split]} split"
    if confusion.has_several_labels(outputs):
        precisions = confusion.label_precisions(outputs, classes)
        yield f"figures/per_label_{split}.png", figures.per_label_precision(precisions, about=about)
        return
    matrix = confusion.outputs_confusion(outputs, classes, column=column)
    accuracies = dict(zip(classes, confusion.per_class(matrix).tolist(), strict=True))
    yield f"figures/per_class_{split}.png", figures.per_class_accuracy(accuracies, about=about)
    yield f"figures/confusion_{split}.png", figures.confusion_matrix(matrix, classes, about=about)

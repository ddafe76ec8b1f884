"""The figures of a trial: what they count, and what they show."""

import io
import warnings

import numpy as np
import pyarrow as pa
import pytest
import torch
from matplotlib.figure import Figure
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from sweep.figures import trial as figures
from sweep.figures.numbers import number_figure
from sweep.figures.style import INK, compact
from sweep.statistics import confusion
from trainables.metrics import names
from trainables.storage.trial_records import EpochRecord


def record(epoch: int, **more: float) -> EpochRecord:
    metrics = {
        names.CONTRASTIVE_ACCURACY: 0.1 * epoch,
        names.SUPERVISED_ACCURACY: 0.05 * epoch,
        names.CONTRASTIVE_LOSS: 5.0 / epoch,
        names.SUPERVISED_LOSS: 2.0 / epoch,
    }
    return EpochRecord(epoch=epoch, time_ms=1000 * epoch, seconds=1.0, metrics=metrics | more)


def outputs(labels: list[int], logits: list[list[float]], column: str = "logits") -> pa.Table:
    return pa.table({"label": labels, column: pa.array(logits, pa.list_(pa.float32()))})


def drawn(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def test_confusion_counts_truth_by_prediction() -> None:
    logits = [[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [9.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    matrix = confusion.outputs_confusion(outputs([0, 1, 1, 2], logits), ["a", "b", "c"])
    assert matrix.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("fixed_size", [False, True])
def test_confusion_equals_a_loop_over_images(fixed_size: bool) -> None:
    generator = np.random.default_rng(1)
    labels, logits = generator.integers(0, 7, 200), generator.normal(size=(200, 7)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), 7) if fixed_size else pa.array(list(logits))
    table = pa.concat_tables(
        [
            pa.table({"label": labels[:90], "logits": column[:90]}),
            pa.table({"label": labels[90:], "logits": column[90:]}),
        ]
    )
    expected = np.zeros((7, 7), dtype=np.int64)
    for label, row in zip(labels, logits, strict=True):
        expected[label, row.argmax()] += 1
    assert confusion.outputs_confusion(table, list("abcdefg")).tolist() == expected.tolist()


def test_confusion_of_an_untrained_encoder_takes_the_regression() -> None:
    table = outputs([1], [[0.0, 1.0]], column="linear_logits")
    assert confusion.outputs_confusion(table, ["a", "b"]).tolist() == [[0, 0], [0, 1]]


def test_confusion_refuses_logits_of_another_width() -> None:
    with pytest.raises(ValueError, match="must be 3 per image"):
        confusion.outputs_confusion(outputs([0], [[0.0, 1.0]]), ["a", "b", "c"])


def test_confusion_of_no_images_is_zero() -> None:
    empty = outputs([], []).cast(pa.schema([("label", pa.int64()), ("logits", pa.list_(pa.float32()))]))
    assert confusion.outputs_confusion(empty, ["a", "b"]).sum() == 0


def test_per_class_is_the_share_recognised_and_nan_without_images() -> None:
    accuracies = confusion.per_class(np.array([[3, 1, 0], [0, 0, 0], [2, 0, 2]]))
    np.testing.assert_allclose(accuracies, [0.75, np.nan, 0.5])


@pytest.mark.parametrize(("classes", "present"), [(2, 2), (7, 7), (7, 4), (43, 30)])
def test_confusion_and_per_class_are_scikit_learns_and_torchmetrics(classes: int, present: int) -> None:
    """Equal largest logits included; of an absent class scikit-learn says what it is told to, torchmetrics 0."""
    generator = np.random.default_rng(classes + present)
    labels = generator.permutation(classes)[generator.integers(0, present, 300)]
    logits = generator.integers(0, 4, (300, classes)).astype(np.float32)
    assert (np.sort(logits)[:, -2] == logits.max(1)).any()
    said, every = logits.argmax(1), range(classes)
    matrix = confusion.outputs_confusion(outputs(labels.tolist(), logits.tolist()), [str(name) for name in every])
    assert matrix.tolist() == sk.confusion_matrix(labels, said, labels=every).tolist()
    both = torch.from_numpy(logits), torch.from_numpy(labels)
    assert matrix.tolist() == tm.multiclass_confusion_matrix(*both, classes).tolist()
    found = confusion.per_class(matrix)
    assert np.isnan(found).sum() == classes - len(set(labels.tolist()))
    theirs = sk.recall_score(labels, said, labels=every, average=None, zero_division=np.nan)
    np.testing.assert_allclose(found, theirs, rtol=1e-12)
    in_torch = tm.multiclass_accuracy(*both, classes, average="none").numpy()
    np.testing.assert_allclose(np.nan_to_num(found), in_torch, rtol=1e-6)


def test_curves_show_both_series_at_their_epochs() -> None:
    axes = figures.accuracy_curves([record(1), record(2), record(3)]).axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}  # type: ignore[union-attr]
    assert lines["contrastive"] == [[1.0, 0.1], [2.0, 0.2], [3.0, pytest.approx(0.3)]]
    assert [point[1] for point in lines["supervised"]] == pytest.approx([0.05, 0.1, 0.15])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "accuracy (%)")


def test_bars_are_sorted_from_highest_to_lowest_without_nan() -> None:
    axes = figures.per_class_accuracy({"low": 0.2, "none": float("nan"), "high": 0.9, "middle": 0.5}).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.9, 0.5, 0.2]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["high", "middle", "low"]


def test_cells_carry_their_percentage_while_they_are_few() -> None:
    axes = figures.confusion_matrix(np.array([[3, 1], [0, 4]]), ["a", "b"]).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["100", "25.0", "75.0"]
    many = figures.confusion_matrix(np.eye(13, dtype=np.int64), [str(number) for number in range(13)]).axes[0]
    assert not many.texts


@pytest.mark.parametrize("classes", [2, 10, 43, 200])
def test_every_figure_draws(classes: int) -> None:
    labels = [f"class {number}" for number in range(classes)]
    matrix = np.eye(classes, dtype=np.int64) * 4
    matrix[0] = 0
    accuracies = dict(zip(labels, confusion.per_class(matrix).tolist(), strict=True))
    assert drawn(figures.confusion_matrix(matrix, labels))
    assert drawn(figures.per_class_accuracy(accuracies))


@pytest.mark.parametrize("epochs", [0, 1, 30])
def test_curves_draw_for_any_number_of_epochs(epochs: int) -> None:
    records = [record(epoch) for epoch in range(1, epochs + 1)]
    assert drawn(figures.accuracy_curves(records))
    assert drawn(figures.loss_curves(records))


def test_drawing_leaves_no_global_state() -> None:
    import sys

    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def outputs_of_labels(classes: tuple[str, ...]) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.random((30, len(classes))) < 0.4
    truth[:, -1] = False
    logits = random.normal(size=truth.shape) + truth
    lists = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), len(classes))
    labels = pa.array([np.flatnonzero(row).tolist() for row in truth], pa.list_(pa.int64()))
    return pa.table({"label": labels, "logits": lists}), logits, truth


def test_average_precision_per_label_beside_its_share() -> None:
    labels = ("Pastures", "Land principally occupied by agriculture, with significant areas", "Rare")
    table, logits, truth = outputs_of_labels(labels)
    assert confusion.has_several_labels(table)
    precisions = confusion.label_precisions(table, labels)
    expected = sk.average_precision_score(truth[:, 0], logits[:, 0])
    assert precisions["Pastures"] == pytest.approx((expected, truth[:, 0].mean()))
    assert np.isnan(precisions["Rare"][0])
    figure = figures.per_label_precision(precisions, about="linear probe, test split")
    (axes,) = figure.axes
    ticks = [text.get_text() for text in axes.get_yticklabels()]
    assert len(ticks) == 2  # the label without an image is left out
    assert any(tick.startswith("Land principally") and tick.endswith("...") and len(tick) <= 42 for tick in ticks)
    known = sorted(value for value, _ in precisions.values() if value == value)
    assert [bar.get_width() for bar in axes.patches] == known
    figures.per_label_precision({"none": (float("nan"), 0.0)})


def test_names_of_settings_that_are_too_long_keep_every_value() -> None:
    names = [f"batch size 128, base learning rate {rate}, temperature 0.2589" for rate in (0.1534, 0.2187)]
    short, fields = compact([*names, "untrained encoder"], 60)
    assert short == ["128 / 0.1534 / 0.2589", "128 / 0.2187 / 0.2589", "untrained encoder"]
    assert fields == "batch size / base learning rate / temperature"
    assert compact(["temperature 0.1", "temperature 0.2"], 60) == (["temperature 0.1", "temperature 0.2"], "")
    others = ["a setting that has no fields " * 3, "x" * 70]
    assert all(len(name) == 60 for name in compact(others, 60)[0])


def test_numbers_on_pale_cells_stay_dark_on_a_dark_page() -> None:
    """The page draws INK in its own ink, which is nearly white there."""
    axes = figures.confusion_matrix(np.array([[6, 2], [1, 3]]), ["a", "b"]).axes[0]
    assert len(axes.texts) == 4
    assert INK not in {text.get_color() for text in axes.texts}


def test_the_line_of_the_mean_crosses_no_number_of_a_class() -> None:
    (axes,) = figures.per_class_accuracy({"a": 0.857, "b": 0.797}).axes
    axes.figure.draw_without_rendering()
    line = axes.lines[0].get_window_extent()
    assert [text.get_text() for text in axes.texts] == ["85.7", "79.7"]
    assert not any(line.y0 <= text.get_window_extent().y1 for text in axes.texts)


def test_equal_true_numbers_are_in_one_group_of_residuals() -> None:
    truth = np.array([0.0] * 30 + [0.5] * 5 + [1.0] * 5)
    predicted = truth + np.linspace(-0.1, 0.1, len(truth))
    beside, residuals = number_figure(truth, predicted, name="tons").axes
    assert (beside.get_xlabel(), residuals.get_ylabel()) == ("true tons", "predicted - true")
    (groups,) = (line for line in residuals.lines if line.get_marker() == "s")
    assert groups.get_xdata().tolist() == [0.0, 0.5, 1.0]  # type: ignore[union-attr]
    assert groups.get_ydata()[0] == pytest.approx((predicted - truth)[:30].mean())  # type: ignore[index]


@pytest.mark.parametrize("letter", ["n", "地"])
def test_long_names_of_classes_leave_room_for_the_values(letter: str) -> None:
    names = [letter * 30, "b"]
    matrix = figures.confusion_matrix(np.array([[6, 2], [1, 3]]), names)
    bars = figures.per_class_accuracy(dict(zip(names, (0.8, 0.7), strict=True)))
    for figure, least in ((matrix, 2.5), (bars, 2.0)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure.draw_without_rendering()
        box = figure.axes[0].get_window_extent()
        assert min(box.width, box.height) > least * figure.dpi

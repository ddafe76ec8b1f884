"""Intervals of metrics of numbers over images: what they cover, and which outputs they are of."""

import numpy as np
import pyarrow as pa
import pytest

from sweep.statistics.image_metrics import outputs_of, paired, sampling_interval
from sweep.statistics.number_outputs import NumberOutputs
from trainables.evaluation.number_metrics import number_metrics


def table_of(count: int, seed: int, noise: float = 1.0) -> pa.Table:
    random = np.random.default_rng(seed)
    truth = random.normal(size=count) * 2
    predicted = truth + noise * random.normal(size=count)
    column = pa.FixedSizeListArray.from_arrays(pa.array(predicted), 1)
    return pa.table({"name": [f"{n}.png" for n in range(count)], "label": truth, "linear_predicted": column})


def test_outputs_of_numbers_are_told_by_their_labels() -> None:
    outputs = outputs_of(table_of(50, 0), (), (), "test/linear_r2")
    assert isinstance(outputs, NumberOutputs)
    assert outputs_of(table_of(50, 0), (), (), "test/r2") is None  # no head
    assert paired("test/linear_r2", [outputs], [outputs]) is None
    assert sampling_interval("test/linear_top1", [outputs]) is None
    few = outputs_of(table_of(5, 0), (), (), "test/linear_r2")
    assert few is not None
    assert sampling_interval("test/linear_r2", [few]) is None


@pytest.mark.parametrize("name", ["r2", "rmse", "mae", "spearman"])
def test_intervals_cover_the_value_of_many_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.statistics.number_outputs.RESAMPLES", 200)
    many = outputs_of(table_of(200_000, 1), (), (), f"test/linear_{name}")
    assert isinstance(many, NumberOutputs)
    truth = number_metrics(many.predicted, many.truth)[name]
    held = 0
    for seed in range(100):
        outputs = outputs_of(table_of(40, seed + 2), (), (), f"test/linear_{name}")
        assert outputs is not None
        interval = sampling_interval(f"test/linear_{name}", [outputs])
        assert interval is not None
        held += interval.low <= truth <= interval.high
    assert held >= 90

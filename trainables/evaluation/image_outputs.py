"""Table of every method's outputs for each image of a split, one row per image."""

from collections.abc import Mapping

import pyarrow as pa
from torch import Tensor

from trainables.data.data_split import DataSplit
from trainables.distributed import gather_rows, rank


def image_outputs(split: DataSplit, outputs: Mapping[str, Tensor]) -> pa.Table | None:
    """Return the table of per-image outputs on rank 0, None on other ranks; all ranks must call it together.

    Args:
        split: The evaluated split.
        outputs: (n, K) values of this rank by column name.

    Returns:
        A table with row, name and label of each image, and one column per output.
    """
    gathered = {name: gather_rows(values, len(split)).cpu() for name, values in outputs.items()}
    if rank() > 0:
        return None
    table = {
        "row": pa.array(split.rows),
        "name": pa.array(split.store.names(split.rows)),
        "label": _label_column(split.targets),
    }
    for name, values in gathered.items():
        table[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.flatten().numpy()), values.shape[1])
    return pa.table(table)


def _label_column(targets: Tensor) -> pa.Array:
    """Return the class of each image, or the list of its labels."""
    if targets.dim() == 1:
        return pa.array(targets.numpy())
    return pa.array([row.nonzero().flatten().tolist() for row in targets], pa.list_(pa.int64()))

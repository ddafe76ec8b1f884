"""Reading of a foreign Parquet file within memory limits: small compressed pages can unpack to gigabytes."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.files.unpacked_limit import check_unpacked

ROWS_AT_ONCE = 256
UNREADABLE = (pa.ArrowException, OSError, KeyError, ValueError, RecursionError)
"""Exceptions raised by reading a damaged file, or one that unpacks to more than the limit."""


def check_parquet(source: Any, packed: int) -> Any:
    """Return the metadata of a file of `packed` bytes; ValueError if it declares more than the unpacked limit."""
    metadata = pq.read_metadata(source)
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    check_unpacked(sum(max(column.total_uncompressed_size, 0) for column in columns), packed)
    return metadata


class ParquetRows:
    """Rows of a Parquet file, read in batches; texts and bytes stay dictionary-encoded until a row is taken."""

    def __init__(self, path: Any) -> None:
        """Open a file at a pathlib.Path; raises one of UNREADABLE."""
        self._packed = path.stat().st_size
        metadata = check_parquet(path, self._packed)
        leaves = [metadata.schema.column(number) for number in range(metadata.num_columns)]
        words = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        self._file = pq.ParquetFile(path, read_dictionary=words)
        self.count: int = metadata.num_rows

    @property
    def schema(self) -> Any:
        """The Arrow schema."""
        return self._file.schema_arrow

    def batches(self, columns: Sequence[str] | None = None, rows: int = ROWS_AT_ONCE) -> Iterator[list[dict[str, Any]]]:
        """Yield batches of rows as mappings; ValueError if all together exceed the unpacked limit."""
        unpacked = 0
        for batch in self._file.iter_batches(batch_size=rows, columns=columns):
            unpacked += sum(_unpacked_bytes(column) for column in batch.columns)
            check_unpacked(unpacked, self._packed)
            yield batch.to_pylist()


def _unpacked_bytes(column: Any) -> int:
    """Return the bytes of a column after dictionary decoding."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
        return int(pc.sum(lengths).as_py() or 0)
    if pa.types.is_struct(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = column.flatten()
        return sum(_unpacked_bytes(part) for part in (inner if isinstance(inner, list) else [inner]))
    return int(column.nbytes)

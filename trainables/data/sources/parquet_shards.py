"""Completeness of Parquet files that are numbered as the hub does it: train-00000-of-00002."""

import re
from collections.abc import Sequence

from trainables.errors import BadInputError

NUMBERED = re.compile(r"(?P<name>[^/]*)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?\.parquet", re.IGNORECASE)


def check_shards(where: str, relatives: Sequence[str]) -> None:
    """Raise BadInputError if a numbered file is missing, or is there twice: of two versions or configurations.

    Args:
        where: Source, for error messages.
        relatives: Paths of the files below the source.
    """
    first: dict[tuple[str, int], str] = {}
    counts: dict[str, int] = {}
    for relative in sorted(relatives):
        if found := NUMBERED.fullmatch(relative.rpartition("/")[2]):
            name, number, counts[found["name"]] = found["name"], int(found["number"]), int(found["count"])
            other = first.setdefault((name, number), relative)
            if other != relative:
                raise BadInputError(
                    f"{where}: {other} and {relative} are both number {number} of {name or 'the files'}: files of two "
                    "versions or configurations; give the folder of one as --source, or remove the other"
                )
    for name, count in counts.items():
        missing = [number for number in range(count) if (name, number) not in first]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise BadInputError(
                f"{where}: missing {name}-{missing[0]:05d}-of-{count:05d}.parquet{more}; fetch all, or rename "
                f"the others without -of- ({name}-00000.parquet)"
            )

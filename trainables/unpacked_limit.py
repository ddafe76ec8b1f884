"""Limit on the unpacked size of foreign files: a few kilobytes can unpack to gigabytes."""

from trainables.byte_size import size_from_environment

VARIABLE = "SWEEP_UNPACKED_LIMIT"
"""A person's own limit for one file, as 8GB, instead of the rule below."""
SMALL = 64 * 2**20
"""Bytes that every file may unpack to, whatever its own size."""
RATIO = 200
"""More is no photograph, scene or table: JPEG gives about 20, a satellite's bands 2 to 10; deflate can give 1,032."""


def unpacked_limit(packed: int, most: int | None = None) -> int:
    """Return the bytes that a file of `packed` bytes may unpack to, `most` at the most.

    Raises BadInputError where SWEEP_UNPACKED_LIMIT is no amount.
    """
    chosen = size_from_environment(VARIABLE)
    if chosen is not None:
        return chosen
    limit = max(SMALL, RATIO * packed)
    return limit if most is None else min(limit, most)


def check_unpacked(unpacked: int, packed: int, most: int | None = None) -> None:
    """Raise ValueError, in one line that says what to do, for a file that unpacks to more than it may."""
    limit = unpacked_limit(packed, most)
    if unpacked > limit:
        raise ValueError(too_much(unpacked, packed, limit))


def too_much(unpacked: int, packed: int, limit: int) -> str:
    """Return what is wrong with a file that unpacks to more than `limit`, and what a person can do."""
    return (
        f"{packed:,} bytes unpack to {unpacked:,} or more, the limit is {limit:,}: if it is what it should be, set "
        f"{VARIABLE}={unpacked}"
    )

"""Limit on the unpacked size of foreign files: a few kilobytes can unpack to gigabytes."""

from trainables.files.byte_size import size_from_environment

VARIABLE = "SWEEP_UNPACKED_LIMIT"
"""Environment variable with the user's own limit per file, such as 8GB, which replaces the rule below."""
SMALL = 64 * 2**20
"""Bytes that any file may unpack to, regardless of its size."""
RATIO = 200
"""Maximum compression ratio of a real file: JPEG reaches about 20, satellite bands 2 to 10; deflate allows 1,032."""


def unpacked_limit(packed: int, most: int | None = None) -> int:
    """Return the maximum number of bytes that a file of `packed` bytes may unpack to, at most `most`.

    Raises:
        BadInputError: SWEEP_UNPACKED_LIMIT is not a size.
    """
    chosen = size_from_environment(VARIABLE)
    if chosen is not None:
        return chosen
    limit = max(SMALL, RATIO * packed)
    return limit if most is None else min(limit, most)


def check_unpacked(unpacked: int, packed: int, most: int | None = None) -> None:
    """Raise ValueError with one line of advice if a file unpacks to more than its limit."""
    limit = unpacked_limit(packed, most)
    if unpacked > limit:
        raise ValueError(too_much(unpacked, packed, limit))


def too_much(unpacked: int, packed: int, limit: int) -> str:
    """Return the error message for a file that unpacks to more than `limit`, with what to do."""
    return (
        f"{packed:,} bytes unpack to {unpacked:,} or more, the limit is {limit:,}: if the file is intact, set "
        f"{VARIABLE}={unpacked}"
    )

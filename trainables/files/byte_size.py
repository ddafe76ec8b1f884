"""Memory and disk sizes such as 200GB, 50 GiB or 1000, parsed and shown."""

import os
import re

from trainables.errors import BadInputError

UNITS = {"": 1, "B": 1} | {f"{letter}B": 10 ** (3 * power) for power, letter in enumerate("KMGT", 1)}
UNITS |= {f"{letter}IB": 2 ** (10 * power) for power, letter in enumerate("KMGT", 1)}


def shown_size(count: float) -> str:
    """Return a number of bytes in GB; below 0.1 GB in MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def size_from_environment(name: str) -> int | None:
    """Return the size in bytes of an environment variable; None if it is unset or empty.

    Raises:
        BadInputError: The text is not a size.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*((?:[KMGT]I?)?B|)", text.upper())
    if match is None:
        raise BadInputError(f"{name} {text!r}: must be a number of bytes, or a size such as 200GB or 50 GiB")
    return int(float(match[1]) * UNITS[match[2]])

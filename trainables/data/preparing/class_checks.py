"""Class checks: notes on classes that are missing in train or test, and an error if the two share no class."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches

from trainables.data import splits
from trainables.errors import BadInputError
from trainables.printing.printable_text import is_invisible

LISTED = 5
"""Maximum number of classes that a note names."""
SEPARATORS = ("|", ";", ",")
"""Separators that may stand between several labels in one text."""
PLACEHOLDERS = frozenset(("none", "na", "?", "-", "--", "unlabeled", "unlabelled", "undefined", "missing"))
"""Texts that may be a class, or stand for a label that is missing."""
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
LATIN_TWINS = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405"
    "\u0430\u0435\u043a\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d\u04cf"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u03b1\u03bd\u03bf\u03c1\u0261\u2013\u2212\u2019",
    "ABEKMHOPCTYXIJSaekopcyxijshdqwlABEZHIKMNOPTYXavopg--'",
)
"""Letters of other alphabets, dashes and apostrophes that look like those of ASCII."""


def one_sided(
    class_names: Sequence[str], class_counts: Mapping[str, Sequence[int]], *, spelt: bool = True
) -> list[str]:
    """Return notes on classes without images in train or test, although another split has some.

    Args:
        class_names: Names of the classes.
        class_counts: Images of each class, by split.
        spelt: Whether the source spelt the names itself; a note then suggests the nearest spelling in the other split.
    """
    notes = []
    for split in ("train", "test"):
        if class_counts.get(split) and not any(class_counts[split]):
            continue  # none of its images has a label, which is said by itself
        own = [name for name, count in zip(class_names, class_counts.get(split, ()), strict=True) if count]
        lacking = [
            (name, {other: counts[index] for other, counts in class_counts.items() if counts[index]})
            for index, name in enumerate(class_names)
            if name not in own and any(counts[index] for counts in class_counts.values())
        ]
        if lacking:
            shown = [_lack(name, found, split, own if spelt else []) for name, found in lacking[:LISTED]]
            more = f"; and {len(lacking) - LISTED} more" if len(lacking) > LISTED else ""
            notes.append(f"classes without an image in {split}: {'; '.join(shown)}{more}")
    return notes


def look_alikes(class_names: Sequence[str], *, single: bool) -> list[str]:
    """Return notes on names that may be two spellings of one class or, with `single`, several labels in one text."""
    groups: dict[str, list[str]] = {}
    for name in class_names:
        groups.setdefault(_as_number(name) or _folded(name), []).append(name)
    alike = [" and ".join(_distinctly(own)) for own in groups.values() if len(own) > 1]
    notes = []
    if alike:
        notes.append(f"classes that may be one, and are kept apart: {_first(alike)}")
    if unknown := [repr(name) for name in class_names if name.strip().casefold() in PLACEHOLDERS]:
        notes.append(f"classes that may stand for a missing label: {_first(unknown)}")
    for separator in SEPARATORS if single else ():
        if joined := [repr(name) for name in _joined(class_names, separator)]:
            notes.append(
                f"each of these texts is one class: {_first(joined)}; --separator '{separator}' makes several labels "
                "of it"
            )
    return notes


def _joined(class_names: Sequence[str], separator: str) -> list[str]:
    """Return the names that a separator divides: any with a bar, otherwise those that share a part with another."""
    parts = {name: {part.strip() for part in name.split(separator)} for name in class_names}
    uses = Counter(part for own in parts.values() for part in own)
    shared = {part for part, count in uses.items() if count > 1}
    return [
        name for name in class_names if separator in name and (separator == "|" or not shared.isdisjoint(parts[name]))
    ]


def refuse_apart(where: str, labels: Sequence[splits.Labels], codes: splits.Codes, class_names: Sequence[str]) -> None:
    """Raise BadInputError if train and test have no class in common, for example if folders were swapped."""
    train, test = (
        {label for own, code in zip(labels, codes.tolist(), strict=True) if code == split for label in own or ()}
        for split in (splits.TRAIN, splits.TEST)
    )
    if train and test and train.isdisjoint(test):
        shown = ["/".join(repr(class_names[label]) for label in sorted(found)[:LISTED]) for found in (train, test)]
        raise BadInputError(
            f"{where}: train and test have no class in common (train has {shown[0]}, test {shown[1]}); correct the "
            "splits or the classes, or choose --splits random"
        )


def nearest(name: str, others: Sequence[str]) -> str | None:
    """Return the most similar of `others`, compared without letter case and Unicode form; None if none is similar."""
    folded = {_folded(other): other for other in others}
    found = get_close_matches(_folded(name), folded, n=1, cutoff=0.8)
    return folded[found[0]] if found else None


def _lack(name: str, found: Mapping[str, int], split: str, own: Sequence[str]) -> str:
    images = ", ".join(f"{count:,} {other}" for other, count in found.items())
    near = nearest(name, own)
    if near is None:
        return f"{name!r} ({images})"
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", near):
        return f"{_codes(name)} ({images}), the same as {_codes(near)} in other code points (NFC, NFD)"
    return f"{name!r} ({images}), nearest in {split}: {near!r}"


def _first(names: Sequence[str]) -> str:
    more = f"; and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{'; '.join(names[:LISTED])}{more}"


def _as_number(name: str) -> str:
    """Return the canonical form of a number (1 for 1.0, 01, +1 and 1e0); empty for other names."""
    number = NUMBER.fullmatch(_as_seen(name).strip())
    return f"number {Decimal(number[0]).normalize()}" if number else ""


def _folded(name: str) -> str:
    return " ".join(_as_seen(name).casefold().replace("_", " ").replace("-", " ").split())


def _as_seen(name: str) -> str:
    """Return a name as it looks: Latin letters for their twins, without invisible characters."""
    seen = "".join(sign for sign in name if sign.isspace() or not is_invisible(sign))
    return unicodedata.normalize("NFKC", seen).translate(LATIN_TWINS)


def _distinctly(names: Sequence[str]) -> list[str]:
    """Return names in quotes; those that look like another one by their codes."""
    looks = Counter(map(_as_seen, names))
    return [_codes(name) if looks[_as_seen(name)] > 1 else repr(name) for name in names]


def _codes(name: str) -> str:
    return "'" + name.encode("ascii", "backslashreplace").decode() + "'"

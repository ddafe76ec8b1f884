"""Split names as publishers spell them, in folders, files and table cells."""

import re
from collections.abc import Iterable, Mapping

WORDS = {
    "train": ("train", "training", "trn", "trainval"),
    "validation": ("validation", "validate", "valid", "val", "vld", "dev"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
"""Split of each word; `eval` means test, as on the Hugging Face hub."""
SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}
NEUTRAL = frozenset(
    (
        *("set", "sets", "split", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photos"),
        *("jpg", "jpeg", "png", "tif", "tiff", "folder", "dir", "samples", "subset", "part", "partial", "full", "the"),
    )
)
"""Words without meaning beside a split's word: training_set, images-test, val2017."""
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_GLUED = re.compile(rf"({'|'.join(sorted(SPLIT_OF, key=len, reverse=True))})({'|'.join(sorted(NEUTRAL))})")


def tokens(text: str) -> list[str]:
    """Return a name's words in lower case without numbers; TrainSet_01 and trainset give train, set."""
    found: list[str] = []
    for token in (match.lower() for match in _TOKEN.findall(text)):
        glued = _GLUED.fullmatch(token)
        found += glued.groups() if glued and token not in SPLIT_OF else [token]
    return found


def named_split(text: str) -> str | None:
    """Return the split (train, validation or test) of a name; None if the name has any other meaning."""
    words = tokens(text)
    splits = [SPLIT_OF[word] for word in words if word in SPLIT_OF]
    said = len(splits) == 1 and all(word in SPLIT_OF or word in NEUTRAL for word in words)
    return splits[0] if said and text.isascii() else None


def splits_in(text: str) -> set[str]:
    """Return all splits whose words occur in a name: one for pets-train, two for train_test."""
    return {SPLIT_OF[word] for word in tokens(text) if word in SPLIT_OF}


def are_splits(values: Iterable[object]) -> bool:
    """Whether values, without empty ones, name at least two splits and nothing else."""
    found: dict[object, str | None] = {}
    for value in values:
        if value not in found and value not in (None, ""):
            found[value] = named_split(value) if isinstance(value, str) else None
            if found[value] is None:
                return False
    return len(set(found.values())) > 1


def two_words(known: Mapping[str, str]) -> tuple[str, list[str]] | None:
    """Return the first split that two different words name (test and eval), and its names; None if there is none.

    Args:
        known: Split of each name.
    """
    for split in dict.fromkeys(known.values()):
        names = sorted(name for name in known if known[name] == split)
        if len({tuple(tokens(name)) for name in names}) > 1:
            return split, names
    return None

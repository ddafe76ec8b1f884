"""Lines that `python -m sweep.weights list` prints."""

from collections.abc import Iterator, Sequence

from trainables.weights.catalog import CATALOG, CatalogEntry
from trainables.weights.download import weights_folder

SCALES = {"picture": "8-bit pictures", "reflectance": "reflectance"}


def weights_lines() -> Iterator[str]:
    """Yield a block of lines for each entry of the catalogue; addresses and paths are in one piece, to be copied."""
    for entry in CATALOG.values():
        yield entry.name
        for label, value in _facts(entry).items():
            yield f"  {label:13}  {value}"


def _facts(entry: CatalogEntry) -> dict[str, str]:
    path = weights_folder() / entry.file_name
    plain = set(entry.mean) == {0.0} and set(entry.deviation) == {1.0}
    facts = {
        "encoder": entry.encoder,
        "bands": ", ".join(entry.bands),
        "scale": SCALES[entry.scale],
        "normalisation": "none" if plain else f"mean {_listed(entry.mean)}; deviation {_listed(entry.deviation)}",
        "clamped": "" if entry.limits is None else "{} to {}".format(*map(_listed, entry.limits)),
        "licence": entry.licence,
        "source": entry.source,
        "address": entry.url,
        "sha256": f"begins with {entry.digest_prefix}, by the file's name; the rest isn't published",
        "file": f"{path}" if path.is_file() else f"not downloaded yet; its place is {path}",
        "note": entry.note,
    }
    return {label: value for label, value in facts.items() if value}


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)

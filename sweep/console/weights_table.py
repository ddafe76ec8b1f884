"""The table that `python -m sweep.weights list` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweep.console.printing import text
from trainables.weights_catalog import CATALOG, CatalogEntry
from trainables.weights_download import weights_folder

if TYPE_CHECKING:
    from rich.table import Table

SCALES = {"picture": "8-bit pictures", "reflectance": "reflectance"}


def weights_table() -> "Table":
    """Return a table with a block of lines for each entry of the catalogue."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for entry in CATALOG.values():
        table.add_row(text(entry.name), "")
        for label, value in _facts(entry).items():
            table.add_row(text(f"  {label}"), text(value))
    return table


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
        "sha256": f"begins with {entry.digest_prefix}, as the file's name says; no more of it is published",
        "file": f"{path}" if path.is_file() else f"not here; is downloaded to {path}",
        "note": entry.note,
    }
    return {label: value for label, value in facts.items() if value}


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)

"""Comparison of an existing store with a request: the same options, images and labels."""

from pathlib import Path
from typing import Any

from trainables.data.index_table import open_rows
from trainables.data.preparing.store_description import described_options
from trainables.data.sources.source import ImageSource, PrepareRequest, some_names
from trainables.data.store_format import INFO_FILE, ROWS_FILE
from trainables.data.store_info import StoreInfo, remove_command
from trainables.errors import BadInputError


def existing_store(folder: Path, request: PrepareRequest) -> StoreInfo | None:
    """Return the info of the store in `folder`; None if there is none.

    Raises:
        BadInputError: The store was made with other options.
    """
    existing = StoreInfo.read_folder(folder)
    if existing is None:
        return None
    have: dict[str, Any] = {"data set": existing.data_set, **existing.options}
    for found in ("percentiles", "source values"):  # not chosen
        have.pop(found, None)
    want: dict[str, Any] = {"data set": request.facts.name, **described_options(request)}
    differing = [key for key in {**have, **want} if have.get(key) != want.get(key)]
    if differing:
        raise _differs(existing, [f"{key} is {have.get(key)!r}, requested {want.get(key)!r}" for key in differing])
    return existing


def is_made_of(existing: StoreInfo, listing: ImageSource, request: PrepareRequest) -> bool:
    """Whether a store was made of the listed images and labels, by the source's digest; False if that is unknown.

    Stores of earlier versions have no digest and are compared by their source's path.

    Raises:
        BadInputError: A store without digest was made from another path.
    """
    if existing.source_state:
        return existing.source_state == listing.state
    source = request.required_source().resolve()
    if source not in (Path(existing.source), Path(existing.source).parent):
        raise _differs(existing, [f"source is {existing.source!r}, requested {str(request.source)!r}"])
    return True


def recognised(existing: StoreInfo, folder: Path, made: StoreInfo, aside: Path) -> StoreInfo:
    """Return the existing store if the one just made in `aside` equals it; otherwise BadInputError with the changes."""
    if made.fingerprint != existing.fingerprint:
        raise _differs(existing, _changes(existing, folder, made, aside) or ["its options or classes changed"])
    kept = existing.model_copy(update={"source_state": made.source_state, "source": made.source})
    written = aside / INFO_FILE
    written.write_text(kept.model_dump_json(indent=1) + "\n", encoding="utf-8")
    written.replace(folder / INFO_FILE)  # so that it is told at once next time
    return kept


def _differs(existing: StoreInfo, changes: list[str]) -> BadInputError:
    return BadInputError(
        f"{existing.name} is already prepared differently: {'; '.join(changes)}; choose another name with --as "
        f"NAME, or remove it: {remove_command(existing.name)}"
    )


def _changes(existing: StoreInfo, folder: Path, made: StoreInfo, aside: Path) -> list[str]:
    """Return the differences between the rows of two stores, in words."""
    before, after = _rows(existing, folder), _rows(made, aside)
    both = before.keys() & after.keys()
    differing = {
        "added to the source": after.keys() - before.keys(),
        "no longer in the source": before.keys() - after.keys(),
        **{
            kind: {name for name in both if before[name][part] != after[name][part]}
            for part, kind in enumerate(
                ("with other labels", "in another split", "of another place", "with other pixels")
            )
        },
    }
    return [
        f"{len(names):,} image{'s' if len(names) > 1 else ''} {kind} ({some_names(sorted(names))})"
        for kind, names in differing.items()
        if names
    ]


def _rows(info: StoreInfo, folder: Path) -> dict[str, tuple[Any, ...]]:
    """Return label, split, place and checksum of each image, by name."""
    rows = open_rows(folder / ROWS_FILE)
    labels = (own and [info.class_names[label] for label in own] for own in rows.column("labels").to_pylist())
    parts = (rows.column(name).to_pylist() for name in ("split", "place", "checksum"))
    return dict(zip(rows.column("name").to_pylist(), zip(labels, *parts, strict=True), strict=True))

"""Tables that `python -m sweep.data` prints about data stores."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.console.formatting import count_and_share
from sweep.console.printing import say, text
from trainables.data.bands import described_bands
from trainables.data.class_names import SENTINEL_2_BANDS
from trainables.data.dataset_facts import KNOWN, SCENES
from trainables.data.store_addresses import store_folder
from trainables.data.store_format import INFO_FILE, PIXELS_FILE, ROWS_FILE
from trainables.data.store_info import StoreInfo, prepare_command, remove_command
from trainables.errors import BadInputError
from trainables.printing.redaction import redact

if TYPE_CHECKING:
    from rich.table import Table

    from trainables.data.preparing.label_set import LabelSet

OF_CLASSES = ("classes ", "each of these texts")
"""Starts of all notes on classes."""
LISTED_FIELDS = {"name", "data_set", "image_size", "channels", "dtype", "multi_label", "splits", "fingerprint"}
"""Fields of a store in the output of `list --json`."""
LISTED_CORRUPT = 20
"""Maximum number of skipped corrupt images that `info` lists."""


def readable_stores(root: Path) -> list[StoreInfo]:
    """Return the prepared data sets of a folder; print an error for each damaged one."""
    stores = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        try:
            found = None if folder.name.startswith(".") else StoreInfo.read_folder(folder)
        except BadInputError as error:  # a damaged store doesn't hide the others
            say(f"error: {error}", error=True)
        else:
            stores += [] if found is None else [found]
    return stores


def unprepared(infos: list[StoreInfo]) -> list[str]:
    """Return the published data sets that aren't prepared."""
    made = {info.data_set for info in infos}
    return [name for name in KNOWN if name not in made]


def overview(infos: list[StoreInfo], root: Path | None) -> "Table":
    """Return the table of stores, one row per store."""
    table = _table("name", "images", "labelled", "size", "classes", "MiB", "fingerprint")
    for info in infos:
        size = f"{store_bytes(info.name, root) / 2**20:,.1f}"
        labelled = count_and_share(info.labelled_images, info.images) if info.unlabelled else "all"
        row = (f"{info.images:,}", labelled, _pixels(info), len(info.class_names), size, info.fingerprint[:12])
        table.add_row(*(text(str(cell)) for cell in (info.name, *row)))
    return table


def summary(store: StoreInfo, root: Path | None) -> "Table":
    """Return the table of one store: contents, origin and preparation."""
    known = KNOWN.get(store.data_set)
    table = _table("", "")
    table.show_header = False
    table.columns[1].overflow = "fold"  # a fingerprint and a folder are shown in full
    rows = {
        "name": store.name,
        "data set": f"{store.data_set}: {known.source}" if known else store.data_set,
        "source": store.source,
        "licence": store.licence,
        "images": f"{store.images:,} of {_pixels(store)} {store.dtype}",
        "bytes": f"{store_bytes(store.name, root):,} in {store_folder(store.name, root)}",
        "bands": described_bands(store.channel_bands),
        "labels": _labels(store),
        "places": (store.place_dates and store.place_dates.described()) or "unknown",
        "fingerprint": store.fingerprint,
        "made": store.made,
        **{f"found {key}": told for key, told in store.decisions.items()},
        **{f"made with {key}": value for key, value in _made_with(store).items()},
        **{f"note {number}": note for number, note in enumerate(notes(store), start=1)},
    }
    for row in rows.items():
        table.add_row(*map(text, row))
    return table


def _made_with(store: StoreInfo) -> dict[str, str]:
    """Return a store's options as text; `--bands all` of scenes of any sensor is recorded as Sentinel-2's bands."""
    options = {key: str(value) for key, value in store.options.items()}
    if store.data_set == SCENES.name and options.get("bands") == ", ".join(SENTINEL_2_BANDS):
        options["bands"] = "all"
    return options


def prepared_lines(store: StoreInfo, root: Path | None, *, kept: bool, source_unknown: bool) -> list[str]:
    """Return the output of `prepare`: whether the store was created or `kept`, its sizes, decisions and notes."""
    state = "already prepared" if kept else "prepared"
    if source_unknown:
        state += " by an earlier version, which kept nothing to compare the source with"
    sizes = ", ".join(f"{count:,} {split}" for split, count in store.splits.items())
    first = f"{store.name}: {state}, {store.images:,} images ({sizes}) in {store_folder(store.name, root)}"
    return [first, *(f"  {note}" for note in (*decisions(store), *notes(store)))]


@contextmanager
def unfinished(name: str, before: StoreInfo | None) -> Iterator[None]:
    """Add to an interruption what is left of a preparation, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        left = "the store that was there before is unchanged" if before else "nothing of it is left half-written"
        then = "the same command begins again, but keeps what was downloaded"
        error.add_note(f"{name}: not prepared, {left}; {then}")
        raise


def labelled_lines(found: "LabelSet") -> list[str]:
    """Return the output of `label`: the number of labelled images, mismatches, and how to evaluate on the store."""
    info = found.info
    labelled = ", ".join(f"{count:,} {split}" for split, count in info.labelled.items())
    done = "labelled" if found.made else "already labelled"
    return [
        f"{info.name}: {done}, {info.labelled_images:,} of {info.images:,} images ({labelled}); "
        f"{info.decisions['classes']}",
        *(f"  {line}" for line in (*found.lines(), *(note for note in info.notes if note.startswith(OF_CLASSES)))),
        f"evaluate on it: python -m sweep.evaluate SWEEP --dataset {info.name}, or set evaluation_dataset={info.name}",
    ]


def _labels(store: StoreInfo) -> str:
    """Return the kinds of labels, and the number of labelled images."""
    if not store.labelled_images:
        return "none: a pool to pretrain on; python -m sweep.data label attaches some"
    kinds = f"{len(store.class_names)} classes, {'several' if store.multi_label else 'one'} per image"
    if store.number:
        kinds = f"a number per image, {store.number}"
    return kinds + (f", of {store.labelled_images:,} of {store.images:,} images" if store.unlabelled else "")


def decisions(store: StoreInfo) -> list[str]:
    """Return what was derived rather than chosen: the origin of classes and splits, and skipped images with reasons."""
    bands = f"bands: {described_bands(store.channel_bands)}"
    return [bands, *(f"{key}: {told}" for key, told in store.decisions.items())]


def notes(store: StoreInfo) -> list[str]:
    """Return the notes on a store: its source, leaks between splits, skipped images."""
    lines = list(store.notes)
    if found := store.leaks.described():
        lines.append(found)
        lines += [f"  {example}" for example in store.leaks.examples]
    else:
        lines.append("no image or near duplicate is in two splits")
    if store.corrupt:
        lines.append(f"{len(store.corrupt):,} corrupt images were left out")
        told = Counter(store.corrupt)  # the chips of one damaged scene have one message
        lines += [
            f"  {message}" + (f" ({count:,} images)" if count > 1 else "")
            for message, count in list(told.items())[:LISTED_CORRUPT]
        ]
    facts = KNOWN.get(store.data_set)
    if facts and facts.thesis_share is not None and "farmland" in store.rules:
        share = sum(store.rule_counts["farmland"].values()) / max(store.images, 1)
        lines.append(
            f"farmland by the thesis' rule: {share:.1%} here; the thesis' accuracies imply {facts.thesis_share:.0%}"
        )
    return lines


def split_table(store: StoreInfo) -> "Table":
    """Return the table of splits: images, labelled images if not all are, and positives of each rule."""
    some = ("labelled",) if store.unlabelled else ()
    table = _table("split", "images", *some, *(f"positive by {rule!r}" for rule in store.rules))
    positives = {rule: {**counts, "all": sum(counts.values())} for rule, counts in store.rule_counts.items()}
    labelled = {**store.labelled, "all": store.labelled_images}
    for split, images in {**store.splits, "all": store.images}.items():
        known = (f"{labelled[split]:,}" for _ in some)
        shares = (count_and_share(positives[rule][split], labelled[split]) for rule in store.rules)
        table.add_row(*map(text, (split, f"{images:,}", *known, *shares)))
    return table


def class_table(store: StoreInfo) -> "Table":
    """Return the table of classes: images, share of the labelled images, images in each split, positive rules."""
    table = _table("class", "images", *store.splits, "rules")
    for index, name in enumerate(store.class_names):
        counts = [store.class_counts[split][index] for split in store.splits]
        rules = ", ".join(rule for rule, names in store.rules.items() if name in names)
        cells = (name, count_and_share(sum(counts), store.labelled_images), *(f"{count:,}" for count in counts), rules)
        table.add_row(*map(text, cells))
    return table


def overview_value(infos: list[StoreInfo], root: Path | None) -> dict[str, Any]:
    """Return the output of `list --json`: prepared data sets, and the commands that prepare the others."""
    return {
        "stores": [
            {
                **info.model_dump(mode="json", include=LISTED_FIELDS),
                "images": info.images,
                "labelled_images": info.labelled_images,
                "classes": len(info.class_names),
                **_on_disk(info.name, root),
            }
            for info in infos
        ],
        "not_prepared": {name: prepare_command(name) for name in unprepared(infos)},
    }


def store_value(store: StoreInfo, root: Path | None) -> dict[str, Any]:
    """Return the output of `info --json`: the fields of `store.json`, with the store's notes, size and folder."""
    return {
        **store.model_dump(mode="json"),
        "images": store.images,
        "labelled_images": store.labelled_images,
        "notes": notes(store),
        **_on_disk(store.name, root),
    }


def _on_disk(name: str, root: Path | None) -> dict[str, Any]:
    return {"bytes": store_bytes(name, root), "folder": redact(str(store_folder(name, root)))}


def store_bytes(name: str, root: Path | None) -> int:
    """Return a store's size on disk in bytes; BadInputError if one of its files is missing."""
    folder = store_folder(name, root)
    try:
        return sum((folder / file).stat().st_size for file in (PIXELS_FILE, ROWS_FILE, INFO_FILE))
    except OSError as error:
        raise BadInputError(
            f"{error.filename}: can't be read ({error.strerror}); remove the store and prepare again: "
            f"{remove_command(name)}"
        ) from error


def _pixels(store: StoreInfo) -> str:
    height, width = store.image_size
    return f"{height} x {width} x {store.channels}"


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    numbers = {"images", "labelled", "MiB", "train", "validation", "test"}
    for column in columns:
        table.add_column(
            text(column), justify="right" if column in numbers or column.startswith("positive") else "left"
        )
    return table

"""Store building: pixels, index rows, leak counts and metadata, written into one folder."""

import importlib
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.data import splits
from trainables.data.index_table import fingerprint, open_rows, write_rows
from trainables.data.patch_names import tile_position
from trainables.data.preparing.assigned_rows import StoreRows, assigned_rows
from trainables.data.preparing.atomic_folder import check_space
from trainables.data.preparing.decode_chunk import ImageLayout
from trainables.data.preparing.decode_workers import Progress, advised, convert
from trainables.data.preparing.leaks import find_leaks
from trainables.data.preparing.linear_scale import FLOATS, LinearScale
from trainables.data.preparing.pixels import (
    FirstImage,
    PixelConversion,
    described_ranges,
    percentile_scale,
    percentile_tables,
    reflectance_tables,
    stated_scale,
    thesis_tables,
)
from trainables.data.preparing.store_description import described_store
from trainables.data.preparing.stored_bands import stored_bands
from trainables.data.sources.decode import UndecodableError
from trainables.data.sources.options import AS_PRODUCTS
from trainables.data.sources.source import ImageSource, PrepareRequest, counted
from trainables.data.store_format import CHECKSUM_BYTES, INFO_FILE, PIXELS_FILE, ROWS_FILE
from trainables.data.store_info import LeakCounts, OptionValue, StoreInfo
from trainables.errors import BadInputError


def make_store(
    folder: Path, name: str, request: PrepareRequest, listing: ImageSource, strict: bool, progress: Progress | None
) -> StoreInfo:
    """Write a store into an empty folder and return its info, which is the last file written.

    Args:
        folder: Empty folder for the store.
        name: Name of the store.
        request: Data set and options.
        listing: Images to store.
        strict: Whether leaks between splits are an error.
        progress: Function called with a description, the count so far and the total (None: unknown).

    Raises:
        BadInputError: Unusable images, or with `strict` an image in two splits.
    """
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata, as in the workers
        reference, image = _first(request, listing)
        _load_meanwhile(chips=request.options.chips is not None)
        conversion, found = _conversion(request, listing, reference)
    layout = ImageLayout.of(conversion(image))
    if listing.count is not None:
        check_space(folder, listing.count * layout.row_bytes)
    rows = convert(
        listing.entries(),
        folder / PIXELS_FILE,
        layout,
        conversion,
        reference,
        skip_corrupt=request.options.skip_corrupt,
        together=listing.together,
        report=_reporter(listing, progress),
    )
    if not rows.names and rows.left_out:
        raise BadInputError(f"{listing.location}: no usable image ({counted(rows.left_out)} left out)")
    table = assigned_rows(rows, request, listing)
    leaks = _leaks(table, folder / PIXELS_FILE, layout)
    if strict and leaks.described():
        raise BadInputError(f"--strict: {leaks.described()} ({'; '.join(leaks.examples)}); choose other --splits")
    write_rows(folder / ROWS_FILE, **table.columns())
    info = described_store(name, request, listing, layout, table, rows, leaks)
    info = info.model_copy(
        update={
            "options": {**info.options, **found},
            "bands": stored_bands(request, listing.bands, reference.channels, str(found.get("percentiles", ""))),
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC in {time.perf_counter() - started:.0f} s",
        }
    )
    info = info.model_copy(update={"fingerprint": fingerprint(info, open_rows(folder / ROWS_FILE))})
    (folder / INFO_FILE).write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return info


def _load_meanwhile(*, chips: bool) -> None:
    """Load the libraries of the index in a thread, while workers start and decode."""

    def load() -> None:
        with suppress(RuntimeError, ImportError):  # the command may end meanwhile; later faults come where it is used
            pa.array([])  # loads pandas, where it is installed
            if chips:
                importlib.import_module("scipy.spatial")  # for the distance between the splits

    # A daemon: after Ctrl-C within an import of this thread, the other would wait for that module for ever.
    threading.Thread(target=load, name="libraries of the index", daemon=True).start()


def _reporter(listing: ImageSource, progress: Progress | None) -> Callable[[int], None] | None:
    if progress is None:
        return None
    position = listing.position
    if listing.count is None and position is not None:
        return lambda done: progress("reading the archive", *position())
    return lambda done: progress("converting images", done, listing.count)


def _conversion(
    request: PrepareRequest, listing: ImageSource, reference: FirstImage
) -> tuple[PixelConversion, dict[str, OptionValue]]:
    """Return the pixel conversion of the images, and its measured facts (percentile ranges) for the store's info."""
    size, rule = request.options.image_size, request.options.pixels
    if reference.dtype == FLOATS:
        scale, found = _scale(request, listing, reference)
        return PixelConversion(size, scale=scale), {**found, "source values": listing.values}
    if rule == "thesis":
        if reference.dtype != "uint16":
            raise BadInputError(
                f"--pixels thesis: is for values of 16 bits, and {reference.name} has 8; choose none or percentiles"
            )
        return PixelConversion(size, thesis_tables()), {}
    if rule == "reflectance":
        return PixelConversion(size, reflectance_tables(*(request.options.reflectance or AS_PRODUCTS))), {}
    if rule == "none":
        return PixelConversion(size), {}
    try:
        tables, ranges = percentile_tables(listing.entries(), reference, skip_corrupt=request.options.skip_corrupt)
    except UndecodableError as error:
        raise _advised(error) from error
    named = tuple(band.name for band in listing.bands)  # of --bands all, those that the scenes have
    bands = named or request.options.bands or tuple(str(channel) for channel in range(len(ranges)))
    return PixelConversion(size, tables), {"percentiles": described_ranges(bands, ranges)}


def _scale(
    request: PrepareRequest, listing: ImageSource, reference: FirstImage
) -> tuple[LinearScale, dict[str, OptionValue]]:
    """Return the scale of images with signed or floating-point values, and its measured facts."""
    options = request.options
    if options.pixels == "percentiles":
        scale, ranges = percentile_scale(listing.entries(), reference, skip_corrupt=options.skip_corrupt)
        return scale, {"percentiles": described_ranges([band.name for band in listing.bands], ranges)}
    return stated_scale(options.pixels, options.reflectance, options.reading.value_range), {}


def _first(request: PrepareRequest, listing: ImageSource) -> tuple[FirstImage, NDArray[np.generic]]:
    """Return the first decodable image, with the channels and type that all others must have."""
    fault: BadInputError | None = None
    for entry in listing.entries():
        try:
            image = entry.read().image
            return FirstImage.of(entry.name, image), image
        except BadInputError as error:
            if not request.options.skip_corrupt:
                raise _advised(error) from error
            fault = error
    raise BadInputError(f"{listing.location}: no usable image" + (f" ({fault})" if fault else ""))


def _advised(error: BadInputError) -> BadInputError:
    return BadInputError(advised(str(error), error.option)) if isinstance(error, UndecodableError) else error


def _leaks(table: StoreRows, path: Path, layout: ImageLayout) -> LeakCounts:
    pixels = map_pixels(path, layout)
    positions = np.array(table.positions)
    tiles = [tile_position(name) for name in table.names]
    leaks = find_leaks(
        names=table.names,
        splits=[splits.SPLITS[code] for code in table.splits.tolist()],
        content=np.array(table.checksums, dtype=f"V{CHECKSUM_BYTES}"),
        hashes=np.array(table.hashes, dtype=np.uint64),
        tiles=tiles if any(tiles) else None,
        pixels=lambda rows: pixels[positions[rows]],
    )
    return LeakCounts(**vars(leaks))


def map_pixels(path: Path, layout: ImageLayout) -> NDArray[np.generic]:
    """Return all images of a pixel file, memory-mapped (images, H, W, C); BadInputError if it can't be read."""
    try:
        flat = np.memmap(path, dtype=layout.dtype, mode="r")
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: can't be read ({error}); remove the store and prepare it again") from error
    image = layout.row_bytes // flat.dtype.itemsize
    return np.asarray(flat[: len(flat) // image * image]).reshape(-1, layout.height, layout.width, layout.channels)

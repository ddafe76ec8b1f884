"""EuroSAT: one folder per class, with 64 x 64 JPEGs (RGB) or 13-band GeoTIFFs (MS)."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from trainables.data.chip import Chip
from trainables.data.class_names import EUROSAT_CLASSES
from trainables.data.dataset_facts import EUROSAT, EUROSAT_MS, DataSetFacts
from trainables.data.sources.decode import decode_image, decode_rgb, load
from trainables.data.sources.eurosat_lists import spatial_splits
from trainables.data.sources.file_tree import FileTree, open_tree
from trainables.data.sources.geotiff_place import geotiff_chip
from trainables.data.sources.layout import file_of, find_root, located
from trainables.data.sources.options import BY_LONGITUDE
from trainables.data.sources.source import (
    ArchiveFile,
    File,
    ImageEntry,
    ImageSource,
    LabelledImage,
    PrepareRequest,
    digest_of,
)
from trainables.errors import BadInputError


def read_eurosat(request: PrepareRequest) -> ImageSource:
    """Return the source for EuroSAT RGB, from the zip, the folder of the ten classes, or a folder that contains it."""
    return _list(request, EUROSAT, (".jpg", ".jpeg"), _read_rgb)


def read_eurosat_ms(request: PrepareRequest) -> ImageSource:
    """Return the source for EuroSAT MS, with the chosen bands of the 13-band GeoTIFFs."""
    read = partial(_read_bands, request.options.bands, request.options.splits)
    return _list(request, EUROSAT_MS, (".tif", ".tiff"), read)


def _list(
    request: PrepareRequest, facts: DataSetFacts, suffixes: tuple[str, ...], read: Callable[[File, str], LabelledImage]
) -> ImageSource:
    tree = open_tree(request.required_source())
    paths = tree.names()
    root = find_root(tree, paths, _has_classes, str(facts.layout))
    images = [path for path in paths if path.startswith(root) and path.lower().endswith(suffixes)]
    by_class = {path: path.removeprefix(root).split("/")[0] for path in images}
    _check_classes(tree, root, set(by_class.values()), suffixes)
    wanted = [
        path for path, label in by_class.items() if label in EUROSAT_CLASSES and request.wants(path.rsplit("/", 1)[-1])
    ]
    splits: dict[str, str] = {}
    if request.options.splits == "spatial":
        splits = spatial_splits(request, [path.rsplit("/", 1)[-1] for path in wanted])

    def entries() -> Iterator[ImageEntry]:
        for path in wanted:
            name = path.rsplit("/", 1)[-1]
            yield ImageEntry(name, partial(read, file_of(tree, path), by_class[path]), splits.get(name))

    return ImageSource(
        located(tree, root),
        EUROSAT_CLASSES,
        entries,
        len(wanted),
        rules=facts.rules,
        decisions={
            "classes": f"{len(EUROSAT_CLASSES)} by the names of their folders",
        },
        left_out=lambda: _unused(tree, [path for path in paths if path.startswith(root)], root, suffixes),
        splits_from="the lists of the spatial split" if splits else "",
        state=digest_of(
            tree.state(wanted), *(path.removeprefix(root) for path in wanted), *map(repr, sorted(splits.items()))
        ),
    )


def _unused(tree: FileTree, paths: list[str], root: str, suffixes: tuple[str, ...]) -> Counter[str]:
    """Count by reason the files that aren't images of the ten classes."""
    reasons = Counter(tree.left_out)
    for path in paths:
        folder, _, rest = path.removeprefix(root).partition("/")
        if not path.lower().endswith(suffixes):
            reasons[f"no {suffixes[0]}"] += 1
        elif folder not in EUROSAT_CLASSES:
            reasons[f"in {folder}/, which isn't a class" if rest else "in no class folder"] += 1
    return reasons


def _has_classes(paths: set[str]) -> bool:
    """Return whether most class folders are present; missing ones are reported later."""
    found = set(EUROSAT_CLASSES) & {path.split("/", 1)[0] for path in paths if "/" in path}
    return len(found) > len(EUROSAT_CLASSES) // 2


def _check_classes(tree: FileTree, root: str, found: set[str], suffixes: tuple[str, ...]) -> None:
    for name in EUROSAT_CLASSES:
        if name not in found:
            raise BadInputError(
                f"{tree.location}: {root}{name}: expected images of this class ({', '.join(suffixes)}), found none; "
                "fetch the archive again"
            )


def _read_rgb(file: File, label: str) -> LabelledImage:
    return LabelledImage(decode_rgb(file, EUROSAT.image_size), (label,))


def _read_bands(bands: tuple[str, ...], splits: str, file: File, label: str) -> LabelledImage:
    placed = splits in BY_LONGITUDE
    file = ArchiveFile(str(file), load(file)) if placed and not isinstance(file, ArchiveFile) else file
    decoded = decode_image(file)
    image = decoded.image
    known, size = EUROSAT_MS.bands, EUROSAT_MS.image_size
    if image.shape != (size, size, len(known)):
        raise BadInputError(
            f"{file}: expected {size} x {size} pixels of {len(known)} bands, found {image.shape}; fetch it again"
        )
    chip = _chip(file, splits) if placed else None
    return LabelledImage(image[..., [known.index(band) for band in bands]], (label,), decoded.facts, chip=chip)


def _chip(file: File, splits: str) -> Chip | None:
    chip = geotiff_chip(file, str(file).rsplit("/", 1)[-1])
    if splits == "longitude" and (chip is None or chip.longitude is None):
        where = "has no coordinates" if chip is None else f"has coordinates of {chip.crs}, which aren't read"
        raise BadInputError(f"{file}: {where}; choose --splits spatial with --lists FOLDER, or --splits random")
    return chip

"""EuroSAT's published spatial split: three lists of image names, one per line, for train, validation and test."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from trainables.data.sources.source import PrepareRequest, some_names
from trainables.errors import BadInputError

SPATIAL_LISTS = {
    "train": "eurosat-spatial-train.txt",
    "validation": "eurosat-spatial-val.txt",
    "test": "eurosat-spatial-test.txt",
}
"""File names as in torchgeo's EuroSATSpatial; the listed names end with .jpg, also for the 13-band images."""
LIST_BYTES = 2**22
"""Size limit of a list in bytes; the largest has about 320 kB."""


def spatial_splits(request: PrepareRequest, images: Iterable[str]) -> dict[str, str]:
    """Return the published split of each image of EuroSAT.

    Args:
        request: Request with the source, and the folder of the lists if they aren't beside the source.
        images: File names of the source's images.

    Returns:
        Split (train, validation or test) by file name, for all images.

    Raises:
        BadInputError: A list is missing or isn't one, an image is in two lists, or an image is in none.
    """
    listed: dict[str, str] = {}
    for split, name in SPATIAL_LISTS.items():
        path = _found(request, name)
        for stem in _stems(path):
            if listed.setdefault(stem, split) != split:
                raise BadInputError(f"{path}: {stem} is in {SPATIAL_LISTS[listed[stem]]} too; fetch the lists again")
    own = {image: listed.get(PurePosixPath(image).stem, "") for image in images}
    missing = [image for image, split in own.items() if not split]
    if missing:
        raise BadInputError(
            f"{_found(request, SPATIAL_LISTS['train']).parent}: the lists {', '.join(SPATIAL_LISTS.values())} lack "
            f"{len(missing):,} of {len(own):,} images ({some_names(sorted(missing))}); fetch the lists again"
        )
    return own


def _found(request: PrepareRequest, name: str) -> Path:
    source = request.required_source()
    places = [request.lists] if request.lists else [source, source.parent]
    for place in places:
        if (place / name).is_file():
            return place / name
    where = f"not found in {request.lists}" if request.lists else f"not found beside {source}"
    urls = [published.url for published in request.facts.lists if published.url.endswith(name)]
    raise BadInputError(f"{name}: {where}; give its folder with --lists FOLDER (published at {urls[0]})")


def _stems(path: Path) -> list[str]:
    """Return the names of a list without their suffix."""
    try:
        with path.open("rb") as file:
            content = file.read(LIST_BYTES + 1)
        if len(content) > LIST_BYTES:
            raise ValueError(f"more than {LIST_BYTES:,} bytes")
        lines = [line.strip() for line in content.decode("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: can't be read ({error}); fetch it again") from error
    for number, line in enumerate(lines, 1):
        if line and PurePosixPath(line).suffix.lower() not in (".jpg", ".tif"):
            raise BadInputError(f"{path}: line {number}: {line[:80]!r} isn't an image's name; fetch the list again")
    return [PurePosixPath(line).stem for line in lines if line]

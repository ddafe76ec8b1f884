"""Images to predict: the files of a folder or zip, or the images of a prepared data set."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sweep.deployment.exported_model import DeployedModel
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.sources.decode import IMAGE_SUFFIXES, OTHER_IMAGES
from trainables.data.sources.file_tree import FileTree, open_tree
from trainables.data.store_format import PLAIN_NAME
from trainables.data.store_info import StoreInfo, known_names
from trainables.errors import BadInputError, nearest
from trainables.printing.printable_text import printable

if TYPE_CHECKING:
    from trainables.data.store import ImageStore

Images = dict[str, NDArray[np.generic]]
"""Images (H, W, C) by name, as the model takes them."""


class FolderImages:
    """Images of a folder or zip.

    Attributes:
        names: Names of the images, in the order of the table.
        unsupported: Reasons of files that can't be images of the model, by name.
        other_files: Number of files that aren't images.
    """

    def __init__(self, model: DeployedModel, tree: FileTree, source: Path) -> None:
        self._model, self._tree = model, tree
        self.names: Sequence[str] = [name for name in tree.names() if name.lower().endswith(IMAGE_SUFFIXES)]
        if not self.names:
            raise BadInputError(f"{source}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
        others = [name for name in tree.names() if name.lower().endswith(OTHER_IMAGES)]
        why = "its kind is not supported; convert it to PNG or TIFF"
        self.unsupported: Mapping[str, str] = {name: f"{printable(name)}: {why}" for name in others}
        self.other_files = len(tree.names()) - len(self.names) - len(others)

    def read(self, part: range, left_out: dict[str, str]) -> Images:
        """Return the readable images, and add the others to `left_out` with their reasons."""
        found = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; broken pixels raise
            for name in self.names[part.start : part.stop]:
                try:
                    found[name] = self._model.pixels(self._tree, name)
                except BadInputError as error:
                    left_out[name] = str(error)
        return found


class StoreImages:
    """Images of a prepared data set over all splits; its pixels must be made like the model's."""

    unsupported: Mapping[str, str] = {}
    other_files = 0

    def __init__(self, store: "ImageStore") -> None:
        self._store = store
        self.names = store.names(np.arange(len(store)))

    def read(self, part: range, left_out: dict[str, str]) -> Images:
        """Return the images; a store has no unreadable ones."""
        images = self._store.images(part).numpy()
        return dict(zip(self.names[part.start : part.stop], images, strict=True))


def open_images(model: DeployedModel, source: Path) -> FolderImages | StoreImages:
    """Return the images of a folder or zip, otherwise those of the prepared data set with this name.

    Raises:
        BadInputError: There is neither, the folder has no image, or the data set's pixels don't fit the model.
    """
    name = str(source)
    info = None if source.exists() or not re.fullmatch(PLAIN_NAME, name) else StoreInfo.read(name)
    if info is None and not source.exists() and (near := nearest(name, known_names())):
        raise BadInputError(f"{name}: no such file or folder, and no prepared data set{near}")
    if info is None:
        return FolderImages(model, open_tree(source), source)
    from trainables.data.store import ImageStore

    bands = tuple(str(band["name"]) for band in model.facts.get("bands", ()))
    if set(bands) <= {band.name for band in info.channel_bands}:
        info = info.with_bands(bands)
    if faults := list(_differences(model, info)):
        raise BadInputError(f"{name}: {'; '.join(faults)}; prepare it as {model.facts['data_set']} was")
    return StoreImages(ImageStore.open(name).with_bands(tuple(band.name for band in info.channel_bands)))


def _differences(model: DeployedModel, info: StoreInfo) -> Iterable[str]:
    """Yield in words how a store's pixels differ from those that the model takes."""
    facts = model.facts
    bands = [band.name for band in info.channel_bands]
    wanted = [str(band["name"]) for band in facts.get("bands", ())]
    if wanted and bands != wanted:
        yield f"has the bands {', '.join(bands)}, the model takes {', '.join(wanted)}"
    elif info.channels != facts["channels"]:
        yield f"has {info.channels} channels, the model takes {facts['channels']}"
    if list(info.image_size) != list(facts["image_size"]):
        sizes = [" x ".join(map(str, size)) for size in (info.image_size, facts["image_size"])]
        yield f"has images of {sizes[0]} px, the model takes {sizes[1]}"
    if info.dtype != facts["dtype"]:
        yield f"has pixels of {info.dtype}, the model takes {facts['dtype']}"
    own, theirs = PixelRecipe.of(info), model.recipe
    if _made(own) != _made(theirs):
        yield f"has pixels made by {_rule(own)}, the model takes {_rule(theirs)}"


def _made(recipe: PixelRecipe) -> tuple[object, ...]:
    """Return what decides which pixel a value becomes."""
    return recipe.rule, recipe.ranges, recipe.reflectance, recipe.reading.value_range, recipe.values.startswith("float")


def _rule(recipe: PixelRecipe) -> str:
    values = recipe.ranges or recipe.reflectance or recipe.reading.value_range
    kind = f" from {recipe.values}" if recipe.values else ""
    return f"the rule {recipe.rule or 'none'}" + (f" ({values})" if values else "") + kind

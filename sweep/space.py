"""A search space: a question as data. Spaces live in their own modules, each as a value named SPACE."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from trainables.errors import BadInputError

Baseline = Literal["untrained", "calibrated", "pixels", "colours"]
"""Untrained encoder, the same with batch norm's statistics taken from train, raw pixels, six colour numbers."""


SELECTED_ON_TEST = "SELECTED ON TEST, the split that is reported: the best row's numbers are optimistic"


@dataclass(frozen=True)
class Best:
    """Stands for the value of `field` that did best in the stages before, among the trials of `dataset`.

    Best is the mean of the objective over the trials that share a value.
    """

    field: str
    dataset: str


@dataclass(frozen=True)
class Grid:
    """Trials that share `base`: every combination of `axes`, for each of `points`.

    `axes` are crossed, the last one varying fastest; `points` are explicit settings for what isn't a product.
    """

    base: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    points: Sequence[Mapping[str, Any]] = ({},)


@dataclass(frozen=True)
class Stage:
    """Grids that run together; a later stage may ask for the Best of the stages before."""

    name: str
    grids: tuple[Grid, ...]


@dataclass(frozen=True)
class Objective:
    """The metric that trials are ranked and selected by."""

    metric: str
    direction: Literal["max", "min"] = "max"

    @property
    def selects_on_test(self) -> bool:
        """Whether selection reads the split that results are reported on."""
        return self.metric.startswith("test/")


@dataclass(frozen=True)
class Published:
    """A published result: the setting's fields and its metrics, shares between 0 and 1."""

    setting: Mapping[str, Any]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class SearchSpace:
    """Which trials are compared, by what, and against what."""

    name: str
    description: str
    stages: tuple[Stage, ...]
    objective: Objective
    base: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    baselines: Sequence[Baseline] = ("untrained",)
    columns: Sequence[str] = ()
    """Metrics that the comparison shows, besides the objective."""
    published: Sequence[Published] = ()
    published_source: str = ""
    caveats: Sequence[str] = ()
    """What a reader of the comparison has to know."""


def load_space(name: str) -> SearchSpace:
    """Return the space of a name in search_spaces, a dotted module name, or the path of a Python file."""
    module = _load_file(Path(name)) if name.endswith(".py") else _load_module(name)
    space = getattr(module, "SPACE", None)
    if not isinstance(space, SearchSpace):
        raise BadInputError(f"space {name!r}: the module has no SPACE that is a sweep.space.SearchSpace")
    return space


def known_spaces() -> list[str]:
    """Return the names of the spaces that come with the service."""
    package = importlib.import_module("search_spaces")
    folders = [Path(folder) for folder in package.__path__]
    return sorted(path.stem for folder in folders for path in folder.glob("*.py") if path.stem != "__init__")


def _load_module(name: str) -> ModuleType:
    dotted = name if "." in name else f"search_spaces.{name}"
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name is None or not dotted.startswith(error.name):
            raise BadInputError(f"space {name!r}: {dotted} needs a module that isn't there: {error.name}") from error
        known = ", ".join(known_spaces())
        raise BadInputError(
            f"space {name!r}: unknown; known: {known}; or give a dotted module name or the path of a .py file"
        ) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadInputError(f"space {str(path)!r}: no such file")
    spec = importlib.util.spec_from_file_location(f"user_space_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadInputError(f"space {str(path)!r}: can't be read: {type(error).__name__}: {error}") from error
    return module

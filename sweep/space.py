"""A search space: a question as data. Spaces live in their own modules, each as a value named SPACE."""

import importlib
import importlib.util
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from trainables.errors import BadInputError, describe_validation

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


def _plain(value: Any) -> Any:
    """Return a setting's value as JSON has it; other than text, numbers and tuples, it is named: {"list": [...]}."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return float(value)
        case tuple():
            return [_plain(one) for one in value]
        case list():
            return {"list": [_plain(one) for one in value]}
        case range():
            return {"range": [value.start, value.stop, value.step]}
        case Best():
            return {"best": asdict(value)}
    raise ValueError(f"{value!r} is a {type(value).__name__}; a space holds numbers, texts, tuples and lists of them")


def _value(plain: Any) -> Any:
    """Return the value that `_plain` wrote."""
    if isinstance(plain, list):
        return tuple(_value(one) for one in plain)
    match plain:
        case {"list": list(own), **rest} if not rest:
            return [_value(one) for one in own]
        case {"range": [int(start), int(stop), int(step)], **rest} if not rest and step:
            return range(start, stop, step)
        case {"best": {"field": str(name), "dataset": str(dataset), **more}, **rest} if not more and not rest:
            return Best(name, dataset)
        case None | bool() | int() | float() | str():
            return plain
    raise ValueError("is no value of a setting")


Value = Annotated[Any, PlainSerializer(_plain), BeforeValidator(_value)]
"""A field's value: a number, a text, a tuple or list of them, or Best."""
Values = Annotated[Sequence[Any], PlainSerializer(_plain), BeforeValidator(_value)]
"""Values that a field takes one after the other."""


@dataclass(frozen=True)
class Grid:
    """Trials that share `base`: every combination of `axes`, for each of `points`.

    `axes` are crossed, the last one varying fastest; `points` are explicit settings for what isn't a product.
    """

    base: Mapping[str, Value] = field(default_factory=dict)
    axes: Mapping[str, Values] = field(default_factory=dict)
    points: Sequence[Mapping[str, Value]] = ({},)
    required: bool = False
    """Whether halving leaves these trials alone."""
    with_baselines: bool = True
    """Whether the space's baselines are run for these trials."""
    method: str = ""
    """What these trials do, in a word, where the grids of a space do different things.

    Names and tables say it in place of the fields that follow from it.
    """


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included."""

    low: int | float
    high: int | float
    log: bool = False
    """Whether their logarithms are drawn evenly."""
    integer: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise BadInputError(f"range {self.low:g} to {self.high:g}: low must be below high, and above 0 with log")


@dataclass(frozen=True)
class Search:
    """Settings that are drawn rather than listed: each field of `over` from a Range, or from a sequence of choices.

    A setting runs once a seed of the space; what the search learns of it is the mean of the objective over them.
    """

    over: Mapping[str, Range | Values]
    settings: int
    """How many are drawn."""
    base: Mapping[str, Value] = field(default_factory=dict)
    method: Literal["random", "optuna"] = "random"
    """random: all drawn at the start; optuna: its TPE sampler learns from those that finished."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.settings < 1 or not self.over:
            raise BadInputError("search: settings must be >= 1 and over must name at least one field")
        if "seed" in self.over:
            raise BadInputError("search: a seed is no setting; list seeds in the space")


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934): the worse settings end early.

    After `grace` epochs, and after `reduction` times as many again and again, a setting goes on if the mean over its
    seeds is among the best 1 / `reduction` of those that got there; its seeds wait for each other. Checkpoints are
    kept. Trials of required grids and baselines are left alone.
    """

    metric: str
    """Of an epoch; larger or smaller is better as for the space's objective."""
    grace: int = 1
    reduction: int = 3

    def __post_init__(self) -> None:
        if self.grace < 1 or self.reduction < 2:
            raise BadInputError(f"halving: grace must be >= 1 and reduction >= 2, got {self.grace}, {self.reduction}")


@dataclass(frozen=True)
class Stage:
    """Grids, and a search, that run together; a later stage may ask for the Best of the stages before."""

    name: str
    grids: tuple[Grid, ...] = ()
    search: Search | None = None
    halving: Halving | None = None


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

    setting: Mapping[str, Value]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class SearchSpace:
    """Which trials are compared, by what, and against what."""

    name: str
    description: str
    stages: tuple[Stage, ...]
    objective: Objective
    base: Mapping[str, Value] = field(default_factory=dict)
    seeds: Annotated[Sequence[int], PlainSerializer(list)] = (0,)
    baselines: Sequence[Baseline] = ("untrained",)
    columns: Sequence[str] = ()
    """Metrics that the comparison shows, besides the objective."""
    published: Sequence[Published] = ()
    published_source: str = ""
    caveats: Sequence[str] = ()
    """What a reader of the comparison has to know."""


def written(space: SearchSpace) -> dict[str, Any]:
    """Return a space as plain values, which `read_space` reads; BadInputError where it holds something else."""
    try:
        values: dict[str, Any] = TypeAdapter(SearchSpace).dump_python(space, mode="json")
    except PydanticSerializationError as error:
        what = str(error).removeprefix("Error calling function `_plain`: ")
        raise BadInputError(f"space {space.name!r}: can't be kept in the sweep's record: {what}") from error
    return values


def read_space(values: Mapping[str, Any]) -> SearchSpace:
    """Return the space that `written` wrote; BadInputError for other values."""
    try:
        return TypeAdapter(SearchSpace).validate_python(values)
    except ValidationError as error:
        faults = describe_validation(error).replace("\n", "; ")
        raise BadInputError(f"the space that the record keeps can't be read: {faults}") from error


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

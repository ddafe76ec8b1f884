"""Search space: which trials answer a question. Each space is a module of its own with a value named SPACE."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, ValidationError, ValidationInfo

from sweep.console.named_files import DATA_FILES, NoSuchModuleError, load_module, read_mapping
from trainables.errors import BadInputError, describe_validation, nearest
from trainables.field_values import check_field, check_value, checked_axis, checked_value, is_whole
from trainables.validated import Listed, validated

Baseline = Literal["untrained", "calibrated", "pixels", "colours"]
"""Untrained encoder, the same with batch norm's statistics taken from train, raw pixels, six colour numbers."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""Of a space: its sweep is called so, and its folder."""
Text = Annotated[str, Field(min_length=1)]
SELECTED_ON_TEST = "SELECTED ON TEST, the split that is reported: the best row's numbers are optimistic"


@validated
class Best:
    """Stands for the value of `field` that did best in the stages before, among the trials of `dataset`.

    Best is the mean of the objective over the trials that share a value.
    """

    field: str
    dataset: str

    def __post_init__(self) -> None:
        check_field(self.field)


def _setting(values: Any, info: ValidationInfo) -> Any:
    """Check fields and their values; a Best stands for a value of its own field."""
    if not isinstance(values, Mapping):
        raise ValueError(f"must be a mapping of fields to values, got {type(values).__name__}")
    checked = {}
    for name, value in values.items():
        check_field(name)
        value = _read(name, value, info)
        checked[name] = value if isinstance(value, Best) else checked_value(name, value)
    return checked


def _axes(axes: Any, info: ValidationInfo) -> Any:
    """Check fields and the values of each: at least one, and each its own."""
    if not isinstance(axes, Mapping):
        raise ValueError(f"must be a mapping of fields to lists of values, got {type(axes).__name__}")
    return {name: checked_axis(name, _read(name, values, info)) for name, values in axes.items()}


def _seeds(values: Any, info: ValidationInfo) -> Any:
    return checked_axis("seed", _read("seed", values, info))


def _over(over: Any, info: ValidationInfo) -> Any:
    """Check the fields of a search, and that the ends of a Range and every choice are within the field's limits."""
    if not isinstance(over, Mapping):
        raise ValueError(f"must be a mapping of fields to ranges or lists of choices, got {type(over).__name__}")
    if not over:
        raise ValueError("over must name at least one field")
    if "seed" in over:
        raise ValueError("a seed is no setting; list seeds in the space")
    return {name: _searched(name, values, info) for name, values in over.items()}


def _searched(name: str, values: Any, info: ValidationInfo) -> "Range | Sequence[Any]":
    check_field(name)
    if isinstance(values, Mapping) and "low" in values:
        values = Range(**values)
    if not isinstance(values, Range):
        return checked_axis(name, _read(name, values, info))
    check_value(name, values.low)
    check_value(name, values.high)
    if is_whole(name) and not values.integer:
        raise ValueError(f"{name}: holds whole numbers; write Range({values.low:g}, {values.high:g}, integer=True)")
    return values


def _read(name: str, value: Any, info: ValidationInfo) -> Any:
    """Return a field's value as it was given, or what `_plain` wrote of it in a record or a file."""
    try:
        return _value(value) if info.context == WRITTEN else value
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


WRITTEN = "written"
"""The context in which values are read that `_plain` wrote."""


def _plain(value: Any) -> Any:
    """Return a setting's value as JSON has it; other than text, numbers and tuples, it is named: {"list": [...]}."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple():
            return [_plain(one) for one in value]
        case list():
            return {"list": [_plain(one) for one in value]}
        case range():
            return {"range": [value.start, value.stop, value.step]}
        case Best():
            return {"best": asdict(value)}
        case Range():
            return asdict(value)
        case _:
            return {name: _plain(one) for name, one in value.items()}


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
    raise ValueError(f"is no value of a setting, got {plain!r}")


Setting = Annotated[Mapping[str, Any], BeforeValidator(_setting), PlainSerializer(_plain)]
"""Values of fields of TrialConfig: a number, a text, a tuple or list of them, or Best."""
Axes = Annotated[Mapping[str, Sequence[Any]], BeforeValidator(_axes), PlainSerializer(_plain)]
Over = Annotated[Mapping[str, Any], BeforeValidator(_over), PlainSerializer(_plain)]
Seeds = Annotated[Sequence[int], BeforeValidator(_seeds), PlainSerializer(list)]


@validated
class Grid:
    """Trials that share `base`: every combination of `axes`, for each of `points`.

    `axes` are crossed, the last one varying fastest; `points` are explicit settings for what isn't a product.
    """

    base: Setting = field(default_factory=dict)
    axes: Axes = field(default_factory=dict)
    points: Annotated[Listed[Setting], Field(min_length=1)] = ({},)
    required: bool = False
    """Whether halving leaves these trials alone."""
    with_baselines: bool = True
    """Whether the space's baselines are run for these trials."""
    method: str = ""
    """What these trials do, in a word, where the grids of a space do different things.

    Names and tables say it in place of the fields that follow from it.
    """

    def __post_init__(self) -> None:
        for name in self.axes:
            if name in self.base or any(name in point for point in self.points):
                raise ValueError(f"axes: {name} stands in base or points too; keep one of them")


@validated
class Range:
    """The numbers from `low` to `high`, both included."""

    low: int | float
    high: int | float
    log: bool = False
    """Whether their logarithms are drawn evenly."""
    integer: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"range {self.low:g} to {self.high:g}: low must be below high, and above 0 with log")
        if self.integer and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(f"range {self.low:g} to {self.high:g}: both must be whole with integer")


@validated
class Search:
    """Settings that are drawn rather than listed: each field of `over` from a Range, or from a sequence of choices.

    A setting runs once a seed of the space; what the search learns of it is the mean of the objective over them.
    """

    over: Over
    """A Range, or a sequence of choices, by field."""
    settings: Annotated[int, Field(ge=1)]
    """How many are drawn."""
    base: Setting = field(default_factory=dict)
    method: Literal["random", "optuna"] = "random"
    """random: all drawn at the start; optuna: its TPE sampler learns from those that finished."""
    seed: Annotated[int, Field(ge=0)] = 0


@validated
class Halving:
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934): the worse settings end early.

    After `grace` epochs, and after `reduction` times as many again and again, a setting goes on if the mean over its
    seeds is among the best 1 / `reduction` of those that got there; its seeds wait for each other. Checkpoints are
    kept. Trials of required grids and baselines are left alone.
    """

    metric: Text
    """Of an epoch; larger or smaller is better as for the space's objective."""
    grace: Annotated[int, Field(ge=1)] = 1
    reduction: Annotated[int, Field(ge=2)] = 3


@validated
class Stage:
    """Grids, and a search, that run together; a later stage may ask for the Best of the stages before."""

    name: Text
    grids: Listed[Grid] = ()
    search: Search | None = None
    halving: Halving | None = None

    def __post_init__(self) -> None:
        if not self.grids and self.search is None:
            raise ValueError(f"{self.name!r} has neither grids nor a search; give one")


@validated
class Objective:
    """The metric that trials are ranked and selected by."""

    metric: Text
    direction: Literal["max", "min"] = "max"

    @property
    def selects_on_test(self) -> bool:
        """Whether selection reads the split that results are reported on."""
        return self.metric.startswith("test/")


@validated
class Published:
    """A published result: the setting's fields and its metrics, shares between 0 and 1."""

    setting: Setting
    metrics: Mapping[str, float]


@validated
class SearchSpace:
    """Search space: which trials are compared, by which objective, against which baselines.

    Example:
        >>> space = SearchSpace(
        ...     name="temperatures",
        ...     description="Which temperature is best on digits?",
        ...     base={"dataset": "digits", "epochs": 10, "validation_fraction": 0.1},
        ...     stages=(Stage("grid", grids=(Grid(axes={"temperature": [0.1, 0.5]}),)),),
        ...     objective=Objective("val/knn_top1"),
        ... )
        >>> space.objective.selects_on_test
        False
    """

    name: Name
    description: str
    stages: Annotated[Listed[Stage], Field(min_length=1)]
    objective: Objective
    base: Setting = field(default_factory=dict)
    seeds: Seeds = (0,)
    baselines: Listed[Baseline] = ("untrained",)
    columns: Listed[str] = ()
    """Metrics that the comparison shows, besides the objective."""
    published: Listed[Published] = ()
    published_source: str = ""
    caveats: Listed[str] = ()
    """What a reader of the comparison has to know."""


def written(space: SearchSpace) -> dict[str, Any]:
    """Return a space as plain values, which `read_space` reads."""
    values: dict[str, Any] = TypeAdapter(SearchSpace).dump_python(space, mode="json")
    return values


def read_space(values: Mapping[str, Any]) -> SearchSpace:
    """Return the space that `written` wrote; BadInputError for other values."""
    try:
        return TypeAdapter(SearchSpace).validate_python(values, context=WRITTEN)
    except ValidationError as error:
        faults = describe_validation(error).replace("\n", "; ")
        raise BadInputError(f"the space that the record keeps can't be read: {faults}") from error


def load_space(name: str) -> SearchSpace:
    """Return the space of a name in search_spaces, a dotted module name, or the path of a Python, YAML or TOML file."""
    if Path(name).suffix in DATA_FILES:
        return _of_values(name)
    dotted = name if "." in name or "/" in name else f"search_spaces.{name}"
    try:
        module = load_module(dotted)
    except NoSuchModuleError as error:
        known = known_spaces()
        raise BadInputError(
            f"space {name!r}: unknown{nearest(name, known)}; known: {', '.join(known)}; or give a dotted module name, "
            "or the path of a .py, .yaml or .toml file"
        ) from error
    except BadInputError as error:
        raise _about(name, error) from error
    space = getattr(module, "SPACE", None)
    if not isinstance(space, SearchSpace):
        raise BadInputError(f"space {name!r}: the module has no SPACE that is a sweep.space.SearchSpace")
    return space


def _of_values(name: str) -> SearchSpace:
    try:
        return TypeAdapter(SearchSpace).validate_python(read_mapping(Path(name)), context=WRITTEN)
    except ValidationError as error:
        raise _about(name, BadInputError(describe_validation(error))) from None
    except BadInputError as error:
        raise _about(name, error) from error


def _about(name: str, error: BadInputError) -> BadInputError:
    """Return the error with the space's name before each line."""
    return BadInputError("\n".join(f"space {name!r}: {line}" for line in str(error).splitlines()))


def known_spaces() -> list[str]:
    """Return the names of the spaces that come with the service."""
    package = importlib.import_module("search_spaces")
    folders = [Path(folder) for folder in package.__path__]
    return sorted(path.stem for folder in folders for path in folder.glob("*.py") if path.stem != "__init__")

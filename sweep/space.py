"""Search space: which trials answer a question. Each space is a module of its own with a value named SPACE."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, ValidationError, ValidationInfo

from sweep.console.named_files import DATA_FILES, NoSuchModuleError, load_module, read_mapping
from trainables.errors import BadInputError, describe_validation, nearest
from trainables.fields.validated import Listed, plain, validated
from trainables.fields.values import check_field, check_value, checked_axis, checked_value, is_whole

Baseline = Literal["untrained", "calibrated", "pixels", "colours", "random_features"]
"""Untrained encoder, the same with batch norm's statistics taken from train, raw pixels, six colour numbers."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""Name of a space, which also names its sweep and the sweep's folder."""
Text = Annotated[str, Field(min_length=1)]
SELECTED_ON_TEST = "SELECTED ON TEST, the split that is reported: the best row's numbers are optimistic"


@validated
class Best:
    """Placeholder for the best value of `field` in the earlier stages, among the trials on `dataset`.

    Values are compared by the mean of the objective over the trials that share a value.
    """

    field: str
    dataset: str

    def __post_init__(self) -> None:
        check_field(self.field)


def _setting(values: Any, info: ValidationInfo) -> Any:
    """Return checked fields and values; a Best must be the value of its own field."""
    if not isinstance(values, Mapping):
        raise ValueError(f"must be a mapping of fields to values, got {type(values).__name__}")
    checked = {}
    for name, value in values.items():
        check_field(name)
        value = _read(name, value, info)
        checked[name] = value if isinstance(value, Best) else checked_value(name, value)
    return checked


def _axes(axes: Any, info: ValidationInfo) -> Any:
    """Check fields and their values: at least one each, and no duplicates."""
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
        raise ValueError("a seed can't be searched; list seeds in the space")
    return {name: _searched(name, values, info) for name, values in over.items()}


def _searched(name: str, values: Any, info: ValidationInfo) -> "Range | Sequence[Any]":
    check_field(name)
    if isinstance(values, Mapping) and values.keys().isdisjoint(("list", "range")):  # those are choices, as recorded
        values = _range(name, values)
    if not isinstance(values, Range):
        return checked_axis(name, _read(name, values, info))
    check_value(name, values.low)
    check_value(name, values.high)
    if is_whole(name) and not values.integer:
        raise ValueError(f"{name}: holds whole numbers; write Range({values.low:g}, {values.high:g}, integer=True)")
    return values


def _range(name: str, values: Mapping[str, Any]) -> "Range":
    try:
        return Range(**values)
    except BadInputError as error:
        raise ValueError("; ".join(line.replace("Range:", f"{name}:", 1) for line in str(error).splitlines())) from None


def _number(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, got {value!r}")
    return value


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a whole number, got {value}")
    return value


NO_BOOLEAN = BeforeValidator(_no_boolean)


def _read(name: str, value: Any, info: ValidationInfo) -> Any:
    """Return a field's value as given, or as `_plain` wrote it into a record or a file."""
    try:
        return _value(value) if info.context == WRITTEN else value
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


WRITTEN = "written"
"""Validation context for reading values that `_plain` wrote."""


def _plain(value: Any) -> Any:
    """Return a setting's value as JSON; types that JSON lacks are tagged by name, as in {"list": [...]}."""
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
    raise ValueError(f"can't be a field's value, got {plain!r}")


Setting = Annotated[Mapping[str, Any], BeforeValidator(_setting), PlainSerializer(_plain)]
"""Values of fields of TrialConfig: a number, a text, a tuple or list of them, or Best."""
Axes = Annotated[Mapping[str, Sequence[Any]], BeforeValidator(_axes), PlainSerializer(_plain)]
Over = Annotated[Mapping[str, Any], BeforeValidator(_over), PlainSerializer(_plain)]
Seeds = Annotated[Sequence[int], BeforeValidator(_seeds), PlainSerializer(list)]


@validated
class Grid:
    """Grid of trials that share `base`: every combination of `axes`, for each of `points`.

    `axes` are crossed, and the last one varies fastest. `points` are explicit settings that don't form a product.
    """

    base: Setting = field(default_factory=dict)
    axes: Axes = field(default_factory=dict)
    points: Annotated[Listed[Setting], Field(min_length=1)] = ({},)
    required: bool = False
    """Whether these trials are exempt from halving."""
    with_baselines: bool = True
    """Whether the space's baselines are also run for these trials."""
    method: str = ""
    """Method of these trials in a word, if the grids of a space use different methods.

    Names and tables show it instead of the fields that it determines.
    """

    def __post_init__(self) -> None:
        for name in self.axes:
            if name in self.base or any(name in point for point in self.points):
                raise ValueError(f"axes: {name} is also in base or points; keep one of them")


@validated
class Range:
    """Range of numbers from `low` to `high`, both included."""

    low: Annotated[int | float, BeforeValidator(_number)]
    high: Annotated[int | float, BeforeValidator(_number)]
    log: bool = False
    """Whether numbers are drawn uniformly on a logarithmic scale."""
    integer: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"range {self.low:g} to {self.high:g}: low must be below high, and above 0 with log")
        if self.integer and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(f"range {self.low:g} to {self.high:g}: both must be whole with integer")


@validated
class Search:
    """Search: drawn instead of listed settings; each field of `over` has a Range or a sequence of choices.

    Each setting runs once per seed of the space; the search receives the mean of the objective over the seeds.
    """

    over: Over
    """Range or sequence of choices by field."""
    settings: Annotated[int, Field(ge=1), NO_BOOLEAN]
    """Number of drawn settings."""
    base: Setting = field(default_factory=dict)
    method: Literal["random", "optuna"] = "random"
    """random: all settings are drawn at the start; optuna: its TPE sampler learns from finished settings."""
    seed: Annotated[int, Field(ge=0), NO_BOOLEAN] = 0

    def __post_init__(self) -> None:
        if both := [name for name in self.over if name in self.base]:
            raise ValueError(f"over: {both[0]} is in base too; keep one of them")


@validated
class Halving:
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934): worse settings end early.

    Settings are compared at epochs `grace`, `grace` * `reduction`, `grace` * `reduction`^2, ... by the mean over their
    seeds; a setting's seeds wait for each other. Only the top 1 / `reduction` of the settings that reached the epoch
    continue. Checkpoints are kept. Trials of required grids and baselines are exempt.
    """

    metric: Text
    """Metric of an epoch; its direction (max or min) is that of the space's objective."""
    grace: Annotated[int, Field(ge=1), NO_BOOLEAN] = 1
    reduction: Annotated[int, Field(ge=2), NO_BOOLEAN] = 3


@validated
class Stage:
    """Stage: grids and a search that run together; later stages may use Best values of earlier stages."""

    name: Text
    grids: Listed[Grid] = ()
    search: Search | None = None
    halving: Halving | None = None

    def __post_init__(self) -> None:
        if not self.grids and self.search is None:
            raise ValueError(f"{self.name!r} has neither grids nor a search; give one")


@validated
class RankingObjective:
    """Ranking objective: the metric by which trials are compared, and whether more or less is better."""

    metric: Text
    direction: Literal["max", "min"] = "max"

    @property
    def selects_on_test(self) -> bool:
        """Whether settings are selected on the test split, which results are reported on."""
        return self.metric.startswith("test/")


Objective = RankingObjective
"""Earlier name, for search spaces that import it."""


@validated
class PublishedResult:
    """Published result: the fields of its setting and its metrics; shares are between 0 and 1."""

    setting: Setting
    metrics: Mapping[str, float]


Published = PublishedResult
"""Earlier name, for search spaces that import it."""


@validated
class SearchSpace:
    """Search space: which trials are compared, by which objective, against which baselines.

    Example:
        >>> space = SearchSpace(
        ...     name="temperatures",
        ...     description="Which temperature is best on digits?",
        ...     base={"dataset": "digits", "epochs": 10, "validation_fraction": 0.1},
        ...     stages=(Stage("grid", grids=(Grid(axes={"temperature": [0.1, 0.5]}),)),),
        ...     objective=RankingObjective("val/knn_top1"),
        ... )
        >>> space.objective.selects_on_test
        False
    """

    name: Name
    description: str
    stages: Annotated[Listed[Stage], Field(min_length=1)]
    objective: RankingObjective
    base: Setting = field(default_factory=dict)
    seeds: Seeds = (0,)
    baselines: Listed[Baseline] = ("untrained",)
    columns: Listed[str] = ()
    """Metrics that the comparison shows, besides the objective; by default those of its classifier on test."""
    published: Listed[PublishedResult] = ()
    published_source: str = ""
    caveats: Listed[str] = ()
    """Notes for readers of the comparison."""


def written(space: SearchSpace) -> dict[str, Any]:
    """Return a space as plain JSON values, which `read_space` reads."""
    values: dict[str, Any] = TypeAdapter(SearchSpace).dump_python(space, mode="json")
    return values


def read_space(values: Mapping[str, Any]) -> SearchSpace:
    """Return the space from values that `written` returned; BadInputError for invalid values."""
    try:
        return TypeAdapter(SearchSpace).validate_python(values, context=WRITTEN)
    except ValidationError as error:
        faults = describe_validation(error).replace("\n", "; ")
        raise BadInputError(f"the space that the record keeps can't be read: {faults}") from error


def load_space(name: str) -> SearchSpace:
    """Load a search space.

    Args:
        name: A name in search_spaces/, a dotted module name, or the path of a Python, YAML or TOML file.

    Raises:
        BadInputError: There is no such space, or the space is invalid; one line per fault.

    Example:
        >>> load_space("quickstart").name
        'quickstart'
    """
    if Path(name).suffix.lower() in DATA_FILES:
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
        others = [own for own, value in vars(module).items() if isinstance(value, SearchSpace)]
        hint = f"; name {' or '.join(others)} so" if others else ""
        raise BadInputError(f"space {name!r}: the module has no SPACE that is a sweep.space.SearchSpace{hint}")
    return space


def _of_values(name: str) -> SearchSpace:
    try:
        return TypeAdapter(SearchSpace).validate_python(read_mapping(Path(name)), context=WRITTEN)
    except ValidationError as error:
        faults = describe_validation(error, known_fields=list(SearchSpace.__dataclass_fields__))
        raise _about(name, BadInputError(*faults.splitlines())) from None
    except BadInputError as error:
        raise _about(name, error) from error


def _about(name: str, error: BadInputError) -> BadInputError:
    """Return the error with each line prefixed by the space's name."""
    return BadInputError(*(f"space {name!r}: {line}" for line in str(error).splitlines()))


def known_spaces() -> list[str]:
    """Return the names of the spaces that come with the service."""
    package = importlib.import_module("search_spaces")
    folders = [Path(folder) for folder in package.__path__]
    return sorted(path.stem for folder in folders for path in folder.glob("*.py") if path.stem != "__init__")

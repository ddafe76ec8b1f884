"""Initial weights pinned by digest: a trial's id depends on the content of its weights file."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sweep.space import SearchSpace
from trainables.weights.initial_weights import InitialWeights


def pinned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with initial weights pinned by digest; BadInputError if a file is missing."""
    return _WeightPins().fields(values)


def with_weights(space: SearchSpace) -> SearchSpace:
    """Return the space with all its initial weights pinned by digest, which enters the trials' ids."""
    pin = _WeightPins().fields
    stages = [
        replace(
            stage,
            grids=tuple(
                replace(g, base=pin(g.base), axes=pin(g.axes), points=[pin(point) for point in g.points])
                for g in stage.grids
            ),
            search=stage.search and replace(stage.search, base=pin(stage.search.base)),
        )
        for stage in space.stages
    ]
    return replace(space, base=pin(space.base), stages=tuple(stages))


def named_weights(space: SearchSpace) -> list[str]:
    """Return the initial weights (as text) that a space names in any stage."""
    found: set[str] = set()
    for fields in _fields(space):
        value = fields.get("initial_weights")
        found.update(one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str))
    return sorted(found)


def _fields(space: SearchSpace) -> Iterator[Mapping[str, Any]]:
    yield space.base
    for stage in space.stages:
        for grid in stage.grids:
            yield from (grid.base, grid.axes, *grid.points)
        if stage.search is not None:
            yield stage.search.base


class _WeightPins:
    """Pinning of weights that reads each file once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._pinned(value) if name == "initial_weights" else value for name, value in values.items()}

    def _pinned(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._pinned(one) for one in value]
        if not isinstance(value, str):
            return value
        weights = InitialWeights.parse(value)
        file = (weights.address, weights.digest)
        if file not in self._known:
            self._known[file] = weights.pinned().digest
        return str(replace(weights.absolute(), digest=self._known[file]))

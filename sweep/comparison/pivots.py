"""Pivot tables: settings over two axes at a time, as in the thesis' tables and bar charts; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweep.comparison.axis_order import axis_order
from sweep.comparison.table import ComparisonRow, ComparisonTable
from sweep.comparison.wording import described, spelled

SPARSE = 0.5
"""Share of the cells up to which a pivot table is left out, such as that of a search's values, which occur once."""
MOST_VALUES = 12
"""Maximum number of values of an axis in a chart or pivot table."""


@dataclass(frozen=True)
class PivotTable:
    """Pivot table: settings over one or two axes, with every other axis fixed at one value."""

    x: str
    group: str | None
    fixed_axes: str
    """Values of the fixed axes in words; empty if there are none."""
    cells: Mapping[tuple[str, str], ComparisonRow]
    """Settings by the values of x and group as text, ascending; the group is "" without a second axis."""

    @property
    def xs(self) -> list[str]:
        """Values of x, ascending."""
        return list(dict.fromkeys(x for x, _ in self.cells))

    @property
    def groups(self) -> list[str]:
        """Values of the second axis, ascending."""
        if self.group is None:
            return [""]
        values = {spelled(row.config[self.group], self.group): row.config[self.group] for row in self.cells.values()}
        return sorted(values, key=lambda name: axis_order(values[name], self.group))


def pivot_tables(table: ComparisonTable, metric: str) -> Iterator[PivotTable]:
    """Yield a pivot table for each pair of axes; the other axes are fixed at their most frequent values.

    Epochs are always on x. A single axis gives one table without groups; axes with too many values are left out.
    """
    usable = [row for row in table.settings if row.is_defined(metric)]
    axes = [axis for axis in table.axes if len({spelled(row.config[axis], axis) for row in usable}) <= MOST_VALUES]
    for x, group in _pairs(axes):
        rest = tuple(axis for axis in table.axes if axis not in (x, group))
        fixed = _commonest([_values(row, rest) for row in usable])
        own = [row for row in usable if _values(row, rest) == fixed]
        if len({spelled(row.config[x], x) for row in own}) < 2:
            continue
        own.sort(key=lambda row: (axis_order(row.config[x], x), axis_order(row.config[group or x], group or x)))
        cells = {(spelled(row.config[x], x), spelled(row.config[group], group) if group else ""): row for row in own}
        found = PivotTable(x, group, described(own[0].config, rest) if rest else "", cells)
        if len(cells) > SPARSE * len(found.xs) * len(found.groups):
            yield found


def _pairs(axes: Sequence[str]) -> list[tuple[str, str | None]]:
    if len(axes) == 1:
        return [(axes[0], None)]
    pairs = [(one, other) for place, one in enumerate(axes) for other in axes[place + 1 :]]
    return [(other, one) if other == "epochs" else (one, other) for one, other in pairs]


def _values(row: ComparisonRow, axes: Sequence[str]) -> tuple[str, ...]:
    return tuple(spelled(row.config[axis], axis) for axis in axes)


def _commonest(values: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
    return max(values, key=values.count) if values else None

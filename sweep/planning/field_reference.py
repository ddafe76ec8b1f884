"""Reference of a trial's fields, in groups: the table of `sweep.run --fields`, and docs/settings.md."""

import types
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from rich import box
from rich.table import Table

from sweep.console.printing import say, screen, text
from trainables.config import TrialConfig
from trainables.field_facts import FieldFacts
from trainables.fields.values import spelled

COLUMNS = ("field", "default", "unit", "values", "thesis", "reference", "meaning")
INTRODUCTION = """\
# Settings

Fields of a trial (`trainables.config`). Set them in a search space, or by `--set temperature=0.1,0.5`.
`python -m sweep.run --fields` prints these tables; `make docs` writes this page.

- **Thesis**: the values of the thesis on farmland in satellite images; without an entry, the thesis doesn't name one.
- **Reference**: the value of Google's SimCLR (folder tf2), where it matters.
- Defaults are the thesis protocol; where the thesis names several values, the default is one of them.
"""


@dataclass(frozen=True)
class FieldReference:
    """Reference entry of one field of a trial; all values are text."""

    group: str
    field: str
    default: str
    unit: str
    values: str
    """Allowed choices or limits."""
    thesis: str
    reference: str
    meaning: str

    @property
    def described(self) -> str:
        """Meaning with unit and published values, as one line of text."""
        named = (("", self.unit), ("thesis: ", self.thesis), ("reference: ", self.reference))
        facts = "; ".join(f"{name}{value}" for name, value in named if value)
        return f"{self.meaning} ({facts})" if facts else self.meaning


def field_references() -> list[FieldReference]:
    """Return all fields in the order of the configuration; the fields of a group are adjacent."""
    return [_reference(name, info) for name, info in TrialConfig.model_fields.items()]


def print_fields() -> None:
    """Print a table of the fields for each group."""
    console = screen()
    for group, fields in groupby(field_references(), key=lambda one: one.group):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="", title_justify="left", title_style="bold")
        table.title = group
        rows = list(fields)
        columns = _columns(rows)
        for name in columns:
            table.add_column(name, no_wrap=name == "field")
        for one in rows:
            table.add_row(*(text(getattr(one, name)) for name in columns))
        console.print(table)


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [INTRODUCTION]
    for group, fields in groupby(field_references(), key=lambda one: one.group):
        rows = list(fields)
        columns = _columns(rows)
        lines += [f"## {group}\n", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for one in rows:
            cells = [getattr(one, name).replace("|", r"\|").replace("*", r"\*") for name in columns]
            lines.append(f"| `{cells[0]}` | {' | '.join(cells[1:])} |")
        lines.append("")
    return "\n".join(lines)


def _columns(rows: list[FieldReference]) -> list[str]:
    """Return the columns that have a value in any of the rows."""
    return [name for name in COLUMNS if any(getattr(one, name) for one in rows)]


def _reference(name: str, info: FieldInfo) -> FieldReference:
    (facts,) = (one for one in info.metadata if isinstance(one, FieldFacts))
    return FieldReference(
        group=facts.group,
        field=name,
        default=_default(info.default),
        unit=facts.unit,
        values=_values(info),
        thesis=facts.thesis,
        reference=facts.reference,
        meaning=info.description or "",
    )


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_default(one) for one in value) or "none"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return spelled(value)


def _values(info: FieldInfo) -> str:
    choices = _choices(info.annotation)
    signs = {Gt: ("gt", ">"), Ge: ("ge", ">="), Lt: ("lt", "<"), Le: ("le", "<=")}
    limits = [
        f"{sign} {getattr(one, attribute):g}"
        for kind, (attribute, sign) in signs.items()
        for one in info.metadata
        if isinstance(one, kind)
    ]
    return ", ".join(choices or limits)


def _choices(annotation: Any) -> list[str]:
    """Return the choices of a Literal, also inside a tuple or an optional type."""
    if get_origin(annotation) is Literal:
        return [str(one) for one in get_args(annotation)]
    if get_origin(annotation) in (tuple, Union, types.UnionType):
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return ["false", "true"] if annotation is bool else []


if __name__ == "__main__":
    for line in settings_page().splitlines():
        say(line)

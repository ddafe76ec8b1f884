"""The table of a plan on terminals of any width."""

from io import StringIO

import pytest
from rich.console import Console

from search_spaces.quickstart import SPACE
from sweep.planning.memory_budget import MemoryBudget
from sweep.planning.plan import make_plan
from sweep.planning.plan_table import print_plan
from sweep.planning.trial import DataSize


@pytest.mark.parametrize(
    ("width", "left_out"), [(120, ""), (80, "views, steps"), (60, "views, steps, data set, GiB*")], ids=str
)
def test_a_narrow_terminal_shows_whole_numbers_of_what_varies_and_names_what_it_leaves_out(
    width: int, left_out: str
) -> None:
    plan = make_plan(SPACE, assignments={}, size_of=lambda _: DataSize(1425, 372, 10, "aa", "prepared"))
    stream = StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    print_plan(plan, MemoryBudget("cpu"), console)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in stream.getvalue()
    rows = [line.split() for line in lines if line.strip().startswith(plan.trials[-1].trial_id)]
    assert [row[-2:] if width == 60 else row[:3] for row in rows] == [
        ["3", "3"] if width == 60 else [plan.trials[-1].trial_id, "1", "digits"]
    ]
    assert "label" in stream.getvalue()
    said = " ".join(stream.getvalue().split())
    assert (f"left out here: {left_out};" in said) == bool(left_out)

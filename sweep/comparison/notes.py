"""What has to be said beside the tables of a comparison."""

from collections.abc import Sequence

from sweep.comparison.table import Table
from sweep.records.sweep_record import SweepRecord
from sweep.space import SELECTED_ON_TEST

MAYBE_BEST = "●"
SMOKE_NOTICE = "SMOKE RUN: tiny encoder, few images and steps; the numbers say that the road works, and nothing else"


def notes(sweep: SweepRecord, tables: Sequence[Table], *, page: bool = False) -> list[str]:
    """Return what has to be said beside the tables, in the terminal or on a page, which shows intervals otherwise."""
    split = sweep.objective.split("/", maxsplit=1)[0]
    lines = [f"ranked by {sweep.objective} ({split} split), final epoch; shares in percent"]
    if sweep.selected_on == "test":
        lines.append(SELECTED_ON_TEST)
    lines += _about_seeds(tables, page)
    if any(row.published for table in tables for row in table.settings):
        smoke = ", of the full-size setting that the row stands for" if sweep.smoke else ""
        lines.append(f"{'◇' if page else 'after the slash'}: {sweep.published_source}{smoke}")
    lines += [f"not decided yet: {name}" for name in sweep.pending]
    return [*lines, *sweep.caveats]


def _about_seeds(tables: Sequence[Table], page: bool) -> list[str]:
    if any(table.seeds > 1 for table in tables):
        half = "" if page else ", and half the width of its 95 % t-interval: how much another seed changes"
        lines = [f"mean over seeds{half}"]
        if any(row.maybe_best for table in tables for row in table.settings):
            lines.append(f"{MAYBE_BEST} can't be told from the best (Hsu's comparison with the best; errs in 5 %)")
        return lines
    if any(len(table.settings) > 1 for table in tables):
        return ["one seed a setting: how much another seed would change isn't known, so the order may be chance"]
    return []

"""Table of a plan: one row per trial with its cost, and the stages that are not decided yet."""

from collections.abc import Collection, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from sweep.console.formatting import GIB, plural
from sweep.console.printing import screen, text
from sweep.planning.expansion import needs
from sweep.planning.memory_budget import MemoryBudget
from sweep.planning.plan import Plan, count_pending
from sweep.planning.search import wanted_settings
from sweep.planning.trial import DataSize, PlannedTrial
from sweep.planning.trial_names import varying_fields
from sweep.space import SELECTED_ON_TEST
from trainables.data.bands import band_words
from trainables.fields.values import spelled
from trainables.metrics.names import LABEL_FREE_DIRECTION

MOST_ROWS = 200
"""Maximum number of trials shown."""
SHOWN = ("dataset", "batch_size", "temperature", "epochs")
"""Fields that always have a column; other fields have one if they vary."""
TEXTS = ("trial", "stage", "data set")
"""Columns of text."""
LEAST_NEEDED = ("views", "steps", "data set", "GiB*", "epochs", "batch")
"""Columns that a narrow terminal doesn't show, the first ones first."""
WIDEST = 10_000


def print_plan(plan: Plan, memory: MemoryBudget, console: Console | None = None) -> None:
    """Print the trials of the plan, which of them don't fit, the totals and the pending stages."""
    console = console or screen()
    console.print(text(f"{plan.space.name}: {plan.space.description}", "bold"))
    if plan.smoke:
        console.print(text("smoke run: everything below is made tiny", "bold yellow"))
    table, left_out = _fitted(plan, memory, console)
    console.print(table)
    if left_out:
        console.print(text(f"left out here: {', '.join(left_out)}; a wider terminal and --json have them", "dim"))
    if (more := len(plan.trials) - MOST_ROWS) > 0:
        console.print(text(f"and {more:,} trials more"), "")
    for line in summary(plan):
        console.print(text(line))
    for line in plan.notes:
        console.print(text(line, "yellow"))
    for line in memory.recomputed(plan):
        console.print(text(line, "yellow"))
    for line in memory.not_fitting(plan):
        console.print(text(line, "bold red"))


def plan_value(plan: Plan, memory: MemoryBudget) -> dict[str, Any]:
    """Return the plan as JSON: its trials, the numbers of those that searches add, and the lines below the table."""
    trials = [
        {
            "trial_id": trial.trial_id,
            "name": trial.name,
            "stage": trial.stage,
            "baseline": trial.baseline,
            "config": trial.config.model_dump(mode="json"),
            "steps": 0 if trial.baseline else trial.steps,
            "views": 0 if trial.baseline else trial.views,
            "gib": None if trial.baseline else memory.needed(trial, plan.workers) / GIB,
        }
        for trial in plan.trials
    ]
    return {
        "space": plan.space.name,
        "smoke": plan.smoke,
        "trials": trials,
        "to_come": {"trials": plan.to_come.trials, "baselines": plan.to_come.baselines},
        "summary": summary(plan),
        "notes": [*plan.notes, *memory.recomputed(plan), *memory.not_fitting(plan)],
    }


def _fitted(plan: Plan, memory: MemoryBudget, console: Console) -> tuple[Table, list[str]]:
    """Return the table of the trials, in which no word is cut, and the columns that are left out for that."""
    table = _trials(plan, memory, ())
    if not console.is_terminal or _width(console, table) <= console.width:
        return table, []
    for count in range(len(LEAST_NEEDED) + 1):
        table = _trials(plan, memory, LEAST_NEEDED[:count])
        for column in table.columns:
            words = [word for cell in (column.header, *column.cells) for word in str(cell).split()]
            column.width = max(map(cell_len, words), default=1)
        if _width(console, table) <= console.width:
            break
    return table, list(LEAST_NEEDED[:count])


def _width(console: Console, table: Table) -> int:
    """Return the width that a table would take on a screen without an end."""
    return Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum


def _trials(plan: Plan, memory: MemoryBudget, left_out: Collection[str]) -> Table:
    """Return the table of the trials without some columns."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, header_style="")
    varied = [
        name for name in varying_fields([t.config for t in plan.trials if t.baseline is None]) if name not in SHOWN
    ]
    told = varying_fields([t.config for t in plan.trials if t.baseline])
    names = (*TEXTS, "batch", "temp.", "epochs", *(name.replace("_", " ") for name in varied), "steps", "views", "GiB*")
    shown = [place for place, name in enumerate(names) if name not in left_out]
    for place in shown:
        table.add_column(names[place], justify="left" if names[place] in TEXTS else "right")
    for trial in plan.trials[:MOST_ROWS]:
        settings = ["" if trial.baseline and name not in told else _value(trial, name) for name in varied]
        cells = (*_setting(trial), *settings, *_cost(trial, plan.workers, memory))
        table.add_row(*(text(cells[place]) for place in shown), style="dim" if trial.baseline else "")
    return table


def _value(trial: PlannedTrial, name: str) -> str:
    value = getattr(trial.config, name)
    return band_words(value) if name == "bands" else spelled(value)


def _setting(trial: PlannedTrial) -> Sequence[str]:
    config = trial.config
    if trial.baseline:
        return trial.trial_id, trial.baseline, config.dataset, "", "", "0"
    contrasted = config.training == "simclr" and config.epochs > 0
    return (
        trial.trial_id,
        trial.method or str(trial.stage),
        config.dataset,
        str(config.batch_size) if config.epochs else "",
        f"{config.temperature:g}" if contrasted else "",
        str(config.epochs),
    )


def _cost(trial: PlannedTrial, workers: int, memory: MemoryBudget) -> Sequence[str]:
    if trial.baseline:
        return "0", "0", ""
    return (
        f"{trial.steps:,}",
        f"{trial.views:,}",
        f"{memory.needed(trial, workers) / GIB:.2f}" + ("" if memory.holds(trial, workers) else " does not fit"),
    )


def summary(plan: Plan) -> list[str]:
    """Return the totals, the pending stages, and where the sizes come from."""
    settings = [trial for trial in plan.trials if trial.baseline is None]
    steps, views = sum(trial.steps for trial in settings), sum(trial.views for trial in settings)
    lines = [f"{counted(plan)}: {steps:,} steps, {views:,} views" + (" without the search's" if plan.to_come else "")]
    for number, stage in enumerate(plan.space.stages[: plan.expanded], start=1):
        if (search := plan.open_search(number)) is not None:
            more = plural(wanted_settings(search) * len(plan.assignments.get("seed", plan.space.seeds)), "trial")
            over = ", ".join(search.over)
            lines.append(
                f"stage {number}, {stage.name}: {more} more, {over} searched by {search.method} as results come"
            )
            lines += _cost_to_come(plan, number)
    for number, stage in enumerate(plan.pending, start=plan.expanded + 1):
        fields = ", ".join(sorted({best.field for best in needs(stage, plan.assignments)}))
        count = count_pending(plan, stage)
        earlier = f"stage {number - 1}" if number == 2 else f"stages 1 to {number - 1}"
        lines.append(f"stage {number}, {stage.name}: {count} more trials, {fields} decided by {earlier}")
    lines.append(
        "* estimated peak memory per worker, of a training step or an evaluation, without that of Python and torch"
    )
    lines.append(_ranking(plan))
    if plan.selected_on == "test":
        lines.append(SELECTED_ON_TEST)
    lines += _about_sizes(plan)
    return lines


def _cost_to_come(plan: Plan, stage: int) -> list[str]:
    """Return the least and most steps of a search's trials, at the ends of its ranges and each of its choices."""
    steps = sorted(
        trial.steps
        for trial in plan.to_come.examples
        if trial.stage == stage and (trial.steps or not trial.config.epochs)
    )
    if not steps:
        return []
    each = f"{steps[0]:,}" if steps[0] == steps[-1] else f"{steps[0]:,} to {steps[-1]:,}"
    return [f"each of them: {each} steps, by the ends of the ranges and the choices"]


def _ranking(plan: Plan) -> str:
    """Return which objective ranks the settings, and why it can."""
    metric, direction = plan.space.objective.metric, plan.space.objective.direction
    better = "larger" if direction == "max" else "smaller"
    trials = (*plan.trials, *plan.to_come.examples)
    judges = dict.fromkeys(trial.config.labelled_dataset for trial in trials if trial.labels.known)
    if metric.rpartition("/")[2] in LABEL_FREE_DIRECTION:
        without = dict.fromkeys(trial.config.labelled_dataset for trial in trials if not trial.labels.known)
        why = f", as {' and '.join(without)} has no labels" if without else ""
        return f"ranked by {metric}, {better} is better: a metric without labels{why}"
    if metric.startswith("train/") or not judges:
        return f"ranked by {metric}, {better} is better"
    return f"ranked by {metric}, {better} is better: by the labels of {' and '.join(judges)}"


def counted(plan: Plan) -> str:
    """Return in words the numbers of trials and baselines, including those that a search will draw."""
    listed = sum(trial.baseline is None for trial in plan.trials)
    trials, baselines = listed + plan.to_come.trials, len(plan.trials) - listed + plan.to_come.baselines
    drawn = ""
    if plan.to_come:
        drawn = f" ({f'{plan.to_come.trials:,} of them ' if listed else ''}drawn as results come)"
    return f"{plural(trials, 'trial')}{drawn} and {plural(baselines, 'baseline')}"


def _about_sizes(plan: Plan) -> list[str]:
    trials = (*plan.trials, *plan.to_come.examples)
    sizes = {trial.config.dataset: trial.data for trial in trials}
    sizes |= {trial.config.labelled_dataset: trial.labelled for trial in trials}
    lines = [_sizes(name, size) for name, size in sizes.items()]
    pairs = dict.fromkeys((trial.config.dataset, trial.config.labelled_dataset) for trial in trials)
    lines += [f"{evaluated} evaluates what {name} pretrains" for name, evaluated in pairs if name != evaluated]
    if any(size.origin == "published" for size in sizes.values()):
        lines.append("not prepared yet: its trials get their final ids when it is")
    held_out = {
        (trial.config.labelled_dataset, trial.config.validation_fraction): trial
        for trial in trials
        if trial.config.validation_fraction
    }
    lines += dict.fromkeys(_held_out(trial) for trial in held_out.values())
    return lines


def _held_out(trial: PlannedTrial) -> str:
    """Return in words what a trial holds out of train for validation."""
    counts = trial.judged
    if counts.places is None:
        return "the validation slice is cut by a stable hash: steps may differ by a few"
    size, (places, chosen) = trial.labelled, counts.places
    only = f" of the only {size.kept_whole}" if size.kept_whole != counts.whole else ""
    left_out = f"; {counts.left_out:,} beside them are left out of train" if counts.left_out else ""
    return (
        f"{trial.config.labelled_dataset}: validation_fraction {trial.config.validation_fraction:g} holds out "
        f"{counts.validation:,} of {size.train:,} train images, {chosen:,} of {plural(places, counts.whole)}"
        f"{only}{left_out}"
    )


def _sizes(name: str, size: DataSize) -> str:
    validation = f", {size.validation:,} validation" if size.validation else ""
    images = size.train + size.validation + size.test
    labelled = images - sum(size.unlabelled.values())
    labels = f", {f'{labelled:,} of {images:,}' if labelled else 'none'} with labels" if size.unlabelled else ""
    return f"{name}: {size.train:,} train{validation} and {size.test:,} test images ({size.origin} sizes){labels}"

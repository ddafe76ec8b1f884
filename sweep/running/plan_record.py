"""A plan and the record of its sweep: the one written from the other, and how they differ."""

from sweep.planning.plan import Plan
from sweep.records.sweep_record import SweepRecord, describe
from sweep.running.provenance import command_line, git_commit, versions
from sweep.running.run_context import RunContext


def write_record(context: RunContext, plan: Plan) -> SweepRecord:
    """Write the sweep's record as its plan now stands, and return it; the command that first started it stays."""
    record = describe(
        plan,
        name=context.name,
        command=command_line(),
        commit=git_commit(),
        versions=versions(),
        launch=context.launch,
    )
    before = context.storage.sweep(context.name)
    if before is not None:
        record = record.model_copy(update={"command": before.command})
    context.storage.write_sweep(record)
    return record


def changes(before: SweepRecord, plan: Plan) -> list[str]:
    """Return how a plan differs from a sweep's record, a line a difference, as in a diff."""
    lines = [] if before.space == plan.space.name else [f"- space {before.space}", f"+ space {plan.space.name}"]
    old = {entry.trial_id: entry.name for entry in before.trials if entry.setting is None}
    new = {trial.trial_id: trial.name for trial in plan.trials if trial.setting is None}
    # Those of stages that results decide aren't in a new plan yet.
    later = {entry.trial_id for entry in before.trials if entry.stage > 1} if plan.pending else set()
    lines += [f"- {name} ({trial_id})" for trial_id, name in old.items() if trial_id not in new.keys() | later]
    lines += [f"+ {name} ({trial_id})" for trial_id, name in new.items() if trial_id not in old]
    return lines

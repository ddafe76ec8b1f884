"""Analysis of missed positives for the page (sweep/statistics/missed_positives.py)."""

from sweep.comparison.dataset_report import DataSetReport
from sweep.comparison.table import METHOD, ComparedTrial, ComparisonRow
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.planning.evaluation_space import ALIKE, EVERY_LABEL, FINE_TUNED, FROZEN, SCRATCH
from sweep.statistics.missed_positives import ComparedClassifier, MissedPositives, missed
from sweep.statistics.number_outputs import NumberOutputs
from trainables.metrics import names

ASKED = (FROZEN, ALIKE, EVERY_LABEL, FINE_TUNED, SCRATCH)
LEARNED = (FINE_TUNED, SCRATCH)
"""Methods whose own head is the classifier; other methods use the regression on their features."""
PLAIN = "the logistic regression"


def missed_of(part: DataSetReport, outputs: TrialOutputs) -> MissedPositives | None:
    """Return the missed positives of an evaluation's methods, or of a sweep's best setting; None without a rule.

    Each setting is represented by its first seed with the most labels.
    """
    rows = _rows(part)
    heads = [head for name, row in rows if (head := _head(outputs, name, row)) is not None]
    if not heads or heads[0].name not in (PLAIN, FROZEN):
        return None
    config = rows[0][1].config
    return missed(heads, wanted=config.get("wanted_specificity"), labels=_labels(part, rows))


def _rows(part: DataSetReport) -> list[tuple[str, ComparisonRow]]:
    rows = [row for row in part.table.settings if row.first is not None]
    if not any(row.config[METHOD] for row in rows):
        return [(PLAIN, part.table.best)] if part.table.best is not None else []
    most = max((float(row.config["label_fraction"]) for row in rows), default=0.0)
    found: dict[str, ComparisonRow] = {}
    for method in ASKED:
        for row in rows:
            if row.config[METHOD] == method and row.config["label_fraction"] == most:
                found.setdefault(method, row)
    return list(found.items())


def _first(row: ComparisonRow) -> ComparedTrial:
    assert row.first is not None
    return row.first


def _head(outputs: TrialOutputs, name: str, row: ComparisonRow) -> ComparedClassifier | None:
    method = "" if name in LEARNED else names.LINEAR
    known, fresh = (
        outputs.of_trial(_first(row).entry, f"{split}/{method}{names.SENSITIVITY}") for split in ("val", "test")
    )
    if known is None or fresh is None or isinstance(known, NumberOutputs) or isinstance(fresh, NumberOutputs):
        return None
    if not fresh.positive.any():
        return None
    return ComparedClassifier(name, known, fresh)


def _labels(part: DataSetReport, rows: list[tuple[str, ComparisonRow]]) -> tuple[str, ...]:
    for name, row in rows:
        final = part.trials[_first(row).entry.trial_id].final
        if name == EVERY_LABEL and final is not None:
            return final.classes
    return ()

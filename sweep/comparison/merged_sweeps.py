"""Merging of sweeps that can be compared with each other into one; pure: records in, records out.

Settings can be ranked together if the images, the question and the objective are the same. Other sweeps are listed as
not comparable, each with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweep.comparison.ranking import Sources, data_of
from sweep.comparison.wording import SPLITS
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord, TrialEntry
    from sweep.records.sweep_storage import SweepStorage

SPLIT_FIELDS = ("validation_fraction", "max_test_images")
"""Fields that choose the images of a split: settings that differ in them were evaluated on different images."""


@dataclass(frozen=True)
class MergedSweep:
    """Sweeps that are compared as one, or the part of one sweep that is compared with no other."""

    record: "SweepRecord"
    sweeps: tuple[str, ...]
    sources: Sources = field(default_factory=dict)
    """Empty for a single sweep."""


@dataclass(frozen=True)
class _SweepPart:
    """Trials of one sweep on one data set."""

    sweep: "SweepRecord"
    dataset: str
    trials: "tuple[TrialEntry, ...]"
    fingerprint: str | None

    @property
    def question(self) -> dict[str, Any]:
        """Values that must be the same for a common ranking, by name; the first that differs is the stated reason."""
        configs = [entry.config for entry in self.trials]
        asked = {(str(config.get("target")), tuple(config.get("positive") or ())) for config in configs}
        return {
            "the images": self.fingerprint,
            "the kind of settings": "methods" if any(entry.method for entry in self.trials) else "",
            "the size of the run": "smoke" if self.sweep.smoke else "full",
            "what is asked of the labels": tuple(sorted(asked)),
            "the objective": (self.sweep.objective, self.sweep.direction),
        }


def merge_sweeps(
    sweeps: "Sequence[SweepRecord]",
    *,
    fingerprint: "Callable[[TrialEntry], str | None]",
    finished: "Callable[[TrialEntry], bool]",
) -> tuple[list[MergedSweep], list[str]]:
    """Return the merged sweeps, those of several sweeps first, and the reasons why others aren't comparable.

    Args:
        sweeps: Records of the sweeps.
        fingerprint: Returns the fingerprint of a trial's data, None if the trial hasn't started.
        finished: Returns whether a trial has its final result.
    """
    sweeps = list({sweep.name: sweep for sweep in sweeps}.values())
    groups = _groups([part for sweep in sweeps for part in _parts(sweep, fingerprint)])
    shared: dict[Any, list[list[_SweepPart]]] = {}
    for group in groups:
        if len(group) > 1:
            key = (tuple(part.sweep.name for part in group), group[0].sweep.objective, group[0].sweep.smoke)
            shared.setdefault(key, []).append(group)
    found = [_merged([part for group in groups_ for part in group], finished) for groups_ in shared.values()]
    for sweep in sweeps:
        rest = [group[0] for group in groups if len(group) == 1 and group[0].sweep is sweep]
        if rest:
            kept = tuple(entry for part in rest for entry in part.trials)
            found.append(MergedSweep(sweep.model_copy(update={"trials": kept}), (sweep.name,)))
    return found, _reasons(groups) if len(sweeps) > 1 else []


def _parts(sweep: "SweepRecord", fingerprint: "Callable[[TrialEntry], str | None]") -> list[_SweepPart]:
    parts = []
    for dataset in dict.fromkeys(data_of(entry.config) for entry in sweep.trials):
        own = tuple(entry for entry in sweep.trials if data_of(entry.config) == dataset)
        known = (found for entry in own if (found := fingerprint(entry)) is not None)
        parts.append(_SweepPart(sweep, dataset, own, next(known, None)))
    return parts


def _groups(parts: Sequence[_SweepPart]) -> list[list[_SweepPart]]:
    """Return the groups of parts that can be ranked together; a part without data yet is grouped by data set name."""
    groups: list[list[_SweepPart]] = []
    for part in parts:
        for group in groups:
            if group[0].dataset == part.dataset and _difference(group[0], part) is None:
                group.append(part)
                break
        else:
            groups.append([part])
    return groups


def _difference(one: _SweepPart, other: _SweepPart) -> str | None:
    """Return in words the first difference that prevents a common ranking of two parts; None if there is none."""
    for name, value in one.question.items():
        there = other.question[name]
        if value != there and not (name == "the images" and None in (value, there)):
            if name == "the images":
                return "the data set isn't the same: it was prepared differently"
            if name == "the objective":
                return f"{_ranking(one.sweep)}, {_ranking(other.sweep)}"
            return f"{name} isn't the same"
    return None


def _ranking(sweep: "SweepRecord") -> str:
    split = SPLITS.get(sweep.objective.partition("/")[0], "train")
    return f"{sweep.name} by {sweep.objective} on the {split} split"


def _reasons(groups: Sequence[Sequence[_SweepPart]]) -> list[str]:
    """Return one sentence for each pair of groups on one data set, and for each sweep that shares no data set."""
    sentences = []
    for number, group in enumerate(groups):
        for other in groups[number + 1 :]:
            if group[0].dataset == other[0].dataset and (why := _difference(group[0], other[0])) is not None:
                pair = f"{_names(group)} and {_names(other)}"
                sentences.append(f"{group[0].dataset}: {pair} aren't ranked together: {why}")
    sets: dict[str, set[str]] = {}
    for part in (part for group in groups for part in group):
        sets.setdefault(part.sweep.name, set()).add(part.dataset)
    alone = [name for name, own in sets.items() if not own & set().union(*(sets[one] for one in sets if one != name))]
    told = [f"{name} ({', '.join(sorted(sets[name]))})" for name in alone]
    if len(alone) == len(sets) > 1:
        return [*sentences, f"no data set in common: {', '.join(told)}"]
    return sentences + [f"{one}: has no data set in common with the others" for one in told]


def _names(group: Sequence[_SweepPart]) -> str:
    return ", ".join(part.sweep.name for part in group)


def _merged(parts: Sequence[_SweepPart], finished: "Callable[[TrialEntry], bool]") -> MergedSweep:
    """Return the parts as one sweep: each trial once, with the names of its sweeps."""
    sweeps = list({part.sweep.name: part.sweep for part in parts}.values())
    first, names = sweeps[0], tuple(sweep.name for sweep in sweeps)
    entries: dict[str, TrialEntry] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for part in parts:
        for entry in part.trials:
            known = entries.get(entry.trial_id)
            if known is None or (not finished(known) and finished(entry)):  # trained twice: whichever there is
                entries[entry.trial_id] = entry
            sources[entry.trial_id] = (*sources.get(entry.trial_id, ()), part.sweep.name)
    record = first.model_copy(
        update={
            "name": " + ".join(names),
            "description": "; ".join(_said(sweeps, lambda sweep: (sweep.description,))),
            "columns": tuple(dict.fromkeys(name for sweep in sweeps for name in sweep.columns)),
            "published": tuple(row for sweep in sweeps for row in sweep.published),
            "published_source": "; ".join(dict.fromkeys(s.published_source for s in sweeps if s.published_source)),
            "caveats": (*_split_sentences(parts), *_said(sweeps, lambda sweep: sweep.caveats)),
            "selected_on": "test" if any(sweep.selected_on == "test" for sweep in sweeps) else first.selected_on,
            "trials": _renamed(entries, sources),
            "pending": _said(sweeps, lambda sweep: sweep.pending),
            "command": "\n".join(sweep.command for sweep in sweeps),
            "commit": ", ".join(dict.fromkeys(sweep.commit for sweep in sweeps if sweep.commit)) or None,
            "versions": _versions(sweeps),
            "digest": ", ".join(sweep.digest for sweep in sweeps),
        }
    )
    return MergedSweep(record, names, sources)


def _said(sweeps: "Sequence[SweepRecord]", lines: "Callable[[SweepRecord], Sequence[str]]") -> tuple[str, ...]:
    """Return each line of all sweeps once; a line that only some sweeps have is prefixed with their names."""
    every = list(dict.fromkeys(line for sweep in sweeps for line in lines(sweep)))
    return tuple(
        line if len(own) == len(sweeps) else f"{', '.join(own)}: {line}"
        for line in every
        if (own := [sweep.name for sweep in sweeps if line in lines(sweep)])
    )


def _split_sentences(parts: Sequence[_SweepPart]) -> list[str]:
    """Return sentences about sweeps that were evaluated on different images."""
    sentences = []
    for name in SPLIT_FIELDS:
        chosen = {part.sweep.name: sorted({str(entry.config.get(name)) for entry in part.trials}) for part in parts}
        if len({tuple(values) for values in chosen.values()}) > 1:
            listed = ", ".join(f"{sweep} {' and '.join(values)}" for sweep, values in chosen.items())
            sentences.append(f"{name} is {listed}: the sweeps were judged on different images")
    return sentences


def _renamed(entries: "Mapping[str, TrialEntry]", sources: Sources) -> "tuple[TrialEntry, ...]":
    """Return the trials with unique names: a name that several sweeps use is prefixed with the sweep's name."""
    counts: dict[str, int] = {}
    for entry in entries.values():
        counts[entry.name] = counts.get(entry.name, 0) + 1
    return tuple(
        entry
        if counts[entry.name] == 1
        else entry.model_copy(update={"name": f"{entry.name}@{'+'.join(sources[trial_id])}"})
        for trial_id, entry in entries.items()
    )


def _versions(sweeps: "Sequence[SweepRecord]") -> dict[str, str]:
    names = dict.fromkeys(name for sweep in sweeps for name in sweep.versions)
    return {
        name: " and ".join(dict.fromkeys(sweep.versions[name] for sweep in sweeps if name in sweep.versions))
        for name in names
    }


def merged_sweeps(storage: "SweepStorage", names: Sequence[str]) -> tuple[list[MergedSweep], list[str]]:
    """Return the named sweeps merged as far as they are comparable, and the reasons where they aren't.

    Without names, the latest sweep is returned.

    Raises:
        BadInputError: There is no such sweep, or its record has no trial.
    """
    records = [storage.record(name) for name in names] if names else [storage.record()]
    if empty := [record.name for record in records if not record.trials]:
        raise BadInputError(
            f"sweep {empty[0]}: its record has no trial; run it: python -m sweep.run --resume {empty[0]}"
        )
    return merge_sweeps(
        records,
        fingerprint=lambda entry: storage.trial_of(entry).fingerprint(),
        finished=lambda entry: storage.trial_of(entry).final() is not None,
    )

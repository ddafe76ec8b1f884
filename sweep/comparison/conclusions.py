"""Conclusions of a comparison in a few sentences, only as far as the numbers support them; pure."""

from collections.abc import Mapping, Sequence

from sweep.comparison.cells import ComparisonCell
from sweep.comparison.default_columns import metric_on_test
from sweep.comparison.label_free_ranking import label_free_rankings
from sweep.comparison.standing import UNTRAINED, BaselineComparison, standing
from sweep.comparison.table import METHOD, ComparisonRow, ComparisonTable
from sweep.comparison.wording import SPLITS, WORDS, described, method_of, short_words
from sweep.console.formatting import percent, plain, plural, range_of_shares
from sweep.records.sweep_record import SweepRecord
from sweep.space import SELECTED_ON_TEST
from sweep.statistics.metric_intervals import PairedDifference
from trainables.metrics.names import R2, SPEARMAN, better_when, is_share, needs_labels

MOST_LISTED = 3
MAYBE_BEST = "●"
HELD_OUT = ("val/", "test/")
SMOKE_NOTICE = "SMOKE RUN: tiny encoder, few images and steps; the numbers show only that the sweep runs end to end"


def conclusions(
    sweep: SweepRecord, table: ComparisonTable, stands: BaselineComparison | None = None
) -> tuple[str, ...]:
    """Return the conclusions for one data set as sentences; without `stands`, intervals are over seeds only."""
    best = table.best
    if table.undefined:
        return (
            f"No setting on {table.dataset} is best: {short_words(sweep.objective)} is undefined (NaN) in all that "
            f"finished, as {_undefined_where(sweep.objective)}.",
        )
    if best is None:
        return (_without_best(table),)
    stands = stands or standing(sweep, table)
    sentences = [
        _best(sweep, table, best, stands),
        *_against_others(table, best, stands.second),
        _without_labels(sweep, best),
        _on_test(sweep, stands),
        _about_intervals(best, stands),
        _above_untrained(stands),
        *_against_baselines(sweep, stands),
    ]
    return tuple(sentence for sentence in sentences if sentence)


def _undefined_where(metric: str) -> str:
    """Return in words on which images a metric is undefined."""
    if metric.endswith((R2, SPEARMAN)):
        return "where all numbers are equal"
    return "without a positive among the images that it is measured on" if needs_labels(metric) else "of too few images"


def _without_best(table: ComparisonTable) -> str:
    """Return why no setting is best: all trials failed, or none has finished yet."""
    trials = [trial for row in table.settings for trial in row.trials]
    if not trials or any(trial.result.status != "failed" for trial in trials):
        return f"No setting on {table.dataset} has finished yet."
    failed = f"all {len(trials)} trials" if len(trials) > 1 else "its one trial"
    return f"No setting on {table.dataset} has a result: {failed} failed."


def _best(sweep: SweepRecord, table: ComparisonTable, best: ComparisonRow, stands: BaselineComparison) -> str:
    metric = sweep.objective
    whose = f" ({best.sweeps})" if best.sweeps else ""
    what = f"Best on {_split(metric)}: {described(best.config, table.axes)}{whose}"
    if len(table.settings) == 1:
        what = f"The one setting{whose}, on {_split(metric)}"
    own = f"{short_words(metric)} {_value(metric, stands.best[metric], _kind(stands), ', {}')}"
    return f"{what} ({own}){_baselines(metric, stands)}."


def _without_labels(sweep: SweepRecord, best: ComparisonRow) -> str:
    """Return how far a ranking without labels is to be trusted, if no metric with labels stands beside it."""
    known = {metric for trial in best.finished for metric in trial.result.metrics if metric.startswith(HELD_OUT)}
    if any(map(needs_labels, {sweep.objective, *known})):
        return ""
    return (
        f"{short_words(sweep.objective)} needs no labels, and its best need not be the best for your classes or "
        "numbers: attach labels to some images to check it (python -m sweep.data label)."
    )


def _on_test(sweep: SweepRecord, stands: BaselineComparison) -> str:
    """Return the sentence with the same metric on test, sensitivity and specificity, and the baselines' values."""
    others = [metric for metric in stands.best if metric != sweep.objective]
    if not others:
        return ""
    same = others[0].partition("/")[2] == sweep.objective.partition("/")[2]
    words = [
        "" if same else short_words(others[0]),
        *(metric.rpartition("_")[2].rpartition("/")[2] for metric in others[1:]),
    ]
    numbers = [
        f"{word} {_value(metric, stands.best[metric], _kind(stands))}".strip()
        for word, metric in zip(words, others, strict=True)
    ]
    return f"On test {', '.join(numbers)}{_baselines(others[0], stands)}."


def _baselines(metric: str, stands: BaselineComparison) -> str:
    shown = [
        f"{name} {_value(metric, cells[metric], _kind(stands))}"
        for name, cells in stands.baselines.items()
        if metric in cells
    ]
    return "; " + ", ".join(shown) if shown else ""


def _kind(stands: BaselineComparison) -> str:
    """Return which intervals the sentences prefer: over seeds if the best setting has them, else over images."""
    return "seeds" if next(iter(stands.best.values())).seeds is not None else "images"


def _about_intervals(best: ComparisonRow, stands: BaselineComparison) -> str:
    if _kind(stands) == "seeds":
        cells = [cell for part in (stands.best, *stands.baselines.values()) for cell in part.values()]
        mixed = any(cell.seeds is None and cell.images is not None for cell in cells)
        images = ", or where marked over the evaluated images" if mixed else ""
        return f"In brackets: 95 % intervals over {len(best.finished)} seeds{images}."
    shown = any(cell.images is not None for cell in stands.best.values())
    return "In brackets: 95 % intervals over the evaluated images." if shown else ""


def _value(metric: str, cell: ComparisonCell, kind: str, brackets: str = " ({})") -> str:
    """Return a value with an interval: 85.2 % (81.0 to 88.4).

    A value without an interval over seeds, such as that of a single seed, gets the one over images, and says so.
    """
    assert cell.mean is not None
    ends, over = getattr(cell, kind), ""
    if ends is None and kind == "seeds":
        ends, over = cell.images, " over images"
    shown = f"{percent(cell.mean, 1)} %" if is_share(metric) else plain(metric, cell.mean)
    if ends is None:
        return shown
    words = range_of_shares(ends) if is_share(metric) else f"{plain(metric, ends.low)} to {plain(metric, ends.high)}"
    return shown + brackets.format(words + over)


def _split(metric: str) -> str:
    split = metric.partition("/")[0]
    return SPLITS.get(split, split)


def _above_untrained(stands: BaselineComparison) -> str:
    if stands.untrained is None or stands.untrained.interval is None:
        return ""
    metric, where = (list(stands.best)[1], "test") if len(stands.best) > 1 else (*stands.best, "evaluated")
    return f"On the same {where} images {_apart(metric, stands.untrained, f'the {UNTRAINED}')}."


def _apart(metric: str, pair: PairedDifference, other: str) -> str:
    """Return a difference with its interval: it is 3.1 points above OTHER (95 % from 1.0 to 5.2)."""
    assert pair.interval is not None
    above = "above" if pair.difference >= 0 else "below"
    if not is_share(metric):
        what, by = WORDS[method_of(metric.partition("/")[2])[1]], plain(metric, abs(pair.difference))
        apart = f"its {what} is {by} {above} that of {other}"
        return f"{apart} (95 % from {plain(metric, pair.interval.low)} to {plain(metric, pair.interval.high)})"
    apart = f"{percent(abs(pair.difference), 1)} points {above}" if pair.difference else "as good as"
    return f"it is {apart} {other} (95 % from {range_of_shares(pair.interval)})"


def _against_others(table: ComparisonTable, best: ComparisonRow, pair: PairedDifference | None) -> list[str]:
    others = [row for row in table.settings if row is not best]
    ended = f"Halving ended {plural(len(table.halved), 'more setting')} early." if table.halved else ""
    if not others:
        return [ended]
    return [*_against_finished(table, best, others, pair), ended]


def _against_finished(
    table: ComparisonTable, best: ComparisonRow, others: Sequence[ComparisonRow], pair: PairedDifference | None
) -> list[str]:
    known = [row for row in others if row.is_defined(table.objective)]
    unknown = len(others) - len(known)
    tail = f" {unknown} of {len(table.settings)} settings {_have(unknown)} no result." if unknown else ""
    if best.maybe_best is not None:
        near = [described(row.config, table.axes) for row in known if row.maybe_best]
        if near:
            count = len(best.finished)
            seeds = "As it has one seed," if count == 1 else f"With {count} seeds"
            return [f"{seeds} {_listed(near, len(known))} may be just as good.{tail}"]
        if not table.others_are_worse:
            return [f"It alone may be the best (95 %).{tail}"]
        worse = "The other setting is" if len(known) == 1 else f"The other {len(known)} are"
        return [f"{worse} worse beyond what seeds explain (95 %).{tail}"]
    if not known:
        return [tail.strip()]
    return [f"{_chance(table)}{_above_second(table, best, known[0], pair)}{tail}"]


def _listed(near: Sequence[str], known: int) -> str:
    """Return in words the other settings that may be just as good."""
    if len(near) == known:
        return f"any of the other {known} settings" if known > 1 else near[0]
    return "; ".join(near) if len(near) <= MOST_LISTED else f"{len(near)} of the other {known} settings"


def _chance(table: ComparisonTable) -> str:
    if table.seeds > 1:
        return "Too few seeds have finished: the order may be chance."
    more = "" if any(row.config[METHOD] for row in table.settings) else "; add --set seed=0,1,2"
    return f"Only one seed per setting: the order may be chance{more}."


def _above_second(
    table: ComparisonTable, best: ComparisonRow, second: ComparisonRow, pair: PairedDifference | None
) -> str:
    name = described(second.config, table.axes)
    if pair is None or pair.interval is None:
        return (
            f" The value of {name} is the same." if second.mean(table.objective) == best.mean(table.objective) else ""
        )
    return f" On the same images {_apart(table.objective, pair, name)}."


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _against_baselines(sweep: SweepRecord, stands: BaselineComparison) -> list[str]:
    """Return sentences about baselines with better values, on the selection split and on test."""
    metrics = [sweep.objective, metric_on_test(sweep.objective, stands.best.keys()) or sweep.objective]
    found = {}
    for metric in dict.fromkeys(metrics):
        better = [_with_article(name) for name, own in stands.baselines.items() if _beats(own, stands.best, metric)]
        if better:
            found[_split(metric)] = ("; " if len(better) > 2 else " and ").join(better)
    if len(set(found.values())) == 1 and len(found) == len(set(metrics)):
        found = {" and ".join(found): next(iter(found.values()))}
    return [f"On {split} it does no better than {names}." for split, names in found.items()]


def _with_article(baseline: str) -> str:
    return f"the {baseline}" if baseline.startswith(UNTRAINED) else baseline


def _beats(cells: Mapping[str, ComparisonCell], best: Mapping[str, ComparisonCell], metric: str) -> bool:
    theirs, ours = (part[metric].mean if metric in part else None for part in (cells, best))
    sign = 1 if better_when(metric) == "max" else -1
    return theirs is not None and ours is not None and sign * (theirs - ours) > 0


def notes(sweep: SweepRecord, tables: Sequence[ComparisonTable], *, page: bool = False) -> list[str]:
    """Return the notes below the tables, for the terminal or, with `page`, for the report page."""
    split = sweep.objective.split("/", maxsplit=1)[0]
    percent_too = "; shares in percent" if any(is_share(name) for table in tables for name in table.metrics) else ""
    lines = [f"ranked by {sweep.objective} ({split} split), final epoch{percent_too}"]
    lines += _of_no_baseline(sweep, tables)
    if sweep.selected_on == "test":
        lines.append(SELECTED_ON_TEST)
    lines += _about_seeds(tables, page)
    if any(row.published for table in tables for row in table.settings):
        smoke = ", of the row's full-size setting" if sweep.smoke else ""
        lines.append(
            f"{'◇' if page else 'after the slash'}: {sweep.published_source}{smoke}; a published number has its own "
            "seeds and split, so it isn't known how much of a difference is chance"
        )
    if not page:
        lines.append("time: all attempts together, times the GPUs (or workers, on CPUs) that they held")
        lines += [found.sentence() for table in tables if (found := label_free_rankings(sweep, table)) is not None]
    lines += _left_out(sweep, tables)
    lines += [f"waits for results: {name}" for name in sweep.pending]
    return [*lines, *sweep.caveats]


def _of_no_baseline(sweep: SweepRecord, tables: Sequence[ComparisonTable]) -> list[str]:
    """Return why baselines lack the objective: it is measured behind a projection head, and they have none."""
    baselines = [row for table in tables for row in table.baselines if row.finished]
    if needs_labels(sweep.objective) or not baselines or any(row.values(sweep.objective) for row in baselines):
        return []
    return [
        f"baselines have no {short_words(sweep.objective)}: it is measured behind the projection head, which they lack"
    ]


def _about_seeds(tables: Sequence[ComparisonTable], page: bool) -> list[str]:
    if any(table.seeds > 1 for table in tables):
        half = "" if page else ", and half the width of its 95 % t-interval: the effect of another seed"
        lines = [f"mean over seeds{half}"]
        if any(row.maybe_best for table in tables for row in table.settings):
            lines.append(
                f"{MAYBE_BEST} may be the best setting: the truly best one lacks this mark in at most 5 % of "
                "comparisons; a setting with one seed can't be compared and keeps it"
            )
        return lines
    return []


def _left_out(sweep: SweepRecord, tables: Sequence[ComparisonTable]) -> list[str]:
    """Return the notes on errors that the intervals don't include."""
    lines = []
    columns = max((len(table.metrics) for table in tables), default=0)
    if columns > 1:
        lines.append(
            f"settings are ranked by {sweep.objective} alone; each 95 % interval holds by itself: of {columns} "
            f"intervals, at least one misses its true value in up to {min(100, 5 * columns)} % of sweeps"
        )
    lines.append(
        "all numbers are from one split and one set of images; no interval includes the effect of another split"
    )
    best = [table for table in tables if not table.undefined]
    most = max((sum(bool(row.finished) for row in table.settings) for table in best), default=0)
    if most > 1:
        lines.append(
            f"the best of {most} settings was chosen by the numbers shown, so its own number is probably too "
            f"{'high' if sweep.direction == 'max' else 'low'}; "
            "for an unbiased one, train it with new seeds and evaluate it on new images"
        )
    return lines

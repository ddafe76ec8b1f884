"""What a comparison says in two sentences; pure. Nothing is said that the numbers don't carry."""

from collections.abc import Sequence

from sweep.comparison.table import Row, Table
from sweep.comparison.wording import described, metric_words
from sweep.console.formatting import percent, plural, range_of_shares
from sweep.records.sweep_record import SweepRecord
from sweep.space import SELECTED_ON_TEST
from sweep.statistics.image_metrics import Pair

MOST_LISTED = 3
MAYBE_BEST = "●"
SMOKE_NOTICE = "SMOKE RUN: tiny encoder, few images and steps; the numbers say that the road works, and nothing else"


def conclusions(sweep: SweepRecord, table: Table, pair: Pair | None = None) -> tuple[str, ...]:
    """Return the answer for one data set; `pair` compares the first setting with the second image by image."""
    best = table.best
    if best is None:
        return (f"No setting on {table.dataset} has finished yet.",)
    value = best.known_mean(sweep.objective)
    whose = f" ({best.sweeps})" if best.sweeps else ""
    said = f"On {table.dataset}, {described(best.config, table.axes)}{whose} does best"
    said += f" by {metric_words(sweep.objective)}: {percent(value, 1)} %"
    if (interval := best.interval(sweep.objective)) is not None:
        said += f" (mean of {len(best.finished)} seeds, 95 % interval {range_of_shares(interval)} %)"
    sentences = [f"{said}.", *_against_others(table, best, pair), *_against_baselines(sweep, table, value)]
    return tuple(sentence for sentence in sentences if sentence)


def _against_others(table: Table, best: Row, pair: Pair | None) -> list[str]:
    others = [row for row in table.settings if row is not best]
    ended = f"Halving ended {plural(len(table.halved), 'more setting')} early." if table.halved else ""
    if not others:
        return [ended]
    return [*_against_finished(table, best, others, pair), ended]


def _against_finished(table: Table, best: Row, others: Sequence[Row], pair: Pair | None) -> list[str]:
    known = [row for row in others if row.values(table.objective)]
    unknown = len(others) - len(known)
    tail = f" {unknown} of {len(table.settings)} settings have no result." if unknown else ""
    if best.maybe_best is not None:
        near = [described(row.config, table.axes) for row in known if row.maybe_best]
        if near:
            listed = f"{len(near)} of the other {len(known)} settings"
            if len(near) == len(known):
                listed = f"any of the other {len(known)} settings" if len(near) > 1 else near[0]
            elif len(near) <= MOST_LISTED:
                listed = "; ".join(near)
            return [f"These seeds can't tell it from {listed} (95 %).{tail}"]
        if not table.others_are_worse:
            return [f"It alone may be the best (95 %).{tail}"]
        worse = "The other setting is" if len(known) == 1 else f"The other {len(known)} are"
        return [f"{worse} worse beyond what seeds explain (95 %).{tail}"]
    said = "With one seed a setting, how much of the order is chance isn't known"
    if pair is not None and pair.interval is not None and known:
        second = described(known[0].config, table.axes)
        above = "above" if pair.difference >= 0 else "below"
        apart = f"{percent(abs(pair.difference), 1)} points {above}" if pair.difference else "as good as"
        said += f"; on the same images it is {apart} {second}"
        said += f" (95 % from {range_of_shares(pair.interval)})"
    return [f"{said}.{tail}"]


def _against_baselines(sweep: SweepRecord, table: Table, value: float) -> list[str]:
    sign = 1 if sweep.direction == "max" else -1
    better = [
        f"{row.label} ({percent(mean, 1)} %)"
        for row in table.baselines
        if (mean := row.mean(sweep.objective)) is not None and sign * (mean - value) > 0
    ]
    return [f"No setting does better than {', '.join(better)}."] if better else []


def notes(sweep: SweepRecord, tables: Sequence[Table], *, page: bool = False) -> list[str]:
    """Return what has to be said beside the tables, in the terminal or on a page, which shows intervals otherwise."""
    split = sweep.objective.split("/", maxsplit=1)[0]
    lines = [f"ranked by {sweep.objective} ({split} split), final epoch; shares in percent"]
    if sweep.selected_on == "test":
        lines.append(SELECTED_ON_TEST)
    lines += _about_seeds(tables, page)
    if any(row.published for table in tables for row in table.settings):
        smoke = ", of the full-size setting that the row stands for" if sweep.smoke else ""
        lines.append(
            f"{'◇' if page else 'after the slash'}: {sweep.published_source}{smoke}; a published number is of its own "
            "seeds and split, so how much of a difference is chance isn't known"
        )
    lines += _left_out(sweep, tables)
    lines += [f"not decided yet: {name}" for name in sweep.pending]
    return [*lines, *sweep.caveats]


def _about_seeds(tables: Sequence[Table], page: bool) -> list[str]:
    if any(table.seeds > 1 for table in tables):
        half = "" if page else ", and half the width of its 95 % t-interval: how much another seed changes"
        lines = [f"mean over seeds{half}"]
        if any(row.maybe_best for table in tables for row in table.settings):
            lines.append(
                f"{MAYBE_BEST} can't be told from the best: the truly best setting loses this mark in 5 % of "
                "comparisons at most; a setting with one seed isn't compared, and keeps it"
            )
        return lines
    if any(len(table.settings) > 1 for table in tables):
        return ["one seed a setting: how much another seed would change isn't known, so the order may be chance"]
    return []


def _left_out(sweep: SweepRecord, tables: Sequence[Table]) -> list[str]:
    """Return what no interval here knows of."""
    lines = []
    columns = max((len(table.metrics) for table in tables), default=0)
    if columns > 1:
        lines.append(
            f"the ranking is of {sweep.objective} alone; each other column is right or wrong by itself: of {columns} "
            f"separate 95 % intervals some one misses in up to {100 * (1 - 0.95**columns):.0f} % of sweeps"
        )
    lines.append(
        "every number is of one split and one set of images; no interval knows how another split would change it"
    )
    most = max((sum(bool(row.finished) for row in table.settings) for table in tables), default=0)
    if most > 1:
        lines.append(
            f"the best of {most} settings is chosen by the numbers that are shown, so its own is likelier too high "
            "than too low; train it with new seeds, and evaluate it on new images, for a number without that"
        )
    return lines

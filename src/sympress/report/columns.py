"""What stands in a results table: its rows, its columns, and how a number becomes text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean

from sympress.report.claims import Claim, Kind, claims_of
from sympress.results import Cost, Estimate, Quality, Results, StrategyResult

# How a number becomes text, the same in every table.


UNDEFINED = "undefined"
NOT_APPLICABLE = "–"
#: Follows an average over fewer symptoms than the study has: the others are undefined on the test set.
PARTLY = "†"


def defined(values: Iterable[float | None]) -> list[float]:
    """Return the finite numbers among `values`, an iterable of numbers and Nones."""
    return [value for value in values if value is not None and math.isfinite(value)]


def format_estimate(estimate: Estimate | None) -> str:
    """Return ``0.923 [0.901, 0.944]``, ``undefined`` where there is no value, a dash where none belongs.

    A value that comes with a note (an average over the defined symptoms only) is marked by `PARTLY`.
    """
    if estimate is None:
        return NOT_APPLICABLE
    if not defined([estimate.value]):
        return UNDEFINED
    mark = PARTLY if estimate.note else ""
    if len(defined([estimate.low, estimate.high])) < 2:
        return f"{estimate.value:.3f}{mark}"
    return f"{estimate.value:.3f}{mark} [{estimate.low:.3f}, {estimate.high:.3f}]"


def format_difference(estimate: Estimate) -> str:
    """Return ``−0.012 [−0.020, −0.004]`` with a true minus and an explicit plus, or ``undefined``."""
    if not defined([estimate.value]):
        return UNDEFINED
    if len(defined([estimate.low, estimate.high])) < 2:
        return signed(estimate.value)
    return f"{signed(estimate.value)} [{signed(estimate.low)}, {signed(estimate.high)}]"


def format_number(value: float | None, digits: int) -> str:
    """Return `value` with thousands separated and at least two figures that count, or a dash for None.

    A value too small for `digits` keeps two significant figures, so that 0.003 ms is not printed as 0.
    """
    if value is None or not math.isfinite(value):
        return NOT_APPLICABLE
    if 0 < abs(value) < 10**-digits:
        return f"{value:.2g}"
    return f"{value:,.{digits}f}"


def format_ratio(ratio: float | None) -> str:
    """Return ``0.52×``, ``<0.01×`` for less, or a dash for None."""
    if ratio is None:
        return NOT_APPLICABLE
    return "<0.01×" if 0 < ratio < 0.01 else f"{ratio:,.2f}×"


def format_p(value: float | None) -> str:
    """Return a p-value to three decimals, ``<0.001`` for less, or a dash for None."""
    if value is None:
        return NOT_APPLICABLE
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Return `value` to three decimals with its sign, a true minus, and no sign at 0."""
    rounded = round(value or 0.0, 3) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:+.3f}".replace("-", "−") if rounded else "0.000"


# What stands in a results table: its rows (a strategy with its seeds) and its columns.


#: Rows that are no compressed model: a reader's yardsticks, printed last and marked as reference.
LONGER = "baseline-longer"
REFERENCE_STRATEGIES = ("rule", "rule-assertion", "tfidf", "ensemble", LONGER)
BASELINE = "baseline"

#: Follows a difference that is one: of all seeds together, corrected for the number of strategies.
MARK = "*"


@dataclass(frozen=True)
class Group:
    """All seeds of one strategy.

    Attributes:
        name: of the strategy.
        seeds: its rows, by seed.
        baselines: the baseline row of each seed; None where a seed has none.
        macro: what may be said of its macro-F1; None where it was not compared.
        micro: the same of its micro-F1, where the task has one.
    """

    name: str
    seeds: tuple[StrategyResult, ...]
    baselines: tuple[StrategyResult | None, ...]
    macro: Claim | None = None
    micro: Claim | None = None

    @property
    def claim(self) -> Claim | None:
        """What may be said of the F1 that decides: micro where the task has one, else macro."""
        return self.micro or self.macro

    @property
    def is_reference(self) -> bool:
        """Whether this is a rival of the compressed models rather than one of them."""
        return self.name in REFERENCE_STRATEGIES

    @property
    def label(self) -> str:
        """The strategy as a table names it."""
        return f"{self.name} (reference)" if self.is_reference else self.name

    def mean(self, value: Callable[[StrategyResult], float | None]) -> float | None:
        """Mean of `value` over the seeds where it is defined, or None."""
        found = defined(value(row) for row in self.seeds)
        return fmean(found) if found else None

    def ratio(self, value: Callable[[Cost], float | None]) -> float | None:
        """Mean over seeds of `value` divided by the same of the baseline with the same seed, or None."""
        pairs = zip(self.seeds, self.baselines, strict=True)
        found = [_divide(value(row.cost), value(base.cost)) for row, base in pairs if base is not None]
        ratios = defined(found)
        return fmean(ratios) if ratios else None

    @property
    def size_ratio(self) -> float | None:
        """Bytes on disk over the baseline's."""
        return self.ratio(lambda cost: cost.size_bytes)

    @property
    def latency_ratio(self) -> float | None:
        """Latency over the baseline's: as measured in turn with it, else the ratio of the medians."""
        in_turn = self.mean(lambda row: row.cost.latency_ratio)
        return in_turn if in_turn is not None else self.ratio(lambda cost: cost.latency_ms_p50)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        header: with the unit.
        cell: of a strategy.
        narrow: its cell in the narrow table; None where that has no such column.
        on_console: whether the console has it, where sentences stand below the table.
        brief: its cell in a terminal of 80 columns; None where that has no such column.
        more: whether the page shows it only when asked for more columns.
    """

    header: str
    cell: Callable[[Group], str]
    narrow: Callable[[Group], str] | None = None
    on_console: bool = True
    brief: Callable[[Group], str] | None = None
    more: bool = False


def groups(results: Results) -> list[Group]:
    """Return the strategies in the order of the run, the references last; seeds in ascending order."""
    baselines = {row.seed: row for row in results.strategies if row.name == BASELINE}
    found: dict[str, list[StrategyResult]] = {}
    for row in results.strategies:
        found.setdefault(row.name, []).append(row)
    names = sorted(found, key=lambda name: name in REFERENCE_STRATEGIES)
    macro, micro = (claims_of(results, micro=kind) for kind in (False, True))
    return [
        Group(
            name,
            tuple(rows := sorted(found[name], key=lambda row: row.seed)),
            tuple(baselines.get(row.seed) for row in rows),
            macro.get(name),
            micro.get(name),
        )
        for name in names
    ]


def seeds_of(results: Results) -> list[int]:
    """Return the seeds of the run, ascending."""
    return sorted({row.seed for row in results.strategies})


def _divide(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


# Cells ---------------------------------------------------------------------------------------------


def columns(*runs: Results) -> list[Column]:
    """Return the columns of the wide table, left to right; those with a narrow cell form the narrow one.

    What decides stands first: quality, difference, bytes and time. Of several runs a column is there if one
    of them has it.
    """
    macro, rate = _quality(lambda q: q.f1), _number(lambda c: c.notes_per_second, 1, 0)
    short_macro = _quality(lambda q: q.f1, interval=False)
    brief_macro: Callable[[Group], str] | None = short_macro
    narrow_macro = macro
    narrow_difference: Callable[[Group], str] | None = _difference
    micro, precision, change = [], [], []
    has_micro = any(row.quality.micro_f1 is not None for results in runs for row in results.strategies)
    if has_micro:
        micro_f1 = _quality(lambda q: q.micro_f1)
        short_micro = _quality(lambda q: q.micro_f1, interval=False)
        micro = [Column("F1 micro", micro_f1, micro_f1, brief=short_micro), Column("kept", _kept, _kept)]
        change = [Column("Δ F1 micro to baseline", _micro_difference, _micro_difference)]
        precision = [Column("avg. precision", _quality(lambda q: q.average_precision), more=True)]
        # Two intervals beside each other do not fit a console; the micro F1 decides, so it keeps its own.
        narrow_macro, brief_macro, narrow_difference = short_macro, None, None
    return [
        Column("strategy", attrgetter("label"), attrgetter("label"), brief=attrgetter("name")),
        *micro,
        *change,
        Column("F1 macro", macro, narrow_macro, brief=brief_macro),
        Column("Δ F1 macro to baseline", _difference, narrow_difference, more=has_micro),
        Column("verdict", _verdict, _verdict, on_console=False, brief=_verdict),
        Column("size MB (×)", _size, _size, brief=_size),
        Column("p50 ms (×)", _latency, _latency, brief=_latency),
        *_faster(runs),
        Column("notes/s", rate, rate),
        Column("peak MB", _number(lambda c: c.peak_rss_bytes, 1e6, 0), more=True),
        Column("accuracy", _quality(lambda q: q.accuracy), more=True),
        Column("precision", _quality(lambda q: q.precision), more=True),
        Column("recall", _quality(lambda q: q.recall), more=True),
        Column("AUROC", _quality(lambda q: q.auroc), more=True),
        *precision,
        Column("p95 ms", _number(lambda c: c.latency_ms_p95, 1, 2), more=True),
        Column("parameters M", _number(lambda c: c.parameters, 1e6, 2), more=True),
        Column("nonzero M", _number(lambda c: c.nonzero_parameters, 1e6, 2), more=True),
        Column("MACs M/note", _number(lambda c: c.macs_per_note, 1e6, 0), more=True),
        Column("training s", _number(lambda c: c.train_seconds, 1, 0), more=True),
    ]


def _faster(runs: Sequence[Results]) -> list[Column]:
    """How many times as fast as the two yardsticks; only where a run has timed them."""
    if not any(results.yardsticks for results in runs):
        return []
    pytorch, int8 = _speed(lambda c: c.latency_ratio_pytorch), _speed(lambda c: c.latency_ratio_int8)
    return [
        Column("× PyTorch", pytorch, pytorch, brief=pytorch),
        Column("× int8", int8, int8),
    ]


def _speed(pick: Callable[[Cost], float | None]) -> Callable[[Group], str]:
    def cell(group: Group) -> str:
        ratio = group.mean(lambda row: pick(row.cost))
        return NOT_APPLICABLE if not ratio else f"{1 / ratio:.1f}"

    return cell


def _spread(values: list[float], show: Callable[[float], str]) -> str:
    """Mean and range over seeds, or the value itself if there is one."""
    if len(values) == 1:
        return show(values[0])
    return f"{show(fmean(values))} ({show(min(values))} to {show(max(values))})"


def _quality(pick: Callable[[Quality], Estimate | None], *, interval: bool = True) -> Callable[[Group], str]:
    def cell(group: Group) -> str:
        estimates = [pick(row.quality) for row in group.seeds]
        if interval and len(estimates) == 1:
            return format_estimate(estimates[0])
        if all(estimate is None for estimate in estimates):
            return NOT_APPLICABLE
        values = defined(estimate.value for estimate in estimates if estimate is not None)
        # A mean over fewer seeds than the row has would hide the seeds that gave none.
        if len(values) < len(estimates):
            return UNDEFINED
        mark = PARTLY if any(estimate and estimate.note for estimate in estimates) else ""
        return (_spread(values, lambda v: f"{v:.3f}") if interval else f"{fmean(values):.3f}") + mark

    return cell


def _difference(group: Group) -> str:
    found = [row.versus_baseline.f1_difference for row in group.seeds if row.versus_baseline is not None]
    return _beside(group, found, group.macro)


def _beside(group: Group, found: list[Estimate], claim: Claim | None) -> str:
    """A difference with the interval of its seed, or with that of all seeds together."""
    if claim is None or len(found) < len(group.seeds):
        return NOT_APPLICABLE
    text = format_difference(found[0] if len(found) == 1 else claim.pooled.difference)
    return f"{text} {MARK}" if claim.differs else text


#: The verdict of a claim in a cell.
_CELLS: dict[Kind, str] = {
    "gains": "gains",
    "keeps": "keeps",
    "loses": "loses",
    "unclear": "too few notes",
    "chance": "at chance",
    "undefined": UNDEFINED,
}


def _verdict(group: Group) -> str:
    return NOT_APPLICABLE if group.claim is None else _CELLS[group.claim.kind]


def _kept(group: Group) -> str:
    """Micro-F1 as a share of the baseline's of the same seed, averaged over seeds."""
    pairs = [
        _divide(_micro(row), _micro(base))
        for row, base in zip(group.seeds, group.baselines, strict=True)
        if base is not None
    ]
    shares = defined(pairs)
    if group.name == BASELINE or not shares or len(shares) < len(group.seeds):
        return NOT_APPLICABLE
    return f"{fmean(shares):.1%}"


def _micro(row: StrategyResult) -> float | None:
    return None if row.quality.micro_f1 is None else row.quality.micro_f1.value


def _micro_difference(group: Group) -> str:
    rows = [row.versus_baseline for row in group.seeds if row.versus_baseline is not None]
    found = [row.micro_f1_difference for row in rows if row.micro_f1_difference is not None]
    return _beside(group, found, group.micro)


def _number(pick: Callable[[Cost], float | None], unit: float, digits: int) -> Callable[[Group], str]:
    def cell(group: Group) -> str:
        value = group.mean(lambda row: pick(row.cost))
        return format_number(None if value is None else value / unit, digits)

    return cell


def _with_ratio(text: str, ratio: float | None, group: Group) -> str:
    return text if ratio is None or group.name == BASELINE else f"{text} ({format_ratio(ratio)})"


def _size(group: Group) -> str:
    return _with_ratio(_number(lambda c: c.size_bytes, 1e6, 1)(group), group.size_ratio, group)


def _latency(group: Group) -> str:
    text = _number(lambda c: c.latency_ms_p50, 1, 2)(group)
    return _with_ratio(text, group.latency_ratio, group)


# One look a strategy: a colour that is told apart with any colour vision, and a marker.


#: `depth-2` is the family `depth` at strength 2.
FAMILY = re.compile(r"(?P<family>.+)-(?P<strength>\d+)")
#: Okabe and Ito's colours without black and yellow, which one of the two backgrounds swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: The baseline and the references: legible on white and on black.
NEUTRAL = "#808A93"
#: The names of a marker in Bokeh and in Matplotlib, and its outline for a legend.
MARKERS = (
    ("circle", "o", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z"),
    ("square", "s", "M-4.5-4.5H4.5V4.5H-4.5z"),
    ("triangle", "^", "M0-5.5L5.5 4.5H-5.5z"),
    ("diamond", "D", "M0-6L5 0L0 6L-5 0z"),
    ("inverted_triangle", "v", "M0 5.5L5.5-4.5H-5.5z"),
    ("hex", "h", "M-2.8-4.8H2.8L5.5 0L2.8 4.8H-2.8L-5.5 0z"),
)


@dataclass(frozen=True)
class Look:
    """How a strategy is drawn: a colour, and a marker by its name in Bokeh, in Matplotlib, and as a path."""

    colour: str
    marker: str
    marker_matplotlib: str
    path: str
    is_hollow: bool


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return the look of each name; `family-1` and `family-2` are drawn alike, 36 families are told apart."""
    found: dict[str, Look] = {}
    families: dict[str, int] = {}
    for name in dict.fromkeys(names):
        if name == BASELINE or name in REFERENCE_STRATEGIES:
            found[name] = Look(NEUTRAL, *MARKERS[{"tfidf": 1, LONGER: 2}.get(name, 0)], name != BASELINE)
            continue
        number = families.setdefault(family_of(name), len(families))
        lap = number // len(COLOURS)
        marker = MARKERS[(number + lap) % len(MARKERS)]
        found[name] = Look(COLOURS[number % len(COLOURS)], *marker, False)
    return found


def family_of(name: str) -> str:
    """Return `depth` for `depth-2`, and any other name as it is."""
    named = FAMILY.fullmatch(name)
    return named["family"] if named else name

"""The pictures of a study: what texts bring by degree and by history, and quality against cost."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..files import atomic_path
from .claims import ITEMS, USERS, group_changes
from .config import FIRST
from .statistics import Estimate
from .summary import Form, Summary

COLOURS = {
    "none": "#777777",
    "real": "#0b6e99",
    "titles": "#5aa469",
    "views": "#8d5a97",
    "narrow": "#00a6a6",
    "permuted": "#d1495b",
    "noise": "#edae49",
}
MARKERS = "osD^vP*X<>hdp8H"
MODELS = ("#0b6e99", "#d1495b", "#5aa469", "#8d5a97", "#e07a1f", "#3d405b", "#00a6a6", "#b5838d")
Place = tuple[str, str]


def draw(summary: Summary, folder: Path) -> dict[str, str]:
    """Draws what there is to draw.

    Args:
        summary (Summary): What is finished.
        folder (Path): Where the pictures go.

    Returns:
        Files by title; none where matplotlib is missing.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        return {}
    mpl.use("Agg")
    found = {}
    for title, file, figure in (
        ("What texts bring, by degree of item and history of user", "gain.png", _gains(summary)),
        ("Quality against cost", "cost.png", _costs(summary)),
    ):
        if figure is not None:
            with atomic_path(folder / file) as temporary:
                figure.savefig(temporary, dpi=120, bbox_inches="tight", format="png")
            found[title] = file
    return found


def _grid(rows: int, columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * columns, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _places(forms: Iterable[Form]) -> list[Place]:
    return list(dict.fromkeys((form.data, form.setting) for form in forms))


def _models(summary: Summary) -> list[str]:
    return list(dict.fromkeys(form.model for form in summary.forms))


def _gains(summary: Summary) -> Any:
    """A row for each data set and setting; the change by real and by permuted texts."""
    by_name = {form[:4]: form for form in summary.forms}
    pairs = [
        (form, by_name[*form[:3], "none"])
        for form in summary.forms
        if form.text in ("real", "permuted") and (*form[:3], "none") in by_name
    ]
    if not (places := _places(form for form, _ in pairs)):
        return None
    models = _models(summary)
    figure, axes = _grid(len(places), 2)
    for row, place in zip(axes, places, strict=True):
        own = [pair for pair in pairs if pair[0][:2] == place]
        for axis, where in zip(row, (ITEMS, USERS), strict=True):
            groups = 2
            for at, (form, none) in enumerate(own):
                shift = (at - (len(own) - 1) / 2) * 0.3 / len(own)
                changes = group_changes(summary, form, none, where)
                values = {group: _share(*pair) for group, pair in changes.items() if pair[1] > 0}
                _line(axis, form, values, shift, models.index(form.model))
                groups = max([groups, *changes])
            axis.axhline(0, color="black", linewidth=0.8)
            axis.set_xlim(0.6, groups + 0.4)
            axis.set_xticks(range(1, groups + 1), ["fewest", *[""] * (groups - 2), "most"])
            cold = place[1] == "cold_items"
            degree = "held-out interactions of the item" if cold else "degree of item"
            axis.set_xlabel(degree if where == ITEMS else "history of user")
            metric = "recall@20" if where == ITEMS else FIRST[place[1]]
            axis.set_ylabel(f"{metric}, change by text")
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:+.0%}" if value else "0")
            axis.set_title(", ".join(place), fontsize=10)
        row[1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _share(change: Estimate, base: float) -> Estimate:
    return Estimate(change.mean / base, change.low / base, change.high / base, change.pvalue)


def _line(axis: Any, form: Form, values: dict[int, Estimate], shift: float, at: int) -> None:
    found = list(values.values())
    line = axis.errorbar(
        [group + shift for group in values],
        [one.mean for one in found],
        _whiskers(found),
        color=MODELS[at % len(MODELS)],
        marker=MARKERS[at % len(MARKERS)],
        markersize=5,
        markerfacecolor=None if form.text == "real" else "white",
        linestyle="-" if form.text == "real" else ":",
        linewidth=1.2,
        capsize=2,
        label=form.words,
    )
    for bar in line[2]:
        bar.set_alpha(0.5)


def _costs(summary: Summary) -> Any:
    """A panel for each data set and setting: the first metric against the seconds of a fit."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator

    if not (places := _places(summary.forms)):
        return None
    models, columns = _models(summary), min(3, len(places))
    figure, axes = _grid(-(-len(places) // columns), columns)
    for axis, place in zip(axes.flat, places, strict=False):
        for form in summary.forms:
            if form[:2] == place:
                found = summary.estimate(form, FIRST[place[1]])
                axis.errorbar(
                    summary.runs(form)["fit_seconds"].median(),
                    found.mean,
                    _whiskers([found]),
                    color=COLOURS[form.text],
                    marker=MARKERS[models.index(form.model) % len(MARKERS)],
                    elinewidth=0.6,
                )
        axis.set_xscale("log")
        least, most = axis.get_xlim()
        axis.xaxis.set_major_locator(LogLocator(subs=(1,) if most > 50 * least else (1, 2, 5)))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(lambda value, _: "")
        axis.set_xlabel("seconds of a fit")
        axis.set_ylabel(FIRST[place[1]])
        axis.set_title(", ".join(place), fontsize=10)
    for axis in axes.flat[len(places) :]:
        axis.set_visible(False)
    kinds = [text for text in COLOURS if any(form.text == text for form in summary.forms)]
    key = [Line2D([], [], color=COLOURS[text], linewidth=4, label=f"text {text}") for text in kinds]
    key += [
        Line2D([], [], color="black", marker=MARKERS[at % len(MARKERS)], ls="", label=model)
        for at, model in enumerate(models)
    ]
    figure.legend(handles=key, loc="outside right center", fontsize=8, frameon=False)
    return figure


def _whiskers(found: Sequence[Estimate]) -> list[list[float]]:
    """How far each interval reaches below and above its mean."""
    return [[one.mean - one.low for one in found], [one.high - one.mean for one in found]]

"""The pictures of a study: what texts bring by degree and by history, and quality against cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files import atomic_path
from .config import FIRST
from .statistics import Estimate
from .summary import Form, Summary

# Kinds of text by colour; models by marker or line.
COLOURS = {
    "none": "#777777",
    "real": "#0b6e99",
    "titles": "#5aa469",
    "permuted": "#d1495b",
    "noise": "#edae49",
}
MARKERS = "osD^vP*X<>hd"


def draw(summary: Summary, folder: Path, groups: int) -> dict[str, str]:
    """Draws what there is to draw.

    Args:
        summary (Summary): What is finished.
        folder (Path): Where the pictures go.
        groups (int): Groups by degree and by history.

    Returns:
        Files by title.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    found = {}
    for title, file, make in (
        ("What texts bring, by degree of item and history of user", "gain.png", _gains),
        ("Quality against cost", "cost.png", _costs),
    ):
        if (figure := make(summary, groups)) is not None:
            with atomic_path(folder / file) as temporary:
                figure.savefig(temporary, dpi=120, bbox_inches="tight", format="png")
            found[title] = file
    return found


def _places(summary: Summary) -> list[tuple[str, str]]:
    return list(dict.fromkeys((form.data, form.setting) for form in summary.forms))


def _grid(rows: int, columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _gains(summary: Summary, groups: int) -> Any:
    """A row for each data set and setting; real and permuted against none, with intervals."""
    places = [place for place in _places(summary) if any(_against_none(summary, place))]
    if not places:
        return None
    figure, axes = _grid(len(places), 2)
    for row, place in zip(axes, places, strict=True):
        for axis, where in zip(row, ("items", "users"), strict=True):
            found = [
                (ours, values)
                for ours, theirs in _against_none(summary, place)
                if (values := _by_group(summary, ours, theirs, where, groups))
            ]
            for at, (ours, values) in enumerate(found):
                _line(axis, ours, values, (at - (len(found) - 1) / 2) * 0.6 / max(1, len(found)))
            axis.axhline(0, color="black", linewidth=0.8)
            axis.set_xticks(range(1, groups + 1), _labels(groups))
            axis.set_xlabel("degree of item" if where == "items" else "history of user")
            metric = "recall@20" if where == "items" else FIRST[place[1]]
            axis.set_ylabel(f"{metric}, change by text")
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:+.0%}")
            axis.set_title(", ".join(place), fontsize=10)
        if row[0].lines:
            row[1].legend(*row[0].get_legend_handles_labels(), fontsize=7, frameon=False)
    return figure


def _against_none(summary: Summary, place: tuple[str, str]) -> Iterator[tuple[Form, Form]]:
    by_name = {form[:4]: form for form in summary.forms}
    for form in summary.forms:
        none = by_name.get((*form[:3], "none"))
        if form[:2] == place and form.text in ("real", "permuted") and none is not None:
            yield form, none


def _by_group(
    summary: Summary, ours: Form, theirs: Form, where: str, groups: int
) -> dict[int, Estimate]:
    """The change in each group, as a share of what the arm without text has there."""
    found = {}
    for group in range(1, groups + 1):
        if where == "items":
            pair = summary.difference(ours, theirs, f"recall@20 items {group}")
        else:
            metric = FIRST[ours.setting]
            pair = summary.difference(ours, theirs, metric, {"history_group": group})
        if pair is not None and pair[1] > 0:
            one, base = pair
            share = Estimate(one.mean / base, one.low / base, one.high / base, one.pvalue)
            found[group] = share
    return found


def _line(axis: Any, form: Form, values: dict[int, Estimate], shift: float) -> None:
    place = [group + shift for group in values]
    mean = [one.mean for one in values.values()]
    low = [one.mean - one.low for one in values.values()]
    high = [one.high - one.mean for one in values.values()]
    axis.errorbar(
        place,
        mean,
        [low, high],
        color=COLOURS[form.text],
        marker=_marker(form.model),
        markersize=5,
        linewidth=1,
        capsize=2,
        label=form.words,
    )


def _costs(summary: Summary, groups: int) -> Any:
    """A panel for each data set and setting: the first metric against the seconds of a fit."""
    places = _places(summary)
    if not places:
        return None
    columns = min(3, len(places))
    figure, axes = _grid(-(-len(places) // columns), columns)
    for axis, place in zip(axes.flat, places, strict=False):
        for form in summary.forms:
            if form[:2] != place:
                continue
            found = summary.estimate(form, FIRST[place[1]])
            seconds = summary.runs(form)["fit_seconds"].median()
            axis.errorbar(
                seconds,
                found.mean,
                [[found.mean - found.low], [found.high - found.mean]],
                color=COLOURS[form.text],
                marker=_marker(form.model),
                capsize=2,
                linestyle="",
                label=form.words,
            )
        axis.set_xscale("log")
        axis.set_xlabel("seconds of a fit")
        axis.set_ylabel(FIRST[place[1]])
        axis.set_title(", ".join(place), fontsize=10)
        axis.legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    for axis in axes.flat[len(places) :]:
        axis.set_visible(False)
    return figure


def _marker(model: str) -> str:
    return MARKERS[sum(map(ord, model)) % len(MARKERS)]


def _labels(groups: int) -> list[str]:
    return ["fewest", *[""] * (groups - 2), "most"]

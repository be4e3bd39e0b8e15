"""The picture on the first page: what texts bring, by data set.

``python docs/tools/picture.py [FILE]`` writes docs/gain.svg from benchmarks/results/texts.
"""

import sys
from pathlib import Path

import matplotlib
from figures import DOCS, read
from matplotlib import pyplot
from matplotlib.axes import Axes

SETS = {
    "amazon_titles": "books, by title",
    "steam": "games, by title and tags",
    "citeulike_t": "articles, by words and tags",
    "xrec_yelp": "places, by texts of an LLM",
}
INK, LIGHT, TEXT, BAR = "#1b1b1b", "#8a8a8a", "#0b6e8a", "#7fbccd"
MODEL, KNOWN, NEW = "tale", "ndcg@20", "recall@20"


def known_items(axes: Axes) -> None:
    """Change of ndcg@20 with real and with permuted texts, in percent with its interval."""
    rows = {
        (row["data"], row["text"]): [
            100 * float(row[name]) / float(row["reference"])
            for name in ("difference", "low", "high")
        ]
        for row in read("texts/comparisons.csv")
        if (row["model"], row["against"], row["against_text"]) == (MODEL, MODEL, "none")
        and (row["setting"], row["metric"]) == ("warm", KNOWN)
    }
    axes.axvline(0, color=INK, linewidth=0.8)
    for place, data in enumerate(SETS):
        for text, shift, marker, colour, name in (
            ("real", 0.13, "o", TEXT, "its texts"),
            ("permuted", -0.17, "x", LIGHT, "texts of other items"),
        ):
            change, low, high = rows[data, text]
            label = name if place == 0 else None
            axes.plot([low, high], [place - shift] * 2, color=colour, linewidth=2)
            axes.plot(change, place - shift, marker, color=colour, markersize=7, label=label)
            if text == "real":
                where = (high + 0.7, place - shift)
                axes.annotate(f"{change:+.1f} %", where, va="center", color=INK)
    axes.set_title("Lists of known items: change of ndcg@20\nagainst the same model without texts")
    axes.set_xlim(-13, 26)
    axes.set_xticks(range(-10, 21, 10))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f} %" if value else "0")
    axes.legend(frameon=False, loc="lower right", fontsize=9)


def new_items(axes: Axes) -> None:
    """recall@20 of items that nobody has touched, by popularity and by texts."""
    found = {
        (row["data"], row["model"], row["text"]): float(row["mean"])
        for row in read("texts/summary.csv")
        if (row["setting"], row["metric"]) == ("cold_items", NEW)
    }
    for place, data in enumerate(SETS):
        recall = found[data, MODEL, "real"]
        axes.barh(place, recall, 0.5, color=BAR)
        axes.annotate(f"{recall:.2f}", (recall + 0.008, place), va="center", color=INK)
        without = found.get((data, "popularity", "none"))
        if without is not None:
            label = "popularity (of two sets)" if place == 0 else None
            axes.plot([without] * 2, [place - 0.32, place + 0.32], "k--", lw=1.6, label=label)
    axes.set_title("New items that nobody has touched:\nrecall@20 by their texts")
    axes.set_xlim(0, 0.5)
    axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.62), fontsize=9)


def draw(path: Path) -> None:
    """Writes the picture; text stays text, and the file is the same each time."""
    matplotlib.use("Agg")
    style = {"svg.fonttype": "none", "svg.hashsalt": "gain", "font.family": "sans-serif"}
    with pyplot.rc_context(style):
        figure, panels = pyplot.subplots(1, 2, figsize=(10, 3.4), sharey=True)
        for axes, panel in zip(panels, (known_items, new_items), strict=True):
            panel(axes)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(left=False)
            axes.title.set_fontsize(11)
            axes.title.set_fontweight("bold")
        panels[0].set_yticks(range(len(SETS)), SETS.values())
        panels[0].set_ylim(len(SETS) - 0.4, -0.6)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None}, facecolor="white")
        pyplot.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "gain.svg")

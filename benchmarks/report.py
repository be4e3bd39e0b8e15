"""Turns the results of runs into JSON, a Markdown table and a picture."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import significance

from irllrec_pyg.files import write_text
from irllrec_pyg.ranking import LIST_METRICS

PUBLISHED = Path(__file__).parent / "published_results.csv"
FIRST_METRIC = "recall@20"  # early stopping watches it
SYNTHETIC = (
    "The sample set is synthetic: these figures show that the code works, nothing about "
    "the methods."
)
HOW_TESTED = (
    "two-sided tests. Over users: pairs of the same user, values averaged over the seeds. Over "
    "seeds: Welch's test without pairs. In brackets: corrected by Holm over the rows of the column."
)


def pyplot() -> Any:
    r"""The ``pyplot`` of matplotlib, without a display; where matplotlib is missing, ``None`` and a
    line that says so.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        print("\nno picture: pip install matplotlib")
        return None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def published(model: str, dataset: str) -> dict[str, float]:
    """What RLMRec's paper prints for a model (Table 1, mean of five seeds), or nothing."""
    with PUBLISHED.open() as file:
        for row in csv.DictReader(file):
            if (row["model"], row["dataset"]) == (model, dataset):
                return {key: float(value) for key, value in row.items() if "@" in key}
    return {}


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table, one row a model: mean ± deviation over the seeds, the printed value and
    the gap between both.
    """
    metrics = columns(results)
    lines = [["model", "seeds", *metrics, "best epoch", "s/epoch"]]
    for model in dict.fromkeys(result["model"] for result in results):
        runs = [result for result in results if result["model"] == model]
        printed = published(model, runs[0]["dataset"])
        trained = "best_epoch" in runs[0]  # a baseline has neither seed nor epochs
        row = [" ".join([model, *settings(runs[0])]), str(len(runs)) if trained else "–"]
        for metric in metrics:
            if metric not in runs[0]["test"]:
                row.append("–")
                continue
            values = np.array([result["test"][metric] for result in runs])
            cell = f"{values.mean():.4f}"
            if len(runs) > 1:
                cell += f" ± {values.std(ddof=1):.4f}"
            if metric in printed:
                gap = values.mean() / printed[metric] - 1
                cell += f" (printed {printed[metric]:.4f}, {gap:+.1%})"
            row.append(cell)
        row.append(", ".join(str(result["best_epoch"]) for result in runs) if trained else "–")
        row.append(
            f"{np.median([result['seconds_per_epoch'] for result in runs]):.2f}"
            if trained
            else f"{runs[0]['seconds']:.1f} s in all"
        )
        lines.append(row)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    return "\n".join(
        [text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]]
    )


def columns(results: list[dict[str, Any]]) -> list[str]:
    """The metrics of any run, each with its lists from the shortest to the longest."""
    found = dict.fromkeys(metric for result in results for metric in result["test"])
    names = list(dict.fromkeys(metric.split("@")[0] for metric in found))
    return sorted(
        found, key=lambda metric: (names.index(metric.split("@")[0]), int(metric.split("@")[1]))
    )


def best_rows(results: list[dict[str, Any]]) -> str:
    """A sentence on which row is best, and by which metrics another one is; of metrics that every
    row has.
    """
    means = (
        pd.DataFrame([{"model": result["model"], **result["test"]} for result in results])
        .groupby("model", sort=False)
        .mean()
        .dropna(axis=1)
    )
    if FIRST_METRIC not in means or len(means) < 2:
        return ""
    first = means[FIRST_METRIC].idxmax()
    others: dict[str, list[str]] = {}
    for metric in filter(means.columns.__contains__, columns(results)):
        best = means[metric].idxmax()
        if best != first and metric.split("@")[0] not in LIST_METRICS:
            others.setdefault(best, []).append(metric)
    text = f"The first metric is {FIRST_METRIC}: by it {first} is best"
    disagree = "; ".join(f"by {', '.join(names)} {best} is" for best, names in others.items())
    return f"{text}; {disagree}." if others else f"{text}, as by every other metric here."


def settings(result: dict[str, Any]) -> list[str]:
    """What was chosen for a baseline, in words; a model's hyper-parameters are too many."""
    chosen = {} if "best_epoch" in result else result["hyperparameters"]
    return [f"{name}={value:g}" for name, value in chosen.items()]


def curves(results: list[dict[str, Any]], path: Path, metric: str = FIRST_METRIC) -> bool:
    """Draws validation metric and training loss over the epochs, one line a run; says whether
    matplotlib is there.
    """
    plt = pyplot()
    if plt is None:
        return False
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    colors = {
        model: f"C{at}"
        for at, model in enumerate(dict.fromkeys(result["model"] for result in results))
    }
    named: set[str] = set()
    for result in results:
        history = pd.DataFrame(result["history"], dtype=float)
        label = None if result["model"] in named else result["model"]
        named.add(result["model"])
        color = colors[result["model"]]
        if metric in history:
            evaluated = history.dropna(subset=[metric])
            axes[0].plot(evaluated["epoch"], evaluated[metric], color=color, label=label)
            axes[0].axvline(result["best_epoch"], color=color, lw=0.7, ls=":")
        axes[1].plot(history["epoch"], history["loss"], color=color, label=label)
    for axis, title in zip(axes, (f"validation {metric}", "training loss"), strict=True):
        axis.set(xlabel="epoch", title=title)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    note = " (synthetic)" if results[0]["synthetic"] else ""
    figure.suptitle(results[0]["dataset"] + note)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def earlier(folder: Path) -> list[dict[str, Any]]:
    """What earlier commands left in the folder."""
    file = folder / "results.json"
    try:
        results: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    except ValueError as error:
        raise SystemExit(f"{file} is damaged ({error}): move it away.") from None
    return results


def merge(results: list[dict[str, Any]], old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Old runs of models that were not run again, and the new runs; baselines come first.

    An old comparison with a model that was run again is left out: it was with other runs.
    """
    new = {result["model"] for result in results}
    kept = [result for result in old if result["model"] not in new]
    for result in kept:
        if new & {row["against"] for row in result.get("comparison", ())}:
            del result["comparison"]
    return sorted([*kept, *results], key=lambda result: "best_epoch" in result)


def write(
    results: list[dict[str, Any]], folder: Path, comparison: pd.DataFrame | None = None
) -> None:
    """Adds runs to those in the folder; prints the table and writes ``results.json``,
    ``results.md`` and, where something was trained, ``curves.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if comparison is not None:
        for model, rows in comparison.groupby("model"):
            first = next(result for result in results if result["model"] == model)
            first["comparison"] = compact(rows.to_dict("records"))
    results = merge(results, earlier(folder))
    text = [table(results), *filter(None, [best_rows(results)])]
    compared = pd.DataFrame([row for result in results for row in result.get("comparison", ())])
    for against, rows in compared.groupby("against", sort=False) if len(compared) else ():
        text += [f"Against {against}, in {HOW_TESTED}", significance.markdown(rows)]
    if results[0]["synthetic"]:
        text += [SYNTHETIC]
    print("\n" + "\n\n".join(text))
    commands = dict.fromkeys(result["command"] for result in results)
    text = [f"# {results[0]['dataset']}", *(f"`{command}`" for command in commands), *text]
    lines = ",\n".join(json.dumps(compact(result)) for result in results)  # one run a line
    write_text(folder / "results.json", f"[\n{lines}\n]\n")
    write_text(folder / "results.md", "\n\n".join(text) + "\n")
    trained = [result for result in results if "history" in result]
    drawn = bool(trained) and curves(trained, folder / "curves.png")
    print(f"\nwritten: {folder / 'results.md'}, results.json{', curves.png' if drawn else ''}")


def compact(value: Any, digits: int = 6) -> Any:
    """Rounds floats to so many digits and leaves gaps in curves as null, which JSON knows."""
    if isinstance(value, float):
        return None if np.isnan(value) else float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: compact(item, digits) for key, item in value.items()}
    return [compact(item, digits) for item in value] if isinstance(value, list) else value

"""Turns the results of runs into JSON, a Markdown table and a picture."""

import csv
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from significance import markdown

from irllrec_pyg.files import write_text

PUBLISHED = Path(__file__).parent / "published_results.csv"
SYNTHETIC = ("The sample set is synthetic: these figures show that the code works, nothing about "
             "the methods.")


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
    metrics = list(results[0]["test"])
    lines = [["model", "seeds", *metrics, "best epoch", "s/epoch"]]
    for model in dict.fromkeys(result["model"] for result in results):
        runs = [result for result in results if result["model"] == model]
        printed = published(model, runs[0]["dataset"])
        trained = "best_epoch" in runs[0]  # a baseline has neither seed nor epochs
        row = [" ".join([model, *settings(runs[0])]), str(len(runs)) if trained else "–"]
        for metric in metrics:
            values = np.array([result["test"][metric] for result in runs])
            cell = f"{values.mean():.4f}"
            if len(runs) > 1:
                cell += f" ± {values.std(ddof=1):.4f}"
            if metric in printed:
                gap = values.mean() / printed[metric] - 1
                cell += f" (printed {printed[metric]:.4f}, {gap:+.1%})"
            row.append(cell)
        row.append(", ".join(str(result["best_epoch"]) for result in runs) if trained else "–")
        row.append(f"{np.median([result['seconds_per_epoch'] for result in runs]):.2f}"
                   if trained else f"{runs[0]['seconds']:.1f} s in all")
        lines.append(row)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            + " |" for line in lines]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|",
                      *text[1:]])


def settings(result: dict[str, Any]) -> list[str]:
    """What was chosen for a baseline, in words; a model's hyper-parameters are too many."""
    chosen = {} if "best_epoch" in result else result["hyperparameters"]
    return [f"{name}={value:g}" for name, value in chosen.items()]


def curves(results: list[dict[str, Any]], path: Path, metric: str = "recall@20") -> None:
    """Draws validation metric and training loss over the epochs, one line a run."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    colors = {model: f"C{at}" for at, model in
              enumerate(dict.fromkeys(result["model"] for result in results))}
    for result in results:
        history = pd.DataFrame(result["history"])
        label = result["model"] if result["seed"] == results[0]["seed"] else None
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


def write(results: list[dict[str, Any]], folder: Path,
          comparison: pd.DataFrame | None = None) -> None:
    """Prints the table and writes ``results.json``, ``results.md`` and, where something was
    trained, ``curves.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = results[0]["dataset"]
    text = [f"# {name}", "", f"`{results[0]['command']}`", "", table(results)]
    if comparison is not None:
        text += ["", f"Against {comparison['against'].iloc[0]}, in paired two-sided tests:", "",
                 markdown(comparison)]
    if results[0]["synthetic"]:
        text += ["", SYNTHETIC]
    lines = ",\n".join(json.dumps(compact(result)) for result in results)  # one run a line
    write_text(folder / "results.json", f"[\n{lines}\n]\n")
    write_text(folder / "results.md", "\n".join(text) + "\n")
    trained = [result for result in results if "history" in result]
    if trained:
        curves(trained, folder / "curves.png")
    print("\n" + "\n".join(text[4:]))
    print(f"\nwritten: {folder / 'results.md'}, results.json{', curves.png' if trained else ''}")


def compact(value: Any) -> Any:
    """Rounds floats to six digits and leaves gaps in curves as null, which JSON knows."""
    if isinstance(value, float):
        return None if np.isnan(value) else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: compact(item) for key, item in value.items()}
    return [compact(item) for item in value] if isinstance(value, list) else value

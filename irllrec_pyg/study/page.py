"""The page of a study: what was asked, what came out, and what disagrees."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .claims import group_lines, noise_lines
from .config import FIRST, LENGTHS, TUNED_BY, TUNING_SPLIT, StudyConfig
from .inputs import TEXTS
from .measure import FULL
from .summary import BEST, Form, Summary

WHERE = {
    "warm": "every user's interactions are split at random; all items are ranked but those of "
    "training",
    "cold_items": "whole items are held out with all their interactions, and ranked among "
    "themselves",
    "cold_users": "whole users are held out; half of the items of each are the history by which "
    "the others are ranked",
    **{
        f"noisy_{percent}": f"as warm, with {percent} % random interactions added to training"
        for percent in (5, 10, 25)
    },
    "given": "the split that the data set comes with, reported on its test items after tuning on "
    "its validation items; no other is drawn, and intervals are over users alone",
}


def asked(rules: StudyConfig, forms: list[Form]) -> str:
    """What is written before the first trial."""
    settings = list(dict.fromkeys(form.setting for form in forms))
    texts = list(dict.fromkeys(form.text for form in forms))
    lines = ["# Who gains what from texts, and where", "", "## What is asked", ""]
    lines += [
        f"- `{setting}`: {WHERE[setting]}. The first metric is **{FIRST[setting]}**."
        for setting in settings
    ]
    budget = f"{rules.trials} trials"
    if rules.seconds is not None:
        budget += f" or {rules.seconds:g} seconds, whichever ends first"
    first, last = TUNING_SPLIT + 1, TUNING_SPLIT + rules.splits
    lines += [
        f"- Every arm is tuned on its own with the same budget: {budget}, by Optuna's TPE on "
        f"validation {TUNED_BY} of split {TUNING_SPLIT}. A range whose end looks best is widened.",
        f"- Reported are splits {first} to {last}, re-drawn from the same interactions, with the "
        f"settings of split {TUNING_SPLIT}, which is not among them; {rules.seeds} seeds on each "
        "where a model is random, none of them the seed of the tuning. Arms with fewer splits or "
        "seeds show it in their row.",
        "- Intervals are of 95 %, with users and splits as random effects. Verdicts are by the "
        "first metric: *gain* or *loss* where the p-value, corrected by Holm over all verdicts on "
        f"this page, is below .05; *no difference* where the interval lies within "
        f"±{rules.margin:.0%} of what is compared with, whatever the p-value; else *undecided*.",
        f"- Data: {rules.k_core}-core, shares {' / '.join(f'{s:g}' for s in rules.shares)}, "
        f"encoder {rules.encoder}"
        + (f", {rules.text_rank} principal components" if rules.text_rank else "")
        + (f"; views {', '.join(rules.views or ())}" if "views" in texts else "")
        + (f"; narrow texts are {rules.narrow} wide." if "narrow" in texts else "."),
        "",
        "Kinds of text: " + "; ".join(f"*{text}*, {TEXTS[text]}" for text in texts) + ".",
        "",
    ]
    return "\n".join(lines)


def page(
    rules: StudyConfig,
    forms: list[Form],
    summary: Summary,
    pictures: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame],
) -> str:
    """The whole page.

    Args:
        rules (StudyConfig): The rules.
        forms (list of Form): Every arm, also those without results.
        summary (Summary): What is finished.
        pictures (mapping): Files by title.
        tables (mapping): ``groups`` and ``noise``.
    """
    compared = summary.comparisons()
    lines = [asked(rules, forms), "## Verdicts", ""]
    lines += _verdicts(compared)
    if summary.forms:
        lines += ["## What disagrees", "", *_disagreements(summary, compared), ""]
        for title, file in pictures.items():
            lines += [f"![{title}]({file})", ""]
        lines += group_lines(tables["groups"]) + noise_lines(tables["noise"])
        lines += ["## Every arm", ""]
        for data, setting in dict.fromkeys((form.data, form.setting) for form in summary.forms):
            lines += [f"### {data}, {setting}", "", *_means(summary, data, setting), ""]
        lines += ["## What was chosen", "", *_chosen(summary), ""]
    if summary.missing:
        lines += ["## What has no result", ""]
        lines += [
            f"- {form.data}, {form.setting}, {form.words}: {summary.failure(form)}"
            for form in summary.missing
        ]
        lines.append("")
    if summary.damaged:
        lines += ["## What is damaged", "", *(f"- {text}" for text in summary.damaged), ""]
    return "\n".join([*lines, *_origin(summary)])


def _verdicts(compared: pd.DataFrame) -> list[str]:
    if compared.empty:
        return ["Nothing can be compared yet.", ""]
    lines = []
    for (data, setting), own in compared[compared["first"]].groupby(
        ["data", "setting"], sort=False
    ):
        lines += [
            f"**{data}, {setting}** ({FIRST[str(setting)]})",
            "",
            "| question | arm | against | difference (95 %) | relative | p (Holm) | verdict |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in own.to_dict("records"):
            question = (
                "best with text, best without" if row["question"] == BEST else row["question"]
            )
            relative = [row[name] / row["reference"] for name in ("difference", "low", "high")]
            lines.append(
                f"| {question} | {row['model']}, {row['text']} | {row['against']}, "
                f"{row['against_text']} | {row['difference']:+.4f} | {relative[0]:+.1%} "
                f"({relative[1]:+.1%} to {relative[2]:+.1%}) | {row['p']:.2g} "
                f"({row['p_holm']:.2g}) | **{row['verdict']}** |"
            )
        lines.append("")
        if (own["first"] & (own["reference"] == 1)).any():
            lines += [f"{FIRST[str(setting)]} of 1 says nothing: lists hold every candidate.", ""]
    return lines


def _disagreements(summary: Summary, compared: pd.DataFrame) -> list[str]:
    """Where another metric says the opposite, and where validation chose another arm than test."""
    lines = []
    if not compared.empty:
        keys = ["data", "setting", "model", "text", "against", "against_text", "question"]
        for _, own in compared.groupby(keys, sort=False):
            first = own[own["first"]].iloc[0]
            sign = {"gain": 1, "loss": -1}.get(first["verdict"], 0)
            beyond = own[own["low"] * own["high"] > 0]
            against = beyond[np.sign(beyond["difference"]) != sign]
            others = [
                f"{row['metric']} {row['difference'] / row['reference']:+.1%}"
                for row in against.to_dict("records")
                if row["reference"] > 0 and not row["first"]
            ]
            if others:
                lines.append(
                    f"- {first['data']}, {first['setting']}, {first['model']} {first['text']} "
                    f"against {first['against']} {first['against_text']}: {first['verdict']} "
                    f"by {first['metric']}; but {', '.join(others)} (intervals beyond zero, not "
                    "corrected)."
                )
    for data, setting in dict.fromkeys((form.data, form.setting) for form in summary.forms):
        if (chosen := summary.best(data, setting)) is None:
            continue
        for form in chosen:
            ranked = [
                (summary.estimate(other, FIRST[setting]).mean, other)
                for other in summary.forms
                if (other.data, other.setting, other.text) == (data, setting, form.text)
            ]
            value, better = max(ranked, key=lambda pair: pair[0])
            mean = summary.estimate(form, FIRST[setting]).mean
            if better.path != form.path:
                lines.append(
                    f"- {data}, {setting}, text {form.text}: validation chose {form.model} "
                    f"({mean:.4f} on test); {better.model} has {value:.4f}."
                )
    return lines or ["Nothing: every metric agrees, and validation chose what test ranks first."]


def _means(summary: Summary, data: str, setting: str) -> list[str]:
    own = [form for form in summary.forms if (form.data, form.setting) == (data, setting)]
    names = [FIRST[setting]]
    names += [f"{name}@{top}" for name in ("recall", "ndcg") for top in LENGTHS]
    names += ["coverage@20"]
    if setting == "cold_items":
        names += [f"recall@20{FULL}", f"ndcg@20{FULL}"]
    names = list(dict.fromkeys(names))
    best = {name: max(summary.estimate(form, name).mean for form in own) for name in names}
    lines = [
        f"| model | text | {names[0]} (95 %) | {' | '.join(names[1:])} | splits × seeds | fit s | "
        "tuning s |",
        "|---" * (len(names) + 5) + "|",
    ]
    for form in sorted(own, key=lambda form: -summary.estimate(form, names[0]).mean):
        runs = summary.runs(form)
        found = [summary.estimate(form, name) for name in names]
        cells = [f"{one.mean:.4f}" for one in found]
        cells = [
            f"**{cell}**" if one.mean == best[name] else cell
            for cell, one, name in zip(cells, found, names, strict=True)
        ]
        cells[0] += f" ({found[0].low:.4f} to {found[0].high:.4f})"
        lines.append(
            f"| {form.model} | {form.text} | {' | '.join(cells)} | {runs['split'].nunique()} × "
            f"{runs['seed'].nunique()} | {runs['fit_seconds'].median():.1f} | "
            f"{runs['tuning_seconds'].iloc[0]:.0f} |"
        )
    return lines


def _chosen(summary: Summary) -> list[str]:
    lines = ["| arm | settings | validation | trials |", "|---|---|---|---|"]
    edges = []
    for form in {form.path: form for form in summary.forms}.values():
        if not (tuning := summary.tuning(form)):
            continue  # damaged
        words = f"{form.data}, {form.setting}, {form.words}"
        chosen = ", ".join(f"{path} {_number(v)}" for path, v in tuning["settings"].items())
        lines.append(f"| {words} | {chosen or '–'} | {tuning['value']:.4f} | {tuning['trials']} |")
        edges += [
            f"- {words}: {path} = {_number(tuning['settings'][path])} is as far as the search went."
            for path in tuning["edges"]
        ]
    note = ["", "Best values at the edge of what was searched:", "", *edges] if edges else []
    return [*lines, *note]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _origin(summary: Summary) -> list[str]:
    if summary.rows.empty:
        return []
    rows = summary.rows
    commits = ", ".join(sorted({str(commit)[:12] for commit in rows["commit"]}))
    lines = ["## Where it comes from", "", f"Commit {commits}."]
    if rows["dirty"].fillna(False).astype(bool).any():
        lines.append("Some rows were made by code that was not committed.")
    lines += [
        f"Made on {', '.join(sorted(set(rows['device'])))}; fits took "
        f"{rows['fit_seconds'].sum():.0f} seconds in all. Values of each user are beside each run "
        "in `units/`, every trial is in `tuning/` and in the `tuning.json` of its arm, all rows "
        "with data hash, encoder and characters of text (about four make a token) are in "
        "`results.parquet`.",
        "",
    ]
    return lines

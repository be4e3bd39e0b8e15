"""What is claimed of texts, tested: for users with few interactions and rare items, and where
training holds random interactions.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .config import FIRST
from .inputs import SPLITS
from .statistics import Estimate, crossed_mean
from .summary import AGAINST, QUESTIONS, Form, Summary

ITEMS, USERS = "items by degree", "users by history"
ITEM_METRIC = "recall@20"  # of the relevant items of a group alone
CLEAN = "warm"  # the setting that those with random interactions are held against
#: Questions whose groups stand on the page; the table has all of them.
SHOWN = (QUESTIONS["real", "none"], QUESTIONS["views", "real"], AGAINST)


def group_changes(
    summary: Summary, ours: Form, theirs: Form, where: str
) -> dict[int, tuple[Estimate, float]]:
    """The difference of two arms in each group, and the mean of the second one there.

    Args:
        summary (Summary): What is finished.
        ours, theirs (Form): The arms.
        where (str): ``ITEMS`` or ``USERS``.
    """
    values = summary.values(ours.path)
    if where == USERS:
        groups = sorted(values["history_group"].unique())
        asked = {at: (FIRST[ours.setting], {"history_group": at}) for at in groups}
    else:
        own = [str(name) for name in values if str(name).startswith(f"{ITEM_METRIC} items ")]
        asked = {int(name.rpartition(" ")[2]): (name, {}) for name in own}
    found = {at: summary.difference(ours, theirs, *how) for at, how in asked.items()}
    return {int(at): pair for at, pair in found.items() if pair is not None}


def by_group(summary: Summary) -> pd.DataFrame:
    """Every comparison by groups of users by history and of items by degree, the fewest first;
    p-values are not corrected.
    """
    rows = []
    for question, ours, theirs in summary.pairs():
        history = summary.values(ours.path).groupby("history_group")["history"]
        for where in (USERS, ITEMS):
            for group, (change, reference) in group_changes(summary, ours, theirs, where).items():
                users = where == USERS
                rows.append(
                    {
                        **ours.against_names(theirs, question),
                        "groups": where,
                        "group": group,
                        "least": history.min()[group] if users else None,
                        "most": history.max()[group] if users else None,
                        "metric": FIRST[ours.setting] if users else ITEM_METRIC,
                        "difference": change.mean,
                        "low": change.low,
                        "high": change.high,
                        "reference": reference,
                        "p": change.pvalue,
                    }
                )
    return pd.DataFrame(rows)


def under_noise(summary: Summary) -> pd.DataFrame:
    """What random interactions in training change, as a share of the same arm without them, and how
    much less, or more, that is than without texts.

    Every arm is tuned on the data that it is reported on. Users, splits and held-out pairs are the
    same on both sides. The means that shares are of count as known.
    """
    rows, by_name = [], summary.by_name
    for noisy in summary.forms:
        clean = by_name.get((noisy.data, CLEAN, *noisy[2:4]))
        share, metric = SPLITS[noisy.setting][1], FIRST[noisy.setting]
        if not share or clean is None:
            continue
        own = _loss(summary, noisy, clean, metric)
        none = [by_name.get((noisy.data, at, noisy.model, "none")) for at in (noisy.setting, CLEAN)]
        beside = None
        if noisy.text != "none" and none[0] is not None and none[1] is not None:
            other = _loss(summary, none[0], none[1], metric)
            beside = _mean(own.sub(other).dropna())
        change = _mean(own)
        rows.append(
            {
                "data": noisy.data,
                "model": noisy.model,
                "text": noisy.text,
                "share": share,
                "metric": metric,
                "clean": summary.estimate(clean, metric).mean,
                "noisy": summary.estimate(noisy, metric).mean,
                **_named("change", change),
                **_named("beside_none", beside),
            }
        )
    return pd.DataFrame(rows)


def _loss(summary: Summary, noisy: Form, clean: Form, metric: str) -> "pd.Series[float]":
    """The change of each user and split, as a share of the clean arm's mean."""
    both = summary.both(noisy, clean).set_index(["user", "split"])
    return (both[metric] - both[f"{metric} "]) / both[f"{metric} "].mean()


def _mean(values: "pd.Series[float]") -> Estimate:
    users, splits = (values.index.get_level_values(level) for level in ("user", "split"))
    return crossed_mean(users, splits, values)


def _named(name: str, found: Estimate | None) -> dict[str, float | None]:
    values = (None,) * 4 if found is None else found
    return dict(zip((name, f"{name}_low", f"{name}_high", f"{name}_p"), values, strict=True))


def group_lines(groups: pd.DataFrame) -> list[str]:
    """The table of groups in Markdown; the questions of :data:`SHOWN` alone."""
    shown = groups[groups["question"].isin(SHOWN)] if len(groups) else groups
    if not len(shown):
        return []
    lines = ["## Few and many interactions", ""]
    lines += [
        "Change in percent of what it is compared with, and intervals of 95 %, not corrected; of "
        f"users by the first metric, of items by {ITEM_METRIC}. Groups are of about the same size, "
        "the one with the fewest interactions first.",
        "",
    ]
    keys = ["data", "setting", "groups", "model", "text", "against", "against_text"]
    count = int(shown["group"].max())
    head = ["arm", "against", *(f"group {at}" for at in range(1, count + 1))]
    for (data, setting, where), part in shown.groupby(keys[:3], sort=False):
        lines += [f"**{data}, {setting}, {where}**", "", f"| {' | '.join(head)} |"]
        lines.append("|---" * len(head) + "|")
        for (model, text, against, other), own in part.groupby(keys[3:], sort=False):
            cells = {row["group"]: _cell(row) for row in own.to_dict("records")}
            found = [cells.get(at, "–") for at in range(1, count + 1)]
            lines.append(f"| {model}, {text} | {against}, {other} | {' | '.join(found)} |")
        lines.append("")
    return lines


def _cell(row: Mapping[Any, Any]) -> str:
    base = row["reference"]
    span = f"{row['least']:g} to {row['most']:g}: " if row["groups"] == USERS else ""
    if base <= 0:
        return f"{span}from 0 by {row['difference']:+.4f}"
    change, low, high = (row[name] / base for name in ("difference", "low", "high"))
    if pd.isna(low):
        return f"{span}{change:+.1%} (one user)"
    return f"{span}{change:+.1%} ({low:+.1%} to {high:+.1%})"


def noise_lines(noise: pd.DataFrame) -> list[str]:
    """The table of noise in Markdown, or nothing."""
    if not len(noise):
        return []
    lines = [
        "## Random interactions in training",
        "",
        "Change against the same arm without them, tuned anew, and by how many points that is less "
        "(+) or more (-) of a loss than without texts; intervals of 95 %, not corrected.",
        "",
        "| data | arm | added | metric | without | with | change | beside no text |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in noise.to_dict("records"):
        beside = "–"
        if pd.notna(row["beside_none"]):
            beside = _span(row, "beside_none")
        lines.append(
            f"| {row['data']} | {row['model']}, {row['text']} | {row['share']:.0%} | "
            f"{row['metric']} | {row['clean']:.4f} | {row['noisy']:.4f} | {_span(row, 'change')} | "
            f"{beside} |"
        )
    return [*lines, ""]


def _span(row: Mapping[Any, Any], name: str) -> str:
    return f"{row[name]:+.1%} ({row[f'{name}_low']:+.1%} to {row[f'{name}_high']:+.1%})"

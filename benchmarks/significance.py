"""Paired tests of models against one of them, over users and over seeds."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats


def compare(users: dict[str, list[pd.DataFrame]], reference: str) -> pd.DataFrame:
    """Compares every model with a reference, metric by metric.

    Over users, a user's values are averaged over the seeds first: the question is whether other
    users of the same kind would see a difference. Over seeds, runs with the same seed are pairs:
    the question is whether another initialisation would. p-values are those of two-sided tests and
    not corrected for the number of rows.

    Args:
        users (dict): By model, one table a seed of
            :func:`irllrec_pyg.ranking.evaluate_users`.
        reference (str): The model to compare with.

    Returns:
        One row a model and metric.

    Raises:
        ValueError: If there is no such reference.
    """
    if reference not in users:
        raise ValueError(
            f"There is no row {reference!r} to compare with; there are {', '.join(users)}."
        )
    rows = []
    for model, tables in users.items():
        for metric in [name for name in tables[0] if name != "user" and model != reference]:
            ours, theirs = (
                np.stack([table[metric].to_numpy() for table in one])
                for one in (tables, users[reference])
            )
            difference = ours.mean(0) - theirs.mean(0)
            half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
            rows.append(
                {
                    "model": model,
                    "against": reference,
                    "metric": metric,
                    "difference": difference.mean(),
                    "relative": difference.mean() / theirs.mean(),
                    "low": difference.mean() - half,
                    "high": difference.mean() + half,
                    "p users, t": paired(ours.mean(0), theirs.mean(0), stats.ttest_rel),
                    "p users, Wilcoxon": paired(ours.mean(0), theirs.mean(0), stats.wilcoxon),
                    "p seeds, t": paired(ours.mean(1), theirs.mean(1), stats.ttest_rel)
                    if len(ours) == len(theirs) > 1
                    else np.nan,
                }
            )
    return pd.DataFrame(rows)


def paired(ours: np.ndarray, theirs: np.ndarray, test: Any) -> float:
    """The p-value of a paired test; of values that are all equal it is 1."""
    return 1.0 if np.array_equal(ours, theirs) else float(test(ours, theirs).pvalue)


def markdown(table: pd.DataFrame) -> str:
    """The comparison as a Markdown table."""
    lines = [
        "| model | metric | difference (95 % over users) | relative | p users, t | "
        "p users, Wilcoxon | p seeds, t |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        tests = [
            f"{row[name]:.2g}" if pd.notna(row[name]) else "–"
            for name in ("p users, t", "p users, Wilcoxon", "p seeds, t")
        ]
        lines.append(
            f"| {row['model']} | {row['metric']} | {row['difference']:+.4f} "
            f"({row['low']:+.4f} to {row['high']:+.4f}) | {row['relative']:+.1%} | "
            f"{' | '.join(tests)} |"
        )
    return "\n".join(lines)

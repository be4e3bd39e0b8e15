"""Tests of models against one of them: over users, over seeds, and corrected for their number."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from irllrec_pyg.study.statistics import holm

#: Each asks another question; see :func:`compare`.
TESTS = ("p users, t", "p users, Wilcoxon", "p seeds, Welch")


def compare(users: dict[str, list[pd.DataFrame]], reference: str) -> pd.DataFrame:
    r"""Compares every model with a reference, metric by metric, in two-sided tests.

    - ``p users, t`` and ``p users, Wilcoxon``: would other users of the same kind see a difference
      between *these* trained models? A user is the same under both models, hence paired tests, of
      values that are averaged over the seeds first.
    - ``p seeds, Welch``: would other seeds give a difference of the mean over *these* users? Two
      models with the same seed share nothing but a number, hence a test without pairs
      (`Welch 1947 <https://doi.org/10.1093/biomet/34.1-2.28>`_). It needs two seeds on both sides
      and is NaN otherwise.

    Args:
        users (dict): By model, one table a seed of ``evaluate_users``.
        reference (str): The model to compare with.

    Returns:
        One row a model and metric: the difference of the means, its 95 % interval over users
        (``low``, ``high``), its share of the reference's mean (``relative``) and the p-values,
        which nothing corrects here; :func:`markdown` does.

    Raises:
        ValueError: If there is no such reference, or a table has other users than the reference's.
    """
    if reference not in users:
        raise ValueError(
            f"There is no row {reference!r} to compare with; there are {', '.join(users)}."
        )
    rows = []
    for model, tables in users.items():
        if any(list(table["user"]) != list(users[reference][0]["user"]) for table in tables):
            raise ValueError(f"{model!r} was evaluated on other users than {reference!r}.")
        for metric in [name for name in tables[0] if name != "user" and model != reference]:
            ours, theirs = (
                np.stack([table[metric].to_numpy() for table in one])  # seeds x users
                for one in (tables, users[reference])
            )
            difference = ours.mean(0) - theirs.mean(0)
            half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
            same = not difference.any()  # no test divides by a deviation of zero
            rows.append(
                {
                    "model": model,
                    "against": reference,
                    "metric": metric,
                    "difference": difference.mean(),
                    "relative": difference.mean() / theirs.mean(),
                    "low": difference.mean() - half,
                    "high": difference.mean() + half,
                    TESTS[0]: 1.0 if same else stats.ttest_1samp(difference, 0).pvalue,
                    TESTS[1]: 1.0 if same else stats.wilcoxon(difference).pvalue,
                    TESTS[2]: welch(ours.mean(1), theirs.mean(1)),
                }
            )
    return pd.DataFrame(rows)


def welch(ours: ArrayLike, theirs: ArrayLike) -> float:
    r"""The p-value of Welch's test: do the means of two groups of seeds differ?

    Args:
        ours, theirs (array_like): One value a seed, of shapes ``[S]`` and ``[T]``.

    Returns:
        1 for values that are all equal; NaN with fewer than two seeds on either side.
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if min(ours.size, theirs.size) < 2:
        return float("nan")
    if np.ptp(np.concatenate([ours, theirs])) == 0:
        return 1.0
    return float(stats.ttest_ind(ours, theirs, equal_var=False).pvalue)


def markdown(table: pd.DataFrame) -> str:
    r"""A table of :func:`compare` as Markdown: p-values, and in brackets what :func:`holm` makes of
    them over the rows of their column.
    """
    table = table.reindex(columns=list(dict.fromkeys([*table, *TESTS])))
    corrected = table[list(TESTS)].astype(float).apply(holm)
    lines = [
        f"| model | metric | difference (95 % over users) | relative | {' | '.join(TESTS)} |",
        "|---" * (4 + len(TESTS)) + "|",
    ]
    for at, row in enumerate(table.to_dict("records")):
        tests = [
            f"{row[test]:.2g} ({corrected[test].iloc[at]:.2g})" if pd.notna(row[test]) else "–"
            for test in TESTS
        ]
        lines.append(
            f"| {row['model']} | {row['metric']} | {row['difference']:+.4f} "
            f"({row['low']:+.4f} to {row['high']:+.4f}) | {row['relative']:+.1%} | "
            f"{' | '.join(tests)} |"
        )
    return "\n".join(lines)

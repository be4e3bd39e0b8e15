r"""What a judgement says: a verdict in plain words, a table, and files for machines."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import atomic_path, write_text
from ..study.statistics import GAIN, LOSS, OPEN
from .judging import ADDS, INTERACTIONS, METRICS, POPULARITY, RETRIEVAL, Arm, Findings
from .statistics import ALONE, ONE_VIEW, PERMUTED, TITLES, Comparison

FIRST = METRICS[0]
#: A gain of fewer percent is called small, however sure it is.
SMALL = 3.0


def report(findings: Findings, comparisons: list[Comparison]) -> list[str]:
    r"""Lines for people: the verdict, the table, what is wrong with the texts, and notes."""
    first = [row for row in comparisons if row.metric == FIRST]
    alone = findings.values[ADDS, INTERACTIONS, False][:, 0].mean()
    popular = findings.values[RETRIEVAL, POPULARITY, False][:, 0].mean()
    users, items = findings.sizes["users for test"], findings.sizes["items"]
    told = [
        *verdict(first),
        "",
        f"{FIRST} of {users} users over {items} items, change in percent with its 95 % interval:",
        table(first),
        f"Interactions alone have {alone:.4f}, the most popular items {popular:.4f}.",
        "",
    ]
    for name, faults in findings.faults.items():
        counts = {
            "empty": faults.empty,
            "refused": faults.refused,
            "the same as another": faults.same,
            "nearly the same as another": faults.near,
        }
        wrong = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        shown = next((some[0] for some in faults.examples.values()), "")
        told.append(
            f"{name}: {faults.texts} texts, {faults.characters} characters, "
            + (wrong or "none empty, refused or twice")
            + (f", such as {shown!r}" if shown else "")
            + "."
        )
    return [*told, *findings.notes]


def verdict(first: list[Comparison]) -> list[str]:
    r"""The verdict in plain words.

    Texts are worth having where they add to interactions and permuted ones do not do as well; the
    best such text is then compared with titles, which cost nothing.

    Args:
        first (list of Comparison): Those by the first metric.
    """
    adds = [row for row in first if row.judgement == ADDS]
    plain = [row for row in adds if not row.intents]
    meant = {_arm(row) for row in plain if row.against == PERMUTED and row.verdict == GAIN}
    gains = [row for row in plain if row.against == ALONE and row.verdict == GAIN]
    real = [row for row in gains if _arm(row) in meant]
    told = [_worth(plain, real)] if real else [_nothing(plain, gains, first)]
    for row in adds:
        if row.against == ONE_VIEW:
            what = {GAIN: "add", LOSS: "cost"}.get(row.verdict, "add nothing that is shown")
            told.append(
                f"Intents of {row.intents!r} beside {row.text!r} by {row.encoder} {what}: "
                f"{_of(row)}."
            )
    return told


def _worth(plain: list[Comparison], real: list[Comparison]) -> str:
    best = max(real, key=lambda row: row.mean)
    grade = "Worth having" if best.change >= SMALL else "A small gain"
    told = (
        f"{grade}: {best.text!r} by {best.encoder} adds most to interactions, {_of(best)}, for "
        "users with a history."
    )
    for row in plain:
        if _arm(row) == _arm(best) and row.against == TITLES:
            told += (
                f" Titles alone do not do as well: against them {_of(row)}."
                if row.verdict == GAIN
                else f" But against titles alone it is {_of(row)}: do not pay for more than titles."
            )
    return told


def _nothing(plain: list[Comparison], gains: list[Comparison], first: list[Comparison]) -> str:
    if gains:
        best = max(gains, key=lambda row: row.mean)
        return (
            f"Not shown to be the texts' doing: {best.text!r} by {best.encoder} adds to "
            f"interactions, {_of(best)}, but is not shown to be better "
            "than the same texts permuted."
        )
    best = max((row for row in plain if row.against == ALONE), key=lambda row: row.mean)
    told = "Do not pay for texts to serve users with a history: "
    if best.verdict == OPEN:
        told += "no gain over interactions is shown"
    elif best.verdict == LOSS:
        told += "they harm"
    else:
        told += "what they add is less than 1 %"
    told += f" ({best.text!r} by {best.encoder}, the best: {_of(best)})."
    alone = [row for row in first if row.judgement == RETRIEVAL and row.against == PERMUTED]
    known = [row for row in alone if row.verdict == GAIN]
    if not known:
        return f"{told} They say nothing of tastes either: permuted ones rank as well."
    most = max(known, key=lambda row: row.mean)
    times = f"{most.mean / most.reference:.1f} times " if most.reference else "and not "
    return (
        f"{told} By themselves they do rank, {times}what permuted ones reach: for items that "
        "nobody has touched they are all there is."
    )


def table(first: list[Comparison]) -> str:
    r"""A row for each arm: by texts alone, added to interactions, and against what."""
    rows = []
    for arm in dict.fromkeys(map(_arm, first)):
        own = {(row.judgement, row.against): row for row in first if _arm(row) == arm}
        text, intents, encoder = arm
        cells = {
            "text": text + (f" & intents of {intents}" if intents else ""),
            "encoder": encoder,
            "alone": f"{own[RETRIEVAL, PERMUTED].mean:.4f}",
            "permuted": f"{own[RETRIEVAL, PERMUTED].reference:.4f}",
            "added": f"{own[ADDS, ALONE].mean:.4f}",
            "to interactions": _of(own[ADDS, ALONE]),
            "to permuted": _of(own[ADDS, PERMUTED]),
        }
        for against in dict.fromkeys(row.against for row in first if row.judgement == ADDS):
            if against not in (ALONE, PERMUTED):
                row = own.get((ADDS, against))
                cells[f"to {against}"] = _of(row) if row else ""
        rows.append(cells)
    return pd.DataFrame(rows).to_string(index=False)


def write(
    folder: Path, findings: Findings, comparisons: list[Comparison], settings: dict[str, Any]
) -> list[Path]:
    r"""Writes ``judge.json`` and ``judge.csv`` into a folder, and returns their paths."""
    paths = [folder / "judge.json", folder / "judge.csv"]
    told = {
        "first_metric": FIRST,
        "verdict": verdict([row for row in comparisons if row.metric == FIRST]),
        "settings": settings,
        "sample": findings.sizes,
        "notes": findings.notes,
        "texts": {name: faults.to_dict() for name, faults in findings.faults.items()},
        "chosen": [
            {"text": arm.name, "encoder": arm.encoder, "permuted": permuted, **values}
            if isinstance(arm, Arm)
            else {"text": None, **values}
            for (_, arm, permuted), values in findings.chosen.items()
        ],
        "comparisons": [_plain(row._asdict().items()) for row in comparisons],
    }
    write_text(paths[0], json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    with atomic_path(paths[1]) as temporary:
        pd.DataFrame(comparisons).to_csv(temporary, index=False, float_format="%.6g")
    return paths


def _plain(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values as JSON has them, which knows no NaN."""
    return {
        name: (None if math.isnan(value) else round(value, 6))
        if isinstance(value, float)
        else value
        for name, value in values
    }


def _arm(row: Comparison) -> tuple[str, str, str]:
    return row.text, row.intents, row.encoder


def _of(row: Comparison) -> str:
    if math.isnan(row.change):
        return f"{row.mean:.4f} against 0"
    return f"{row.change:+.1f} % ({row.change_low:+.1f} to {row.change_high:+.1f})"

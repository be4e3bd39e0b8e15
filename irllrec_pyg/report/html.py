"""The page: one file without anything from elsewhere."""

import base64
import hashlib
import math
from importlib import resources
from typing import Any

from .. import __version__
from .boards import Board, Report, shown
from .charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from .formats import MARKS, heads, legend, words
from .reading import Comparison, Row


def html(report: Report) -> str:
    """The report as one HTML page.

    Raises:
        ImportError: Without ``pip install 'irllrec_pyg[report]'``.
    """
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError:
        raise ImportError("The page needs: pip install 'irllrec_pyg[report]'.") from None
    script = _own("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FunctionLoader(_own),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("page.html").render(
        report=report,
        boards=[_board(board) for board in report.boards],
        style=_own("page.css"),
        script=script,
        # Only this script runs, whatever names of runs hold.
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'",
        version=__version__,
        size={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP,
              "bottom": BOTTOM},
    )  # fmt: skip


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _board(board: Board) -> dict[str, Any]:
    """What the template shows of a table."""
    rows = board.rows
    shared = _shared([origin for row in rows for origin in row.origin])
    return {
        "board": board,
        "heads": heads(board),
        "rows": [
            {
                "words": words(board, row),
                "baseline": row.is_baseline,
                "repeats": row.repeats,
                "cells": [_cell(board, row, metric) for metric in board.metrics],
            }
            for row in rows
        ],
        "repeats": rows[0].repeats if len({row.repeats for row in rows}) == 1 else "",
        "legend": legend(board, MARKS),
        "comparisons": [_comparison(board, one) for one in board.comparisons],
        "charts": [{"chart": chart, "drawn": chart.drawn()} for chart in board.charts],
        "shared": shared,
        "origins": [
            {"words": board.words(row.key), "runs": own}
            for row in rows
            if any(own := [_without(one, shared) for one in row.origin])
        ],
    }


def _without(origin: dict[str, str], shared: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in origin.items() if name not in shared}


def _shared(origins: list[dict[str, str]]) -> dict[str, str]:
    """What is the same of all runs."""
    first = origins[0] if len(origins) > 1 else {}
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in origins)
    }


def _cell(board: Board, row: Row, metric: str) -> dict[str, Any]:
    value = row.values.get(metric)
    found = board.found(row, metric)
    said = ""
    if found is not None and found.verdict in MARKS:
        against = board.words(found.against)
        said = f"{found.verdict} against {against}, corrected p {_p(found.corrected)}"
    interval = ""
    if value is not None and metric == board.first and math.isfinite(value.low):
        interval = f"{value.low:.4f} to {value.high:.4f}"
    return {
        "text": shown(row, metric),
        "value": "" if value is None else f"{value.mean:.9g}",
        "place": board.place(row, metric),
        "mark": MARKS.get(found.verdict, "") if found is not None else "",
        "said": said,
        "interval": interval,
    }


def _comparison(board: Board, one: Comparison) -> dict[str, Any]:
    share = one.difference / one.reference if one.reference else math.nan
    return {
        "row": board.words(one.row),
        "against": board.words(one.against),
        "question": one.question,
        "metric": one.metric,
        "difference": f"{one.difference:+.4f}",
        "interval": f"{one.low:+.4f} to {one.high:+.4f}",
        "share": f"{share:+.1%}" if math.isfinite(share) else "–",
        "p": _p(one.p),
        "corrected": _p(one.corrected),
        "verdict": one.verdict,
        "mark": MARKS.get(one.verdict, ""),
        "values": [f"{v:.9g}" for v in (one.difference, share, one.p, one.corrected)],
    }


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "< 1e-99" if value < 1e-99 else f"{value:.2g}"

"""A report as HTML, Markdown, LaTeX or CSV."""

import csv
import io
import math
import re
from collections.abc import Callable

from ..study.statistics import GAIN, LOSS, SAME
from .boards import Board, Report, shown
from .comparing import MARGIN
from .reading import NAN, Row, Value

#: Beside a value: what its test says.
MARKS = {GAIN: "▲", LOSS: "▼", SAME: "≈"}
LATEX_MARKS = {GAIN: "$^{+}$", LOSS: "$^{-}$", SAME: r"$^{\approx}$"}
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "≈": r"$\approx$",
    **{character: f"\\{character}" for character in "#$%&_{}"},
}  # fmt: skip


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    safe = re.sub(r"([\\`*_\[\]|~])", r"\\\1", " ".join(str(text).split()))
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def latex_text(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_LATEX.get(character, character) for character in " ".join(str(text).split()))


def heads(board: Board) -> list[str]:
    """The columns of words."""
    found = ["model"] if all(row.name == row.model for row in board.rows) else ["run", "model"]
    return [*found, "texts"]


def words(board: Board, row: Row) -> list[str]:
    """What stands in these columns."""
    found = [row.name] if len(heads(board)) == 2 else [row.name, row.model]
    return [*found, row.text]


def legend(board: Board, marks: dict[str, str], escape: Callable[[str], str] = str) -> str:
    """What the marks beside values mean; ``escape`` makes words safe in the format."""
    if not board.test:
        return escape("No test: there are no values of users, or nothing to compare with.")
    said = {
        GAIN: " better, ",
        LOSS: " worse (p < .05), ",
        SAME: f" no difference (the 95 % interval lies within {MARGIN:.0%} of the reference); "
        f"none: undecided or not tested. Test: {board.test}.",
    }
    # A space at either end is not what an escape keeps.
    return "".join(f"{marks[of]} {escape(words)} " for of, words in said.items()).strip()


def _cell(
    board: Board, row: Row, metric: str, best: str, second: str, marks: dict[str, str]
) -> str:
    value = shown(row, metric)
    if not value:
        return "–"
    place = board.place(row, metric)
    value = {1: best, 2: second}.get(place, "{}").replace("{}", value)
    found = board.found(row, metric)
    return value + marks.get(found.verdict if found else "", "")


def markdown(report: Report) -> str:
    """Every table in Markdown."""
    lines = [f"# {markdown_text(report.title)}"]
    for board in report.boards:
        names = [*heads(board), *board.metrics]
        lines += ["", f"## {markdown_text(board.data)}", "", markdown_text(board.setting), ""]
        lines += [f"| {' | '.join(map(markdown_text, names))} |"]
        lines += ["|" + "---|" * len(heads(board)) + "--:|" * len(board.metrics)]
        for row in board.rows:
            cells = [
                _cell(board, row, metric, "**{}**", "<u>{}</u>", MARKS) for metric in board.metrics
            ]
            lines.append(f"| {' | '.join([*map(markdown_text, words(board, row)), *cells])} |")
        lines += ["", f"**Best**, <u>second best</u>. {legend(board, MARKS, markdown_text)}"]
    return "\n".join(lines) + "\n"


def latex(report: Report) -> str:
    """Every table in LaTeX; it needs the package ``booktabs``."""
    lines = [r"% needs \usepackage{booktabs}"]
    for board in report.boards:
        names = [*heads(board), *board.metrics]
        lines += [
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{" + "l" * len(heads(board)) + "r" * len(board.metrics) + "}",
            r"\toprule",
            " & ".join(map(latex_text, names)) + r" \\",
            r"\midrule",
        ]
        for at, row in enumerate(board.rows):
            if at and board.rows[at - 1].is_baseline and not row.is_baseline:
                lines.append(r"\midrule")
            cells = [
                _cell(board, row, metric, r"\textbf{{}}", r"\underline{{}}", LATEX_MARKS)
                for metric in board.metrics
            ]
            lines.append(" & ".join([*map(latex_text, words(board, row)), *cells]) + r" \\")
        said = legend(board, LATEX_MARKS, latex_text)
        caption = latex_text(f"{board.data}, {board.setting}. ")
        lines += [
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{caption} Best in bold, second best underlined. {said}}}",
            r"\end{table}",
            "",
        ]
    return "\n".join(lines)


COLUMNS = (
    "data", "setting", "run", "model", "text", "metric", "mean", "low", "high", "place", "repeats",
    "against", "difference", "difference_low", "difference_high", "p", "p_holm", "verdict", "test",
)  # fmt: skip


def tidy(report: Report) -> str:
    """One row a value as CSV, with what its test says."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for board in report.boards:
        for row in board.rows:
            for metric in board.metrics:
                value = row.values.get(metric, Value(NAN))
                if math.isnan(value.mean):
                    continue
                found = board.found(row, metric)
                numbers = (
                    [_plain(one) for one in (found.difference, found.low, found.high, found.p)]
                    if found
                    else [""] * 4
                )
                writer.writerow(
                    [
                        *(board.data, board.setting, row.name, row.model, row.text, metric),
                        *(_plain(one) for one in value),
                        board.place(row, metric) or "",
                        row.repeats,
                        board.words(found.against) if found else "",
                        *numbers,
                        _plain(found.corrected) if found else "",
                        found.verdict if found else "",
                        board.test if found else "",
                    ]
                )
    return out.getvalue()


def _plain(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def render(report: Report, form: str) -> str:
    """The report as text.

    Args:
        report (Report): Of :func:`build`.
        form (str): One of ``FORMATS``.

    Raises:
        ImportError: For HTML, without ``pip install 'irllrec_pyg[report]'``.
    """
    return FORMATS[form](report)


def _html(report: Report) -> str:
    from .html import html  # needs the extra

    return html(report)


FORMATS: dict[str, Callable[[Report], str]] = {
    "html": _html,
    "md": markdown,
    "latex": latex,
    "csv": tidy,
}

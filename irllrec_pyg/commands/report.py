"""Runs and studies side by side: one page, or tables for a paper.

    irllrec report runs/shop runs/lightgcn runs/ease --out report.html
    irllrec report study --format latex --metrics recall@20 ndcg@20 --out table.tex
    irllrec report runs/* --against ease --format md

The page is one file that needs no network: tables that are sorted by a click, curves, gains by
history or degree, the commands, versions and hashes of each row. Runs of the same data and split
share a table; those that differ by their seed alone share a row. Models that see no texts are the
baselines, and come first.
"""

import argparse
import sys
from pathlib import Path

from ..config import ConfigError
from ..files import write_text

ENDINGS = {".html": "html", ".htm": "html", ".md": "md", ".tex": "latex", ".csv": "csv"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder that 'irllrec train' or 'irllrec study' wrote, or the summary.csv of a study",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="file to write, or - for the output (default: report.html; of other formats the "
        "output)",
    )
    parser.add_argument(
        "--format",
        choices=["html", "md", "latex", "csv"],
        help="default: what the ending of --out says, else html",
    )
    parser.add_argument(
        "--metrics", nargs="+", metavar="NAME", help="columns, such as recall@20 (default: all)"
    )
    parser.add_argument(
        "--first",
        metavar="NAME",
        help="metric that is looked at first, and whose gains are drawn (default: that of a study, "
        "the one that early stopping watched, or ndcg@20)",
    )
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="run with which the others are compared, by the name of its folder; a study has its "
        "comparisons already (default: the best baseline by the first metric)",
    )
    parser.add_argument("--title", default="", help="of the page (default: the data sets)")
    parser.add_argument(
        "--intents",
        action="store_true",
        help="draw the map of intents of each run that has some, which opens its data set and "
        "needs the extra 'plot'",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the report."""
    from ..report import build, render

    form = args.format or ENDINGS.get(Path(args.out or "report.html").suffix.lower())
    if form is None and args.out != "-":
        raise ConfigError(
            f"--out must end in {', '.join(ENDINGS)}, or --format must say what it is, got "
            f"{args.out}."
        )
    report = build(
        args.runs,
        title=args.title,
        metrics=args.metrics,
        first=args.first,
        against=args.against,
        intents=args.intents,
    )
    text = render(report, form or "html")
    out = args.out or ("report.html" if form == "html" else "-")
    if out == "-":
        sys.stdout.write(text)
        return 0
    write_text(out, text)
    rows = sum(len(board.rows) for board in report.boards)
    print(f"{out}: tables {len(report.boards)}, rows {rows}", file=sys.stderr)
    return 0

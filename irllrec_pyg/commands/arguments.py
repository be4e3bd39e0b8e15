"""Arguments that commands share; nothing here imports what takes seconds: help comes at once."""

import argparse

from ..config import ConfigError

RUN_HELP = "folder that 'irllrec train' wrote"


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.strip().isdecimal() or (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}.")
    return number


def add_run(parser: argparse.ArgumentParser) -> None:
    """The argument that names a saved model."""
    parser.add_argument("run_folder", metavar="RUN", help=RUN_HELP)


def add_out(parser: argparse.ArgumentParser) -> None:
    """The argument that says where a table goes; :func:`check_out` looks at it."""
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="a file that ends in .csv, .csv.gz, .tsv or .parquet, or - for CSV on the output "
        "(default: a table to read)",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The argument that :func:`.common.limit_threads` reads."""
    parser.add_argument("--threads", type=positive, help="of the CPU (default: PyTorch's choice)")


def add_history(parser: argparse.ArgumentParser, who: argparse._ActionsContainer) -> None:
    """The arguments of a person who is given by a history; see :func:`.common.history_of`.

    Args:
        parser (ArgumentParser): The command's.
        who (group): That of the arguments one of which says whom it is about.
    """
    who.add_argument(
        "--history",
        nargs="+",
        metavar="ITEMS",
        help="items of a person whom the model need not know, separated by commas: a,b,c",
    )
    parser.add_argument(
        "--weights", metavar="NUMBERS", help="how much each item of --history counts: 1,1,3"
    )


def add_data_of_run(parser: argparse.ArgumentParser, what: str) -> None:
    """The argument by which a model gets its data set again."""
    parser.add_argument(
        "--with-data", action="store_true", help=f"open the run's data set too: {what}"
    )
    parser.add_argument("--data", metavar="FOLDER", help="where the data set lies now")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which items may be listed."""
    group = parser.add_argument_group("which items may be listed")
    group.add_argument("--allow", nargs="+", metavar="ITEMS", help="only these (default: all)")
    group.add_argument("--deny", nargs="+", metavar="ITEMS", help="none of these")
    group.add_argument(
        "--where",
        metavar="CONDITION",
        help='on columns of items.csv, such as "price < 20 and in_stock == True"',
    )
    group.add_argument(
        "--max-per",
        nargs="+",
        default=[],
        metavar="COLUMN=N",
        help="at most N items of the same value of a column, such as author=2",
    )
    group.add_argument(
        "--diversity",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="0: the best items; 1: items as unlike as can be (default: %(default)s)",
    )


def check_history(args: argparse.Namespace) -> None:
    """Refuses weights of nothing, before a model is loaded."""
    if args.weights and not args.history:
        raise ConfigError("--weights belongs to --history.")


def check_out(out: str | None) -> None:
    """Refuses a file that could not be written, before the work is done."""
    if out not in (None, "-") and not str(out).endswith((".csv", ".csv.gz", ".tsv", ".parquet")):
        raise ConfigError(f"--out must be -, or end in .csv, .csv.gz, .tsv or .parquet, got {out}.")

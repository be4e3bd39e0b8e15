"""The command ``irllrec``: a dispatcher; each command lives in a module of its own.

What a user can mend is one line on the error output and exit status 2; Ctrl-C is one line and 130;
``irllrec recommend`` ends with 3 where some of the users that were asked for have no list.
"""

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from . import __version__
from .files import ADVICE

#: Name -> (module with ``add_arguments(parser)`` and ``run(args) -> int``, one line of help).
#: A module is imported only when its command is used, so that extras stay optional. Where it has
#: a line ``STOPPED``, that is what Ctrl-C says; one with ``OWN_HELP`` adds ``--help`` itself.
SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "data": ("irllrec_pyg.commands.data", "look at, check and convert data sets"),
    "texts": ("irllrec_pyg.text.command", "make profiles, intents and embeddings from tables"),
    "train": ("irllrec_pyg.commands.train", "train a model on a data set, into a folder"),
    "evaluate": ("irllrec_pyg.commands.evaluate", "metrics of runs, beside baselines"),
    "tune": ("irllrec_pyg.commands.tune", "search for the settings that are best on validation"),
    "refit": ("irllrec_pyg.commands.refit", "train a finished run's model on every interaction"),
    "recommend": ("irllrec_pyg.commands.recommend", "lists of items for users or histories"),
    "similar": ("irllrec_pyg.commands.similar", "items or users that are like others"),
    "explain": ("irllrec_pyg.commands.explain", "why an item is recommended"),
    "report": ("irllrec_pyg.commands.report", "runs and studies side by side, as a page or tables"),
    "export": ("irllrec_pyg.commands.export", "a model as tables, index, ONNX or for a hub"),
    "serve": ("irllrec_pyg.commands.serve", "answer requests over HTTP"),
    "study": ("irllrec_pyg.study.command", "compare models with and without texts on tables"),
    "settings": ("irllrec_pyg.settings", "list every setting with its type, default and bounds"),
    "completion": ("irllrec_pyg.commands.completion", "completion of commands for the shell"),
}
#: What a user can mend: a value, a file, a package, memory. Anything else is a fault of this
#: package and keeps its traceback.
MENDABLE = (ValueError, OSError, ImportError, RuntimeError, MemoryError)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage, which is pages long for some commands."""

    def error(self, message: str) -> NoReturn:
        hint = "" if message.endswith(".") else f"; '{self.prog} --help' says what there is."
        self.exit(2, f"{self.prog}: {message}{hint}\n")


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser of the command line.

    Args:
        chosen (str, optional): The command whose arguments are added. (default: every command's)
    """
    parser = _Parser(
        prog="irllrec", description="Recommendation with language models on PyTorch Geometric."
    )
    parser.add_argument("--version", action="version", version=f"irllrec_pyg {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show where in the code an error arose"
    )
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for name, (path, summary) in SUBCOMMANDS.items():
        if chosen not in (None, name):
            commands.add_parser(name, help=summary)
            continue
        module = importlib.import_module(path)
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=not hasattr(module, "OWN_HELP"),
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, stopped=getattr(module, "STOPPED", ""))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), "")
    name = f"irllrec {chosen}" if chosen in SUBCOMMANDS else "irllrec"
    stopped = ""
    try:
        with leaving_at_once(name):
            options = build_parser(chosen).parse_args(arguments)
        stopped = options.stopped
        with _plain_messages():
            return int(options.run(options))
    except KeyboardInterrupt:
        print(f"\n{name}: stopped{stopped and ': '}{stopped}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as of `irllrec ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MENDABLE as error:
        if "--traceback" in arguments:
            raise
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return 2


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    words = " ".join(str(error).split())
    if isinstance(error, OSError) and words.startswith("[Errno"):
        # Of two files, as in copying, the first one was read.
        file = error.filename2 or error.filename
        said = [f"{file}: {error.strerror}" if file else words]
        if (advice := ADVICE.get(error.errno or 0, "")) not in words:  # as atomic_path gives it
            said.append(advice)
        return "".join(f"{part.rstrip('.')}. " for part in said if part).strip()
    if isinstance(error, MemoryError):
        return f"the memory does not suffice. {words}".strip()
    return words or type(error).__name__


@contextmanager
def leaving_at_once(name: str = "irllrec") -> Iterator[None]:
    """Ends the process at once on Ctrl-C while the block runs.

    For imports, which write nothing and last for seconds: an exception in the midst of one becomes
    another one, or a traceback, wherever a library catches it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, f"\n{name}: stopped.\n".encode())
        os._exit(130)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _plain_messages() -> Iterator[None]:
    """Warnings of this package as one line each, and no chatter of libraries."""

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if category is UserWarning:
            print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)

    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "irllrec_pyg")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", message=".*GPU available.*")
            warnings.showwarning = show
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())

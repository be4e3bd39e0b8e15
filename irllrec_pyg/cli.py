r"""The command ``irllrec``: a thin dispatcher; each subcommand lives with what it does."""

import argparse
import importlib
import sys
from collections.abc import Sequence

#: Name -> (module with ``add_arguments(parser)`` and ``run(args) -> int``, one line of help).
#: A module is imported only when its command is used, so that extras stay optional.
SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "texts": ("irllrec_pyg.text.command", "make profiles, intents and embeddings from tables"),
    "study": ("irllrec_pyg.study.command", "compare models with and without texts on tables"),
    "settings": ("irllrec_pyg.settings", "list every setting with its type, default and bounds"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="irllrec", description="Recommendation with language models on PyTorch Geometric."
    )
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for name, (path, summary) in SUBCOMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(path)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())

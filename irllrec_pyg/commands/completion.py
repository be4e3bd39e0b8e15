"""Completion of commands and options for the shell.

irllrec completion bash > ~/.local/share/bash-completion/completions/irllrec
irllrec completion zsh > ~/.zfunc/_irllrec        with ~/.zfunc in fpath
"""

import argparse
from collections.abc import Iterator

SHELLS = ["bash", "zsh", "tcsh"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="whose completion is printed")


def run(args: argparse.Namespace) -> int:
    """Prints what the shell reads."""
    try:
        import shtab
    except ImportError:
        raise ImportError(
            "irllrec completion needs shtab: pip install 'irllrec_pyg[completion]'."
        ) from None
    from ..cli import build_parser

    parser = build_parser()
    kinds = {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY, "RUN": shtab.DIRECTORY}
    for action in _actions(parser):
        if action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
    print(shtab.complete(parser, args.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for child in set(action.choices.values()):
                yield from _actions(child)

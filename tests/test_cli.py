"""The dispatcher of the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from irllrec_pyg.cli import SUBCOMMANDS, main


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in SUBCOMMANDS)


def test_help_of_a_command_needs_no_extra() -> None:
    code = (
        "import sys; sys.modules['openai'] = None; sys.modules['wordllama'] = None\n"
        "from irllrec_pyg.cli import main; main(['texts', '--help'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    assert "--response-format" in result.stdout


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err

"""Every setting in words: in the documents, in docstrings and on the command line."""

import inspect
from pathlib import Path

from irllrec_pyg.cli import main
from irllrec_pyg.nn import IntentAlignment, LightGCN

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "settings.md"


def test_the_document_is_what_the_command_prints(capsys):
    assert main(["settings"]) == 0
    printed = capsys.readouterr().out
    assert DOCUMENT.read_text(encoding="utf-8") == printed  # irllrec settings > docs/settings.md
    sections = dict(part.split("\n", 1) for part in printed.split("\n## ")[1:])
    assert (
        "| `num_layers` | int | `3` | at least 0 and at most 100 |"
        in sections["backbone `lightgcn`"]
    )
    assert "| `matching.momentum` | float | `0.999` |" in sections["head `intent`"]
    assert "It has none." in sections["linear `popularity`"]


def test_a_docstring_names_every_setting_also_those_within_a_part():
    text = inspect.getdoc(IntentAlignment)
    assert "matching.momentum (float): share of itself that the teacher keeps" in text
    assert "translation.noise ('additive' or 'multiplicative'):" in text
    assert "num_layers (int): number of propagations. (default: ``3``)" in inspect.getdoc(LightGCN)
    assert "Config" not in text.split("Settings:")[1]

"""What the README leads to is there; its Python is run with the pages of ``docs``."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)", README))))
def test_links_lead_somewhere(path):
    assert path.startswith("http") or (Path(__file__).parents[1] / path).exists()

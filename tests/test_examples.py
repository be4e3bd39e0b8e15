"""The worked example is run on made-up films, with a stub for the language model."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.text.stub import StubServer

EXAMPLE = Path(__file__).parents[1] / "examples" / "movielens_texts.py"


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder as RecBole lays MovieLens-100K out: 20 users with 12 of 30 films each."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    items = [f"{n}\tFilm {n}\t{1980 + n}\tDrama Comedy" for n in range(1, 31)]
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    (folder / "ml-100k.item").write_text("\n".join([header, *items]) + "\n")
    pairs = [
        f"{user}\t{item}\t5\t{user * 100 + at}"
        for user in range(1, 21)
        for at, item in enumerate(1 + rng.permutation(30)[:12])
    ]
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    (folder / "ml-100k.inter").write_text("\n".join([header, *pairs]) + "\n")
    return folder


def test_from_titles_to_recommendations(films, tmp_path, monkeypatch, capsys):
    pytest.importorskip("wordllama")
    with StubServer() as stub:
        arguments = [
            *("--folder", films, "--out", tmp_path / "out", "--base-url", stub.url),
            *("--limit", 3, "--epochs", 1, "--seeds", 1, "--response-format", "json_schema"),
        ]
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *map(str, arguments)])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert sum(stub.asked.values()) == 4 * 3  # so many nodes in each of four steps
    printed = capsys.readouterr().out
    assert all(
        f"{name} seed 0" in printed for name in ("lightgcn", "lightgcn_plus", "lightgcn_int")
    )
    recommended = printed.split("recall@20")[-1]
    assert recommended.count("Film ") == 5
    assert (tmp_path / "out" / "runs" / "lightgcn_int-0" / "model.safetensors").exists()

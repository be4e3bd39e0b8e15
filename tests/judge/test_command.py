"""``irllrec texts judge`` on shops of all kinds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sklearn")

from irllrec_pyg import TableDataset
from irllrec_pyg.cli import main
from irllrec_pyg.datasets import write_published
from tests.judge.shops import COLOURS, write_shop

SIZE = 240


def judge(root: Path, *arguments: str) -> int:
    quick = ["--encoder", "words", "--no-progress", "--judge-resamples", "100", "--k-core", "1"]
    out = ["--out", str(root / "out")]
    return main(["texts", "judge", "--data", str(root / "shop"), *out, *quick, *arguments])


def test_a_shop_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shop(tmp_path)
    assert judge(tmp_path) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Worth having: 'text' by words adds most to interactions, +")
    told = json.loads((tmp_path / "out" / "judge.json").read_text())
    assert printed.startswith(told["verdict"][0])
    assert told["first_metric"] == "ndcg@20"
    assert told["texts"]["text"]["texts"] == told["sample"]["items"]
    table = pd.read_csv(tmp_path / "out" / "judge.csv")
    assert len(table) == len(told["comparisons"]) == 2 * (2 + 2 + 1 + 1 + 1 + 1)
    row = table[(table.text == "text") & (table.against == "titles") & (table.judgement == "adds")]
    assert f"{row.change.iloc[0]:+.1f} % ({row.change_low.iloc[0]:+.1f} to" in printed


def test_several_texts_encoders_and_intents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why = [f"{COLOURS[item % 10]} {item % 7}" for item in range(SIZE)]
    write_shop(tmp_path, {"why": why}, users=40)
    asked = ["--texts", "text", "title+why", "--intents", "why", "--encoders", "words"]
    assert judge(tmp_path, *asked) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "judge.csv", keep_default_na=False)
    assert set(table.text) == {"title", "text", "title+why"}
    assert set(table.against[table.intents == "why"]) == {
        "interactions",
        "permuted",
        "without intents",
    }
    assert "text" in set(table.against[table.text == "title+why"])
    assert "intents of why: " in printed


def test_a_folder_of_texts_stands_for_its_profiles_and_intents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write_shop(tmp_path, users=40)
    items = pd.read_csv(shop / "items.csv", dtype=str)
    made = tmp_path / "made"
    made.mkdir()
    texts = pd.DataFrame(
        {"item": items["item"], "profile": items["text"], "intent": items["text"].str[:9]}
    )
    asked = np.arange(SIZE) % 3 > 0
    texts["profile_from"] = texts["intent_from"] = np.where(asked, "model", "attributes")
    texts.to_csv(made / "item_texts.csv", index=False)
    assert judge(tmp_path, "--texts", str(made)) == 0
    told = json.loads((tmp_path / "out" / "judge.json").read_text())
    assert told["sample"]["items"] < told["sample"]["items of the data set"]
    assert all("left out" in note for note in told["notes"])
    assert told["texts"][str(made)]["empty"] == 0
    table = pd.read_csv(tmp_path / "out" / "judge.csv", keep_default_na=False)
    assert set(table.text) == {"title", str(made)}
    assert set(table.intents) == {"", str(made)}


def test_a_folder_that_texts_were_made_in_is_judged_by_its_own_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write_shop(tmp_path, users=40)
    data = TableDataset(str(tmp_path), "shop", k_core=1, encoder="words", seed=7)[0]
    for side in ("user", "item"):
        data[side].x = data[side].intent = torch.ones(data[side].num_nodes, 2)
    made = tmp_path / "made"
    write_published(data, made / "raw")
    items = pd.read_csv(shop / "items.csv", dtype=str)
    items.assign(profile=items["text"], intent=items["title"]).to_csv(
        made / "item_texts.csv", index=False
    )
    assert judge(tmp_path, "--data", str(made)) == 0
    told = json.loads((tmp_path / "out" / "judge.json").read_text())
    train = data["user", "rates", "item"].edge_index
    assert told["sample"]["training interactions"] == train.size(1)
    assert {row["text"] for row in told["comparisons"]} == {str(made)}
    assert {row["intents"] for row in told["comparisons"]} == {"", str(made)}


LONG = [f"word{item}" + " other" * 17_000 * (item < 3) for item in range(SIZE)]  # 10^5 characters
STRANGE = [chr(0x4E00 + item) + "\u2028\x0b🎲 e\u0301" for item in range(SIZE)]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["The same for all"] * SIZE, "240 the same as another"),
        (["nan"] * SIZE, "240 refused"),
        (LONG, f"{sum(map(len, LONG))} characters"),
        (STRANGE, "none empty, refused or twice"),
        ([f"x{item}" if item % 12 else "" for item in range(SIZE)], "empty"),
        ([f"{item}" for item in range(SIZE)], "none empty, refused or twice"),
    ],
)
def test_hostile_texts(
    texts: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shop(tmp_path, {"text": texts}, users=600)
    assert judge(tmp_path, "--judge-users", "30", "--texts", "text") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Do not pay for texts")
    assert said in printed
    assert "nan" not in printed.split("Interactions alone")[0]


def one_user(folder: Path) -> None:
    rows = [("u", f"i{item}") for item in range(SIZE)]
    pd.DataFrame(rows, columns=["user", "item"]).to_csv(folder / "interactions.csv", index=False)


def one_item(folder: Path) -> None:
    rows = [(f"u{user}", "i0") for user in range(SIZE)]
    pd.DataFrame(rows, columns=["user", "item"]).to_csv(folder / "interactions.csv", index=False)


def no_interaction(folder: Path) -> None:
    (folder / "interactions.csv").write_text("user,item\n")


def other_ids(folder: Path) -> None:
    table = pd.read_csv(folder / "items.csv", dtype=str)
    table["item"] = table["item"] + "x"
    table.to_csv(folder / "items.csv", index=False)


def no_text_column(folder: Path) -> None:
    pd.DataFrame({"item": ["i0", "i1"], "brand": ["a", "b"]}).to_csv(
        folder / "items.csv", index=False
    )


def no_items(folder: Path) -> None:
    (folder / "items.csv").unlink()


def bytes_of_a_picture(folder: Path) -> None:
    (folder / "items.csv").write_bytes(np.random.default_rng(0).bytes(2000))


@pytest.mark.parametrize(
    ("harm", "arguments", "message"),
    [
        (one_user, [], "1 users have a training item and a held-out item"),
        (one_item, [], "0 users have a training item and a held-out item"),
        (no_interaction, [], "interactions.csv"),
        (other_ids, [], "'title' has no text for any item of the interactions"),
        (no_text_column, [], "none of the columns title, text, llm_text"),
        (no_items, [], "none of the columns title"),
        (bytes_of_a_picture, [], "items.csv"),
        (None, ["--texts", "plot"], "no column 'plot'; its columns are item, title, text."),
        (None, ["--intents", "why"], "no column 'why'"),
        (None, ["--encoder", "magic"], "'magic' is not known"),
        (None, ["--judge-users", "1"], "'users' must be at least 2, got 1"),
        (None, ["--k-core", "99"], "nothing is left"),
        (None, ["--data", "nowhere"], "There is no folder"),
        (None, ["--data", __file__], "is a file; make a data set's folder of it"),
    ],
)
def test_mistakes_are_one_line(
    harm: object,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write_shop(tmp_path, users=30)
    if harm is not None:
        harm(folder)  # type: ignore[operator]
    assert judge(tmp_path, *arguments) == 2
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if not line.startswith("warning:")]
    assert line.startswith("irllrec texts: ")
    assert message in line
    assert not (tmp_path / "out").exists()

"""The subcommand `texts`, through the dispatcher."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from irllrec_pyg.cli import main
from irllrec_pyg.datasets import IRLLRecDataset
from irllrec_pyg.text.store import Store
from tests.text.conftest import NUM_ITEMS, NUM_USERS
from tests.text.stub import StubServer
from tests.text.test_keys import KEY, nowhere, tables

STEP = ["--step", "item_profile"]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def first(stub: StubServer, tmp_path: Path, folder: str) -> list[str]:
    """What the first command on a folder says; later ones need `--out` alone."""
    return [
        "--out",
        folder,
        "--model",
        "m",
        "--base-url",
        stub.url,
        "--prompts",
        "movies",
        "--no-progress",
        *tables(tmp_path / "in"),
    ]


def test_steps_one_by_one_remember_their_options(
    first: list[str], folder: str, stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["texts", "items", *first]) == 0
    assert main(["texts", "users", "--out", folder, "--model", "other", "--no-progress"]) == 0
    assert main(["texts", "intents", "--out", folder, "--no-progress"]) == 0
    # A step without a model of its own goes on with the one of the step before it.
    models = [body["model"] for body in stub.bodies]
    assert (models.count("m"), models.count("other")) == (NUM_ITEMS, NUM_ITEMS + 2 * NUM_USERS)
    assert (
        main(
            [
                "texts",
                "embed",
                "--out",
                folder,
                "--encoder",
                "openai:e",
                "--encoder-url",
                stub.url,
                "--no-progress",
            ]
        )
        == 0
    )
    assert "x of users: 12 from model" in capsys.readouterr().out
    assert (Path(folder) / "raw" / "usr_emb_np.pkl").exists()
    asked = sum(stub.asked.values())
    assert main(["texts", "status", "--out", folder]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["item_profile"][1:3] == [str(NUM_ITEMS), str(NUM_ITEMS)]
    assert sum(stub.asked.values()) == asked


def test_status_reads_no_table(
    first: list[str],
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["texts", "items", *first, "--limit", "4"]) == 0
    assert f"{NUM_ITEMS - 4} of {NUM_ITEMS} were not asked for yet" in capsys.readouterr().out
    monkeypatch.setattr("irllrec_pyg.text.inputs.read", None)
    assert main(["texts", "status", "--out", folder]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[0].split()[:7]) == "step nodes done failed in_batch no_text to_do"
    assert lines[1].split() == ["item_profile", "9", "4", "0", "0", "0", "5", "4", "480"]


def test_settings_are_written_by_the_process_that_holds_the_folder(
    first: list[str], folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["texts", "items", *first]) == 0
    store = Store(Path(folder) / "texts.sqlite")
    before = store.get("options")
    other = ["texts", "items", "--out", folder, "--temperature", "0.9"]
    manifest = (Path(folder) / "manifest.json").read_bytes()
    with store.claim():
        assert main(other) == 2
        assert (Path(folder) / "manifest.json").read_bytes() == manifest
        assert "Another run is writing" in capsys.readouterr().err
        assert main([*other, "--dry-run"]) == 0  # looking needs no lock
    assert store.get("options") == before
    assert main(other) == 0
    assert store.get("options")["chat"]["item_profile"]["temperature"] == 0.9


def test_a_step_without_a_model_is_named(
    first: list[str], folder: str, stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    without = [part for part in first if part not in ("--model", "m")]
    encoder = ["--encoder", "openai:e", "--encoder-url", stub.url]
    assert main(["texts", "run", *without, *encoder]) == 0
    assert "item_intent: nobody was asked, for it has no model" in capsys.readouterr().out


def test_half_precision(first: list[str], folder: str, stub: StubServer) -> None:
    encoder = ["--encoder", "openai:e", "--encoder-url", stub.url]
    assert main(["texts", "run", *first, *encoder, "--half"]) == 0
    rows = np.load(Path(folder) / "embeddings" / "x_user.npy", mmap_mode="r")
    assert (rows.dtype, rows.shape) == (np.float16, (NUM_USERS, stub.width))
    data = IRLLRecDataset(Path(folder).parent, Path(folder).name)[0]
    assert data["user"].x.dtype == torch.float32
    np.testing.assert_array_equal(data["user"].x.numpy(), rows.astype(np.float32))


def test_dry_run_asks_and_writes_nothing(
    first: list[str], folder: str, stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["texts", "run", *first, "--dry-run", "--prices", "0.15", "0.6"]) == 0
    printed = capsys.readouterr().out
    assert not stub.asked
    assert "cost" in printed
    assert not Path(folder).exists()


def test_a_folder_of_tables_by_its_name(
    stub: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, out = tmp_path / "data" / "shop", tmp_path / "out"
    shop.mkdir(parents=True)
    pairs = [f"u{user},{item:02}" for user in range(8) for item in range(9) if user != item]
    (shop / "interactions.csv").write_text("\n".join(["user,item", *pairs]))
    (shop / "items.csv").write_text(
        "\n".join(["item,title", *(f"{item:02},Thing {item}" for item in range(9))])
    )
    options = ["--model", "m", "--base-url", stub.url, "--prompts", "movies", "--no-progress"]
    assert main(["texts", "items", "--data", str(shop), "--out", str(out), *options]) == 0
    assert sum(stub.asked.values()) == 9
    assert any("Thing 3" in str(body) for body in stub.bodies)
    # As earlier versions said it, and as their folders remember it.
    named = ["--root", str(tmp_path / "data"), "--name", "shop"]
    assert main(["texts", "items", *named, "--out", str(out)]) == 0
    assert main(["texts", "items", "--out", str(out)]) == 0
    assert sum(stub.asked.values()) == 9


def test_show_prints_a_prompt_and_its_answer(
    first: list[str], folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["texts", "items", *first])
    capsys.readouterr()
    assert main(["texts", "show", "--out", folder, "--node", "103", *STEP]) == 0
    printed = capsys.readouterr().out
    assert "The description of number 3." in printed
    assert "summarization" in printed.split("--- answer ---")[1]


def test_limit_samples_and_the_rest_is_made_from_attributes(
    first: list[str], stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "texts",
                "run",
                *first,
                "--limit",
                "4",
                "--encoder",
                "openai:e",
                "--encoder-url",
                stub.url,
            ]
        )
        == 0
    )
    assert sum(stub.asked.values()) == 16
    counts = capsys.readouterr().out.split("x of items: ")[1].splitlines()[0]
    assert sorted(counts.split(", ")) == ["4 from model", f"{NUM_ITEMS - 4} from attributes"]


def test_a_batch_from_the_command_line(
    first: list[str], folder: str, stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--out", folder, *STEP]
    assert main(["texts", "batch-write", *STEP, *first]) == 0
    assert main(["texts", "batch-submit", *rest]) == 0
    stub.finish_batches()
    assert main(["texts", "batch-poll", *rest]) == 0
    assert main(["texts", "batch-collect", *rest]) == 0
    printed = capsys.readouterr().out
    assert f"{NUM_ITEMS} ok, 0 failed, 0 unanswered" in printed
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    assert manifest["steps"]["item_profile"]["done"] == NUM_ITEMS


def test_a_batch_that_is_lost_is_given_up(
    first: list[str], folder: str, stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--out", folder, *STEP]
    assert main(["texts", "batch-write", *STEP, *first]) == 0
    assert main(["texts", "batch-submit", *rest]) == 0
    stub.finish_batches()
    del stub.files[stub.batches["batch-0"]["output_file_id"]]
    assert main(["texts", "batch-collect", *rest]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["texts", "batch-drop", *rest]) == 0
    assert "item_profile-000.jsonl: given up" in capsys.readouterr().out
    assert main(["texts", "batch-drop", *rest]) == 0
    assert "nothing is waiting" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["items", "--interactions", "p.csv"], "--items is needed"),
        (["items", "--items", "nowhere.csv", "--interactions", "p.csv"], "No such file"),
        (["users", "FIRST"], "have no answer yet"),
        (["show", "FIRST"], "needs --node"),
        (["batch-poll", "FIRST"], "batch-poll needs --step"),
        (["batch-drop", "FIRST", *STEP, "--force"], "--force needs --part"),
        (["embed", "FIRST", "--allow-incomplete", "--encoder", "magic"], "'magic' is not known"),
        (["items", "FIRST", "--prompts", "songs"], "no prompt set 'songs'"),
        (["show", "FIRST", "--node", "nobody"], "There is no 'nobody' in any step"),
        (
            ["plan", "--interactions", "p.csv", "--items", "i.csv", "--model", ""],
            "--model is needed",
        ),
        (["status"], "Nothing was made in"),
        (["items", "FIRST", "--extra", "{"], "--extra must be a JSON object"),
        (["items", "FIRST", "--extra", "[1]"], "'extra' must be fields"),
        (["items", "FIRST", "--extra", '{"n": 8, "stream": true}'], "may not set n, stream"),
        (["items", "FIRST", "--extra", f'{{"api_key": "{KEY}"}}'], "'extra' seems to hold an API"),
        (["items", "FIRST", "--extra", f'{{"headers": ["{KEY}"]}}'], "'extra' seems to hold an"),
        (["items", "FIRST", "--cache", f"/tmp/{KEY}/answers"], "'cache' seems to hold an API key"),
        (["items", "FIRST", "--model", KEY], "'model' seems to hold an API key"),
        (["items", "FIRST", "--key-variable", KEY], "not the key itself"),
        (["items", "FIRST", "--key-variable", "abcd1234efgh5678ijkl"], "not the key itself"),
        (["items", "FIRST", "--base-url", f"http://h/{KEY}/v1"], "'base_url' seems to hold an API"),
        (["items", "FIRST", "--base-url", f"http://h/v1?k={KEY}"], "'base_url' seems to hold an"),
        (["items", "FIRST", "--split", "most"], "--split must be shares such as"),
        (["items", "FIRST", "--split", "0:0:0"], "--split must be shares such as"),
        (["items", "FIRST", "--max-cost", "1"], "--max-cost needs --prices"),
        (["items", "FIRST", "--limit", "-1"], "The limit (--limit) must be at least 0"),
        (["items", "FIRST", "--max-cost", "1", "--prices", "-1", "1"], "must be numbers from 0"),
        (["items", "FIRST", "--max-cost", "nan", "--prices", "1", "1"], "must be numbers from 0"),
        (["items", "FIRST", "--reviews", "EMPTY"], "empty.csv is empty"),
        (["items", "FIRST", "--items", "BINARY"], "binary.csv must be in UTF-8"),
        (["items", "FIRST", "--items", "FOLDER"], "is not a Parquet file"),
        (["items", "FIRST", "--out", "FILE"], "empty.csv"),
        (["items", "FIRST", "--concurrency", "0"], "'concurrency' must be at least 1"),
        (["items", "FIRST", "--cache", "BINARY"], "binary.csv: it is damaged"),
        (
            [
                "batch-write",
                "FIRST",
                *["--step", "item_profile", "--max-cost", "1", "--prices", "1", "1"],
            ],
            "--max-cost is not for batches",
        ),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    first: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {name: tmp_path / f"{name.lower()}.csv" for name in ("EMPTY", "BINARY")}
    files["EMPTY"].touch()
    files["BINARY"].write_bytes(bytes(range(256)) * 9)
    files |= {"FOLDER": tmp_path, "FILE": files["EMPTY"]}
    arguments = [str(files.get(argument, argument)) for argument in arguments]
    if "FIRST" in arguments:
        at = arguments.index("FIRST")
        arguments = [*arguments[:at], *first, *arguments[at + 1 :]]
    elif arguments != ["status"]:
        arguments = ["--model", "m", *arguments]
    if "--out" not in arguments:
        arguments = [*arguments, "--out", str(tmp_path / "o")]
    assert main(["texts", *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    nowhere(KEY, tmp_path, errors)

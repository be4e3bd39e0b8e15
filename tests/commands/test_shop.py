"""From a folder of CSVs to lists and reasons, by commands alone."""

import json
import re
import shutil
from io import StringIO

import pandas as pd
import pytest

from irllrec_pyg import RunConfig, load_folder, save_folder
from irllrec_pyg.cli import main
from irllrec_pyg.commands.common import ids_of
from irllrec_pyg.datasets.config import DataConfig


def read(text):
    return pd.read_csv(StringIO(text), dtype={"user": str, "item": str, "id": str, "of": str})


def test_a_run_is_a_folder_that_repeats_it(run_folder, shop, tmp_path, capsys):
    names = {path.name for path in run_folder.iterdir()}
    assert names >= {"config.yaml", "result.json", "users.npz", "model.safetensors", "README.md"}
    config = RunConfig.load(run_folder / "config.yaml")
    assert (config.ranker.name, config.ranker.trials, config.data.encoder) == ("ease", 1, None)
    again = str(tmp_path / "again")
    assert main(["train", "--config", str(run_folder / "config.yaml"), "--out", again]) == 0
    first, second = (
        json.loads((path / "result.json").read_text()) for path in (run_folder, tmp_path / "again")
    )
    assert first["test"] == second["test"]
    assert f"{first['test']['ndcg@20']:.4f}" in capsys.readouterr().out
    card = (run_folder / "README.md").read_text(encoding="utf-8")
    assert "60 users, 32 items" in card
    assert "Licence of data and texts: not stated" in card


def test_a_finished_run_is_not_made_again_and_another_one_is_refused(run_folder, shop, capsys):
    before = (run_folder / "model.safetensors").stat().st_mtime_ns
    base = ["train", "--data", str(shop), "--out", str(run_folder), "--quiet"]
    same = ["--model", "ease", "--trials", "1", "--encoder", "none"]
    assert main([*base, *same]) == 0
    assert (run_folder / "model.safetensors").stat().st_mtime_ns == before
    assert main([*base, *same, "--linear.reg", "3"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


def test_lists_are_written_with_titles_and_owners_ids(run_folder, tmp_path, capsys):
    whole = tmp_path / "lists.csv.gz"
    assert main(["recommend", str(run_folder), "--all", "--k", "4", "--out", str(whole)]) == 0
    table = pd.read_csv(whole, dtype=str)
    expected = load_folder(run_folder).recommend(k=4)
    assert table[["user", "item"]].values.tolist() == expected[["user", "item"]].values.tolist()
    titles = dict(zip(table["item"], table["title"], strict=True))
    assert titles["é12"] == "cooking pasta sauce 12"
    capsys.readouterr()
    ask = ["recommend", str(run_folder), "--user", "0001,用户-2", "--k", "2", "--out", "-"]
    assert main(ask) == 0
    some = read(capsys.readouterr().out)
    assert some["user"].tolist() == ["0001"] * 2 + ["用户-2"] * 2


def test_users_who_are_known_get_their_lists_beside_unknown_ones(run_folder, tmp_path, capsys):
    out = tmp_path / "lists.csv"
    ask = ["recommend", str(run_folder), "--k", "2", "--out", str(out), "--user"]
    strangers = [f"x{at}" for at in range(7)]
    assert main([*ask, "1", "0001", *strangers, "用户-2"]) == 3
    assert pd.read_csv(out, dtype=str)["user"].tolist() == ["0001"] * 2 + ["用户-2"] * 2
    said = capsys.readouterr().err
    assert "Unknown user '1'; did you mean '0001'?" in said
    assert "Unknown user 'x3'" in said
    assert "no list for 8. 3 more are unknown. " in said
    assert "--history ITEMS" in said
    out.unlink()
    assert main([*ask, "nobody"]) == 2
    assert "Unknown user 'nobody'" in (said := capsys.readouterr().err)
    assert "--history ITEMS" in said
    assert not out.exists()


def test_lists_keep_to_rules_for_people_that_nobody_knows(run_folder, capsys):
    ask = ["recommend", str(run_folder), "--history", "é0,004", "--k", "5", "--out", "-"]
    rules = ["--where", "price < 30 and in_stock == True", "--max-per", "author=1", "--deny", "008"]
    assert main([*ask, *rules]) == 0
    table = read(capsys.readouterr().out)
    assert len(table) == 4  # authors of items in stock
    number = table["item"].str.strip("é").astype(int)
    assert (number < 25).all()
    assert (number % 5 != 0).all()
    assert (number % 5).is_unique
    assert not set(table["item"]) & {"é0", "004", "008"}
    assert main([*ask[:-4], "--weights", "1", "--out", "-"]) == 2
    assert "one number for each of the 2 items" in capsys.readouterr().err


def test_similar_and_explain(run_folder, capsys):
    assert main(["similar", str(run_folder), "--item", "004", "--k", "3", "--out", "-"]) == 0
    table = read(capsys.readouterr().out)
    assert table["title"].str.startswith("cooking").all()
    assert main(["explain", str(run_folder), "--history", "é0,008", "--item", "004"]) == 0
    printed = capsys.readouterr().out
    assert "cooking pasta sauce 8" in printed
    assert "add up to the score" in printed


def test_runs_stand_beside_baselines(run_folder, capsys):
    ask = ["evaluate", str(run_folder), "--baselines", "popularity", "--k", "5", "--out", "-"]
    assert main(ask) == 0
    table = read(capsys.readouterr().out)
    assert table["model"].tolist() == ["popularity", str(run_folder)]
    stored = json.loads((run_folder / "result.json").read_text())["test"]
    assert table["ndcg@5"][1] == pytest.approx(stored["ndcg@5"])


def test_an_id_with_a_comma_stands_apart(run_folder):
    ranker = load_folder(run_folder)
    ranker.item_ids = ["a", "b", "a,b", *ranker.item_ids[3:]]
    assert ids_of(ranker, "item", ["a,b", "b, a"]) == ["a,b", "b", "a"]


def test_nothing_is_left_to_list(run_folder, capsys):
    assert main(["recommend", str(run_folder), "--all", "--where", "price < 0"]) == 0
    assert capsys.readouterr().out == "Nothing is left to list.\n"


@pytest.mark.parametrize("lost", ["model.safetensors", "result.json"])
def test_a_run_without_a_file_that_was_deleted_makes_it_again(run_folder, tmp_path, lost, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    before = load_folder(folder).recommend(k=3)
    (folder / lost).unlink()
    if lost == "result.json":
        assert main(["evaluate", str(folder), "--k", "5"]) == 0
    assert main(["train", "--config", str(folder / "config.yaml"), "--quiet"]) == 0
    assert (folder / lost).exists()
    pd.testing.assert_frame_equal(load_folder(folder).recommend(k=3), before)


def test_a_result_without_fields_is_one_line(run_folder, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    (folder / "result.json").write_text("{}")
    for command in (["evaluate", str(folder)], ["train", "--config", f"{folder}/config.yaml"]):
        assert main(command) == 2
        assert "result.json is damaged" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("recommend {run} --user 1", "did you mean '0001'? Whom the model does not"),
        ("recommend {run} --user 0001 --allow ,", "--allow must be ids of items, got none"),
        ("recommend {run} --user 0001 --where pric<3", "no column 'pric'"),
        ("recommend {run} --user 0001 --max-per author", "--max-per must be COLUMN=N"),
        ("recommend {run} --user 0001 --out x.txt", "--out must be -, or end in .csv"),
        ("recommend {run}/none --all", "'irllrec train --out"),
        ("explain {run} --user 0001 --item 999", "Unknown item '999'"),
        ("train --data nowhere", "There is no folder 'nowhere'"),
        ("train", "--data is needed"),
        ("train --data {shop} --model tail", "Unknown model 'tail'; did you mean 'tale'?"),
        ("train --data {shop} --model ease --lr 1 --linear.regg 3", "unrecognized arguments"),
        ("train --data {shop} --model ease --backbone.num-layers 3", "'ease' has no setting"),
        ("train --data {shop} --model lightgcn --linear.reg 3", "'lightgcn' has no setting"),
        (
            "train --data {shop} --model ease --linear.reg -3",
            "'reg' must be greater than 0, got -3",
        ),
        ("train --data {shop} --k-core 99", "9 is the largest that leaves some (--k-core)"),
        ("train --config {shop}/none.yaml", "none.yaml: No such file or directory."),
        ("train --config {shop}", "Is a directory."),
        ("train --data {run}", "holds no table interactions.csv; 'irllrec data check"),
        ("evaluate {shop}", "is no run"),
        ("recommend {run} --user ,", "--user must be ids of users, got none"),
        ("recommend {run} --all --k 0", "must be a whole number of at least 1, got '0'"),
        ("recommend {run} --all --where title", "must be true or false for each item"),
        ("explain {run} --user 0001 --item 004 --weights 1", "--weights belongs to --history"),
    ],
)
def test_what_a_user_can_mend_is_one_line(run_folder, shop, capsys, monkeypatch, command, message):
    monkeypatch.chdir(shop.parent)
    arguments = [part.format(run=run_folder, shop=shop) for part in command.split()]
    try:
        status = main(arguments)
    except SystemExit as error:  # of argparse
        status = error.code
    assert status == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in said


def test_a_search_is_drawn_repeated_and_goes_on(shop, tmp_path, capsys):
    ask = ["tune", "--data", str(shop), "--model", "ease", "--encoder", "none", "--quiet"]
    ask += ["--out", str(tmp_path / "run"), "--sampler", "grid"]
    assert main([*ask, "--trials", "2"]) == 0
    assert main([*ask, "--trials", "9"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    tried = [trial["settings"]["reg"] for trial in result["search"]["ease"]["tried"]]
    assert sorted(tried) == [25.0, 50.0, 100.0, 200.0, 400.0]  # each twice the one before
    assert (tmp_path / "run" / "tuning.png").read_bytes().startswith(b"\x89PNG")
    best = ["train", "--config", str(tmp_path / "run" / "best.yaml"), "--quiet"]
    assert main([*best, "--out", str(tmp_path / "best")]) == 0
    again = json.loads((tmp_path / "best" / "result.json").read_text())
    assert again["test"] == result["test"]
    assert again["search"] == {}


@pytest.mark.slow
def test_a_graph_model_is_trained_tuned_and_asked(shop, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--encoder", "none", "--epochs", "3", "--training.eval-every", "1", "--quiet"]
    ask = ["--data", str(shop), "--model", "lightgcn", *small]
    assert main(["train", *ask, "--out", "run"]) == 0
    assert main(["recommend", "run", "--history", "é0,004", "--k", "2"]) == 0
    assert main(["tune", *ask, "--trials", "4", "--prune", "--out", "tuned"]) == 0
    assert main(["train", "--config", "tuned/best.yaml", "--out", "best", "--quiet"]) == 0
    one, two = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("tuned", "best")
    )
    assert one["test"] == two["test"]


def test_new_items_keep_to_rules_on_numbers(shop, tmp_path, capsys):
    folder, arrivals = tmp_path / "run", tmp_path / "new.csv"
    options = ["--model", "text-mean", "--trials", "1", "--encoder", "words", "--quiet"]
    assert main(["train", "--data", str(shop), "--out", str(folder), *options]) == 0
    arrivals.write_text("item,title,price\nnew-1,the black gate,12\nnew-2,the black gate,99.5\n")
    capsys.readouterr()
    asked = ["recommend", str(folder), "--all", "--new", str(arrivals), "--with-data", "--k", "99"]
    assert main([*asked, "--where", "price < 20"]) == 0
    listed = capsys.readouterr().out
    assert "new-1" in listed
    assert "new-2" not in listed


def test_new_items_are_read_by_the_name_that_the_data_had(shop, tmp_path, capsys):
    orders, books = tmp_path / "orders.csv", tmp_path / "books.csv"
    for name, own in (("interactions", orders), ("items", books)):
        pd.read_csv(shop / f"{name}.csv", dtype=str).rename(columns={"item": "isbn"}).to_csv(
            own, index=False
        )
    data, run = str(tmp_path / "data"), str(tmp_path / "run")
    assert (
        main(["data", "convert", str(orders), data, "--item", "isbn", "--items", str(books)]) == 0
    )
    options = ["--model", "text-mean", "--trials", "0", "--encoder", "words", "--quiet"]
    assert main(["train", "--data", data, "--out", run, *options]) == 0
    new = tmp_path / "new.csv"
    ask = ["recommend", run, "--user", "0001", "--k", "99", "--with-data", "--out", "-"]
    for text, more in (
        ("isbn,item,title\nnew-1,7,the black gate\n", []),
        ("item,title\nnew-1,the black gate\n", []),
        ("ean,isbn,title\nnew-1,7,the black gate\n", ["--item", "ean"]),
    ):
        new.write_text(text)
        capsys.readouterr()
        assert main([*ask, "--new", str(new), *more]) == 0
        assert {"new-1"} < set(read(capsys.readouterr().out)["item"])
    new.write_text("ean,title\nnew-1,the black gate\n")
    assert main([*ask, "--new", str(new)]) == 2
    assert "its columns are ean, title. Name that of the ids: --item" in capsys.readouterr().err
    new.write_text("isbn,title\nnew-1,x\n,y\n")
    assert main([*ask, "--new", str(new)]) == 2
    assert "new.csv, line 3: column 'isbn' is empty" in capsys.readouterr().err
    assert main([*ask, "--item", "isbn"]) == 2
    assert "--item belongs to --new" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*have no text")
def test_command_and_server_explain_an_ensemble_alike(shop, tmp_path, capsys):
    pytest.importorskip("prometheus_client")
    from irllrec_pyg.linear import EASE, TextMean
    from irllrec_pyg.ranking import Blend
    from irllrec_pyg.serving import Limits, Shelf, answers, messages

    dataset = DataConfig.at(str(shop), encoder="words").open()
    blend = Blend(EASE(dataset[0]), TextMean(dataset[0]), weights=(1, 3))
    folder = tmp_path / "run"
    save_folder(blend, folder, dataset.items)
    config = RunConfig.of("tale", "clean", {"data.encoder": "words"}, shop.parent)
    config.save(folder / "config.yaml")
    ask = ["explain", str(folder), "--user", "0001", "--item", "004"]
    for by in ([], ["--by", "words"]):
        assert main([*ask, *by, "--with-data", "--out", "-"]) == 0
        table = pd.read_csv(StringIO(capsys.readouterr().out), keep_default_na=False)
        served = Shelf(lambda: load_folder(folder, dataset)).current
        request = messages.ExplainRequest(user="0001", item="004", by=by[1] if by else None)
        answer = answers.explain(served, request, Limits())
        parts = {"": answer, **answer["parts"]}
        assert list(dict.fromkeys(table["part"])) == list(parts)
        for name, own in table.groupby("part"):
            assert own["reason"].tolist() == [one["reason"] for one in parts[name]["reasons"]]
        reasons = table.loc[table["part"] == ("TextMean" if by else "TextMean/words"), "reason"]
        assert "word 'cooking'" in set(reasons)
    assert main([*ask, "--with-data"]) == 0
    printed = capsys.readouterr().out
    assert "\nTextMean/words\n" in printed
    assert main([*ask, "--by", "words"]) == 2
    assert "add --with-data" in capsys.readouterr().err


def test_a_core_that_leaves_some_out_is_told(shop, tmp_path, capsys, caplog):
    options = ["--model", "ease", "--trials", "1", "--encoder", "none", "--quiet", "--k-core", "6"]
    assert main(["train", "--data", str(shop), "--out", str(tmp_path / "run"), *options]) == 0
    assert re.search(r"who has fewer than 6 interactions .* \d+ of 60 users and", caplog.text)

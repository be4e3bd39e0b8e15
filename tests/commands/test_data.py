"""Statistics, checks and conversion of data sets at the command line."""

import pandas as pd
import pytest
import torch

from irllrec_pyg import IRLLRecDataset
from irllrec_pyg.cli import main
from irllrec_pyg.datasets import DataFileError
from irllrec_pyg.datasets.check import check_tables
from irllrec_pyg.datasets.convert import item_column
from irllrec_pyg.datasets.tables import read_table


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_check_names_every_problem_with_file_line_and_mend(raw_shop, capsys):
    end = len((raw_shop / "interactions.csv").read_text(encoding="utf-8").splitlines())
    assert main(["data", "check", str(raw_shop)]) == 2
    *problems, last = lines(capsys)
    assert [line.split(f"{raw_shop}/")[1].split(". ")[0] for line in problems] == [
        "interactions.csv, line 22: column 'user' is empty (2 such rows, also line 23)",
        "interactions.csv, line 22: column 'item' is empty",
        f"interactions.csv, line {end - 1}: '用户-0' and 'é0' is there already (2 such rows, also "
        f"line {end})",
        "items.csv, line 34: '002' is there already",
        "items.csv, line 9: column 'title' is empty",
    ]
    assert [line.split(":")[0] for line in problems] == ["error", "error", "note", "note", "note"]
    assert "irllrec data convert" in problems[0]
    assert "2 must be mended" in last


def test_a_copy_without_empty_rows_can_be_read(shop, capsys):
    assert main(["data", "check", str(shop)]) == 0
    assert "it can be read" in lines(capsys)[-1]
    assert main(["data", "stats", str(shop)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "users 60 " in printed
    assert "items with a text 96.9%" in printed


@pytest.mark.parametrize(
    ("interactions", "items", "found"),
    [
        ("who,item\na,b\n", "item,title\nb,x\n", "there is no column 'user'; there are who, item"),
        ("user,item\na,b,c,d\n", "item\nb\n", "is damaged or not a table"),
        ("user,item\n1.2E+10,b\n", "item,title\nb,x\n", "a spreadsheet has rounded"),
        ("user,item\n a,b\n", "item,title\nb,x\n", "a user has a space at its end"),
        (
            "user,item\na,e\u0301\n",
            "item,title\ne\u0301,x\n",
            "an accent as a character of its own",
        ),
        ("user,item\na,7\n", "item,title\n007,x\n", "'007' has one: write ids in one way"),
        ("user,item\na,b\n", "item,name\nb,x\n", "name columns: --text name"),
        ("user,item\na,b\n", "item,title\nb,x\n", "Train with --k-core 1"),
        (
            "user,item,time\na,b,2024-01-01\nb,b,2024-01-02\na,c,01.02.2024\n",
            "item,title\nb,x\n",
            "line 4: the time '01.02.2024' is no date without a time zone",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path, interactions, items, found):
    (tmp_path / "interactions.csv").write_text(interactions, encoding="utf-8")
    (tmp_path / "items.csv").write_text(items, encoding="utf-8")
    assert any(found in str(problem) for problem in check_tables(tmp_path))


def test_a_folder_of_tables_with_other_names_says_how_to_convert_them(tmp_path):
    (tmp_path / "orders.csv").write_text("who,what\na,b\n")
    pairs, _ = check_tables(tmp_path)
    assert "the table that is one (orders.csv): irllrec data convert TABLE FOLDER" in str(pairs)


def test_nothing_is_said_of_tables_without_fault(tmp_path):
    pairs = [(f"u{u}", f"i{i}", u * i) for u in range(6) for i in range(6)]
    table = pd.DataFrame(pairs, columns=["user", "item", "time"])
    table.to_csv(tmp_path / "interactions.csv", index=False)
    titles = pd.DataFrame({"item": [f"i{i}" for i in range(6)], "title": "t"})
    titles.to_csv(tmp_path / "items.csv", index=False)
    assert check_tables(tmp_path) == []
    (tmp_path / "users.csv").write_text("user,text\nu1,likes t\n")
    (said,) = map(str, check_tables(tmp_path))
    assert "users.csv: texts of users are left out" in said
    assert "--user-text" in said


def test_a_copy_says_what_it_left_out_and_why(tmp_path, capsys):
    items = "item,title\n,x\na,x\n ,x\na,y\nb,z\nb,z\na,z\n"
    (tmp_path / "interactions.csv").write_text("user,item\nu,a\nu,a\n")
    (tmp_path / "items.csv").write_text(items)
    assert main(["data", "convert", str(tmp_path), str(tmp_path / "out"), "--to", "tables"]) == 0
    said = capsys.readouterr().out
    assert "items.csv: left out 2 rows without an id and 3 rows whose id is there already." in said
    assert "interactions.csv: left out" not in said
    assert (tmp_path / "out" / "items.csv").read_text() == "item,title\na,x\nb,z\n"


def test_a_file_with_other_names_becomes_a_folder(tmp_path, capsys):
    orders, books = tmp_path / "orders.csv", tmp_path / "books.tsv"
    orders.write_text("isbn,who,when\n007,ann,3\n007,,4\n", encoding="utf-8")
    books.write_text("isbn\ttitle\n007\tBond\n007\ttwice\n", encoding="utf-8")
    command = ["data", "convert", str(orders), str(tmp_path / "shop")]
    names = ["--user", "who", "--item", "isbn", "--time", "when", "--items", str(books)]
    assert main([*command, *names]) == 0
    shop = tmp_path / "shop"
    assert (shop / "interactions.csv").read_text() == "item,user,time\n007,ann,3\n"
    assert (shop / "items.csv").read_text() == "item,title\n007,Bond\n"
    said = capsys.readouterr().out
    assert "orders.csv: left out 1 row without an id.\n" in said
    assert "books.tsv: left out 1 row whose id is there already.\n" in said
    assert main([*command, "--user", "customer"]) == 2
    assert "no column 'customer'; its columns are isbn, who, when" in capsys.readouterr().err


def test_ids_of_the_items_may_have_a_name_of_their_own(tmp_path, capsys):
    orders, books = tmp_path / "orders.csv", tmp_path / "books.csv"
    orders.write_text("user,isbn\nann,007\n")
    books.write_text("sku,isbn,title\n007,978,Bond\n")
    shop = tmp_path / "shop"
    command = ["data", "convert", str(orders), str(shop), "--item", "isbn", "--items", str(books)]
    assert main([*command, "--items-id", "sku"]) == 0
    assert (shop / "items.csv").read_text() == "item,isbn,title\n007,978,Bond\n"
    books.write_text("sku,title\n007,Bond\n")
    assert item_column(shop, read_table(books)) == "sku"
    assert main(command) == 2
    assert "its columns are sku, title. Name the right one: --items-id" in capsys.readouterr().err


def test_check_of_a_file_says_how_a_folder_is_made(tmp_path, capsys):
    (tmp_path / "orders.csv").write_text("user,item\nann,007\n")
    assert main(["data", "check", str(tmp_path / "orders.csv")]) == 2
    assert "is no folder of tables. Make one of a table" in capsys.readouterr().err


def test_times_of_which_none_can_be_read_are_not_compared_with_others(tmp_path, capsys):
    (tmp_path / "interactions.csv").write_text("user,item,time\nann,007,31.01.2025\n")
    assert main(["data", "check", str(tmp_path), "--k-core", "1"]) == 0
    said = capsys.readouterr().out
    assert "the time '31.01.2025' is no number or ISO 8601 date. " in said


def test_check_tells_how_items_get_their_ids(tmp_path, capsys):
    (tmp_path / "interactions.csv").write_text("user,item\nann,007\n")
    (tmp_path / "items.csv").write_text("sku,title\n007,Bond\n")
    assert main(["data", "check", str(tmp_path), "--k-core", "1"]) == 2
    (said,) = [line for line in lines(capsys) if "no column 'item'" in line]
    command = said.split("irllrec ")[1].rstrip(".").replace("ITS_NAME", "sku").split()
    shop = tmp_path / "shop"
    assert main([str(shop) if word == "FOLDER" else word for word in command]) == 0
    assert (shop / "items.csv").read_text() == "item,title\n007,Bond\n"


def test_check_names_columns_of_numbers_with_a_decimal_comma(tmp_path, capsys):
    rows = [("a", "12,50", "1,2"), ("b", "1.299,00", "one, two"), ("c", "", "3"), ("d", "0,9", "")]
    items = pd.DataFrame(rows, columns=["item", "price", "parts"]).assign(title="x")
    items.to_csv(tmp_path / "items.csv", index=False)
    (tmp_path / "interactions.csv").write_text("user,item,time\nann,a,1\n")
    assert main(["data", "check", str(tmp_path), "--k-core", "1"]) == 0
    (said,) = [line for line in lines(capsys) if "comma" in line]
    assert "items.csv, line 2: column 'price' has numbers with a decimal comma" in said
    assert "(3 such rows, also lines 3, 5)" in said


@pytest.mark.filterwarnings("ignore:Data set 'again' has no")
def test_the_published_layout_and_back_keep_ids_splits_and_texts(shop, tmp_path):
    published, tables, again = (tmp_path / name for name in ("published", "tables", "again"))
    arguments = ["--k-core", "2", "--encoder", "none", "--split", "time"]
    assert main(["data", "convert", str(shop), str(published), *arguments]) == 0
    assert main(["data", "convert", str(published), str(tables)]) == 0
    assert main(["data", "convert", str(tables), str(again)]) == 0
    one, two = (IRLLRecDataset(tmp_path, folder.name)[0] for folder in (published, again))
    assert "é0" in one["item"].raw_id
    for side in ("user", "item"):
        assert one[side].raw_id == two[side].raw_id
    for name in ("edge_index", "val_edge_label_index", "edge_label_index"):
        edges = ("user", "rates", "item")
        assert torch.equal(one[edges][name], two[edges][name])
    texts = pd.read_csv(tables / "items.csv", dtype=str).set_index("item")["text"]
    assert texts["é0"] == "cooking pasta sauce 0"
    tables_own = pd.read_csv(tables / "interactions.csv", dtype=str)
    assert set(tables_own["split"]) == {"train", "val", "test"}


def test_an_unknown_split_of_a_table_is_refused(tmp_path, capsys):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "interactions.csv").write_text("user,item,split\na,b,train\na,c,dev\n")
    assert main(["data", "convert", str(tmp_path / "own"), str(tmp_path / "out")]) == 2
    assert "line 3: 'split' must be one of train, val, test, got 'dev'" in capsys.readouterr().err


def test_cards_say_where_data_come_from(capsys):
    assert main(["data", "cards", "movie"]) == 0
    assert "16,994 users x 9,370 items" in capsys.readouterr().out
    assert main(["data", "cards", "film"]) == 2
    assert "no card of 'film'" in capsys.readouterr().err


def test_one_column_is_not_both_sides(tmp_path, capsys):
    (tmp_path / "own.csv").write_text("customer,isbn\na,b\n")
    ask = ["data", "convert", str(tmp_path / "own.csv"), str(tmp_path / "out")]
    assert main([*ask, "--user", "isbn", "--item", "isbn"]) == 2
    said = "each of --user isbn, --item isbn must be a column of its own."
    assert said in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([*ask[:3], str(tmp_path / "file"), "--user", "customer", "--item", "isbn"]) == 2
    assert "There must be a folder, not a file" in capsys.readouterr().err


@pytest.mark.parametrize("content", ['{"item": {}}', "[" * 100_000, "[]", "{"])
def test_damaged_names_of_columns_are_named(tmp_path, content):
    (tmp_path / "columns.json").write_text(content)
    with pytest.raises(DataFileError, match=r"columns\.json is damaged"):
        item_column(tmp_path, pd.DataFrame({"item": ["a"]}))

r"""Folders of tables that cannot be used, or written beside, and runs of them."""

import errno
from pathlib import Path

import pytest
import torch

from irllrec_pyg.config import ConfigError
from irllrec_pyg.datasets import DataFileError, TableDataset
from irllrec_pyg.runs import DataConfig, RunConfig, run

from .shops import Letters, opened, pairs_of, tables, write


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_in_a_folder_of_others_nothing_is_written(shop, tmp_path, monkeypatch, number):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make = Path.mkdir

    def refuse(path, *args, **options):
        if "processed" in path.relative_to(tmp_path).parts[:3] and path.is_relative_to(
            shop / "shop"
        ):
            raise OSError(number, "Not yours", str(path))
        make(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    encoder = Letters()
    first = opened(shop, encoder)
    asked = len(encoder.asked)
    monkeypatch.setattr(TableDataset, "_build", None)  # the graph is in the user's own cache
    again = opened(shop, encoder)
    assert torch.equal(again[0]["item"].x, first[0]["item"].x)
    assert pairs_of(again[0]) == pairs_of(first[0])
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "mkdir", refuse)
    opened(shop, encoder, seed=1)
    assert len(encoder.asked) == asked  # and so are the embeddings
    assert sorted(path.name for path in (shop / "shop").iterdir()) == [
        "interactions.csv",
        "items.csv",
    ]
    kept = [path.name for path in (tmp_path / "cache").rglob("*.pt")]
    assert len(kept) == 2
    (shop / "other").mkdir()  # a folder of the same name elsewhere is another
    write(shop / "other" / "shop", tables()[0].iloc[::-1])
    assert len(opened(shop / "other", encoder).texts) > 10
    assert len([*(tmp_path / "cache").rglob("*.pt")]) == 2


def test_where_nothing_may_be_written_the_graph_is_made_each_time(shop, tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("irllrec_pyg.datasets.base.atomic_path", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = opened(shop)
    assert torch.equal(opened(shop)[0]["item"].x, first[0]["item"].x)
    assert not list(tmp_path.rglob("*.pt"))


def broken(text):
    return lambda folder: (folder / "interactions.csv").write_text(text)


@pytest.mark.parametrize(
    ("damage", "settings", "message"),
    [
        (broken(""), {}, r"interactions\.csv is empty"),
        (broken("user,item\n"), {}, r"interactions\.csv has no row"),
        (broken("user,thing\na,b\n"), {}, r"no column 'item'; its first row .* ',': user, thing"),
        (broken("user,item\na,b\n,c\n"), {}, r"interactions\.csv, line 3: column 'user' is empty"),
        (broken("user,item\na,b,c\n"), {}, r"interactions\.csv is damaged or not a table"),
        (broken("user,item\na,b\nc,d,e\n"), {}, r"interactions\.csv is damaged .*line 3"),
        (broken("user,item\na,b\n"), {}, r"nothing is left of 1 interactions with 'k_core' 5"),
        (broken("user,item,time\na,b,soon\n"), {"split": "time", "k_core": 0},
         r"interactions\.csv, line 2: column 'time' must be a number, .* 'soon'\. Write all times"),
        (broken("user,item\na,b\n"), {"split": "time"}, "no column 'time'"),
        (broken("user,item,time\na,b,1\na,c,\n"), {"split": "time", "k_core": 0},
         r"line 3: column 'time' is empty \(1 such rows\)\. Fill it in, or leave out"),
        (lambda folder: (folder / "interactions.csv").write_bytes(b"user,item\n\xff\xfe,b\n"), {},
         r"interactions\.csv must be in UTF-8, and is perhaps in CP1252 .*iconv"),
        (lambda folder: (folder / "interactions.csv").write_text("user,item\n", "utf-16"), {},
         r"perhaps in UTF-16 .*iconv -f UTF-16"),
        (broken("user;item\na;b\n"), {}, r"has ';' between its columns, and must have ','"),
        (broken("user;item;price\na;b;1,5\n"), {}, r"has ';' between its columns, .*sep=';'"),
        (lambda folder: (folder / "interactions.tsv").write_text("x"), {},
         r"holds interactions\.csv and interactions\.tsv: keep one"),
        (lambda folder: (folder / "items.csv").rename(folder / "items.xlsx"), {},
         r"items\.xlsx must be one of \.csv"),
        (lambda folder: (folder / "items.csv").write_text("title\nx\n"), {}, "no column 'item'"),
        (lambda _: None, {"text": "plot"}, r"items\.csv has no column 'plot' to embed"),
        (lambda _: None, {"split": "cold"}, "'split' must be one of random"),
        (lambda _: None, {"k_core": -1}, "'k_core' must be at least 0"),
        (lambda _: None, {"text_rank": 0}, "'text_rank' must be at least 1"),
        (lambda _: None, {"shares": (1, 1, 1)}, "'shares' must be the shares"),
        (lambda _: None, {"shares": (0.98, 0.01, 0.01), "split": "cold-items"},
         r"'split' cannot be 'cold-items'.*of 15 items, 0 would"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(shop, damage, settings, message):
    damage(shop / "shop")
    with pytest.raises(ValueError, match=f"(?s){message}"):
        opened(shop, **settings)


def test_a_truncated_archive_is_refused(tmp_path):
    folder = write(tmp_path / "shop", end=".csv.gz")
    path = folder / "interactions.csv.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataFileError, match=r"interactions\.csv\.gz is damaged"):
        opened(tmp_path)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(DataFileError, match=r"interactions\.csv\.gz is damaged"):
        opened(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"needs a table interactions\.csv"):
        opened(tmp_path)


def test_a_run_of_a_folder_of_tables_from_its_description(shop, tmp_path, monkeypatch):
    monkeypatch.setattr("irllrec_pyg.text.views.build_encoder", lambda name: Letters())
    settings = {"training.epochs": 1, "heads.profile.weight": 0.1}
    config = RunConfig.of("lightgcn_plus", "shop", settings, root=shop)
    assert RunConfig.of("lightgcn", "shop", {"data.seed": 3}, root=shop).data.seed == 3
    config = config.replace(data=config.data.replace(seed=3, text="title,brand", text_rank=4))
    run(config, tmp_path / "run", progress=False)
    again = RunConfig.load(tmp_path / "run" / "config.yaml")
    assert again == config
    dataset = again.data.open()
    assert isinstance(dataset, TableDataset)
    assert dataset.columns["x"] == ["title", "brand"]
    assert dataset[0]["item"].x.size(1) == 4


def test_settings_of_tables_are_refused_elsewhere(published_folder):
    root = str(published_folder.parents[1])
    assert DataConfig(name="tiny", root=root).open().num_users == 12
    with pytest.raises(ValueError, match=r"'split' is for a folder of tables.*got 'time'"):
        DataConfig(name="tiny", root=root, split="time").open()


@pytest.mark.parametrize("shares", ["0.8,0.1,0.1", [0.8, 0.1, 0.1], (0.8, 0.1, 0.1)])
def test_shares_as_a_command_gives_them(shares):
    assert DataConfig(name="shop", shares=shares).shares == (0.8, 0.1, 0.1)


@pytest.mark.parametrize("shares", ["a,b,c", "0.8", [None, 0.5, 0.5]])
def test_shares_that_are_no_numbers(shares):
    with pytest.raises(ConfigError, match="'shares"):
        DataConfig(name="shop", shares=shares)

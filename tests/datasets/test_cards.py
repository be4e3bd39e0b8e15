r"""Cards of data sets, held to the files where these are here."""

import re
from pathlib import Path

import pytest

from irllrec_pyg.datasets import TableDataset
from irllrec_pyg.datasets.cards import cards
from irllrec_pyg.datasets.download import DownloadError, fetch_sources
from irllrec_pyg.edges import EDGE_TYPE
from tests.conftest import shared_path

TABLES = ("amazon_titles", "steam", "citeulike_t", "xrec_yelp")  # ml1m has a million rows
CARD_PAGES = Path(__file__).parents[2] / "datasets"


@pytest.mark.parametrize("name", TABLES)
def test_sizes_are_counted(tmp_path, name):
    source = shared_path(f"text_data/{name}")
    (tmp_path / name).mkdir()
    for path in source.glob("*.csv.gz"):
        (tmp_path / name / path.name).symlink_to(path)
    dataset, card = TableDataset(tmp_path, name, encoder=None), cards()[name]
    rates = dataset[0][EDGE_TYPE]
    pairs = (rates.edge_index, rates.val_edge_label_index, rates.edge_label_index)
    assert (dataset.num_users, dataset.num_items) == (card.users, card.items)
    assert sum(part.size(1) for part in pairs) == card.interactions


def test_a_card_says_where_each_file_comes_from_and_under_which_licence():
    for name, card in cards().items():
        text = card.describe()
        assert f"{card.users:,} users x {card.items:,} items" in text
        for file in card.files:
            assert file.licence in text
            assert (file.url or file.source) in text, name
            if file.url and file.licence == "none stated":  # the papers' own release
                assert file.sha256


@pytest.mark.parametrize("name", ["amazon", "movie", "yelp"])
def test_the_pages_say_what_the_cards_say(name):
    page, card = (CARD_PAGES / f"{name}.md").read_text(), cards()[name]
    assert f"{card.users:,} / {card.items:,}" in page
    for file in card.files:
        assert re.search(rf"`{file.name}` \| [\d,]+ \| `{file.sha256}`", page)
    splits = re.search(r"train / validation / test \| ([\d,]+) / ([\d,]+) / ([\d,]+)", page)
    assert sum(int(part.replace(",", "")) for part in splits.groups()) == card.interactions


def test_what_may_be_fetched_is_fetched_and_its_first_hash_holds(tmp_path, monkeypatch):
    asked = []

    def get(url, target, _):
        asked.append(url)
        Path(target).write_text(content)

    monkeypatch.setattr("pooch.HTTPDownloader", lambda **_: get)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    content = "one"
    paths = fetch_sources("amazon_titles", tmp_path)
    assert [path.name for path in paths] == ["amazon_item.json", "books.csv"]
    assert asked == [file.url for file in cards()["amazon_titles"].files if file.url]
    fetch_sources("amazon_titles", tmp_path)
    assert len(asked) == 2
    paths[0].unlink()
    content = "another"
    with pytest.raises(DownloadError, match=r"amazon_item\.json.*SHA256 .* expected"):
        fetch_sources("amazon_titles", tmp_path)
    assert not paths[0].exists()
    with pytest.raises(DownloadError, match=r"data\.json could not be fetched .*SHA256"):
        fetch_sources("xrec_yelp", tmp_path / "yelp")  # a known hash holds from the first time on

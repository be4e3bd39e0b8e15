r"""MovieLens with texts, on made-up files in both formats."""

import importlib.util
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest
import torch

from irllrec_pyg.datasets import DataFileError, MovieLensText
from irllrec_pyg.datasets.download import DownloadError
from irllrec_pyg.datasets.movielens import GENRES, make_graph, make_texts, read_items, read_ratings
from irllrec_pyg.datasets.movielens_texts import user_texts

NUM_USERS, NUM_MOVIES = 24, 20


class LetterEncoder:
    r"""Counts letters; two texts differ where their letters do."""

    name = "letters"

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts += texts
        return [[text.lower().count(chr(97 + at)) for at in range(26)] for text in texts]


def movies():
    rng = np.random.default_rng(1)
    rows = []
    for at in range(1, NUM_MOVIES + 1):
        genres = [GENRES[g] for g in sorted(rng.choice(np.arange(1, 19), 2, replace=False))]
        title = f"Movie Number {at}" if at > 2 else f"Net {at}, The"
        rows.append((at, title, 1920 + 4 * at, genres))
    return rows


def ratings():
    rng = np.random.default_rng(2)
    return [
        (user, item, int(rng.integers(1, 6)), 880_000_000 + user)
        for user in range(1, NUM_USERS + 1)
        for item in range(1, NUM_MOVIES + 1)
        if rng.random() < (0.3 if item > 16 or user > 20 else 0.9)
    ]


def write_grouplens(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "u.item", "w", encoding="latin-1", newline="\n") as file:
        for at, title, year, genres in movies():
            flags = "|".join("1" if genre in genres else "0" for genre in GENRES)
            file.write(f"{at}|{title} ({year})|01-Jan-{year}||http://x/{at}?\u00e9|{flags}\n")
    with open(folder / "u.data", "w") as file:
        file.writelines("\t".join(map(str, row)) + "\n" for row in ratings())


def write_recbole(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "ml-100k.item", "w", encoding="utf-8") as file:
        file.write("item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n")
        file.writelines(
            f"{at}\t{title}\t{year}\t{' '.join(genres)}\n" for at, title, year, genres in movies()
        )
    with open(folder / "ml-100k.inter", "w") as file:
        file.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        file.writelines("\t".join(map(str, row)) + "\n" for row in ratings())


@pytest.fixture
def dataset(tmp_path):
    write_grouplens(tmp_path / "raw")
    return MovieLensText(tmp_path, LetterEncoder())


def core():
    r"""The 5-core of the ratings of 4 and 5, one pass of single removals at a time."""
    pairs = {(user, item) for user, item, rating, _ in ratings() if rating in (4, 5)}
    while True:
        few = next(
            (
                pair
                for pair in pairs
                if sum(user == pair[0] for user, _ in pairs) < 5
                or sum(item == pair[1] for _, item in pairs) < 5
            ),
            None,
        )
        if few is None:
            return pairs
        pairs.remove(few)


def test_holds_the_5_core_of_high_ratings_in_three_splits(dataset):
    data = dataset[0]
    rates = data["user", "rates", "item"]
    splits = [rates.edge_index, rates.val_edge_label_index, rates.edge_label_index]
    users, items = data["user"].raw_id, data["item"].raw_id
    found = [(users[u], items[i]) for split in splits for u, i in split.t().tolist()]
    assert len(found) == len(set(found))
    assert set(found) == core()
    share = [split.size(1) / len(found) for split in splits]
    assert share == pytest.approx([0.6, 0.2, 0.2], abs=0.1)
    assert set(rates.edge_index[0].tolist()) == set(range(len(users)))
    assert data.name == "movielens"
    assert "missing" not in data


def test_both_formats_give_the_same_graph_and_texts(tmp_path, dataset):
    write_recbole(tmp_path / "other" / "ml-100k")
    other = MovieLensText(tmp_path / "other", LetterEncoder())
    assert other.texts == dataset.texts
    for side in ("user", "item"):
        assert other[0][side].raw_id == dataset[0][side].raw_id
        torch.testing.assert_close(other[0][side].x, dataset[0][side].x)
    assert other[0]["user", "rates", "item"].edge_index.equal(
        dataset[0]["user", "rates", "item"].edge_index
    )


def test_texts_say_title_year_and_genres(tmp_path):
    write_grouplens(tmp_path)
    table = read_items(tmp_path / "u.item")
    assert table.loc[2, "title"] == "The Net 2"
    assert table.loc[7, "title"] == "Movie Number 7"
    assert table["year"].tolist() == [str(row[2]) for row in movies()]
    assert table["genres"].tolist() == [row[3] for row in movies()]


def test_text_of_a_user_depends_on_training_items_only(dataset):
    data, items = dataset[0], read_items(dataset._used()[0])
    before = make_texts(data, items, 0)
    rates = data["user", "rates", "item"]
    rates.val_edge_label_index = rates.val_edge_label_index.flip(1)[:, :2]
    rates.edge_label_index = rates.edge_label_index[:, :1]
    assert make_texts(data, items, 0) == before

    edges = rates.edge_index
    titles = items["title"].loc[data["item"].raw_id].tolist()
    for user, text in enumerate(before["user"]["x"]):
        own = {titles[item] for item in edges[1, edges[0] == user].tolist()}
        named = {
            title
            for title in titles
            if f"{title}," in text or f"{title} and" in text or text.endswith(f"{title}.")
        }
        assert named
        assert named <= own

    moved = edges.clone()
    moved[1, edges[0] == 0] = (moved[1, edges[0] == 0] + 1) % data["item"].num_nodes
    rates.edge_index = moved
    after = make_texts(data, items, 0)
    assert after["user"]["x"][0] != before["user"]["x"][0]
    assert after["item"] == before["item"]


def test_intents_name_what_a_user_has_more_often_than_others():
    items = pd.DataFrame(
        {
            "title": list("abcd"),
            "year": ["1990", "", "1991", "1992"],
            "genres": [["War"], ["War"], ["Drama"], ["Drama"]],
        },
        index=[1, 2, 3, 4],
    )
    rated = [(1, 1), (1, 2), (1, 1), (2, 3), (2, 4), (3, 3), (3, 1)]
    liked = pd.DataFrame([(u, i, 5) for u, i in rated], columns=["user", "item", "rating"])
    with pytest.raises(DataFileError, match="five"):
        make_graph(items, liked, 0)
    texts = user_texts(items, np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3]), 3, 0)
    assert texts["intent"] == [
        "Likes War and Drama movies; dislikes Drama and War.",
        "Likes Drama and War movies; dislikes War and Drama.",
        "Likes and dislikes are unknown.",
    ]
    assert texts["x"][0].startswith("Likes War movies")
    assert texts["x"][2] == "A viewer of whom nothing is known."


def test_embeddings_are_the_encoders_of_length_1(dataset):
    texts, data = dataset.texts, dataset[0]
    for side in ("user", "item"):
        for field in ("x", "intent"):
            expected = torch.tensor(LetterEncoder().encode(texts[side][field]), dtype=torch.float)
            torch.testing.assert_close(
                data[side][field], expected / expected.norm(dim=1, keepdim=True)
            )


def test_processed_files_differ_with_seed_and_encoder(tmp_path):
    write_grouplens(tmp_path)
    encoder = LetterEncoder()
    first = MovieLensText(tmp_path, encoder)
    count = len(encoder.texts)
    again = MovieLensText(tmp_path, encoder)
    assert len(encoder.texts) == count  # read from the processed file
    torch.testing.assert_close(again[0]["user"].x, first[0]["user"].x)
    other = MovieLensText(tmp_path, encoder, seed=1)
    assert len(encoder.texts) > count
    assert not other[0]["user", "rates", "item"].edge_index.equal(
        first[0]["user", "rates", "item"].edge_index
    )
    before = first.processed_paths
    encoder.name = "letters 2"
    assert MovieLensText(tmp_path, encoder).processed_paths != before


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    write_grouplens(tmp_path)
    with open(tmp_path / "u.data", "a") as file:
        file.write("3\t4\n")
    with pytest.raises(DataFileError, match=rf"u\.data: '' in its row {len(ratings()) + 1}"):
        MovieLensText(tmp_path, LetterEncoder())
    write_recbole(tmp_path / "raw")
    path = tmp_path / "raw" / "ml-100k.inter"
    path.write_text(
        path.read_text().replace("\t880000003\n", "\t880000003\n", 1).replace("3\t", "three\t", 1)
    )
    with pytest.raises(DataFileError, match="three"):
        read_ratings(path)
    (tmp_path / "u.item").write_text("a|b\n")
    with pytest.raises(DataFileError, match="not a MovieLens file"):
        read_items(tmp_path / "u.item")
    with pytest.raises(DataFileError, match="Movie 21 has ratings"):
        make_graph(
            pd.DataFrame(index=[1]),
            pd.DataFrame({"user": [1, 1], "item": [1, 21], "rating": [5, 5]}),
            0,
        )


def test_fetches_the_archive_where_files_are_missing(tmp_path, monkeypatch):
    write_grouplens(tmp_path / "made" / "ml-100k")
    archive = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (tmp_path / "made" / "ml-100k").iterdir():
            file.write(path, f"ml-100k/{path.name}")
    asked = []

    def get(url, target, _):
        asked.append(url)
        shutil.copy(archive, target)

    monkeypatch.setattr("pooch.HTTPDownloader", lambda **_: get)
    monkeypatch.setattr(MovieLensText, "hash", f"md5:{pooch.file_hash(str(archive), 'md5')}")
    data = MovieLensText(tmp_path / "root", LetterEncoder())[0]
    assert data["user"].num_nodes > 0
    assert sorted(path.name for path in (tmp_path / "root" / "raw").iterdir()) == [
        "u.data",
        "u.item",
    ]
    MovieLensText(tmp_path / "root", LetterEncoder(), seed=1)
    assert asked == [MovieLensText.url]  # files that are there stay


def test_a_failed_download_says_what_to_put_where(tmp_path, monkeypatch):
    def get(url, target, _):
        Path(target).write_bytes(b"something else")

    monkeypatch.setattr("pooch.HTTPDownloader", lambda **_: get)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    message = r"(?s)MD5 hash .* does not match.*u\.item and u\.data, in .*raw"
    with pytest.raises(DownloadError, match=message):
        MovieLensText(tmp_path, LetterEncoder())


def test_the_real_files_have_the_sizes_that_the_docstring_names(tmp_path):
    # `pip install --no-deps recbole` in a scratch environment; its copy must not be passed on.
    found = importlib.util.find_spec("recbole")
    if found is None or found.origin is None:
        pytest.skip("needs the files in recbole's wheel")
    for name in ("ml-100k.item", "ml-100k.inter"):
        shutil.copy(Path(found.origin).parent / "dataset_example" / "ml-100k" / name, tmp_path)
    dataset = MovieLensText(tmp_path, LetterEncoder())
    row = dataset.statistics().loc["movielens"]
    sizes = [int(row[name]) for name in ("users", "items", "train", "val", "test")]
    assert sizes == [938, 1008, 32_655, 10_871, 10_887]
    for number in map("{:,}".format, sizes):
        assert number in MovieLensText.__doc__
    data = dataset[0]
    at = data["item"].raw_id.index(1)
    assert dataset.texts["item"]["x"][at] == (
        "Toy Story (1995), a movie from the 1990s: Animation, Children's and Comedy."
    )

"""The words of texts as vectors, and several encoders' vectors side by side."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from irllrec_pyg.text import words
from irllrec_pyg.text.encoders import build_encoder
from irllrec_pyg.text.encoding import EncoderError
from irllrec_pyg.text.views import Views, build_views, fitted
from irllrec_pyg.text.words import WordsEncoder

BOOKS = [
    "Dune by Frank Herbert",
    "Dune Messiah, by FRANK Herbert: a sequel to Dune",
    "Emma",
    "Emma by Jane Austen",
]


class Lengths:
    """Embeds a text by its length, and remembers what it was asked for."""

    name = "lengths"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> list[list[int]]:
        self.asked += texts
        return [[len(text), 1] for text in texts]


def tf_idf(texts: list[str]) -> np.ndarray:
    """Words and pairs of words, one count at a time."""
    terms = []
    for text in texts:
        found = "".join(c if c.isalnum() else " " for c in text.lower()).split()
        terms.append(found + [f"{a} {b}" for a, b in pairwise(found)])
    known = sorted({term for of_text in terms for term in of_text})
    rows = np.zeros((len(texts), len(known)))
    for at, of_text in enumerate(terms):
        for place, term in enumerate(known):
            count = of_text.count(term)
            holders = sum(term in other for other in terms)
            idf = math.log((1 + len(texts)) / (1 + holders)) + 1
            rows[at, place] = (1 + math.log(count)) * idf if count else 0.0
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def titles(number: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"The {' '.join(map(str, rng.integers(0, 40, 6)))}" for _ in range(number)]


def test_wide_enough_it_is_tf_idf_up_to_a_rotation() -> None:
    found = WordsEncoder().fit(BOOKS)(BOOKS)
    assert found.shape == (4, 4)
    assert found.dtype == np.float32
    expected = tf_idf(BOOKS)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)


def test_narrow_it_keeps_what_a_decomposition_keeps() -> None:
    texts = [text.removeprefix("The ") for text in titles(14)]
    whole = tf_idf(texts)
    _, values, directions = np.linalg.svd(whole, full_matrices=False)
    rows = whole @ directions[:5].T
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = WordsEncoder(width=5).fit(texts)(texts)
    assert found.shape == (14, 5)
    np.testing.assert_allclose(found @ found.T, rows @ rows.T, atol=1e-4)
    assert values[4] > values[5]  # otherwise the five would not be unique


def test_of_many_texts_rare_and_common_terms_are_left_out() -> None:
    texts = titles(60)
    encode = WordsEncoder().fit([*texts, "unheard"])
    np.testing.assert_array_equal(encode(["the", "unheard", ""]), 0)
    np.testing.assert_allclose(np.linalg.norm(encode(["the 7", *texts]), axis=1), 1, rtol=1e-5)
    assert encode([]).shape == (0, encode(texts).shape[1])


def test_the_same_texts_give_the_same_vectors() -> None:
    texts = titles(60)
    first = WordsEncoder(16).fit(texts)
    words._fit.cache_clear()
    again = WordsEncoder(16).fit(texts)
    assert again is not first
    np.testing.assert_array_equal(first(texts), again(texts))
    some = first(texts[5:9])
    np.testing.assert_allclose(some, first(texts)[5:9], atol=1e-5)


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "b", "c"],
        ["one two", "one two", "one two"],
        ["x", "", "y z"],
        ["alone"],
        [chr(0x4E00 + at) for at in range(30)],  # many texts, no word in two of them
        ["same"] * 30,
    ],
)
def test_few_words_are_enough(texts: list[str]) -> None:
    found = WordsEncoder().fit(texts)(texts)
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths, [float(bool(text)) for text in texts], rtol=1e-5)
    for one, other in ((0, -1), (-1, 0)):
        alike = float(found[one] @ found[other])
        assert alike == pytest.approx(float(texts[one] == texts[other]), abs=1e-5)


def test_case_and_the_encoding_of_accents_do_not_matter() -> None:
    encode = WordsEncoder().fit(["Café Müller", "STRASSE", "other"])
    one, other = encode(["CAFÉ mu\u0308ller", "Straße"]), encode(["café müller", "strasse"])
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("texts", [["", ""], ["!?", "…"], []])
def test_texts_without_words_are_refused(texts: list[str]) -> None:
    with pytest.raises(EncoderError, match=r"'words-512' found no word in any of \d texts"):
        WordsEncoder().fit(texts)


def test_views_stand_side_by_side_with_equal_weight(tmp_path: Path) -> None:
    texts = [*BOOKS, ""]
    encoder = Lengths()
    views = Views([encoder, WordsEncoder()])
    assert views.name == "lengths+words-512"
    encode = fitted(views, texts, str(tmp_path))
    found = encode([*texts, "unknown"])
    lengths = np.array([[len(text), 1] for text in BOOKS])
    lengths = lengths / np.linalg.norm(lengths, axis=1, keepdims=True)
    terms = tf_idf(BOOKS)
    expected = (lengths @ lengths.T + terms @ terms.T) / 2
    np.testing.assert_allclose(found[:4] @ found[:4].T, expected, atol=1e-5)
    np.testing.assert_array_equal(found[4], 0)
    assert found[5, 0] == pytest.approx(7 / 50**0.5)  # a text that one view knows has length 1
    np.testing.assert_array_equal(found[5, 2:], 0)
    fitted(views, texts[:3], str(tmp_path))(texts)
    assert sorted(encoder.asked) == sorted(
        [*BOOKS, "unknown"]
    )  # each text once, whatever the corpus
    kept = [path.name for path in (tmp_path / "embeddings").iterdir()]
    assert sorted(kept) == ["embeddings.lock", "embeddings.sqlite"]


def test_names_are_joined_by_a_plus() -> None:
    pytest.importorskip("wordllama")
    views = build_views("wordllama+words")
    assert isinstance(views, Views)
    assert [view.name.split("-")[0] for view in views.views] == ["wordllama", "words"]
    assert isinstance(build_views("words"), WordsEncoder)
    assert build_views("wordllama").name == build_encoder("wordllama").name
    with pytest.raises(ValueError, match=r"'bert' is not known: wordllama, .* words"):
        build_views("words+bert")
    with pytest.raises(ValueError, match="'' is not known"):
        build_views("words+")
    with pytest.raises(ValueError, match="must be different encoders, got words-512, words-512"):
        build_views("words+words")
    with pytest.raises(ValueError, match="'width' must be at least 1, got 0"):
        WordsEncoder(0)


@pytest.mark.parametrize("name", ["words", "wordllama+words"])
def test_where_texts_come_one_by_one_it_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is for tables.*one by one, by wordllama, openai"):
        build_encoder(name)

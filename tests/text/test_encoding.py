"""Any encoder in batches by length, and vectors in a file that is mapped into memory."""

import resource
from pathlib import Path

import numpy as np
import pytest

from irllrec_pyg.text.encoding import (
    BATCH_CHARACTERS,
    Encoder,
    EncoderError,
    FunctionEncoder,
    as_encoder,
    batches,
)
from irllrec_pyg.text.vector_file import encode_to_file


class Letters:
    """Counts letters; remembers its batches; may die before one of them."""

    name = "letters"

    def __init__(self, dies_at: int = -1) -> None:
        self.seen: list[list[str]] = []
        self.dies_at = dies_at

    def encode(self, texts: list[str]) -> list[list[float]]:
        if len(self.seen) == self.dies_at:
            raise KeyboardInterrupt
        self.seen.append(texts)
        return count(texts)


def count(texts: list[str]) -> list[list[float]]:
    return [[float(text.count(letter)) for letter in "abcde"] for text in texts]


def words(number: int) -> list[str]:
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("abcde"), rng.integers(1, 20))) for _ in range(number)]


def test_batches_hold_every_text_once_by_length() -> None:
    texts = [*words(50), ""]
    found = batches(texts, 8)
    assert sorted(place for batch in found for place in batch) == list(range(51))
    lengths = [len(texts[place]) for batch in found for place in batch]
    assert lengths == sorted(lengths, reverse=True)
    assert [len(batch) for batch in found] == [8] * 6 + [3]
    assert batches([], 8) == []


def test_long_texts_go_in_smaller_batches() -> None:
    texts = ["x" * (2 * BATCH_CHARACTERS), *["y" * (BATCH_CHARACTERS // 2)] * 3, "z"]
    assert [len(batch) for batch in batches(texts, 100)] == [1, 2, 2]


def test_whatever_has_a_name_and_encode_is_an_encoder() -> None:
    texts, own = words(600), Letters()
    encoder = as_encoder(own)
    assert as_encoder(encoder) is encoder
    np.testing.assert_array_equal(encoder.encode(texts), np.array(count(texts), np.float32))
    assert [len(batch) for batch in own.seen] == [256, 256, 88]
    assert encoder.encode([]).shape == (0, 0)


@pytest.mark.parametrize("thing", [count, object(), "wordllama"])
def test_what_has_no_name_is_refused(thing: object) -> None:
    with pytest.raises(TypeError, match=r"needs a 'name' .* FunctionEncoder\(function, name\)"):
        as_encoder(thing)  # type: ignore[arg-type]


def test_batches_of_different_width_are_refused() -> None:
    encoder = FunctionEncoder(lambda texts: np.ones((len(texts), len(texts))), "odd", 2)
    with pytest.raises(EncoderError, match="width 2 and of width 1"):
        encoder.encode(["a", "b", "c"])


def test_a_subclass_needs_nothing_but_vectors() -> None:
    class Ones(Encoder):
        name = "ones"

        def vectors(self, texts: list[str]) -> np.ndarray:
            return np.ones((len(texts), 2))

    assert Ones().encode(["a", "b"]).tolist() == [[1, 1], [1, 1]]


def test_a_file_of_vectors_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irllrec_pyg.text.vector_file.CHUNK", 10)
    texts = [*words(35), "", "abc", "abc"]
    path, first = tmp_path / "x.npy", Letters(dies_at=2)
    with pytest.raises(KeyboardInterrupt):
        encode_to_file(first, texts, path, progress=False)
    assert not path.exists()
    again = Letters()
    found = encode_to_file(again, texts, path, progress=False)
    np.testing.assert_array_equal(found, np.array(count(texts), np.float16))
    assert (found.dtype, type(found)) == (np.float16, np.memmap)
    asked = [text for batch in first.seen + again.seen for text in batch]
    assert sorted(asked) == sorted(set(texts) - {""})
    np.testing.assert_array_equal(encode_to_file(Letters(0), texts, path), found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "x.npy.json"]
    with pytest.raises(ValueError, match=r"x\.npy holds vectors of other texts"):
        encode_to_file(Letters(), texts[1:], path)


def test_a_file_of_principal_components(tmp_path: Path) -> None:
    texts = words(40)
    found = np.array(encode_to_file(Letters(), texts, tmp_path / "x.npy", 2, False), float)
    wide = np.array(count(texts))
    wide -= wide.mean(0)
    left, values, _ = np.linalg.svd(wide, full_matrices=False)
    expected = left[:, :2] * values[:2]
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=0.2)
    assert found.shape == (40, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "x.npy.json"]


def test_what_a_file_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="All texts are empty"):
        encode_to_file(Letters(), ["", ""], tmp_path / "x.npy")
    large = FunctionEncoder(lambda texts: [[1e6] for _ in texts], "large")
    with pytest.raises(EncoderError, match="'large' gave numbers that float16 cannot hold"):
        encode_to_file(large, ["a"], tmp_path / "x.npy", progress=False)


def test_a_file_beyond_the_limit_is_named(tmp_path: Path) -> None:
    encoder = FunctionEncoder(lambda texts: np.ones((len(texts), 1000)), "ones")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r"too large; files may have 10000 bytes.*v\.npy"):
            encode_to_file(encoder, [f"{n}" for n in range(9)], tmp_path / "v.npy", progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

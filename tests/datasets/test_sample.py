"""The committed sample set is what its script makes, is small, and holds what its card says."""

import csv
import importlib.util
import io
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "datasets" / "sample"
MATRICES = ("trn_mat.pkl", "val_mat.pkl", "tst_mat.pkl")
EMBEDDINGS = ("usr_emb_np.pkl", "itm_emb_np.pkl", "user_intent_emb_3.pkl", "item_intent_emb_3.pkl")
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("scipy.sparse._coo", "coo_matrix"),
}


class StrictUnpickler(pickle.Unpickler):
    """Reads pickles that name the globals of the published files and no others."""

    def find_class(self, module: str, name: str) -> Any:
        assert (module, name) in ALLOWED, f"{module}.{name}"
        return super().find_class(module, name)


def load(path: Path) -> Any:
    return StrictUnpickler(io.BytesIO(path.read_bytes())).load()


def pairs(path: Path) -> list[tuple[int, int]]:
    matrix = load(path)
    return list(zip(matrix.row.tolist(), matrix.col.tolist(), strict=True))


def table(name: str) -> list[dict[str, str]]:
    with (SAMPLE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("make_sample", SAMPLE / "make_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_sample"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_sample"]


@pytest.fixture(scope="module")
def remade(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("sample")
    script.write(script.make(), out)
    return out


def test_total_size_is_under_two_megabytes() -> None:
    # The patterns of package_data and the script: not what a run may have left beside them.
    patterns = ("*.py", "*.md", "*.csv", "*.json", "raw/*.pkl")
    files = [path for pattern in patterns for path in SAMPLE.glob(pattern)]
    assert len(files) == 18
    assert sum(p.stat().st_size for p in files) < 2_000_000


@pytest.mark.parametrize(
    "name", ["user_texts.csv", "item_texts.csv", "user_truth.csv", "item_truth.csv"]
)
def test_script_remakes_tables(remade: Path, name: str) -> None:
    # In text mode: a checkout may have changed the line endings.
    assert (remade / name).read_text("utf-8") == (SAMPLE / name).read_text("utf-8")


@pytest.mark.parametrize("name", MATRICES)
def test_script_remakes_interactions(remade: Path, name: str) -> None:
    assert load(remade / "raw" / name).shape == load(SAMPLE / "raw" / name).shape == (600, 360)
    assert pairs(remade / "raw" / name) == pairs(SAMPLE / "raw" / name)


@pytest.mark.parametrize("name", ["usr_prf.pkl", "itm_prf.pkl"])
def test_script_remakes_profiles(remade: Path, name: str) -> None:
    assert load(remade / "raw" / name) == load(SAMPLE / "raw" / name)


def test_script_remakes_embeddings(script: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("wordllama")
    (tmp_path / "raw").mkdir()
    script.write_embeddings(script.make(), tmp_path)
    for name in EMBEDDINGS:
        new, old = load(tmp_path / "raw" / name), load(SAMPLE / "raw" / name)
        assert new.dtype == old.dtype
        # Two units in the last place of float16 at the size of the largest entries.
        np.testing.assert_allclose(new.astype(float), old.astype(float), rtol=0, atol=5e-4)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_unit_vectors_in_half_precision(name: str) -> None:
    x = load(SAMPLE / "raw" / name)
    assert x.shape == (600 if name.startswith("us") else 360, 256)
    assert x.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(x.astype(np.float64), axis=1), 1, atol=2e-3)


def test_splits_are_disjoint_and_three_to_one_to_one_for_each_user() -> None:
    train, val, test = (pairs(SAMPLE / "raw" / name) for name in MATRICES)
    everything = train + val + test
    assert len(set(everything)) == len(everything)
    for user in range(600):
        counts = [sum(u == user for u, _ in part) for part in (train, val, test)]
        fifth = sum(counts) // 5
        assert fifth >= 1
        assert counts == [sum(counts) - 2 * fifth, fifth, fifth]


def test_interactions_have_the_dtypes_of_the_published_files() -> None:
    for name in MATRICES:
        matrix = load(SAMPLE / "raw" / name)
        assert (matrix.data.dtype, matrix.row.dtype) == (np.float64, np.int32)
        assert (matrix.data == 1).all()


@pytest.mark.parametrize(("name", "short"), [("user", "usr"), ("item", "itm")])
def test_tables_and_pickles_tell_the_same(name: str, short: str) -> None:
    profiles = load(SAMPLE / "raw" / f"{short}_prf.pkl")
    rows = table(f"{name}_texts.csv")
    assert [row["profile"] for row in rows] == [profiles[n]["profile"] for n in range(len(rows))]
    assert [int(row[name]) for row in rows] == list(range(len(rows))) == list(profiles)


@pytest.mark.parametrize(("name", "most"), [("user", 3), ("item", 2)])
def test_true_intents_are_mixtures(script: ModuleType, name: str, most: int) -> None:
    for row in table(f"{name}_truth.csv"):
        weights = [float(row[intent]) for intent in script.NAMES]
        assert sum(weights) == pytest.approx(1)
        assert 1 <= sum(w > 0 for w in weights) <= most
        assert 0 <= int(row["circle"]) < script.NUM_CIRCLES


def test_titles_are_unique() -> None:
    titles = [row["title"] for row in table("item_texts.csv")]
    assert len(set(titles)) == len(titles) == 360


def test_texts_and_interactions_each_hold_what_the_other_lacks() -> None:
    train, _, test = (load(SAMPLE / "raw" / name).toarray() for name in MATRICES)

    def recall(score: np.ndarray) -> float:
        total = 0.0
        for user in range(600):
            order = np.argsort(-np.where(train[user] > 0, -np.inf, score[user]), kind="stable")
            total += test[user, order[:20]].sum() / test[user].sum()
        return float(total / 600)

    def standardize(score: np.ndarray) -> np.ndarray:
        centred = score - score.mean(axis=1, keepdims=True)
        return np.asarray(centred / centred.std(axis=1, keepdims=True))

    def similarity(user_file: str, item_file: str) -> np.ndarray:
        sides = []
        for name in (user_file, item_file):
            x = load(SAMPLE / "raw" / name).astype(np.float64)
            x -= x.mean(axis=0)
            sides.append(x / np.linalg.norm(x, axis=1, keepdims=True))
        return standardize(sides[0] @ sides[1].T)

    weights = np.sqrt(train.sum(1)[:, None] * np.maximum(train.sum(0), 1))
    factors = np.linalg.svd(train / weights)[2][:16]
    collaborative = standardize(train / weights @ factors.T @ factors)
    text = standardize(
        similarity("usr_emb_np.pkl", "itm_emb_np.pkl")
        + similarity("user_intent_emb_3.pkl", "item_intent_emb_3.pkl")
    )
    popularity = np.tile(train.sum(0), (600, 1))

    assert recall(popularity) + 0.05 < recall(collaborative)
    assert 0.1 < recall(text) < recall(collaborative)
    assert recall(collaborative) + 0.02 < recall(collaborative + 0.5 * text)

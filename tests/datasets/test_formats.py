r"""Every fault of a raw file has its own message, which names the file and the row."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from irllrec_pyg.datasets import DataFileError, read_profiles
from irllrec_pyg.datasets.formats import read_embedding, read_interactions
from tests.conftest import NUM_ITEMS, NUM_USERS, write_pickle


def _coo(row, col, value=None, shape=(NUM_USERS, NUM_ITEMS)):
    r"""A COO matrix whose entries SciPy does not check."""
    matrix = sp.coo_matrix(shape)
    row, col = np.array(row, np.int32), np.array(col, np.int32)
    matrix.coords = (row, col)
    matrix.data = np.ones(len(row)) if value is None else np.array(value, np.float64)
    return matrix


def test_splits(published_folder):
    inter = read_interactions(published_folder)
    assert (inter.num_users, inter.num_items) == (NUM_USERS, NUM_ITEMS)
    for pairs in inter.splits:
        assert pairs.dtype == torch.int64
        assert pairs.t().tolist() == sorted(pairs.t().tolist())
    train, val, test = (set(map(tuple, pairs.t().tolist())) for pairs in inter.splits)
    assert not train & val
    assert not train & test
    assert {user for user, _ in train} == set(range(NUM_USERS))


def test_duplicates_merge_and_values_binarise(published_folder):
    matrix = _coo([3, 0, 3, 1, 3, 2], [1, 2, 1, 0, 0, 4], [5, -1, 2, 0, 1, 0.5])
    write_pickle(published_folder / "trn_mat.pkl", matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = read_interactions(published_folder).splits[0]
    assert train.t().tolist() == [[0, 2], [2, 4], [3, 0], [3, 1]]


def test_pair_in_two_splits(published_folder):
    write_pickle(published_folder / "trn_mat.pkl", _coo([0, 1, 2], [0, 1, 2]))
    write_pickle(published_folder / "val_mat.pkl", _coo([0, 2, 3], [0, 2, 1]))
    write_pickle(published_folder / "tst_mat.pkl", _coo([4], [1]))
    with pytest.warns(UserWarning, match=r"2 user-item pairs .*trn_mat\.pkl and in val_mat\.pkl"):
        inter = read_interactions(published_folder)
    assert [pairs.size(1) for pairs in inter.splits] == [3, 3, 1]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (_coo([0, 1], [0, -2]), r"entry 1: item id -2 is negative"),
        (_coo([0, -1], [0, 2]), r"entry 1: user id -1 is negative"),
        (_coo([0, 1, 12], [0, 2, 0]), r"entry 2: user id 12 is out of range: the matrix has 12"),
        (_coo([0, 1], [9, 2]), r"entry 0: item id 9 is out of range: the matrix has 9 items"),
        (_coo([0, 5], [1, 2], [1, np.nan]), r"entry 1 \(user 5, item 2\): its value is nan"),
        (_coo([0, 5], [1, 2], [np.inf, 1]), r"entry 0 \(user 0, item 1\): its value is inf"),
        (_coo([0], [1], shape=(NUM_USERS + 1, NUM_ITEMS)), r"13 x 9, but .*12 x 9"),
        (np.ones((NUM_USERS, NUM_ITEMS)), "holds a ndarray, not a sparse matrix"),
        ({"a": 1}, "holds a dict, not a sparse matrix"),
    ],
)
def test_faults_of_matrices(published_folder, matrix, message):
    write_pickle(published_folder / "val_mat.pkl", matrix)
    with pytest.raises(DataFileError, match=rf"val_mat\.pkl.*{message}"):
        read_interactions(published_folder)


def test_empty_training(published_folder):
    write_pickle(published_folder / "trn_mat.pkl", _coo([0], [0], [0]))
    with pytest.raises(DataFileError, match=r"trn_mat\.pkl has no interaction"):
        read_interactions(published_folder)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_embedding_keeps_its_type(tmp_path, dtype):
    array = np.arange(6).reshape(3, 2).astype(dtype)
    tensor = read_embedding(write_pickle(tmp_path / "e.pkl", array), 3, "user")
    assert tensor.element_size() == array.itemsize
    assert tensor.tolist() == array.tolist()
    tensor += 1  # it owns its memory


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4, 2)), r"shape \(4, 2\), but the matrices have 3 users: expected \(3, width\)"),
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((3, 0)), r"shape \(3, 0\)"),
        (np.ones((3, 2), np.int64), "holds a int64 array"),
        ([[1.0, 2.0]] * 3, "holds a list"),
        (np.array([[1, 2], [1, np.nan], [1, 3]]), "row 1: the embedding holds NaN or infinity"),
        (np.array([[1, 2], [1, 1], [1, -np.inf]]), r"row 2: .* \(1 such rows\)"),
        (np.array([[1, None]], dtype=object), "object array"),
    ],
)
def test_faults_of_embeddings(tmp_path, array, message):
    path = write_pickle(tmp_path / "usr_emb_np.pkl", array)
    with pytest.raises(DataFileError, match=rf"usr_emb_np\.pkl.*{message}"):
        read_embedding(path, 3, "user")


def test_profiles(tmp_path):
    table = {0: {"profile": "likes maps", "reasoning": "…"}, 2: {"profile": "", "reasoning": ""}}
    assert read_profiles(write_pickle(tmp_path / "usr_prf.pkl", table)) == table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([1], "holds a list"),
        ({"a": {"profile": "b"}}, "id 'a': expected an integer"),
        ({0: "text"}, "id 0: expected an integer and its texts"),
        ({0: {"profile": 3}}, "id 0: a field is not text"),
    ],
)
def test_faults_of_profiles(tmp_path, table, message):
    with pytest.raises(DataFileError, match=rf"usr_prf\.pkl.*{message}"):
        read_profiles(write_pickle(tmp_path / "usr_prf.pkl", table))

"""The one CSR against scipy.sparse and against loops."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from irllrec_pyg.sparse import CSR, expand, pointers, ranges

SHAPES = [(7, 5, 0.3), (40, 3, 0.9), (3, 40, 0.1), (6, 6, 0.0), (1, 1, 1.0)]


def random_matrix(num_rows, num_cols, share):
    rng = np.random.default_rng(num_rows * num_cols)
    return sp.csr_array((rng.random((num_rows, num_cols)) < share).astype(np.int64))


def shuffled_pairs(matrix):
    row, col = map(torch.from_numpy, matrix.nonzero())
    order = torch.randperm(row.numel(), generator=torch.Generator().manual_seed(0))
    return row.long()[order], col.long()[order]


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_scipy(shape):
    matrix = random_matrix(*shape)
    ours = CSR.from_pairs(*shuffled_pairs(matrix), *matrix.shape)
    assert ours.ptr.dtype == ours.col.dtype == torch.int64
    assert ours.num_rows == matrix.shape[0]
    assert ours.ptr.tolist() == matrix.indptr.tolist()
    assert ours.col.tolist() == matrix.indices.tolist()
    assert ours.rows().tolist() == matrix.tocoo().row.tolist()
    other = matrix.T.tocsr()
    transposed = ours.transpose(matrix.shape[1])
    assert transposed.ptr.tolist() == other.indptr.tolist()
    assert transposed.col.tolist() == other.indices.tolist()
    # As SciPy's own transposition moves the values of the entries.
    numbered = sp.csr_array(
        (np.arange(matrix.nnz) + 1, matrix.indices, matrix.indptr), matrix.shape
    )
    assert (ours.transposed_order() + 1).tolist() == numbered.T.tocsr().data.tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_contains_every_place_that_the_dense_matrix_has(shape):
    matrix = random_matrix(*shape)
    row, col = torch.cartesian_prod(*map(torch.arange, matrix.shape)).t()
    ours = CSR.from_pairs(*shuffled_pairs(matrix), *matrix.shape)
    dense = torch.from_numpy(matrix.toarray()).bool()
    assert ours.contains(row, col).tolist() == dense.flatten().tolist()
    places = ours.contains(row.view(*matrix.shape), col.view(*matrix.shape))
    assert torch.equal(places, dense)
    assert not ours.contains(row, col + matrix.shape[1]).any()  # columns that do not exist
    assert ours.contains(row[:0], col[:0]).tolist() == []


@pytest.mark.parametrize("rows", [[], [2], [5, 0, 5, 3]])
def test_of_gives_the_entries_of_some_rows(rows):
    matrix = random_matrix(7, 5, 0.5)
    ours = CSR.from_pairs(*shuffled_pairs(matrix), 7, 5)
    at, col = ours.of(torch.tensor(rows, dtype=torch.long))
    dense = matrix.toarray()
    expected = [(i, j) for i, row in enumerate(rows) for j in range(5) if dense[row, j]]
    assert list(zip(at.tolist(), col.tolist(), strict=True)) == expected


def test_pointers_and_expand_are_inverse_even_where_rows_are_empty():
    for count in ([0, 0], [2, 0, 3], [0, 1, 0, 0], []):
        index = [row for row, times in enumerate(count) for _ in range(times)]
        ptr = pointers(torch.tensor(index, dtype=torch.int32), len(count))
        assert ptr.tolist() == [sum(count[:row]) for row in range(len(count) + 1)]
        assert expand(ptr).tolist() == expand(ptr, len(index)).tolist() == index


def test_ranges_list_every_position():
    start, stop = [4, 0, 7, 2], [6, 0, 8, 5]
    row, position = ranges(torch.tensor(start), torch.tensor(stop))
    expected = [(i, at) for i in range(4) for at in range(start[i], stop[i])]
    assert list(zip(row.tolist(), position.tolist(), strict=True)) == expected


def test_pairs_that_stand_twice_stay_and_too_large_a_matrix_is_refused():
    twice = CSR.from_pairs(torch.tensor([1, 0, 1]), torch.tensor([2, 1, 2]), 2, 3)
    assert (twice.ptr.tolist(), twice.col.tolist()) == ([0, 1, 3], [1, 2, 2])
    pair = torch.tensor([3]), torch.tensor([2**33 - 1])
    with pytest.raises(ValueError, match=r"fewer than 2\^63 places, got 8589934592 rows"):
        CSR.from_pairs(*pair, 2**33, 2**33)
    assert CSR.from_pairs(*pair, 5, 2**33).contains(*pair).tolist() == [True]

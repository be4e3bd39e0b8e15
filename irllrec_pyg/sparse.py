"""Sparse structures in CSR form, and the two operations that all of them are made of."""

from typing import NamedTuple, Self

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor
from torch.nn.functional import embedding_bag

from .config import ConfigError


def pointers(sorted_index: Tensor, num_rows: int) -> Tensor:
    r"""Where the entries of each row begin, and after the last row their number.

    Args:
        sorted_index (Tensor): Row of each entry, ascending, integers of shape :math:`(E,)`.
        num_rows (int): Number :math:`N` of rows.

    Returns:
        Tensor of shape :math:`(N + 1,)`, int64.
    """
    rows = torch.arange(num_rows + 1, dtype=sorted_index.dtype, device=sorted_index.device)
    return torch.searchsorted(sorted_index.contiguous(), rows)


def expand(ptr: Tensor, num_entries: int | None = None) -> Tensor:
    r"""Row of each entry: the inverse of :func:`pointers`.

    Args:
        ptr (Tensor): Row pointers, shape :math:`(N + 1,)`.
        num_entries (int, optional): Number :math:`E` of entries; given, a GPU does not have to be
            waited for. (default: ``ptr[-1]``)

    Returns:
        Tensor of shape :math:`(E,)`, int64.
    """
    rows = torch.arange(ptr.numel() - 1, device=ptr.device)
    return rows.repeat_interleave(ptr.diff(), output_size=num_entries)


def ranges(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    r"""Lists every position of the ranges ``start[i], ..., stop[i] - 1``, one range after another.

    Args:
        start (Tensor): First positions, int64 of shape :math:`(B,)`.
        stop (Tensor): Where the ranges end, int64 of shape :math:`(B,)`, not below ``start``.

    Returns:
        The number ``i`` of its range and the position itself, both int64 of shape :math:`(M,)`.
    """
    count = stop - start
    row = torch.arange(count.numel(), device=count.device).repeat_interleave(count)
    before = count.cumsum(0) - count  # positions in earlier ranges
    return row, torch.arange(row.numel(), device=row.device) + (start - before)[row]


class CSR(NamedTuple):
    r"""Where a sparse matrix has entries: row by row, ascending in each row.

    Args:
        ptr (Tensor): Row :math:`r` has the entries ``ptr[r], ..., ptr[r + 1] - 1``; int64 of shape
            :math:`(N + 1,)`.
        col (Tensor): Column of each entry, int64 of shape :math:`(E,)`.

    Example:
        >>> matrix = CSR.from_pairs(torch.tensor([1, 0, 1]), torch.tensor([2, 1, 0]), 2, 3)
        >>> matrix.ptr, matrix.col
        (tensor([0, 1, 3]), tensor([1, 0, 2]))
    """

    ptr: Tensor
    col: Tensor

    @classmethod
    def from_pairs(cls, row: Tensor, col: Tensor, num_rows: int, num_cols: int) -> Self:
        """Sorts pairs of row and column by row, then column; a pair that stands twice stays twice.

        Args:
            row (Tensor): Rows, int64 of shape :math:`(E,)`.
            col (Tensor): Columns, int64 of shape :math:`(E,)`.
            num_rows (int): Number of rows.
            num_cols (int): Number of columns.

        Raises:
            ValueError: If the matrix has 2^63 places or more, which int64 cannot number.
        """
        _check_size(num_rows, num_cols)
        key = row * num_cols + col
        if not bool((key[1:] >= key[:-1]).all()):
            key = key.sort().values
            row, col = key // num_cols, key % num_cols
        return cls(pointers(row, num_rows), col.contiguous())

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self.ptr.numel() - 1

    def rows(self) -> Tensor:
        """Row of each entry, int64 of shape :math:`(E,)`."""
        return expand(self.ptr, self.col.numel())

    def of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The entries of some rows.

        Args:
            rows (Tensor): Row numbers, int64 of shape :math:`(B,)`.

        Returns:
            Of each entry its position in ``rows`` and its column, both of shape :math:`(M,)`.
        """
        row, position = ranges(self.ptr[rows], self.ptr[rows + 1])
        return row, self.col[position]

    def contains(self, row: Tensor, col: Tensor) -> Tensor:
        """Whether there is an entry at each of some places.

        Args:
            row (Tensor): Rows, int64 of any shape.
            col (Tensor): Columns, int64 of the same shape.

        Returns:
            Booleans of that shape.
        """
        if self.col.numel() == 0 or row.numel() == 0:
            return torch.zeros_like(row, dtype=torch.bool)
        width = 1 + int(torch.maximum(self.col.amax(), col.amax()))
        _check_size(self.num_rows, width)
        key, wanted = self.rows() * width + self.col, row * width + col
        place = torch.searchsorted(key, wanted).clamp_(max=key.numel() - 1)
        return (key[place] == wanted) & (col >= 0)

    def transposed_order(self) -> Tensor:
        """The entries sorted by column, then row, as positions in ``col``, shape :math:`(E,)`."""
        return self.col.argsort(stable=True)

    def transpose(self, num_cols: int) -> Self:
        """The transposed matrix.

        Args:
            num_cols (int): Number of columns of this one.
        """
        order = self.transposed_order()
        return type(self)(pointers(self.col[order], num_cols), self.rows()[order])


def multiply(rows: Tensor, matrix: Tensor) -> Tensor:
    r"""Sparse rows, CSR of shape :math:`(B, I)`, times a dense matrix of shape :math:`(I, d)`."""
    # A row of the product is a bag of weighted rows; PyTorch's kernel for that fetches ahead.
    return embedding_bag(
        rows.col_indices(),
        matrix,
        rows.crow_indices(),
        mode="sum",
        per_sample_weights=rows.values().to(matrix.dtype),
        include_last_offset=True,
    )


def check_csr(
    ptr_name: str,
    ptr: Tensor | None,
    col_name: str,
    col: Tensor | None,
    num_rows: int,
    num_cols: int,
) -> None:
    """Checks the structure of a sparse matrix that comes from outside.

    Args:
        ptr_name (str): What messages call the row pointers.
        ptr (Tensor, optional): Row pointers.
        col_name (str): What messages call the columns.
        col (Tensor, optional): Column of each entry.
        num_rows (int): Number of rows.
        num_cols (int): Number of columns.

    Raises:
        ValueError: If they are no such structure.
    """
    for name, tensor in ((ptr_name, ptr), (col_name, col)):
        if tensor is None or tensor.dtype != torch.long or tensor.dim() != 1:
            raise ValueError(f"{name!r} must be a vector of int64")
    assert ptr is not None
    assert col is not None
    # Neighbours are compared, and not subtracted: a difference may wrap around.
    if (
        ptr.numel() != num_rows + 1
        or ptr[0] != 0
        or ptr[-1] != col.numel()
        or bool((ptr[1:] < ptr[:-1]).any())
    ):
        raise ValueError(f"{ptr_name!r} must rise from 0 to {col.numel()} in {num_rows} steps")
    if col.numel() and (int(col.min()) < 0 or int(col.max()) >= num_cols):
        raise ValueError(
            f"{col_name!r} must lie between 0 and {num_cols - 1}, got {int(col.min())} to "
            f"{int(col.max())}"
        )


def _check_size(num_rows: int, num_cols: int) -> None:
    if num_rows * num_cols >= 2**63:
        raise ValueError(
            f"A matrix must have fewer than 2^63 places, got {num_rows} rows and {num_cols} "
            "columns."
        )


def singular_vectors(matrix: sp.csr_array, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""The greatest singular values of interactions, and their vectors.

    Args:
        matrix (csr_array): Users over items, of shape :math:`(U, I)`, float32 or float64.
        rank (int): Their number :math:`k`.

    Returns:
        Left vectors of shape :math:`(U, k)`, values in descending order, right vectors of shape
        :math:`(I, k)`, of the matrix's type. The same matrix always gives the same.

    Raises:
        ConfigError: If there are not so many.
        ValueError: If there are no interactions.
    """
    if rank >= min(matrix.shape):
        users, items = matrix.shape
        raise ConfigError(
            f"'rank' must be less than the {users} users and the {items} items, got {rank}.", "rank"
        )
    if not matrix.nnz:
        raise ValueError("Singular vectors need training interactions, of which there are none.")
    # A random start of scipy's own would give other signs at each call.
    start = np.random.default_rng(0).standard_normal(min(matrix.shape)).astype(matrix.dtype)
    left, value, right = svds(matrix, k=rank, v0=start)
    order = np.argsort(-value, kind="stable")
    return (
        torch.from_numpy(left[:, order]),
        torch.from_numpy(value[order]),
        torch.from_numpy(right[order].T),
    )


def history_rows(history: Tensor, num_items: int, device: torch.device) -> Tensor:
    r"""Histories as rows of weights, sparse CSR of floats, of shape :math:`(B, I)`.

    Args:
        history (Tensor): One at the items of each user, else zero; dense or sparse.
        num_items (int): Number of items :math:`I`.
        device (torch.device): Where the rows go.

    Raises:
        ValueError: If it has another shape, or a value is NaN or infinite.
    """
    if history.dim() != 2 or history.size(1) != num_items:
        raise ValueError(
            f"'history' must have the {num_items} items as columns, got shape "
            f"{tuple(history.shape)}."
        )
    rows = history.to(device).to_sparse_csr()
    values = rows.values()
    if not values.isfinite().all():
        bad = values[~values.isfinite()][0].item()
        raise ValueError(f"'history' must hold numbers that are finite, got {bad}.")
    return rows if rows.is_floating_point() else rows.float()

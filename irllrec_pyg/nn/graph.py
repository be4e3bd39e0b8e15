"""The training graph: one fixed sparse structure that every propagation shares."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, check_data, check_pairs
from ..sparse import CSR, expand


class Adjacency(NamedTuple):
    """A weighted square matrix in CSR form beside its transpose, which backward passes need.

    For a symmetric structure both share ``rowptr`` and ``col``, and for a symmetric matrix also
    the values: then the matrix is its own transpose and nothing is stored twice.
    """

    rowptr: Tensor
    col: Tensor
    value: Tensor
    rowptr_t: Tensor
    col_t: Tensor
    value_t: Tensor

    @property
    def num_nodes(self) -> int:
        """Number of rows and columns."""
        return self.rowptr.numel() - 1

    @property
    def edge_index(self) -> Tensor:
        """Entries as PyG's ``edge_index`` (source over target), int64 of shape :math:`(2, M)`."""
        return torch.stack([self.col.long(), expand(self.rowptr, self.col.numel())])

    def to(self, dtype: torch.dtype) -> "Adjacency":
        """Casts the values."""
        if self.value.dtype == dtype:
            return self
        value = self.value.to(dtype)
        value_t = value if self.value_t is self.value else self.value_t.to(dtype)
        return self._replace(value=value, value_t=value_t)

    def add_loops(self, weight: Tensor) -> "Adjacency":
        """Puts weights, of shape :math:`(N,)`, on the diagonal, which must be empty."""
        parts = self._insert(*self[:3], weight)
        if self.value_t is self.value and self.col_t is self.col:
            return Adjacency(*parts, *parts)
        return Adjacency(*parts, *self._insert(*self[3:], weight))

    @staticmethod
    def _insert(
        rowptr: Tensor, col: Tensor, value: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        size = weight.numel()
        nodes = torch.arange(size + 1, device=col.device)
        pointers = rowptr + nodes
        # The loop comes first in its row; row r's other entries move on by r + 1.
        other = torch.arange(col.numel(), device=col.device) + expand(rowptr, col.numel()) + 1
        columns, values = col.new_empty(col.numel() + size), value.new_empty(col.numel() + size)
        columns[other], columns[pointers[:-1]] = col, nodes[:-1].to(col.dtype)
        values[other], values[pointers[:-1]] = value, weight.to(value.dtype)
        return pointers.to(rowptr.dtype), columns, values

    @property
    def T(self) -> "Adjacency":
        """The transposed matrix."""
        return Adjacency(*self[3:], *self[:3])


class InteractionGraph(torch.nn.Module):
    r"""The training interactions as one symmetric graph over users and items, users first.

    .. math::
        \mathbf{A} = \begin{pmatrix} 0 & \mathbf{R} \\ \mathbf{R}^{\top} & 0 \end{pmatrix}

    It has no parameters. It is a module so that it moves with the model; its buffers stay out of
    the state dict.

    Args:
        edge_index (Tensor): Training interactions, user ids over item ids, int64 of shape
            :math:`(2, E)`, without duplicates.
        num_users (int): Number of users.
        num_items (int): Number of items.

    Raises:
        ValueError: If an id is out of range or an interaction stands twice.
    """

    n_id: Tensor | None
    rowptr: Tensor
    col: Tensor
    reverse: Tensor

    def __init__(self, edge_index: Tensor, num_users: int, num_items: int) -> None:
        super().__init__()
        check_pairs(edge_index, num_users, num_items, "edge_index")
        self.num_users, self.num_items = num_users, num_items
        user, item = edge_index[0], edge_index[1] + num_users
        row, col = torch.cat([user, item]), torch.cat([item, user])
        structure = CSR.from_pairs(row, col, self.num_nodes, self.num_nodes)
        rowptr, col = structure
        if bool(((col[1:] == col[:-1]) & (structure.rows().diff() == 0)).any()):
            raise ValueError("'edge_index' holds an interaction twice; coalesce it first.")
        self.register_buffer("n_id", None, False)  # a sampled part has the nodes' ids here
        # Sparse products convert 64-bit indices at every call; most graphs fit into 32 bits.
        index = torch.int32 if col.numel() < 2**31 else torch.int64
        self.register_buffer("rowptr", rowptr.to(index), False)
        self.register_buffer("col", col.to(index), False)
        # At t is the position of the entry whose transpose stands at t in CSR order.
        self.register_buffer("reverse", structure.transposed_order(), False)
        self._cache: dict[tuple[str, torch.dtype | None], Tensor] = {}
        self._looped: dict[torch.dtype, Adjacency] = {}

    @classmethod
    def from_data(cls, data: HeteroData) -> Self:
        """Takes the training interactions of a data set (edge type ``user, rates, item``).

        Raises:
            TypeError, ValueError: If it is no such graph; see
                :func:`irllrec_pyg.edges.check_data`.
        """
        check_data(data)
        return cls(data[EDGE_TYPE].edge_index, data["user"].num_nodes, data["item"].num_nodes)

    @property
    def transposed(self) -> tuple[Tensor, Tensor]:
        """Row pointers and columns of the transposed structure; here the structure is symmetric."""
        return self.rowptr, self.col

    @property
    def num_nodes(self) -> int:
        """Users plus items."""
        return self.num_users + self.num_items

    @property
    def num_edges(self) -> int:
        """Directed entries of the adjacency, twice the interactions."""
        return self.col.numel()

    @property
    def degree(self) -> Tensor:
        """Entries in each row, of shape :math:`(N,)`."""
        return self.rowptr.diff()

    @property
    def row(self) -> Tensor:
        """Row of each entry, int64 of shape :math:`(2E,)`."""
        if ("row", None) not in self._cache:
            with torch.inference_mode(False):  # what is kept must serve training too
                self._cache["row", None] = expand(self.rowptr, self.num_edges)
        return self._cache["row", None]

    @property
    def interactions(self) -> Tensor:
        """User ids over item ids, each interaction once, int64 of shape :math:`(2, E)`."""
        upper = self.row < self.num_users
        return torch.stack([self.row[upper], self.col[upper].long() - self.num_users])

    @property
    def edge_index(self) -> Tensor:
        """Entries as PyG's ``edge_index`` (source over target), int64 of shape :math:`(2, 2E)`."""
        return torch.stack([self.col.long(), self.row])

    def normalized(self, dtype: torch.dtype) -> Tensor:
        r"""Values of :math:`\hat{A} = D^{-1/2} A D^{-1/2}`, of shape :math:`(2E,)`.

        They are computed in float64 and rounded once, so that a model turned to another dtype
        has the exact weights of that dtype.
        """
        if ("normalized", dtype) not in self._cache:
            with torch.inference_mode(False):
                scale = self.degree.double().clamp(min=1).rsqrt()
                self._cache["normalized", dtype] = (scale[self.row] * scale[self.col]).to(dtype)
        return self._cache["normalized", dtype]

    def matrix(self, value: Tensor) -> Adjacency:
        """Puts values, of shape :math:`(2E,)`, on the structure; they need not be symmetric."""
        value_t = value.index_select(0, self.reverse)
        return Adjacency(self.rowptr, self.col, value, *self.transposed, value_t)

    def adjacency(self, dtype: torch.dtype) -> Adjacency:
        r"""The matrix :math:`\hat{A}`, which is its own transpose."""
        value = self.normalized(dtype)
        return Adjacency(self.rowptr, self.col, value, self.rowptr, self.col, value)

    def looped(self, dtype: torch.dtype, degree: Tensor | None = None) -> Adjacency:
        r"""The matrix :math:`(D + I)^{-1/2} (A + I) (D + I)^{-1/2}`. A step of GCCF with it takes a
        fifth less than with loops added after each product (``benchmarks/speed.py --model gccf``).

        Args:
            dtype (torch.dtype): Of the values.
            degree (Tensor, optional): Degrees of the nodes in the graph that this one was sampled
                from, shape :math:`(N,)`. (default: those here)
        """
        if degree is None and dtype in self._looped:
            return self._looped[dtype]
        kept = ("normalized", torch.float64) in self._cache
        with torch.inference_mode(False):
            # A loop weighs 1 / (d + 1). The other entries are those of the matrix without loops
            # times sqrt(d / (d + 1)) on both sides: whole-graph weights of a sample will do.
            loop = 1 / ((self.degree if degree is None else degree).double() + 1)
            ratio = (1 - loop).sqrt()
            value = self.normalized(torch.float64) * ratio[self.row] * ratio[self.col]
            plain = self.adjacency(torch.float64)
            reverse = value if plain.value_t is plain.value else value[self.reverse]
            out = plain._replace(value=value, value_t=reverse).add_loops(loop).to(dtype)
        if not kept:  # a matrix of doubles that nothing else reads
            self._cache.pop(("normalized", torch.float64), None)
        if degree is None:
            self._looped[dtype] = out
        return out

    def drop_edges(self, dtype: torch.dtype, keep_rate: float) -> Adjacency:
        r"""Keeps each directed entry of :math:`\hat{A}` with probability ``keep_rate``.

        The structure stays: dropped entries become zero, the others are not rescaled. The two
        directions of an interaction are dropped independently, so the result is not symmetric.
        """
        if keep_rate >= 1.0:
            return self.adjacency(dtype)
        keep = _draw_kept(self.num_edges, keep_rate, self.col.device)
        return self.matrix(self.normalized(dtype) * keep)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._cache, self._looped = {}, {}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_users={self.num_users}, num_items={self.num_items}, "
            f"num_edges={self.num_edges})"
        )


def _draw_kept(count: int, rate: float, device: torch.device) -> Tensor:
    """Booleans of shape ``(count,)`` that are true with probability ``rate``, on a CPU rounded to a
    multiple of 2^-16, at least one.
    """
    if device.type != "cpu" or rate <= 0:
        return torch.rand(count, device=device) < rate
    # torch.rand takes one number from the generator for each entry, as long as two propagations.
    # Here four entries share the 64 bits of one.
    draws = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    last = max(round(rate * 2**16), 1) - 1 - 2**15
    return draws.view(torch.int16)[:count] <= last

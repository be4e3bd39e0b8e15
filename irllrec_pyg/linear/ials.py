"""Implicit alternating least squares, every step of which has a closed form."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..ranking.explain import Contributions, Person
from ..registry import register
from ..sparse import CSR
from .base import EmbeddingModel

ENTRIES = 1 << 25  # numbers that may exist at once while a block of rows is solved


@register("ials")
class IALS(EmbeddingModel):
    r"""Matrix factorisation by alternating least squares, `"Collaborative Filtering for Implicit
    Feedback Datasets" <https://doi.org/10.1109/ICDM.2008.22>`_ (Hu et al., ICDM 2008), with the
    regularisation by frequency of `"Revisiting the Performance of iALS on Item Recommendation
    Benchmarks" <https://arxiv.org/abs/2110.14037>`_ (Rendle et al., RecSys 2022).

    .. math::
        \min_{\mathbf{W}, \mathbf{H}} \sum_{(u, i) \in \mathcal{S}} (\mathbf{w}_u^{\top}
        \mathbf{h}_i - 1)^2 + \alpha_0 \sum_{u, i} (\mathbf{w}_u^{\top} \mathbf{h}_i)^2
        + \lambda \Big( \sum_u (|\mathcal{I}_u| + \alpha_0 |\mathcal{I}|)^{\nu}
        \|\mathbf{w}_u\|^2 + \sum_i (|\mathcal{U}_i| + \alpha_0 |\mathcal{U}|)^{\nu}
        \|\mathbf{h}_i\|^2 \Big)

    A user's embedding is the solution of one such step from the user's items, for training users
    and for those who are given by a history. An item without an interaction is zero.

    The steps are our own: ``implicit`` has one ridge for all rows, and ``irspack``, which scales
    it, brings ten other packages with it.
    """

    class Config(EmbeddingModel.Config):
        dim: int = field(128, ge=1, le=65536, search=(32, 256), log=True, help="width d of factors")
        reg: float = field(
            0.003, gt=0, search=(1e-4, 0.3), log=True, help="weight of the ridge, lambda"
        )
        unobserved: float = field(
            0.03, gt=0, search=(0.003, 1.0), log=True, help="weight of all pairs, alpha_0"
        )
        exponent: float = field(
            1.0, ge=0, le=1, help="how the ridge grows with frequency, nu; 0: it is the same"
        )
        num_steps: int = field(
            16, ge=1, le=1000, help="times that items and users are solved for in turn"
        )
        seed: int = field(0, ge=0, help="seed of the first factors")

    layout: ClassVar = {"users": "U dim", "items": "I dim"}

    def fit(self, data: HeteroData) -> None:
        """Solves for items and users in turn."""
        by_user = CSR(self.seen_ptr, self.seen_item)
        by_item = by_user.transpose(self.num_items)
        users = self.first_users()
        for _ in range(self.config.num_steps):
            items = self.solve(by_item, users)
            users = self.solve(by_user, items)
        self.keep(users=users, items=items)

    def first_users(self) -> Tensor:
        """Small random factors of users, drawn on the CPU: every device begins with the same."""
        draws = torch.Generator().manual_seed(self.config.seed)
        users = torch.randn(self.num_users, self.config.dim, generator=draws)
        scaled: Tensor = users.to(self.seen_ptr.device) * (0.1 / self.config.dim**0.5)
        return scaled

    def encode(self, history: Tensor) -> Tensor:
        r"""Factors of users by their histories, shape :math:`(B, d)`."""
        pairs = CSR(history.crow_indices(), history.col_indices())
        return self.solve(pairs, self.factors, weight=history.values())

    def contributions(self, person: Person, item: int) -> Contributions:
        r"""Parts of the items of a history, as in section 5 of Hu et al.: the user's embedding is
        linear in them once the matrix that is solved with is given.
        """
        factors, alpha = self.factors.double(), self.config.unobserved
        own, weight = factors[person.items], person.weights.double().view(-1, 1)
        ridge = self.config.reg * (len(own) + alpha * len(factors)) ** self.config.exponent
        matrix = alpha * factors.t() @ factors + (weight * own).t() @ own
        matrix.diagonal().add_(ridge)
        solved = torch.linalg.solve(matrix, self.items[item].double())
        return Contributions((weight * own @ solved.view(-1, 1)).flatten())

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items, and solves for the users, whose ridge grows with the number of items."""
        super().grow(ids, texts)
        self.encode_users()

    @property
    def factors(self) -> Tensor:
        """Factors of the items that those of users are solved from."""
        return self.items

    def solve(
        self,
        observed: CSR,
        other: Tensor,
        prior: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        r"""One step: the rows that are best for the other side's factors.

        Args:
            observed (CSR): Whom of the other side each row was observed with.
            other (Tensor): Factors of the other side, shape :math:`(M, d)`.
            prior (Tensor, optional): What the ridge draws each row to, shape :math:`(B, d)`.
                (default: zero)
            weight (Tensor, optional): Weight of the square of each observed pair, shape
                :math:`(E,)`. (default: one)

        Returns:
            Factors of shape :math:`(B, d)`.
        """
        alpha, count = self.config.unobserved, observed.ptr.diff()
        ridge = self.config.reg * (count + alpha * other.size(0)) ** self.config.exponent
        # In the eigenvectors of the Gram matrix, what all rows share is a diagonal.
        # In float64: it is small, and the eigensolver of float32 may not converge.
        gram = other.t().double() @ other.double()
        shared, basis = (part.to(other.dtype) for part in torch.linalg.eigh(gram))
        rotated = other @ basis
        # Without interactions, a row is its prior, drawn to zero by all the other side.
        diagonal = alpha * shared.clamp(min=0) + ridge.view(-1, 1)
        if prior is None:
            out = other.new_zeros(observed.num_rows, other.size(1))
        else:
            out = ridge.view(-1, 1) * (prior @ basis) / diagonal
        order, width = count.argsort(), other.size(1)
        lengths = count[order].tolist()
        at = bisect_right(lengths, 0)
        while at < len(lengths):  # rows of much the same length together: the shorter are padded
            longest = 2 * lengths[at]
            most = max(1, ENTRIES // (longest * width + min(longest, width) ** 2))
            end = min(bisect_right(lengths, longest), at + most)
            longest, rows = lengths[end - 1], order[at:end]
            place = observed.ptr[rows].view(-1, 1) + torch.arange(longest, device=rows.device)
            there = (place < observed.ptr[rows + 1].view(-1, 1)).to(other.dtype)
            place = place.clamp(max=observed.col.numel() - 1)
            if weight is not None:  # a square's weight is that of its root
                there = there * weight[place].to(other.dtype).sqrt()
            own = rotated[observed.col[place]]
            own = own * there.unsqueeze(2)  # rows with fewer entries end with zeros
            if prior is not None:  # what is left to explain
                there = there - (own @ out[rows].unsqueeze(2)).squeeze(2)
            out[rows] += _solve(own, diagonal[rows], there)
            at = end
        solved: Tensor = out @ basis.t()
        return solved


def _solve(own: Tensor, diagonal: Tensor, target: Tensor) -> Tensor:
    r"""Solves :math:`(\mathbf{D} + \mathbf{Y}^{\top} \mathbf{Y}) \mathbf{x} = \mathbf{Y}^{\top}
    \mathbf{t}` for many rows: :math:`\mathbf{Y}` of shape :math:`(B, N, d)`, the diagonal of
    :math:`\mathbf{D}` of shape :math:`(B, d)`, :math:`\mathbf{t}` of shape :math:`(B, N)`.
    """
    target = target.unsqueeze(2)
    if own.size(1) >= own.size(2):
        matrix = own.mT @ own + diagonal.diag_embed()
        return torch.cholesky_solve(own.mT @ target, torch.linalg.cholesky(matrix)).squeeze(2)
    # Fewer entries than factors: D^-1 Y' (I + Y D^-1 Y')^-1 t is the same, and smaller.
    scaled = own / diagonal.unsqueeze(1)
    matrix = scaled @ own.mT
    matrix.diagonal(dim1=1, dim2=2).add_(1.0)
    return (scaled.mT @ torch.cholesky_solve(target, torch.linalg.cholesky(matrix))).squeeze(2)

"""Rankers whose scores are dot products of embeddings."""

import torch
from torch import Tensor

from .ranker import Ranker, Similarity
from .topk import DotProducts, Scorer


class DotProductRanker(Ranker):
    """Base class of rankers whose scores are dot products of embeddings; see :class:`Ranker`."""

    def embed(self) -> tuple[Tensor, Tensor]:
        r"""Final embeddings of users :math:`(U, d)` and items :math:`(I, d)`."""
        raise NotImplementedError

    def score(self, user: Tensor) -> Tensor:
        r"""Dot products of users with all items, shape :math:`(B, I)`."""
        return self.scorer()(user)

    def scorer(self) -> Scorer:
        """Embeds once and scores any number of blocks of users."""
        return DotProducts(*self.embed())

    def history_encoder(self) -> Scorer | None:
        """A function that gives the embeddings of people, of shape :math:`(B, d)`, by rows of
        histories, sparse CSR of shape :math:`(B, I)`; ``None`` where there is none.
        """
        return None

    def item_similarity(self) -> Similarity:
        """Cosines of the items' embeddings."""
        with torch.no_grad(), self.ranking():
            return cosines(self.embed()[1])


def cosines(vectors: Tensor) -> Similarity:
    """Cosines of rows, in float32 or wider; zero where a row is zero."""
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    rows = torch.nn.functional.normalize(wide, dim=1)

    def similarity(item: Tensor, others: Tensor | None) -> Tensor:
        return rows[item] @ (rows if others is None else rows[others]).t()

    return similarity

"""What is left of a model after training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..ranking.fold_in import FoldIn
from .named_intents import IntentRanker


class EmbeddingRecommender(IntentRanker):
    r"""Ranks by the dot products of given embeddings; what is left of a model after training.

    Args:
        user_embedding (Tensor): Of shape :math:`(U, d)`.
        item_embedding (Tensor): Of shape :math:`(I, d)`.
        edge_index (Tensor): Training interactions, user ids over item ids, int64 of shape
            :math:`(2, E)`.
        user_ids (sequence, optional): The owner's id of each user. (default: ``0 .. U-1``)
        item_ids (sequence, optional): The owner's id of each item. (default: ``0 .. I-1``)
        info (mapping, optional): Anything worth knowing about the model. (default: nothing)
        known (Tensor, optional): All interactions that the data set knows of, of shape
            :math:`(2, M)`. (default: the training interactions)
        fold (FoldIn, optional): How new users get embeddings. (default: ``None``)
    """

    user_embedding: Tensor
    item_embedding: Tensor

    def __init__(
        self,
        user_embedding: Tensor,
        item_embedding: Tensor,
        edge_index: Tensor,
        user_ids: Sequence[int | str] | None = None,
        item_ids: Sequence[int | str] | None = None,
        info: Mapping[str, Any] | None = None,
        known: Tensor | None = None,
        fold: FoldIn | None = None,
    ) -> None:
        super().__init__(
            edge_index, user_embedding.size(0), item_embedding.size(0), user_ids, item_ids, known
        )
        self.register_buffer("user_embedding", user_embedding)
        self.register_buffer("item_embedding", item_embedding)
        self.info = dict(info or {})
        self.fold = fold

    def embed(self) -> tuple[Tensor, Tensor]:
        """The embeddings of users and items."""
        return self.user_embedding, self.item_embedding

    def fold_in(self) -> FoldIn | None:
        """What was saved with the embeddings."""
        return self.fold

    def why_no_history(self) -> str:
        """Of the saved model, whose class the file may name."""
        return super().why_no_history().replace(type(self).__name__, "This saved model")

    @property
    def text_width(self) -> int | None:
        """Width of the texts, where embeddings follow from them alone."""
        return None if self.fold is None or self.fold.text is None else self.fold.text.size(1)

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items by their texts."""
        assert texts is not None
        assert self.fold is not None
        items = self.fold.grow(texts)
        self.item_embedding = torch.cat([self.item_embedding, items])
        super().grow(ids, texts)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_users} users, {self.num_items} items, "
            f"{self.user_embedding.size(1)})"
        )

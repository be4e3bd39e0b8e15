"""A user's text against the items' texts."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch_geometric.data import HeteroData

from ..nn.features import text_features
from ..nn.losses import normalize
from ..ranking.explain import Contributions, Person
from ..registry import register
from ..sparse import multiply
from .base import EmbeddingModel, row_sums


@register("text-profile")
class TextProfile(EmbeddingModel):
    r"""Cosine of a user's text with an item's text, :math:`y_{ui} = \cos(\mathbf{x}_u,
    \mathbf{x}_i)`. A user who is given by a history has the mean of the items' texts.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x``.
    """

    layout: ClassVar = {"users": "U width", "texts": "I width"}
    texts: Tensor

    def fit(self, data: HeteroData) -> None:
        """Takes the texts."""
        x = text_features(data, "x")
        self.register_buffer("users", normalize(x[: self.num_users]))
        self.register_buffer("texts", x[self.num_users :])

    def prepare(self) -> None:
        """Brings the items' texts to unit length."""
        self.register_buffer("items", normalize(self.texts))

    def encode(self, history: Tensor) -> Tensor:
        """Means of the items' texts, brought to unit length."""
        count = row_sums(history, self.texts.dtype)
        return normalize(multiply(history, self.texts) / count)

    def contributions(self, person: Person, item: int) -> Contributions:
        """Products of the items' texts with the item's, over the length of the history's mean;
        they are all of the score where the user has no text besides.
        """
        weighted = person.weights.view(-1, 1) * self.texts[person.items]
        return Contributions(weighted @ self.items[item] / weighted.sum(0).norm().clamp(min=1e-12))

    @property
    def text_width(self) -> int:
        """Width of the texts."""
        return self.texts.size(1)

    def text_items(self, texts: Tensor) -> Tensor:
        """Texts of unit length."""
        return normalize(texts.to(self.texts.dtype))

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds texts."""
        super().grow(ids, texts)
        if texts is not None:
            self.texts[-len(ids) :] = texts.to(self.texts.dtype)

"""A user's text against the items' texts."""

from typing import ClassVar

from torch import Tensor
from torch_geometric.data import HeteroData

from ..nn.features import text_features
from ..nn.losses import normalize
from ..registry import register
from .base import EmbeddingModel, multiply


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
        count = history.crow_indices().diff().clamp(min=1).view(-1, 1)
        return normalize(multiply(history, self.texts) / count)

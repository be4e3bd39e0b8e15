"""A user's text against the items' texts."""

from typing import Any

from torch_geometric.data import HeteroData

from ..config import Settings
from ..nn.features import text_features
from ..nn.losses import normalize
from ..registry import register
from .base import EmbeddingModel


@register("text-profile")
class TextProfile(EmbeddingModel):
    r"""Cosine of a user's text with an item's text, :math:`y_{ui} = \cos(\mathbf{x}_u,
    \mathbf{x}_i)`.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x``.
    """

    def __init__(self, data: HeteroData, config: Settings = None, **settings: Any) -> None:
        super().__init__(data, config, **settings)
        x = normalize(text_features(data, "x"))
        self._set(x[: self.num_users], x[self.num_users :])

"""The mean of the texts of a user's items against the items' texts."""

from typing import ClassVar

from torch import Tensor
from torch_geometric.data import HeteroData

from ..registry import register
from .base import FactorModel
from .texts import item_texts


@register("text-mean")
class TextMean(FactorModel):
    r"""Similarity to the mean of the texts of a user's items,

    .. math::
        \mathbf{Y} = \mathbf{D}_U^{-1} \mathbf{R} \mathbf{F} \mathbf{F}^{\top}

    with :math:`\mathbf{F}` the items' texts, centred and of unit length. Nothing is learned of
    other users: the simplest thing that ranks items which nobody has touched.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
    """

    layout: ClassVar = {"items": "I width"}

    def fit(self, data: HeteroData) -> None:
        """Takes the items' texts."""
        self.register_buffer("items", item_texts(data).float())

    def encode(self, history: Tensor) -> Tensor:
        """Means of the items' texts."""
        count = history.crow_indices().diff().clamp(min=1).view(-1, 1)
        return super().encode(history) / count

    @property
    def encoder(self) -> Tensor:  # type: ignore[override]
        """The items' texts."""
        return self.items

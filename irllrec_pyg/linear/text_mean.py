"""The mean of the texts of a user's items against the items' texts."""

from typing import ClassVar

from torch import Tensor
from torch_geometric.data import HeteroData

from ..ranking.explain import Contributions, Person
from ..registry import register
from .base import FactorModel, row_sums
from .texts import CentredTexts, centred_texts


@register("text-mean")
class TextMean(CentredTexts, FactorModel):
    r"""Similarity to the mean of the texts of a user's items,

    .. math::
        \mathbf{Y} = \mathbf{D}_U^{-1} \mathbf{R} \mathbf{F} \mathbf{F}^{\top}

    with :math:`\mathbf{F}` the items' texts, centred and of unit length. Nothing is learned of
    other users: the simplest thing that ranks items which nobody has touched.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
    """

    layout: ClassVar = {"items": "I width", "center": "width"}

    def fit(self, data: HeteroData) -> None:
        """Takes the items' texts."""
        texts, center = centred_texts(data)
        self.keep(items=texts, center=center)

    def encode(self, history: Tensor) -> Tensor:
        """Means of the items' texts."""
        return super().encode(history) / row_sums(history, self.items.dtype)

    def contributions(self, person: Person, item: int) -> Contributions:
        """Similarities of the items' texts, each weighted by its share of the history."""
        similar = self.items[person.items] @ self.items[item]
        return Contributions(person.weights * similar / person.weights.sum())

    @property
    def encoder(self) -> Tensor:  # type: ignore[override]
        """The items' texts."""
        return self.items

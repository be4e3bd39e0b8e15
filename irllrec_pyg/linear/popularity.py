"""The same list for everybody."""

from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..ranking.explain import Contributions, Person
from ..ranking.ranker import Ranker, Similarity
from ..registry import register
from .base import EmbeddingModel


@register("popularity")
class Popularity(EmbeddingModel):
    """The same list for everybody: items by their number of training interactions."""

    layout: ClassVar = {"items": "I 1"}

    def fit(self, data: HeteroData) -> None:
        """Counts the interactions of each item."""
        self.register_buffer("items", self.degree().view(-1, 1))

    def prepare(self) -> None:
        """Every user is the same."""
        self.register_buffer("users", self.items.new_ones(self.num_users, 1))

    def encode(self, history: Tensor) -> Tensor:
        """Ones."""
        return torch.ones(history.size(0), 1, dtype=self.items.dtype, device=self.items.device)

    def item_similarity(self) -> Similarity:
        """There is none.

        Raises:
            NotImplementedError: Always: an item is a number here.
        """
        return Ranker.item_similarity(self)

    def contributions(self, person: Person, item: int) -> Contributions:
        """The history plays no part."""
        none = torch.zeros(person.items.numel(), device=person.items.device)
        return Contributions(none, {"popularity": float(self.items[item])})

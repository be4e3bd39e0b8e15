"""The same list for everybody."""

from typing import Any

from torch_geometric.data import HeteroData

from ..config import Settings
from ..registry import register
from .base import EmbeddingModel


@register("popularity")
class Popularity(EmbeddingModel):
    """The same list for everybody: items by their number of training interactions."""

    def __init__(self, data: HeteroData, config: Settings = None, **settings: Any) -> None:
        super().__init__(data, config, **settings)
        degree = self.degree().view(-1, 1)
        self._set(degree.new_ones(self.num_users, 1), degree)

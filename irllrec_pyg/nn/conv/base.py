"""What the layers share."""

from typing import Any

from torch import Tensor
from torch_geometric.nn import MessagePassing


class SumConv(MessagePassing):
    """A message-passing layer that sums weighted neighbours."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("aggr", "sum")
        super().__init__(**kwargs)

    def edge_update(self) -> Tensor:
        """Edges hold no state here."""
        raise NotImplementedError

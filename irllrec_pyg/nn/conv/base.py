"""What the layers share."""

from typing import Any

from torch import Tensor
from torch_geometric.nn import MessagePassing


class SumConv(MessagePassing):
    """A message-passing layer that sums weighted neighbours."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("aggr", "sum")
        super().__init__(**kwargs)

    @property
    def edgewise(self) -> bool:
        """Whether messages go edge by edge, as PyG's explainers and its hooks on them need it."""
        return bool(
            self.explain
            or self._propagate_forward_pre_hooks
            or self._propagate_forward_hooks
            or self._message_forward_pre_hooks
            or self._message_forward_hooks
            or self._aggregate_forward_pre_hooks
            or self._aggregate_forward_hooks
        )

    def edge_update(self) -> Tensor:
        """Edges hold no state here."""
        raise NotImplementedError

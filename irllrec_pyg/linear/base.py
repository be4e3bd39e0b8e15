"""What closed-form models share: they are computed from the training interactions, not trained."""

import copy
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import Settings
from ..ranking.ranker import DotProductRanker, Ranker, ranker_arguments
from ..registry import Configured


class LinearModel(Ranker, Configured):
    r"""Base class of closed-form models; with :math:`\mathbf{R} \in \{0, 1\}^{U \times I}` the
    training interactions.

    Args:
        data (HeteroData): Data set.
        config (Config or mapping, optional): Settings. (default: the defaults)
        **settings: Settings by name, which take the place of these.

    Raises:
        ConfigError: If a setting is unknown or wrong.
        TypeError, ValueError: If ``data`` is no graph of a data set.
    """

    kind = "linear"
    config: Any
    #: Whether a model holds all those with a smaller value of its setting; see :meth:`truncated`.
    is_nested: ClassVar[bool] = False

    def __init__(self, data: HeteroData, config: Settings = None, **settings: Any) -> None:
        super().__init__(**ranker_arguments(data))
        self.config = self.Config.read(config, **settings)

    @classmethod
    def limits(cls, data: HeteroData) -> dict[str, int]:
        """The greatest value of each setting that a data set bounds."""
        return {}

    def truncated(self, **settings: Any) -> Self:
        """A model with a smaller setting, taken from this one and not computed again."""
        raise NotImplementedError

    def _twin(self, **settings: Any) -> Self:
        twin = copy.copy(self)
        twin._buffers = dict(self._buffers)
        twin.config = self.config.replace(**settings)
        return twin

    def history(self, user: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        r"""Training items of some users as columns of zeros and ones, shape :math:`(I, B)`."""
        row, item = self.seen(user)
        columns = torch.zeros(self.num_items, user.numel(), device=user.device, dtype=dtype)
        columns[item, row] = 1.0
        return columns

    def interactions(self) -> sp.csr_array:
        r"""The matrix :math:`\mathbf{R}`."""
        item, ptr = self.seen_item.cpu().numpy(), self.seen_ptr.cpu().numpy()
        return sp.csr_array((np.ones(len(item)), item, ptr), shape=(self.num_users, self.num_items))

    def degree(self) -> Tensor:
        """Training interactions of each item, floating point."""
        return torch.bincount(self.seen_item, minlength=self.num_items).float()

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in self.config.to_dict().items())
        return f"{type(self).__name__}({self.num_users} users, {self.num_items} items{settings})"


class EmbeddingModel(LinearModel, DotProductRanker):
    """Base class of closed-form models whose scores are dot products of fixed embeddings."""

    users: Tensor
    items: Tensor

    def embed(self) -> tuple[Tensor, Tensor]:
        """The embeddings of users and items."""
        return self.users, self.items

    def _set(self, users: Tensor, items: Tensor) -> None:
        self.register_buffer("users", users)
        self.register_buffer("items", items)


def inverse_root(degree: Tensor) -> NDArray[np.float64]:
    r""":math:`d^{-1/2}` in float64, where 0 stays 0."""
    root: NDArray[np.float64] = torch.where(degree > 0, degree.double().rsqrt(), 0.0).cpu().numpy()
    return root

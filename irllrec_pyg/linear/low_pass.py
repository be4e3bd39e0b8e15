"""The ideal low-pass filter on the graph."""

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch_geometric.data import HeteroData

from ..config import ConfigError, Settings, field
from ..edges import EDGE_TYPE
from ..registry import register
from .base import EmbeddingModel, inverse_root


@register("low-pass-svd")
class LowPassSVD(EmbeddingModel):
    r"""The ideal low-pass filter of GF-CF, `"How Powerful is Graph Convolution for
    Recommendation?" <https://arxiv.org/abs/2108.07567>`_.

    .. math::
        \mathbf{Y} = \mathbf{R} \mathbf{D}_I^{-1/2} \, \mathbf{V}_k \mathbf{V}_k^{\top}
        \, \mathbf{D}_I^{1/2}

    with :math:`\mathbf{V}_k` the right singular vectors of :math:`\mathbf{D}_U^{-1/2} \mathbf{R}
    \mathbf{D}_I^{-1/2}` that belong to its :math:`k` greatest singular values.
    """

    class Config(EmbeddingModel.Config):
        rank: int = field(256, ge=1, search=(8, 512), log=True, help="number k of singular vectors")

    is_nested = True

    def __init__(self, data: HeteroData, config: Settings = None, **settings: Any) -> None:
        super().__init__(data, config, **settings)
        rank, limit = self.config.rank, self.limits(data)["rank"]
        if rank > limit:
            raise ConfigError(f"'rank' must be at most {limit} for this data set, got {rank}.")
        root = self.degree().clamp(min=1).sqrt().cpu().double().numpy()
        columns = (self.interactions() @ sp.diags_array(1 / root)).tocsr()
        rows = sp.diags_array(inverse_root(self.seen_ptr.diff())) @ columns
        # Always from the same start, so that the same data gives the same vectors.
        start = np.random.default_rng(0).standard_normal(min(rows.shape)).astype(np.float32)
        _, value, vectors = svds(rows.astype(np.float32), k=rank, v0=start)
        right = vectors[np.argsort(-value, kind="stable")].T  # the greatest value first
        self._set(
            torch.from_numpy((columns @ right).astype(np.float32)),
            torch.from_numpy((root[:, None] * right).astype(np.float32)),
        )
        self.to(data[EDGE_TYPE].edge_index.device)

    @classmethod
    def limits(cls, data: HeteroData) -> dict[str, int]:
        """There are fewer vectors than users and than items."""
        return {"rank": min(data["user"].num_nodes, data["item"].num_nodes) - 1}

    def truncated(self, **settings: Any) -> Self:
        """The model of fewer singular vectors."""
        twin = self._twin(**settings)
        rank = twin.config.rank
        twin._set(self.users[:, :rank].contiguous(), self.items[:, :rank].contiguous())
        return twin

"""SimGCL."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from ..batch import Triplets
from .base import Encoding
from .lightgcn import LightGCN
from .propagation import contrast_views, propagate, sum_layers


class SimGCL(LightGCN):
    r"""The SimGCL model from the `"Are Graph Augmentations Necessary? Simple Graph Contrastive
    Learning for Recommendation" <https://arxiv.org/abs/2112.08679>`_ paper.

    :class:`LightGCN` ranks; two passes with noise after every propagation,

    .. math::
        \mathbf{e} \leftarrow \mathbf{e} + \epsilon \, \mathrm{sign}(\mathbf{e}) \odot
        \frac{\mathbf{n}}{\|\mathbf{n}\|}, \qquad \mathbf{n} \sim \mathcal{U}(0, 1)^d,

    are contrasted:

    .. math::
        \mathcal{L}_{ssl} = \frac{w}{B} \big[ \mathrm{nce}(u_1, u_2, \text{all users' } u_2)
        + \mathrm{nce}(i^+_1, i^+_2, \text{all items' } i_2) \big]

    As published, the input embeddings belong to the sum of layers (the paper leaves them out) and
    all nodes are candidates (the paper takes the batch's). No edges are dropped, though the
    published configuration has a ``keep_rate``.

    Args:
        data (HeteroData): Data set whose training interactions make the graph.
        embedding_size (int, optional): Width of the embeddings. (default: ``32``)
        num_layers (int, optional): Number of propagations :math:`L`. (default: ``3``)
        noise (float, optional): :math:`\epsilon`, the length of the noise. (default: ``0.9``)
        weight (float, optional): :math:`w`. (default: ``0.1``)
        temperature (float, optional): Of the contrastive sums. (default: ``0.2``)
    """

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int = 32,
        num_layers: int = 3,
        noise: float = 0.9,
        weight: float = 0.1,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(data, embedding_size, num_layers)
        self.noise = noise
        self.weight = weight
        self.temperature = temperature

    def encode(self, batch: Triplets, x: Tensor) -> Encoding:
        """Adds the two views."""
        encoding = super().encode(batch, x)
        adjacencies = [batch.graph.adjacency(x.dtype)] * self.num_layers
        encoding.views = tuple(
            propagate(self.conv, x, adjacencies, self.perturb) if batch.augment else encoding.layers
            for _ in range(2)
        )
        return encoding

    def perturb(self, x: Tensor) -> Tensor:
        """Adds noise of a fixed length that points into the orthant of each row."""
        with torch.no_grad():  # a sign has no gradient; autograd would fill a matrix with zeros
            noise = F.normalize(torch.rand_like(x), dim=-1).mul_(x.sign())
        return x.add(noise, alpha=self.noise)

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``ssl``."""
        first, second = map(sum_layers, encoding.views)
        loss = contrast_views(first, second, batch, self.temperature, negatives=False)
        return {"ssl": self.weight * loss}

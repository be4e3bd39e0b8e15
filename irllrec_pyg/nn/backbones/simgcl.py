"""SimGCL."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import field
from ...registry import register
from ..batch import Triplets
from .base import Encoding
from .propagation import LayerSum, contrast_views, propagate, sum_layers


@register("simgcl")
class SimGCL(LayerSum):
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
    """

    class Config(LayerSum.Config):
        noise: float = field(0.9, ge=0, help="length of the noise", search=(0.05, 1.0), log=True)
        weight: float = field(
            0.1, ge=0, help="weight of the contrastive loss", search=(1e-3, 1.0), log=True
        )
        temperature: float = field(
            0.2, gt=0, help="temperature of the contrastive sums", search=(0.1, 0.5)
        )

    config: Config

    def encode(self, batch: Triplets, x: Tensor) -> Encoding:
        """Adds the two views."""
        encoding = super().encode(batch, x)
        adjacencies = [batch.graph.adjacency(x.dtype)] * self.config.num_layers
        encoding.views = tuple(
            propagate(self.conv, x, adjacencies, self.perturb) if batch.augment else encoding.layers
            for _ in range(2)
        )
        return encoding

    def perturb(self, x: Tensor) -> Tensor:
        """Adds noise of a fixed length that points into the orthant of each row."""
        with torch.no_grad():  # a sign has no gradient; autograd would fill a matrix with zeros
            noise = F.normalize(torch.rand_like(x), dim=-1).mul_(x.sign())
        return x.add(noise, alpha=self.config.noise)

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``ssl``."""
        first, second = map(sum_layers, encoding.views)
        loss = contrast_views(first, second, batch, self.config.temperature, negatives=False)
        return {"ssl": self.config.weight * loss}

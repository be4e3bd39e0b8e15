"""SimGCL."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import field
from ...registry import register
from ..graph import InteractionGraph
from .propagation import ContrastedViews, propagate


@register("simgcl")
class SimGCL(ContrastedViews):
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

    class Config(ContrastedViews.Config):
        noise: float = field(0.9, ge=0, help="length of the noise", search=(0.05, 1.0), log=True)

    config: Config

    def view(self, graph: InteractionGraph, x: Tensor) -> tuple[Tensor, ...]:
        """A pass with noise after every propagation."""
        adjacencies = [graph.adjacency(x.dtype)] * self.config.num_layers
        return propagate(self.conv, x, adjacencies, self.perturb)

    def perturb(self, x: Tensor) -> Tensor:
        """Adds noise of a fixed length that points into the orthant of each row."""
        with torch.no_grad():  # a sign has no gradient; autograd would fill a matrix with zeros
            noise = F.normalize(torch.rand_like(x), dim=-1).mul_(x.sign())
        return x.add(noise, alpha=self.config.noise)

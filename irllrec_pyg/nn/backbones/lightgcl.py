"""LightGCL."""

import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import field
from ...registry import register
from ...sparse import singular_vectors
from ..batch import Triplets
from ..fields import loss_weight, temperature_of
from ..graph import InteractionGraph
from .base import Encoding
from .lightgcn import LightGCN
from .propagation import contrast_views, sum_layers


@register("lightgcl")
class LightGCL(LightGCN):
    r"""The LightGCL model from the `"LightGCL: Simple Yet Effective Graph Contrastive Learning for
    Recommendation" <https://arxiv.org/abs/2302.08191>`_ paper.

    :class:`LightGCN` ranks, with edges dropped in training. Beside it, the same layers
    are read through the first :math:`q` singular vectors of the normalised interactions,
    :math:`\tilde{\mathbf{R}} \approx \mathbf{U}_q \mathbf{S}_q \mathbf{V}_q^{\top}`:

    .. math::
        \mathbf{G}_U^{l+1} = \mathbf{U}_q \mathbf{S}_q \mathbf{V}_q^{\top} \mathbf{E}_I^{l}, \qquad
        \mathbf{G}_I^{l+1} = \mathbf{V}_q \mathbf{S}_q \mathbf{U}_q^{\top} \mathbf{E}_U^{l}, \qquad
        \mathbf{G} = \mathbf{E}^0 + \sum_{l=1}^{L} \mathbf{G}^{l}

    .. math::
        \mathcal{L}_{ssl} = \frac{w}{B} \big[ \mathrm{nce}(u_e, u_g, \text{all users' } u_g)
        + \mathrm{nce}(i^+_e, i^+_g, \text{all items' } i_g) \big]

    The paper contrasts every layer; here, as in the released code, their sums are contrasted. The
    singular vectors are a part of the weights, so that a resumed run has the same ones.
    """

    user_factor: Tensor
    item_factor: Tensor

    class Config(LightGCN.Config):
        num_layers: int = field(2, ge=0, le=100, help="number of propagations", search=(1, 4))
        rank: int = field(5, ge=1, le=4096, help="number q of singular vectors", search=(2, 64))
        weight: float = loss_weight(0.2, 1e-3, 1.0, of="the contrastive loss")
        temperature: float = temperature_of("the contrastive sums", 0.2, 0.1, 0.5)

    config: Config

    def build(self, data: HeteroData) -> None:
        """Finds the singular vectors."""
        super().build(data)
        graph, pairs = self.graph, self.graph.interactions
        value = graph.normalized(torch.float64)[: pairs.size(1)]  # the users' rows come first
        parts = (value, pairs[1], graph.rowptr[: graph.num_users + 1])
        matrix = sp.csr_array(
            tuple(part.cpu().numpy() for part in parts), shape=(graph.num_users, graph.num_items)
        )
        left, value, right = singular_vectors(matrix, self.config.rank)
        root = value.sqrt()
        self.register_buffer("user_factor", (left * root).float())
        self.register_buffer("item_factor", (right * root).float())

    def encode(self, batch: Triplets, x: Tensor) -> Encoding:
        """Adds the view through the singular vectors."""
        encoding = super().encode(batch, x)
        layers = [self.low_rank(layer, batch.graph) for layer in encoding.layers[:-1]]
        encoding.views = ((encoding.layers[0], *layers),)
        return encoding

    def low_rank(self, x: Tensor, graph: InteractionGraph) -> Tensor:
        r""":math:`G^{l+1}` of a layer :math:`E^l`, both of shape :math:`(N, d)`."""
        factors = torch.cat([self.user_factor, self.item_factor]).to(x.dtype)
        factors = factors if graph.n_id is None else factors[graph.n_id]
        sides = [graph.num_users, graph.num_items]
        (user, item), (x_user, x_item) = factors.split(sides), x.split(sides)
        return torch.cat([user @ (item.t() @ x_item), item @ (user.t() @ x_user)])

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``ssl``."""
        view = sum_layers(encoding.views[0])
        loss = contrast_views(encoding.nodes, view, batch, self.config.temperature, negatives=False)
        return {"ssl": self.config.weight * loss}

"""ProMax's profile shaping, the half of it that asks no LLM."""

import math

from torch import Tensor
from torch_geometric.data import HeteroData

from ...registry import register
from ..backbones import Backbone, Encoding
from ..batch import Triplets
from ..contrast import entropies
from ..features import principal_components
from ..fields import loss_weight, temperature_of
from ..losses import distill, normalize
from .base import TextHead


@register("profile-shaping")
class ProfileShaping(TextHead):
    r"""Shapes users' similarities to the items after those of their texts, the text-only half of
    ProMax (SIGIR 2026).

    The texts :math:`s` are whitened: principal components, as many as the embeddings are wide, each
    of unit variance. With :math:`p_u = \mathrm{softmax}_i(\cos(s_u, s_i) / \tau)` over all items,
    :math:`q_u` likewise of the final embeddings, and the batch's distinct users
    :math:`\mathcal{U}_B`,

    .. math::
        \mathcal{L} = \frac{w}{|\mathcal{U}_B|} \sum_{u \in \mathcal{U}_B} c_u \Big[ -\sum_i p_{ui}
        \log q_{ui} \Big], \qquad
        c_u = \mathrm{clip} \Big( 1 - \frac{H(p_u)}{\log |\mathcal{I}|}, \; 0.1, \; 1 \Big)

    so that users whose texts say more about what they like count more. Similarities of whitened
    texts are close to even, so most users count a tenth: the weight has to be large. The head maps
    nothing and has nothing to train. Without texts of users, a user's is the mean of their training
    items'. With sampled neighbourhoods, all items are those of the neighbourhood.

    Args:
        data (HeteroData): Data set with profile embeddings ``x`` of users and items, or of items.
        backbone (Backbone): Yields the final embeddings :math:`e`.
        config, **settings: As of every :class:`Head`.

    Raises:
        MissingTextError: If the data set has no profile embeddings.
    """

    class Config(TextHead.Config):
        weight: float = loss_weight(10.0, 0.1, 100.0)
        temperature: float = temperature_of("both softmaxes", 0.2, 0.05, 1.0, log=True)

    config: Config

    def build(self, data: HeteroData, backbone: Backbone) -> None:
        """Whitens the texts."""
        super().build(data, backbone)
        components = principal_components(self.features, backbone.embedding_size)
        features = components.project(self.features)
        self.features = features / features.std(0, correction=0).clamp(min=1e-8)

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``profile-shaping``."""
        items, temperature = slice(batch.graph.num_users, None), self.config.temperature
        e_user, e_item = batch.users.of(encoding.nodes), encoding.nodes[items]
        s_user, s_item = self.text_of(batch, batch.users.index), self.text_of(batch, items)
        entropy = entropies(normalize(s_user), normalize(s_item), temperature)
        weight = (1 - entropy / math.log(max(2, s_item.size(0)))).clamp(0.1, 1.0)
        # A cross-entropy is the divergence and the target's entropy, which has no gradient.
        divergence = distill(e_user, e_item, s_user, s_item, temperature, weight)
        return {"profile-shaping": self.config.weight * (divergence + (weight * entropy).mean())}

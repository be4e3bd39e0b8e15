"""A factorisation whose item factors are drawn to what their texts say."""

import torch
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from ..sparse import CSR
from .text_factors import TextFactors
from .texts import centred_texts, ridge


@register("text-ials")
class TextIALS(TextFactors):
    r""":class:`IALS` with texts as a prior: the ridge draws the factors of an item not to zero but
    to a linear map of its text, which is learned with the factors,

    .. math::
        \min_{\mathbf{W}, \mathbf{H}, \mathbf{A}} \ldots + \lambda \sum_i (|\mathcal{U}_i| +
        \alpha_0 |\mathcal{U}|)^{\nu} \|\mathbf{h}_i - a \, \mathbf{A}^{\top} \mathbf{f}_i\|^2

    with :math:`\mathbf{F}` the items' texts, centred and of unit length, and :math:`\mathbf{A}` the
    ridge regression of the factors of the items that have interactions on their texts and a
    constant, solved anew before each step of the items. An item without an interaction *is* the
    map of its text; nobody's not having touched it counts against it.

    The idea is that of `"Collaborative Topic Modeling for Recommending Scientific Articles"
    <https://doi.org/10.1145/2020408.2020480>`_ (KDD 2011), with embeddings of texts in the place
    of topics.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
    """

    class Config(TextFactors.Config):
        text_reg: float = field(
            1.0, gt=0, search=(0.01, 100.0), log=True, help="ridge of the map from texts"
        )
        text_weight: float = field(
            1.0, ge=0, search=(0.0, 1.2), help="how far the texts draw, a; 0: IALS for known items"
        )

    def fit(self, data: HeteroData) -> None:
        """Solves for the map, the items and the users in turn."""
        texts, center = centred_texts(data)
        by_user = CSR(self.seen_ptr, self.seen_item)
        by_item = by_user.transpose(self.num_items)
        known = self.degree() > 0
        solve = ridge(texts[known], self.config.text_reg)
        users, prior = self.first_users(), None
        for _ in range(self.config.num_steps):
            items = self.solve(by_item, users, prior) * known.view(-1, 1)
            users = self.solve(by_user, items)
            weight, constant = solve(items[known].double())
            mapped = texts @ weight + constant
            prior = (self.config.text_weight * mapped).float()
        assert prior is not None
        self.keep(users=users, warm=items, map=weight, constant=constant, center=center)
        # A weight of zero must not silence new items, for whom texts are all there is.
        self.keep(items=torch.where(known.view(-1, 1), items, mapped.float()))

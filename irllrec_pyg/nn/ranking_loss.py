"""Ranking losses that any backbone can be trained with instead of its own."""

from typing import Any, Literal

import torch
from torch import Tensor

from ..config import Settings, field
from ..ranking import Ranker
from ..registry import Configured, register
from .backbones import Encoding
from .batch import Triplets
from .fields import temperature_of
from .losses import log_partition, normalize, softmax_loss


class RankingLoss(Configured, torch.nn.Module):
    """Base class of losses that rank in place of a backbone's own; reported by their name.

    Args:
        config (Config or mapping, optional): Settings. (default: those of the class)
        **settings: Settings that take the place of these.
    """

    kind = "ranking-loss"

    class Config(Configured.Config):
        """No settings."""

    config: Config

    def __init__(self, config: Settings = None, **settings: Any) -> None:
        super().__init__()
        self.config = self.Config.read(config, **settings)

    def forward(self, encoding: Encoding, batch: Triplets, ranker: Ranker) -> Tensor:
        """The loss of a batch."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self.config).replace("Config", type(self).__name__, 1)


@register("softmax")
class InBatchSoftmax(RankingLoss):
    r"""Softmax over the cosines of a user with the positive items of the batch.

    .. math::
        -\frac{1}{B} \sum_b \log \frac{\exp(\cos(e_u, e_{i^+}) / \tau)}
        {\exp(\cos(e_u, e_{i^+}) / \tau) +
        \sum_{c : \, i_c \notin \mathcal{I}_u} \exp(\cos(e_u, e_{i_c}) / \tau)}

    An item of the batch that is a training item :math:`\mathcal{I}_u` of the user is no negative
    (an accidental hit); the sampled negatives of the triplets are not used. Items come into a batch
    as often as they are popular; ``popularity``, :math:`\beta`, takes :math:`\beta \log p_i` from
    every logit, with :math:`p_i` the item's share of the training interactions over the mean share.
    At 1 this is the correction of the `"Sampling-Bias-Corrected Neural Modeling for Large Corpus
    Item Recommendations" <https://doi.org/10.1145/3298689.3346996>`_ paper; the best strength
    differs from data set to data set.

    Example:
        >>> loss = InBatchSoftmax(temperature=0.2)
        >>> Recommender(LightGCN(data), ranking_loss=loss).ranking_loss
        InBatchSoftmax(temperature=0.2)
    """

    class Config(RankingLoss.Config):
        temperature: float = temperature_of("the cosines", 0.15, 0.05, 0.5)
        popularity: float = field(
            0.0,
            ge=0,
            le=1,
            help="strength of the log-popularity correction: 0 none, 1 full",
            search=(0.0, 1.0),
        )

    config: Config

    def forward(self, encoding: Encoding, batch: Triplets, ranker: Ranker) -> Tensor:
        """The loss of a batch whose positive items are training items.

        Args:
            encoding (Encoding): What the backbone made of the batch's graph.
            batch (Triplets): The triplets.
            ranker (Ranker): Knows the training items of each user.
        """
        nodes, candidates, n_id = encoding.nodes, batch.pos_items, batch.graph.n_id
        user, item, pos = batch.user, candidates.index, batch.pos_node
        if n_id is not None:
            user, item, pos = n_id[user], n_id[item], n_id[pos]
        item, pos = item - ranker.num_users, pos - ranker.num_users

        column = item.new_full((ranker.num_items,), -1)
        column[item] = torch.arange(item.numel(), device=item.device)
        row, seen = ranker.seen(user)
        hits = torch.stack([row, column[seen]])
        share = torch.ones(ranker.num_items, device=item.device)
        if self.config.popularity > 0:
            degree = torch.bincount(ranker.seen_item, minlength=ranker.num_items)
            share = degree.clamp(min=1) / (degree.sum() / ranker.num_items)
            share = share**self.config.popularity
        return softmax_loss(
            nodes.index_select(0, batch.user),
            nodes.index_select(0, batch.pos_node),
            candidates.of(nodes),
            self.config.temperature,
            exclude=hits[:, hits[1] >= 0],
            weight=1 / share[pos],
            candidate_weight=candidates.count / share[item],
        )


@register("softmax-all")
class MultinomialSoftmax(RankingLoss):
    r"""Softmax of a user over all items, the multinomial likelihood of the `"Variational
    Autoencoders for Collaborative Filtering" <https://arxiv.org/abs/1802.05814>`_ paper (eq. 2),

    .. math::
        -\sum_i x_{ui} \log \mathrm{softmax}_i \big( s(e_u, e_i) / \tau \big),

    averaged over the batch's pairs of a user and a positive item. :math:`s` is the cosine or the
    dot product. As there, the user's other training items stand in the denominator too; the
    negatives of the triplets are not used. With sampled neighbourhoods, all items are those of the
    neighbourhood.

    Example:
        >>> loss = MultinomialSoftmax(temperature=0.1)
        >>> Recommender(LightGCN(data), ranking_loss=loss).ranking_loss
        MultinomialSoftmax(temperature=0.1)
    """

    class Config(RankingLoss.Config):
        temperature: float = temperature_of("the similarities", 0.15, 0.05, 0.5)
        similarity: Literal["cosine", "dot"] = field(
            "cosine", help="what is divided by the temperature: cosines or dot products"
        )

    config: Config

    def forward(self, encoding: Encoding, batch: Triplets, ranker: Ranker) -> Tensor:
        """The loss of a batch; arguments as of :class:`InBatchSoftmax`."""
        nodes, temperature = encoding.nodes, self.config.temperature
        nodes = normalize(nodes) if self.config.similarity == "cosine" else nodes
        user, pos = (nodes.index_select(0, index) for index in (batch.user, batch.pos_node))
        partition = log_partition(
            batch.users.of(nodes) / temperature, nodes[batch.graph.num_users :], batch.users.count
        )
        return partition - (user * pos).sum(1).mean() / temperature

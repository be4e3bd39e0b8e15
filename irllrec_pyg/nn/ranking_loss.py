"""Ranking losses that any backbone can be trained with instead of its own."""

from typing import Any

import torch
from torch import Tensor

from ..config import Settings, field
from ..ranking import Ranker
from ..registry import Configured, register
from .backbones import Encoding
from .batch import Triplets
from .losses import softmax_loss


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
    as often as they are popular; ``log_popularity`` takes :math:`\log p_i` from every logit, as in
    the `"Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations"
    <https://doi.org/10.1145/3298689.3346996>`_ paper, with :math:`p_i` the item's share of the
    training interactions over the mean share.

    Example:
        >>> loss = InBatchSoftmax(temperature=0.2)
        >>> Recommender(LightGCN(data), ranking_loss=loss).ranking_loss
        InBatchSoftmax(temperature=0.2)
    """

    class Config(RankingLoss.Config):
        temperature: float = field(
            0.15, gt=0, help="temperature of the cosines", search=(0.05, 0.5)
        )
        log_popularity: bool = field(False, help="whether to correct for popularity")

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
        share = item.new_ones(ranker.num_items, dtype=torch.get_default_dtype())
        if self.config.log_popularity:
            degree = torch.bincount(ranker.seen_item, minlength=ranker.num_items)
            share = degree.clamp(min=1) / (degree.sum() / ranker.num_items)
        return softmax_loss(
            nodes.index_select(0, batch.user),
            nodes.index_select(0, batch.pos_node),
            candidates.of(nodes),
            self.config.temperature,
            exclude=hits[:, hits[1] >= 0],
            weight=1 / share[pos],
            candidate_weight=candidates.count / share[item],
        )

"""Two rankers as one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..config import Settings, field
from ..registry import Configured
from ..sparse import CSR, expand
from .ranker import Ranker
from .topk import Scorer


class Blend(Ranker, Configured):
    r"""The weighted sum of the standardised scores of two rankers,

    .. math::
        y_{ui} = (1 - w) \, \frac{a_{ui} - \mu_u(a)}{\sigma_u(a)} + w \, \frac{b_{ui} -
        \mu_u(b)}{\sigma_u(b)}

    with the mean :math:`\mu_u` and the standard deviation :math:`\sigma_u` over the items that may
    be listed for user :math:`u`: all but the user's training items, whatever is excluded or among
    which candidates the list is made, so that an item's score does not depend on what is asked.
    Training items are scaled with the others and count for nothing; they are ranked only where
    ``exclude`` allows it. Where a ranker scores all items the same, its part is zero.

    Args:
        first (Ranker): Any ranker, also a blend.
        second (Ranker): Another one, of the same users, items and training interactions.
        config (Config or mapping, optional): Settings. (default: the defaults)
        **settings: Settings by name, which take the place of these.

    Raises:
        ConfigError: If a setting is unknown or wrong.
        ValueError: If the rankers know other users, items or training interactions.

    Example:
        >>> from irllrec_pyg.linear import EASE, LowPassSVD
        >>> blend = Blend(EASE(data), LowPassSVD(data, rank=8), weight=0.3)
        >>> evaluate(blend, data, k=20).keys()
        dict_keys(['recall@20', 'ndcg@20'])
    """

    kind = "blend"

    class Config(Configured.Config):
        weight: float = field(
            0.5, ge=0, le=1, search=(0.0, 1.0), help="share w of the second ranker"
        )

    config: Any

    def __init__(
        self, first: Ranker, second: Ranker, config: Settings = None, **settings: Any
    ) -> None:
        for name in ("num_users", "num_items", "user_ids", "item_ids", "seen_ptr", "seen_item"):
            one, other = (getattr(part, name) for part in (first, second))
            if isinstance(one, Tensor):
                same = torch.equal(one, other.to(one.device))
            elif isinstance(one, Sequence) and isinstance(other, Sequence):
                same = list(one) == list(other)
            else:
                same = one == other
            if not same:
                raise ValueError(
                    f"The rankers of a blend must be of one data set; {type(first).__name__} and "
                    f"{type(second).__name__} differ in {name!r}."
                )
        super().__init__(
            torch.stack([expand(first.seen_ptr), first.seen_item]),
            first.num_users,
            first.num_items,
            first.user_ids,
            first.item_ids,
            torch.cat(
                [
                    torch.stack([expand(part.known_ptr), part.known_item]).to(first.seen_ptr.device)
                    for part in (first, second)
                ],
                dim=1,
            ),
        )
        self.config = self.Config.read(config, **settings)
        self.first, self.second = first, second

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        return self.scorer()(user)

    def scorer(self) -> Scorer:
        """Embeds once and scores any number of blocks of users."""
        first, second = self.first.scorer(), self.second.scorer()
        seen = CSR(self.seen_ptr, self.seen_item)

        def score(user: Tensor) -> Tensor:
            row, item = seen.of(user)
            return self._sum(first(user), second(user), row, item)

        return score

    def score_history(self, history: Tensor) -> Tensor:
        """Scores of all items by histories, whose items count as training items; see
        :meth:`Ranker.score_history`.
        """
        scores = self.first.score_history(history), self.second.score_history(history)
        dense = history.to_dense() if history.layout != torch.strided else history
        row, item = dense.to(scores[0].device).nonzero(as_tuple=True)
        return self._sum(*scores, row, item)

    def _sum(self, first: Tensor, second: Tensor, row: Tensor, item: Tensor) -> Tensor:
        weight = self.config.weight
        out = standardized(first, row, item).mul_(1 - weight)
        return out.add_(standardized(second, row, item), alpha=weight)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.first}, {self.second}, weight={self.config.weight})"


def standardized(scores: Tensor, row: Tensor, item: Tensor) -> Tensor:
    r"""Scores with mean zero and variance one over the items of each row that may be listed.

    Args:
        scores (Tensor): Of shape :math:`(B, I)`.
        row (Tensor): Rows of items that may not be listed, int64 of shape :math:`(M,)`.
        item (Tensor): These items, each once a row, int64 of shape :math:`(M,)`.

    Returns:
        Tensor of shape :math:`(B, I)`, in float32 or wider; zeros where a row's scores are equal.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    listed = torch.ones_like(scores)
    listed[row, item] = 0.0
    count = listed.sum(1, keepdim=True).clamp(min=1)
    # Twice, because the mean of scores that are large and alike is rounded.
    centred = scores - (scores * listed).sum(1, keepdim=True) / count
    centred -= (centred * listed).sum(1, keepdim=True) / count
    deviation = ((centred * listed).square().sum(1, keepdim=True) / count).sqrt()
    flat = deviation <= 1e-6 * (scores * listed).abs().amax(1, keepdim=True)  # rounding alone
    return (centred / deviation.masked_fill(flat, 1.0)).masked_fill_(flat, 0.0)

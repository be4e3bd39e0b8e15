"""Several rankers as one."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ..config import ConfigError, Settings, field
from ..registry import Configured
from ..sparse import CSR, expand
from .explain import Explanation, Person
from .explain_parts import explain_parts, ways_of_parts
from .ranker import Ranker, Similarity
from .topk import Scorer

Share = Annotated[float, Field(ge=0)]
FEW = 10  # new items that have no scale of their own


class Blend(Ranker, Configured):
    r"""The weighted mean of the standardised scores of rankers :math:`p`,

    .. math::
        y_{ui} = \frac{1}{\sum_p w_p} \sum_p w_p \, \frac{y^{(p)}_{ui} - \mu_u(y^{(p)})}
        {\sigma_u(y^{(p)})}

    with the mean :math:`\mu_u` and the standard deviation :math:`\sigma_u` over the items that may
    be listed for user :math:`u`: all but the user's training items, whatever is excluded or among
    which candidates the list is made, so that an item's score does not depend on what is asked.
    Training items are scaled with the others and count for nothing; they are ranked only where
    ``exclude`` allows it. Where a ranker scores all items the same, its part is zero.

    Items without a training interaction are standardised by themselves, as most rankers score
    them on another scale than the others: so they compete with each other and with known ones.
    Where there are fewer than ten, too few for a scale of their own, they share that of all.

    Args:
        *rankers (Ranker): Any rankers, also blends, of the same users, items and training
            interactions.
        config (Config or mapping, optional): Settings. (default: the defaults)
        **settings: Settings by name, which take the place of these.

    Raises:
        ConfigError: If a setting is unknown or wrong, or there is not one weight a ranker.
        ValueError: If there is no ranker, or they know other users, items or training
            interactions.

    Example:
        >>> from irllrec_pyg.linear import EASE, LowPassSVD
        >>> blend = Blend(EASE(data), LowPassSVD(data, rank=8), weights=(0.7, 0.3))
        >>> evaluate(blend, data, k=20).keys()
        dict_keys(['recall@20', 'ndcg@20'])
    """

    kind = "blend"

    class Config(Configured.Config):
        weights: tuple[Share, ...] = field(
            (), help="weights of the rankers, relative to each other; none: they are the same"
        )

        @field_validator("weights", mode="before")
        @classmethod
        def _listed(cls, value: Any) -> Any:
            return tuple(value) if isinstance(value, list) else value

    config: Any

    def __init__(self, *rankers: Ranker, config: Settings = None, **settings: Any) -> None:
        if not rankers:
            raise ValueError("A blend needs a ranker.")
        first = rankers[0]
        for other in rankers[1:]:
            _check_alike(first, other)
        super().__init__(
            torch.stack([expand(first.seen_ptr), first.seen_item]),
            first.num_users,
            first.num_items,
            first.user_ids,
            first.item_ids,
            torch.cat(
                [
                    torch.stack([expand(part.known_ptr), part.known_item]).to(first.seen_ptr.device)
                    for part in rankers
                ],
                dim=1,
            ),
        )
        self.config = self.Config.read(config, **settings)
        weights = self.config.weights or (1.0,) * len(rankers)
        if len(weights) != len(rankers) or not sum(weights):
            raise ConfigError(
                f"'weights' must be one number a ranker, {len(rankers)} here, and not all zero, "
                f"got {list(weights)}."
            )
        self.shares = [weight / sum(weights) for weight in weights]
        self.parts = torch.nn.ModuleList(rankers)

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        return self.scorer()(user)

    def scorer(self) -> Scorer:
        """Embeds once and scores any number of blocks of users."""
        scorers = [part.scorer() for part in self.rankers()]
        seen, new = CSR(self.seen_ptr, self.seen_item), self.new_items()

        def score(user: Tensor) -> Tensor:
            row, item = seen.of(user)
            return self._sum((score(user) for score in scorers), row, item, new, user)

        return score

    @property
    def takes_history(self) -> bool:
        """Whether all parts do."""
        return all(part.takes_history for part in self.rankers())

    def score_history(self, history: Tensor) -> Tensor:
        """Scores of all items by histories, whose items count as training items; see
        :meth:`Ranker.score_history`.
        """
        return self.history_scorer()(history)

    def history_scorer(self) -> Scorer:
        """Prepares once and scores any number of histories."""
        scorers, new = [part.history_scorer() for part in self.rankers()], self.new_items()

        def score(history: Tensor) -> Tensor:
            scores = [score(history) for score in scorers]
            dense = history.to_dense() if history.layout != torch.strided else history
            row, item = dense.to(scores[0].device).nonzero(as_tuple=True)
            return self._sum(scores, row, item, new)

        return score

    def item_similarity(self) -> Similarity:
        """The weighted mean of the parts' similarities; parts that have none are left out."""
        parts: list[tuple[float, Similarity]] = []
        for part, share in zip(self.rankers(), self.shares, strict=True):
            with contextlib.suppress(NotImplementedError):
                parts.append((share, part.item_similarity()))
        total = sum(share for share, _ in parts)
        if not total:
            return super().item_similarity()

        def similarity(item: Tensor, others: Tensor | None) -> Tensor:
            # An item that is no neighbour at all, minus infinity, is unlike, and no more.
            found = [share / total * one(item, others).clamp(min=-1) for share, one in parts]
            return torch.stack(found).sum(0)

        return similarity

    @property
    def text_width(self) -> int | None:
        """That of the parts that rank by texts, which must be the same."""
        widths = {part.text_width for part in self.rankers()} - {None}
        return widths.pop() if len(widths) == 1 else None

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items to all parts; those that read no texts take them for untouched ones.

        Raises:
            NotImplementedError: If a part can do neither.
        """
        for part in self.rankers():
            if part.text_width is None and not part.grows:
                raise NotImplementedError(
                    f"{type(part).__name__}, a part of this blend, cannot take new items."
                )
        for part in self.rankers():
            part.grow(ids, texts if part.text_width is not None else None)
        super().grow(ids, texts)

    @property
    def grows(self) -> bool:
        """Whether all parts do."""
        return all(part.grows for part in self.rankers())

    def explanations(self) -> list[str]:
        """By the parts, and by each way that one of them has."""
        return ways_of_parts(self)

    def explain_by(self, way: str, person: Person, item: int, k: int, score: float) -> Explanation:
        """What each part adds to the score; the parts are explained on their own scales."""
        return explain_parts(self, way, person, item, k, score)

    def rankers(self) -> list[Ranker]:
        """The parts."""
        return list(self.parts)  # type: ignore[arg-type]

    def new_items(self) -> Tensor:
        """Whether items have no training interaction."""
        new = torch.ones(self.num_items, dtype=torch.bool, device=self.seen_item.device)
        new[self.seen_item] = False
        return new

    def with_parts(self, rankers: Iterable[Ranker]) -> Self:
        """The same of other rankers."""
        return type(self)(*rankers, config=self.config)

    def _on_one_scale(
        self, scores: Iterable[Tensor], row: Tensor, item: Tensor, new: Tensor
    ) -> Tensor:
        r"""The parts' scores on one scale, of shape :math:`(P, B, I)`."""
        return torch.stack([standardized(score, row, item, new) for score in scores])

    def _weighted(self, parts: Tensor) -> Tensor:
        return torch.einsum("p,pbi->bi", parts.new_tensor(self.shares), parts)

    def _sum(
        self,
        scores: Iterable[Tensor],
        row: Tensor,
        item: Tensor,
        new: Tensor,
        user: Tensor | None = None,
    ) -> Tensor:
        """The blend of the parts' scores; a subclass may do more, and knows whose they are, or
        that they are of histories.
        """
        out: Tensor | None = None
        for score, share in zip(scores, self.shares, strict=True):
            part = standardized(score, row, item, new).mul_(share)
            out = part if out is None else out.add_(part)
        assert out is not None
        return out

    def __repr__(self) -> str:
        parts = ", ".join(map(repr, self.rankers()))
        return f"{type(self).__name__}({parts}, shares={[round(s, 3) for s in self.shares]})"


def _check_alike(first: Ranker, other: Ranker) -> None:
    for name in ("num_users", "num_items", "seen_ptr", "seen_item", "user_ids", "item_ids"):
        one, two = getattr(first, name), getattr(other, name)
        if isinstance(one, Tensor):
            same = torch.equal(one, two.to(one.device))
        else:
            same = one == two or (
                isinstance(one, Sequence) and isinstance(two, Sequence) and list(one) == list(two)
            )
        if not same:
            raise ValueError(
                f"The rankers of a blend must be of one data set; {type(first).__name__} and "
                f"{type(other).__name__} differ in {name!r}."
            )


def standardized(scores: Tensor, row: Tensor, item: Tensor, new: Tensor | None = None) -> Tensor:
    r"""Scores with mean zero and variance one over the items of each row that may be listed.

    Args:
        scores (Tensor): Of shape :math:`(B, I)`.
        row (Tensor): Rows of items that may not be listed, int64 of shape :math:`(M,)`.
        item (Tensor): These items, each once a row, int64 of shape :math:`(M,)`.
        new (Tensor, optional): Items that are standardised apart from the others, bool of shape
            :math:`(I,)`. Fewer than :data:`FEW` are standardised with all. (default: none)

    Returns:
        Tensor of shape :math:`(B, I)`, in float32 or wider; zeros where a row's scores are equal.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    listed = torch.ones_like(scores)
    listed[row, item] = 0.0
    if new is None or not FEW <= int(new.sum()) < new.numel():
        return _scaled(scores, listed)
    return torch.where(new, _scaled(scores, listed * new), _scaled(scores, listed * ~new))


def _scaled(scores: Tensor, weight: Tensor) -> Tensor:
    """Scores with mean zero and variance one under the weights of each row."""
    count = weight.sum(1, keepdim=True)
    count = count.masked_fill(count == 0, 1.0)
    # Twice, because the mean of scores that are large and alike is rounded.
    centred = scores - (scores * weight).sum(1, keepdim=True) / count
    centred -= (centred * weight).sum(1, keepdim=True) / count
    deviation = ((centred.square() * weight).sum(1, keepdim=True) / count).sqrt()
    greatest = (scores.abs() * (weight > 0)).amax(1, keepdim=True)
    flat = deviation <= 1e-6 * greatest  # rounding alone
    return (centred / deviation.masked_fill(flat, 1.0)).masked_fill_(flat, 0.0)

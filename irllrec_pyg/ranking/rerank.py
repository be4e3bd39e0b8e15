"""The head of a list in a better order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import Settings, field
from ..edges import EDGE_TYPE
from ..sparse import CSR
from .blend import Blend
from .forest import Forest, grow
from .metrics import USER_METRICS
from .ranker import Ranker

BLOCK = 256  # users whose features are made at once
MONITOR = "ndcg", 20
LEAST = -1e9  # score of what is not to be listed, where there is no room for infinity
STEP = 25  # trees between two numbers of them that are tried


class Rerank(Blend):
    r"""A :class:`Blend` whose first items are put in another order by trees, which learn from the
    validation interactions when which part is to be believed: that of long histories and known
    items may be another than that of short ones and rare items.

    The trees are LambdaMART's (see :func:`irllrec_pyg.ranking.forest.grow`). Of an item they see
    the blend's score, each part's standardised score and the item's place by it among the first
    items, the length of the user's history, and the item's interactions.

    Users are in ``folds`` groups, user :math:`u` in group :math:`u \bmod f`, and each group has
    trees that have learnt from the others alone: so no list shows what was learnt by heart from the
    user's own validation items. How many trees there are, and whether any, is what gives the best
    ndcg@20 of these lists. People who are given by a history get the mean of all groups' trees.

    The first items keep the greatest and the least of their scores, and get even steps between
    them in their new order; all others stay as they are. If the validation items are new ones that
    nobody has touched, as of a data set with cold items, new items are put in another order, else
    known ones.

    Args:
        *rankers (Ranker): As of :class:`Blend`; :meth:`learn` grows the trees.
        trees (sequence of Forest, optional): Trees that have been grown, of each group.
            (default: none)
        config (Config or mapping, optional): Settings. (default: the defaults)
        **settings: Settings by name, which take the place of these.

    Example:
        >>> from irllrec_pyg.linear import EASE, LowPassSVD
        >>> model = Rerank(EASE(data), LowPassSVD(data, rank=8), rounds=40).learn(data)
        >>> model.recommend(7, k=2)["rank"].tolist()
        [1, 2]
    """

    kind = "rerank"

    class Config(Blend.Config):
        depth: int = field(100, ge=2, le=10_000, help="first items that are put in another order")
        rounds: int = field(200, ge=0, le=5000, help="most trees")
        rate: float = field(0.05, gt=0, le=1, help="share of each tree that is added")
        least: int = field(200, ge=1, help="fewest items of all lists in a leaf")
        folds: int = field(
            4,
            ge=2,
            le=20,
            help="groups of users, each of which has trees that learnt from the others",
        )
        new_items: bool = field(False, help="whether new items are reordered, instead of others")
        seed: int = field(0, ge=0, help="seed of the trees")

    def __init__(
        self,
        *rankers: Ranker,
        trees: Sequence[Forest] = (),
        config: Settings = None,
        **settings: Any,
    ) -> None:
        super().__init__(*rankers, config=config, **settings)
        self.trees = torch.nn.ModuleList(trees)
        if len(trees) not in (0, self.config.folds):
            raise ValueError(f"there are trees of {len(trees)} groups, not {self.config.folds}")

    @classmethod
    def restore(cls, rankers: Sequence[Ranker], trees: Mapping[str, Tensor], config: Any) -> Self:
        """A saved model; see :func:`irllrec_pyg.load_ranker`.

        Raises:
            ValueError: If the trees are damaged.
        """
        names, groups = ("feature", "threshold", "value"), len(trees) // 3
        if set(trees) != {f"{at}.{name}" for at in range(groups) for name in names}:
            raise ValueError("its trees must have features, thresholds and values")
        forests = [
            Forest(*(trees[f"{at}.{name}"] for name in names), width=_width(rankers))
            for at in range(groups)
        ]
        return cls(*rankers, trees=forests, config=config)

    def with_parts(self, rankers: Iterable[Ranker]) -> Self:
        """The same of other rankers."""
        return type(self)(*rankers, trees=self._forests(), config=self.config)

    def learn(self, data: HeteroData) -> Self:
        """Grows the trees from the validation interactions.

        Args:
            data (HeteroData): The graph that the rankers were built with.

        Returns:
            A model with trees; without any, where the blend's order was better.

        Raises:
            ImportError: Without ``pip install 'irllrec_pyg[rerank]'``.
            ValueError: If there are no validation interactions, or they are of cold users.
        """
        if "split" in data["user"]:
            raise ValueError(
                "The users that 'data' holds out have no scores of their own, by which trees "
                "could learn; rank them by a blend."
            )
        pairs = self.check_pairs(
            data[EDGE_TYPE].val_edge_label_index.to(self.seen_ptr.device), "data"
        )
        if not pairs.col.numel():
            raise ValueError("'data' has no validation interactions, from which trees learn.")
        of_new = "split" in data["item"]
        own = type(self)(*self.rankers(), config={**self.config.to_dict(), "new_items": of_new})
        among = data["item"].split == 1 if of_new else ~own._new()
        user = pairs.rows().unique()
        x, relevant = own._lessons(user, pairs, among.to(user.device))
        count = pairs.ptr.diff()[user]
        own.trees.extend(own._best(x, relevant, count, user % own.config.folds))
        return own

    def _forests(self) -> list[Forest]:
        return list(self.trees)  # type: ignore[arg-type]

    def _lessons(self, user: Tensor, pairs: CSR, among: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the first items of users, and whether each is relevant."""
        scorers = [part.scorer() for part in self.rankers()]
        seen, new = CSR(self.seen_ptr, self.seen_item), self._new()
        lessons, hits = [], []
        for block in user.split(BLOCK):
            row, item = seen.of(block)
            parts = self._on_one_scale([score(block) for score in scorers], row, item, new)
            top, place = self._first(self._weighted(parts), row, item, among)
            lessons.append(self._features(parts, top, place, row).float())
            relevant = torch.zeros(block.numel(), self.num_items, dtype=torch.bool)
            relevant[pairs.of(block)] = True
            hits.append(relevant.gather(1, place) & top.isfinite())
        return torch.cat(lessons), torch.cat(hits)

    def _grow(self, x: Tensor, relevant: Tensor) -> Forest:
        return grow(
            x.numpy(),
            relevant.numpy(),
            self.config.rounds,
            learning_rate=self.config.rate,
            min_data_in_leaf=self.config.least,
            feature_fraction=0.5,
            bagging_fraction=0.8,
            bagging_freq=1,
            lambda_l2=10.0,
            seed=self.config.seed,
        )

    def _best(self, x: Tensor, relevant: Tensor, count: Tensor, group: Tensor) -> list[Forest]:
        """Trees of each group, as many as are best for users from whom they did not learn."""
        tried = [*range(0, self.config.rounds, STEP), self.config.rounds]
        total = torch.zeros(len(tried), dtype=torch.float64)
        metric, length = USER_METRICS[MONITOR[0]], MONITOR[1]
        hit, forests = relevant.double(), []
        for left_out in range(self.config.folds):
            out = group == left_out
            forests.append(self._grow(x[~out], relevant[~out]))
            scores = forests[-1].steps(x[out].flatten(0, 1), tried).view(len(tried), -1, x.size(1))
            for at, score in enumerate(scores):
                order = score.argsort(dim=1, descending=True, stable=True)[:, :length]
                total[at] += metric(hit[out].gather(1, order), count[out]).sum()
        rounds = tried[int(total.argmax())]
        return [forest.first(rounds) for forest in forests] if rounds else []

    def _first(
        self, scores: Tensor, row: Tensor, item: Tensor, among: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores and positions of the first items; minus infinity where there are no more."""
        listed = scores.masked_fill(~among, -torch.inf)
        listed[row, item] = -torch.inf
        place = listed.topk(min(self.config.depth, self.num_items), dim=1).indices
        place = place.sort(dim=1).values  # equal scores in the order of the items
        top, order = listed.gather(1, place).sort(dim=1, descending=True, stable=True)
        return top, place.gather(1, order)

    def _features(self, parts: Tensor, top: Tensor, place: Tensor, row: Tensor) -> Tensor:
        r"""What the trees see of the first items, of shape :math:`(B, K, F)`."""
        users, length = place.shape
        columns = [top.clamp(min=LEAST)]
        for scores in parts:
            own = scores.gather(1, place).masked_fill(top.isinf(), LEAST)
            order = own.argsort(dim=1, descending=True, stable=True)
            columns += [own, order.argsort(dim=1).to(own.dtype)]
        history = torch.bincount(row, minlength=users).to(top.dtype)
        degree = torch.bincount(self.seen_item, minlength=self.num_items).to(top.dtype)
        columns += [history.view(-1, 1).expand(users, length), degree[place]]
        return torch.stack(columns, dim=-1)

    def _sum(
        self,
        scores: Iterable[Tensor],
        row: Tensor,
        item: Tensor,
        new: Tensor,
        user: Tensor | None = None,
    ) -> Tensor:
        if not len(self.trees):
            return super()._sum(scores, row, item, new, user)
        parts = self._on_one_scale(scores, row, item, new)
        out = self._weighted(parts)
        top, place = self._first(out, row, item, new if self.config.new_items else ~new)
        x = self._features(parts, top, place, row)
        score = torch.zeros_like(top, dtype=torch.float64)
        for at, forest in enumerate(self._forests()):
            own = slice(None) if user is None else user % len(self.trees) == at
            score[own] += forest(x[own].flatten(0, 1)).view(-1, place.size(1))
        listed = top.isfinite()
        score[~listed] = -torch.inf  # no items to list: they stay behind, as they were
        order = score.argsort(dim=1, descending=True, stable=True)
        last = listed.sum(1, keepdim=True).clamp(min=1) - 1
        step = torch.arange(place.size(1), device=out.device) / last.clamp(min=1)
        least = top.gather(1, last)
        even = torch.where(listed, top[:, :1] - (top[:, :1] - least) * step, out.gather(1, place))
        return out.scatter(1, place.gather(1, order), even)


def _width(rankers: Sequence[Ranker]) -> int:
    """Number of features: the blend's score, two of each part, the history and the item."""
    return 3 + 2 * len(rankers)

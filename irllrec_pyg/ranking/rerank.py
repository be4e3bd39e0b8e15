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
from .explain import Explanation, Person
from .explain_parts import explain_parts, explain_rerank
from .forest import Forest, grow, library
from .metrics import USER_METRICS
from .ranker import Ranker
from .topk import default_block_size, topk

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

    The first items exchange their scores: each gets that of the place where it was put, and a hair
    more than the next one; all others keep theirs, and with them their places in the list. If the
    validation items are new ones that nobody has touched, as of a data set with cold items, new
    items are put in another order, else known ones.

    Trees are grown by LambdaMART, `"From RankNet to LambdaRank to LambdaMART: An Overview"
    <https://www.microsoft.com/en-us/research/publication/
    from-ranknet-to-lambdarank-to-lambdamart-an-overview/>`_ (Burges, MSR-TR-2010-82).

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
    degree: Tensor

    class Config(Blend.Config):
        depth: int = field(100, ge=2, le=10_000, help="first items that are put in another order")
        rounds: int = field(300, ge=0, le=5000, help="most trees")
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
        if most := [len(forest) for forest in trees if len(forest) > self.config.rounds]:
            raise ValueError(f"there are {most[0]} trees, more than 'rounds' {self.config.rounds}")
        degree = torch.bincount(self.seen_item, minlength=self.num_items)
        self.register_buffer("degree", degree, False)

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

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items to all parts, which nobody has touched; see :meth:`Blend.grow`."""
        super().grow(ids, texts)
        self.degree = torch.nn.functional.pad(self.degree, (0, len(ids)))

    @staticmethod
    def check_lessons(data: HeteroData) -> None:
        """Checks that trees can learn from a graph, before anything else is computed.

        Args:
            data (HeteroData): The graph.

        Raises:
            ImportError: Without ``pip install 'irllrec_pyg[rerank]'``.
            ValueError: If there are no validation interactions, or they are of cold users.
        """
        if "split" in data["user"]:
            raise ValueError(
                "The users that 'data' holds out have no scores of their own, by which trees "
                "could learn; rank them by a blend."
            )
        pairs = data[EDGE_TYPE].get("val_edge_label_index")
        if pairs is None or not pairs.numel():
            raise ValueError("'data' has no validation interactions, from which trees learn.")
        library()

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
        self.check_lessons(data)
        device = self.seen_ptr.device
        pairs = self.check_pairs(data[EDGE_TYPE].val_edge_label_index.to(device), "data")
        of_new = "split" in data["item"]
        own = type(self)(*self.rankers(), config={**self.config.to_dict(), "new_items": of_new})
        among = data["item"].split == 1 if of_new else ~own.new_items()
        with torch.no_grad(), own.ranking():
            x, relevant, user = own._lessons(pairs, among.to(device))
        count = pairs.ptr.diff()[user]
        own.trees.extend(own._best(x, relevant, count.cpu(), user.cpu() % own.config.folds))
        own.trees.to(device)
        return own

    def _forests(self) -> list[Forest]:
        return list(self.trees)  # type: ignore[arg-type]

    def _lessons(self, pairs: CSR, among: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of the first items of users, whether each is relevant, both on the CPU, and who
        they are; users without a relevant one are left out: any order is worth the same to them.
        """
        scorers = [part.scorer() for part in self.rankers()]
        seen, new = CSR(self.seen_ptr, self.seen_item), self.new_items()
        lessons, hits, users = [], [], []
        for block in pairs.rows().unique().split(default_block_size(self)):
            row, item = seen.of(block)
            parts = self._on_one_scale([score(block) for score in scorers], row, item, new)
            top, place = self._first(self._weighted(parts), row, item, among)
            relevant = torch.zeros(parts.shape[1:], dtype=torch.bool, device=parts.device)
            relevant[pairs.of(block)] = True
            hit = relevant.gather(1, place) & top.isfinite()
            teaches = hit.any(1)
            lessons.append(self._features(parts, top, place, row)[teaches].float().cpu())
            hits.append(hit[teaches].cpu())
            users.append(block[teaches])
        return torch.cat(lessons), torch.cat(hits), torch.cat(users)

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
            # An item that is found below the first 30 places teaches too, and a list with many
            # relevant items teaches more than one with a single one.
            lambdarank_norm=False,
            lambdarank_truncation_level=60,
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
            scores[:, x[out][..., 0] <= LEAST] = -torch.inf  # as in lists
            for at, score in enumerate(scores):
                order = score.argsort(dim=1, descending=True, stable=True)[:, :length]
                total[at] += metric(hit[out].gather(1, order), count[out]).sum()
        rounds = tried[int(total.argmax())]
        return [forest.first(rounds) for forest in forests] if rounds else []

    def _first(
        self, scores: Tensor, row: Tensor, item: Tensor, among: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores and positions of the first items, equal ones by ascending position; minus infinity
        where there are no more.
        """
        listed = scores.detach().masked_fill(~among, -torch.inf)
        listed[row, item] = -torch.inf
        return topk([listed], min(self.config.depth, self.num_items))

    def explain_by(self, way: str, person: Person, item: int, k: int, score: float) -> Explanation:
        """As of a blend; says what the trees did with the item's place."""
        explained = explain_rerank if len(self.trees) else explain_parts
        return explained(self, way, person, item, k, score)

    def places(self, scores: list[Tensor], person: Person) -> tuple[Tensor, Tensor, Tensor]:
        """The first items of a person by the blend, whom the trees put in another order.

        Args:
            scores (list of Tensor): Those of the parts, of all items.
            person (Person): The person.

        Returns:
            Positions of these items, the blend's best first; the blend's scores of all items; and
            those by which they are listed.
        """
        row, new = torch.zeros_like(person.items), self.new_items()
        user = None if person.user is None else person.items.new_tensor([person.user])
        plain = super()._sum(scores, row, person.items, new)
        moved = self._sum(scores, row, person.items, new, user)
        among = new if self.config.new_items else ~new
        top, place = self._first(plain, row, person.items, among)
        return place[0][top[0] > -torch.inf], plain[0], moved[0]

    def _features(self, parts: Tensor, top: Tensor, place: Tensor, row: Tensor) -> Tensor:
        r"""What the trees see of the first items, of shape :math:`(B, K, F)`."""
        users, length = place.shape
        columns = [top.clamp(min=LEAST)]
        for scores in parts:
            own = scores.gather(1, place).masked_fill(top.isinf(), LEAST)
            order = own.argsort(dim=1, descending=True, stable=True)
            columns += [own, order.argsort(dim=1).to(own.dtype)]
        history = torch.bincount(row, minlength=users).to(top.dtype)
        columns += [history.view(-1, 1).expand(users, length), self.degree[place].to(top.dtype)]
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
            own = torch.arange(len(x), device=x.device)
            if user is not None:
                own = own[user % len(self.trees) == at]
            if own.numel():
                score[own] += forest(x[own].flatten(0, 1)).view(-1, place.size(1))
        none = top == -torch.inf  # no items to list: they stay behind, as they were
        order = score.masked_fill(none, -torch.inf).argsort(dim=1, descending=True, stable=True)
        # Equal scores would be listed by position: so each is a hair above the next one, and the
        # last above the scores that are not among the first.
        greatest = top.masked_fill(none, 0).abs().amax(1, keepdim=True).clamp(min=1)
        hair = 4 * torch.finfo(top.dtype).eps * greatest
        own_scores = top + hair * torch.arange(place.size(1), 0, -1, device=top.device)
        own_scores = torch.where(none, out.gather(1, place), own_scores)
        return out.scatter(1, place.gather(1, order), own_scores)


def _width(rankers: Sequence[Ranker]) -> int:
    """Number of features: the blend's score, two of each part, the history and the item."""
    return 3 + 2 * len(rankers)

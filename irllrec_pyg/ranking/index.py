"""An approximate index of items, for catalogues whose scores take too long to compute."""

from typing import Any

import torch
from torch import Tensor

from ..config import Config as BaseConfig
from ..config import Settings, field
from ..sparse import CSR
from .dot_product import DotProductRanker
from .histories import HistoryRanker
from .ranker import Ranker

BLOCK = 256  # users who are looked for at once
SMALL = 4096  # items up to which cells bring nothing


class ItemIndex:
    r"""Items by the greatest dot products, found in the cells that are nearest to a user: an
    inverted file of faiss, which holds the vectors as they are.

    Of the indices that faiss and usearch have, it found most of the best items in the least time,
    and was built fastest (``benchmarks/index.py``): graphs of neighbours are made for distances,
    and lose items where lengths differ.

    Args:
        items (Tensor): Embeddings of the items, shape :math:`(I, d)`.
        config (Config or mapping, optional): Settings. (default: the defaults)
        **settings: Settings by name.

    Raises:
        ImportError: Without ``pip install 'irllrec_pyg[index]'``.
    """

    class Config(BaseConfig):
        """Settings of an index."""

        cells: int | None = field(None, ge=1, help="cells of the items; null: four square roots")
        probes: int = field(64, ge=1, help="cells that are looked into: more finds more, slower")
        sample: int = field(64, ge=1, help="items for each cell that the cells are learned from")

    def __init__(self, items: Tensor, config: Settings = None, **settings: Any) -> None:
        try:
            import faiss
        except ImportError:
            raise ImportError("An index needs: pip install 'irllrec_pyg[index]'.") from None
        self.config = self.Config.read(config, **settings)
        self.items = items.detach().float().cpu().contiguous()
        count, width = self.items.shape
        most = max(1, count // 40)  # a cell needs some items to be learned from
        self.cells = min(self.config.cells or int(4 * count**0.5), most)
        self._index: Any
        self._quantizer: Any = faiss.IndexFlatIP(width)
        self._probing: Any = faiss.SearchParametersIVF
        if count <= SMALL or self.cells == 1:
            self.cells, self._index = 1, self._quantizer
        else:
            self._index = faiss.IndexIVFFlat(
                self._quantizer, width, self.cells, faiss.METRIC_INNER_PRODUCT
            )
            self._index.cp.max_points_per_centroid = self.config.sample
            self._index.cp.min_points_per_centroid = 1
            self._index.train(self.items.numpy())
        self._index.add(self.items.numpy())

    def search(self, users: Tensor, k: int, hidden: CSR | None = None) -> tuple[Tensor, Tensor]:
        r"""The best items of users, but for hidden ones.

        A user is asked for as many items more as are hidden from that user, and in more cells where
        these do not hold as many, up to all of them: lists are as long as they can be.

        Args:
            users (Tensor): Embeddings, shape :math:`(B, d)`.
            k (int): Length of the lists.
            hidden (CSR, optional): Items of each user that are not listed. (default: none)

        Returns:
            Items and scores in descending order, equal ones by ascending item, both of shape
            :math:`(B, k)`. Where fewer items are left, ``-1`` and minus infinity follow.
        """
        items = torch.full((len(users), k), -1)
        scores = torch.full((len(users), k), -torch.inf)
        queries = users.detach().float().cpu().contiguous()
        for block in torch.arange(len(users)).split(BLOCK):
            left, probes = block, self.config.probes
            while left.numel():
                item, score, enough = self._find(queries, left, k, hidden, probes)
                done = left if probes >= self.cells else left[enough]
                kept = slice(None) if probes >= self.cells else enough
                items[done], scores[done] = item[kept], score[kept]
                left = left[:0] if probes >= self.cells else left[~enough]
                probes *= 4
        return items, scores

    def _find(
        self, queries: Tensor, user: Tensor, k: int, hidden: CSR | None, probes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        more = 0 if hidden is None else int((hidden.ptr[user + 1] - hidden.ptr[user]).max())
        depth = min(k + more, len(self.items))
        options = {}
        if self.cells > 1:  # not an attribute of the index: others may search it at the same time
            options["params"] = self._probing(nprobe=min(probes, self.cells))
        found = torch.from_numpy(self._index.search(queries[user].numpy(), depth, **options)[1])
        found = found.sort(1).values  # equal scores are listed by ascending item
        there = found >= 0
        if hidden is not None:
            own = _rows(hidden, user)
            row = torch.arange(user.numel()).view(-1, 1).expand_as(found)
            there &= ~own.contains(row, found)
        # Scores are computed anew: they are then those of the exact lists, and ties are ties.
        score = (self.items[found.clamp(min=0)] @ queries[user].unsqueeze(2)).squeeze(2)
        score = score.masked_fill(~there, -torch.inf)
        score, order = score.sort(dim=1, descending=True, stable=True)
        item = found.gather(1, order).masked_fill(score == -torch.inf, -1)
        missing = k - item.size(1)
        if missing > 0:
            item = torch.nn.functional.pad(item, (0, missing), value=-1)
            score = torch.nn.functional.pad(score, (0, missing), value=-torch.inf)
        return item[:, :k], score[:, :k], there.sum(1) >= k


def _rows(matrix: CSR, rows: Tensor) -> CSR:
    """Some rows of a matrix."""
    count = matrix.ptr[rows + 1] - matrix.ptr[rows]
    return CSR(torch.cat([count.new_zeros(1), count.cumsum(0)]), matrix.of(rows)[1])


class IndexedRanker(DotProductRanker):
    """Ranks by an index, users of a model and people by histories; whatever is asked with
    candidates, or with rules that choose some, is ranked exactly.

    Args:
        ranker (Ranker): A model whose scores are dot products of embeddings.
        config (Config or mapping, optional): Settings of :class:`ItemIndex`.
            (default: the defaults)
        **settings: Settings by name.

    Raises:
        ImportError: Without ``pip install 'irllrec_pyg[index]'``.
        ValueError: If the model's scores are no dot products.

    Example:
        >>> fast = IndexedRanker(build_model("lightgcn", data))
        >>> fast.recommend(7, k=2)["rank"].tolist()
        [1, 2]
    """

    def __init__(self, ranker: Ranker, config: Settings = None, **settings: Any) -> None:
        with torch.no_grad(), ranker.ranking():
            embeddings = ranker.embed()
        if embeddings is None:
            raise ValueError(
                f"The scores of {type(ranker).__name__} are no dot products of embeddings; an "
                "index cannot find its items."
            )
        self._build(ranker, *embeddings, ItemIndex(embeddings[1], config, **settings))

    def _build(self, ranker: Ranker, users: Tensor, items: Tensor, index: ItemIndex) -> None:
        pairs = torch.stack([CSR(ranker.seen_ptr, ranker.seen_item).rows(), ranker.seen_item])
        known = torch.stack([CSR(ranker.known_ptr, ranker.known_item).rows(), ranker.known_item])
        super().__init__(pairs, len(users), len(items), known=known)
        self.user_ids, self.item_ids = ranker.user_ids, ranker.item_ids
        self.item_table, self.info = ranker.item_table, ranker.info
        self.share_index(ranker)
        self.users, self.items = users, items
        self.index, self.ranker = index, ranker

    def embed(self) -> tuple[Tensor, Tensor]:
        """The embeddings of users and items."""
        return self.users, self.items

    def lists(
        self,
        user: Tensor,
        k: int,
        hidden: CSR | None,
        candidates: Tensor | None,
        block_size: int | None,
    ) -> tuple[Tensor, Tensor]:
        """As of other rankers, from the index where there are no candidates."""
        if candidates is not None:
            return super().lists(user, k, hidden, candidates, block_size)
        if hidden is not None:
            own = _rows(hidden, user)
            hidden = CSR(own.ptr.cpu(), own.col.cpu())
        item, score = self.index.search(self.users[user], k, hidden)
        return item.to(user.device), score.to(user.device)

    @property
    def takes_history(self) -> bool:
        """Whether the model does."""
        return self.ranker.takes_history

    def score_history(self, history: Tensor) -> Tensor:
        """Scores of the model."""
        return self.ranker.score_history(history)

    def of(self, history: Any, weights: Any = None, user: Any = None) -> Ranker:
        """The people of histories, found by the same index; see :meth:`Ranker.of`."""
        exact = super().of(history, weights, user)
        assert isinstance(exact, HistoryRanker)
        with torch.no_grad(), self.ranker.ranking():
            model = self.ranker
            encode = model.history_encoder() if isinstance(model, DotProductRanker) else None
        if encode is None:
            return exact
        people = exact.histories
        everyone = torch.arange(len(people.labels), device=self.seen_ptr.device)
        with torch.no_grad():
            users = encode(people.rows(everyone, self.num_items).to(self.items.dtype))
        twin = type(self).__new__(type(self))
        twin._build(exact, users, self.items, self.index)
        return twin.train(self.training)

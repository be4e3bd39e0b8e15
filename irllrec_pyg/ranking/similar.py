"""What is like an item, or like a user."""

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from ..sparse import CSR
from .filters import Filters, check_filters, filtered_topk
from .positions import check_length
from .ranker import Ranker, Similarity

if TYPE_CHECKING:
    Ids = Hashable | Iterable[Hashable] | None


class Neighbours(Ranker):
    """Ranks items, or users, by their similarity to others of their kind.

    Args:
        ranker (Ranker): The model.
        similarity (callable): Its similarities.
        position (Tensor): Whom lists are made for.
        side (str): ``"item"`` or ``"user"``.
    """

    def __init__(self, ranker: Ranker, similarity: Similarity, position: Tensor, side: str) -> None:
        own = torch.stack([torch.arange(position.numel(), device=position.device), position])
        super().__init__(own, position.numel(), getattr(ranker, f"num_{side}s"))
        self.item_ids, self.item_table = getattr(ranker, f"{side}_ids"), ranker.item_table
        if side == "item":
            self.share_index(ranker)
        self.similarity, self.position = similarity, position

    def score(self, user: Tensor) -> Tensor:
        """Similarities with all."""
        return self.similarity(self.position[user], None)

    def item_similarity(self) -> Similarity:
        """Those of the model."""
        return self.similarity


@torch.no_grad()
def similar(
    ranker: Ranker, item: "Ids", user: "Ids", k: int, filters: Filters | None
) -> pd.DataFrame:
    """See :meth:`Ranker.similar`."""
    if (item is None) == (user is None):
        raise ValueError("Give an 'item' or a 'user' to find similar ones of.")
    side, asked = ("item", item) if user is None else ("user", user)
    if side == "user" and filters is not None:
        raise ValueError("'filters' are rules for items; leave them out for similar users.")
    check_length(k)
    position = ranker.positions(asked, side)
    with ranker.ranking():
        similarity = ranker.item_similarity() if side == "item" else _user_similarity(ranker)
        lists = Neighbours(ranker, similarity, position, side)
        k = min(k, lists.num_items)  # there is no more to list, and room for it would be taken
        filters = check_filters(filters)
        everyone = torch.arange(position.numel(), device=position.device)
        allowed = filters.candidates(lists)
        listed, score = filtered_topk(lists, everyone, k, "train", allowed, filters)
    row, column = (listed >= 0).nonzero(as_tuple=True)
    owners = ranker.owners(side)
    columns: dict[str, Any] = {
        "of": owners.take(position[row].cpu().numpy()),
        "id": owners.take(listed[row, column].cpu().numpy()),
        "rank": (column + 1).cpu().numpy(),
        "similarity": score[row, column].float().cpu().numpy(),
    }
    if isinstance(asked, (str, bytes)) or not isinstance(asked, Iterable):
        del columns["of"]
    return pd.DataFrame(columns)


def _user_similarity(ranker: Ranker) -> Similarity:
    """Cosines of users' embeddings, else of their training items."""
    from .dot_product import cosines

    embeddings = ranker.embed()
    if embeddings is not None:
        return cosines(embeddings[0])
    seen = CSR(ranker.seen_ptr, ranker.seen_item)
    size = ranker.num_users, ranker.num_items
    length = seen.ptr.diff().clamp(min=1).sqrt().float()
    value = (1 / length).repeat_interleave(seen.ptr.diff())
    matrix = torch.sparse_csr_tensor(seen.ptr, seen.col, value, size=size, check_invariants=False)

    def similarity(user: Tensor, others: Tensor | None) -> Tensor:
        row, column = seen.of(user)
        dense = torch.zeros(user.numel(), size[1], device=user.device)
        dense[row, column] = 1 / length[user][row]
        out = (matrix @ dense.t()).t()
        return out if others is None else out[:, others]

    return similarity

"""What a list may hold: rules of a shop, and lists that are less alike."""

import ast
import math
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from .positions import Exclude
    from .ranker import Ranker

POOL = 100  # items at least among which a list is made diverse, and 10 for each place of it
_TRUTHS = (bool, np.bool_)
LONGEST = 2000  # characters of a condition
#: What a condition may be made of: columns, values, comparisons, arithmetic, 'and', 'or', 'not'.
#: Neither calls nor attributes: a condition may come from a stranger's request.
GRAMMAR = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Invert),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitAnd, ast.BitOr, ast.Compare),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn),
    *(ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
)


@dataclass(frozen=True)
class Filters:
    r"""Rules for the items of a list.

    Conditions and groups are about columns of the ranker's ``item_table``, a table indexed by the
    owner's item ids. An item without a row there fulfils no condition and is in no group.

    Args:
        allow (iterable of ids, optional): Only these items. (default: all)
        deny (iterable of ids, optional): None of these items. (default: none)
        where (str, optional): A condition on columns as in :meth:`pandas.DataFrame.query`, such as
            ``"in_stock == True and price < 20"``; a column whose name is no word stands in
            backticks. Calls and attributes are refused. (default: none)
        max_per (mapping, optional): At most so many items of the same value of a column, such as
            ``{"author": 2}``. (default: no limit)
        diversity (float, optional): From 0, the best items, to 1, items as unlike as can be:
            :math:`d` in maximal marginal relevance, `"The Use of MMR"
            <https://doi.org/10.1145/290941.291025>`_ (SIGIR 1998), which takes one item after the
            other by :math:`(1 - d) \, s_i - d \max_j \cos(i, j)` over the items :math:`j` taken
            before, with scores :math:`s` scaled to 0 to 1 among the best items, ten for each place
            and 100 at least. (default: ``0.0``)

    Raises:
        ValueError: If a rule is wrong; it is named.

    Example:
        >>> Filters(where="price < 20", max_per={"author": 2}).diversity
        0.0
    """

    allow: Iterable[Hashable] | None = None
    deny: Iterable[Hashable] | None = None
    where: str | None = None
    max_per: Mapping[str, int] = field(default_factory=dict)
    diversity: float = 0.0

    def __post_init__(self) -> None:
        for name in ("allow", "deny"):
            value = getattr(self, name)
            if value is not None:
                if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
                    raise ValueError(f"{name!r} must be a list of item ids, got {value!r}.")
                object.__setattr__(self, name, list(value))  # an iterator is read once alone
        if not isinstance(self.max_per, Mapping):
            raise ValueError(f"'max_per' must be numbers by column, got {self.max_per!r}.")
        for column, most in self.max_per.items():
            if isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1:
                raise ValueError(
                    f"'max_per' must be a whole number of at least 1 for {column!r}, got {most!r}."
                )
        share = self.diversity
        is_number = isinstance(share, (int, float, np.number)) and not isinstance(share, bool)
        if not is_number or math.isnan(share) or not 0 <= share <= 1:
            raise ValueError(f"'diversity' must be a number from 0 to 1, got {share!r}.")
        if self.where is not None:
            _check_condition(self.where)

    @property
    def reorders(self) -> bool:
        """Whether a list depends on more than which items are allowed."""
        return bool(self.max_per) or self.diversity > 0

    def candidates(self, ranker: "Ranker", candidates: Tensor | None = None) -> Tensor | None:
        """Positions of the items that may be listed, ascending; ``None``: all.

        Args:
            ranker (Ranker): What ranks.
            candidates (Tensor, optional): Positions of the items to choose from. (default: all)

        Raises:
            KeyError: If an item is unknown.
            ValueError: If the condition cannot be evaluated; says why.
        """
        if candidates is None and self.allow is self.deny is self.where is None:
            return None
        device = ranker.seen_ptr.device
        kept = torch.ones(ranker.num_items, dtype=torch.bool, device=device)
        if candidates is not None:
            kept &= _mask(candidates, kept)
        if self.allow is not None:
            kept &= _mask(ranker.positions(self.allow, "item"), kept)
        if self.deny is not None:
            kept &= ~_mask(ranker.positions(self.deny, "item"), kept)
        if self.where is not None:
            kept &= torch.as_tensor(_fulfils(ranker, self.where), device=device)
        return kept.nonzero().flatten()


def check_filters(filters: Any) -> Filters:
    """Checks rules; none are rules that allow everything.

    Raises:
        TypeError: If they are something else.
    """
    if filters is not None and not isinstance(filters, Filters):
        raise TypeError(f"'filters' must be Filters(…), got {type(filters).__name__}.")
    return filters or Filters()


def _mask(position: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_fill_(0, position, True)


def _check_condition(where: str) -> None:
    if not isinstance(where, str):
        raise ValueError(f"'where' must be a condition such as 'price < 20', got {where!r}.")
    if len(where) > LONGEST:
        raise ValueError(f"'where' must have at most {LONGEST} characters, got {len(where)}.")
    try:
        tree = ast.parse(re.sub(r"`[^`]*`", "column", where.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"'where' is no condition such as 'price < 20': {where!r}. A column with a space in "
            "its name stands in backticks: `in stock` == True."
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and _has_text(node):
            raise ValueError(f"'where' may not multiply texts, got {where!r}.")  # to fill memory
        if not isinstance(node, GRAMMAR) or (isinstance(node, ast.Name) and "__" in node.id):
            raise ValueError(
                f"'where' may hold columns, values and comparisons alone, joined by 'and', 'or' "
                f"and 'not', got {where!r}."
            )


def item_rows(ranker: "Ranker", columns: Iterable[str], rule: str) -> pd.DataFrame:
    """Columns of the ranker's table that a rule reads.

    Raises:
        ValueError: If there is no table, an id stands there twice or a column is missing.
    """
    table, columns = ranker.item_table, list(columns)
    if table is None:
        raise ValueError(
            f"{rule!r} asks for columns of the table of the items, which the ranker does not "
            "have; set 'ranker.item_table' to a DataFrame with a column 'item'."
        )
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise ValueError(f"'item_table' must have one row an item, got {twice!r} more than once.")
    for column in columns:
        if column not in table:
            raise ValueError(
                f"{rule!r} asks for {column!r}, and the table of the items has no column "
                f"{column!r}; its columns are {', '.join(map(str, table.columns))}."
            )
    known = ranker.owners("item")
    if not any(label in known for label in table.index):
        first, own = next(iter(table.index), None), next(iter(ranker.ids("item")))
        raise ValueError(
            f"'item_table' has no row of any item: its index holds {first!r}, items are called "
            f"{own!r} here. Is it indexed by item id, in the same way written?"
        )
    return table[columns]


def _has_text(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
        for node in ast.walk(tree)
    )


def _fulfils(ranker: "Ranker", where: str) -> NDArray[np.bool_]:
    names = re.findall(r"`([^`]*)`", where)
    tree = ast.parse(re.sub(r"`[^`]*`", "True", where.strip()), mode="eval")
    names += [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    rows = item_rows(ranker, dict.fromkeys(names), "where")
    ids = pd.Series(list(ranker.ids("item")), dtype=object)
    there = ids.isin(rows.index).to_numpy()
    rows = rows.reindex(ids[there])  # without holes, columns keep their types
    try:
        found: Any = rows.eval(where, engine="python")
    except Exception as error:  # whatever pandas makes of a condition and the values there
        texts = [str(name) for name in rows if rows[name].dtype in (object, "str")]
        hint = f". These columns hold text: {', '.join(texts)}" if texts else ""
        raise ValueError(f"'where' cannot be evaluated, {where!r}: {error}{hint}") from None
    values = np.broadcast_to(np.asarray(found), (len(rows),))
    if values.dtype == object and all(
        isinstance(value, _TRUTHS) or (pd.api.types.is_scalar(value) and pd.isna(value))
        for value in values
    ):
        values = np.array([value is True or value is np.True_ for value in values], dtype=bool)
    if values.dtype != np.bool_:
        raise ValueError(f"'where' must be true or false for each item, got {where!r}.")
    fulfilled = np.zeros(len(ids), dtype=np.bool_)
    fulfilled[there] = values
    return fulfilled


def filtered_topk(
    ranker: "Ranker",
    user: Tensor,
    k: int,
    exclude: "Exclude",
    candidates: Tensor | None,
    filters: Filters,
) -> tuple[Tensor, Tensor]:
    """Lists as of :meth:`Ranker.topk` that keep to all rules.

    Deeper lists are made for users whose lists are not full, until these are, or no item is left:
    no user's list is short because of items that the rules leave out.
    """
    if not filters.reorders:
        return ranker.topk(user, k, exclude, candidates)
    groups = []
    for column, most in filters.max_per.items():
        values = item_rows(ranker, [column], "max_per")[column]
        try:
            codes, _ = pd.factorize(values.reindex(list(ranker.ids("item"))))
        except TypeError:
            raise ValueError(
                f"'max_per' needs one value an item; the column {column!r} holds lists or such."
            ) from None
        groups.append((codes, int(most)))
    items = torch.full((user.numel(), k), -1, device=ranker.seen_ptr.device)
    scores = torch.full((user.numel(), k), -torch.inf, device=items.device)
    left = torch.arange(user.numel(), device=items.device)
    similar = ranker.item_similarity() if filters.diversity > 0 else None
    depth = min(ranker.num_items, max(10 * k, POOL))
    while left.numel():
        listed, score = ranker.topk(user[left], depth, exclude, candidates)
        short = []
        for at, row in enumerate(left.tolist()):
            there = int((listed[at] >= 0).sum())
            own = listed[at, :there]
            likeness = None if similar is None else similar(own, own)
            taken = _pick(own, score[at, :there], k, groups, likeness, float(filters.diversity))
            if len(taken) < k and there == depth < ranker.num_items:
                short.append(row)
                continue
            place = torch.as_tensor(taken, dtype=torch.long, device=items.device)
            items[row, : len(taken)] = own[place]
            scores[row, : len(taken)] = score[at, place].to(scores.dtype)
        left = torch.tensor(short, dtype=torch.long, device=items.device)
        depth = min(ranker.num_items, 4 * depth)
    return items, scores


def _pick(
    item: Tensor,
    score: Tensor,
    k: int,
    groups: list[tuple[NDArray[np.int64], int]],
    likeness: Tensor | None,
    diversity: float,
) -> list[int]:
    """Places in one list of those that are taken, one after the other."""
    own = [(codes[item.cpu().numpy()], most) for codes, most in groups]
    free = np.ones(item.numel(), dtype=bool)
    value = np.arange(item.numel(), 0, -1, dtype=np.float64)
    alike = None if likeness is None else likeness.double().cpu().numpy()
    nearest = np.full(item.numel(), -np.inf)
    if alike is not None and item.numel():
        value = _scaled(score.double().cpu().numpy())
    counts: list[dict[int, int]] = [{} for _ in own]
    taken: list[int] = []
    while len(taken) < k and free.any():
        worth = value
        if alike is not None and taken:
            nearest = np.maximum(nearest, alike[taken[-1]])
            worth = (1 - diversity) * value - diversity * nearest
        at = int(np.argmax(np.where(free, worth, -np.inf)))  # of equal ones the first, the better
        taken.append(at)
        free[at] = False
        for (codes, most), count in zip(own, counts, strict=True):
            code = int(codes[at])
            count[code] = count.get(code, 0) + 1
            if code >= 0 and count[code] >= most:
                free &= codes != code
    return taken


def _scaled(score: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = score.min(), score.max()
    return np.asarray((score - low) / (high - low) if high > low else np.zeros_like(score))

"""Ranking: the best items of users, what they are worth, and what every ranker shares."""

from .blend import Blend
from .dot_product import DotProductRanker
from .evaluate import evaluate, evaluate_users
from .explain import Explanation
from .filters import Filters
from .fold_in import FoldIn
from .index import IndexedRanker, ItemIndex
from .metrics import LIST_METRICS, USER_METRICS
from .plots import plot_intents, plot_profile
from .ranker import Ranker
from .rerank import Rerank
from .weights import learn_weights

__all__ = [
    "LIST_METRICS",
    "USER_METRICS",
    "Blend",
    "DotProductRanker",
    "Explanation",
    "Filters",
    "FoldIn",
    "IndexedRanker",
    "ItemIndex",
    "Ranker",
    "Rerank",
    "evaluate",
    "evaluate_users",
    "learn_weights",
    "plot_intents",
    "plot_profile",
]

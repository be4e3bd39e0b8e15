"""Ranking: the best items of users, what they are worth, and what every ranker shares."""

from .blend import Blend
from .dot_product import DotProductRanker
from .evaluate import evaluate, evaluate_users
from .explain import Explanation
from .filters import Filters
from .fold_in import FoldIn
from .metrics import LIST_METRICS, USER_METRICS
from .ranker import Ranker

__all__ = [
    "LIST_METRICS",
    "USER_METRICS",
    "Blend",
    "DotProductRanker",
    "Explanation",
    "Filters",
    "FoldIn",
    "Ranker",
    "evaluate",
    "evaluate_users",
]

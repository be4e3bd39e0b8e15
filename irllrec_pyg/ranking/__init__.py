"""Ranking: the best items of users, what they are worth, and what every ranker shares."""

from .blend import Blend
from .evaluate import evaluate, evaluate_users
from .metrics import LIST_METRICS, USER_METRICS
from .ranker import DotProductRanker, Ranker

__all__ = [
    "LIST_METRICS",
    "USER_METRICS",
    "Blend",
    "DotProductRanker",
    "Ranker",
    "evaluate",
    "evaluate_users",
]

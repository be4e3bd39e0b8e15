"""Backbones and heads, and their sum, the recommender."""

from ..ranking import Ranker
from . import backbones, heads
from .backbones import *  # noqa: F403
from .batch import Triplets
from .conv import AdaptiveConv, GraphTransformerConv, WeightedSumConv
from .features import MissingTextError
from .graph import InteractionGraph
from .heads import *  # noqa: F403
from .mlp import TextMLP
from .model_config import ModelConfig
from .ranking_loss import InBatchSoftmax, MultinomialSoftmax, RankingLoss
from .recommender import Recommender

__all__ = [
    "AdaptiveConv",
    "GraphTransformerConv",
    "InBatchSoftmax",
    "InteractionGraph",
    "MissingTextError",
    "ModelConfig",
    "MultinomialSoftmax",
    "Ranker",
    "RankingLoss",
    "Recommender",
    "TextMLP",
    "Triplets",
    "WeightedSumConv",
]
__all__ += backbones.__all__
__all__ += heads.__all__

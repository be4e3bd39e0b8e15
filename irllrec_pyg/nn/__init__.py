"""Backbones, heads and their sum, the recommender."""

from ..ranking import Ranker
from .backbones import (
    BIGCF,
    DCCF,
    GCCF,
    SGL,
    AlphaRec,
    AutoCF,
    Backbone,
    Encoding,
    GNNBackbone,
    LightGCL,
    LightGCN,
    SimGCL,
)
from .batch import Triplets
from .conv import AdaptiveConv, GraphTransformerConv, WeightedSumConv
from .features import MissingTextError
from .graph import InteractionGraph
from .heads import (
    Head,
    IntentAlignment,
    ProfileAlignment,
    ProfileReconstruction,
    ProfileShaping,
    TextHead,
)
from .mlp import TextMLP
from .model_config import ModelConfig
from .ranking_loss import InBatchSoftmax, MultinomialSoftmax, RankingLoss
from .recommender import Recommender

__all__ = [
    "BIGCF",
    "DCCF",
    "GCCF",
    "SGL",
    "AdaptiveConv",
    "AlphaRec",
    "AutoCF",
    "Backbone",
    "Encoding",
    "GNNBackbone",
    "GraphTransformerConv",
    "Head",
    "InBatchSoftmax",
    "IntentAlignment",
    "InteractionGraph",
    "LightGCL",
    "LightGCN",
    "MissingTextError",
    "ModelConfig",
    "MultinomialSoftmax",
    "ProfileAlignment",
    "ProfileReconstruction",
    "ProfileShaping",
    "Ranker",
    "RankingLoss",
    "Recommender",
    "SimGCL",
    "TextHead",
    "TextMLP",
    "Triplets",
    "WeightedSumConv",
]

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
    LightGCN,
    SimGCL,
)
from .batch import Triplets
from .conv import AdaptiveConv, GraphTransformerConv, WeightedSumConv
from .features import MissingTextError
from .graph import InteractionGraph
from .heads import Head, IntentAlignment, ProfileAlignment, ProfileReconstruction, TextHead
from .mlp import TextMLP
from .ranking_loss import InBatchSoftmax, RankingLoss
from .recommender import ModelConfig, Recommender

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
    "LightGCN",
    "MissingTextError",
    "ModelConfig",
    "ProfileAlignment",
    "ProfileReconstruction",
    "Ranker",
    "RankingLoss",
    "Recommender",
    "SimGCL",
    "TextHead",
    "TextMLP",
    "Triplets",
    "WeightedSumConv",
]

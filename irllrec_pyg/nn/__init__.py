"""Backbones, heads and their sum, the recommender."""

from .backbones import Backbone, Encoding, GNNBackbone, LightGCN
from .batch import Triplets
from .conv import AdaptiveConv, WeightedSumConv
from .features import MissingTextError
from .graph import InteractionGraph
from .heads import Head, IntentAlignment, ProfileAlignment, ProfileReconstruction
from .ranker import Ranker
from .recommender import Recommender

__all__ = ["AdaptiveConv", "Backbone", "Encoding", "GNNBackbone", "Head", "IntentAlignment",
           "InteractionGraph", "LightGCN", "MissingTextError", "ProfileAlignment",
           "ProfileReconstruction", "Ranker", "Recommender", "Triplets", "WeightedSumConv"]

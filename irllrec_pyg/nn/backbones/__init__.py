"""Backbones: from the graph to node embeddings."""

from .base import Backbone, Encoding
from .gnn import GNNBackbone
from .lightgcn import LightGCN

__all__ = ["Backbone", "Encoding", "GNNBackbone", "LightGCN"]

"""Backbones: from the graph to node embeddings."""

from .alpharec import AlphaRec
from .autocf import AutoCF
from .base import Backbone, Encoding
from .bigcf import BIGCF
from .dccf import DCCF
from .gccf import GCCF
from .gnn import GNNBackbone
from .intents import IntentPrototypes
from .lightgcl import LightGCL
from .lightgcn import LightGCN
from .sgl import SGL
from .simgcl import SimGCL

__all__ = [
    "BIGCF",
    "DCCF",
    "GCCF",
    "SGL",
    "AlphaRec",
    "AutoCF",
    "Backbone",
    "Encoding",
    "GNNBackbone",
    "IntentPrototypes",
    "LightGCL",
    "LightGCN",
    "SimGCL",
]

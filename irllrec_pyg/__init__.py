"""RLMRec and IRLLRec, recommendation with language models, on PyTorch Geometric."""

from .datasets import IRLLRecDataset, from_interactions
from .loader import triplet_loader
from .nn import Recommender
from .published import build_model

__version__ = "0.1.0"

__all__ = ["IRLLRecDataset", "Recommender", "build_model", "from_interactions", "triplet_loader"]

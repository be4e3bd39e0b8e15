"""RLMRec and IRLLRec, recommendation with language models, on PyTorch Geometric."""

from .datasets import IRLLRecDataset, from_interactions
from .linear import build_linear
from .loader import triplet_loader
from .nn import ModelConfig, Recommender
from .published import build_model
from .run import RunConfig, run

__version__ = "0.2.0.dev0"

__all__ = [
    "IRLLRecDataset",
    "ModelConfig",
    "Recommender",
    "RunConfig",
    "build_linear",
    "build_model",
    "from_interactions",
    "run",
    "triplet_loader",
]

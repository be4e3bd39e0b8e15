"""Training with PyTorch Lightning: one call, or the parts of it for your own trainer."""

from .callbacks import BestWeights, EpochBar, ResumeCheckpoint
from .checkpoint_io import SafetensorsIO
from .fit import fit
from .module import RecommenderModule
from .result import FitResult
from .settings import describe

__all__ = [
    "BestWeights",
    "EpochBar",
    "FitResult",
    "RecommenderModule",
    "ResumeCheckpoint",
    "SafetensorsIO",
    "describe",
    "fit",
]

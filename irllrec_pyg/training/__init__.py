"""Training with PyTorch Lightning: one call, or the parts of it for your own trainer."""

from .callbacks import BestWeights, EpochBar, ResumeCheckpoint
from .checkpoint_io import SafetensorsIO
from .config import TrainingConfig
from .fit import fit
from .identity import Identity
from .module import RecommenderModule
from .result import FitResult

__all__ = [
    "BestWeights",
    "EpochBar",
    "FitResult",
    "Identity",
    "RecommenderModule",
    "ResumeCheckpoint",
    "SafetensorsIO",
    "TrainingConfig",
    "fit",
]

"""RLMRec and IRLLRec, recommendation with language models, on PyTorch Geometric."""

from typing import TYPE_CHECKING, Any

from .datasets import IRLLRecDataset, TableDataset, from_interactions
from .linear import build_linear
from .loader import triplet_loader
from .nn import ModelConfig, Recommender
from .published import build_model

if TYPE_CHECKING:
    from .runs import RunConfig, run

__version__ = "0.2.0.dev0"

__all__ = [
    "IRLLRecDataset",
    "ModelConfig",
    "Recommender",
    "RunConfig",
    "TableDataset",
    "build_linear",
    "build_model",
    "from_interactions",
    "run",
    "triplet_loader",
]


def __getattr__(name: str) -> Any:
    if name in ("RunConfig", "run"):  # training brings Lightning, which recommending does not need
        from . import runs

        return getattr(runs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""RLMRec and IRLLRec, recommendation with language models, on PyTorch Geometric."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets import IRLLRecDataset, TableDataset, from_interactions
    from .linear import build_linear
    from .loader import triplet_loader
    from .model_folder import load_folder, save_folder
    from .nn import ModelConfig, Recommender
    from .published import build_model
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
    "load_folder",
    "run",
    "save_folder",
    "triplet_loader",
]

# Imported when they are first asked for: PyTorch takes seconds, which the command line's help and
# completion do without, and training brings Lightning, which recommending does not need.
_HOMES = {
    "IRLLRecDataset": "datasets",
    "ModelConfig": "nn",
    "Recommender": "nn",
    "RunConfig": "runs",
    "TableDataset": "datasets",
    "build_linear": "linear",
    "build_model": "published",
    "from_interactions": "datasets",
    "load_folder": "model_folder",
    "run": "runs",
    "save_folder": "model_folder",
    "triplet_loader": "loader",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in _HOMES.values():
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

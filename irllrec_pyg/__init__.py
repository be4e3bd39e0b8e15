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
    "datasets": ("IRLLRecDataset", "TableDataset", "from_interactions"),
    "linear": ("build_linear",),
    "loader": ("triplet_loader",),
    "model_folder": ("load_folder", "save_folder"),
    "nn": ("ModelConfig", "Recommender"),
    "published": ("build_model",),
    "runs": ("RunConfig", "run"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name == home or name in names:
            module = import_module(f".{home}", __name__)
            return module if name == home else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

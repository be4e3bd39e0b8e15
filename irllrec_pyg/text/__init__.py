r"""From tables of texts to profiles, intents and their embeddings."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

for _name in ("jinja2", "pydantic"):
    if find_spec(_name) is None:
        raise ImportError(f"irllrec_pyg.text needs {_name}: pip install 'irllrec_pyg[text]'.")

if TYPE_CHECKING:
    from .budget import Budget as Budget
    from .chat import ChatClient as ChatClient
    from .chat import ChatSettings as ChatSettings
    from .chat import Reply as Reply
    from .chat import Usage as Usage
    from .client import Endpoint as Endpoint
    from .embeddings import Embedder as Embedder
    from .encoders import EndpointEncoder as EndpointEncoder
    from .encoders import SentenceTransformerEncoder as SentenceTransformerEncoder
    from .encoders import WordLlamaEncoder as WordLlamaEncoder
    from .encoding import Encoder as Encoder
    from .encoding import FunctionEncoder as FunctionEncoder
    from .engine import RunStopped as RunStopped
    from .folder import PipelineError as PipelineError
    from .limits import CallError as CallError
    from .limits import RunSettings as RunSettings
    from .manifest import plan as plan
    from .manifest import write_manifest as write_manifest
    from .pipeline import TextPipeline as TextPipeline
    from .profiles import Sampling as Sampling
    from .prompts import STEPS as STEPS
    from .prompts import PromptSet as PromptSet
    from .source import LeakageError as LeakageError
    from .source import TrainingTexts as TrainingTexts
    from .views import Views as Views
    from .views import build_views as build_views
    from .words import WordsEncoder as WordsEncoder

# Imported when they are first asked for: PyTorch and pandas take seconds, which
# ``irllrec texts status`` does without.
_HOMES = {
    "budget": "Budget",
    "chat": "ChatClient ChatSettings Reply Usage",
    "client": "Endpoint",
    "embeddings": "Embedder",
    "encoders": "EndpointEncoder SentenceTransformerEncoder WordLlamaEncoder",
    "encoding": "Encoder FunctionEncoder",
    "engine": "RunStopped",
    "limits": "CallError RunSettings",
    "manifest": "plan write_manifest",
    "folder": "PipelineError",
    "pipeline": "TextPipeline",
    "profiles": "Sampling",
    "prompts": "STEPS PromptSet",
    "source": "LeakageError TrainingTexts",
    "views": "Views build_views",
    "words": "WordsEncoder",
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

r"""From tables of texts to profiles, intents and their embeddings."""

try:
    import jinja2  # noqa: F401
    import pydantic  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"irllrec_pyg.text needs {error.name}: pip install 'irllrec_pyg[text]'."
    ) from None

from .chat import ChatClient, ChatSettings, Reply, Usage
from .client import Endpoint
from .embeddings import Embedder
from .encoders import EndpointEncoder, SentenceTransformerEncoder, WordLlamaEncoder
from .encoding import Encoder, FunctionEncoder
from .engine import Budget, RunStopped
from .limits import CallError, RunSettings
from .manifest import plan, write_manifest
from .pipeline import PipelineError, TextPipeline
from .profiles import Sampling
from .prompts import STEPS, PromptSet
from .source import LeakageError, TrainingTexts
from .views import Views, build_views
from .words import WordsEncoder

__all__ = [
    "STEPS",
    "Budget",
    "CallError",
    "ChatClient",
    "ChatSettings",
    "Embedder",
    "Encoder",
    "Endpoint",
    "EndpointEncoder",
    "FunctionEncoder",
    "LeakageError",
    "PipelineError",
    "PromptSet",
    "Reply",
    "RunSettings",
    "RunStopped",
    "Sampling",
    "SentenceTransformerEncoder",
    "TextPipeline",
    "TrainingTexts",
    "Usage",
    "Views",
    "WordLlamaEncoder",
    "WordsEncoder",
    "build_views",
    "plan",
    "write_manifest",
]

r"""From tables of texts to profiles, intents and their embeddings."""

try:
    import jinja2  # noqa: F401
    import pydantic  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"irllrec_pyg.text needs {error.name}: pip install 'irllrec_pyg[text]'."
    ) from None

from .chat import ChatSettings, Endpoint
from .embeddings import Embedder
from .encoders import EndpointEncoder, SentenceTransformerEncoder, WordLlamaEncoder
from .encoding import Encoder, FunctionEncoder
from .engine import RunSettings, RunStopped
from .manifest import plan, write_manifest
from .pipeline import PipelineError, TextPipeline
from .profiles import Sampling
from .prompts import STEPS, PromptSet
from .source import LeakageError, TrainingTexts
from .views import Views, build_views
from .words import WordsEncoder

__all__ = [
    "STEPS",
    "ChatSettings",
    "Embedder",
    "Encoder",
    "Endpoint",
    "EndpointEncoder",
    "FunctionEncoder",
    "LeakageError",
    "PipelineError",
    "PromptSet",
    "RunSettings",
    "RunStopped",
    "Sampling",
    "SentenceTransformerEncoder",
    "TextPipeline",
    "TrainingTexts",
    "Views",
    "WordLlamaEncoder",
    "WordsEncoder",
    "build_views",
    "plan",
    "write_manifest",
]

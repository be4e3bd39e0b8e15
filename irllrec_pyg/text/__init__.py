r"""From tables of texts to profiles, intents and their embeddings."""

try:
    import jinja2  # noqa: F401
    import pydantic  # noqa: F401
except ImportError as error:
    raise ImportError(f"irllrec_pyg.text needs {error.name}: pip install "
                      "'irllrec_pyg[text]'.") from None

from irllrec_pyg.text.chat import ChatSettings, Endpoint
from irllrec_pyg.text.embeddings import Embedder
from irllrec_pyg.text.encoders import (
    EndpointEncoder,
    SentenceTransformerEncoder,
    WordLlamaEncoder,
)
from irllrec_pyg.text.engine import RunSettings, RunStopped
from irllrec_pyg.text.manifest import plan, write_manifest
from irllrec_pyg.text.pipeline import PipelineError, TextPipeline
from irllrec_pyg.text.profiles import Sampling
from irllrec_pyg.text.prompts import STEPS, PromptSet
from irllrec_pyg.text.source import LeakageError, TrainingTexts

__all__ = [
    "STEPS",
    "ChatSettings",
    "Embedder",
    "Endpoint",
    "EndpointEncoder",
    "LeakageError",
    "PipelineError",
    "PromptSet",
    "RunSettings",
    "RunStopped",
    "Sampling",
    "SentenceTransformerEncoder",
    "TextPipeline",
    "TrainingTexts",
    "WordLlamaEncoder",
    "plan",
    "write_manifest",
]

r"""Text encoders: an OpenAI-compatible endpoint, sentence-transformers, wordllama."""

from collections.abc import Callable
from functools import cached_property
from importlib import metadata, util
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from .client import Endpoint, post
from .encoding import Encoder, EncoderError
from .engine import RunStopped
from .limits import (
    CallError,
    RateLimiter,
    RunSettings,
    estimate_tokens,
    in_parallel,
    patiently,
    run_coroutine,
)
from .redaction import Redactor, public_url

ENCODERS = "wordllama, openai:MODEL or sentence-transformers:MODEL"


class WordLlamaEncoder(Encoder):
    r"""The 256-wide model that comes in the wheel of wordllama: small, fast, and offline.

    Args:
        batch_size (int): Texts a batch. (default: ``1024``)
    """

    def __init__(self, batch_size: int = 1024) -> None:
        check_installed("wordllama", "encode")
        self.name = f"wordllama-{metadata.version('wordllama')}-256"
        self.batch_size = batch_size

    @cached_property
    def _model(self) -> Any:  # loaded when the first text comes: most are embedded already
        import wordllama

        # Its own default looks for the weights in a folder where the wheel does not put them.
        return wordllama.WordLlama.load(
            cache_dir=Path(wordllama.__file__).parent, disable_download=True
        )

    def vectors(self, texts: list[str]) -> ArrayLike:
        """See :class:`Encoder`."""
        return self._model.embed(texts, norm=False)  # type: ignore[no-any-return]


class SentenceTransformerEncoder(Encoder):
    r"""Any model of sentence-transformers.

    Args:
        model (str): A name that is in the local cache or can be downloaded, or a folder.
        device (str, optional): Where it runs. (default: ``None``, its own choice)
        batch_size (int): Texts a batch. (default: ``64``)
    """

    def __init__(self, model: str, device: str | None = None, batch_size: int = 64) -> None:
        check_installed("sentence_transformers", "sentence-transformers")
        self.name = f"sentence-transformers-{model}"
        self._source, self._device, self.batch_size = model, device, batch_size

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(self._source, device=self._device)

    def vectors(self, texts: list[str]) -> ArrayLike:
        """See :class:`Encoder`."""
        vectors: ArrayLike = self._model.encode(
            texts, batch_size=self.batch_size, show_progress_bar=False
        )
        return vectors


class EndpointEncoder(Encoder):
    r"""The ``/v1/embeddings`` of an OpenAI-compatible server.

    Args:
        model (str): The model's name at the endpoint.
        endpoint (Endpoint, optional): The server. (default: ``None``, OpenAI's)
        dimensions (int, optional): The width to ask for, where the model can. (default:
            ``None``)
        batch_size (int): Texts a request. (default: ``128``)
        run (RunSettings, optional): Concurrency, limits and retries. (default: ``None``)
    """

    def __init__(
        self,
        model: str,
        endpoint: Endpoint | None = None,
        dimensions: int | None = None,
        batch_size: int = 128,
        run: RunSettings | None = None,
    ) -> None:
        self.model, self.endpoint = model, endpoint or Endpoint()
        self.dimensions, self.batch_size = dimensions, batch_size
        self.run_settings = run or RunSettings()
        self.redactor = Redactor(self.endpoint.key())
        host = public_url(self.endpoint.base_url) or "openai"
        self.name = f"{host}-{model}" + (f"-{dimensions}" if dimensions else "")

    def run(self, inputs: list[list[str]], keep: Callable[[int, ArrayLike], None]) -> None:
        """See :class:`Encoder`; several requests are in flight."""
        run_coroutine(lambda: self._ask(inputs, keep))

    async def _ask(self, inputs: list[list[str]], keep: Callable[[int, ArrayLike], None]) -> None:
        limiter = RateLimiter(self.run_settings.rpm, self.run_settings.tpm)
        waiting = iter(enumerate(inputs))
        async with self.endpoint.client() as client:

            async def worker() -> None:
                for number, batch in waiting:
                    keep(number, await self._batch(client, batch, limiter))

            await in_parallel(worker, self.run_settings.concurrency)

    async def _batch(self, client: Any, batch: list[str], limiter: RateLimiter) -> ArrayLike:
        # The client's own default, base64, is unknown to some servers.
        body: dict[str, Any] = {"model": self.model, "input": batch, "encoding_format": "float"}
        if self.dimensions:
            body["dimensions"] = self.dimensions

        async def ask() -> list[Any]:
            answer = await post(client, "/embeddings", body)
            try:
                rows = sorted(answer["data"], key=lambda row: int(row["index"]))
                return [(row["index"], row["embedding"]) for row in rows]
            except (LookupError, TypeError, ValueError):
                raise CallError(f"no embeddings: {str(answer)[:300]}", retry=True) from None

        try:
            rows = await patiently(
                ask, self.run_settings, limiter, sum(map(estimate_tokens, batch))
            )
        except CallError as error:
            raise RunStopped(
                f"The encoder {self.name!r} stopped: {self.redactor.message(error.reason)}. "
                "What was embedded is kept; run again to go on."
            ) from None
        if [index for index, _ in rows] != list(range(len(batch))):
            raise EncoderError(
                f"The encoder {self.name!r} was given {len(batch)} texts and "
                f"answered with {len(rows)} embeddings."
            )
        return [row for _, row in rows]


def build_encoder(name: str, **endpoint: Any) -> Encoder:
    r"""The encoder of a name, which embeds each text for itself; for data sets there are more
    (:func:`~irllrec_pyg.text.views.build_views`).

    Args:
        name (str): ``"wordllama"``, ``"sentence-transformers:MODEL"`` or ``"openai:MODEL"``.
        **endpoint: Further arguments of :class:`EndpointEncoder`.

    Raises:
        ValueError: If there is no such encoder, or it needs all texts at once.
        ImportError: If its package is not installed; says what to install.
    """
    kind, _, model = name.partition(":")
    if name == "wordllama":
        return WordLlamaEncoder()
    if kind == "sentence-transformers" and model:
        return SentenceTransformerEncoder(model)
    if kind == "openai" and model:
        return EndpointEncoder(model, **endpoint)
    if "words" in name.split("+") or "+" in name:
        raise ValueError(
            f"The encoder {name!r} is for tables, TableDataset(encoder={name!r}): here texts are "
            f"embedded one by one, by {ENCODERS}."
        )
    raise ValueError(
        f"The encoder {name!r} is not known: {ENCODERS}; for tables words too, and several joined "
        "by '+'."
    )


def check_installed(package: str, extra: str) -> None:
    r"""Refuses an encoder whose package is missing.

    Raises:
        ImportError: If so; says what to install.
    """
    if util.find_spec(package) is None:
        name = "scikit-learn" if package == "sklearn" else package.replace("_", "-")
        raise ImportError(f"This encoder needs {name}: pip install 'irllrec_pyg[{extra}]'.")

"""The application: routes, errors, documentation."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Body, FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from .. import __version__
from ..config import ConfigError, Settings
from ..ranking import Ranker
from . import answers
from . import messages as m
from .batches import Batches
from .errors import LONGEST, MISTAKE, STATUS, faults, words
from .guard import DOCS_FILES, Guard, Metrics, problem
from .limits import Limits
from .served import Shelf

KEY = "IRLLREC_API_KEY"


def create_app(
    source: str | Path | Ranker | Callable[[], Ranker],
    limits: Limits | Settings = None,
    index: bool = False,
) -> FastAPI:
    """An application that recommends, finds similar items and explains, for any ASGI server.

    Where the environment has ``IRLLREC_API_KEY``, every request needs it, but for ``/health`` and
    the documentation.

    Args:
        source (str, Path, Ranker or callable): The folder of a model; a model; or what loads one.
        limits (Limits or mapping, optional): What one request may ask for.
            (default: the defaults)
        index (bool, optional): Whether lists come from an approximate index of the items, as
            :class:`irllrec_pyg.ranking.IndexedRanker` has it. (default: ``False``)

    Returns:
        The application; ``app.state.shelf`` holds the model.

    Raises:
        ConfigError: If the key is there and empty.
        FileNotFoundError, CheckpointError: If there is no such model.

    Example:
        >>> app = create_app(EASE(data), {"max_k": 100})
        >>> app.state.shelf.current.version
        1
    """
    limits = Limits.read(limits)
    key = os.environ.get(KEY)
    if key is not None and not key.strip():
        raise ConfigError(f"{KEY} is empty; set it to a secret, or unset it to need none.")
    shelf = Shelf(source, index)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # More threads than cores only wait for each other, each with memory for its scores.
        threads = limits.threads or os.cpu_count() or 1
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        yield

    app = FastAPIOffline(  # its page of documentation asks no other host for scripts
        title="irllrec",
        version=__version__,
        summary="Recommendations, what is similar, and why, in the owner's ids.",
        lifespan=lifespan,
        redoc_url=None,
        static_url=DOCS_FILES,
        swagger_ui_parameters={"defaultModelsExpandDepth": 0},
        responses=m.PROBLEMS,
    )
    app.state.shelf, app.state.metrics = shelf, Metrics(shelf)
    app.add_middleware(
        Guard,
        metrics=app.state.metrics,
        max_body=limits.max_body,
        max_seconds=limits.max_seconds,
        key=key,
    )
    _add_errors(app)
    _add_routes(app, shelf, limits)
    _add_changes(app, shelf, limits)
    return app


def _add_routes(app: FastAPI, shelf: Shelf, limits: Limits) -> None:
    by_key: dict[str, Any] = {
        "dependencies": [Security(APIKeyHeader(name="X-API-Key", auto_error=False))]
    }

    batches = Batches(shelf, limits)

    @app.get("/health", summary="What is served", tags=["service"], response_model=m.Health)
    async def health() -> JSONResponse:
        """Whether the server is there, and what it serves."""
        served = shelf.current
        about = m.Health(
            model=type(served.ranker).__name__,
            version=served.version,
            users=served.ranker.num_users,
            items=served.ranker.num_items,
            takes_histories=served.ranker.takes_history,
            takes_new_items=served.takes_new_items,
        )
        return JSONResponse(about.model_dump())

    @app.get(
        "/metrics",
        summary="Counts and times, for Prometheus",
        tags=["service"],
        response_class=Response,
        **by_key,
    )
    async def metrics() -> Response:
        """Counts and times in Prometheus's text format."""
        return Response(generate_latest(app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post(
        "/recommend",
        summary="Lists for users, or for people by what they have",
        tags=["lists"],
        response_model=m.RecommendAnswer,
        **by_key,
    )
    async def recommend(
        request: Annotated[m.RecommendRequest, Body(openapi_examples=m.RECOMMEND_EXAMPLES)],
    ) -> JSONResponse:
        """Lists for users of the data set, and for people by what they have."""
        return JSONResponse(await batches.answer(request))

    @app.post(
        "/similar",
        summary="What is like items, or like users",
        tags=["lists"],
        response_model=m.SimilarAnswer,
        **by_key,
    )
    def similar(request: m.SimilarRequest) -> JSONResponse:
        """What is like items, or like users, as the model sees them."""
        return JSONResponse(answers.similar(shelf.current, request, limits))

    @app.post(
        "/explain",
        summary="Why an item has its score",
        tags=["lists"],
        response_model=m.ExplainAnswer,
        **by_key,
    )
    def explain(request: m.ExplainRequest) -> JSONResponse:
        """Why an item has its score; says whether the reasons add up to it."""
        return JSONResponse(answers.explain(shelf.current, request, limits))


def _add_changes(app: FastAPI, shelf: Shelf, limits: Limits) -> None:
    options: dict[str, Any] = {
        "tags": ["changes"],
        "dependencies": [Security(APIKeyHeader(name="X-API-Key", auto_error=False))],
    }
    # Changes wait for each other, not for the threads that rank, and hold none of these.
    own = anyio.CapacityLimiter(1)

    @app.post(
        "/items", summary="Add items by their texts", response_model=m.AddItemsAnswer, **options
    )
    async def add_items(request: m.AddItemsRequest) -> JSONResponse:
        """Adds items by their texts, until the server ends; nothing is trained. Those that are
        there already are changed by PATCH.
        """
        work = partial(answers.add_items, shelf, request, limits)
        return JSONResponse(await anyio.to_thread.run_sync(work, limiter=own))

    @app.patch(
        "/items",
        summary="Change columns of items, such as price or stock",
        response_model=m.ChangeItemsAnswer,
        **options,
    )
    async def change_items(request: m.ChangeItemsRequest) -> JSONResponse:
        """Gives columns of the items' table other values, until the next reload; of added items
        until the server ends, and their texts too. What a trained item's text says is known to the
        model from training: to change it changes what is shown.
        """
        work = partial(answers.change_items, shelf, request, limits)
        return JSONResponse(await anyio.to_thread.run_sync(work, limiter=own))

    @app.post(
        "/reload",
        summary="Put the folder's model in the place of this one",
        response_model=m.ReloadAnswer,
        **options,
    )
    async def reload() -> JSONResponse:
        """Loads the folder again; requests before that are answered by the old model. Items that
        were added stay unless the new model knows them; of those that it knows, the folder's table
        holds.
        """
        served, again = await anyio.to_thread.run_sync(shelf.reload, limiter=own)
        answer = {
            "model": type(served.ranker).__name__,
            "added": again,
            "items": served.ranker.num_items,
            "version": served.version,
        }
        return JSONResponse(answer)


def _add_errors(app: FastAPI) -> None:
    for kind, status in STATUS.items():
        app.add_exception_handler(kind, _known(status))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        inside = [{**one, "loc": one["loc"][1:]} for one in error.errors()]  # without "body"
        return problem(422, faults(inside))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code in (404, 405):
            what = f"{request.method} {request.url.path}"[:LONGEST]
            return problem(error.status_code, f"There is no {what}; /docs says what there is.")
        if error.status_code == 400:  # FastAPI's word for any body that it cannot read
            return problem(
                400, "The body is no JSON in UTF-8 of a usual depth and with usual numbers."
            )
        return problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return problem(500, MISTAKE)


def _known(status: int) -> Callable[[Request, Exception], Any]:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        return problem(status, words(error))

    return handle

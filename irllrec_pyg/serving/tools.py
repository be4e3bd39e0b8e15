"""The same answers as tools of the Model Context Protocol, for assistants."""

import json
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import anyio.to_thread
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations
from pydantic import BaseModel, ValidationError

from .. import __version__
from . import answers
from . import messages as m
from .errors import MISTAKE, STATUS, faults, words
from .limits import Limits
from .served import Shelf


class Ability(NamedTuple):
    """One tool: what it takes, what it gives, and how."""

    said: str
    request: type[BaseModel]
    answer: type[BaseModel]
    ask: Callable[[Shelf, Any, Limits], dict[str, Any]]
    changes: bool = False


ABILITIES = {
    "recommend": Ability(
        "Lists items for users of the data set, or for people by what they have.",
        m.RecommendRequest,
        m.RecommendAnswer,
        lambda shelf, *asked: answers.recommend(shelf.current, *asked),
    ),
    "similar": Ability(
        "Finds what is like items, or like users, as the model sees them.",
        m.SimilarRequest,
        m.SimilarAnswer,
        lambda shelf, *asked: answers.similar(shelf.current, *asked),
    ),
    "explain": Ability(
        "Says why an item has its score, and whether the reasons add up to it.",
        m.ExplainRequest,
        m.ExplainAnswer,
        lambda shelf, *asked: answers.explain(shelf.current, *asked),
    ),
    "add_items": Ability(
        "Adds new items by their texts until the server ends; nothing is trained.",
        m.AddItemsRequest,
        m.AddItemsAnswer,
        answers.add_items,
        changes=True,
    ),
    "change_items": Ability(
        "Gives columns of items other values, such as price or stock, until the model is loaded "
        "again; what it learned stays.",
        m.ChangeItemsRequest,
        m.ChangeItemsAnswer,
        answers.change_items,
        changes=True,
    ),
}


def create_tools(shelf: Shelf, limits: Limits) -> "Server[Any]":
    """A server of the Model Context Protocol, for any of its transports, or for the in-process
    ``mcp.Client`` of its library.

    Args:
        shelf (Shelf): The model.
        limits (Limits): What one call may ask for.

    Example:
        >>> create_tools(Shelf(EASE(data)), Limits()).name
        'irllrec'
    """
    threads = anyio.CapacityLimiter(limits.threads or os.cpu_count() or 1)

    async def list_tools(context: Any, asked: Any) -> ListToolsResult:
        served = shelf.current
        able = {
            "add_items": served.takes_new_items,
            "change_items": served.ranker.item_table is not None,
        }
        hidden = [name for name, there in able.items() if not there]
        return ListToolsResult(
            tools=[
                Tool(
                    name=name,
                    description=one.said,
                    input_schema=one.request.model_json_schema(),
                    output_schema=one.answer.model_json_schema(mode="serialization"),
                    annotations=ToolAnnotations(
                        read_only_hint=not one.changes, open_world_hint=False
                    ),
                )
                for name, one in ABILITIES.items()
                if name not in hidden
            ]
        )

    async def call_tool(context: Any, asked: Any) -> CallToolResult:
        try:
            if asked.name not in ABILITIES:
                raise KeyError(f"Unknown tool {asked.name!r}; there are {', '.join(ABILITIES)}.")
            ability = ABILITIES[asked.name]
            request = ability.request.model_validate(asked.arguments or {})
            work = partial(ability.ask, shelf, request, limits)
            found = await anyio.to_thread.run_sync(work, limiter=threads)
        except ValidationError as error:
            return _failed(faults(error.errors(include_url=False)))
        except tuple(STATUS) as error:
            return _failed(words(error))
        except Exception:
            logging.getLogger(__name__).exception("The tool %r failed.", asked.name)
            return _failed(MISTAKE)
        text = json.dumps(found, ensure_ascii=False)
        return CallToolResult(
            content=[TextContent(type="text", text=text)], structured_content=found
        )

    return Server("irllrec", version=__version__, on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_stdio(shelf: Shelf, limits: Limits) -> None:
    """Answers an assistant that started this process, until it closes the input."""
    server = create_tools(shelf, limits)
    async with stdio_server() as (asked, answered):
        await server.run(asked, answered, server.create_initialization_options())


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)

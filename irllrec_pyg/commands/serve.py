"""Answer requests over HTTP: lists, what is similar, why, new items; or an assistant's by MCP.

    irllrec serve runs/shop
    irllrec serve runs/shop --host 0.0.0.0 --port 80 --with-data
    irllrec serve runs/shop --mcp         what an assistant starts; the same as tools
    curl localhost:8000/recommend --json '{"users": ["ann", "007"], "k": 3}'

http://localhost:8000/docs lists every request with examples. Where the environment has
IRLLREC_API_KEY, requests need it in the header X-API-Key. POST /reload puts the model that then
lies in the folder in the place of the old one; no request is lost. On the open net, put a proxy
such as nginx or Caddy before it, which takes slow clients and encryption upon itself.

One process serves: requests are ranked in threads, at once on all cores, and items that were added
or a model that was changed hold for all of them. For more machines, start one on each behind a
proxy, and send /reload and /items to every one.
"""

import argparse
import asyncio
import gc
import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..config import ConfigError
from .arguments import add_data_of_run, add_run, positive

if TYPE_CHECKING:
    from ..ranking import Ranker

KEEP_ALIVE = 5  # seconds that a connection is kept for another request
STALLED = 60  # seconds after which a client that takes nothing of its answer is let go
STOPPED = "requests that were begun are answered"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0: for other machines too (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="0: any that is free (default: %(default)s)"
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="answer an assistant by the Model Context Protocol over standard input and output, in "
        "the place of HTTP (extra 'mcp')",
    )
    parser.add_argument(
        "--index",
        action="store_true",
        help="find items by an approximate index, for catalogues of a million; models whose scores "
        "are dot products",
    )
    add_data_of_run(parser, "for POST /items and reasons by words, which need its encoder of texts")
    for name, default, said in (
        ("batch", 256, "people, items or new items in a request"),
        ("k", 1000, "length of a list"),
        ("history", 10_000, "items of a history, or of a list of items"),
        ("body", 1 << 20, "bytes of a request"),
        ("seconds", 30, "seconds until the body of a request has arrived"),
        ("connections", 1000, "connections at once; more are answered 503"),
    ):
        parser.add_argument(
            f"--max-{name}", type=positive, default=default, help=f"{said} (default: %(default)s)"
        )
    parser.add_argument(
        "--concurrency",
        type=positive,
        help="requests that are ranked at once; others wait (default: cores of the CPU)",
    )
    parser.add_argument(
        "--threads", type=positive, default=1, help="of each of these (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    from .common import limit_threads, load

    limit_threads(args)
    limits = {
        f"max_{name}": getattr(args, f"max_{name}")
        for name in ("batch", "k", "history", "body", "seconds")
    }
    source = partial(load, args.run_folder, args)
    serve = _serve_tools if args.mcp else _serve_http
    serve(args, source, {**limits, "threads": args.concurrency})
    return 0


def _serve_http(
    args: argparse.Namespace, source: "Callable[[], Ranker]", limits: dict[str, Any]
) -> None:
    from ..serving import KEY, create_app

    with listening(args.host, args.port) as server:
        app = create_app(source, limits, args.index)
        host, port = server.getsockname()[:2]
        print(
            f"http://{f'[{host}]' if ':' in host else host}:{port}/docs",
            file=sys.stderr,
            flush=True,
        )
        if KEY not in os.environ and not ipaddress.ip_address(host).is_loopback:
            print(
                f"warning: without {KEY} anybody on the network may ask and change.",
                file=sys.stderr,
            )
        answer(app, server, args.max_connections)


def answer(app: Any, server: socket.socket, connections: int | None = None) -> None:
    """Runs an application until the process is stopped.

    Args:
        app (FastAPI): The application.
        server (socket): Where it listens.
        connections (int, optional): Open ones at once; more are answered 503.
            (default: any number)
    """
    import uvicorn

    # What is there now stays. To look through it for garbage would stop all requests for as much as
    # a second, every few hundred of them.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
        # Uvicorn counts the connection that asks too, and refuses it when the number is reached.
        limit_concurrency=None if connections is None else connections + 1,
    )
    uvicorn.Server(config).run(sockets=[server])


def _serve_tools(
    args: argparse.Namespace, source: "Callable[[], Ranker]", limits: dict[str, Any]
) -> None:
    try:
        from ..serving.tools import serve_stdio
    except ImportError as error:
        raise ImportError(
            f"irllrec serve --mcp needs: pip install 'irllrec_pyg[mcp]' ({error})."
        ) from None
    from ..serving import Limits, Shelf

    asyncio.run(serve_stdio(Shelf(source, args.index), Limits.read(limits)))


def listening(host: str, port: int) -> socket.socket:
    """A socket; it is taken before the model is loaded, which may last."""
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"--port must be from 0 to 65535, got {port}.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio turns Nagle's algorithm off for sockets that say that they are of TCP; with it,
        # the two parts of an answer are 40 ms apart.
        server = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise _cannot(host, port, error) from None
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # which connections inherit
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED * 1000)
        server.bind((host, port))
        server.listen(2048)
    except OSError as error:
        server.close()
        raise _cannot(host, port, error) from None
    return server


def _cannot(host: str, port: int, error: OSError) -> ConfigError:
    said = error.strerror or error
    return ConfigError(f"Cannot listen at {host}, port {port}: {said}; choose others.")

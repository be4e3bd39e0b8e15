"""Answer requests over HTTP: lists, what is similar, why, new items.

    irllrec serve runs/shop
    irllrec serve runs/shop --host 0.0.0.0 --port 80 --with-data
    curl localhost:8000/recommend --json '{"users": ["ann", "007"], "k": 3}'

http://localhost:8000/docs lists every request with examples. Where the environment has
IRLLREC_API_KEY, requests need it in the header X-API-Key. POST /reload puts the model that then
lies in the folder in the place of the old one; no request is lost. One process serves; start
several on other ports where one does not suffice.
"""

import argparse
import socket
import sys
from functools import partial

from ..config import ConfigError
from .common import add_data_of_run, add_run, limit_threads, load, positive

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
    try:
        import uvicorn
    except ImportError:
        raise ImportError("irllrec serve needs: pip install 'irllrec_pyg[serve]'.") from None
    from ..serving import create_app

    limit_threads(args)
    limits = {
        f"max_{name}": getattr(args, f"max_{name}") for name in ("batch", "k", "history", "body")
    }
    with listening(args.host, args.port) as server:
        app = create_app(
            partial(load, args.run_folder, args),
            {**limits, "threads": args.concurrency},
            args.index,
        )
        host, port = server.getsockname()[:2]
        print(
            f"http://{f'[{host}]' if ':' in host else host}:{port}/docs",
            file=sys.stderr,
            flush=True,
        )
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[server])
    return 0


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
        server.bind((host, port))
        server.listen(2048)
    except OSError as error:
        server.close()
        raise _cannot(host, port, error) from None
    return server


def _cannot(host: str, port: int, error: OSError) -> ConfigError:
    said = error.strerror or error
    return ConfigError(f"Cannot listen at {host}, port {port}: {said}; choose others.")

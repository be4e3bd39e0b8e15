#!/usr/bin/env python3
"""A server under load: how long an answer takes, and how many there are in a second.

One process, or several behind one socket, serves a model of random embeddings, 64 wide; 10,000
users have 50 items each. Clients in a process of their own ask for 20 items for a user drawn at
random, each again as soon as it has its answer, over connections that stay open. All share the
machine, the clients' time is in the figures.

    python benchmarks/serve_load.py                          # 10,000 and 1,000,000 items
    python benchmarks/serve_load.py --items 10000 --seconds 3 --out load
    python benchmarks/serve_load.py --items 10000 --processes 2 --out load-2
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import socket
import time
from pathlib import Path

import pandas as pd
import torch

from irllrec_pyg.commands.serve import answer, listening
from irllrec_pyg.files import atomic_path, write_text

USERS, WIDTH, SEEN, K = 10_000, 64, 50, 20


def serve(
    server: socket.socket,
    ready: "multiprocessing.Queue[float]",
    args: argparse.Namespace,
    items: int,
    index: bool,
) -> None:
    """The server's process."""
    from irllrec_pyg.checkpoint import EmbeddingRecommender
    from irllrec_pyg.ranking import IndexedRanker
    from irllrec_pyg.serving import create_app

    torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(0)
    centres = torch.randn(256, WIDTH, generator=draws)

    def around(count: int) -> torch.Tensor:
        chosen = torch.randint(256, (count,), generator=draws)
        return centres[chosen] + 0.7 * torch.randn(count, WIDTH, generator=draws)

    user = torch.arange(USERS).repeat_interleave(SEEN)
    item = torch.randint(items, (USERS * SEEN,), generator=draws)
    model = EmbeddingRecommender(around(USERS), around(items), torch.stack([user, item]))
    began = time.perf_counter()
    ranker = IndexedRanker(model, cells=args.cells, sample=args.sample) if index else model
    seconds = time.perf_counter() - began
    app = create_app(ranker, {"threads": args.concurrency})
    ready.put(seconds)
    answer(app, server)


async def client(port: int, until: float, seed: int, seconds: list[float]) -> None:
    """One client: asks, waits for the answer, asks again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    draws = random.Random(seed)
    while time.perf_counter() < until:
        body = json.dumps({"users": [draws.randrange(USERS)], "k": K}).encode()
        head = (
            "POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        writer.write(head.encode() + body)
        head_of = await reader.readuntil(b"\r\n\r\n")
        length = head_of.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        content = await reader.readexactly(int(length))
        seconds.append(time.perf_counter() - began)
        if not head_of.startswith(b"HTTP/1.1 200"):
            raise SystemExit(content.decode())
    writer.close()


async def load(port: int, clients: int, length: float) -> tuple[list[float], float]:
    """Seconds of each answer, and how long it all lasted."""
    seconds: list[float] = []
    began = time.perf_counter()
    tasks = [client(port, began + length, seed, seconds) for seed in range(clients)]
    await asyncio.gather(*tasks)
    return seconds, time.perf_counter() - began


def measure(args: argparse.Namespace, items: int, index: bool) -> list[dict[str, object]]:
    """Rows of the table for one server."""
    context = multiprocessing.get_context("spawn")
    ready: multiprocessing.Queue[float] = context.Queue()
    rows: list[dict[str, object]] = []
    with listening("127.0.0.1", 0) as server:
        port = server.getsockname()[1]
        own = (server, ready, args, items, index)
        processes = [context.Process(target=serve, args=own) for _ in range(args.processes)]
        for process in processes:
            process.start()
        try:
            built = max(ready.get(timeout=1800) for _ in processes)
            asyncio.run(load(port, 1, 1.0))  # what is computed once
            for clients in args.clients:
                seconds, lasted = asyncio.run(load(port, clients, args.seconds))
                times = pd.Series(seconds) * 1000
                row = {
                    "items": items,
                    "processes": args.processes,
                    "lists": f"index, built in {built:.0f} s" if index else "exact",
                    "clients": clients,
                    **{f"p{p}_ms": round(float(times.quantile(p / 100)), 2) for p in (50, 95, 99)},
                    "a_second": round(len(seconds) / lasted, 1),
                    "answers": len(seconds),
                }
                rows.append(row)
                print(json.dumps(row), flush=True)
        finally:
            for process in processes:
                process.terminate()
                process.join()
    return rows


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 1_000_000], help="sizes")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64], help="at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each cell of the table")
    parser.add_argument("--lists", nargs="+", default=["exact", "index"], help="exact, index")
    parser.add_argument("--processes", type=int, default=1, help="that serve")
    parser.add_argument("--concurrency", type=int, help="requests ranked at once (default: cores)")
    parser.add_argument("--cells", type=int, help="of the index (default: four square roots)")
    parser.add_argument("--sample", type=int, default=64, help="items that a cell is learned from")
    parser.add_argument("--out", default="benchmarks/results/serve", help="folder of the figures")
    args = parser.parse_args()
    rows = []
    for items, lists in itertools.product(args.items, args.lists):
        rows += measure(args, items, lists == "index")
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "load.csv") as path:
        pd.DataFrame(rows).to_csv(path, index=False)
    busy = f"{os.getloadavg()[0]:.0f} processes ran on its {os.cpu_count()} cores at the end"
    write_text(out / "machine.txt", f"PyTorch {torch.__version__}, one thread; {busy}.\n")


if __name__ == "__main__":
    main()

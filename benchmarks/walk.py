#!/usr/bin/env python3
"""Goes from a folder of CSVs to lists, reasons, a server and a report by commands alone.

    python benchmarks/walk.py
        a small shop that is made up here: every command with what it printed
    python benchmarks/walk.py --steam ../shared/text_data/steam
        the same commands on the papers' Steam games: wall time and peak memory of each

Each writes its part of docs/walk.md and leaves the other as it is. The tables are linked or written
into a folder that is deleted afterwards. Memory is measured as Linux tells it.
"""

import argparse
import os
import platform
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from irllrec_pyg.files import write_text

sys.path.insert(0, str(Path(__file__).parent))
from walk_shop import write_shop

PAGE = Path(__file__).parents[1] / "docs" / "walk.md"
PORT = "8000"  # as it is printed; a free one is taken
HEAD = """# From CSVs to lists, by commands alone

This page is written by `python benchmarks/walk.py`, which runs every command as it stands here.

<!-- shop -->
<!-- end of shop -->

<!-- steam -->
<!-- end of steam -->
"""


class Case(NamedTuple):
    """Tables, and what is asked about them."""

    raw: str
    user: str
    item: str
    history: str
    rules: str
    arrivals: str


class Step(NamedTuple):
    """A command, and what is said before it."""

    said: str
    command: str


class Ran(NamedTuple):
    """What became of a command."""

    command: str
    printed: str
    status: int
    seconds: float
    megabytes: float


SHOP = Case(
    "raw",
    "0001",
    "é12",
    "é0,004",
    '--where "price < 30 and in_stock == True" --max-per author=1',
    "item,title\n100,space rocket to a planet\n101,pasta with sauce\n",
)
STEAM = Case(
    "raw",
    "17",
    "773",
    "107,50",
    "--where \"sentiment == 'Very Positive'\" --max-per developer=1",
    "item,text\nnew-1,A puzzle adventure. Genres: Indie. Tags: Puzzle and Story Rich.\n"
    "new-2,A shooter in space. Genres: Action. Tags: FPS and Sci-fi.\n",
)


def steps(case: Case) -> list[Step]:
    """The commands in their order; one that ends in ``&`` runs until the last that asks it."""
    raw, user, item, history, rules, _ = case
    one = f'{{"users": ["{user}"], "k": 2}}'
    like = f'{{"items": ["{item}"], "k": 2}}'
    return [
        Step("What is wrong with the tables, by file and line:", f"irllrec data check {raw}"),
        Step(
            "A copy without what must be mended; ids stay as they are:",
            f"irllrec data convert {raw} shop --to tables",
        ),
        Step("", "irllrec data stats shop"),
        Step(
            "Train the model to begin with, its settings tuned on validation, and a baseline:",
            "irllrec train --data shop --out runs/shop --quiet",
        ),
        Step("", "irllrec train --data shop --model ease --out runs/ease --quiet"),
        Step(
            "On held-out interactions, beside closed forms that are tuned too:",
            "irllrec evaluate runs/shop --baselines popularity item-knn --k 20",
        ),
        Step(
            "Lists: for a user, for everybody, for a person whom nobody knows by rules of the "
            "shop, and with items that have just arrived:",
            f"irllrec recommend runs/shop --user {user} --k 3",
        ),
        Step("", "irllrec recommend runs/shop --all --k 10 --out lists.csv && head -3 lists.csv"),
        Step("", f"irllrec recommend runs/shop --history {history} --k 3 {rules}"),
        Step("", "cat arrivals.csv"),
        Step("", f"irllrec recommend runs/shop --user {user} --k 5 --new arrivals.csv --with-data"),
        Step("What is like an item:", f"irllrec similar runs/shop --item {item} --k 3"),
        Step(
            "Why an item is recommended:",
            f"irllrec explain runs/shop --history {history} --item {item} --k 2",
        ),
        Step(
            "Hand it on, as tables, and in the layout of huggingface_hub:",
            "irllrec export runs/shop --to parquet --out shop-tables",
        ),
        Step("", "irllrec export runs/shop --to hub --out shop-hub"),
        Step("Serve it:", f"irllrec serve runs/shop --port {PORT} &"),
        Step("", f"curl -s localhost:{PORT}/health"),
        Step("", f"curl -s localhost:{PORT}/recommend --json {shlex.quote(one)}"),
        Step("", f"curl -s localhost:{PORT}/similar --json {shlex.quote(like)}"),
        Step(
            "Runs side by side, as a page, or as a table in Markdown:",
            "irllrec report runs/shop runs/ease --out report.html",
        ),
        Step("", "irllrec report runs/shop runs/ease --format md --metrics recall@20 ndcg@20"),
    ]


def walk(case: Case, folder: Path) -> list[tuple[Step, Ran]]:
    """Runs every command in a folder that holds the tables.

    Raises:
        RuntimeError: If one fails other than the first, which finds faults; it is named.
    """
    (folder / "arrivals.csv").write_text(case.arrivals, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    found: list[tuple[Step, Ran]] = []
    with ExitStack() as serving:
        for step in steps(case):
            print(step.command, file=sys.stderr, flush=True)
            command = step.command.replace(PORT, port)
            if command.endswith("&"):
                ran = serving.enter_context(served(command[:-1], folder, port))
            else:
                if not command.startswith("curl"):
                    serving.close()
                ran = run(command, folder)
            if ran.status and step.command != f"irllrec data check {case.raw}":
                raise RuntimeError(f"{step.command} ended with {ran.status}: {ran.printed}")
            found.append((step, ran._replace(printed=ran.printed.replace(port, PORT))))
    return found


@contextmanager
def served(command: str, folder: Path, port: str) -> Iterator[Ran]:
    """A server, once it answers; Ctrl-C ends it."""
    begin = time.perf_counter()
    server = start(command, folder)
    assert server.stdout is not None
    try:
        said = server.stdout.readline()  # its address, where requests wait for the model
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
        seconds = time.perf_counter() - begin
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1e3
        yield Ran(command, said.decode().strip(), 0, seconds, peak)
    finally:
        os.killpg(server.pid, signal.SIGINT)
        if finish(command, server, begin).status != 130:
            raise RuntimeError(f"{command} ended with {server.returncode}.")


def run(command: str, folder: Path) -> Ran:
    """Runs a command of the shell."""
    begin = time.perf_counter()
    return finish(command, start(command, folder), begin)


def start(command: str, folder: Path) -> subprocess.Popen[bytes]:
    """Starts a command of the shell in which this package's is called ``irllrec``."""
    own = folder / ".bin" / "irllrec"
    if not own.exists():
        own.parent.mkdir()
        own.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m irllrec_pyg "$@"\n')
        own.chmod(0o755)
    return subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": f"{own.parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # A script that runs in the background of a shell has Ctrl-C ignored, and so have its own.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(command: str, process: subprocess.Popen[bytes], begin: float) -> Ran:
    """Waits for a command, and says what it printed but bars, and what it took."""
    assert process.stdout is not None
    printed = process.stdout.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = [line for line in printed.split("\n") if "\r" not in line]
    return Ran(
        command,
        "\n".join(lines).strip("\n"),
        process.returncode,
        time.perf_counter() - begin,
        used.ru_maxrss / 1e3,  # kilobytes on Linux
    )


def shop_section(found: list[tuple[Step, Ran]]) -> str:
    """What was typed and what was printed."""
    text = (
        "A folder `raw` holds `interactions.csv`, with the columns `user`, `item` and `time`, and "
        "`items.csv`, with titles, authors, prices and what is in stock. Ids begin with zeros or "
        "are no ASCII; some rows stand twice, some have no id. Progress bars are left out below.\n"
    )
    for step, ran in found:
        text += f"\n{step.said}\n" if step.said else ""
        text += f"\n```console\n$ {step.command}\n{ran.printed}".rstrip() + "\n```\n"
    return text


def steam_section(found: list[tuple[Step, Ran]], load: tuple[float, float]) -> str:
    """What each command took."""
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    text = (
        "## On 5,237 games\n\nThe same commands on the players, games and texts of Steam "
        f"({os.cpu_count()} cores, `OMP_NUM_THREADS={threads}`, Python "
        f"{platform.python_version()}; the machine was shared: load average {load[0]:.1f} at the "
        f"start, {load[1]:.1f} at the end), written by `python benchmarks/walk.py --steam FOLDER`. "
        "Twenty settings are tried for each part of the model, as by default. Seconds are of the "
        "clock, with those of the imports; of the server, until it answers.\n\n"
        "| command | seconds | peak memory |\n|---|--:|--:|\n"
    )
    for step, ran in found:
        if step.command.startswith("irllrec"):
            command = step.command.split(" && ")[0].replace("|", "\\|")
            text += f"| `{command}` | {ran.seconds:.1f} | {ran.megabytes / 1e3:.2f} GB |\n"
    metrics = next(ran.printed for step, ran in found if " evaluate " in step.command)
    return f"{text}\nWhat `irllrec evaluate` printed:\n\n```\n{metrics}\n```\n"


def put(page: Path, name: str, section: str) -> None:
    """Writes a section of the page, and leaves the others."""
    text = page.read_text(encoding="utf-8") if page.exists() else HEAD
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, rest = text.split(first)
    write_text(page, before + first + section + last + rest.split(last)[1])


def main(arguments: list[str] | None = None) -> int:
    """Walks, and writes what was seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steam", type=Path, metavar="FOLDER", help="with the tables of the games")
    parser.add_argument("--out", type=Path, default=PAGE, help="default: docs/walk.md")
    args = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name, "raw")
        if args.steam is None:
            write_shop(raw)
        else:
            raw.mkdir()
            for table in args.steam.resolve(strict=True).glob("*.csv.gz"):
                (raw / table.name).symlink_to(table)
        found = walk(SHOP if args.steam is None else STEAM, Path(name))
        if own := [ran.command for _, ran in found if name in ran.printed]:
            raise RuntimeError(f"{own[0]} prints where this machine keeps its files.")
    if args.steam is None:
        put(args.out, "shop", shop_section(found))
    else:
        put(args.out, "steam", steam_section(found, (load, os.getloadavg()[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main())

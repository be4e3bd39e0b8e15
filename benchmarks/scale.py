"""How time and memory grow with interactions and nodes."""

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from processes import Worker, once
from report import pyplot
from speed_report import as_json, machine_line, markdown

from irllrec_pyg.files import write_text


def scale(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Grows a synthetic graph, and the number of nodes that a translation aligns."""
    shared = {"device": args.device, "threads": args.threads, "clock": args.clock}
    training, translation = [], []
    for exponent in (4, 4.5, 5, 5.5, 6, 6.5, 7):
        interactions = round(10**exponent)
        worker = Worker(
            {
                **shared,
                "interactions": interactions,
                "plain": False,
                "options": {},
                "model": "lightgcn",
                "batch_size": args.batch_size,
                "precision": "32-true",
            }
        )
        sampling = worker("sample")
        steps = [worker("step", False) for _ in range(3 if exponent > 6 else 11)][1:]
        row = {
            "interactions": interactions,
            "sampling": sampling / worker.sizes["steps"],
            "step": statistics.median(sum(step.values()) for step in steps),
            **worker("peak"),
        }
        worker.close()
        training.append(row)
        print(
            f"{interactions:>10,} interactions: {row['step'] * 1e3:9.1f} ms a step, "
            f"{row['peak'] / 1e6:7.0f} MB",
            flush=True,
        )
    for exponent, part in ((4, 1), (4.5, 1), (5, 1), (5, 20), (5.5, 100), (6, 1000)):
        nodes = round(10**exponent)
        row = {"nodes": nodes, "part": part, **once({**shared, "nodes": nodes, "part": part})}
        translation.append(row)
        print(
            f"{nodes:>10,} nodes: {row['peak'] / 1e6:7.0f} MB, {row['extrapolated']:9.1f} s"
            + (f" extrapolated from 1/{part} of the rows" if part > 1 else ""),
            flush=True,
        )
    return {"training": training, "translation": translation}


def write_scale(folder: Path, device: str, found: dict[str, Any]) -> None:
    """The growth of time and memory, as table and picture."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"scale-{device}.json", as_json(found))
    training, translation = found["training"], found["translation"]
    own = [row["peak"] - row["imports"] for row in training]
    sizes = [row["interactions"] for row in training]
    slopes = {"time": slope(sizes, [row["step"] for row in training]), "memory": slope(sizes, own)}
    exact = list({row["nodes"]: row for row in translation}.values())
    nodes, held = [row["nodes"] for row in exact], [row["peak"] - row["imports"] for row in exact]
    drawn = growth(
        folder / f"scale-{device}.png",
        ("LightGCN: ms a step", "interactions", sizes, [row["step"] * 1e3 for row in training]),
        ("LightGCN: memory, MB", "interactions", sizes, [value / 1e6 for value in own]),
        ("exact translation: memory, MB", "nodes", nodes, [value / 1e6 for value in held]),
    )
    text = [
        "# Growth",
        "",
        "LightGCN, width 32, three layers, batches of 4096, synthetic graphs: "
        f"above 10^5 interactions time grows with their power {slopes['time']:.2f}, memory "
        f"beyond the imports with their power {slopes['memory']:.2f}.",
        "",
        *markdown(
            ["interactions", "ms/step", "sampling ms/step", "peak MB", "beyond imports MB"],
            [
                [
                    f"{row['interactions']:,}",
                    f"{row['step'] * 1e3:.1f}",
                    f"{row['sampling'] * 1e3:.2f}",
                    f"{row['peak'] / 1e6:.0f}",
                    f"{(row['peak'] - row['imports']) / 1e6:.0f}",
                ]
                for row in training
            ],
        ),
        "",
        "Exact translation alignment over all nodes, width 32, forward and backward: memory beyond "
        f"the imports grows with the power {slope(nodes, held):.2f} of the nodes above 10^5. Where "
        "a part is given, every so many blocks of rows were computed with everything else as in "
        "the whole: memory is measured, time is extrapolated.",
        "",
        *markdown(
            ["nodes", "part", "seconds", "seconds, extrapolated", "peak MB", "beyond imports MB"],
            [
                [
                    f"{row['nodes']:,}",
                    f"1/{row['part']}" if row["part"] > 1 else "whole",
                    f"{row['seconds']:.2f}",
                    f"{row['extrapolated']:.1f}",
                    f"{row['peak'] / 1e6:.0f}",
                    f"{(row['peak'] - row['imports']) / 1e6:.0f}",
                ]
                for row in translation
            ],
        ),
        "",
        *([f"![growth](scale-{device}.png)", ""] if drawn else []),
        "Machine: " + machine_line(found["machine"]),
        "",
        f"`{found['command']}`",
        "",
    ]
    (folder / f"scale-{device}.md").write_text("\n".join(text))
    print("\n".join(text))


def growth(path: Path, *curves: tuple[str, str, list[float], list[float]]) -> bool:
    """Draws curves, each a title, a label and two axes, beside lines of proportional growth; says
    whether matplotlib is there.
    """
    plt = pyplot()
    if plt is None:
        return False
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for axis, (title, label, x, y) in zip(axes, curves, strict=True):
        axis.loglog(x, y, "o-", label="measured")
        axis.loglog(x, np.array(x) * y[-1] / x[-1], ":", color="C7", label="proportional")
        axis.set(title=title, xlabel=label)
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def slope(x: list[float], y: list[float], above: float = 0.9e5) -> float:
    """Exponent of growth, fitted to the larger sizes."""
    large = np.array(x) > above
    return float(np.polyfit(np.log(np.array(x)[large]), np.log(np.array(y)[large]), 1)[0])

"""Tables and pictures of speed.py."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric
from limits import limit
from report import compact, pyplot

from irllrec_pyg.files import write_text

KEY = ("model", "dataset", "precision", "device", "threads")
CLOCKS = {
    "wall": "seconds of the wall",
    "cpu": "seconds of the process's own work (other programs ran on the machine)",
}


def machine(device: str, threads: int) -> dict[str, Any]:
    """What it ran on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.replace("\t", "").split(":", 1) for line in info.splitlines() if ":" in line)
    flags = fields.get("flags", "").split()
    features = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {
        "processor": fields.get("model name", platform.processor()).strip(),
        "features": features,
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(pages / 2**30),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
    }
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def machine_line(found: dict[str, Any]) -> str:
    """The same in a sentence."""
    gpu = f"{found['gpu']}, " if "gpu" in found else ""
    return (
        f"{gpu}{found['processor']} ({', '.join(found['features'])}), {found['cores']} cores "
        f"of which {found['threads']} used, {found['memory_gb']} GB; torch {found['torch']}, "
        f"PyG {found['torch_geometric']}, Python {found['python']}."
    )


def line(row: dict[str, Any]) -> str:
    """A result in a line, for the terminal."""
    ours, plain = row["ours"], row.get("plain")
    text = (
        f"{row['model']:<18} {row['precision']:<10} {ours['epoch']:8.2f} s an epoch, "
        f"evaluation {ours['evaluation']:6.3f} s, {ours['peak'] / 1e6:6.0f} MB, "
        f"{row['limit'] / ours['epoch']:5.1%} of the limit"
    )
    if plain:
        text += (
            f"; plain {plain['epoch']:.2f} s, {plain['evaluation']:.2f} s, "
            f"{plain['peak'] / 1e6:.0f} MB: {plain['epoch'] / ours['epoch']:.1f}x faster, "
            f"{plain['evaluation'] / ours['evaluation']:.1f}x, "
            f"{ours['peak'] / plain['peak']:.2f} of the memory"
        )
        if row["loss_gap"]:
            text += f"; losses within {max(row['loss_gap'].values()):.0e}"
    return text


def write_speed(
    folder: Path, device: str, run: dict[str, Any], rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Adds rows to the results of a device, draws the table anew, and returns them with limits."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"speed-{device}.json"
    stored = json.loads(path.read_text()) if path.exists() else []
    new = [{**row, **run} for row in rows]
    keys = {tuple(row[key] for key in KEY) for row in new}
    rows = [row for row in stored if tuple(row[key] for key in KEY) not in keys] + new
    rows.sort(key=lambda row: (row["dataset"], "_" in row["model"], row["model"], row["precision"]))
    write_text(path, as_json(rows))
    for row in rows:  # other programs only ever slow a machine down: its fastest moment is its rate
        alike = [other["rates"] for other in rows if other["machine"] == row["machine"]]
        row["rates"] = {key: max(rates[key] for rates in alike) for key in row["rates"]}
        row["limit"] = limit(row["work"], row["rates"], row["precision"]) * row["steps"]
    text = ["# Seconds an epoch, ours and plain", ""]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        part = [row for row in rows if row["dataset"] == dataset]
        text += [f"## {dataset}", "", *speed_table(part), ""]
        if bars(part, folder / f"speed-{device}-{dataset}.png"):
            text += [f"![seconds an epoch](speed-{device}-{dataset}.png)", ""]
    text += [
        "Times: "
        + "; ".join(CLOCKS[clock] for clock in dict.fromkeys(row["clock"] for row in rows))
        + ". Both implementations take turns; a figure is the "
        "median over its turns. Peak memory: of the whole process, and in brackets what it holds "
        "beyond Python with its imports. The limit is what the machine needs at least for the "
        "matrix products, exponentials and bytes of a step (see `benchmarks/limits.py`), at the "
        "best rates that these runs measured. Losses: largest relative gap of any loss between "
        "both implementations, on the same weights and batch without augmentation.",
        "",
        "Machine: " + machine_line(run["machine"]),
        "",
        "Rates, the best of all runs: "
        + ", ".join(f"{name} {value / 1e9:.3g} G/s" for name, value in rows[-1]["rates"].items())
        + ".",
        "",
        "Commands:",
        *(f"- `{c}`" for c in dict.fromkeys(row["command"] for row in rows)),
        "",
    ]
    (folder / f"speed-{device}.md").write_text("\n".join(text))
    return [row for row in rows if tuple(row[key] for key in KEY) in keys]


def speed_table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown, one row a model and precision."""
    head = [
        "model",
        "precision",
        "s/epoch",
        "plain",
        "×",
        "sampling",
        "forward",
        "backward",
        "optimiser",
        "eval s",
        "plain",
        "×",
        "peak MB (own)",
        "plain",
        "share",
        "triplets/s",
        "limit s/epoch",
        "of limit",
        "losses",
    ]
    lines = []
    for row in rows:
        ours, plain = row["ours"], row.get("plain")
        memory, factors = [f"{_megabytes(ours)}", "–", "–"], ["–"] * 4
        if plain:
            factors = [
                f"{plain['epoch']:.2f}",
                f"**{plain['epoch'] / ours['epoch']:.1f}**",
                f"{plain['evaluation']:.2f}",
                f"**{plain['evaluation'] / ours['evaluation']:.1f}**",
            ]
            memory = [_megabytes(ours), _megabytes(plain), f"{ours['peak'] / plain['peak']:.2f}"]
        gap = max(row.get("loss_gap", {}).values(), default=None)
        lines.append(
            [
                row["model"],
                row["precision"],
                f"{ours['epoch']:.2f}",
                *factors[:2],
                *(f"{ours[part]:.3f}" for part in ("sampling", "forward", "backward", "optimiser")),
                f"{ours['evaluation']:.3f}",
                *factors[2:],
                *memory,
                f"{ours['triplets']:,.0f}",
                f"{row['limit']:.2f}",
                f"{row['limit'] / ours['epoch']:.0%}",
                "–" if gap is None else f"{gap:.0e}",
            ]
        )
    return markdown(head, lines)


def _megabytes(found: dict[str, Any]) -> str:
    return f"{found['peak'] / 1e6:.0f} ({(found['peak'] - found['imports']) / 1e6:.0f})"


def bars(rows: list[dict[str, Any]], path: Path) -> bool:
    """Draws seconds an epoch of both implementations, and the limit, on a logarithmic axis; says
    whether matplotlib is there.
    """
    plt = pyplot()
    if plt is None:
        return False
    figure, axis = plt.subplots(figsize=(7.5, 0.45 * len(rows) + 1.2), layout="constrained")
    at = np.arange(len(rows))[::-1]
    ours = [row["ours"]["epoch"] for row in rows]
    plain = [row.get("plain", {}).get("epoch", np.nan) for row in rows]
    axis.barh(at + 0.2, plain, 0.38, color="C7", label="plain")
    axis.barh(at - 0.2, ours, 0.38, color="C0", label="ours")
    axis.scatter(
        [row["limit"] for row in rows],
        at - 0.2,
        marker="|",
        s=120,
        color="k",
        label="limit of the machine",
        zorder=3,
    )
    for y, fast, slow in zip(at, ours, plain, strict=True):
        if not np.isnan(slow):
            axis.text(slow * 1.08, y, f"{slow / fast:.1f}×", va="center", fontsize=8)
    names = [
        row["model"]
        + ("" if row["precision"] == "32-true" else f" {row['precision'].removesuffix('-mixed')}")
        for row in rows
    ]
    axis.set(xscale="log", xlabel="seconds an epoch", yticks=at, yticklabels=names)
    axis.set_title(rows[0]["dataset"], loc="left")
    axis.set_xlim(right=3 * max([*ours, *(value for value in plain if not np.isnan(value))]))
    axis.grid(axis="x", alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1.0), ncols=3)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table, its head first."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def as_json(value: Any) -> str:
    """What a result file holds: floats with five digits."""
    return json.dumps(compact(value, digits=5), indent=1) + "\n"

"""What Lightning and the loader add to a step."""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from speed_report import CLOCKS, as_json, machine_line, markdown
from torch_geometric.data import HeteroData

from irllrec_pyg import IRLLRecDataset, build_model, triplet_loader
from irllrec_pyg.files import write_text
from irllrec_pyg.nn import Backbone, Encoding, Recommender
from irllrec_pyg.nn.graph import InteractionGraph
from irllrec_pyg.training import fit
from irllrec_pyg.training.memory import keep_freed_memory


class Empty(Backbone):
    """Embeddings without a layer: a step takes next to no time of its own."""

    def __init__(self, data: HeteroData) -> None:
        super().__init__(data, 32)
        self.reset_parameters()

    def forward(
        self,
        graph: InteractionGraph | None = None,
        x: torch.Tensor | None = None,
        augment: bool = False,
    ) -> Encoding:
        """The embeddings."""
        x = self.embedding if x is None else x
        return Encoding(x, (x,))


class _Epochs(Callback):
    """Seconds from the start of each epoch to that of the next one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.ticks = clock, []

    def on_train_epoch_start(self, *args: Any) -> None:
        self.ticks.append(self.clock())

    def on_train_end(self, *args: Any) -> None:
        self.ticks.append(self.clock())

    def seconds(self) -> list[float]:
        """Without the first epoch, in which Lightning warms up."""
        return [end - start for start, end in pairwise(self.ticks)][1:-1]


def overhead(args: argparse.Namespace, turns: int = 5, epochs: int = 4) -> dict[str, Any]:
    """Runs epochs of fit() and of a bare loop in turns."""
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may have no texts; none are used
        data = IRLLRecDataset(args.root, args.dataset[0])[0]
    accelerator = "gpu" if args.device == "cuda" else "cpu"
    rows = []
    for name in ("empty", "lightgcn"):
        model = Recommender(Empty(data)) if name == "empty" else build_model(name, data)
        for batch_size in (4096, 1024):
            loader = triplet_loader(data, batch_size, device=args.device)
            found: dict[str, list[float]] = {"bare": [], "fit": [], "loader": []}
            for _ in range(turns):
                start = clock()
                batches = list(loader)
                found["loader"].append((clock() - start) / len(loader))
                model.to(args.device).train()
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
                with keep_freed_memory():
                    for _ in range(epochs):
                        start = clock()
                        for batch in batches:
                            optimizer.zero_grad()
                            model.losses_from_batch(batch)["total"].backward()
                            optimizer.step()
                        if args.device == "cuda":
                            torch.cuda.synchronize()
                        found["bare"].append((clock() - start) / len(loader))
                fit(
                    model,
                    data,
                    epochs=epochs,
                    batch_size=batch_size,
                    eval_every=0,
                    accelerator=accelerator,
                    progress=False,
                    callbacks=[timer := _Epochs(clock)],
                )
                found["fit"] += [seconds / len(loader) for seconds in timer.seconds()]
            rows.append(
                {
                    "model": name,
                    "batch_size": batch_size,
                    **{key: statistics.median(values) for key, values in found.items()},
                }
            )
            print(
                {
                    key: f"{value * 1e3:.2f} ms" if isinstance(value, float) else value
                    for key, value in rows[-1].items()
                },
                flush=True,
            )
    return {"overhead": rows, "clock": args.clock}


def write_overhead(folder: Path, device: str, found: dict[str, Any]) -> None:
    """What Lightning and the loader cost."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"overhead-{device}.json", as_json(found))
    rows = [
        [
            row["model"],
            str(row["batch_size"]),
            *(f"{row[key] * 1e3:.2f}" for key in ("bare", "fit", "loader")),
            f"**{(row['fit'] - row['bare']) * 1e3:.2f}**",
        ]
        for row in found["overhead"]
    ]
    text = [
        "# Lightning and the loader over a bare loop",
        "",
        "Milliseconds a step, medians over epochs that take turns. Bare: the same steps over "
        "batches that lie ready. The empty model has embeddings and no layers.",
        "",
        *markdown(["model", "batch", "bare", "fit()", "loader alone", "difference"], rows),
        "",
        f"Times: {CLOCKS[found['clock']]}.",
        "",
        "Machine: " + machine_line(found["machine"]),
        "",
        f"`{found['command']}`",
        "",
    ]
    (folder / f"overhead-{device}.md").write_text("\n".join(text))
    print("\n".join(text))

"""The measuring half of speed.py.

One process an implementation: its peak memory is its own. It reads one command a line from its
standard input and answers with a line of JSON.
"""

import contextlib
import json
import os
import statistics
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
warnings.filterwarnings("ignore")

KEPT = 32  # batches of an epoch that steps are measured with
BURST = 1.0  # seconds that a turn of steps takes, or one step


class Clock:
    """Seconds of a device that has finished its work: of the wall, or of this process's own cores.

    The second is the fairer one on a machine that others use too.
    """

    def __init__(self, kind: str, device: str) -> None:
        self.read = time.process_time if kind == "cpu" else time.perf_counter
        self.wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def __call__(self) -> float:
        self.wait()
        return self.read()


class Memory:
    """Peak memory in bytes: what the process holds, or what it holds on the GPU."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.imports = self.now()

    def now(self) -> int:
        """Resident at this moment."""
        if self.device == "cuda":
            return torch.cuda.memory_allocated()
        return _status("VmRSS")

    def peak(self) -> int:
        """Most since the last reset."""
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else _status("VmHWM")

    def reset(self) -> None:
        """Forgets the peak so far, where the system allows it."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"The system does not tell {key}.")


class Session:
    """A model in training, ours or the plain one."""

    def __init__(self, spec: dict[str, Any]) -> None:
        from plain import Plain, PlainLoader

        from irllrec_pyg import build_model, triplet_loader
        from irllrec_pyg.training.memory import keep_freed_memory

        torch.set_num_threads(spec["threads"])
        self.device, self.is_plain = spec["device"], spec["plain"]
        self.clock = Clock(spec["clock"], self.device)
        torch.zeros(1, device=self.device)
        self.memory = Memory(self.device)
        self.data = _data(spec).to(self.device)
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 - of what the plain code draws from
        self.model = build_model(spec["model"], self.data, **spec["options"]).to(self.device)
        self.model.train()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        # What 'fit' does besides: PyTorch's fused Adam, and freed memory that is used again.
        fused = None if self.is_plain else True
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=fused)
        self.kept = contextlib.nullcontext() if self.is_plain else keep_freed_memory()
        self.kept.__enter__()  # for the life of the process
        self.batch_size = spec["batch_size"]
        self.bf16 = spec["precision"] == "bf16-mixed"
        if self.is_plain:
            self.plain = Plain(self.model)
            self.loader = PlainLoader(self.data, self.batch_size)
        else:
            self.loader = triplet_loader(self.data, self.batch_size, device=self.device)
        # Models that do something extra every few steps are measured at both kinds of step.
        self.cycle = getattr(self.model.backbone, "redraw_every", 1)
        self.epoch: list[Any] = []
        self.at = 0
        self.memory.reset()

    def losses(self, batch: Any) -> torch.Tensor:
        """The loss to minimise."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            if self.is_plain:
                return self.plain.losses(*(ids.to(self.device) for ids in batch))["total"]
            return self.model.losses_from_batch(batch)["total"]

    def check(self) -> dict[str, float]:
        """Losses of one fixed batch without anything random, and a warm-up."""
        edge = self.data["user", "rates", "item"].edge_index[:, ::29][:, : self.batch_size]
        user, pos = edge
        masked = torch.arange(0, self.model.backbone.graph.num_nodes, 10, device=user.device)
        losses_of = self.plain.losses if self.is_plain else self.model.losses
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            losses = losses_of(
                user, pos, (pos + 1) % self.model.num_items, augment=False, masked_nodes=masked
            )
        losses["total"].backward()
        return {name: value.item() for name, value in losses.items()}

    def sample(self) -> float:
        """Seconds to draw and deliver one epoch's batches."""
        start = self.clock()
        self.epoch = []
        for batch in self.loader:
            if len(self.epoch) < KEPT:
                self.epoch.append(batch)
        return self.clock() - start

    def step(self, first: bool) -> dict[str, float]:
        """Seconds of the parts of a step, the first of an epoch or a later one.

        In training one step follows the other. Quick ones are repeated, and the one that finds the
        caches as the other implementation left them does not count.
        """
        steps = [self._step(first)]
        while sum(map(sum, (step.values() for step in steps))) < BURST:
            steps.append(self._step(first))
        steps = steps[1:] or steps
        return {part: statistics.median(step[part] for step in steps) for part in steps[0]}

    def _step(self, first: bool) -> dict[str, float]:
        if first:
            (self.plain if self.is_plain else self.model).begin_epoch()
        batch = self.epoch[self.at % len(self.epoch)]
        self.at += 1
        ticks = [self.clock()]
        self.optimizer.zero_grad()
        loss = self.losses(batch)
        ticks.append(self.clock())
        loss.backward()
        ticks.append(self.clock())
        self.optimizer.step()
        ticks.append(self.clock())
        forward, backward, optimiser = (b - a for a, b in pairwise(ticks))
        return {"forward": forward, "backward": backward, "optimiser": optimiser}

    def evaluate(self) -> dict[str, float]:
        """Seconds of one evaluation on the test items."""
        from plain import evaluate as evaluate_plainly

        from irllrec_pyg.ranking import evaluate

        start = self.clock()
        if self.is_plain:
            evaluate_plainly(self.model, self.plain.embed(), self.data)
        else:
            evaluate(self.model, self.data)
        return {"seconds": self.clock() - start}

    def work(self) -> dict[str, float]:
        """What the hardware must do at least for a step."""
        from limits import work

        batch = self.epoch[0]
        user, item = batch["user"], batch["item"]
        return work(
            self.model,
            user.n_id[user.src_index],
            item.n_id[item.dst_pos_index],
            item.n_id[item.dst_neg_index],
        )

    def peak(self) -> dict[str, float]:
        """Peak memory since the last question."""
        found = {"peak": self.memory.peak(), "imports": self.memory.imports}
        self.memory.reset()
        return found

    def sizes(self) -> dict[str, int]:
        """What an epoch is made of."""
        return {
            "steps": len(self.loader),
            "cycle": self.cycle,
            "triplets": self.data["user", "rates", "item"].edge_index.size(1),
        }


def _data(spec: dict[str, Any]) -> Any:
    from irllrec_pyg import IRLLRecDataset

    if "interactions" in spec:
        return synthetic(spec["interactions"])
    data = IRLLRecDataset(spec["root"], spec["dataset"])[0]
    needed = {"plus": ["x"], "gene": ["x"], "int": ["x", "intent"]}  # others only take memory
    for field in {"x", "intent"} - set(needed.get(spec["model"].partition("_")[2], [])):
        for side in ("user", "item"):
            if field in data[side]:
                del data[side][field]
    return data


def synthetic(interactions: int) -> Any:
    """A graph whose items are popular by a power law, twelve interactions a user."""
    from torch_geometric.data import HeteroData

    generator = torch.Generator().manual_seed(0)
    num_users, num_items = max(interactions // 12, 10), max(interactions // 18, 10)
    draws = int(interactions * 1.25)
    user = torch.randint(num_users, (draws,), generator=generator)
    item = (num_items * torch.rand(draws, generator=generator).pow(2)).long()
    flat = (user * num_items + item).unique()
    flat = flat[torch.randperm(flat.numel(), generator=generator)[:interactions]].sort().values
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = num_users, num_items
    edge_index = torch.stack([flat // num_items, flat % num_items])
    data["user", "rates", "item"].edge_index = edge_index
    data["user", "rates", "item"].edge_label_index = edge_index[:, ::10]
    data["item", "rated_by", "user"].edge_index = edge_index.flip(0)
    data.name = "synthetic"
    return data


def translate(spec: dict[str, Any]) -> dict[str, Any]:
    """Time and peak memory of an exact translation alignment over some nodes, width 32.

    With ``part`` above 1, only every so many blocks of rows are computed; all that is kept is kept,
    and what the rest would take is extrapolated.
    """
    from irllrec_pyg.nn import contrast, losses

    torch.set_num_threads(spec["threads"])
    clock, memory = Clock(spec["clock"], spec["device"]), Memory(spec["device"])
    part, blocks = spec["part"], []

    def sparsely(*bounds: int) -> range:
        if len(bounds) < 3:
            return range(*bounds)
        blocks.append(range(*bounds))
        return blocks[-1][::part]

    contrast.range = sparsely  # for the loop over blocks in that module
    torch.manual_seed(0)
    z, e = (
        torch.randn(spec["nodes"], 32, device=spec["device"], requires_grad=True) for _ in range(2)
    )
    start = clock()
    losses.ssl_loss(z, e, 1.0).backward()
    seconds = clock() - start
    if not blocks:
        raise RuntimeError("The contrastive sum has no loop over blocks to take a part of.")
    return {
        "seconds": seconds,
        "extrapolated": seconds * part,
        "peak": memory.peak(),
        "imports": memory.imports,
    }


def main() -> None:
    """Answers until it is told to stop."""
    spec = json.loads(sys.argv[1])
    torch.set_float32_matmul_precision("high" if spec.get("tf32") else "highest")
    if "nodes" in spec:
        print(json.dumps(translate(spec)), flush=True)
        return
    if spec.get("machine"):
        from limits import machine_rates

        clock = Clock(spec["clock"], spec["device"])
        print(json.dumps(machine_rates(spec["device"], spec["threads"], clock)), flush=True)
        return
    session = Session(spec)
    print(json.dumps(session.sizes()), flush=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        if command == "quit":
            break
        print(json.dumps(getattr(session, command)(*arguments)), flush=True)
    sys.stdout.flush()
    os._exit(0)  # nothing to tidy up, and freeing gigabytes takes time


if __name__ == "__main__":
    main()

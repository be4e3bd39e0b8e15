"""One training epoch, as Lightning runs it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, SPLITS, check_data
from ..loader import TripletLoader, triplet_loader
from ..loader.draws import stream_key
from ..nn import Recommender
from ..ranking.evaluate import as_tuple, evaluate

MODEL = 16  # Stream of a model's own randomness, beside those of the loader.


class RecommenderModule(LightningModule):
    r"""Trains a recommender under PyTorch Lightning; :func:`fit` does that with a trainer of ours.

    Adam minimises the sum of the losses. After epoch 1 and every ``eval_every`` epochs from there
    (1, 4, 7, ...) the validation items are ranked; after training the test items, once.

    Batches and negatives of an epoch, and all random numbers of the model in it, depend on
    ``seed`` and the epoch only: a run that is resumed after any epoch ends with the same numbers.

    Args:
        model (Recommender): The model.
        data (HeteroData): Data set.
        lr (float, optional): Learning rate. (default: ``1e-3``)
        batch_size (int, optional): Triplets in a batch, on each device. (default: ``4096``)
        num_negatives (int, optional): Negative items a triplet. (default: ``1``)
        num_neighbors (sequence of int, optional): Neighbours to sample in each hop, where the
            graph is too big to propagate over as a whole. (default: the whole graph)
        eval_every (int, optional): Epochs from one evaluation to the next; with ``0`` there is
            none. (default: ``3``)
        k (int or sequence of int, optional): Lengths of the lists. (default: ``(5, 10, 20)``)
        metrics (str or sequence of str, optional): As in :func:`irllrec_pyg.ranking.evaluate`.
            (default: ``("recall", "ndcg")``)
        exclude_validation (bool, optional): Whether validation items are left out of the lists at
            test. (default: ``False``)
        seed (int, optional): The seed. (default: ``0``)
        loader_options (mapping, optional): Further arguments of
            :func:`irllrec_pyg.loader.triplet_loader`, such as ``num_workers``.
            (default: ``None``)

    Example:
        >>> module = RecommenderModule(model, data)
        >>> trainer = Trainer(max_epochs=100, callbacks=[BestWeights("recall@20")],
        ...                   inference_mode=False, use_distributed_sampler=False)
        >>> trainer.fit(module)
    """

    def __init__(
        self,
        model: Recommender,
        data: HeteroData,
        *,
        lr: float = 1e-3,
        batch_size: int = 4096,
        num_negatives: int = 1,
        num_neighbors: Sequence[int] | None = None,
        eval_every: int = 3,
        k: int | Sequence[int] = (5, 10, 20),
        metrics: str | Sequence[str] = ("recall", "ndcg"),
        exclude_validation: bool = False,
        seed: int = 0,
        loader_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if eval_every < 0:
            raise ValueError(f"'eval_every' must not be negative, got {eval_every}.")
        if eval_every and not has_pairs(data, "val"):
            raise ValueError(
                "The data set has no validation interactions to stop by; with "
                "eval_every=0 training takes a fixed number of epochs."
            )
        _check_data(model, data)
        self.model = model
        self.data = data
        self.lr, self.seed, self.eval_every = lr, seed, eval_every
        self.loader_options = {
            "batch_size": batch_size,
            "num_negatives": num_negatives,
            "num_neighbors": num_neighbors,
            **(loader_options or {}),
        }
        self.ranking: dict[str, Any] = {"k": as_tuple(k), "metrics": as_tuple(metrics)}
        self.exclude_validation = exclude_validation
        self.history: list[dict[str, float]] = []
        self.test_metrics: dict[str, float] = {}
        self.ended = False
        self.evaluated = False
        self._names: list[str] = []
        self._sum: Tensor | None = None
        self._steps = 0
        self._start = 0.0

    def train_dataloader(self) -> TripletLoader:
        """Triplets on the training device; each process of several takes its share."""
        device = "cpu" if self.loader_options.get("num_workers") else self.device
        loader = triplet_loader(
            self.data,
            seed=self.seed,
            rank=self.global_rank,
            device=device,
            world_size=self.trainer.world_size,
            **self.loader_options,
        )
        # Lightning makes the first iterator before it tells the loader of a resumed epoch.
        loader.set_epoch(len(self.history))
        return loader

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all trainable parameters."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        # One pass over parameters, gradients and moments, where the device has a kernel for it.
        # Lightning does not clip gradients in mixed precision for a fused optimizer.
        clips = self._trainer is not None and self._trainer.gradient_clip_val
        fused = not clips and all(p.device.type in ("cpu", "cuda") for p in parameters)
        return torch.optim.Adam(parameters, lr=self.lr, fused=fused)

    def on_fit_start(self) -> None:
        """Turns training mode on, which Lightning leaves as it finds it."""
        self.train()

    def on_train_start(self) -> None:
        """Gives the rows of a resumed run to CSV files, which Lightning begins anew."""
        for logger in self.loggers:
            for row in self.history if isinstance(logger, CSVLogger) else ():
                logger.log_metrics({key: float(row[key]) for key in row}, int(row["epoch"]))

    def on_train_epoch_start(self) -> None:
        """Seeds the model's randomness of this epoch."""
        key = stream_key(self.seed, len(self.history), self.global_rank, MODEL)
        torch.manual_seed(key >> 1)
        self.model.begin_epoch()
        self._sum, self._steps, self._start = None, 0, time.perf_counter()

    def training_step(self, batch: HeteroData, batch_idx: int) -> Tensor:
        """The sum of the losses."""
        losses = self.model.losses_from_batch(batch)
        # Added up on the device; a logger or an item() at each step would wait for it.
        values = torch.stack([value.detach() for value in losses.values()]).float()
        self._sum = values if self._sum is None else self._sum + values
        self._names = list(losses)
        self._steps += 1
        return losses["total"]

    def on_train_epoch_end(self) -> None:
        """Logs the mean losses, and evaluates when it is time."""
        epoch = len(self.history) + 1
        losses = [] if self._sum is None else (self._sum / self._steps).tolist()
        row: dict[str, float] = {"epoch": epoch, "seconds": time.perf_counter() - self._start}
        for name, value in zip(self._names, losses, strict=True):
            row["loss" if name == "total" else f"loss_{name}"] = value
        self.evaluated = is_due(epoch, self.eval_every)
        if self.evaluated:
            start = time.perf_counter()
            row |= evaluate(self.model, self.data, "val", **self.ranking)
            row["seconds_evaluation"] = time.perf_counter() - start
        self.history.append(row)
        # Lightning takes "step" as the x-axis; its own epochs count from 0.
        self.log_dict({**row, "epoch": float(epoch), "step": float(epoch)})

    def on_train_end(self) -> None:
        """Ranks the test items."""
        self.ended = True
        if has_pairs(self.data, "test"):
            self.test_metrics = evaluate(
                self.model,
                self.data,
                "test",
                **self.ranking,
                exclude_validation=self.exclude_validation,
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the finished epochs gave."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over what the finished epochs gave."""
        self.history = checkpoint["history"]


def is_due(epoch: int, eval_every: int) -> bool:
    """Whether epoch 1, 2, ... is one of ``1, 1 + eval_every, 1 + 2 eval_every, ...``."""
    return eval_every > 0 and (epoch - 1) % eval_every == 0


def has_pairs(data: HeteroData, split: str) -> bool:
    """Whether a data set has interactions of a split to evaluate on."""
    pairs = check_data(data)[EDGE_TYPE].get(SPLITS[split])
    return pairs is not None and pairs.numel() > 0


def _check_data(model: Recommender, data: HeteroData) -> None:
    """Refuses to train a model on other interactions than its graph has."""
    sizes = data["user"].num_nodes, data["item"].num_nodes
    if sizes != (model.num_users, model.num_items):
        raise ValueError(
            f"The model was built for {model.num_users} users and {model.num_items} "
            f"items, and 'data' has {sizes[0]} and {sizes[1]}; build it with the data "
            "it is trained on."
        )
    user = torch.arange(model.num_users, device=model.seen_ptr.device)
    own = user.repeat_interleave(model.seen_ptr.diff()) * model.num_items + model.seen_item
    user, item = data[EDGE_TYPE].edge_index
    given = user * model.num_items + item
    if not torch.equal(own.sort().values.cpu(), given.sort().values.cpu()):
        raise ValueError(
            "The model's graph has other training interactions than 'data', such as "
            "those of another split; build it with the data it is trained on."
        )

"""One training epoch, as Lightning runs it."""

import math
import time
from collections.abc import Mapping
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
from ..ranking.evaluate import evaluate
from ..ranking.labels import check_graph
from ..tensor_file import CheckpointError
from .config import TrainingConfig
from .validation import check_checkpoint

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
        config (TrainingConfig or mapping, optional): The settings; ``epochs``, ``patience``,
            ``monitor`` and those after them belong to :func:`fit`. (default: the defaults)
        loader_options (mapping, optional): Further arguments of
            :func:`irllrec_pyg.loader.triplet_loader`, such as ``num_workers``.
            (default: ``None``)
        **settings: Fields of :class:`TrainingConfig`, such as ``lr=0.01``.

    Raises:
        ConfigError: If a setting is unknown or out of range.
        TypeError: If ``data`` is a data set and not its graph.
        ValueError: If the model was built for other data.

    Example:
        >>> from pytorch_lightning import Trainer
        >>> module = RecommenderModule(build_model("lightgcn", data), data, batch_size=16)
        >>> trainer = Trainer(max_epochs=1, callbacks=[BestWeights("recall@20")], accelerator="cpu",
        ...                   inference_mode=False, use_distributed_sampler=False, logger=False,
        ...                   enable_progress_bar=False, enable_checkpointing=False)
        >>> trainer.fit(module)
        >>> len(module.history)
        1
    """

    def __init__(
        self,
        model: Recommender,
        data: HeteroData,
        config: TrainingConfig | Mapping[str, Any] | None = None,
        *,
        loader_options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.config = TrainingConfig.read(config, **settings)
        check_graph(model, data)
        chooses = model.similarity == "validation"
        if (self.config.eval_every or chooses) and not has_pairs(data, "val"):
            raise ValueError(
                "The data set has no validation interactions to stop by; with "
                "eval_every=0 training takes a fixed number of epochs."
                if not chooses
                else "The data set has no validation interactions to choose by; set 'similarity' "
                "to 'dot' or 'cosine'."
            )
        if chooses:
            self.config.check_monitor()
        self.model = model
        self.data = data
        self.loader_options = {
            "batch_size": self.config.batch_size,
            "num_negatives": self.config.num_negatives,
            "num_neighbors": self.config.num_neighbors,
            **(loader_options or {}),
        }
        self.ranking: dict[str, Any] = {"k": self.config.k, "metrics": self.config.metrics}
        self.history: list[dict[str, float]] = []
        self.test_metrics: dict[str, float] = {}
        self.validation: dict[str, float] | None = None
        self.ended = False
        self.evaluated = False
        self.restoring = False
        self._names: list[str] = []
        self._sum: Tensor | None = None
        self._steps = 0
        self._start = 0.0

    def train_dataloader(self) -> TripletLoader:
        """Triplets, made on the CPU; each process of several takes its share.

        Finding the distinct nodes of a batch on a GPU would wait for it; so a batch is made in
        pinned memory while the step before it runs, and sent without waiting.
        """
        self.restoring = False  # Lightning asks for the loader after it has read a checkpoint.
        trained = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        if len(self.history) != trained:
            raise CheckpointError(
                f"{self.trainer.ckpt_path} is damaged: it has {len(self.history)} epochs in its "
                f"history and {trained} in its loops. Delete it."
            )
        options = dict(self.loader_options)
        if "device" not in options and self.device.type == "cuda":
            options.setdefault("pin_memory", True)
        loader = triplet_loader(
            self.data,
            seed=self.config.seed,
            rank=self.global_rank,
            world_size=self.trainer.world_size,
            **{"device": "cpu", **options},
        )
        # Lightning makes the first iterator before it tells the loader of a resumed epoch.
        loader.set_epoch(len(self.history))
        return loader

    def transfer_batch_to_device(
        self, batch: HeteroData, device: torch.device, dataloader_idx: int
    ) -> HeteroData:
        """Sends a batch to the training device, from pinned memory without waiting."""
        moved: HeteroData = batch.to(device, non_blocking=True)
        return moved

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all trainable parameters."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        # One pass over parameters, gradients and moments, where the device has a kernel for it.
        # Lightning does not clip gradients in mixed precision for a fused optimizer.
        clips = self._trainer is not None and self._trainer.gradient_clip_val
        fused = not clips and all(p.device.type in ("cpu", "cuda") for p in parameters)
        return torch.optim.Adam(parameters, lr=self.config.lr, fused=fused)

    def on_fit_start(self) -> None:
        """Turns training mode on, which Lightning leaves as it finds it."""
        self.train()

    def on_train_start(self) -> None:
        """Gives the rows of a resumed run to CSV files, which Lightning begins anew."""
        for logger in self.loggers:
            if isinstance(logger, CSVLogger) and self.history:
                for row in self.history:
                    logger.log_metrics({key: float(row[key]) for key in row}, int(row["epoch"]))
                logger.save()

    def on_train_epoch_start(self) -> None:
        """Seeds the model's randomness of this epoch."""
        key = stream_key(self.config.seed, len(self.history), self.global_rank, MODEL)
        torch.manual_seed(key >> 1)
        self.model.begin_epoch()
        self._sum, self._steps, self._start = None, 0, time.perf_counter()

    def training_step(self, batch: HeteroData, batch_idx: int) -> Tensor:
        """The sum of the losses."""
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.model.begin_step()
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
        self._check_finite(epoch, losses)
        self.evaluated = is_due(epoch, self.config.eval_every)
        if self.evaluated:
            start = time.perf_counter()
            row |= evaluate(self.model, self.data, "val", **self.ranking)
            row["seconds_evaluation"] = time.perf_counter() - start
        self.history.append(row)
        # Lightning takes "step" as the x-axis; its own epochs count from 0.
        self.log_dict({**row, "epoch": float(epoch), "step": float(epoch)})

    def _check_finite(self, epoch: int, losses: list[float]) -> None:
        """Stops before anything of a diverged model is evaluated or saved."""
        wrong = [
            f"the loss {name!r}"
            for name, value in zip(self._names, losses, strict=True)
            if not math.isfinite(value)
        ]
        # Asked of the device once an epoch: the last step may have spoilt what no loss has seen.
        finite = [value.isfinite().all() for value in self.model.parameters()]
        if finite and not wrong and not torch.stack([flag.cpu() for flag in finite]).all():
            named = zip(self.model.named_parameters(), finite, strict=True)
            wrong = [f"the parameter {name!r}" for (name, _), flag in named if not flag]
        if wrong:
            raise ValueError(
                f"In epoch {epoch}, {', '.join(wrong)} became NaN or infinite; the model has "
                "diverged: try a smaller learning rate than lr="
                f"{self.config.lr:g}, a smaller weight of that loss, or gradient_clip_val=1.0. "
                "Nothing of this epoch was saved."
            )

    def on_train_end(self) -> None:
        """Chooses what ranks, where that was left open, and ranks the test items."""
        self.ended = True
        if self.model.similarity == "validation":
            self._choose_similarity()
        if has_pairs(self.data, "test"):
            self.test_metrics = evaluate(
                self.model,
                self.data,
                "test",
                **self.ranking,
                exclude_validation=self.config.exclude_validation,
            )

    def _choose_similarity(self) -> None:
        """Keeps what ranks the validation items better, dot products where both are equal."""
        found = []
        for chosen in (False, True):
            self.model.cosine.fill_(chosen)
            found.append(evaluate(self.model, self.data, "val", **self.ranking))
        dot, cosine = (values[self.config.monitor] for values in found)
        self.model.cosine.fill_(cosine > dot)
        self.validation = found[cosine > dot]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the finished epochs gave, and by how many threads."""
        checkpoint["history"] = self.history
        checkpoint["threads"] = torch.get_num_threads()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over what the finished epochs gave, and goes on with as many threads.

        Sums round differently when they are shared by another number of threads.

        Raises:
            CheckpointError: If the checkpoint is not of this model, or of more than ``max_epochs``
                epochs.
        """
        self.restoring = True
        path, last = self.trainer.ckpt_path, self.trainer.max_epochs
        try:
            own = type(self).configure_optimizers is RecommenderModule.configure_optimizers
            check_checkpoint(checkpoint, self, adam=own)
        except ValueError as error:
            raise CheckpointError(f"{path} is damaged: {error} Delete it.") from error
        self.history = checkpoint["history"]
        if last not in (None, -1) and len(self.history) > last:
            raise CheckpointError(
                f"{path} holds {len(self.history)} epochs, more than 'epochs' = {last}. Use "
                "another folder, or resume=False to start over."
            )
        torch.set_num_threads(checkpoint.get("threads", torch.get_num_threads()))


def is_due(epoch: int, eval_every: int) -> bool:
    """Whether epoch 1, 2, ... is one of ``1, 1 + eval_every, 1 + 2 eval_every, ...``."""
    return eval_every > 0 and (epoch - 1) % eval_every == 0


def has_pairs(data: HeteroData, split: str) -> bool:
    """Whether a data set has interactions of a split to evaluate on."""
    pairs = check_data(data)[EDGE_TYPE].get(SPLITS[split])
    return pairs is not None and pairs.numel() > 0

"""Training, from a model to test metrics, in one call."""

import importlib.util
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.warnings import PossibleUserWarning
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.seed import isolate_rng
from torch_geometric.data import HeteroData

from ..checkpoint import CheckpointError, load_weights, save_ranker
from ..nn import Recommender
from ..ranking.evaluate import as_tuple
from .callbacks import BestWeights, EpochBar, ResumeCheckpoint
from .checkpoint_io import SafetensorsIO, check_settings
from .memory import keep_freed_memory
from .module import RecommenderModule
from .result import FitResult
from .settings import describe

# Arguments of Lightning's Trainer that `fit` sets, and what to give `fit` instead.
OWN = {
    "max_epochs": "pass 'epochs'",
    "logger": "pass 'loggers'",
    "default_root_dir": "pass 'folder'",
    "enable_progress_bar": "pass 'progress'",
    "enable_checkpointing": "pass 'folder'",
    "plugins": "train a RecommenderModule with a Trainer of your own",
}
MODEL_FILE, RESULT_FILE, RESUME_FILE = "model.safetensors", "result.json", "resume.safetensors"


def fit(
    model: Recommender,
    data: HeteroData,
    *,
    epochs: int = 3000,
    lr: float = 1e-3,
    batch_size: int = 4096,
    num_negatives: int = 1,
    num_neighbors: Sequence[int] | None = None,
    eval_every: int = 3,
    patience: int = 5,
    monitor: str = "recall@20",
    k: int | Sequence[int] = (5, 10, 20),
    metrics: str | Sequence[str] = ("recall", "ndcg"),
    exclude_validation: bool = False,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = True,
    checkpoint_every: int = 1,
    info: Mapping[str, Any] | None = None,
    precision: Any = "32-true",
    accelerator: str = "auto",
    devices: int | str | list[int] = 1,
    loggers: Logger | Sequence[Logger] | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    progress: bool = True,
    loader_options: Mapping[str, Any] | None = None,
    **trainer_options: Any,
) -> FitResult:
    r"""Trains a recommender by the protocol of the papers and tests it once.

    Validation items are ranked after epoch 1 and every ``eval_every`` epochs from there; training
    stops after ``patience`` evaluations without a better value of ``monitor``, and the model then
    has its best weights.

    With a ``folder``, the run can be killed at any moment and goes on from its last checkpoint,
    with the same numbers, when it is called again. The folder gets ``metrics.csv``,
    ``model.safetensors`` (for :func:`irllrec_pyg.checkpoint.load_ranker`) and ``result.json``;
    a call for a finished run returns its result and weights without training.

    Args:
        model (Recommender): The model; trained in place.
        data (HeteroData): The data set that it was built for.
        epochs (int, optional): Epochs at most. (default: ``3000``)
        lr (float, optional): Learning rate of Adam. (default: ``1e-3``)
        batch_size (int, optional): Triplets in a batch, on each device. (default: ``4096``)
        num_negatives (int, optional): Negative items a triplet. (default: ``1``)
        num_neighbors (sequence of int, optional): Neighbours to sample in each hop, where the
            graph is too big to propagate over as a whole. (default: the whole graph)
        eval_every (int, optional): Epochs from one evaluation to the next; with ``0`` there is
            none, and all epochs are trained. (default: ``3``)
        patience (int, optional): Evaluations without a better value before training stops.
            (default: ``5``)
        monitor (str, optional): Validation metric, more is better. (default: ``"recall@20"``)
        k (int or sequence of int, optional): Lengths of the lists. (default: ``(5, 10, 20)``)
        metrics (str or sequence of str, optional): As in :func:`irllrec_pyg.ranking.evaluate`.
            (default: ``("recall", "ndcg")``)
        exclude_validation (bool, optional): Whether validation items are left out of the lists at
            test. (default: ``False``)
        seed (int, optional): Seed of everything random in training; the model's initial weights
            are drawn where it is built. (default: ``0``)
        folder (str or Path, optional): Where the run is kept. (default: nowhere)
        resume (bool, optional): If not set, what is in the folder is overwritten.
            (default: ``True``)
        checkpoint_every (int, optional): Epochs from one resume checkpoint to the next.
            (default: ``1``)
        info (mapping, optional): JSON to keep in ``model.safetensors``. (default: nothing)
        precision (str, optional): As in Lightning, such as ``"bf16-mixed"``.
            (default: ``"32-true"``)
        accelerator (str, optional): As in Lightning: ``"cpu"``, ``"gpu"``... (default: ``"auto"``)
        devices (int, str or list, optional): As in Lightning. Several devices train in parallel on
            parts of each epoch. (default: ``1``)
        loggers (Logger or sequence of Logger, optional): Lightning loggers, one row an epoch; the
            result has the history with or without them.
            (default: CSV and, where it is installed, TensorBoard, in the folder)
        callbacks (Callback or sequence of Callback, optional): Further Lightning callbacks.
            (default: none)
        progress (bool, optional): Whether to show a progress bar. (default: ``True``)
        loader_options (mapping, optional): Further arguments of
            :func:`irllrec_pyg.loader.triplet_loader`. (default: ``None``)
        **trainer_options: Further arguments of :class:`pytorch_lightning.Trainer`, such as
            ``deterministic=True`` or ``gradient_clip_val``; not those that ``fit`` sets itself.

    Returns:
        Metrics, the history of the epochs and timings.

    Raises:
        ValueError: If an argument is out of range or set by ``fit`` itself; it is named.
        CheckpointError: If the folder holds a damaged checkpoint or a run with other settings; it
            says which.
        KeyboardInterrupt: If the user stops the run; it can be resumed.
    """
    if epochs < 1:
        raise ValueError(f"'epochs' must be at least 1, got {epochs}.")
    if taken := [name for name in trainer_options if name in OWN]:
        raise ValueError(
            "; ".join(
                f"'{name}' of Lightning's Trainer is set by 'fit': {OWN[name]}" for name in taken
            )
            + "."
        )
    k, metrics = as_tuple(k), as_tuple(metrics)
    names = [f"{metric}@{top}" for metric in metrics for top in k]
    if eval_every and monitor not in names:
        raise ValueError(f"'monitor' must be one of {', '.join(names)}, got {monitor!r}.")
    folder = None if folder is None else Path(folder)
    module = RecommenderModule(
        model,
        data,
        lr=lr,
        batch_size=batch_size,
        num_negatives=num_negatives,
        num_neighbors=num_neighbors,
        eval_every=eval_every,
        k=k,
        metrics=metrics,
        exclude_validation=exclude_validation,
        seed=seed,
        loader_options=loader_options,
    )
    settings = {
        "lr": lr,
        "batch_size": batch_size,
        "num_negatives": num_negatives,
        "num_neighbors": None if num_neighbors is None else list(num_neighbors),
        "eval_every": eval_every,
        "patience": patience,
        "monitor": monitor,
        "k": list(k),
        "metrics": list(metrics),
        "exclude_validation": exclude_validation,
        "seed": seed,
        "precision": str(precision),
        "devices": str(_count(devices)),
        **_plain("loader", loader_options or {}),
        **_plain("trainer", trainer_options),
        **describe(model, data),
    }
    if folder is not None and not resume:
        for name in (RESULT_FILE, RESUME_FILE, MODEL_FILE):
            (folder / name).unlink(missing_ok=True)
    if folder is not None and (result := _finished(folder, model, settings, epochs)):
        return result

    best = BestWeights(monitor, patience) if eval_every else None
    bar = [EpochBar(best)] if progress else []
    keep = [ResumeCheckpoint(str(folder), checkpoint_every)] if folder else []
    with _quiet():
        trainer = Trainer(
            max_epochs=epochs,
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            logger=_loggers(folder) if loggers is None else list(as_tuple(loggers)),
            callbacks=[*([best] if best else []), *as_tuple(callbacks), *bar, *keep],
            plugins=[SafetensorsIO(settings)],
            default_root_dir=folder,
            enable_progress_bar=progress,
            enable_checkpointing=bool(keep),
            **{
                "strategy": _strategy(devices),
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                # Tensors made while evaluating stay in the graph's cache, for autograd.
                "inference_mode": False,
                "use_distributed_sampler": False,
                **trainer_options,
            },
        )
        begun = folder / RESUME_FILE if folder and (folder / RESUME_FILE).exists() else None
        with isolate_rng(), keep_freed_memory(), _interruptible(trainer):
            trainer.fit(module, ckpt_path=begun)
            if not module.ended:
                # It was stopped behind its last epoch: Lightning finds nothing to train, and calls
                # no hook.
                if best is not None:
                    best.on_train_end(trainer, module)
                module.on_train_end()
    model.eval()
    result = FitResult.from_history(
        module.history,
        module.test_metrics,
        best.best_epoch if best else len(module.history),
        best is not None and best.exhausted,
    )
    if folder is not None and trainer.is_global_zero:
        save_ranker(
            model,
            folder / MODEL_FILE,
            **{
                **(info or {}),
                "data": data.get("name"),
                "best_epoch": result.best_epoch,
                "test": result.test,
                "settings": settings,
            },
        )
        result.save(folder / RESULT_FILE, settings)
        if result.stopped_early:  # otherwise more epochs may be asked for
            (folder / RESUME_FILE).unlink(missing_ok=True)
    return result


def _finished(
    folder: Path, model: Recommender, settings: Mapping[str, Any], epochs: int
) -> FitResult | None:
    """The stored result, if the run in the folder needs no further epoch."""
    file = folder / RESULT_FILE
    if not file.exists():
        return None
    result, stored = FitResult.load(file)
    check_settings(stored, settings, file)
    if result.epochs > epochs:
        raise CheckpointError(
            f"{file} is the result of {result.epochs} epochs, more than "
            f"'epochs' = {epochs}. Use another folder, or resume=False to start "
            "over."
        )
    if not result.stopped_early and result.epochs < epochs:
        return None
    load_weights(model, folder / MODEL_FILE)
    model.eval()
    return result


def _loggers(folder: Path | None) -> list[Logger]:
    if folder is None:
        return []
    loggers: list[Logger] = [CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1)]
    if importlib.util.find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    return loggers


# Makes a run faster or slower, and nothing else.
SPEED = {
    "num_workers",
    "persistent_workers",
    "pin_memory",
    "prefetch_factor",
    "device",
    "benchmark",
    "profiler",
    "strategy",
}


def _plain(prefix: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that may change the numbers and that JSON can hold."""
    return {
        f"{prefix}.{name}": value
        for name, value in options.items()
        if name not in SPEED and isinstance(value, (bool, int, float, str))
    }


def _count(devices: int | str | list[int]) -> int | str:
    return len(devices) if isinstance(devices, list) else devices


def _strategy(devices: int | str | list[int]) -> Any:
    if _count(devices) in (1, "1"):
        return "auto"
    # Buffers, texts among them, never change: sending them at each step would be for nothing.
    return DDPStrategy(broadcast_buffers=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's greetings, tips and guesses away, and its real warnings."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            for message in (
                "Checkpoint directory",
                "Experiment logs directory",
                "`isinstance\\(treespec",
            ):
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        log.setLevel(level)


@contextmanager
def _interruptible(trainer: Trainer) -> Iterator[None]:
    """Lightning turns Ctrl+C into an exit of the process and stays deaf to further ones."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt(
                "Training was stopped; with the same folder it goes on from its last checkpoint."
            ) from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)

"""Training, from a model to test metrics, in one call."""

import errno
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.seed import isolate_rng
from torch_geometric.data import HeteroData

from ..checkpoint import load_weights, save_ranker
from ..nn import Recommender
from ..ranker_file import KIND
from ..registry import arguments
from ..tensor_file import CheckpointError, content_hash
from .callbacks import BestWeights
from .config import TrainingConfig
from .identity import Identity
from .lock import is_first, only_run
from .memory import keep_freed_memory
from .module import RecommenderModule
from .result import FitResult
from .trainer import build_trainer, interruptible, quiet, split_settings

MODEL_FILE, RESULT_FILE, RESUME_FILE = "model.safetensors", "result.json", "resume.safetensors"


def fit(
    model: Recommender,
    data: HeteroData,
    config: TrainingConfig | Mapping[str, Any] | None = None,
    *,
    folder: str | Path | None = None,
    resume: bool = True,
    info: Mapping[str, Any] | None = None,
    loggers: Logger | Sequence[Logger] | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    progress: bool = True,
    loader_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> FitResult:
    r"""Trains a recommender by the protocol of the papers and tests it once.

    Validation items are ranked after epoch 1 and every ``eval_every`` epochs from there; training
    stops after ``patience`` evaluations without a better value of ``monitor``, and the model then
    has its best weights. A model with ``similarity="validation"`` then ranks the validation items
    by dot products and by cosines, and keeps what is better by ``monitor``.

    With a ``folder``, the run can be killed at any moment and goes on from its last checkpoint
    when it is called again. The folder gets ``metrics.csv``, ``model.safetensors`` (for
    :func:`irllrec_pyg.checkpoint.load_ranker`) and ``result.json``, which holds the model's hash;
    a call for a finished run returns its result and weights without training. One run at a time
    can be in a folder; between machines that holds only where the file system passes locks on.

    **Where the numbers are equal.** Without interruption or with any number of them, a run ends
    with the same numbers, bit for bit, on a CPU with the same versions of PyTorch and its
    libraries and the same instruction set. A resumed run takes as many threads as it was begun
    with, since sums that are shared by another number of threads round differently; two runs are
    equal only if both have the same ``torch.get_num_threads()``. On a GPU, and with several
    devices, some sums have no fixed order; ``deterministic=True`` has PyTorch choose others.

    Args:
        model (Recommender): The model; trained in place.
        data (HeteroData): The data set that it was built for.
        config (TrainingConfig or mapping, optional): The settings below. (default: the defaults)
        folder (str or Path, optional): Where the run is kept. (default: nowhere)
        resume (bool, optional): If not set, what is in the folder is overwritten.
            (default: ``True``)
        info (mapping, optional): JSON to keep in ``model.safetensors``. (default: nothing)
        loggers (Logger or sequence of Logger, optional): Lightning loggers, one row an epoch; the
            result has the history with or without them.
            (default: CSV and, where it is installed, TensorBoard, in the folder)
        callbacks (Callback or sequence of Callback, optional): Further Lightning callbacks.
            (default: none)
        progress (bool, optional): Whether to show a progress bar. (default: ``True``)
        loader_options (mapping, optional): Further arguments of
            :func:`irllrec_pyg.loader.triplet_loader`. (default: ``None``)
        **settings: The fields of :class:`TrainingConfig` below, such as ``epochs=20``, in the place
            of those in ``config``, and further arguments of :class:`pytorch_lightning.Trainer`,
            such as ``deterministic=True``; not those that ``fit`` sets itself.

    Returns:
        Metrics, the history of the epochs and timings.

    Raises:
        ValueError: If an argument is unknown, out of range or set by ``fit`` itself, or if the
            model diverges: nothing of that epoch is saved.
        TypeError: If ``data`` is a data set and not its graph.
        RuntimeError: If another run is in the folder; it is named.
        CheckpointError: If the folder holds a damaged checkpoint, a model that is not the
            result's, a run with other settings or of more epochs; it says which.
        OSError: If the disk is full. What was saved before stays, and the run can be resumed.
        KeyboardInterrupt: If the user stops the run; it can be resumed.
    """
    config, options = split_settings(config, settings)
    if config.eval_every:
        config.check_monitor()
    module = RecommenderModule(model, data, config, loader_options=loader_options)
    identity = Identity(
        model, data, config, **_plain("loader", loader_options or {}), **_plain("trainer", options)
    )
    folder = None if folder is None else Path(folder)
    with only_run(folder), _full_disk(folder):
        if folder is not None and not resume and is_first():
            for name in (RESULT_FILE, RESUME_FILE, MODEL_FILE):
                (folder / name).unlink(missing_ok=True)
        if folder is not None and (result := _finished(folder, model, identity, config.epochs)):
            return result
        best = BestWeights(config.monitor, config.patience) if config.eval_every else None
        with quiet():
            trainer = build_trainer(
                config, options, folder, identity, best, progress, loggers, callbacks
            )
            _train(trainer, module, folder, best)
        model.eval()
        result = FitResult.from_history(
            module.history,
            module.test_metrics,
            best.best_epoch if best else len(module.history),
            best is not None and best.exhausted,
            model.ranks_by,
            module.validation,
        )
        if folder is not None and trainer.is_global_zero:
            _save(folder, model, result, identity, {**(info or {}), "data": data.get("name")})
    return result


fit.__doc__ = f"{inspect.getdoc(fit)}\n\n{arguments(TrainingConfig)}"


def _train(
    trainer: Trainer, module: RecommenderModule, folder: Path | None, best: BestWeights | None
) -> None:
    """Trains from the last checkpoint, if there is one, and tests."""
    begun = folder / RESUME_FILE if folder and (folder / RESUME_FILE).exists() else None
    threads = torch.get_num_threads()
    try:
        with isolate_rng(), keep_freed_memory(), interruptible(trainer):
            trainer.fit(module, ckpt_path=begun)
            if not module.ended:
                # It was stopped after its last epoch: Lightning finds nothing to train, and calls
                # no hook.
                module.on_train_start()
                if best is not None:
                    best.on_train_end(trainer, module)
                module.on_train_end()
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        if not module.restoring or isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{begun} is damaged ({type(error).__name__}: {error}); delete it."
        ) from error
    finally:
        torch.set_num_threads(threads)  # a resumed run had those it was begun with


def _save(
    folder: Path, model: Recommender, result: FitResult, identity: Identity, info: dict[str, Any]
) -> None:
    """Writes model and result so that there is never a result with another run's model."""
    (folder / RESULT_FILE).unlink(missing_ok=True)  # of fewer epochs
    digest = save_ranker(
        model,
        folder / MODEL_FILE,
        **info,
        best_epoch=result.best_epoch,
        test=result.test,
        settings=identity.values,
    )
    result.save(folder / RESULT_FILE, identity.values, digest)
    if result.stopped_early:  # otherwise more epochs may be asked for
        (folder / RESUME_FILE).unlink(missing_ok=True)


def _finished(
    folder: Path, model: Recommender, identity: Identity, epochs: int
) -> FitResult | None:
    """The stored result, if the run in the folder needs no further epoch."""
    file, weights = folder / RESULT_FILE, folder / MODEL_FILE
    if not file.exists():
        return None
    result, stored, digest = FitResult.load(file)
    identity.check(stored, file)
    if result.epochs > epochs:
        raise CheckpointError(
            f"{file} is the result of {result.epochs} epochs, more than "
            f"'epochs' = {epochs}. Use another folder, or resume=False to start "
            "over."
        )
    if not result.stopped_early and result.epochs < epochs:
        return None
    if content_hash(weights, KIND) != digest:
        raise CheckpointError(
            f"{file} is not the result of {weights}: it names a model with another hash. Put back "
            "the file that belongs to it, or use resume=False to start over."
        )
    load_weights(model, weights)
    model.eval()
    return result


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


@contextmanager
def _full_disk(folder: Path | None) -> Iterator[None]:
    """Says of a full disk which folder is meant, where the system names no file."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename or folder is None:
            raise
        raise OSError(
            error.errno,
            "The disk is full. Make room and call fit again: it goes on from its last checkpoint",
            str(folder),
        ) from error

"""Lightning's trainer, as :func:`irllrec_pyg.training.fit` sets it."""

import importlib.util
import inspect
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

from ..config import ConfigError, unknown_name
from ..ranking.evaluate import as_tuple
from .callbacks import BestWeights, EpochBar, ResumeCheckpoint
from .checkpoint_io import SafetensorsIO
from .config import TrainingConfig
from .identity import Identity

# Arguments of Lightning's Trainer that `fit` sets, and what to give `fit` instead.
OWN = {
    "max_epochs": "pass 'epochs'",
    "logger": "pass 'loggers'",
    "default_root_dir": "pass 'folder'",
    "enable_progress_bar": "pass 'progress'",
    "enable_checkpointing": "pass 'folder'",
    "plugins": "train a RecommenderModule with a Trainer of your own",
}
TRAINER_OPTIONS = [*inspect.signature(Trainer).parameters]


def split_settings(
    config: TrainingConfig | Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> tuple[TrainingConfig, dict[str, Any]]:
    """The configuration, and those settings that are Lightning's."""
    fields = list(TrainingConfig.model_fields)
    config = TrainingConfig.read(config, **{n: settings[n] for n in fields if n in settings})
    options = {name: value for name, value in settings.items() if name not in fields}
    for name in options:
        if name in OWN:
            raise ValueError(f"'{name}' of Lightning's Trainer is set by 'fit': {OWN[name]}.")
        if name not in TRAINER_OPTIONS:
            known = [*fields, *(option for option in TRAINER_OPTIONS if option not in OWN)]
            raise ConfigError(unknown_name("setting", name, known))
    return config, options


def build_trainer(
    config: TrainingConfig,
    options: Mapping[str, Any],
    folder: Path | None,
    identity: Identity,
    best: BestWeights | None,
    progress: bool,
    loggers: Logger | Sequence[Logger] | None,
    callbacks: Callback | Sequence[Callback],
) -> Trainer:
    """The trainer of a run, with the callbacks that stop it, show it and keep it."""
    bar = [EpochBar(best)] if progress else []
    keep = [ResumeCheckpoint(str(folder), config.checkpoint_every)] if folder else []
    return Trainer(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices=list(config.devices) if isinstance(config.devices, tuple) else config.devices,
        precision=config.precision,  # type: ignore[arg-type] # Lightning names what it takes
        logger=_loggers(folder) if loggers is None else list(as_tuple(loggers)),
        callbacks=[*([best] if best else []), *as_tuple(callbacks), *bar, *keep],
        plugins=[SafetensorsIO(identity)],
        default_root_dir=folder,
        enable_progress_bar=progress,
        enable_checkpointing=bool(keep),
        **{
            # Buffers, texts among them, never change: they need not be sent at each step.
            "strategy": (
                "auto" if config.num_devices in (1, "1") else DDPStrategy(broadcast_buffers=False)
            ),
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            # Tensors made while evaluating stay in the graph's cache, for autograd.
            "inference_mode": False,
            "use_distributed_sampler": False,
            **options,
        },
    )


def _loggers(folder: Path | None) -> list[Logger]:
    if folder is None:
        return []
    loggers: list[Logger] = [CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1)]
    if importlib.util.find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    return loggers


@contextmanager
def quiet() -> Iterator[None]:
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
def interruptible(trainer: Trainer) -> Iterator[None]:
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

"""What watches a training run."""

from collections.abc import Callable
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, ProgressBar
from torch import Tensor
from tqdm.auto import tqdm

from .module import RecommenderModule


class BestWeights(EarlyStopping):
    """Stops after some evaluations without a better value, and puts the best weights back.

    Unlike Lightning's own, it counts evaluations, which need not come at every epoch, and keeps the
    best weights in its own state: the resume checkpoint, being one file, can then never disagree
    with them.

    Args:
        monitor (str, optional): Metric; more is better. (default: ``"recall@20"``)
        patience (int, optional): Evaluations without a better value before training stops.
            (default: ``5``)
    """

    def __init__(self, monitor: str = "recall@20", patience: int = 5) -> None:
        if patience < 1:
            raise ValueError(f"'patience' must be at least 1, got {patience}.")
        super().__init__(monitor, mode="max", patience=patience, check_on_train_epoch_end=True)
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether training is over."""
        return self.wait_count >= self.patience

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that was killed between its last epoch and its end has nothing left to train."""
        trainer.should_stop = trainer.should_stop or self.exhausted

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at an evaluation, if there was one."""
        assert isinstance(pl_module, RecommenderModule)
        if not pl_module.evaluated:
            return
        super().on_train_epoch_end(trainer, pl_module)
        if self.wait_count == 0:
            self.best_epoch = len(pl_module.history)
            self.best_state = {
                name: value.detach().clone() for name, value in pl_module.model.state_dict().items()
            }

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the best weights back."""
        assert isinstance(pl_module, RecommenderModule)
        if self.best_state is not None:
            pl_module.model.load_state_dict(self.best_state)

    def state_dict(self) -> dict[str, Any]:
        """Lightning's state, and the best weights."""
        return {
            **super().state_dict(),
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        super().load_state_dict(state_dict)
        self.best_epoch, self.best_state = state_dict["best_epoch"], state_dict["best_state"]


class Watched(Callback):
    """Hands on what validation gives, before the next epoch begins.

    Args:
        watch (callable): Gets the epoch, from 1, and the value; an exception of it ends the run.
        monitor (str): Metric.
    """

    def __init__(self, watch: Callable[[int, float], None], monitor: str) -> None:
        self.watch, self.monitor = watch, monitor

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the last epoch, if it was evaluated."""
        assert isinstance(pl_module, RecommenderModule)
        history = pl_module.history
        if history and self.monitor in history[-1]:
            self.watch(len(history), max(row.get(self.monitor, 0.0) for row in history))


class ResumeCheckpoint(ModelCheckpoint):
    """Replaces one file after every epoch (or every few), from which a run can go on.

    Args:
        folder (str): Where.
        every_n_epochs (int, optional): Epochs from one to the next. (default: ``1``)
    """

    FILE_EXTENSION = ".safetensors"

    def __init__(self, folder: str, every_n_epochs: int = 1) -> None:
        super().__init__(
            folder,
            filename="resume",
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )


class EpochBar(ProgressBar):
    """One tqdm bar over all epochs, drawn at most twice a second, with the best value so far.

    Args:
        best (BestWeights, optional): Where the best value stands. (default: none is shown)
    """

    def __init__(self, best: BestWeights | None = None) -> None:
        super().__init__()
        self.best = best
        self.bar: tqdm[Any] = tqdm(disable=True)

    def disable(self) -> None:
        """Lightning asks this of all processes but the first, which alone has a bar here."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins where a resumed run stands."""
        steps = int(trainer.num_training_batches)
        self.bar = tqdm(
            total=steps * (trainer.max_epochs or 0),
            initial=steps * trainer.current_epoch,
            disable=not trainer.is_global_zero,
            unit="step",
            mininterval=0.5,
            dynamic_ncols=True,
            bar_format="{desc} |{bar}| {elapsed}, {rate_fmt}{postfix}",
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Names the epoch and the best one so far."""
        epoch = f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.bar.set_description_str(epoch, refresh=False)
        if self.best is not None and self.best.best_epoch:
            best = f"best {self.best.monitor} {float(self.best.best_score):.4f}"
            self.bar.set_postfix_str(f"{best} after epoch {self.best.best_epoch}", refresh=False)

    def on_train_batch_end(self, *_: Any) -> None:
        """Counts a step."""
        self.bar.update()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves the bar as it is."""
        self.bar.close()

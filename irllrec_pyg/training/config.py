"""The settings of a training run."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from pydantic import field_validator

from ..config import Config, ConfigError, field, unknown_name
from ..ranking import LIST_METRICS, USER_METRICS

Length = Annotated[int, Ge(1)]


class TrainingConfig(Config):
    """What :func:`irllrec_pyg.training.fit` can be told with numbers and words.

    Where several values can be given, one value stands for a list of it.
    """

    # Those that make a run longer, or move it elsewhere, and change no number of an epoch.
    FREE: ClassVar[tuple[str, ...]] = ("epochs", "checkpoint_every", "accelerator")

    epochs: int = field(3000, ge=1, help="epochs at most")
    lr: float = field(
        1e-3, gt=0, le=10, help="learning rate of Adam", search=(1e-4, 1e-2), log=True
    )
    batch_size: int = field(4096, ge=1, help="triplets in a batch, on each device")
    num_negatives: int = field(1, ge=1, help="negative items for each triplet")
    num_neighbors: tuple[int, ...] | None = field(
        None,
        min_length=1,
        help="neighbours to sample in each hop, -1 for all; null: the whole graph",
    )
    eval_every: int = field(
        3, ge=0, help="epochs from one evaluation to the next; 0: none, and every epoch is trained"
    )
    patience: int = field(5, ge=1, help="evaluations without a better value before training stops")
    monitor: str = field("recall@20", help="validation metric to stop by, more is better")
    k: tuple[Length, ...] = field((5, 10, 20), min_length=1, help="lengths of the ranked lists")
    metrics: tuple[str, ...] = field(
        ("recall", "ndcg"), min_length=1, help="metrics, as evaluate() knows them"
    )
    exclude_validation: bool = field(
        False, help="whether validation items are left out of the lists at test"
    )
    seed: int = field(0, ge=0, lt=2**63, help="seed of everything random in training")
    checkpoint_every: int = field(1, ge=1, help="epochs from one resume checkpoint to the next")
    precision: str = field("32-true", help="as in Lightning, such as bf16-mixed")
    accelerator: str = field("auto", help="as in Lightning: cpu, gpu, auto")
    devices: int | str | tuple[int, ...] = field(
        1, help="as in Lightning; several train in parallel on parts of each epoch"
    )

    @field_validator("k", "metrics", "num_neighbors", "devices", mode="before")
    @classmethod
    def _sequence(cls, value: Any, info: Any) -> Any:
        if isinstance(value, Iterable) and not isinstance(value, str):
            return tuple(value)
        return value if value is None or info.field_name == "devices" else (value,)

    @field_validator("devices", mode="before")
    @classmethod
    def _devices(cls, value: Any) -> Any:
        numbered = isinstance(value, (tuple, list))
        several = value if numbered else (value,)
        whole = all(type(number) is int for number in several)
        least = 0 if numbered else -1  # their numbers, or how many; -1: all
        if isinstance(value, str) or (whole and several and min(several) >= least and value != 0):
            return value
        raise ConfigError(f"'devices' must be how many, their numbers, or 'auto', got {value!r}.")

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = [*USER_METRICS, *LIST_METRICS]
        for name in value:
            if name not in known:
                raise ConfigError(unknown_name("metric", name, known))
        return value

    @field_validator("num_neighbors")
    @classmethod
    def _counts(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and any(count < 1 and count != -1 for count in value):
            raise ConfigError(
                f"'num_neighbors' must be at least 1 for each hop, or -1, got {list(value)}.",
                "num_neighbors",
            )
        return value

    @field_validator("precision", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value

    def check_monitor(self) -> None:
        """Refuses to choose by what no evaluation measures.

        Raises:
            ConfigError: If ``monitor`` is no metric of an evaluation.
        """
        if self.monitor not in self.names:
            raise ConfigError(
                f"'monitor' must be one of {', '.join(self.names)}, got {self.monitor!r}.",
                "monitor",
            )

    @property
    def names(self) -> list[str]:
        """The metrics of an evaluation, such as ``"recall@20"``."""
        return [f"{metric}@{top}" for metric in self.metrics for top in self.k]

    @property
    def num_devices(self) -> int | str:
        """How many devices, or Lightning's word for it."""
        return len(self.devices) if isinstance(self.devices, tuple) else self.devices

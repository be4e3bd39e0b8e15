"""What a finished training run gives."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
from annotated_types import Ge

from ..config import Config
from ..files import write_text
from ..tensor_file import CheckpointError


@dataclass
class FitResult:
    """The outcome of :func:`irllrec_pyg.training.fit`.

    Args:
        test (dict): Test metrics of the best weights, such as ``{"recall@20": 0.14}``.
        validation (dict): Validation metrics at the best epoch.
        best_epoch (int): Epoch of the weights, counted from 1.
        epochs (int): Epochs that were trained.
        stopped_early (bool): Whether training ended by itself before its last epoch.
        seconds_per_epoch (float): Median time of an epoch without evaluation.
        seconds (float): Time of all epochs with evaluations, over all resumed parts.
        history (pandas.DataFrame): One row an epoch: ``epoch``, ``seconds``, ``loss``, one
            ``loss_<name>`` for each part, and validation metrics where there was an evaluation.
        similarity (str): What ranks, ``"dot"`` products or ``"cosine"``.
    """

    test: dict[str, float]
    validation: dict[str, float]
    best_epoch: int
    epochs: int
    stopped_early: bool
    seconds_per_epoch: float
    seconds: float
    history: pd.DataFrame = field(repr=False)
    similarity: str = "dot"

    @classmethod
    def from_history(
        cls,
        history: list[dict[str, float]],
        test: dict[str, float],
        best_epoch: int,
        stopped_early: bool,
        similarity: str = "dot",
        validation: dict[str, float] | None = None,
    ) -> Self:
        """Sums up the rows that training leaves, one an epoch; ``validation`` takes the place of
        the row of the best epoch.
        """
        table = pd.DataFrame(history)
        last = history[best_epoch - 1]
        evaluation = table.get("seconds_evaluation", pd.Series(dtype=float))
        return cls(
            test=test,
            validation=validation or {key: last[key] for key in last if "@" in key},
            best_epoch=best_epoch,
            epochs=len(history),
            stopped_early=stopped_early,
            seconds_per_epoch=float(table["seconds"].median()),
            seconds=float(table["seconds"].sum() + evaluation.sum()),
            history=table,
            similarity=similarity,
        )

    def save(self, path: Path, settings: dict[str, Any], model: str) -> None:
        """Writes the result as JSON, with the settings and the hash of the model it belongs to."""
        rows = [
            {key: value for key, value in row.items() if value == value}
            for row in self.history.to_dict("records")
        ]
        content = {**asdict(self), "history": rows, "settings": settings, "model": model}
        write_text(path, json.dumps(content, indent=1))

    @classmethod
    def load(cls, path: Path) -> tuple[Self, dict[str, Any], str]:
        """Reads a result, its settings and the hash of its model back.

        Raises:
            CheckpointError: If the file is damaged.
        """
        try:
            stored = _Stored(**json.loads(path.read_text(encoding="utf-8")))
            if not stored.best_epoch <= stored.epochs == len(stored.history):
                raise ValueError(
                    f"it is of {stored.epochs} epochs, the best one {stored.best_epoch}, with "
                    f"{len(stored.history)} in its history"
                )
        except (ValueError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); delete it.") from error
        values = {name: getattr(stored, name) for name in _Stored.model_fields}
        settings, model = values.pop("settings"), values.pop("model")
        return cls(**{**values, "history": pd.DataFrame(stored.history)}), settings, model


class _Stored(Config):
    """What stands in the file. In those of 0.1.0 no model is named."""

    test: dict[str, float]
    validation: dict[str, float]
    best_epoch: Annotated[int, Ge(1)]
    epochs: Annotated[int, Ge(1)]
    stopped_early: bool
    seconds_per_epoch: float
    seconds: float
    history: list[dict[str, float]]
    settings: dict[str, Any]
    similarity: Literal["dot", "cosine"] = "dot"
    model: str = ""

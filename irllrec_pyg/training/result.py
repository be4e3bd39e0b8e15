"""What a finished training run gives."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from ..checkpoint import CheckpointError
from ..files import write_text


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
    """

    test: dict[str, float]
    validation: dict[str, float]
    best_epoch: int
    epochs: int
    stopped_early: bool
    seconds_per_epoch: float
    seconds: float
    history: pd.DataFrame = field(repr=False)

    @classmethod
    def from_history(
        cls,
        history: list[dict[str, float]],
        test: dict[str, float],
        best_epoch: int,
        stopped_early: bool,
    ) -> Self:
        """Sums up the rows that training leaves, one an epoch."""
        table = pd.DataFrame(history)
        last = history[best_epoch - 1]
        evaluation = table.get("seconds_evaluation", pd.Series(dtype=float))
        return cls(
            test=test,
            validation={key: last[key] for key in last if "@" in key},
            best_epoch=best_epoch,
            epochs=len(history),
            stopped_early=stopped_early,
            seconds_per_epoch=float(table["seconds"].median()),
            seconds=float(table["seconds"].sum() + evaluation.sum()),
            history=table,
        )

    def save(self, path: Path, settings: dict[str, Any]) -> None:
        """Writes the result and the settings it belongs to as JSON."""
        rows = [
            {key: value for key, value in row.items() if value == value}
            for row in self.history.to_dict("records")
        ]
        write_text(
            path, json.dumps({**asdict(self), "history": rows, "settings": settings}, indent=1)
        )

    @classmethod
    def load(cls, path: Path) -> tuple[Self, dict[str, Any]]:
        """Reads a result and its settings back.

        Raises:
            CheckpointError: If the file is damaged.
        """
        try:
            content = json.loads(path.read_text())
            settings: dict[str, Any] = content.pop("settings")
            return cls(**{**content, "history": pd.DataFrame(content["history"])}), settings
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); delete it.") from error

"""What a search may choose: the ranges that the models' settings declare."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic.fields import FieldInfo

from ..config import ConfigError, bounds_of

if TYPE_CHECKING:
    import optuna

EDGE = 0.05  # share of a range that counts as its end
GRID = 5  # values of a range that goes up evenly
STEP = 0.5  # share of the range that was declared, by which an end moves out


@dataclass(frozen=True)
class Range:
    """Values that one setting may take.

    Args:
        low, high (int or float): The ends; whole numbers where both are.
        log (bool): Whether the search takes the logarithm.
        least, most (float): As far as the ends may move.
        choices (tuple): What to choose from where there is no order; the ends say nothing then.
    """

    low: Any = 0
    high: Any = 0
    log: bool = False
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[Any, ...] = ()

    @classmethod
    def of(cls, info: FieldInfo, most: float = math.inf) -> "Range | None":
        """What a setting declares as ``search``, or nothing.

        Args:
            info (FieldInfo): The setting.
            most (float, optional): A further bound, such as the data's. (default: none)
        """
        extra = info.json_schema_extra
        if not isinstance(extra, dict) or "search" not in extra:
            return None
        found, bounds = cls.read(extra["search"], bool(extra.get("log"))), bounds_of(info)
        if found.choices:
            return found
        least, most = bounds.get("ge", -math.inf), min(most, bounds.get("le", math.inf))
        if "gt" in bounds and not (found.log and bounds["gt"] <= 0):
            least = (found.low + bounds["gt"]) / 2  # an open bound itself is no value
        if "lt" in bounds:
            most = min(most, (found.high + bounds["lt"]) / 2)
        return replace(found, low=min(found.low, most), high=min(found.high, most)).within(
            least, most
        )

    def within(self, least: float, most: float) -> "Range":
        """The same range, whose ends may move as far as these bounds."""
        return replace(self, least=least, most=most)

    @classmethod
    def read(cls, values: Any, log: bool = False) -> "Range":
        """A range from two numbers, a list of values, or ``{low, high, log}``."""
        if mapped := isinstance(values, Mapping):
            if set(values) - {"low", "high", "log"} or not {"low", "high"} <= set(values):
                raise ConfigError(f"A range must have 'low', 'high', maybe 'log', got {values!r}.")
            log, values = bool(values.get("log", False)), (values["low"], values["high"])
        if not isinstance(values, (list, tuple)) or not values:
            raise ConfigError(f"A range must be two numbers, or a list of values, got {values!r}.")
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        if (len(values) != 2 or not numbers) and not mapped:
            return cls(choices=tuple(values))
        low, high = values
        finite = numbers and math.isfinite(low) and math.isfinite(high)
        if not finite or low > high or (log and low <= 0):
            raise ConfigError(
                f"A range must be finite and go up, from above 0 with 'log', got {values!r}."
            )
        return cls(low, high, log)

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """The value of a trial."""
        if self.choices:
            return trial.suggest_categorical(name, list(self.choices))
        if self.whole:
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def grid(self) -> list[Any]:
        """Some values of the range: each twice the one before on a logarithmic scale, else evenly
        from end to end.
        """
        if self.choices:
            return list(self.choices)
        if self.log:
            found = [self.low]
            while found[-1] * 2 <= self.high:
                found.append(found[-1] * 2)
            return found
        steps = GRID if not self.whole else min(GRID, self.high - self.low + 1)
        if steps < 2:
            return [self.low]
        values = [self.low + (self.high - self.low) * at / (steps - 1) for at in range(steps)]
        return list(dict.fromkeys(map(round, values))) if self.whole else values

    def at_end(self, value: Any) -> int:
        """-1 or 1 where a value lies at the lower or the upper end, else 0."""
        if self.choices or self.low == self.high:
            return 0
        low, high, at = (self._place(number) for number in (self.low, self.high, value))
        share = (at - low) / (high - low)
        near = EDGE if not self.whole else 0.0
        return -1 if share <= near else 1 if share >= 1 - near else 0

    def widened(self, values: list[Any]) -> "Range":
        """The range after some best values, oldest first: each at an end moves that end out."""
        found = self
        for value in values:
            end = found.at_end(value)
            if end:
                found = found._moved(end, self)
        return found

    def _moved(self, end: int, declared: "Range") -> "Range":
        step = STEP * (self._place(declared.high) - self._place(declared.low))
        if end < 0:
            return replace(self, low=max(self._value(self._place(self.low) - step), self.least))
        return replace(self, high=min(self._value(self._place(self.high) + step), self.most))

    def _place(self, value: float) -> float:
        return math.log(value) if self.log else float(value)

    def _value(self, place: float) -> Any:
        value = math.exp(place) if self.log else place
        return max(round(value), 1 if self.log else round(value)) if self.whole else value

"""Settings that many losses have, with bounds and ranges of search in one place."""

from typing import Any

from ..config import field


def loss_weight(default: float, low: float, high: float, of: str = "the loss") -> Any:
    """The weight of a loss; a search goes from ``low`` to ``high``, over its logarithm."""
    return field(default, ge=0, help=f"weight of {of}", search=(low, high), log=True)


def temperature_of(of: str, default: float, low: float, high: float, log: bool = False) -> Any:
    """What similarities are divided by, above zero; a search goes from ``low`` to ``high``."""
    return field(default, gt=0, help=f"temperature of {of}", search=(low, high), log=log)


def prototypes_on_each_side() -> Any:
    """How many intents users and items have each."""
    return field(128, ge=1, le=65536, help="prototypes on each side", search=(32, 256), log=True)

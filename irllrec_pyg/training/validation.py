"""What must be true of a resume checkpoint before Lightning takes it over."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning import LightningModule
from torch import Tensor

from ..tensor_file import check_state

MAX_THREADS = 4096


def check_checkpoint(
    checkpoint: Mapping[str, Any], module: LightningModule, adam: bool = True
) -> None:
    """Compares the state of a run with the module that is to go on with it.

    Lightning checks the weights' names and shapes only, and PyTorch nothing of Adam's moments.

    Args:
        checkpoint (mapping): Lightning's checkpoint.
        module (LightningModule): What was trained.
        adam (bool, optional): Whether its optimizer is one Adam. (default: ``True``)

    Raises:
        ValueError: If something is missing or wrong; it is named.
    """
    for name, kind in {
        "epoch": int,
        "global_step": int,
        "state_dict": dict,
        "optimizer_states": list,
        "lr_schedulers": list,
        "loops": dict,
        "callbacks": dict,
        "history": list,
    }.items():
        if type(checkpoint.get(name)) is not kind:
            raise ValueError(f"{name!r} must be of type {kind.__name__}.")
    threads = checkpoint.get("threads", 1)
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"'threads' must be from 1 to {MAX_THREADS}, got {threads!r}.")
    _check_history(checkpoint["history"])
    done = len(checkpoint["history"])
    if checkpoint["epoch"] not in (done - 1, done):  # at the end of an epoch, and after it
        raise ValueError(
            f"its history has {done} epochs, and it is of epoch {checkpoint['epoch']}."
        )
    check_state(checkpoint["state_dict"], module.state_dict())
    for state in checkpoint["callbacks"].values():
        if isinstance(state, dict) and "best_state" in state:
            _check_best(state, module, done)
    if adam:
        parameters = [value for value in module.parameters() if value.requires_grad]
        if len(checkpoint["optimizer_states"]) != 1:
            raise ValueError("it must have one optimizer.")
        _check_optimizer(checkpoint["optimizer_states"][0], parameters)


def _check_best(state: dict[Any, Any], module: LightningModule, done: int) -> None:
    for name in ("best_epoch", "wait_count"):
        if type(state.get(name)) is not int or not 0 <= state[name] <= done:
            raise ValueError(f"{name!r} must be from 0 to {done}, got {state.get(name)!r}.")
    if not isinstance(state.get("best_score"), Tensor) or state["best_score"].numel() != 1:
        raise ValueError("'best_score' must be a number.")
    if (state["best_state"] is None) != (state["best_epoch"] == 0):
        raise ValueError("it has a best epoch without weights, or weights without an epoch.")
    if state["best_state"] is not None:
        weights = module.state_dict()
        check_state(
            {f"model.{name}": value for name, value in state["best_state"].items()}, weights
        )


def _check_history(history: list[Any]) -> None:
    for number, row in enumerate(history, 1):
        if not isinstance(row, dict) or row.get("epoch") != number or "seconds" not in row:
            raise ValueError(f"row {number} of its history is not of epoch {number}.")
        for name, value in row.items():
            if type(name) is not str or type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name!r} in row {number} of its history is {value!r}.")


def _check_optimizer(optimizer: Any, parameters: Sequence[Tensor]) -> None:
    if not isinstance(optimizer, dict) or not isinstance(optimizer.get("state"), dict):
        raise ValueError("its optimizer has no state.")
    groups = optimizer.get("param_groups")
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
        raise ValueError("its optimizer must have one group of parameters.")
    if groups[0].get("params") != list(range(len(parameters))):
        raise ValueError(f"its optimizer must have {len(parameters)} parameters.")
    for at, moments in optimizer["state"].items():
        if type(at) is not int or not 0 <= at < len(parameters) or not isinstance(moments, dict):
            raise ValueError(f"its optimizer has no parameter {at!r}.")
        if set(moments) != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError(f"the moments of parameter {at} are not those of Adam.")
        like = parameters[at].new_empty(())
        expected = dict.fromkeys(("exp_avg", "exp_avg_sq"), parameters[at])
        check_state(moments, {"step": like.float(), **expected})
        if moments["step"] < 0 or (moments["exp_avg_sq"] < 0).any():
            raise ValueError(f"the moments of parameter {at} are negative.")

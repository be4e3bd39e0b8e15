"""What must be true of a resume checkpoint before Lightning takes it over."""

from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, ValidationError
from pytorch_lightning import LightningModule
from torch import Tensor

from ..tensor_file import check_state

Count = Annotated[int, Ge(0)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


class _Best(_Part):
    best_epoch: Count
    wait_count: Count
    best_score: Tensor
    best_state: dict[str, Tensor] | None


class _Moments(_Part, extra="forbid"):
    step: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor


class _Group(_Part):
    params: list[int]


class _Adam(_Part):
    state: dict[Count, _Moments]
    param_groups: list[_Group]


class _Checkpoint(_Part):
    epoch: int
    global_step: Count
    state_dict: dict[str, Tensor]
    optimizer_states: list[Any]
    lr_schedulers: list[Any]
    loops: dict[str, Any]
    callbacks: dict[str, Any]
    history: list[dict[str, int | float]]
    threads: Annotated[int, Ge(1), Le(4096)] = 1


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
    try:
        found = _Checkpoint.model_validate(checkpoint)
        bests = [
            _Best.model_validate(state)
            for state in found.callbacks.values()
            if isinstance(state, dict) and "best_state" in state
        ]
        optimizers = [_Adam.model_validate(state) for state in found.optimizer_states if adam]
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))!r}: {first['msg']}.") from None
    done = len(found.history)
    if found.epoch not in (done - 1, done):  # at the end of an epoch, and after it
        raise ValueError(f"its history has {done} epochs, and it is of epoch {found.epoch}.")
    for number, row in enumerate(found.history, 1):
        if row.get("epoch") != number or "seconds" not in row:
            raise ValueError(f"row {number} of its history is not of epoch {number}.")
    check_state(found.state_dict, module.state_dict())
    for best in bests:
        _check_best(best, module, done)
    if adam:
        _check_moments(optimizers, [value for value in module.parameters() if value.requires_grad])


def _check_best(best: _Best, module: LightningModule, done: int) -> None:
    if max(best.best_epoch, best.wait_count) > done or best.best_score.numel() != 1:
        raise ValueError(f"its best epoch is none of its {done}.")
    if (best.best_state is None) != (best.best_epoch == 0):
        raise ValueError("it has a best epoch without weights, or weights without an epoch.")
    if best.best_state is not None:
        weights = {f"model.{name}": value for name, value in best.best_state.items()}
        check_state(weights, module.state_dict())


def _check_moments(optimizers: list[_Adam], parameters: list[Tensor]) -> None:
    groups = [group.params for optimizer in optimizers for group in optimizer.param_groups]
    if len(optimizers) != 1 or groups != [list(range(len(parameters)))]:
        raise ValueError(f"it must have one optimizer, of {len(parameters)} parameters.")
    for at, moments in optimizers[0].state.items():
        if at >= len(parameters):
            raise ValueError(f"its optimizer has no parameter {at}.")
        like = parameters[at]
        check_state(
            vars(moments), {"step": like.new_empty(()).float(), "exp_avg": like, "exp_avg_sq": like}
        )
        if moments.step < 0 or (moments.exp_avg_sq < 0).any():
            raise ValueError(f"the moments of parameter {at} are negative.")

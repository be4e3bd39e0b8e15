"""Recognising tensors, for what is kept of them from one step to the next."""

import weakref
from typing import Any

from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils.weak import WeakTensorKeyDictionary

# Fused optimisers, and those that write through ``.data``, leave the version counters as they are.
_optimizer_steps: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


class Snapshot:
    """Recognises tensors: whether they are the same objects as before, unchanged since.

    It holds the tensors weakly, so an address that is used again does not deceive it. Changes in
    place are noticed by PyTorch's version counters, and the steps of its optimisers by a hook;
    only other changes through ``.data`` go unnoticed. A copy, or one that was pickled, recognises
    nothing.

    Args:
        *tensors (Tensor): What to recognise. (default: nothing is recognised)
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._seen = [(weakref.ref(tensor), *_state(tensor)) for tensor in tensors]

    def matches(self, *tensors: Tensor, changes: int = 0) -> bool:
        """Whether these are the tensors, each changed in place exactly ``changes`` times."""
        return len(tensors) == len(self._seen) > 0 and all(
            seen() is tensor
            and not tensor.is_inference()  # has no version counter
            and (address, version + changes) == _state(tensor)
            for tensor, (seen, address, version) in zip(tensors, self._seen, strict=True)
        )

    def __reduce__(self) -> tuple[type["Snapshot"], tuple[()]]:
        return Snapshot, ()


def _state(tensor: Tensor) -> tuple[int, int]:
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version + _optimizer_steps.get(tensor, 0)


def _count_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                _optimizer_steps[parameter] = _optimizer_steps.get(parameter, 0) + 1


register_optimizer_step_post_hook(_count_step)

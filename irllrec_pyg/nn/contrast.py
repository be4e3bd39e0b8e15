"""The only place where a contrastive sum is computed.

A contrastive loss compares ``B`` queries with ``S`` candidates. Written plainly it holds several
``B x S`` matrices for the backward pass. Here the queries are taken in blocks of rows, and each
block computes its share of the gradient while its similarities are at hand, so that at
most one block exists at a time and nothing but three ``(rows, width)`` gradients is kept.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

# Similarities held at once. A million float32 values are 4 MB, about one core's cache;
# a GPU wants a block large enough to fill it.
BLOCK_ENTRIES = {"cpu": 1 << 20, "cuda": 1 << 26}
LOG2_E = 1 / math.log(2)
WIDE = 256  # from here on the matrix products of a contrastive sum take most of its time
WARM = 0.2  # below, rounding a similarity to bfloat16 and dividing by the temperature shows
# With millions of candidates a block is larger than that: products of fewer rows waste the machine.
MIN_ROWS = 16
# Products in bfloat16 take most of the time even so, and are quickest with a thousand rows: then a
# block may outgrow the cache, to so many entries.
HALF_ROWS, HALF_ENTRIES = 1024, 1 << 22


def check_temperature(temperature: float) -> None:
    """Refuses a temperature by which nothing can be divided."""
    if temperature <= 0:
        raise ValueError(f"'temperature' must be positive, got {temperature}.")


def _rows_at_once(queries: Tensor, candidates: Tensor, least: int) -> int:
    entries = BLOCK_ENTRIES.get(queries.device.type, BLOCK_ENTRIES["cpu"])
    return max(1, min(queries.size(0), max(least, entries // max(1, candidates.size(0)))))


def contrast(
    query: Tensor,
    positive: Tensor,
    candidates: Tensor,
    temperature: float,
    weight: Tensor | None,
    candidate_weight: Tensor | None,
    eps: float,
    unit_length: bool = True,
    own_weight: Tensor | None = None,
    exclude: Tensor | None = None,
) -> Tensor:
    """The sum over the queries; arguments and gradients as in :class:`_Contrast`."""
    check_temperature(temperature)
    # Autocast would round all similarities before they are divided by a small temperature and
    # exponentiated. It may do so where their products are what a step consists of.
    device, half = query.device.type, None
    if (
        query.size(1) >= WIDE
        and temperature >= WARM
        and unit_length
        and torch.is_autocast_enabled(device)
    ):
        half = torch.get_autocast_dtype(device)
        half = half if half == torch.bfloat16 else None  # float16 has no room for 1 / Z
    with torch.autocast(device, enabled=False):
        out: Tensor = _Contrast.apply(  # type: ignore[no-untyped-call]
            query,
            positive,
            candidates,
            temperature,
            weight,
            candidate_weight,
            eps,
            unit_length,
            own_weight,
            exclude,
            half,
        )
    return out


class _Contrast(torch.autograd.Function):
    r"""Loss and gradients of :math:`-\log(e^{p_b} / (Z_b + \epsilon) + \epsilon)`, row blocks.

    ``p`` are the positives' scaled similarities and ``Z`` the weighted sums of exponentials.
    Vectors of unit length have every exponent in ``[-1/tau, 1/tau]``: while ``2/tau`` lies within
    the range of the dtype's exponents, neither a term nor the sum of any number of them can
    overflow or vanish. Beyond that, and for other vectors, the row's maximum is taken off first.
    With ``eps`` the positive is one of the candidates; with ``own_weight`` it is added to them, by
    that weight. ``half`` is the dtype of the three matrix products, if not that of the vectors.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        positive: Tensor,
        candidates: Tensor,
        temperature: float,
        weight: Tensor | None,
        candidate_weight: Tensor | None,
        eps: float,
        unit_length: bool,
        own_weight: Tensor | None,
        exclude: Tensor | None,
        half: torch.dtype | None,
    ) -> Tensor:
        wants = [ctx.needs_input_grad[i] for i in range(3)]  # type: ignore[attr-defined]
        bounded = unit_length and 2 / temperature < 0.9 * math.log(torch.finfo(query.dtype).max)
        # To the base of two: where PyTorch takes exp from a vendor's library, exp2 can be several
        # times as fast.
        scaled = torch.mul(
            query, LOG2_E / temperature, out=torch.empty_like(query, dtype=half or query.dtype)
        )
        keys = values = candidates.to(scaled.dtype)
        if candidate_weight is not None:
            candidate_weight = candidate_weight.to(query.dtype).view(-1, 1)
            values = (candidates * candidate_weight).to(scaled.dtype)
        least = MIN_ROWS
        if half is not None:
            least = max(least, min(HALF_ROWS, HALF_ENTRIES // max(1, candidates.size(0))))
        rows = _rows_at_once(query, candidates, least)
        makers = torch.empty_like, torch.empty_like, torch.zeros_like
        grads = [
            make(part) if want else None
            for make, part, want in zip(makers, (query, positive, candidates), wants, strict=True)
        ]
        bounds = (
            []
            if exclude is None
            else torch.searchsorted(
                exclude[0].contiguous(),
                torch.arange(0, query.size(0) + rows, rows, device=query.device),
            ).tolist()
        )
        total = query.new_zeros(())
        buffer = query.new_empty(rows, candidates.size(0))
        for start in range(0, query.size(0), rows):
            block = slice(start, start + rows)
            x, y = query[block], positive[block]
            exp = buffer[: x.size(0)]
            if half is None:
                torch.mm(scaled[block], keys.t(), out=exp)
            else:
                exp.copy_(scaled[block] @ keys.t())
            p, shift = (x * y).sum(1) / temperature, x.new_zeros(1)
            if exclude is not None:
                row, column = exclude[:, slice(*bounds[start // rows : start // rows + 2])]
                exp[row - start, column] = -torch.inf
            if not bounded:
                shift = exp.amax(1) / LOG2_E
                shift = shift if own_weight is None else torch.maximum(shift, p)
                exp.sub_(shift.view(-1, 1) * LOG2_E)
                p = p - shift
            exp.exp2_()
            z = exp.sum(1) if candidate_weight is None else (exp @ candidate_weight).view(-1)
            w = weight[block] if weight is not None else z.new_ones(())
            if eps == 0.0:
                own = 0.0 if own_weight is None else own_weight[block] * p.exp()
                z = z + own
                total += (w * (z.log() - p)).sum()
                to_p, to_z = w * (own / z - 1), w / z
            else:
                z = z + eps * torch.exp(-shift)
                ratio = p.exp() / z
                total -= (w * torch.log(ratio + eps)).sum()
                to_p = -w * ratio / (ratio + eps)
                to_z = -to_p / z
            to_p, to_z = to_p.view(-1, 1) / temperature, to_z.view(-1, 1) / temperature
            if wants[0] or wants[2]:
                exp = exp.to(scaled.dtype)
            if grads[0] is not None:
                torch.mul(exp @ values, to_z, out=grads[0][block]).addcmul_(y, to_p)
            if grads[1] is not None:
                torch.mul(x, to_p, out=grads[1][block])
            if grads[2] is not None and half is None:
                grads[2].addmm_(exp.t(), x * to_z)
            elif grads[2] is not None:
                grads[2] += exp.t() @ (x * to_z).to(half)
        if grads[2] is not None and candidate_weight is not None:
            grads[2] *= candidate_weight
        ctx.save_for_backward(*[grad for grad in grads if grad is not None])
        ctx.wants = wants  # type: ignore[attr-defined]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = iter(ctx.saved_tensors)
        return (*[next(grads) * grad if want else None for want in ctx.wants], *[None] * 8)


class Distill(torch.autograd.Function):
    """Row blocks of the divergence; its gradient in the student's similarities is ``P - P^m``."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        candidates: Tensor,
        teacher_query: Tensor,
        teacher_candidates: Tensor,
        temperature: float,
    ) -> Tensor:
        rows = _rows_at_once(query, candidates, MIN_ROWS)
        total = query.new_zeros(())
        to_query, to_candidates = torch.zeros_like(query), torch.zeros_like(candidates)
        for start in range(0, query.size(0), rows):
            block = slice(start, start + rows)
            student = torch.log_softmax(query[block] @ candidates.t() / temperature, 1)
            teacher = torch.log_softmax(
                teacher_query[block] @ teacher_candidates.t() / temperature, 1
            )
            target = teacher.exp()
            total += (target * (teacher - student)).sum()
            to_logits = student.exp_().sub_(target)
            to_query[block] = to_logits @ candidates
            to_candidates.addmm_(to_logits.t(), query[block])
        ctx.save_for_backward(to_query, to_candidates)
        ctx.scale = 1 / (temperature * query.size(0))  # type: ignore[attr-defined]
        return total / query.size(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        to_query, to_candidates = ctx.saved_tensors
        return to_query * (grad * ctx.scale), to_candidates * (grad * ctx.scale), None, None, None

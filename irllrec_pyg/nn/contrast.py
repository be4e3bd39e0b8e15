"""The only place where a contrastive sum is computed.

A contrastive loss compares ``B`` queries with ``S`` candidates. Written plainly it holds several
``B x S`` matrices for the backward pass. Here the queries are taken in blocks of rows, and each
block computes its share of the gradient while its similarities are at hand, so that at
most one block exists at a time and nothing but three ``(rows, width)`` gradients is kept.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

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


def _rows_at_once(queries: Tensor, candidates: Tensor, least: int = 0) -> int:
    entries = BLOCK_ENTRIES.get(queries.device.type, BLOCK_ENTRIES["cpu"])
    rows = max(MIN_ROWS, least, entries // max(1, candidates.size(0)))
    return max(1, min(queries.size(0), rows))


def contrast(temperature: float, *vectors: Tensor, **terms: Any) -> Tensor:
    """The sum over the queries, of queries, positives and candidates; ``terms`` as in
    :class:`_Terms`, gradients as in :class:`_Contrast`.
    """
    check_temperature(temperature)
    given = _Terms(temperature, **terms)
    device = vectors[0].device.type
    # Autocast would round all similarities before they are divided by a small temperature and
    # exponentiated. It may do so where their products are what a step consists of: see
    # `benchmarks/speed.py --model lightgcn_plus --precision bf16-mixed`.
    wide = vectors[0].size(1) >= WIDE and temperature >= WARM and given.unit_length
    if wide and torch.is_autocast_enabled(device):
        half = torch.get_autocast_dtype(device)
        if half == torch.bfloat16:  # float16 has no room for 1 / Z
            given = given._replace(half=half)
    with torch.autocast(device, enabled=False):
        out: Tensor = _Contrast.apply(*vectors, given)  # type: ignore[no-untyped-call]
    return out


class _Terms(NamedTuple):
    r"""What a contrastive sum consists of besides its vectors.

    Args:
        temperature (float): Divides every similarity.
        weight (Tensor or None): Of the queries, shape :math:`(B,)`.
        candidate_weight (Tensor or None): Of the candidates, shape :math:`(S,)`.
        eps (float): :math:`\epsilon`. Unless it is zero, the positive is one of the candidates.
        unit_length (bool): Whether the vectors have unit length.
        own_weight (Tensor or None): The weight by which the positive is added to the candidates,
            shape :math:`(B,)`.
        exclude (Tensor or None): Pairs of a query and a candidate that are left out, int64 of
            shape :math:`(2, M)`, ascending in the queries.
        half (torch.dtype or None): Of the three matrix products, if not that of the vectors.
    """

    temperature: float
    weight: Tensor | None = None
    candidate_weight: Tensor | None = None
    eps: float = 0.0
    unit_length: bool = True
    own_weight: Tensor | None = None
    exclude: Tensor | None = None
    half: torch.dtype | None = None


class _Contrast(torch.autograd.Function):
    r"""Loss and gradients of :math:`-\log(e^{p_b} / (Z_b + \epsilon) + \epsilon)`, row blocks.

    ``p`` are the positives' scaled similarities and ``Z`` the weighted sums of exponentials.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, query: Tensor, positive: Tensor, candidates: Tensor, terms: _Terms
    ) -> Tensor:
        wants = [ctx.needs_input_grad[i] for i in range(3)]  # type: ignore[attr-defined]
        makers = torch.empty_like, torch.empty_like, torch.zeros_like
        grads = [
            make(part) if want else None
            for make, part, want in zip(makers, (query, positive, candidates), wants, strict=True)
        ]
        similarities = _Similarities(query, positive, candidates, terms)
        total = query.new_zeros(())
        for block in similarities.blocks():
            exp, p, shift = similarities.exponentials(block)
            loss, to_p, to_z = _slopes(similarities.sums(exp), p, shift, block, terms)
            total += loss
            similarities.add_gradients(grads, block, exp, to_p, to_z)
        if grads[2] is not None and similarities.candidate_weight is not None:
            grads[2] *= similarities.candidate_weight
        ctx.save_for_backward(*[grad for grad in grads if grad is not None])
        ctx.wants = wants  # type: ignore[attr-defined]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = iter(ctx.saved_tensors)
        return (*[next(grads) * grad if want else None for want in ctx.wants], None)


class _Similarities:
    r"""Exponentials of a block of queries' similarities with all candidates, and their gradients.

    Vectors of unit length have every exponent in ``[-1/tau, 1/tau]``: while ``2/tau`` lies within
    the range of the dtype's exponents, neither a term nor the sum of any number of them can
    overflow or vanish. Beyond that, and for other vectors, the row's maximum is taken off first.
    """

    def __init__(self, query: Tensor, positive: Tensor, candidates: Tensor, terms: _Terms) -> None:
        self.query, self.positive, self.terms = query, positive, terms
        limit = 0.9 * math.log(torch.finfo(query.dtype).max)
        self.bounded = terms.unit_length and 2 / terms.temperature < limit
        # To the base of two: where PyTorch takes exp from a vendor's library, exp2 can be several
        # times as fast.
        dtype = terms.half or query.dtype
        self.scaled = torch.mul(
            query, LOG2_E / terms.temperature, out=torch.empty_like(query, dtype=dtype)
        )
        self.keys = self.values = candidates.to(dtype)
        self.candidate_weight = None
        if terms.candidate_weight is not None:
            self.candidate_weight = terms.candidate_weight.to(query.dtype).view(-1, 1)
            self.values = (candidates * self.candidate_weight).to(dtype)
        most = HALF_ENTRIES // max(1, candidates.size(0))
        least = 0 if terms.half is None else min(HALF_ROWS, most)
        self.rows = _rows_at_once(query, candidates, least)
        self.bounds = None if terms.exclude is None else self._bounds(terms.exclude)
        self.buffer = query.new_empty(self.rows, candidates.size(0))

    def _bounds(self, exclude: Tensor) -> list[int]:
        """Where the excluded pairs of each block begin, and where the last of them end."""
        if self.rows >= self.query.size(0):
            return [0, exclude.size(1)]  # known without asking the device
        starts = torch.arange(0, self.query.size(0) + self.rows, self.rows, device=exclude.device)
        bounds: list[int] = torch.searchsorted(exclude[0].contiguous(), starts).tolist()
        return bounds

    def blocks(self) -> Iterator[slice]:
        """The queries, some rows at a time."""
        for start in range(0, self.query.size(0), self.rows):
            yield slice(start, start + self.rows)

    def exponentials(self, block: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Exponentials of shape :math:`(b, S)`, overwritten by those of the next block; the
        positives' similarities, of shape :math:`(b,)`; what was taken off both first.
        """
        x = self.query[block]
        exp = self.buffer[: x.size(0)]
        if self.terms.half is None:
            torch.mm(self.scaled[block], self.keys.t(), out=exp)
        else:
            exp.copy_(self.scaled[block] @ self.keys.t())
        p = (x * self.positive[block]).sum(1) / self.terms.temperature
        shift = x.new_zeros(1)
        if self.bounds is not None and self.terms.exclude is not None:
            at = block.start // self.rows
            row, column = self.terms.exclude[:, self.bounds[at] : self.bounds[at + 1]]
            exp[row - block.start, column] = -torch.inf
        if not self.bounded:
            shift = exp.amax(1) / LOG2_E
            shift = shift if self.terms.own_weight is None else torch.maximum(shift, p)
            exp.sub_(shift.view(-1, 1) * LOG2_E)
            p = p - shift
        return exp.exp2_(), p, shift

    def sums(self, exp: Tensor) -> Tensor:
        """Weighted sums of exponentials over the candidates, shape :math:`(b,)`."""
        if self.candidate_weight is None:
            return exp.sum(1)
        return (exp @ self.candidate_weight).view(-1)

    def add_gradients(
        self, grads: list[Tensor | None], block: slice, exp: Tensor, to_p: Tensor, to_z: Tensor
    ) -> None:
        """Writes a block's gradients of queries and positives, and adds those of candidates."""
        x, y = self.query[block], self.positive[block]
        to_p = to_p.view(-1, 1) / self.terms.temperature
        to_z = to_z.view(-1, 1) / self.terms.temperature
        if grads[0] is not None or grads[2] is not None:
            exp = exp.to(self.scaled.dtype)
        if grads[0] is not None:
            torch.mul(exp @ self.values, to_z, out=grads[0][block]).addcmul_(y, to_p)
        if grads[1] is not None:
            torch.mul(x, to_p, out=grads[1][block])
        if grads[2] is not None and self.terms.half is None:
            grads[2].addmm_(exp.t(), x * to_z)
        elif grads[2] is not None:
            grads[2] += exp.t() @ (x * to_z).to(self.terms.half)


def _slopes(
    z: Tensor, p: Tensor, shift: Tensor, block: slice, terms: _Terms
) -> tuple[Tensor, Tensor, Tensor]:
    """A block's loss and its derivatives by ``p`` and by the sums ``z``."""
    w = z.new_ones(()) if terms.weight is None else terms.weight[block]
    if terms.eps == 0.0:
        own = 0.0 if terms.own_weight is None else terms.own_weight[block] * p.exp()
        z = z + own
        return (w * (z.log() - p)).sum(), w * (own / z - 1), w / z
    z = z + terms.eps * torch.exp(-shift)
    ratio = p.exp() / z
    to_p = -w * ratio / (ratio + terms.eps)
    return -(w * torch.log(ratio + terms.eps)).sum(), to_p, -to_p / z


class Distill(torch.autograd.Function):
    """Row blocks of the divergence; its gradient in the student's similarities is
    ``w (P - P^m)``.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        candidates: Tensor,
        teacher_query: Tensor,
        teacher_candidates: Tensor,
        temperature: float,
        weight: Tensor,
    ) -> Tensor:
        rows = _rows_at_once(query, candidates)
        total = query.new_zeros(())
        to_query, to_candidates = torch.zeros_like(query), torch.zeros_like(candidates)
        for start in range(0, query.size(0), rows):
            block = slice(start, start + rows)
            student = torch.log_softmax(query[block] @ candidates.t() / temperature, 1)
            teacher = torch.log_softmax(
                teacher_query[block] @ teacher_candidates.t() / temperature, 1
            )
            target = teacher.exp()
            total += ((target * (teacher - student)).sum(1) * weight[block]).sum()
            to_logits = student.exp_().sub_(target).mul_(weight[block, None])
            to_query[block] = to_logits @ candidates
            to_candidates.addmm_(to_logits.t(), query[block])
        ctx.save_for_backward(to_query, to_candidates)
        ctx.scale = 1 / (temperature * query.size(0))  # type: ignore[attr-defined]
        return total / query.size(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        to_query, to_candidates = ctx.saved_tensors
        scale = grad * ctx.scale
        return to_query * scale, to_candidates * scale, None, None, None, None


@torch.no_grad()
def entropies(query: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    r"""Entropies of :math:`\mathrm{softmax}(x_b \cdot s / \tau)` over the candidates, shape
    :math:`(B,)`; no gradient.
    """
    out = []
    for rows in query.split(_rows_at_once(query, candidates)):
        log_share = torch.log_softmax(rows @ candidates.t() / temperature, 1)
        out.append(-(log_share.exp() * log_share).sum(1))
    return torch.cat(out)

"""Every loss of the package; the only place where a contrastive sum is computed.

A contrastive loss compares ``B`` queries with ``S`` candidates. Written plainly it holds several
``B x S`` matrices for the backward pass. Here the queries are taken in blocks of rows, and each
block computes its share of the gradient while its similarities are still in the cache, so that at
most one block exists at a time and nothing but three ``(rows, width)`` gradients is kept.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
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


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Bayesian personalised ranking loss, `"BPR: Bayesian Personalized Ranking from Implicit
    Feedback" <https://arxiv.org/abs/1205.2618>`_.

    .. math::
        \mathcal{L} = \frac{1}{B} \sum_b \mathrm{softplus}(y_{u i^-} - y_{u i^+})

    Args:
        positive (Tensor): Scores of positive items, shape :math:`(B,)`.
        negative (Tensor): Scores of negative items, shape :math:`(B,)` or :math:`(B, n)`.
    """
    if negative.dim() > positive.dim():
        positive = positive.unsqueeze(-1)
    return F.softplus(negative - positive).mean()


def sum_of_squares(x: Tensor) -> Tensor:
    r""":math:`\|x\|^2` of all entries, a scalar."""
    out: Tensor = _SumOfSquares.apply(x)  # type: ignore[no-untyped-call]
    return out


def normalize(x: Tensor) -> Tensor:
    r"""Rows of unit length, :math:`x / \sqrt{\|x\|^2 + 10^{-8}}`, in float32 or wider."""
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    out: Tensor = _Normalize.apply(x)  # type: ignore[no-untyped-call]
    return out


def info_nce(query: Tensor, positive: Tensor, candidates: Tensor, temperature: float,
             weight: Tensor | None = None, candidate_weight: Tensor | None = None) -> Tensor:
    r"""Contrastive loss of cosines, summed over the queries.

    .. math::
        \sum_b w_b \Big[ -\cos(x_b, y_b) / \tau +
        \log \sum_s c_s \exp(\cos(x_b, s) / \tau) \Big]

    `"Representation Learning with Contrastive Predictive Coding"
    <https://arxiv.org/abs/1807.03748>`_. A query or a candidate that occurs several times is
    given once, with its multiplicity as weight: the value is the same.

    Args:
        query (Tensor): :math:`x`, shape :math:`(B, d)`.
        positive (Tensor): :math:`y`, shape :math:`(B, d)`.
        candidates (Tensor): shape :math:`(S, d)`.
        temperature (float): :math:`\tau`.
        weight (Tensor, optional): :math:`w`, shape :math:`(B,)`. (default: ones)
        candidate_weight (Tensor, optional): :math:`c`, shape :math:`(S,)`. (default: ones)

    Returns:
        A scalar, at least float32; nothing larger than a row block of the :math:`B \times S`
        similarities is ever held. Under autocast to bfloat16, the products of vectors of 256 and
        more numbers are in bfloat16 from a temperature of 0.2 on.
    """
    return _contrast(normalize(query), normalize(positive), normalize(candidates), temperature,
                     weight, candidate_weight, 0.0)


def ssl_loss(query: Tensor, positive: Tensor, temperature: float, weight: Tensor | None = None,
             candidates: Tensor | None = None, candidate_weight: Tensor | None = None) -> Tensor:
    r"""Contrastive loss of the batch against itself, averaged, as RLMRec's code writes it.

    .. math::
        -\frac{1}{\sum_b w_b} \sum_b w_b \log\Big( \frac{\exp(\cos(x_b, y_b)/\tau)}
        {\sum_s c_s \exp(\cos(x_b, s)/\tau) + 10^{-8}} + 10^{-8} \Big)

    Args:
        query (Tensor): :math:`x`, shape :math:`(B, d)`.
        positive (Tensor): :math:`y`, shape :math:`(B, d)`.
        temperature (float): :math:`\tau`.
        weight (Tensor, optional): Multiplicities :math:`w` of the rows, shape :math:`(B,)`.
            (default: ones)
        candidates (Tensor, optional): The distinct rows of ``positive``, shape :math:`(S, d)`.
            (default: ``positive``)
        candidate_weight (Tensor, optional): Their multiplicities :math:`c`, shape :math:`(S,)`.
            (default: ``weight`` where ``candidates`` is not given, else ones)
    """
    y = normalize(positive)
    total = query.size(0) if weight is None else weight.sum()
    if candidates is None:
        return _contrast(normalize(query), y, y, temperature, weight, weight, 1e-8) / total
    return _contrast(normalize(query), y, normalize(candidates), temperature, weight,
                     candidate_weight, 1e-8) / total


def log_partition(query: Tensor, candidates: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Logarithms of the sums of exponentiated dot products, averaged over the queries.

    .. math::
        \frac{1}{\sum_b w_b} \sum_b w_b \log \sum_s \exp(x_b \cdot s)

    Args:
        query (Tensor): :math:`x`, shape :math:`(B, d)`, of any length.
        candidates (Tensor): shape :math:`(S, d)`.
        weight (Tensor, optional): :math:`w`, shape :math:`(B,)`. (default: ones)
    """
    if query.dtype in (torch.float16, torch.bfloat16):
        query, candidates = query.float(), candidates.float()
    total = query.size(0) if weight is None else weight.sum()
    return _contrast(query, torch.zeros_like(query), candidates, 1.0, weight, None, 0.0,
                     unit_length=False) / total


def sampled_softmax(query: Tensor, positive: Tensor, negative: Tensor, temperature: float
                    ) -> Tensor:
    r"""Contrastive loss of cosines against each query's own negatives, averaged.

    .. math::
        -\frac{1}{B} \sum_b \log \frac{\exp(\cos(x_b, y_b)/\tau)}
        {\exp(\cos(x_b, y_b)/\tau) + \sum_n \exp(\cos(x_b, z_{bn})/\tau)}

    Args:
        query (Tensor): :math:`x`, shape :math:`(B, d)`.
        positive (Tensor): :math:`y`, shape :math:`(B, d)`.
        negative (Tensor): :math:`z`, shape :math:`(B, n, d)`.
        temperature (float): :math:`\tau`.
    """
    _check_temperature(temperature)
    candidates = torch.cat([positive.unsqueeze(1), negative], dim=1)
    with torch.autocast(query.device.type, enabled=False):
        # Cosines of the products: the (B, n, d) candidates are not normalised row by row.
        x = normalize(query).unsqueeze(2)
        candidates = candidates.to(x.dtype)
        length = (candidates.square().sum(2) + 1e-8).rsqrt()
        logits = (candidates @ x).squeeze(2) * length / temperature
        return (logits.logsumexp(1) - logits[:, 0]).mean()


def softmax_loss(query: Tensor, positive: Tensor, candidates: Tensor, temperature: float,
                 exclude: Tensor, weight: Tensor, candidate_weight: Tensor) -> Tensor:
    r"""Softmax of cosines against shared candidates of which some pairs are left out, averaged.

    .. math::
        -\frac{1}{B} \sum_b \log \frac{w_b \exp(\cos(x_b, y_b) / \tau)}
        {w_b \exp(\cos(x_b, y_b) / \tau) +
        \sum_{s \notin \mathcal{X}_b} c_s \exp(\cos(x_b, s) / \tau)}

    Args:
        query (Tensor): :math:`x`, shape :math:`(B, d)`.
        positive (Tensor): :math:`y`, shape :math:`(B, d)`.
        candidates (Tensor): shape :math:`(S, d)`.
        temperature (float): :math:`\tau`.
        exclude (Tensor): :math:`\mathcal{X}`, rows of ``query`` over rows of ``candidates``, int64
            of shape :math:`(2, M)`, ascending in the first; also where the positive is itself a
            candidate.
        weight (Tensor): :math:`w`, shape :math:`(B,)`.
        candidate_weight (Tensor): :math:`c`, shape :math:`(S,)`.
    """
    total = _contrast(normalize(query), normalize(positive), normalize(candidates), temperature,
                      None, candidate_weight, 0.0, own_weight=weight, exclude=exclude)
    return total / query.size(0) - weight.log().mean()


def distill(query: Tensor, candidates: Tensor, teacher_query: Tensor, teacher_candidates: Tensor,
            temperature: float) -> Tensor:
    r"""Divergence of a student's similarities from a teacher's, averaged over the queries.

    .. math::
        \frac{1}{B} \sum_b \mathrm{KL}\big( \mathrm{softmax}(\cos(x^m_b, \cdot) / \tau) \,\|\,
        \mathrm{softmax}(\cos(x_b, \cdot) / \tau) \big)

    Args:
        query (Tensor): The student's :math:`x`, shape :math:`(B, d)`.
        candidates (Tensor): The student's candidates, shape :math:`(S, d)`.
        teacher_query (Tensor): The teacher's :math:`x^m`, shape :math:`(B, d)`; no gradient.
        teacher_candidates (Tensor): The teacher's candidates, shape :math:`(S, d)`; no gradient.
        temperature (float): :math:`\tau`.
    """
    _check_temperature(temperature)
    parts = [normalize(part) for part in (query, candidates, teacher_query, teacher_candidates)]
    with torch.autocast(query.device.type, enabled=False):
        out: Tensor = _Distill.apply(*parts, temperature)  # type: ignore[no-untyped-call]
    return out


def _check_temperature(temperature: float) -> None:
    if temperature <= 0:
        raise ValueError(f"'temperature' must be positive, got {temperature}.")


def _rows_at_once(queries: Tensor, candidates: Tensor) -> int:
    entries = BLOCK_ENTRIES.get(queries.device.type, BLOCK_ENTRIES["cpu"])
    return max(1, min(queries.size(0), max(MIN_ROWS, entries // max(1, candidates.size(0)))))


def _contrast(query: Tensor, positive: Tensor, candidates: Tensor, temperature: float,
              weight: Tensor | None, candidate_weight: Tensor | None, eps: float,
              unit_length: bool = True, own_weight: Tensor | None = None,
              exclude: Tensor | None = None) -> Tensor:
    _check_temperature(temperature)
    # Autocast would round all similarities before they are divided by a small temperature and
    # exponentiated. It may do so where their products are what a step consists of.
    device, half = query.device.type, None
    if (query.size(1) >= WIDE and temperature >= WARM and unit_length
            and torch.is_autocast_enabled(device)):
        half = torch.get_autocast_dtype(device)
        half = half if half == torch.bfloat16 else None  # float16 has no room for 1 / Z
    with torch.autocast(device, enabled=False):
        out: Tensor = _Contrast.apply(  # type: ignore[no-untyped-call]
            query, positive, candidates, temperature, weight, candidate_weight, eps, unit_length,
            own_weight, exclude, half)
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
    def forward(ctx: FunctionCtx, query: Tensor, positive: Tensor, candidates: Tensor,
                temperature: float, weight: Tensor | None, candidate_weight: Tensor | None,
                eps: float, unit_length: bool, own_weight: Tensor | None,
                exclude: Tensor | None, half: torch.dtype | None) -> Tensor:
        wants = [ctx.needs_input_grad[i] for i in range(3)]  # type: ignore[attr-defined]
        bounded = unit_length and 2 / temperature < 0.9 * math.log(torch.finfo(query.dtype).max)
        # To the base of two: where PyTorch takes exp from a vendor's library, exp2 can be several
        # times as fast.
        scaled = (query * (LOG2_E / temperature)).to(half or query.dtype)
        keys = values = candidates.to(scaled.dtype)
        if candidate_weight is not None:
            candidate_weight = candidate_weight.to(query.dtype).view(-1, 1)
            values = (candidates * candidate_weight).to(scaled.dtype)
        rows = _rows_at_once(query, candidates)
        makers = torch.empty_like, torch.empty_like, torch.zeros_like
        grads = [make(part) if want else None for make, part, want in zip(
            makers, (query, positive, candidates), wants, strict=True)]
        bounds = [] if exclude is None else torch.searchsorted(
            exclude[0].contiguous(),
            torch.arange(0, query.size(0) + rows, rows, device=query.device)).tolist()
        total = query.new_zeros(())
        buffer = query.new_empty(rows, candidates.size(0))
        for start in range(0, query.size(0), rows):
            block = slice(start, start + rows)
            x, y = query[block] / temperature, positive[block]
            exp = buffer[: x.size(0)]
            if half is None:
                torch.mm(scaled[block], keys.t(), out=exp)
            else:
                exp.copy_(scaled[block] @ keys.t())
            p, shift = (x * y).sum(1), x.new_zeros(1)
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
            to_p, to_z = to_p.view(-1, 1), to_z.view(-1, 1)
            if wants[0] or wants[2]:
                exp = exp.to(scaled.dtype)
            if grads[0] is not None:
                grads[0][block] = ((exp @ values) * to_z + to_p * y) / temperature
            if grads[1] is not None:
                grads[1][block] = to_p * x
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
        return (*[next(grads) * grad if want else None for want in ctx.wants],
                *[None] * 8)


class _SumOfSquares(torch.autograd.Function):
    """Its gradient in one pass over ``x``; autograd through ``square`` takes three."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return x * (2 * grad)


class _Normalize(torch.autograd.Function):
    r"""With :math:`y = s x`, the gradient is :math:`s (g - y \, (y \cdot g))`: half as many passes
    as autograd needs.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        scale = (x.square().sum(-1, keepdim=True) + 1e-8).rsqrt()
        out = x * scale
        ctx.save_for_backward(out, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        out, scale = ctx.saved_tensors
        along = (grad * out).sum(-1, keepdim=True)
        return torch.addcmul(grad, out, along, value=-1).mul_(scale)


class _Distill(torch.autograd.Function):
    """Row blocks of the divergence; its gradient in the student's similarities is ``P - P^m``."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, candidates: Tensor, teacher_query: Tensor,
                teacher_candidates: Tensor, temperature: float) -> Tensor:
        rows = _rows_at_once(query, candidates)
        total = query.new_zeros(())
        to_query, to_candidates = torch.zeros_like(query), torch.zeros_like(candidates)
        for start in range(0, query.size(0), rows):
            block = slice(start, start + rows)
            student = torch.log_softmax(query[block] @ candidates.t() / temperature, 1)
            teacher = torch.log_softmax(
                teacher_query[block] @ teacher_candidates.t() / temperature, 1)
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

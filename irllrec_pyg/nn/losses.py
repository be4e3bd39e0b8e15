"""Every loss of the package; contrastive sums are computed in :mod:`.contrast`."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from .contrast import Distill, check_temperature, contrast


def bpr(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    r"""Bayesian personalised ranking loss, `"BPR: Bayesian Personalized Ranking from Implicit
    Feedback" <https://arxiv.org/abs/1205.2618>`_.

    .. math::
        \mathcal{L} = \frac{1}{B n} \sum_b \sum_{i^-}
        \mathrm{softplus}(e_u \cdot e_{i^-} - e_u \cdot e_{i^+})

    Args:
        user (Tensor): Embeddings of users, shape :math:`(B, d)`.
        positive (Tensor): Embeddings of an item of each user, shape :math:`(B, d)`.
        negative (Tensor): Embeddings of items that the users do not have, shape :math:`(B, d)`
            (:math:`n = 1`) or :math:`(B, n, d)`.
    """
    if negative.dim() > positive.dim():
        scores = (negative @ user.unsqueeze(2)).squeeze(2)
        return F.softplus(scores - (user * positive).sum(1, keepdim=True)).mean()
    # With the difference inside there is one product to form, not two.
    return F.softplus((user * (negative - positive)).sum(1)).mean()


def normalize(x: Tensor) -> Tensor:
    r"""Rows of unit length, :math:`x / \sqrt{\|x\|^2 + 10^{-8}}`, in float32 or wider."""
    out: Tensor = _Normalize.apply(x)  # type: ignore[no-untyped-call]
    return out


def info_nce(
    query: Tensor,
    positive: Tensor,
    candidates: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    candidate_weight: Tensor | None = None,
) -> Tensor:
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
    vectors = [normalize(part) for part in (query, positive, candidates)]
    return contrast(temperature, *vectors, weight=weight, candidate_weight=candidate_weight)


def ssl_loss(
    query: Tensor,
    positive: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    candidates: Tensor | None = None,
    candidate_weight: Tensor | None = None,
) -> Tensor:
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
    if candidates is None:
        candidates, candidate_weight = positive, weight
    vectors = [normalize(part) for part in (query, positive, candidates)]
    terms: dict[str, Any] = {"weight": weight, "candidate_weight": candidate_weight, "eps": 1e-8}
    loss = contrast(temperature, *vectors, **terms)
    return loss / (len(query) if weight is None else weight.sum())


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
    loss = contrast(
        1.0, query, torch.zeros_like(query), candidates, weight=weight, unit_length=False
    )
    return loss / (len(query) if weight is None else weight.sum())


def sampled_softmax(
    query: Tensor, positive: Tensor, negative: Tensor, temperature: float
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
    check_temperature(temperature)
    candidates = torch.cat([positive.unsqueeze(1), negative], dim=1)
    with torch.autocast(query.device.type, enabled=False):
        # Cosines of the products: the (B, n, d) candidates are not normalised row by row.
        x = normalize(query).unsqueeze(2)
        candidates = candidates.to(x.dtype)
        length = (candidates.square().sum(2) + 1e-8).rsqrt()
        logits = (candidates @ x).squeeze(2) * length / temperature
        return (logits.logsumexp(1) - logits[:, 0]).mean()


def softmax_loss(
    query: Tensor,
    positive: Tensor,
    candidates: Tensor,
    temperature: float,
    exclude: Tensor,
    weight: Tensor,
    candidate_weight: Tensor,
) -> Tensor:
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
    vectors = [normalize(part) for part in (query, positive, candidates)]
    terms = {"candidate_weight": candidate_weight, "own_weight": weight, "exclude": exclude}
    return contrast(temperature, *vectors, **terms) / len(query) - weight.log().mean()


def distill(
    query: Tensor,
    candidates: Tensor,
    teacher_query: Tensor,
    teacher_candidates: Tensor,
    temperature: float,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Divergence of a student's similarities from a teacher's, averaged over the queries.

    .. math::
        \frac{1}{B} \sum_b w_b \, \mathrm{KL}\big( \mathrm{softmax}(\cos(x^m_b, \cdot) / \tau)
        \,\|\, \mathrm{softmax}(\cos(x_b, \cdot) / \tau) \big)

    Args:
        query (Tensor): The student's :math:`x`, shape :math:`(B, d)`.
        candidates (Tensor): The student's candidates, shape :math:`(S, d)`.
        teacher_query (Tensor): The teacher's :math:`x^m`, shape :math:`(B, d)`; no gradient.
        teacher_candidates (Tensor): The teacher's candidates, shape :math:`(S, d)`; no gradient.
        temperature (float): :math:`\tau`.
        weight (Tensor, optional): :math:`w`, shape :math:`(B,)`. (default: ones)
    """
    check_temperature(temperature)
    parts = [normalize(part) for part in (query, candidates, teacher_query, teacher_candidates)]
    with torch.autocast(query.device.type, enabled=False):
        weight = parts[0].new_ones(parts[0].size(0)) if weight is None else weight
        out: Tensor = Distill.apply(*parts, temperature, weight)  # type: ignore[no-untyped-call]
    return out


class _Normalize(torch.autograd.Function):
    r"""With :math:`y = s x`, the gradient is :math:`s (g - y \, (y \cdot g))`: half as many passes
    as autograd needs.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        scale = (length.square() + 1e-8).rsqrt()
        out: Tensor = x * scale
        ctx.save_for_backward(out, scale)
        ctx.dtype = x.dtype  # type: ignore[attr-defined]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        out, scale = ctx.saved_tensors
        along = (grad * out).sum(-1, keepdim=True)
        out = torch.addcmul(grad, out, along, value=-1).mul_(scale)
        return out.to(ctx.dtype)

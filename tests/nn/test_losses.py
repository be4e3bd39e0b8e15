import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from irllrec_pyg.nn import contrast
from irllrec_pyg.nn.losses import bpr, distill, info_nce, normalize, ssl_loss


def cosine(x, y):
    """Guarded cosine of two vectors, one element at a time."""
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    norms = [torch.sqrt(sum(a * a for a in v) + 1e-8) for v in (x, y)]
    return dot / (norms[0] * norms[1])


def naive_nce(query, positive, candidates, tau):
    total = 0.0
    for x, y in zip(query, positive, strict=True):
        z = sum(torch.exp(cosine(x, s) / tau) for s in candidates)
        total = total - cosine(x, y) / tau + torch.log(z)
    return total


def naive_ssl(query, positive, tau):
    total = 0.0
    for x, y in zip(query, positive, strict=True):
        z = sum(torch.exp(cosine(x, s) / tau) for s in positive) + 1e-8
        total = total - torch.log(torch.exp(cosine(x, y) / tau) / z + 1e-8)
    return total / len(query)


def leaves(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in shapes
    ]


def assert_same(ours, naive, inputs):
    torch.testing.assert_close(ours, naive)
    for a, b in zip(
        torch.autograd.grad(3 * ours, inputs, retain_graph=True),
        torch.autograd.grad(3 * naive, inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.fixture(params=[1, 7, 10_000])
def block(request, monkeypatch):
    """Row blocks of one query, of a few, and of all at once."""
    monkeypatch.setattr(contrast, "MIN_ROWS", 1)
    monkeypatch.setitem(contrast.BLOCK_ENTRIES, "cpu", request.param)


@pytest.mark.parametrize("tau", [0.005, 0.2, 1.0])
def test_info_nce_equals_a_loop(block, tau):
    query, positive, candidates = inputs = leaves((5, 3), (5, 3), (4, 3))
    assert_same(
        info_nce(query, positive, candidates, tau),
        naive_nce(query, positive, candidates, tau),
        inputs,
    )


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_ssl_loss_equals_a_loop(block, tau):
    query, positive = inputs = leaves((5, 3), (5, 3))
    assert_same(ssl_loss(query, positive, tau), naive_ssl(query, positive, tau), inputs)


def test_multiplicities_stand_for_repeated_rows(block):
    query, positive, candidates = inputs = leaves((3, 4), (3, 4), (2, 4))
    weight, count = torch.tensor([2, 1, 3]), torch.tensor([1, 4])
    row = torch.arange(3).repeat_interleave(weight)
    column = torch.arange(2).repeat_interleave(count)
    assert_same(
        info_nce(query, positive, candidates, 0.3, weight.double(), count.double()),
        naive_nce(query[row], positive[row], candidates[column], 0.3),
        inputs,
    )
    assert_same(
        ssl_loss(query, positive, 0.3, weight.double()),
        naive_ssl(query[row], positive[row], 0.3),
        inputs[:2],
    )


def test_distill_equals_a_loop(block):
    inputs = leaves((4, 3), (5, 3), (4, 3), (5, 3))

    def naive(query, candidates, teacher_query, teacher_candidates, tau):
        total = 0.0
        for x, x_m in zip(query, teacher_query, strict=True):
            student = torch.stack([cosine(x, s) / tau for s in candidates]).log_softmax(0)
            teacher = torch.stack([cosine(x_m, s) / tau for s in teacher_candidates]).softmax(0)
            for p, q in zip(teacher.detach(), student, strict=True):
                total = total + p * (torch.log(p) - q)
        return total / len(query)

    assert_same(distill(*inputs, 0.4), naive(*inputs, 0.4), inputs[:2])


@pytest.mark.parametrize("negatives", [1, 3])
def test_bpr_equals_a_loop(negatives):
    user, positive, negative = leaves((4, 5), (4, 5), (4, negatives, 5))
    naive = torch.zeros((), dtype=user.dtype)
    for e, i, others in zip(user, positive, negative, strict=True):
        for j in others:
            naive = naive + torch.log(1 + torch.exp(e @ j - e @ i)) / (4 * negatives)
    ours = bpr(user, positive, negative[:, 0] if negatives == 1 else negative)
    assert_same(ours, naive, [user, positive, negative])


def test_exponents_neither_overflow_nor_vanish():
    # In float32 exp(1 / 0.005) is infinite and exp(-2 / 0.005) is zero.
    x = torch.eye(3).repeat(2, 1)
    value = info_nce(x, -x, -x[:1], 0.005)
    assert torch.isfinite(value)
    exact = naive_nce(x.double(), -x.double(), -x[:1].double(), 0.005)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-3)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
        return out


def test_the_matrix_of_similarities_never_exists(monkeypatch):
    monkeypatch.setattr(contrast, "MIN_ROWS", 1)
    monkeypatch.setitem(contrast.BLOCK_ENTRIES, "cpu", 3000)
    x = torch.randn(600, 4, requires_grad=True)
    y = torch.randn(600, 4, requires_grad=True)
    with LargestTensor() as largest:
        (info_nce(x, y, y, 0.2) + ssl_loss(x, y, 1.0) + distill(x, y, y, x, 0.2)).backward()
    assert 600 * 4 <= largest.entries <= 3000


def test_nor_does_it_with_wide_vectors_in_bfloat16(monkeypatch):
    monkeypatch.setattr(contrast, "MIN_ROWS", 1)
    monkeypatch.setitem(contrast.BLOCK_ENTRIES, "cpu", 3000)
    monkeypatch.setattr(contrast, "HALF_ENTRIES", 200_000)
    x = torch.randn(700, contrast.WIDE, requires_grad=True)
    with LargestTensor() as largest, torch.autocast("cpu", torch.bfloat16):
        info_nce(x, x, x, 0.2).backward()
    assert 700 * contrast.WIDE <= largest.entries <= 200_000


def test_vectors_in_bfloat16_are_normalized_in_float32():
    x = torch.randn(5, 40).bfloat16().requires_grad_()
    rows = normalize(x)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, torch.nn.functional.normalize(x.detach().float()))
    weight = torch.randn(5, 40)
    (rows * weight).sum().backward()
    wide = x.detach().float().requires_grad_()
    (torch.nn.functional.normalize(wide) * weight).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(x.grad.float(), wide.grad, rtol=1e-2, atol=1e-4)


def test_a_temperature_that_is_not_positive_is_refused():
    x = torch.randn(2, 2)
    for loss in (
        lambda: info_nce(x, x, x, 0.0),
        lambda: ssl_loss(x, x, -1.0),
        lambda: distill(x, x, x, x, 0.0),
    ):
        with pytest.raises(ValueError, match="temperature"):
            loss()


@pytest.mark.parametrize(
    ("size", "temperature", "narrow"),
    [(contrast.WIDE, 0.2, True), (contrast.WIDE, 0.1, False), (contrast.WIDE - 1, 0.2, False)],
)
@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y, t: info_nce(x, y, y, t, torch.arange(1.0, 31), torch.arange(2.0, 32)),
        lambda x, y, t: ssl_loss(x, y, t, torch.arange(1.0, 31)),
    ],
)
def test_products_of_wide_vectors_are_in_bfloat16_under_autocast(
    loss, size, temperature, narrow, monkeypatch
):
    monkeypatch.setitem(contrast.BLOCK_ENTRIES, "cpu", 200)
    monkeypatch.setattr(contrast, "HALF_ROWS", 8)
    torch.manual_seed(0)
    y = torch.randn(30, size)
    x, y = (y + 2 * torch.randn(30, size)).requires_grad_(), y.requires_grad_()
    values, grads = [], []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            values.append(loss(x, y, temperature))
        grads.append(torch.autograd.grad(values[-1], (x, y)))
    assert values[1].dtype == torch.float32
    assert (not torch.equal(*values)) == narrow
    torch.testing.assert_close(*values, rtol=2e-3, atol=0)
    for exact, rounded in zip(*grads, strict=True):
        assert (exact - rounded).norm() < 0.02 * exact.norm()

import copy

import pytest
import torch

from irllrec_pyg.nn import mlp
from irllrec_pyg.nn.mlp import TextMLP


@pytest.mark.parametrize("rows", [1, 3, 10, 50])
def test_blocks_of_rows_make_no_difference(rows, monkeypatch):
    torch.manual_seed(0)
    model = TextMLP(6, 4).double()
    x = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
    plain = model[2](torch.nn.functional.leaky_relu(model[0](x), 0.01))
    monkeypatch.setattr(mlp, "BLOCK_BYTES", rows * 5 * 8)
    assert len(model.hidden(x)) == -(-10 // rows)
    out = model(x)
    torch.testing.assert_close(out, plain)
    inputs = [x, *model.parameters()]
    for ours, expected in zip(
        torch.autograd.grad(out.square().sum(), inputs),
        torch.autograd.grad(plain.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, expected)


def test_no_row():
    assert TextMLP(6, 4)(torch.empty(0, 6)).shape == (0, 4)


def test_gradients_of_many_blocks_are_added_up_in_float32(monkeypatch):
    torch.manual_seed(0)
    exact, x = TextMLP(16, 8), torch.rand(2000, 16)
    exact(x).sum().backward()
    expected = exact[0].weight.grad
    gaps = []
    for rows in (2000, 5):
        monkeypatch.setattr(mlp, "BLOCK_BYTES", rows * 12 * 4)
        model = copy.deepcopy(exact)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            model(x).float().sum().backward()
        gaps.append((model[0].weight.grad - expected).norm() / expected.norm())
    assert gaps[1] < 1.5 * gaps[0]

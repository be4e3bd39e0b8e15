import torch

from irllrec_pyg.nn.mlp import TextMLP


def test_equals_two_layers_and_leaves_what_it_reads():
    torch.manual_seed(0)
    model = TextMLP(6, 4).double()
    x = torch.randn(10, 6, dtype=torch.float64)
    before = x.clone()
    expected = torch.nn.functional.leaky_relu(x @ model[0].weight.t() + model[0].bias, 0.01)
    torch.testing.assert_close(model(x), expected @ model[2].weight.t() + model[2].bias)
    torch.testing.assert_close(model.output(model.hidden(x)), model(x))
    assert torch.equal(x, before)


def test_no_row():
    assert TextMLP(6, 4)(torch.empty(0, 6)).shape == (0, 4)

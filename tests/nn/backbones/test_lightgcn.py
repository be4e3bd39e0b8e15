import pytest
import torch

from irllrec_pyg.nn import LightGCN, Recommender

from . import dense


@pytest.mark.parametrize("keep_rate", [1.0, 0.6])
def test_equals_dense_propagation_with_its_gradients(tiny_data, keep_rate):
    backbone = LightGCN(tiny_data, embedding_size=4, num_layers=3, keep_rate=keep_rate)
    model = Recommender(backbone).double()
    torch.manual_seed(5)
    loss = model.losses(dense.USER, dense.POS, dense.NEG)["bpr"]
    torch.manual_seed(5)
    matrix = dense.values(backbone.graph.drop_edges(torch.float64, keep_rate))
    assert torch.equal(matrix, matrix.t()) == (keep_rate == 1.0)
    expected = dense.bpr(sum(dense.lightgcn(backbone.embedding, [matrix] * 3)))
    dense.same(loss, expected, [backbone.embedding])


@pytest.mark.parametrize("keep_rate", [0.0, 1.2])
def test_a_keep_rate_out_of_range_is_refused(tiny_data, keep_rate):
    with pytest.raises(ValueError, match="'keep_rate'"):
        LightGCN(tiny_data, embedding_size=4, keep_rate=keep_rate)


def test_parameters_are_xavier_uniform_for_users_and_items_apart(tiny_data):
    backbone = LightGCN(tiny_data, embedding_size=64)
    for part in backbone.embedding.split([12, 9]):
        bound = (6 / (len(part) + 64)) ** 0.5
        assert 0.95 * bound < part.abs().max() <= bound

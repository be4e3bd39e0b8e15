import pytest
import torch

from irllrec_pyg import triplet_loader
from irllrec_pyg.nn import AutoCF, Recommender
from tests.nn.conv.test_graph_transformer_conv import naive as attention

from . import dense


def build(data, **kwargs):
    torch.manual_seed(0)
    kwargs = {"num_seeds": 2, "mask_depth": 1, "redraw_every": 3, "weight": 0.5, **kwargs}
    backbone = AutoCF(data, embedding_size=4, num_layers=2, num_transformers=2, heads=2, **kwargs)
    return Recommender(backbone).double(), backbone


@pytest.mark.parametrize("augment", [False, True])
def test_equals_the_formulas_with_their_gradients(tiny_data, augment):
    model, backbone = build(tiny_data)
    losses = model.losses(dense.USER, dense.POS, dense.NEG, augment)
    encoder, decoder = dense.normalized(dense.ones(backbone.graph)), backbone.graph
    if augment:
        encoder, decoder = dense.values(backbone._drawn.encoder), backbone._drawn.decoder
        assert (encoder != 0).sum() < backbone.graph.num_edges < decoder.num_edges
    layers = dense.lightgcn(backbone.embedding, [encoder] * 2)
    for conv in backbone.transformers:
        layers.append(attention(conv, layers[-1], decoder.edge_index))
    e = sum(layers)
    users, items = dense.USER.unique(), 12 + dense.POS.unique()
    expected = 0.5 * (
        (e[users] @ e[:12].t()).exp().sum(1).log().mean()
        + (e[items] @ e[12:].t()).exp().sum(1).log().mean()
    )
    expected = expected + (e[dense.USER] @ e[12:].t()).exp().sum(1).log().mean()
    parameters = [backbone.embedding, *(conv.query.weight for conv in backbone.transformers)]
    dense.same(losses["ssl"], expected, parameters)
    product = (e[dense.USER] * e[12 + dense.POS]).sum(1)
    dense.same(losses["bpr"], -product.mean(), parameters)


def test_large_embeddings_do_not_overflow(tiny_data):
    model, backbone = build(tiny_data)
    with torch.no_grad():
        backbone.float().embedding.mul_(1e3)
    losses = model.losses(dense.USER, dense.POS, dense.NEG)
    losses["total"].backward()
    assert torch.isfinite(losses["total"])
    assert torch.isfinite(backbone.embedding.grad).all()


def test_graphs_are_shared_by_some_batches_of_an_epoch(tiny_data):
    model, backbone = build(tiny_data)
    drawn, infomax = [], []
    for step in range(8):
        if step == 5:  # a new epoch after two batches of a draw
            backbone.begin_epoch()
        losses = model.losses(dense.USER, dense.POS, dense.NEG)
        drawn.append(backbone._drawn)
        infomax.append(losses["infomax"].item() != 0)
    assert infomax == [True, False, False, True, False, True, False, False]
    assert [drawn[i] is drawn[i - 1] for i in range(1, 8)] == [not fresh for fresh in infomax[1:]]
    assert model.losses(dense.USER, dense.POS, dense.NEG, augment=False)["infomax"] == 0


def test_infomax_is_minus_the_mean_of_the_noisy_scores(tiny_data):
    from irllrec_pyg.nn.backbones.masking import gumbel, local_global_scores

    model, backbone = build(tiny_data)
    torch.manual_seed(5)
    loss = model.losses(dense.USER, dense.POS, dense.NEG)["infomax"]
    torch.manual_seed(5)
    scores = gumbel(local_global_scores(backbone.graph, backbone.embedding))
    dense.same(loss, -scores.mean(), [backbone.embedding])


def test_evaluation_uses_the_whole_graph_twice(tiny_data):
    model, _ = build(tiny_data)
    before = model.score(torch.arange(12))
    model.losses(dense.USER, dense.POS, dense.NEG)
    assert torch.equal(model.score(torch.arange(12)), before)
    assert model.losses(dense.USER, dense.POS, dense.NEG)["infomax"] == 0  # not a batch


def test_more_seeds_than_nodes_and_a_sampled_graph(tiny_data):
    model, backbone = build(tiny_data, num_seeds=100)
    losses = model.losses(dense.USER, dense.POS, dense.NEG)
    assert torch.isfinite(losses["total"])
    assert (backbone._drawn.encoder.value == 0).all()
    for batch in triplet_loader(tiny_data, batch_size=8, num_neighbors=[2, 2]):
        losses = model.losses_from_batch(batch)
        assert losses["infomax"] != 0  # each neighbourhood is a graph of its own
        assert torch.isfinite(losses["total"])


def test_a_bad_schedule_is_refused(tiny_data):
    with pytest.raises(ValueError, match="'redraw_every'"):
        build(tiny_data, redraw_every=0)

import pytest
import torch

from irllrec_pyg.nn import SGL, Recommender

from . import dense

MODES = ["edge_drop", "node_drop", "random_walk"]


def build(data, augmentation="edge_drop", **kwargs):
    torch.manual_seed(0)
    backbone = SGL(
        data,
        4,
        num_layers=3,
        augmentation=augmentation,
        keep_rate=0.6,
        weight=0.5,
        temperature=0.3,
        **kwargs,
    )
    return Recommender(backbone).double(), backbone


def naive_view(backbone, augmentation):
    x, graph = backbone.embedding, backbone.graph
    if augmentation == "node_drop":
        keep = torch.rand(21, 1) < 0.6
        return sum(dense.lightgcn(x * keep, [dense.values(graph.adjacency(torch.float64))] * 3))
    draws = 3 if augmentation == "random_walk" else 1
    matrices = [dense.values(graph.drop_edges(torch.float64, 0.6)) for _ in range(draws)]
    return sum(dense.lightgcn(x, matrices * (3 // draws)))


@pytest.mark.parametrize("augmentation", MODES)
def test_equals_dense_passes_with_their_gradients(tiny_data, augmentation):
    model, backbone = build(tiny_data, augmentation)
    torch.manual_seed(5)
    losses = model.losses(dense.USER, dense.POS, dense.NEG)
    torch.manual_seed(5)
    first, second = (naive_view(backbone, augmentation) for _ in range(2))
    assert not torch.equal(first, second)
    expected = 0.5 * dense.contrast(first, second, 0.3, negatives=True)
    dense.same(losses["ssl"], expected, [backbone.embedding])
    clean = dense.lightgcn(backbone.embedding, [dense.normalized(dense.ones(backbone.graph))] * 3)
    dense.same(losses["bpr"], dense.bpr(sum(clean)), [backbone.embedding])


def test_several_negatives_count_as_one_on_average(tiny_data):
    model, _ = build(tiny_data)
    one = model.losses(dense.USER, dense.POS, dense.NEG, augment=False)["ssl"]
    three = model.losses(dense.USER, dense.POS, dense.NEG.view(-1, 1).repeat(1, 3), augment=False)[
        "ssl"
    ]
    torch.testing.assert_close(one, three)


@pytest.mark.parametrize("augmentation", MODES)
def test_views_keep_what_the_rate_says(tiny_data, augmentation):
    _, backbone = build(tiny_data, augmentation)
    graph, x = backbone.graph, torch.ones(21, 4, dtype=torch.float64)
    drawn, kept_rows = [], []
    original = graph.drop_edges
    graph.drop_edges = lambda *args: drawn.append(original(*args)) or drawn[-1]
    for _ in range(200):
        layers = backbone.view(graph, x)
        kept_rows.append((layers[0] != 0).all(1))
    if augmentation == "node_drop":
        rate, count = torch.stack(kept_rows).double().mean(), 200 * 21
        assert all(torch.equal(a.value, graph.normalized(torch.float64)) for a in drawn)
    else:
        kept = torch.stack([a.value != 0 for a in drawn])
        assert len(kept) == 200 * (3 if augmentation == "random_walk" else 1)
        rate, count = kept.double().mean(), kept.numel()
        # Both directions of an interaction fall independently.
        both = (kept & kept[:, graph.reverse]).double().mean()
        assert abs(both - 0.36) < 0.03
        # What is kept is not rescaled.
        assert torch.equal(drawn[0].value[kept[0]], graph.normalized(torch.float64)[kept[0]])
    assert abs(rate - 0.6) < 4 * (0.24 / count) ** 0.5


def test_the_masked_input_reaches_the_views(tiny_data):
    from irllrec_pyg.nn import ProfileReconstruction

    _, backbone = build(tiny_data)
    head = ProfileReconstruction(tiny_data, backbone)
    model = Recommender(backbone, [head]).double()
    model.losses(dense.USER, dense.POS, dense.NEG, masked_nodes=torch.arange(21))["ssl"].backward()
    assert backbone.embedding.grad is None or backbone.embedding.grad.abs().sum() == 0
    assert head.mask_token.grad.abs().sum() > 0


def test_an_unknown_augmentation_is_refused(tiny_data):
    with pytest.raises(ValueError, match="'augmentation'"):
        build(tiny_data, "colour_jitter")

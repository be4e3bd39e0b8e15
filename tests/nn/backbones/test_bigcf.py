import torch

from irllrec_pyg.nn import BIGCF, IntentAlignment, ProfileReconstruction, Recommender

from . import dense


def build(data, heads=lambda backbone: ()):
    torch.manual_seed(0)
    backbone = BIGCF(
        data, 4, num_layers=2, num_intents=3, weight=0.5, temperature=0.3, center_weight=0.1
    )
    return Recommender(backbone, heads(backbone)).double(), backbone


def states(backbone):
    matrix = dense.normalized(dense.ones(backbone.graph))
    e = sum(dense.lightgcn(backbone.embedding, [matrix] * 2))
    return e, dense.intents(e, backbone.intents)


def test_equals_the_formulas_with_their_gradients(tiny_data):
    model, backbone = build(tiny_data)
    torch.manual_seed(5)
    losses = model.losses(dense.USER, dense.POS, dense.NEG)
    torch.manual_seed(5)
    e, hidden = states(backbone)
    e = e + hidden * torch.randn(21, 4, dtype=torch.float64)
    user, pos = dense.USER, 12 + dense.POS
    pairs = [
        (e[user], e[user]),
        (e[pos], e[pos]),
        (e[user], e[pos]),
        (hidden[user], hidden[user]),
        (hidden[pos], hidden[pos]),
    ]
    expected = 0.5 * sum(dense.ssl(x, y, 0.3) for x, y in pairs)
    parameters = [backbone.embedding, backbone.intents.user, backbone.intents.item]
    dense.same(losses["ssl"], expected, parameters)
    dense.same(losses["bpr"], dense.bpr(e), parameters)
    center = sum(c.square().sum() for c in parameters[1:])
    torch.testing.assert_close(losses["center"], 0.1 * center)


def test_noise_is_standard_normal_in_units_of_the_intents(tiny_data):
    _, backbone = build(tiny_data)
    e, hidden = states(backbone.double())
    noise = torch.stack([(backbone(augment=True).nodes - e) / hidden for _ in range(300)])
    assert abs(noise.mean()) < 4 / noise.numel() ** 0.5
    assert abs(noise.var() - 1) < 0.05


def test_evaluation_has_no_noise_and_needs_no_intents(tiny_data):
    model, backbone = build(tiny_data)
    e, _ = states(backbone)
    with torch.no_grad():
        assert torch.equal(backbone().nodes, backbone().nodes)
        torch.testing.assert_close(model.score(torch.arange(12)), e[:12] @ e[12:].t())


def test_the_masked_input_is_what_is_encoded(tiny_data):
    # The published variant masks nodes and then encodes the unmasked ones.
    model, backbone = build(
        tiny_data, lambda backbone: [ProfileReconstruction(tiny_data, backbone)]
    )
    losses = model.losses(
        dense.USER, dense.POS, dense.NEG, augment=False, masked_nodes=torch.arange(21)
    )
    torch.autograd.backward(losses["bpr"] + losses["ssl"] + losses["reconstruction"])
    assert backbone.embedding.grad is None or backbone.embedding.grad.abs().sum() == 0


def test_published_tower_multiplies_the_next_layer_by_its_own_prototypes(tiny_data):
    model, backbone = build(
        tiny_data,
        lambda backbone: [
            IntentAlignment(
                tiny_data,
                backbone,
                temperature=0.3,
                pairwise={"weight": 0.5},
                translation=None,
                matching=None,
                shift=1,
            )
        ],
    )
    head = next(iter(model.heads))
    assert head.intents is None
    loss = model.losses(dense.USER, dense.POS, dense.NEG, augment=False)["intent"]
    layers = backbone().layers
    matrix = dense.ones(backbone.graph)
    r = (
        sum(
            dense.adaptive(matrix, layers[i + 1], dense.intents(layers[i], backbone.intents))
            for i in range(2)
        )
        / 2
    )
    z = head.mlp(head.features)
    user, pos, neg = dense.USER, 12 + dense.POS, 12 + dense.NEG
    expected = (
        dense.nce(r[user], z[user], z[:12], 0.3)
        + dense.nce(r[pos], z[pos], z[pos], 0.3)
        + dense.nce(r[neg], z[neg], z[neg], 0.3)
    ) / 6
    dense.same(loss, 0.5 * expected, [backbone.embedding, backbone.intents.user])

import torch

from irllrec_pyg.nn import Recommender, SimGCL

from . import dense


def build(data):
    torch.manual_seed(0)
    backbone = SimGCL(data, embedding_size=4, num_layers=3, noise=0.4, weight=0.5, temperature=0.3)
    return Recommender(backbone).double(), backbone


def test_equals_dense_passes_with_their_gradients(tiny_data):
    model, backbone = build(tiny_data)
    matrix = dense.normalized(dense.ones(backbone.graph))
    torch.manual_seed(5)
    losses = model.losses(dense.USER, dense.POS, dense.NEG)
    torch.manual_seed(5)
    views = []
    for _ in range(2):
        layers = [backbone.embedding]
        for _ in range(3):
            e = matrix @ layers[-1]
            noise = torch.rand(21, 4, dtype=torch.float64)
            noise = noise / noise.norm(dim=1, keepdim=True)
            layers.append(e + 0.4 * e.sign() * noise)
        views.append(sum(layers))
    expected = 0.5 * dense.contrast(*views, 0.3, negatives=False)
    dense.same(losses["ssl"], expected, [backbone.embedding])
    clean = sum(dense.lightgcn(backbone.embedding, [matrix] * 3))
    dense.same(losses["bpr"], dense.bpr(clean), [backbone.embedding])


def test_noise_has_its_length_and_points_into_the_orthant(tiny_data):
    _, backbone = build(tiny_data)
    x = torch.randn(500, 4)
    noise = backbone.perturb(x) - x
    torch.testing.assert_close(noise.norm(dim=1), torch.full((500,), 0.4))
    assert (noise * x >= 0).all()
    assert not torch.equal(noise, backbone.perturb(x) - x)
    # Uniform before it is normalised: each entry has the same share of the squared length.
    assert ((noise.square().mean(0) / 0.04) - 1).abs().max() < 0.15


def test_without_augmentation_both_views_are_the_clean_pass(tiny_data):
    model, backbone = build(tiny_data)
    e = backbone().nodes
    loss = model.losses(dense.USER, dense.POS, dense.NEG, augment=False)["ssl"]
    torch.testing.assert_close(loss, 0.5 * dense.contrast(e, e, 0.3, negatives=False))

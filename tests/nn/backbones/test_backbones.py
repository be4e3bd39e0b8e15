"""What holds for every backbone."""

import copy

import pytest
import torch

from irllrec_pyg import triplet_loader
from irllrec_pyg.nn import (
    BIGCF,
    DCCF,
    GCCF,
    SGL,
    AlphaRec,
    AutoCF,
    IntentAlignment,
    LightGCN,
    ProfileAlignment,
    ProfileReconstruction,
    Recommender,
    SimGCL,
)

from . import dense

BACKBONES = [GCCF, LightGCN, SGL, SimGCL, DCCF, AutoCF, BIGCF, AlphaRec]
OPTIONS = {
    BIGCF: {"num_intents": 3},
    DCCF: {"num_intents": 3},
    AutoCF: {"num_seeds": 1},
    LightGCN: {"keep_rate": 0.8},
    AlphaRec: {"keep_rate": 0.8},
}


def build(kind, data, heads=True):
    torch.manual_seed(0)
    backbone = kind(data, 4, num_layers=2, **OPTIONS.get(kind, {}))
    every = [
        ProfileAlignment(data, backbone),
        ProfileReconstruction(data, backbone),
        IntentAlignment(data, backbone, num_intents=3),
    ]
    return Recommender(backbone, every if heads else [], reg_weight=1e-3)


@pytest.mark.parametrize("kind", BACKBONES)
def test_every_head_trains_every_weight(tiny_data, kind):
    model = build(kind, tiny_data)
    losses = model.losses(dense.USER, dense.POS, dense.NEG)
    assert {"bpr", "reg", "profile", "reconstruction", "intent", "translation", "matching"} <= set(
        losses
    )
    torch.testing.assert_close(losses["total"], sum(losses[k] for k in losses if k != "total"))
    (losses["total"] - losses["reg"]).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", BACKBONES)
def test_evaluation_is_deterministic_and_keeps_no_trace_of_training(tiny_data, kind):
    model = build(kind, tiny_data)
    before = model.score(torch.arange(12))
    model.losses(dense.USER, dense.POS, dense.NEG)
    with torch.no_grad():
        assert torch.equal(model.score(torch.arange(12)), before)
    assert torch.equal(model.eval().score(torch.arange(12)), before)


@pytest.mark.parametrize("kind", BACKBONES)
def test_float64_and_autocast(tiny_data, kind):
    model = build(kind, tiny_data)
    masked = torch.tensor([1, 20])
    args = dense.USER, dense.POS, dense.NEG, False, masked
    exact = copy.deepcopy(model).double().losses(*args)
    single = model.losses(*args)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model.losses(*args)
    narrow["total"].backward()
    for name, value in exact.items():
        assert value.dtype == torch.float64, name
        torch.testing.assert_close(single[name].double(), value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(narrow[name].double(), value, rtol=5e-2, atol=2e-2)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", BACKBONES)
def test_whole_neighbourhoods_are_exact(tiny_data, kind):
    model = build(kind, tiny_data, heads=False).double()
    parameters = [p for p in model.parameters() if p.requires_grad]
    options = {"batch_size": 7, "seed": 3, "num_negatives": 2}
    exact = list(triplet_loader(tiny_data, **options))
    # Adaptive weights read one hop more a layer; hidden states of the last hop need theirs too.
    sampled = list(triplet_loader(tiny_data, num_neighbors=[-1] * 5, **options))
    for a, b in zip(exact, sampled, strict=True):
        ours, expected = (model.losses_from_batch(batch, augment=False)["bpr"] for batch in (b, a))
        torch.testing.assert_close(ours, expected)
        for x, y in zip(
            torch.autograd.grad(ours, parameters, allow_unused=True),
            torch.autograd.grad(expected, parameters, allow_unused=True),
            strict=True,
        ):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)  # loaded weights are float32


@pytest.mark.parametrize("kind", BACKBONES)
def test_sampled_neighbourhoods_train_with_every_head(tiny_data, kind):
    model = build(kind, tiny_data)
    for batch in triplet_loader(tiny_data, batch_size=4, num_neighbors=[2, 2]):
        losses = model.losses_from_batch(batch)
        losses["total"].backward()
        assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("kind", BACKBONES)
def test_new_weights_on_request(tiny_data, kind):
    model = build(kind, tiny_data, heads=False)
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.backbone.reset_parameters()
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())

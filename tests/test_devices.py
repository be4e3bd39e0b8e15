"""Every published model on every device: the numbers of the CPU, and steps that wait for no GPU.

A GPU is waited for where the shape of a result depends on numbers. Tensors on PyTorch's device
``meta`` have shapes and no numbers, so such an operation fails there, and so do most whose inputs
lie on two devices: what would slow down a GPU shows without one.
"""

import contextlib
import json

import pytest
import torch
from safetensors.torch import load_file
from torch.profiler import ProfilerActivity, profile

from irllrec_pyg import build_model, triplet_loader
from irllrec_pyg.nn.conv import average, weighted_sum_conv
from irllrec_pyg.published import load_published, model_names
from irllrec_pyg.ranking import evaluate
from irllrec_pyg.training import fit

from . import test_parity
from .test_parity import CASES, MODELS, OURS, UNUSED, check, gradients

USER = torch.tensor([0, 1, 1, 5, 11])
POS = torch.tensor([0, 0, 4, 8, 0])
NEG = torch.tensor([1, 3, 1, 1, 2])
MASKED = torch.tensor([0, 3, 14, 20])
parity_data, parity_batches = test_parity.data, test_parity.batches  # fixtures

STEADY = ["lightgcn", "lightgcn_plus", "lightgcn_int", "sgl"]
# AutoCF chooses anew every ten steps what to hide: as many edges as the numbers say.
MAY_WAIT = [name for name in model_names() if name.startswith("autocf")]
NOTHING_RANDOM = ["alpharec", "dccf", "gccf", "gccf_plus", "lightgcn", "lightgcn_plus"]


def build(name, data, device="cpu", dtype=torch.float64, **overrides):
    """The same weights whatever the device and the dtype."""
    torch.manual_seed(0)
    return build_model(name, data, dataset="amazon", **overrides).double().to(device, dtype)


def elsewhere(device):
    """Dtype and tolerance to hold against float64 on the CPU: there, another dtype is tried."""
    return (torch.float32, 2e-3) if device.type == "cpu" else (torch.float64, 1e-8)


def one_step(model):
    """Losses and gradients of one batch without anything random."""
    device = model.seen_ptr.device
    triplets = (part.to(device) for part in (USER, POS, NEG))
    losses = model.losses(*triplets, augment=False, masked_nodes=MASKED.to(device))
    losses["total"].backward()
    found = {f"loss {name}": value for name, value in losses.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[f"gradient of {name}"] = parameter.grad
    return {name: value.detach().double().cpu() for name, value in found.items()}


def assert_close(ours, expected, tolerance):
    """Compares tensors by name, on the scale of each one's largest value."""
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1e-3, value.abs().max().item())
        torch.testing.assert_close(
            ours[name], value, rtol=0, atol=tolerance * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("name", model_names())
def test_losses_and_gradients(name, tiny_data, device):
    dtype, tolerance = elsewhere(device)
    expected = one_step(build(name, tiny_data))
    assert_close(one_step(build(name, tiny_data, device, dtype)), expected, tolerance)


@pytest.mark.parametrize("name", ["lightgcn_int", "lightgcn_gene", "alpharec", "autocf"])
def test_a_model_may_be_built_from_data_on_the_device(name, tiny_data, device):
    expected = one_step(build(name, tiny_data))
    ours = one_step(build(name, tiny_data.clone().to(device), device))
    assert_close(ours, expected, 1e-8)


@pytest.mark.parametrize("name", model_names())
def test_rankings(name, tiny_data, device):
    model, other = build(name, tiny_data), build(name, tiny_data, device, elsewhere(device)[0])
    columns = ["user", "item", "rank"]
    expected, ours = model.recommend(k=4)[columns], other.recommend(k=4)[columns]
    assert ours.to_dict() == expected.to_dict()
    metrics = "recall", "ndcg", "coverage"
    for split in ("val", "test"):
        expected = evaluate(model, tiny_data, split, k=(2, 5), metrics=metrics)
        ours = evaluate(other, tiny_data, split, k=(2, 5), metrics=metrics)
        assert ours == pytest.approx(expected, rel=1e-6)


def fitted(name, data, device, dtype=torch.float64):
    """Weights after an epoch, and what it has measured."""
    model = build(name, data, dtype=dtype)
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    result = fit(
        model,
        data,
        epochs=1,
        lr=0.01,
        batch_size=8,
        k=(5,),
        monitor="recall@5",
        progress=False,
        loggers=(),
        accelerator=accelerator,
    )
    weights = {key: value.double().cpu() for key, value in model.state_dict().items()}
    return weights, result


@pytest.mark.parametrize("name", NOTHING_RANDOM)
def test_an_epoch_of_training(name, tiny_data, device):
    dtype, tolerance = elsewhere(device)
    expected, of_cpu = fitted(name, tiny_data, torch.device("cpu"))
    ours, result = fitted(name, tiny_data, device, dtype)
    # Adam divides by the square roots of gradients that are nearly zero.
    assert_close(ours, expected, max(tolerance, 1e-6))
    losses = [history["loss"].iloc[0] for history in (result.history, of_cpu.history)]
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)


@pytest.mark.parametrize("name", [name for name in model_names() if name not in NOTHING_RANDOM])
def test_an_epoch_with_augmentation(name, tiny_data, device):
    start = build(name, tiny_data).state_dict()
    weights, result = fitted(name, tiny_data, device)
    assert all(value.isfinite().all() for value in weights.values())
    assert any(not torch.equal(weights[key], start[key]) for key in weights)
    assert 0 <= result.test["recall@5"] <= 1


@pytest.mark.cuda
@pytest.mark.parametrize("name", MODELS)
def test_published_numbers_on_a_gpu(name, parity_data, parity_batches):
    assert_published_numbers(name, parity_data, parity_batches, "cuda")


def assert_published_numbers(name, data, batches, device):
    """The first step of a parity case, losses and gradients."""
    case = json.loads((CASES / name / "case.json").read_text())
    expected = load_file(CASES / name / "expected.safetensors")
    sizes = {key: case[key] for key in ("embedding_size", "intent_num")}
    state = load_file(CASES / name / "state.safetensors")
    model = load_published(case["model"], state, data, case["hparams"], **sizes).to(device).train()
    user, pos, neg = (part.to(device) for part in batches[0])
    if case["num_negatives"] > 1:
        neg = torch.stack([neg.roll(n) for n in range(case["num_negatives"])], dim=1)
    masked = case["masked_nodes"]
    masked = None if masked is None else torch.tensor(masked, device=device)
    losses = model.losses(user, pos, neg, augment=False, masked_nodes=masked)
    for key, value in case["losses"][0].items():
        if key in OURS:
            assert losses[OURS[key]].item() == pytest.approx(value, rel=1e-5, abs=1e-8), key
    losses["total"].backward()
    ours = gradients(model)
    for key, value in expected.items():
        prefix, _, key = key.partition(".")
        if prefix == "grad" and not key.startswith(UNUSED):
            check(ours[key.removeprefix("gene_")].cpu(), value, 1e-5)


def without_numbers(monkeypatch):
    """Teaches the device ``meta`` what it lacks: autocast and sparse products."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *args: False)
    for module in (weighted_sum_conv, average):
        monkeypatch.setattr(module, "product", lambda matrix, x, add=None: torch.empty_like(x))
    monkeypatch.setattr(
        average.Structure, "add_dots", lambda self, value, x, y: torch.empty_like(value)
    )


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize("name", [name for name in model_names() if name not in MAY_WAIT])
def test_nothing_in_a_step_depends_on_numbers(name, num_negatives, tiny_data, monkeypatch):
    batch = next(iter(triplet_loader(tiny_data, 16, num_negatives=num_negatives))).to("meta")
    model = build(name, tiny_data).train()
    without_numbers(monkeypatch)
    model.to("meta")
    model.begin_epoch()
    loss = model.losses_from_batch(batch)["total"]
    loss.backward()
    assert loss.is_meta
    assert all(p.grad.is_meta for p in model.parameters() if p.grad is not None)


def test_nothing_in_a_step_of_the_paper_depends_on_numbers(tiny_data, monkeypatch):
    batch = next(iter(triplet_loader(tiny_data, 16))).to("meta")
    model = build("lightgcn_int", tiny_data, mode="as_in_paper").train()
    without_numbers(monkeypatch)
    model.to("meta")
    model.losses_from_batch(batch)["total"].backward()
    assert all(p.grad.is_meta for p in model.parameters() if p.grad is not None)


def test_the_device_meta_tells_what_depends_on_numbers(tiny_data, monkeypatch):
    model = build("lightgcn_plus", tiny_data).train()
    without_numbers(monkeypatch)
    model.to("meta")
    with pytest.raises(NotImplementedError, match="bincount"):  # nobody has counted these
        model.losses(*(part.to("meta") for part in (USER, POS, NEG)))


@pytest.mark.cuda
@pytest.mark.parametrize("name", STEADY)
def test_a_step_does_not_wait_for_the_gpu(name, tiny_data, record_property):
    model = build(name, tiny_data, "cuda", torch.float32).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], fused=True)
    pinned = [batch.pin_memory() for batch in triplet_loader(tiny_data, 16, device="cpu")]

    def step(batch):
        batch = batch.to("cuda", non_blocking=True)
        optimizer.zero_grad()
        model.losses_from_batch(batch)["total"].backward()
        optimizer.step()

    model.begin_epoch()
    step(pinned[0])  # What is kept for all steps is made in the first one.
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(pinned[1])
    finally:
        torch.cuda.set_sync_debug_mode("default")

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        step(pinned[1])
        torch.cuda.synchronize()
    launches = sum(event.count for event in found.key_averages() if "LaunchKernel" in event.key)
    record_property("launches", launches)
    print(f"{name}: {launches} kernel launches a step")
    assert 0 < launches < 2000

"""The baseline of the speed benchmark computes the published numbers too."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import irllrec_pyg.ranking
from benchmarks.plain import Plain, PlainLoader, evaluate, plain_losses
from irllrec_pyg import IRLLRecDataset, build_model
from irllrec_pyg.published import load_published

CASES = Path(__file__).parents[1] / "parity" / "cases"
# AlphaRec has no plain twin: it was added to the published code later, and no time of it is known.
MODELS = sorted({path.parent.name for path in CASES.glob("*/case.json")} - {"alpharec"})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("plain")
    shutil.copytree(CASES / "data", root / "case" / "raw")
    return IRLLRecDataset(str(root), name="case")[0]


@pytest.fixture(scope="module")
def batch():
    triplets = np.load(CASES / "triplets.npz")
    return [torch.from_numpy(triplets[f"{side}0"]) for side in ("user", "pos", "neg")]


@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients(name, data, batch):
    case = json.loads((CASES / name / "case.json").read_text())
    masked = None if case["masked_nodes"] is None else torch.tensor(case["masked_nodes"])

    def run(losses_of):
        model = load_published(
            name,
            load_file(CASES / name / "state.safetensors"),
            data,
            case["hparams"],
            case["embedding_size"],
            case["intent_num"],
        )
        model.train()
        losses = losses_of(model)(*batch, augment=False, masked_nodes=masked)
        losses["total"].backward()
        return (
            {key: value.detach() for key, value in losses.items()},
            {key: value.grad for key, value in model.named_parameters()},
        )

    (plain, plain_grad), (ours, our_grad) = run(lambda m: Plain(m).losses), run(lambda m: m.losses)
    assert plain["bpr"].dtype == torch.float64
    published = dict(case["losses"][0])
    reg = published.pop("reg_loss", 0.0)  # also counts parameters that the model never uses
    assert plain["total"].item() - plain["reg"].item() == pytest.approx(
        case["total"][0] - reg, rel=1e-5
    )
    assert plain.keys() == ours.keys()
    for key in ours:
        assert plain[key].item() == pytest.approx(ours[key].item(), rel=1e-7, abs=1e-10), key
    for key, grad in our_grad.items():
        if grad is None:
            assert plain_grad[key] is None
        else:
            torch.testing.assert_close(plain_grad[key], grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("autocf", {}),
        ("bigcf_plus", {}),
        ("lightgcn_gene", {}),
        ("sgl", {}),
        ("simgcl", {}),
        ("lightgcn_int", {"kd_int_weight_2": 1.0}),
    ],
)
def test_augmentation_runs_and_draws_anew(name, options, tiny_data):
    model = build_model(name, tiny_data, **options)
    triplets = (torch.tensor([0, 1, 1]), torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1]))
    first, second = (plain_losses(model, *triplets)["total"] for _ in range(2))
    first.backward()
    assert first.isfinite()
    assert first != second
    assert model.backbone.embedding.grad.isfinite().all()


def test_loader_yields_every_interaction_with_a_strict_negative(tiny_data):
    loader = PlainLoader(tiny_data, batch_size=7)
    user, pos, neg = (torch.cat(part) for part in zip(*loader, strict=True))
    seen = set(zip(*tiny_data["user", "rates", "item"].edge_index.tolist(), strict=True))
    assert set(zip(user.tolist(), pos.tolist(), strict=True)) == seen
    assert len(user) == len(seen)
    assert not seen & set(zip(user.tolist(), neg.tolist(), strict=True))


def test_metrics_are_those_of_the_package(data):
    model = build_model("lightgcn", data).eval()
    with torch.no_grad():
        values = evaluate(model, torch.cat(model.embed()), data, block_size=5)
    assert values == pytest.approx(irllrec_pyg.ranking.evaluate(model, data), abs=1e-6)

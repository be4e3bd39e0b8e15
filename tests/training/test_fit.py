import os
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from pytorch_lightning import Trainer
from torch_geometric.nn import GAT

from irllrec_pyg.nn import GNNBackbone, IntentAlignment, Recommender
from irllrec_pyg.published import build_model
from irllrec_pyg.ranking import evaluate
from irllrec_pyg.tensor_file import read_tensors
from irllrec_pyg.training import BestWeights, RecommenderModule, SafetensorsIO, fit

from .runs import outcome, train

ROOT = Path(__file__).resolve().parents[2]


def naive_protocol(values, epochs, eval_every, patience):
    """Epochs that are evaluated, the best one, and the last one that is trained."""
    evaluated, best, best_epoch, waited = [], -1.0, 0, 0
    for epoch in range(1, epochs + 1):
        if epoch == 1 or (epoch - 1) % eval_every == 0:
            evaluated.append(epoch)
            value = values[len(evaluated) - 1]
            if value > best:
                best, best_epoch, waited = value, epoch, 0
            else:
                waited += 1
                if waited == patience:
                    return evaluated, best_epoch, epoch, True
    return evaluated, best_epoch, epochs, False


@pytest.mark.parametrize(
    ("seed", "eval_every", "patience"),
    [(0, 3, 5), (1, 3, 5), (2, 1, 3), (3, 2, 1), (4, 3, 2), (5, 1, 20)],
)
def test_schedule_of_evaluation_and_stopping(tiny_data, monkeypatch, seed, eval_every, patience):
    rng = random.Random(seed)
    values = [rng.choice([0.125, 0.25, 0.375, 0.5, 0.625]) for _ in range(40)]  # with ties
    pending, weights = iter(values), []

    def scripted(model, data, split, **_):
        if split == "val":
            weights.append(model.backbone.embedding.detach().clone())
            return {"recall@20": next(pending)}
        assert torch.equal(model.backbone.embedding, weights[best_index])
        tested.append(split)
        return {"recall@20": 0.5}

    tested = []
    monkeypatch.setattr("irllrec_pyg.training.module.evaluate", scripted)
    evaluated, best_epoch, epochs, stopped = naive_protocol(values, 30, eval_every, patience)
    best_index = evaluated.index(best_epoch)
    model, result = train(
        tiny_data,
        "lightgcn",
        epochs=30,
        eval_every=eval_every,
        k=(20,),
        patience=patience,
        metrics=["recall"],
    )
    got = result.history.dropna(subset="recall@20")
    assert got["epoch"].tolist() == evaluated
    assert got["recall@20"].tolist() == values[: len(evaluated)]
    assert (result.best_epoch, result.epochs, result.stopped_early) == (best_epoch, epochs, stopped)
    assert result.validation == {"recall@20": values[best_index]}
    assert tested == ["test"]
    assert torch.equal(model.backbone.embedding, weights[best_index])


def test_learns(sample):
    before = evaluate(build_model("lightgcn", sample, dataset="movie"), sample)["recall@20"]
    model, result = train(sample, "lightgcn", epochs=10)
    losses = result.history["loss"]
    assert losses.iloc[-1] < 0.3 * losses.iloc[0]
    assert result.test["recall@20"] > 2 * before
    assert result.test == evaluate(model, sample, k=(5, 20))
    assert result.validation == evaluate(model, sample, "val", k=(5, 20))
    parts = result.history.filter(like="loss_").sum(axis=1)
    assert torch.allclose(torch.tensor(parts.values), torch.tensor(losses.values))
    assert (result.history["seconds"] > 0).all()
    assert result.seconds > result.seconds_per_epoch > 0


@pytest.mark.parametrize("name", ["lightgcn_int", "lightgcn_gene"])
def test_seeds_fix_everything(sample, name):
    first = outcome(*train(sample, name, epochs=2, seed=5))
    torch.manual_seed(123)  # no other random state matters
    assert outcome(*train(sample, name, epochs=2, seed=5)) == first
    assert outcome(*train(sample, name, epochs=2, seed=6))["history"] != first["history"]


def test_the_callers_random_numbers_are_left_alone(tiny_data):
    model = build_model("lightgcn", tiny_data, dataset="movie", keep_rate=0.5)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fit(model, tiny_data, epochs=2, progress=False, accelerator="cpu")
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precisions(sample, precision):
    model, result = train(sample, "lightgcn_int", epochs=3, precision=precision)
    assert result.history["loss"].is_monotonic_decreasing
    expected = torch.float64 if precision == "64-true" else torch.float32
    assert model.backbone.embedding.dtype == expected


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_can_be_clipped(tiny_data, precision):
    model = build_model("lightgcn", tiny_data)
    before = model.backbone.embedding.detach().clone()
    fit(
        model,
        tiny_data,
        epochs=1,
        precision=precision,
        gradient_clip_val=1e-30,
        progress=False,
        eval_every=0,
    )
    # Adam divides such gradients by its epsilon of 1e-8.
    torch.testing.assert_close(model.backbone.embedding, before, rtol=0, atol=1e-12)


def test_any_pyg_model_trains_with_intents(sample):
    torch.manual_seed(0)
    backbone = GNNBackbone(sample, gnn=GAT(32, 32, num_layers=2))
    model = Recommender(
        backbone, [IntentAlignment(sample, backbone, num_intents=16, pairwise={"weight": 0.1})]
    )
    before = {name: value.detach().clone() for name, value in backbone.network.named_parameters()}
    result = fit(
        model, sample, epochs=3, lr=0.01, batch_size=512, progress=False, accelerator="cpu"
    )
    assert result.history["loss_intent"].is_monotonic_decreasing
    assert all(
        not torch.equal(value, before[name]) for name, value in backbone.network.named_parameters()
    )


def test_sampled_neighbourhoods_and_many_negatives(sample):
    _, result = train(
        sample,
        "lightgcn",
        epochs=2,
        num_neighbors=[5, 5, 5],
        num_negatives=4,
        loader_options={"drop_last": True},
    )
    assert result.history["loss"].is_monotonic_decreasing


def test_validation_items_can_be_excluded_at_test(sample):
    model, result = train(sample, "lightgcn", epochs=1, exclude_validation=True)
    assert result.test == evaluate(model, sample, k=(5, 20), exclude_validation=True)
    assert result.test != evaluate(model, sample, k=(5, 20))


def test_without_evaluation_all_epochs_count(tiny_data):
    edges = tiny_data["user", "rates", "item"]
    edges.val_edge_label_index = edges.val_edge_label_index[:, :0]
    with pytest.raises(ValueError, match="no validation interactions to stop by; with eval_"):
        train(tiny_data, "lightgcn")
    edges.edge_label_index = edges.edge_label_index[:, :0]
    model, result = train(tiny_data, "lightgcn", epochs=4, eval_every=0)
    assert (result.best_epoch, result.epochs, result.stopped_early) == (4, 4, False)
    assert (result.test, result.validation) == ({}, {})
    assert not model.training


def test_divergence_is_an_error(tiny_data):
    model = build_model("lightgcn", tiny_data, reg_weight=1e38)  # its squares are infinite
    with pytest.raises(ValueError, match="diverged: try a smaller learning rate"):
        fit(model, tiny_data, epochs=2, progress=False, loggers=(), accelerator="cpu")


def test_logs_are_complete_after_a_resumption(tiny_data, tmp_path, capsys):
    train(tiny_data, "lightgcn", epochs=2, folder=tmp_path, loggers=None, progress=True)
    shown = capsys.readouterr()
    assert "best recall@20" in shown.err
    assert "Epoch 2/2" in shown.err
    _, result = train(tiny_data, "lightgcn", epochs=5, folder=tmp_path, loggers=None)
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table["step"].tolist() == [1, 2, 3, 4, 5]
    assert table["loss"].tolist() == pytest.approx(result.history["loss"].tolist())
    assert table["recall@20"].notna().tolist() == [True, False, False, True, False]
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_nothing_is_written_without_a_folder(tiny_data, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    train(tiny_data, "lightgcn", epochs=2, loggers=None)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.filterwarnings("ignore:`isinstance")
def test_own_trainer(sample, tmp_path):
    torch.manual_seed(0)
    model = build_model("lightgcn", sample, dataset="movie")
    module = RecommenderModule(model, sample, lr=0.01, batch_size=512, k=(5, 20))
    trainer = Trainer(
        max_epochs=2,
        callbacks=[BestWeights("recall@20")],
        logger=False,
        plugins=[SafetensorsIO()],
        default_root_dir=tmp_path,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        inference_mode=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module)
    trainer.save_checkpoint(tmp_path / "mine.safetensors")
    expected, result = train(sample, "lightgcn", epochs=2)
    assert module.test_metrics == result.test
    assert torch.equal(model.backbone.embedding, expected.backbone.embedding)
    other = RecommenderModule(build_model("lightgcn", sample, dataset="movie"), sample)
    kept = SafetensorsIO().load_checkpoint(tmp_path / "mine.safetensors")
    other.load_state_dict(kept["state_dict"])
    assert torch.equal(other.model.backbone.embedding, expected.backbone.embedding)


DDP = """
import sys, torch
from irllrec_pyg.tensor_file import write_tensors
from irllrec_pyg.datasets import IRLLRecDataset
from tests.training.runs import train
if __name__ == "__main__":
    data = IRLLRecDataset(sys.argv[1], name="sample")[0]
    model, result = train(data, "lightgcn_int", epochs=3, folder=sys.argv[2], devices=2)
    rank = torch.distributed.get_rank()
    write_tensors(f"{sys.argv[2]}/weights-{rank}", model.state_dict(), {}, "weights")
"""


@pytest.mark.slow
def test_two_processes_share_an_epoch(sample, sample_root, tmp_path):
    (tmp_path / "script.py").write_text(DDP)
    folder = tmp_path / "run"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "script.py", sample_root, folder],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=280,
    )
    first, second = (read_tensors(folder / f"weights-{rank}", "weights")[0] for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (folder / "model.safetensors").exists()
    alone = train(sample, "lightgcn_int", epochs=3, batch_size=1024)[1]
    assert pd.read_json(folder / "result.json", typ="series")["test"]["recall@20"] == (
        pytest.approx(alone.test["recall@20"], rel=0.3)
    )


def test_a_model_of_other_interactions_is_refused(tiny_data):
    model = build_model("lightgcn", tiny_data)
    other = tiny_data.clone()
    edges = tiny_data["user", "rates", "item"].edge_index
    other["user", "rates", "item"].edge_index = edges[:, 1:]
    with pytest.raises(ValueError, match="other training interactions"):
        fit(model, other, epochs=1, progress=False)
    other["item"].num_nodes += 1
    with pytest.raises(ValueError, match="12 users and 9 items, and 'data' has 12 and 10"):
        fit(model, other, epochs=1, progress=False)

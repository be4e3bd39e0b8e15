import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback
from torch_geometric.nn import GAT

from irllrec_pyg.checkpoint import load_ranker
from irllrec_pyg.nn import GNNBackbone, Recommender
from irllrec_pyg.published import build_model
from irllrec_pyg.tensor_file import CheckpointError
from irllrec_pyg.training import fit

from .runs import KILL_EPOCH, Journal, outcome, train

ROOT = Path(__file__).resolve().parents[2]


def start(module, *arguments):
    """Starts a Python process like this one, with as many threads."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": str(torch.get_num_threads()),  # by others, sums round differently
        },
    )


def lines(file):
    return file.read_text().split("\n")[:-1] if file.exists() else []


@pytest.fixture(scope="module")
def killed(sample_root, tmp_path_factory):
    """The folder and the journal of a run that was killed in the middle of an epoch."""
    from irllrec_pyg.datasets import IRLLRecDataset

    folder = tmp_path_factory.mktemp("run")
    IRLLRecDataset(sample_root, name="sample")
    journal = folder / "journal"
    process = start("tests.training.runs", sample_root, folder, journal)
    while "waiting" not in lines(journal):
        assert process.poll() is None, "the run ended by itself"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    return folder


def test_a_killed_run_goes_on_with_the_same_numbers(killed, sample):
    journal = killed / "journal"
    whole = outcome(*train(sample))
    # Other initial weights show that all of them come from the checkpoint.
    resumed = outcome(*train(sample, folder=killed, model_seed=1, callbacks=[Journal(journal)]))
    assert resumed == whole
    assert lines(journal) == [
        *(f"epoch {epoch}" for epoch in range(1, KILL_EPOCH + 1)),
        "waiting",
        *(f"epoch {epoch}" for epoch in range(KILL_EPOCH, 9)),
    ]
    # A third call finds everything done.
    model, result = train(sample, folder=killed, model_seed=2, callbacks=[Journal(journal)])
    assert outcome(model, result) == whole
    assert lines(journal)[-1] == "epoch 8"
    assert not model.training
    saved = load_ranker(killed / "model.safetensors")
    # Products of embeddings differ in the last bit with where these lie in memory.
    pd.testing.assert_frame_equal(saved.recommend(7), model.recommend(7), rtol=1e-6)
    assert saved.info["test"] == whole["test"]


class Interrupt(Callback):
    """Presses Ctrl+C, or fails, in an epoch."""

    def __init__(self, epoch, error):
        self.epoch, self.error = epoch, error

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch + 1 == self.epoch and batch_idx == 2:
            raise self.error


@pytest.mark.parametrize("epoch", [1, 2])
def test_interrupted_runs_go_on(sample, tmp_path, epoch):
    options = {"name": "lightgcn", "epochs": 3, "lr": 0.05}
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="goes on from its last checkpoint"):
        train(sample, folder=tmp_path, callbacks=[Interrupt(epoch, KeyboardInterrupt())], **options)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "resume.safetensors").exists() == (epoch > 1)
    journal = tmp_path / "journal"
    resumed = train(sample, folder=tmp_path, callbacks=[Journal(journal)], **options)
    assert lines(journal) == [f"epoch {number}" for number in range(epoch, 4)]
    assert outcome(*resumed) == outcome(*train(sample, **options))


@pytest.mark.parametrize(("epochs", "patience"), [(50, 2), (6, 50)])
def test_a_run_killed_after_its_last_epoch_only_tests(sample, tmp_path, epochs, patience):
    options = {
        "name": "lightgcn",
        "epochs": epochs,
        "lr": 0.5,
        "eval_every": 1,
        "patience": patience,
    }

    class Fail(Callback):
        def on_train_end(self, trainer, pl_module):
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(sample, folder=tmp_path, callbacks=[Fail()], **options)
    journal = tmp_path / "journal"
    resumed = train(sample, folder=tmp_path, callbacks=[Journal(journal)], **options)
    assert lines(journal) == []
    assert resumed[1].test
    assert resumed[1].best_epoch < resumed[1].epochs
    assert outcome(*resumed) == outcome(*train(sample, **options))
    assert resumed[1].stopped_early == (patience == 2)
    assert (tmp_path / "resume.safetensors").exists() == (patience == 50)


def test_more_epochs_continue_a_finished_run(sample, tmp_path):
    options = {"name": "lightgcn", "folder": tmp_path}
    journal = tmp_path / "journal"
    train(sample, epochs=2, callbacks=[Journal(journal)], **options)
    longer = train(sample, epochs=4, callbacks=[Journal(journal)], **options)
    assert lines(journal) == [f"epoch {number}" for number in range(1, 5)]
    assert outcome(*longer) == outcome(*train(sample, name="lightgcn", epochs=4))
    with pytest.raises(CheckpointError, match=r"result of 4 epochs, more than 'epochs' = 3"):
        train(sample, epochs=3, **options)
    again = train(sample, epochs=3, resume=False, **options)
    assert again[1].epochs == 3


@pytest.mark.parametrize("finished", [False, True])
def test_other_settings_are_refused_and_named(sample, tmp_path, finished):
    options = {"name": "lightgcn", "epochs": 2, "folder": tmp_path}
    train(sample, **options)
    if not finished:
        (tmp_path / "result.json").unlink()
    file = "result" if finished else "resume"
    with pytest.raises(
        CheckpointError,
        match=rf"{file}\.\w+ was written with other settings: "
        r"lr is 0\.01 there and 0\.02 here\. Use another",
    ):
        train(sample, lr=0.02, **options)
    with pytest.raises(CheckpointError, match=r"keep_rate is 0\.8 there and 0\.5 here"):
        fit(
            build_model("lightgcn", sample, dataset="movie", keep_rate=0.5),
            sample,
            epochs=2,
            lr=0.01,
            batch_size=512,
            k=(5, 20),
            folder=tmp_path,
            progress=False,
            accelerator="cpu",
            loggers=(),
        )
    with pytest.raises(CheckpointError, match=r"model\.heads\.profile"):
        train(sample, **{**options, "name": "lightgcn_plus"})
    edges = sample["user", "rates", "item"]
    edges.val_edge_label_index = edges.val_edge_label_index[:, 1:]
    with pytest.raises(CheckpointError, match="validation interactions is 2x"):
        train(sample, **options)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_checkpoints_are_named(sample, tmp_path, share):
    options = {"name": "lightgcn", "epochs": 1, "folder": tmp_path}
    train(sample, **options)
    (tmp_path / "result.json").unlink()
    file = tmp_path / "resume.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"resume\.safetensors is damaged"):
        train(sample, **options)
    train(sample, resume=False, **options)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"result\.json is damaged"):
        train(sample, **options)


def test_the_checkpoint_holds_neither_texts_nor_pickle(sample, tmp_path):
    for side in ("user", "item"):
        sample[side].x = torch.randn(sample[side].num_nodes, 2000)
    train(sample, name="lightgcn", epochs=1, folder=tmp_path)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"model.safetensors", "resume.safetensors", "result.json", ".fit.lock"}
    # Four times the weights: they, the best ones, and two moments of Adam.
    assert (tmp_path / "resume.safetensors").stat().st_size < 4 * 960 * 32 * 4 + 30_000


def test_a_network_of_ones_own_is_told_apart_by_what_its_name_does_not_say(sample, tmp_path):
    def train_gat(dropout):
        torch.manual_seed(0)
        network = GAT(8, 8, num_layers=1, dropout=dropout)
        model = Recommender(GNNBackbone(sample, gnn=network, embedding_size=8))
        options = {"epochs": 1, "batch_size": 4096, "folder": tmp_path, "progress": False}
        return fit(model, sample, loggers=(), accelerator="cpu", **options)

    first = train_gat(0.0)
    with pytest.raises(CheckpointError, match=r"network\.dropout\S* is 0\.0 there and 0\.5 here"):
        train_gat(0.5)
    assert train_gat(0.0).test == first.test

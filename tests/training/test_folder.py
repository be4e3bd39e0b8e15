"""What a run leaves in its folder, and what it refuses to find there."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback

from irllrec_pyg.config import ConfigError
from irllrec_pyg.datasets import IRLLRecDataset
from irllrec_pyg.nn import Recommender
from irllrec_pyg.nn.heads import Head
from irllrec_pyg.published import build_model
from irllrec_pyg.tensor_file import read_tensors
from irllrec_pyg.training import SafetensorsIO, fit
from irllrec_pyg.training.checkpoint_io import KIND as RESUME_KIND

from .runs import outcome, train

ROOT = Path(__file__).resolve().parents[2]


class Do(Callback):
    """Calls a function when an epoch ends (from 1), or at the end of training."""

    def __init__(self, action, epoch=None):
        self.action, self.epoch = action, epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch + 1 == self.epoch:
            self.action()

    def on_train_end(self, trainer, pl_module):
        if self.epoch is None:
            self.action()


def fail():
    raise RuntimeError("power cut")


def test_a_second_run_in_the_folder_is_refused(tiny_data, tmp_path):
    refused = []

    def second():
        with pytest.raises(RuntimeError) as error:
            train(tiny_data, "lightgcn", epochs=1, lr=0.5, folder=tmp_path)
        refused.append(str(error.value))

    def from_elsewhere():
        second()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    expected = train(tiny_data, "lightgcn", epochs=2)
    got = train(
        tiny_data, "lightgcn", epochs=2, folder=tmp_path, callbacks=[Do(from_elsewhere, epoch=2)]
    )
    assert outcome(*got) == outcome(*expected)
    assert len(refused) == 2
    for message in refused:
        assert f"Another run is in the folder {tmp_path}: process {os.getpid()} on " in message
    train(tiny_data, "lightgcn", epochs=2, folder=tmp_path)  # free again


HOLD = """
import sys, time
from pathlib import Path
from irllrec_pyg.training.lock import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_another_process_is_named_and_its_lock_ends_with_it(tiny_data, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLD, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(RuntimeError, match=f"process {process.pid} on .* use another folder"):
        train(tiny_data, "lightgcn", epochs=1, folder=tmp_path)
    process.kill()
    process.wait()
    train(tiny_data, "lightgcn", epochs=1, folder=tmp_path)


@pytest.mark.parametrize("moment", ["before the test", "model", "result", "last checkpoint"])
def test_metrics_are_complete_whenever_a_run_died(tiny_data, tmp_path, monkeypatch, moment):
    options = {"name": "lightgcn", "epochs": 3, "loggers": None, "folder": tmp_path}
    module = sys.modules["irllrec_pyg.training.fit"]
    with monkeypatch.context() as patch:
        if moment == "model":
            patch.setattr(module, "save_ranker", lambda *_, **__: fail())
        if moment == "result":
            patch.setattr(module.FitResult, "save", lambda *_: fail())
        if moment == "last checkpoint":
            saved = []
            save = SafetensorsIO.save_checkpoint

            def third(self, *arguments, **options):
                saved.append(0)
                return fail() if len(saved) == 3 else save(self, *arguments, **options)

            patch.setattr(SafetensorsIO, "save_checkpoint", third)
        callbacks = [Do(fail)] if moment == "before the test" else []
        with pytest.raises(RuntimeError, match="power cut"):
            train(tiny_data, callbacks=callbacks, **options)
    for _ in range(2):  # resumed, and found finished
        _, result = train(tiny_data, **options)
        table = pd.read_csv(tmp_path / "metrics.csv")
        assert table["step"].tolist() == [1, 2, 3]
        assert table["loss"].tolist() == pytest.approx(result.history["loss"].tolist())


class Spoilt(Head):
    """A head whose loss, or whose parameter, becomes NaN in an epoch."""

    def __init__(self, epoch, loss):
        super().__init__(None, None)
        self.value = torch.nn.Parameter(torch.ones(1))
        self.last, self.loss, self.seen = epoch, loss, 0

    def begin_epoch(self):
        self.seen += 1

    def forward(self, encoding, batch):
        if self.seen == self.last and not self.loss:
            self.value.data.fill_(float("nan"))
        bad = self.seen == self.last and self.loss
        return {"spoilt": encoding.nodes.sum() * (float("nan") if bad else 0.0)}


@pytest.mark.parametrize("loss", [True, False])
@pytest.mark.parametrize("eval_every", [0, 1, 3])
def test_nothing_of_a_diverged_epoch_is_saved(tiny_data, tmp_path, loss, eval_every):
    def model():
        torch.manual_seed(0)
        backbone = build_model("lightgcn", tiny_data, dataset="movie").backbone
        return Recommender(backbone, [Spoilt(3, loss)])

    options = {"progress": False, "accelerator": "cpu", "eval_every": eval_every}
    what = "the loss 'spoilt'" if loss else "the parameter 'heads.Spoilt.value'"
    with pytest.raises(ValueError, match=rf"In epoch 3, {what}.* try a smaller learning rate"):
        fit(model(), tiny_data, epochs=5, folder=tmp_path, **options)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "result.json").exists()
    tensors, metadata = read_tensors(tmp_path / "resume.safetensors", RESUME_KIND)
    weights = [tensors[name] for name in tensors if "state" in name]
    assert len(weights) > 4
    assert all(value.isfinite().all() for value in weights)
    assert dict(metadata["structure"]["dict"])["epoch"] == 1  # counted from 0


def test_a_full_disk_is_named_and_loses_nothing(tiny_data, tmp_path, monkeypatch):
    train(tiny_data, "lightgcn", epochs=2, folder=tmp_path)
    before = (tmp_path / "resume.safetensors").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"(?i)disk is full|no space") as error:
            train(tiny_data, "lightgcn", epochs=4, folder=tmp_path)
    assert error.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(error.value)
    assert (tmp_path / "resume.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))
    resumed = train(tiny_data, "lightgcn", epochs=4, folder=tmp_path)
    assert outcome(*resumed) == outcome(*train(tiny_data, "lightgcn", epochs=4))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_is_really_full(sample, small_disk):
    options = {"name": "lightgcn", "lr": 0.05, "folder": small_disk}
    train(sample, epochs=1, **options)
    before = (small_disk / "resume.safetensors").read_bytes()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (2 << 20))
    with pytest.raises(OSError, match=r"(?i)the disk is full") as error:
        train(sample, epochs=3, **options)
    assert error.value.errno == errno.ENOSPC
    assert str(small_disk) in str(error.value)
    assert (small_disk / "resume.safetensors").read_bytes() == before
    filler.unlink()
    resumed = train(sample, epochs=3, **options)
    assert outcome(*resumed) == outcome(*train(sample, "lightgcn", epochs=3, lr=0.05))


@pytest.mark.parametrize(("accumulate", "expected"), [(1, 5), (2, 3), (3, 2), (7, 1)])
def test_a_step_begins_once_for_each_step_of_the_optimizer(
    tiny_data, monkeypatch, accumulate, expected
):
    began = []
    monkeypatch.setattr(Recommender, "begin_step", lambda self: began.append("step"))
    edges = tiny_data["user", "rates", "item"].edge_index.size(1)
    steps = []

    class Count(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            steps.append(len(began))

    train(
        tiny_data,
        "lightgcn",
        epochs=2,
        batch_size=-(-edges // 5),
        accumulate_grad_batches=accumulate,
        callbacks=[Count()],
    )
    assert len(began) == 2 * expected
    assert steps == list(range(1, 2 * expected + 1))  # each begins before it is made


def test_a_data_set_in_the_place_of_its_graph_is_refused(published_folder):
    dataset = IRLLRecDataset(published_folder.parents[1], "tiny")
    model = build_model("lightgcn", dataset[0])
    with pytest.raises(TypeError, match=r"got IRLLRecDataset; pass its graph, 'dataset\[0\]'"):
        fit(model, dataset, epochs=1, progress=False)
    with pytest.raises(TypeError, match="got dict"):
        fit(model, {}, epochs=1, progress=False)
    with pytest.raises(ConfigError):
        fit(model, dataset[0], epochs=0)

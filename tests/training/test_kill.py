"""Runs that end at any moment, and by any number of threads, end with the same numbers."""

import random
import signal
import time

import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback

from irllrec_pyg.checkpoint import KIND, load_ranker
from irllrec_pyg.tensor_file import content_hash
from irllrec_pyg.training import FitResult

from .runs import SHORT, outcome, train
from .test_resume import lines, start


def whole_run(sample):
    return outcome(*train(sample, "lightgcn", **SHORT))


def kill_once(sample_root, folder, seconds, how=signal.SIGKILL):
    """Starts a run and ends it so many seconds after its first epoch began."""
    journal = folder / "journal"
    process = start("tests.training.runs", sample_root, folder, journal, "short")
    while not lines(journal) and process.poll() is None:
        time.sleep(0.005)
    time.sleep(seconds)
    process.send_signal(how)
    process.wait()


def check_resumed(sample, folder, expected):
    # Other initial weights show that all come from the checkpoint, once there is one.
    begun = any((folder / name).exists() for name in ("resume.safetensors", "result.json"))
    seed = 9 if begun else 0
    model, result = train(sample, "lightgcn", folder=folder, model_seed=seed, **SHORT)
    assert outcome(model, result) == expected
    assert pd.read_csv(folder / "metrics.csv")["step"].tolist() == list(range(1, result.epochs + 1))
    file = folder / "model.safetensors"
    assert FitResult.load(folder / "result.json")[2] == content_hash(file, KIND)
    assert load_ranker(file).info["test"] == result.test


def kill_and_resume(sample, sample_root, folder, rng, count):
    expected = whole_run(sample)
    begun = time.perf_counter()
    whole_run(sample)
    duration = time.perf_counter() - begun
    for number in range(count):
        run = folder / str(number)
        how = signal.SIGINT if number % 5 == 4 else signal.SIGKILL
        kill_once(sample_root, run, rng.uniform(0, 1.3 * duration), how)
        check_resumed(sample, run, expected)


def test_three_kills_at_random_moments(sample, sample_root, tmp_path):
    kill_and_resume(sample, sample_root, tmp_path, random.Random(), 3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_kills_at_random_moments(sample, sample_root, tmp_path):
    kill_and_resume(sample, sample_root, tmp_path, random.Random(), 16)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again(sample, sample_root, tmp_path):
    rng = random.Random()
    for _ in range(4):
        (tmp_path / "journal").unlink(missing_ok=True)
        kill_once(sample_root, tmp_path, rng.uniform(0, 0.5))
    check_resumed(sample, tmp_path, whole_run(sample))


class Stop(Callback):
    """Ends a run when its second epoch begins."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")


@pytest.fixture
def threads():
    """Leaves the number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class CountThreads(Callback):
    """Notes by how many threads each epoch is trained."""

    def __init__(self):
        self.found = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.found.append(torch.get_num_threads())


def test_a_resumed_run_takes_as_many_threads_as_it_was_begun_with(sample, tmp_path, threads):
    options = {"name": "lightgcn", "epochs": 3, "batch_size": 2048}
    torch.set_num_threads(2)
    by_two = outcome(*train(sample, **options))
    with pytest.raises(RuntimeError, match="power cut"):
        train(sample, folder=tmp_path, callbacks=[Stop()], **options)
    torch.set_num_threads(1)
    count = CountThreads()
    assert outcome(*train(sample, folder=tmp_path, callbacks=[count], **options)) == by_two
    assert count.found == [2, 2]
    assert torch.get_num_threads() == 1


def test_products_differ_with_their_place_in_memory_and_steps_of_adam_do_not():
    """Why tensors of a file are copied, and why nothing else has to be."""

    def at(offset, tensor):
        raw = torch.empty(tensor.numel() * 4 + 128, dtype=torch.uint8)
        first = -raw.data_ptr() % 64 + offset
        return raw[first : first + tensor.numel() * 4].view(torch.float32).view_as(tensor)

    generator = torch.Generator().manual_seed(0)
    values = torch.randn(999, 33, generator=generator)
    results = []
    for offset in (0, 4, 8, 32):
        weight = torch.nn.Parameter(values.clone())
        adam = torch.optim.Adam([weight], lr=0.01, fused=True)
        for _ in range(3):
            weight.grad = weight.detach().sin()
            adam.step()
            for name in ("exp_avg", "exp_avg_sq"):
                moment = adam.state[weight][name]
                adam.state[weight][name] = at(offset, moment).copy_(moment)
        results.append(weight.detach().clone())
    assert all(torch.equal(result, results[0]) for result in results)

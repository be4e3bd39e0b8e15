"""Results and checkpoints in a folder that were changed, or belong to another run."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from irllrec_pyg.checkpoint import KIND
from irllrec_pyg.datasets import IRLLRecDataset
from irllrec_pyg.tensor_file import CheckpointError, content_hash, read_tensors, write_tensors
from irllrec_pyg.training.checkpoint_io import KIND as RESUME_KIND

from .runs import train


def test_a_result_with_the_model_of_another_run_is_refused(tiny_data, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    train(tiny_data, "lightgcn", epochs=1, folder=first)
    train(tiny_data, "lightgcn", epochs=1, seed=1, folder=second)
    result = json.loads((first / "result.json").read_text())
    assert result["model"] == content_hash(first / "model.safetensors", KIND)
    shutil.copy(second / "model.safetensors", first / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"result\.json is not .* of .*model\.safetensors"):
        train(tiny_data, "lightgcn", epochs=1, folder=first)
    (first / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        train(tiny_data, "lightgcn", epochs=1, folder=first)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"epochs": 7},
        {"best_epoch": 9},
        {"best_epoch": "1"},
        {"history": 3},
        {"history": [{"epoch": "a"}]},
        {"test": [1]},
        {"seconds": None},
        {"stopped_early": 1},
        {"settings": []},
        {"model": 3},
        {"more": 3},
        {"test": {"recall@20": float("nan")}},
    ],
)
def test_changed_results_are_named(tiny_data, tmp_path, change):
    train(tiny_data, "lightgcn", epochs=1, folder=tmp_path)
    file = tmp_path / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=r"result\.json is damaged"):
        train(tiny_data, "lightgcn", epochs=1, folder=tmp_path)


def test_a_folder_keeps_to_the_ids_of_its_run(tiny_data, tmp_path):
    tiny_data["user"].raw_id = [f"ann {user}" for user in range(12)]
    train(tiny_data, "lightgcn", epochs=1, folder=tmp_path)
    tiny_data["user"].raw_id = tiny_data["user"].raw_id[::-1]
    with pytest.raises(CheckpointError, match="other settings: user_ids is 12 "):
        train(tiny_data, "lightgcn", epochs=1, folder=tmp_path)


@pytest.mark.parametrize("content", ["[]", "", "3", "[" * 100_000, "\xff{"])
def test_results_that_are_none_are_named(tiny_data, tmp_path, content):
    train(tiny_data, "lightgcn", epochs=1, folder=tmp_path)
    (tmp_path / "result.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"result\.json is damaged"):
        train(tiny_data, "lightgcn", epochs=1, folder=tmp_path)


def edit(structure, path, value):
    """Replaces what stands at a path in the packed structure."""
    node = structure
    *parents, last = path
    for name in parents:
        node = dict(node["dict"])[name] if isinstance(node, dict) else node[name]
    if isinstance(node, dict):
        (pair,) = [pair for pair in node["dict"] if pair[0] == last]
        pair[1] = value
    else:
        node[last] = value


ADAM = ("optimizer_states", 0, "state", 0)
RESUMES = {
    "no structure": ((), None),
    "structure of a number": ((), 3),
    "unknown node": ((), {"object": []}),
    "node of two kinds": ((), {"dict": [], "tuple": []}),
    "node of no kind": ((), {}),
    "mapping of numbers": ((), {"dict": [1, 2]}),
    "mapping of triples": ((), {"dict": [["a", 1, 2]]}),
    "name twice": ((), {"dict": [["a", 1], ["a", 2]]}),
    "name is a list": ((), {"dict": [[["a"], 1]]}),
    "unknown tensor": ((), {"dict": [["a", {"tensor": "nobody"}]]}),
    "tensor is a number": ((), {"dict": [["a", {"tensor": 3}]]}),
    "nothing in it": ((), {"dict": []}),
    "deep": ((), [[]]),
    "epoch is text": (("epoch",), "1"),
    "epoch of later": (("epoch",), 7),
    "epoch is negative": (("epoch",), -1),
    "step is nothing": (("global_step",), None),
    "no weights": (("state_dict",), {"dict": []}),
    "weights are numbers": (("state_dict",), {"dict": [["model.backbone.embedding", 3]]}),
    "no optimizer": (("optimizer_states",), []),
    "no moments": (ADAM, {"dict": []}),
    "moment of another shape": ((*ADAM, "exp_avg"), {"tensor": "spoilt"}),
    "moment is a number": ((*ADAM, "exp_avg_sq"), 3),
    "step of a parameter is text": ((*ADAM, "step"), "x"),
    "no groups": (("optimizer_states", 0, "param_groups"), []),
    "group is a number": (("optimizer_states", 0, "param_groups"), [3]),
    "no loops": (("loops",), {"dict": []}),
    "loop is a number": (("loops", "fit_loop"), 3),
    "history is a mapping": (("history",), {"dict": []}),
    "history is shorter": (("history",), []),
    "history holds text": (("history",), ["a", "b"]),
    "threads are negative": (("threads",), -2),
    "threads are too many": (("threads",), 10**9),
    "callbacks are a list": (("callbacks",), []),
    "schedulers are missing": (("lr_schedulers",), None),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with the checkpoint of two epochs, and the data."""
    from tests.conftest import write_published_folder

    root = tmp_path_factory.mktemp("data")
    write_published_folder(root / "tiny" / "raw")
    data = IRLLRecDataset(root, "tiny")[0]
    train(data, "lightgcn", epochs=2, folder=root / "run")
    (root / "run" / "result.json").unlink()
    return data, root / "run" / "resume.safetensors"


@pytest.mark.parametrize("name", RESUMES)
def test_changed_resume_checkpoints_are_named(begun, tmp_path, name):
    data, file = begun
    path, value = RESUMES[name]
    tensors, metadata = read_tensors(file, RESUME_KIND)
    tensors["spoilt"] = torch.zeros(1)
    if name == "deep":
        for _ in range(200):
            value = [value]
    if path:
        edit(metadata["structure"], path, value)
    else:
        metadata["structure"] = value
    write_tensors(tmp_path / "resume.safetensors", tensors, metadata, RESUME_KIND)
    with pytest.raises(CheckpointError, match=r"resume\.safetensors is damaged"):
        train(data, "lightgcn", epochs=3, folder=tmp_path)


def test_checkpoints_of_the_first_version_are_read_and_not_gone_on_with(begun, tmp_path):
    data, file = begun
    tensors, metadata = read_tensors(file, RESUME_KIND)
    metadata["settings"] = {"lr": 0.01, "model": "Recommender"}
    header = {"kind": "irllrec_pyg.training/1", "json": json.dumps(metadata)}
    save_file(tensors, tmp_path / "resume.safetensors", header)
    with pytest.raises(CheckpointError, match=r"resume\.safetensors is of version 0\.1\.0"):
        train(data, "lightgcn", epochs=3, folder=tmp_path)


def test_a_resumed_run_does_not_pass_its_epochs(begun, tmp_path):
    data, file = begun
    shutil.copy(file, tmp_path)
    with pytest.raises(
        CheckpointError, match=r"resume\.safetensors holds 2 epochs, more than 'epochs' = 1"
    ):
        train(data, "lightgcn", epochs=1, folder=tmp_path)
    _, result = train(data, "lightgcn", epochs=2, folder=tmp_path)
    assert result.epochs == 2

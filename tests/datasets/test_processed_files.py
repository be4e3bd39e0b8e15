r"""Graphs that are kept on the disk: made anew when something changed, safe to open, never half."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch_geometric.transforms as T
from torch_geometric.data import HeteroData

from irllrec_pyg.datasets import DataFileError, IRLLRecDataset, base
from tests.conftest import NUM_ITEMS, NUM_USERS, write_pickle


def test_second_load_reads_the_processed_file(published_folder, tmp_path, monkeypatch):
    first = IRLLRecDataset(tmp_path, "tiny")[0]
    monkeypatch.setattr(IRLLRecDataset, "process", None)
    second = IRLLRecDataset(tmp_path, "tiny")[0]
    assert torch.equal(first["user"].x, second["user"].x)
    assert os.listdir(tmp_path / "tiny" / "processed") == [
        os.path.basename(IRLLRecDataset(tmp_path, "tiny").processed_paths[0])
    ]


def test_changed_raw_file_is_processed_again(published_folder, tmp_path):
    old = IRLLRecDataset(tmp_path, "tiny")
    write_pickle(published_folder / "usr_emb_np.pkl", np.zeros((NUM_USERS, 3), np.float16))
    new = IRLLRecDataset(tmp_path, "tiny")
    assert new[0]["user"].x.shape == (NUM_USERS, 3)
    assert new[0]["user"].x.dtype == torch.float32
    assert not os.path.exists(old.processed_paths[0]) or old.processed_paths == new.processed_paths
    assert len(os.listdir(tmp_path / "tiny" / "processed")) == 1


def test_force_reload(published_folder, tmp_path):
    path = IRLLRecDataset(tmp_path, "tiny").processed_paths[0]
    os.utime(path, (0, 0))
    IRLLRecDataset(tmp_path, "tiny")
    assert os.path.getmtime(path) == 0
    IRLLRecDataset(tmp_path, "tiny", force_reload=True)
    assert os.path.getmtime(path) > 0


def test_transform_on_every_access(published_folder, tmp_path):
    dataset = IRLLRecDataset(tmp_path, "tiny", transform=T.Constant(node_types="user"))
    assert dataset[0]["user"].x.shape == (NUM_USERS, 7)
    assert dataset[0]["user"].x.shape == (NUM_USERS, 7)
    assert IRLLRecDataset(tmp_path, "tiny")[0]["user"].x.shape == (NUM_USERS, 6)
    homogeneous = IRLLRecDataset(tmp_path, "tiny", transform=lambda data: data.to_homogeneous())
    assert homogeneous[0].num_nodes == NUM_USERS + NUM_ITEMS


def test_pre_transforms_do_not_share_a_processed_file(published_folder, tmp_path):
    widths = {
        None: 6,
        T.Constant(value=1.0, node_types="user"): 7,
        T.Constant(value=2.0, node_types="user"): 7,
        T.ToUndirected(): 6,
    }
    paths = set()
    for transform, width in widths.items():
        dataset = IRLLRecDataset(tmp_path, "tiny", pre_transform=transform)
        paths.add(dataset.processed_paths[0])
        assert dataset[0]["user"].x.shape == (NUM_USERS, width)
        if width == 7:
            assert set(dataset[0]["user"].x[:, 6].tolist()) == {transform.value}
    for number in (1, 2):
        pre = lambda data, number=number: _mark(data, number)  # noqa: E731
        dataset = IRLLRecDataset(tmp_path, "tiny", pre_transform=pre)
        paths.add(dataset.processed_paths[0])
        assert dataset[0].mark == number
    assert len(paths) == len(widths) + 2


def _mark(data, number):
    data.mark = number
    return data


def test_pre_transform_must_keep_the_kind_of_graph(published_folder, tmp_path):
    with pytest.raises(ValueError, match="pass it as transform"):
        IRLLRecDataset(tmp_path, "tiny", pre_transform=lambda data: data.to_homogeneous())


def test_pre_filter(published_folder, tmp_path):
    keep = IRLLRecDataset(tmp_path, "tiny", pre_filter=lambda data: data["user"].num_nodes > 5)
    assert keep.num_users == NUM_USERS
    with pytest.raises(ValueError, match="pre_filter rejects"):
        IRLLRecDataset(tmp_path, "tiny", pre_filter=lambda data: data["user"].num_nodes > 50)


class _Touch:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("file", ["trn_mat.pkl", "usr_emb_np.pkl", "item_intent_emb_3.pkl"])
def test_hostile_raw_file(published_folder, tmp_path, file):
    write_pickle(published_folder / file, [_Touch(tmp_path / "mark")])
    with pytest.raises(pickle.UnpicklingError, match=rf"{file}.*mkdir"):
        IRLLRecDataset(tmp_path, "tiny")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_hostile_processed_file(published_folder, tmp_path, legacy):
    r"""PyG's own loader falls back to an unrestricted load here, and would run it."""
    path = IRLLRecDataset(tmp_path, "tiny").processed_paths[0]
    content = ({"user": _Touch(tmp_path / "mark")}, None, HeteroData)
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    message = r"\.pt asks for \w+\.mkdir .*force_reload=True"
    with pytest.raises(pickle.UnpicklingError, match=message):
        IRLLRecDataset(tmp_path, "tiny")
    assert not (tmp_path / "mark").exists()
    assert IRLLRecDataset(tmp_path, "tiny", force_reload=True).num_users == NUM_USERS


@pytest.mark.parametrize("file", ["pre_transform.pt", "pre_filter.pt"])
def test_hostile_file_of_pyg(published_folder, tmp_path, file):
    r"""PyG opens these two without restriction; here they are not read at all."""
    IRLLRecDataset(tmp_path, "tiny")
    torch.save(_Touch(tmp_path / "mark"), tmp_path / "tiny" / "processed" / file)
    IRLLRecDataset(tmp_path, "tiny")
    IRLLRecDataset(tmp_path, "tiny", force_reload=True)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_truncated_processed_file(published_folder, tmp_path, keep):
    path = IRLLRecDataset(tmp_path, "tiny").processed_paths[0]
    with open(path, "r+b") as file:
        file.truncate(keep)
    with pytest.raises(DataFileError, match="force_reload=True"):
        IRLLRecDataset(tmp_path, "tiny")


def test_kill_while_processing_leaves_nothing_half(published_folder, tmp_path):
    script = (
        "import os, signal, sys, torch\n"
        "from irllrec_pyg.datasets import IRLLRecDataset\n"
        "def save(content, path):\n"
        "    path.write(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.save = save\n"
        "IRLLRecDataset(sys.argv[1], 'tiny')\n"
    )
    code = subprocess.run([sys.executable, "-c", script, tmp_path], check=False).returncode
    assert code == -9
    assert [file[0] for file in os.listdir(tmp_path / "tiny" / "processed")] == ["."]
    assert IRLLRecDataset(tmp_path, "tiny").num_users == NUM_USERS


def test_read_only_folder(published_folder, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(base, "atomic_path", refuse)
    dataset = IRLLRecDataset(tmp_path, "tiny")
    assert dataset.num_users == NUM_USERS
    assert not (tmp_path / "tiny" / "processed").exists()

r"""Fixtures for the whole suite. None needs a network."""

import os

# Everything here is small, and threads that wait for each other on a busy machine cost more than
# they bring. Set before PyTorch is imported, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.data import HeteroData

import irllrec_pyg.linear
import irllrec_pyg.nn  # noqa: F401
from irllrec_pyg import registry
from irllrec_pyg.datasets import IRLLRecDataset

NUM_USERS, NUM_ITEMS = 12, 9


def pytest_runtest_setup(item: pytest.Item) -> None:
    r"""Skips what is marked ``cuda`` where there is none."""
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a GPU with CUDA")


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    r"""What a test registers is forgotten after it, so that no other test lists it."""
    copy = {kind: dict(classes) for kind, classes in registry._classes.items()}
    monkeypatch.setattr(registry, "_classes", copy)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    r"""The CPU, and the GPU where there is one; ``pytest -m cuda`` takes the GPU alone."""
    return torch.device(request.param)


def shared_path(name: str) -> Path:
    r"""A file or folder of the material that lies beside the project; skips where it is absent."""
    path = Path(__file__).resolve().parents[1] / ".." / "shared" / name
    if not path.exists():
        pytest.skip(f"needs the shared material: {name}")
    return path.resolve()


def write_pickle(path: Path, value: object, protocol: int = 4) -> Path:
    r"""Pickles a value, making the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def write_published_folder(folder: Path, seed: int = 0) -> Path:
    r"""Writes a tiny random data set in the published seven-file layout.

    Every user has training items, and no two splits share a pair.
    """
    rng = np.random.default_rng(seed)
    part = rng.choice(4, size=(NUM_USERS, NUM_ITEMS), p=[0.4, 0.4, 0.1, 0.1])  # 0: no interaction
    part[:, 0], part[:, 1], part[::2, 2], part[1::2, 2] = 1, 0, 2, 3
    for split, name in enumerate(("trn_mat", "val_mat", "tst_mat"), start=1):
        write_pickle(folder / f"{name}.pkl", sp.coo_matrix((part == split).astype(np.float64)))
    for user, item, width in (
        ("usr_emb_np", "itm_emb_np", 6),
        ("user_intent_emb_3", "item_intent_emb_3", 5),
    ):
        for name, rows in ((user, NUM_USERS), (item, NUM_ITEMS)):
            vectors = rng.standard_normal((rows, width)).astype(np.float32)
            write_pickle(folder / f"{name}.pkl", vectors)
    return folder


@pytest.fixture
def published_folder(tmp_path: Path) -> Path:
    r"""The raw folder of a tiny data set: ``IRLLRecDataset(tmp_path, "tiny")`` reads it."""
    return write_published_folder(tmp_path / "tiny" / "raw")


@pytest.fixture
def tiny_data(published_folder: Path) -> HeteroData:
    r"""The graph of the tiny data set: 12 users, 9 items, ``x`` 6 wide, ``intent`` 5 wide."""
    return IRLLRecDataset(published_folder.parents[1], "tiny")[0]

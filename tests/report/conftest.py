"""Folders as commands leave them, with numbers that can be worked out by hand."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from irllrec_pyg import RunConfig

USERS = 60
HASHES = {"train": "aa", "val": "bb", "test": "cc", "x": "dd"}


def make_run(folder, model="ease", gain=0.0, seed=0, hashes=HASHES):
    """A run whose users have recall@20 of 0.1, 0.2, ... and ``gain`` besides."""
    settings = {"training.seed" if model.startswith("lightgcn") else "ranker.seed": seed}
    config = RunConfig.of(model, "sample", settings)
    config.save(folder / "config.yaml")
    rng = np.random.default_rng(seed)
    value = 0.1 * (1 + np.arange(USERS) % 5) + gain + rng.normal(0, 1e-3, USERS)
    users = {"user": np.arange(USERS), "recall@20": value, "ndcg@20": value / 2}
    np.savez_compressed(folder / "users.npz", **users)
    test = {name: float(users[name].mean()) for name in ("recall@20", "ndcg@20")}
    result = {"test": test, "validation": test, "seconds": 1.5}
    if model.startswith("lightgcn"):
        rows = [{"epoch": at, "loss": 1 / at, "recall@20": at / 100} for at in (1, 2, 3)]
        result |= {"history": rows, "epochs": 3, "best_epoch": 3}
    (folder / "result.json").write_text(json.dumps(result))
    origin = {"commit": "c0ffee" * 7, "dirty": False, "data": hashes}
    (folder / "provenance.json").write_text(json.dumps(origin))
    history = torch.arange(USERS) % 8 + 1
    pointer = torch.cat([torch.zeros(1, dtype=torch.long), history.cumsum(0)])
    save_file({"seen_ptr": pointer}, folder / "model.safetensors", {"blake2b": "f" * 64})
    (folder / "README.md").write_text(
        "irllrec_pyg 9.9.9, PyTorch 2.0, Python 3.11, commit c0ffee.\n"
    )
    return folder


@pytest.fixture
def runs(tmp_path):
    """EASE, and a LightGCN with texts that is better by 0.05 for every user."""
    return [
        str(make_run(tmp_path / "ease")),
        str(make_run(tmp_path / "lightgcn_int", "lightgcn_int", 0.05)),
    ]

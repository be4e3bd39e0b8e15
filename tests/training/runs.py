"""One small training run, as the tests start it here and in other processes."""

import json
import sys
import time
from pathlib import Path

import torch
from pytorch_lightning import Callback

from irllrec_pyg.datasets import IRLLRecDataset
from irllrec_pyg.published import build_model
from irllrec_pyg.training import FitResult, fit

# A run that is over in a second or two, with all that is written on the way.
SHORT = {"epochs": 12, "eval_every": 2, "patience": 3, "lr": 0.05, "loggers": None}
KILL_EPOCH = 6  # The fifth epoch is the last one that is finished.


class Journal(Callback):
    """Writes a line for each epoch that begins; waits to be killed in the middle of one."""

    def __init__(self, file, wait=False):
        self.file, self.wait = Path(file), wait

    def write(self, line):
        with self.file.open("a") as file:
            file.write(line + "\n")

    def on_train_epoch_start(self, trainer, pl_module):
        self.write(f"epoch {trainer.current_epoch + 1}")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.wait and trainer.current_epoch + 1 == KILL_EPOCH and batch_idx == 3:
            self.write("waiting")
            time.sleep(600)


def train(data, name="lightgcn_int", model_seed=0, **options):
    """Trains for some epochs with everything random switched on."""
    torch.manual_seed(model_seed)
    model = (
        build_model(name, data, dataset="movie", keep_rate=0.7, mode="as_in_paper")
        if (name.endswith("_int"))
        else build_model(name, data, dataset="movie")
    )
    options = {
        "epochs": 8,
        "lr": 0.01,
        "batch_size": 512,
        "progress": False,
        "loggers": (),
        "accelerator": "cpu",
        "k": (5, 20),
        **options,
    }
    return model, fit(model, data, **options)


def outcome(model, result: FitResult):
    """All numbers of a run, without its timings."""
    history = result.history.drop(columns=[c for c in result.history if "seconds" in c])
    return {
        "test": result.test,
        "validation": result.validation,
        "best_epoch": result.best_epoch,
        "history": json.loads(history.to_json(orient="records", double_precision=15)),
        "weights": {key: value.tolist() for key, value in model.state_dict().items()},
    }


if __name__ == "__main__":
    root, folder, journal = sys.argv[1:4]
    short = {"name": "lightgcn", **SHORT} if "short" in sys.argv else {}
    train(
        IRLLRecDataset(root, name="sample")[0],
        folder=folder,
        callbacks=[Journal(journal, wait=not short)],
        **short,
    )

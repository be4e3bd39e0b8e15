"""The loader under PyTorch Lightning, which iterates and replaces loaders in its own ways."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DistributedSampler, SequentialSampler

from irllrec_pyg.loader import TripletLoader, triplet_loader
from tests.loader.graphs import assert_same_epoch, epoch_of, random_graph, triplets_of

RATES = ("user", "rates", "item")


class Recorder(pl.LightningModule):
    """Writes down the triplets that the trainer hands it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs = {}

    def training_step(self, batch):
        self.epochs.setdefault(self.current_epoch, []).append(triplets_of(batch))
        return self.weight * 1.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def lightning(**kwargs):
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **kwargs,
    )


@pytest.mark.filterwarnings("ignore")
def test_lightning_epochs_are_those_of_the_loader():
    data = random_graph()
    module, loader = Recorder(), triplet_loader(data, 100, num_neighbors=[2])
    lightning(max_epochs=3).fit(module, loader)
    alone = triplet_loader(data, 100)
    for epoch in range(3):
        alone.set_epoch(epoch)
        recorded = [torch.cat(part) for part in zip(*module.epochs[epoch], strict=True)]
        assert_same_epoch(recorded, epoch_of(alone))


@pytest.mark.filterwarnings("ignore")
def test_lightning_may_make_the_loader_again():
    data = random_graph()

    class InHook(Recorder):
        def train_dataloader(self):
            return triplet_loader(data, 50, num_negatives=3)

    for module, loader in [
        (Recorder(), triplet_loader(data, 50, num_negatives=3)),
        (InHook(), None),
    ]:
        lightning(max_epochs=1, overfit_batches=2).fit(module, loader)
        [(_, batches)] = module.epochs.items()
        assert [tuple(part.shape for part in batch) for batch in batches] == [
            ((50,), (50,), (50, 3))
        ] * 2


def remade(loader: TripletLoader, sampler) -> TripletLoader:
    """Makes a loader from the attributes of another one, as PyTorch Lightning does."""
    names = ["data", "dataset", "num_negatives", "num_neighbors", "seed", "device", "rank"]
    names += ["world_size", "num_workers", "collate_fn", "batch_size", "drop_last"]
    kwargs = {name: getattr(loader, name) for name in names}
    return TripletLoader(**kwargs, sampler=sampler, shuffle=False, batch_sampler=None)


def test_made_again_with_another_sampler():
    data = random_graph()
    loader = triplet_loader(data, 32, num_negatives=2, seed=4, drop_last=True)
    same = remade(loader, loader.sampler)
    assert_same_epoch(epoch_of(same), epoch_of(loader))

    in_order = remade(loader, SequentialSampler(loader.dataset))
    assert torch.equal(epoch_of(in_order)[0][:32], data[RATES].edge_index[0, :32])

    for rank in range(2):
        part = remade(loader, DistributedSampler(loader.dataset, num_replicas=2, rank=rank))
        expected = triplet_loader(
            data, 32, num_negatives=2, seed=4, drop_last=True, rank=rank, world_size=2
        )
        assert_same_epoch(epoch_of(part), epoch_of(expected))

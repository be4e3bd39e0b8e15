"""The intent head at the size of the movie data set, in a process of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, resource, torch
from torch_geometric.data import HeteroData
from irllrec_pyg.nn import IntentAlignment, LightGCN, Recommender

torch.manual_seed(0)
users, items, edges = 16_994, 9_370, 134_649
data = HeteroData()
for side, count in (("user", users), ("item", items)):
    data[side].num_nodes = count
    data[side].intent = torch.randn(count, 3072)
pairs = torch.randperm(users * items)[:edges]
data["user", "rates", "item"].edge_index = torch.stack([pairs // items, pairs % items])
backbone = LightGCN(data)
head = IntentAlignment(
    data,
    backbone,
    translation={"noise": "multiplicative", "nodes": "all"},
    matching={"target": "predictions"},
)
model = Recommender(backbone, [head])
del data, pairs
gc.collect()
with open("/proc/self/status") as file:
    before = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # from here on the peak counts anew
batch = [torch.randint(high, (4096,)) for high in (users, items, items)]
model.losses(*batch)["total"].backward()
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
print((peak - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_full_step_stays_under_one_and_a_half_gigabytes_above_the_embeddings():
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    megabytes = float(out.stdout)
    assert 100 < megabytes < 1500

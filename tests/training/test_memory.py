import subprocess
import sys

import pytest

# Pages that the system must clear anew while a matrix of 8 MB is made again and again.
SCRIPT = """
import contextlib, resource, sys
import torch
from irllrec_pyg.training.memory import keep_freed_memory
torch.set_num_threads(1)
with keep_freed_memory() if sys.argv[1] == "keep" else contextlib.nullcontext():
    torch.ones(2 << 20) + torch.ones(2 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        a, b = torch.ones(2 << 20), torch.ones(2 << 20)
        del a, b
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    env = {
        "PATH": "",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "PYTHONPATH": ":".join(sys.path),
    }
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode], env=env, text=True, check=True, capture_output=True
    )
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_used_again():
    plain = faults("plain")
    if plain < 20 * 2048:
        pytest.skip("this C library keeps freed memory anyway")
    assert faults("keep") < plain / 10

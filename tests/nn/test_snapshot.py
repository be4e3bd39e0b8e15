import copy
import pickle
import weakref

import numpy as np
import torch

from irllrec_pyg.nn.snapshot import Snapshot


def test_recognises_the_object_and_not_its_address():
    x = torch.zeros(3)
    seen = Snapshot(x)
    assert seen.matches(x)
    assert not seen.matches(x.view(3))  # the same memory
    assert not seen.matches(x, x)
    assert not Snapshot().matches()
    memory = np.zeros(3)
    for _ in range(3):
        y = torch.from_numpy(memory)
        assert y.data_ptr() == memory.ctypes.data
        assert not seen.matches(y)
        seen = Snapshot(y)
        del y


def test_notices_and_counts_changes_in_place():
    x, y = torch.zeros(3), torch.zeros(3)
    seen = Snapshot(x, y)
    x.add_(1)
    assert not seen.matches(x, y)
    assert not seen.matches(x, y, changes=1)
    y.add_(1)
    assert seen.matches(x, y, changes=1)


def test_other_memory_under_the_same_object_is_noticed():
    x = torch.zeros(3)
    seen = Snapshot(x)
    x.data = torch.zeros(3)
    assert not seen.matches(x)


def test_tensors_of_inference_mode_are_never_recognised():
    # Nothing counts their changes.
    with torch.inference_mode():
        x = torch.zeros(3)
        seen = Snapshot(x)
        x.add_(1)
    assert not seen.matches(x)


def test_holds_no_tensor_alive_and_survives_copies():
    x = torch.zeros(3)
    seen, alive = Snapshot(x), weakref.ref(x)
    for other in (copy.deepcopy(seen), pickle.loads(pickle.dumps(seen))):
        assert not other.matches(x)
    del x
    assert alive() is None

"""The best entries of rows, against sorting them."""

import math
from functools import partial

import pandas as pd
import pytest
import torch

from irllrec_pyg.linear import EASE
from irllrec_pyg.ranking import topk


def levels_of(scores, depth):
    return [
        scores,
        *(
            scores.new_empty(len(scores), scores.size(1) // topk.GROUP**level)
            for level in range(1, depth + 1)
        ),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("values", ["distinct", "few", "extreme"])
def test_topk_equals_sorting(dtype, depth, values):
    g = torch.Generator().manual_seed(depth)
    shape = 50, 64 * 10
    if values == "distinct":
        scores = torch.randn(shape, generator=g, dtype=dtype)
    elif values == "few":
        scores = torch.randint(-2, 3, shape, generator=g).to(dtype)
    else:
        pool = torch.tensor(
            [-math.inf, -3.4e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 3.4e38, math.inf], dtype=dtype
        )
        scores = pool[torch.randint(7, shape, generator=g)]  # few of them in a row, all in some
        scores[::5] = pool[torch.randint(9, (10, shape[1]), generator=g)]
        scores[1::5, 4:] = -torch.inf
    best, column = topk.topk(levels_of(scores, depth), 9)
    for row, values_of, columns in zip(
        scores.tolist(), best.tolist(), column.tolist(), strict=True
    ):
        assert values_of == sorted(row, reverse=True)[:9]
        assert values_of == [row[at] for at in columns]
        assert len(set(columns)) == 9


def test_lists_longer_than_memory_are_as_long_as_there_are_items(tiny_data):
    ranker = EASE(tiny_data)
    for ask in (partial(ranker.recommend, 3, exclude=None), partial(ranker.similar, 3)):
        pd.testing.assert_frame_equal(ask(k=10**20), ask(k=9))

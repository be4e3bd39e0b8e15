"""A graph of ONNX: from users' vectors, or histories, to lists."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ..config import ConfigError
from ..linear.item_weights import ItemWeights
from ..ranking import Ranker
from .folder import embeddings, write_ids

OPSET, IR_VERSION = 17, 9  # understood by runtimes since 2023
LARGE = 1 << 30  # bytes above which weights lie in a file of their own: a graph holds 2 GB


def write(ranker: Ranker, folder: Path) -> dict[str, Any]:
    r"""Writes ``model.onnx``, ``users.json``, ``items.json`` and, of models with vectors,
    ``users.npy``.

    The graph has the inputs

    - ``users``: vectors, float32 of shape :math:`(B, d)`, rows of ``users.npy``; or, of models with
      weights between items, ``history``, ones at the items of each person, :math:`(B, I)`;
    - ``seen``: true at the items that are not listed, bool of shape :math:`(B, I)`;
    - ``k``: length of the lists, int64 of shape :math:`(1,)`, at most :math:`I`

    and the outputs ``items``, positions in ``items.json``, and ``scores``, descending, equal ones
    by ascending position, both of shape :math:`(B, k)`. Places with a score of minus infinity are
    empty: nothing else was left.

    Args:
        ranker (Ranker): The model.
        folder (Path): Where they go.

    Raises:
        ConfigError: If scores are no product of such a matrix.
    """
    vectors = embeddings(ranker)
    if vectors is not None:
        users, items = vectors
        name, matrix = "users", items.t()
        np.save(folder / "users.npy", users.numpy())
    elif isinstance(ranker, ItemWeights):
        name, matrix = "history", ranker.weight.detach().float().cpu()
    else:
        raise ConfigError(
            f"The scores of {type(ranker).__name__} are neither dot products of vectors nor a "
            "product of a history and weights between items; export it to parquet."
        )
    model = graph(name, matrix)
    onnx.checker.check_model(model)
    where = folder / "model.onnx"
    if matrix.numel() * matrix.element_size() > LARGE:
        onnx.save(
            model, where, save_as_external_data=True, location="model.onnx.data", size_threshold=16
        )
    else:
        onnx.save(model, where)
    for side in ("user", "item"):
        write_ids(ranker, side, folder / f"{side}s.json")
    return {"input": name, "width": matrix.size(0)}


def graph(name: str, matrix: Tensor) -> onnx.ModelProto:
    r"""The graph.

    Args:
        name (str): What its first input is called.
        matrix (Tensor): By which this input is multiplied, float32 of shape :math:`(d, I)`.
    """
    width, count = matrix.shape
    rows: list[str | int | None] = ["people", count]
    listed = ["people", "k"]
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MatMul", [name, "matrix"], ["all_scores"]),
                helper.make_node("Where", ["seen", "lowest", "all_scores"], ["left"]),
                helper.make_node("TopK", ["left", "k"], ["scores", "items"], axis=1),
            ],
            "lists",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["people", width]),
                helper.make_tensor_value_info("seen", TensorProto.BOOL, rows),
                helper.make_tensor_value_info("k", TensorProto.INT64, [1]),
            ],
            [
                helper.make_tensor_value_info("items", TensorProto.INT64, listed),
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, listed),
            ],
            [
                numpy_helper.from_array(np.ascontiguousarray(matrix.numpy()), "matrix"),
                numpy_helper.from_array(np.array(-np.inf, np.float32), "lowest"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="irllrec_pyg",
    )

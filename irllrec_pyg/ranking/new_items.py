"""Items that came after a model was made, by their texts."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..ids import too_large
from .ranker import Ranker


def add_items(ranker: Ranker, table: pd.DataFrame, encoder: Any) -> None:
    """See :meth:`Ranker.add_items`."""
    width = ranker.text_width
    if width is None:
        raise NotImplementedError(
            f"{type(ranker).__name__} does not rank items by their texts alone, so nothing says "
            "where a new item belongs; 'text-mean', 'bilinear-text', 'text-profile', 'l3ae', "
            "'text-ials', 'text-ridge', 'alpharec' and blends with one of them do."
        )
    ids = _new_ids(ranker, table)
    if not ids:
        return
    encoder = ranker.text_encoder if encoder is None else encoder
    vectors = _vectors(table, encoder)
    if vectors.shape != (len(ids), width):
        raise ValueError(
            f"The new items' vectors have shape {tuple(vectors.shape)}; the model was built with "
            f"texts {width} wide. Take the encoder, the columns and the components of its data "
            "set: 'encoder=dataset'."
        )
    if not (finite := vectors.isfinite().all(1)).all():
        broken = ids[int((~finite).nonzero()[0])]
        raise ValueError(f"The vector of item {broken!r} is NaN or infinite.")
    with torch.no_grad():
        ranker.grow(ids, vectors.to(ranker.seen_ptr.device))


def _new_ids(ranker: Ranker, table: Any) -> list[int | str]:
    if not isinstance(table, pd.DataFrame) or "item" not in table:
        raise ValueError("'table' must be a DataFrame with the column 'item', the new items' ids.")
    ids: list[int | str] = table["item"].tolist()
    known = ranker.owners("item")
    text = isinstance(next(iter(ranker.ids("item"))), str)
    seen = set()
    for value in ids:
        right = isinstance(value, str) if text else isinstance(value, int)
        if not right or isinstance(value, bool) or too_large(value):
            kind = "text" if text else "whole numbers"
            raise ValueError(f"The ids of items are {kind} here, got {value!r} for a new item.")
        if value in seen:
            raise ValueError(f"The new item {value!r} stands in the table twice.")
        seen.add(value)
        if value in known:
            raise ValueError(
                f"The item {value!r} is there already; nothing was added. Leave it out."
            )
    return ids


def _vectors(table: pd.DataFrame, encoder: Any) -> Tensor:
    if encoder is None:
        if "x" in table:
            return torch.as_tensor(np.stack([np.asarray(x, np.float32) for x in table["x"]]))
        raise ValueError(
            "'encoder' is missing: pass the data set that the model was built with, an encoder, "
            "or vectors in a column 'x'."
        )
    if hasattr(encoder, "embed_items"):  # a data set, which knows its columns and components
        return torch.as_tensor(encoder.embed_items(table))
    texts = texts_of(table, text_columns(table))
    for item, text in zip(table["item"], texts, strict=True):
        if not text:
            raise ValueError(f"The new item {item!r} has no text.")
    return encoded(encoder, texts)


def text_columns(table: pd.DataFrame) -> list[str]:
    """The columns whose texts stand for an item: ``text``, else ``title``, else all of text."""
    for column in ("text", "title"):
        if column in table:
            return [column]
    columns = [
        str(name)
        for name in table
        if name != "item" and pd.api.types.is_string_dtype(table[name].dropna())
    ]
    if not columns:
        raise ValueError("'table' has no column of texts, such as 'text' or 'title'.")
    return columns


def texts_of(table: pd.DataFrame, columns: list[str]) -> list[str]:
    """The texts of columns, joined by ". "; what is missing is left out."""
    rows = table[columns].itertuples(index=False)
    return [". ".join(str(part).strip() for part in row if _is_text(part)) for row in rows]


def _is_text(part: Any) -> bool:
    return not pd.isna(part) and bool(str(part).strip())


def encoded(encoder: Any, texts: list[str]) -> Tensor:
    """Vectors of texts by an encoder or a function, float32 of shape :math:`(n, T)`.

    Raises:
        TypeError: If it is neither.
    """
    if hasattr(encoder, "encode_texts"):  # a data set
        return torch.as_tensor(encoder.encode_texts(texts))
    if hasattr(encoder, "encode") and not isinstance(encoder, str):
        rows = torch.as_tensor(np.asarray(encoder.encode(texts), np.float32))
        return torch.nn.functional.normalize(rows, dim=1)
    if not callable(encoder):
        raise TypeError(
            f"'encoder' must be a data set, an encoder or a function of a list of texts, got "
            f"{encoder!r}; 'irllrec_pyg.text.views.build_views' makes one by name."
        )
    return torch.as_tensor(np.asarray(encoder(texts), np.float32))

"""Trained models as files: saving, and building again."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch_geometric.data import HeteroData

from .config import ConfigError
from .edges import EDGE_TYPE
from .linear import LinearModel
from .nn.embedding_recommender import EmbeddingRecommender
from .nn.features import MissingTextError
from .nn.model_config import ModelConfig
from .nn.named_intents import NamedIntents
from .nn.recommender import Recommender
from .ranker_file import (
    EMBEDDINGS,
    IDS,
    KIND,
    SavedRanker,
    check_embeddings,
    is_whole,
    read_ranker,
    shared_tensors,
)
from .ranking import Blend, FoldIn, Ranker, Rerank
from .ranking.fold_in import FoldingRanker
from .registry import read_part
from .tensor_file import CheckpointError, check_state, damaged, is_finite, write_tensors


def save_ranker(ranker: Ranker, path: str | Path, **info: Any) -> str:
    """Saves a trained or closed-form model, or a blend: what recommending needs, and the
    weights of a trained one to go on training.

    Neither texts nor other data are needed beside the file; training interactions, all other
    interactions that the model knows of, and the owner's ids are in it. Of a closed-form model it
    holds the settings and the tensors of its ``layout``: sparse similarities, factors, or the dense
    weights.

    Args:
        ranker (Ranker): A model whose scores are dot products of embeddings, a registered
            closed-form model, or a blend of such.
        path (str or Path): The file, by custom with the suffix ``.safetensors``.
        **info: Anything that JSON can hold; :func:`load_ranker` gives it back.

    Returns:
        The file's hash.

    Raises:
        ValueError: If the model is none of these, a weight is NaN or infinite, or an id is neither
            a number nor a string.
    """
    tensors, metadata = _describe(ranker)
    tensors |= shared_tensors(ranker)
    if is_whole(metadata):
        metadata["sizes"] = [ranker.num_users, ranker.num_items]
    else:
        tensors |= {f"state.{name}": value for name, value in ranker.state_dict().items()}
        if isinstance(ranker, Recommender):
            metadata["model"] = ranker.description
    for name, value in tensors.items():
        if not is_finite(value):
            raise ValueError(
                f"{name.removeprefix('state.').removeprefix('part.')!r} of "
                f"{type(ranker).__name__} is NaN or infinite: the model has diverged and is not "
                "saved."
            )
    return write_tensors(path, tensors, {**metadata, "info": info}, KIND)


def _describe(ranker: Ranker) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What tells how a ranker ranks; :func:`_restore` takes it back."""
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, Any] = {"class": type(ranker).__name__}
    if isinstance(ranker, Blend) and type(ranker) in (Blend, Rerank):
        metadata["blend"], metadata["parts"] = ranker.config.to_dict(), []
        if isinstance(ranker, Rerank):
            tensors |= {f"trees.{name}": value for name, value in ranker.trees.named_buffers()}
        for at, one in enumerate(ranker.rankers()):
            inner, description = _describe(one)
            metadata["parts"].append(description)
            tensors |= {f"{at}.{name}": value for name, value in inner.items()}
        return tensors, metadata
    if isinstance(ranker, LinearModel) and ranker.registered_name and ranker.layout:
        metadata["linear"] = ranker.description
        return {f"part.{name}": getattr(ranker, name) for name in ranker.layout}, metadata
    with torch.no_grad(), ranker.ranking():
        embeddings = ranker.embed()
    if embeddings is None:
        raise ValueError(
            f"{type(ranker).__name__} has no embeddings whose dot products are its scores, and is "
            "no registered closed-form model with a 'layout'; there is nothing to save that would "
            "rank like it."
        )
    tensors = dict(zip(EMBEDDINGS, embeddings, strict=True))
    with torch.no_grad(), ranker.ranking():
        fold = ranker.fold_in() if isinstance(ranker, FoldingRanker) else None
    if fold is not None:
        metadata["fold"] = fold.description
        tensors |= {f"fold.{name}": value for name, value in fold.tensors.items()}
    intents = getattr(ranker, "named_intents", None)
    if intents is not None:
        metadata["intents"] = intents.names
        tensors |= {f"intents.{name}": value for name, value in intents.named_buffers()}
    return tensors, metadata


def load_ranker(path: str | Path) -> Ranker:
    """Loads a model of :func:`save_ranker` for recommending, without any other file.

    A closed-form model and a blend come back as what they were; they score histories of new users
    too, where they did. Of a trained model the embeddings come back, as
    :class:`EmbeddingRecommender`, with what folds new users in, where there is something. ``info``
    is what was saved with it.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged or not a saved model, or holds a closed-form model
            that no installed package registers.

    Example:
        >>> _ = save_ranker(build_model("lightgcn", data), "model.safetensors")
        >>> list(load_ranker("model.safetensors").recommend(7, k=2)["rank"])
        [1, 2]
    """
    saved = read_ranker(path)
    try:
        ranker = _restore(saved.metadata, saved.own, saved.sizes, saved.shared)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a model that cannot be built from its file ({error})."
        ) from error
    except (ValueError, RecursionError) as error:
        raise damaged(Path(path), error) from error
    ranker.info = saved.metadata["info"]
    return ranker


def _restore(
    metadata: Any, tensors: Mapping[str, Tensor], sizes: tuple[int, int], shared: dict[str, Any]
) -> Ranker:
    """The ranker of :func:`_describe`."""
    if not isinstance(metadata, dict):
        raise ValueError("the description of a model must be a mapping")

    if "blend" in metadata:
        described = metadata.get("parts")
        if not isinstance(described, list):
            raise ValueError("the parts of a blend must be a list")
        known = [str(at) for at in range(len(described))]
        if metadata.get("class") == Rerank.__name__:
            known.append("trees")
        parts = _by_prefix(tensors, known)
        trees = parts.pop("trees", None)
        rankers = [
            _restore(one, own, sizes, shared)
            for one, own in zip(described, parts.values(), strict=True)
        ]
        if trees is None:
            return Blend(*rankers, config=metadata["blend"])
        return Rerank.restore(rankers, trees, metadata["blend"])
    if "linear" in metadata:
        cls, config = read_part("linear", metadata["linear"])
        parts = _by_prefix(tensors, ("part",))
        return cast("type[LinearModel]", cls).restore(config, parts["part"], *sizes, **shared)
    folded = {name: value for name, value in tensors.items() if name.startswith("fold.")}
    named = {name: value for name, value in tensors.items() if name.startswith("intents.")}
    if others := set(tensors) - set(EMBEDDINGS) - set(folded) - set(named):
        raise ValueError(f"{min(others)!r} is no part of a model")
    if check_embeddings(tensors) != sizes:
        raise ValueError(f"its embeddings are not of {sizes[0]} users and {sizes[1]} items")
    users, items = (tensors[name] for name in EMBEDDINGS)
    fold = None
    if folded or "fold" in metadata:
        own = _by_prefix(folded, ("fold",))["fold"]
        fold = FoldIn.restore(metadata.get("fold"), own, items.shape)
    ranker = EmbeddingRecommender(users, items, **shared, fold=fold)
    if named or "intents" in metadata:
        names, own = metadata.get("intents"), _by_prefix(named, ("intents",))["intents"]
        if not isinstance(names, list) or set(own) != {"user", "item"}:
            raise ValueError("'intents' must have names and vectors")
        ranker.named_intents = NamedIntents(names, **own)
        if items.size(1) != own["user"].size(1):
            raise ValueError("'intents' must be as wide as the embeddings")
    return ranker


def _by_prefix(tensors: Mapping[str, Tensor], known: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in known}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        if prefix not in parts:
            raise ValueError(f"{name!r} is no part of a model")
        parts[prefix][rest] = tensor
    return parts


def load_model(path: str | Path, data: HeteroData | None = None) -> Recommender:
    """Builds a model of :func:`save_ranker` again, from its file, with its weights.

    Args:
        path (str or Path): The file.
        data (HeteroData, optional): The data set that it was trained on, to go on training. Without
            it the model has the graph and the ids that are in the file and no heads: these need
            texts, and ranking does not need them. (default: ``None``)

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or holds a model that is not described by
            registered names.
        MissingTextError: If the backbone reads texts, and they are not given.
    """
    saved = _read_trained(path)
    try:
        config = ModelConfig.read(saved.metadata.get("model") or {"backbone": {}})
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a model that cannot be built from its file ({error}); build it as it "
            "was built, and use load_weights."
        ) from error
    if data is None:
        data = HeteroData()
        for side, size in zip(("user", "item"), saved.sizes, strict=True):
            data[side].num_nodes = size
            if (ids := saved.shared[f"{side}_ids"]) is not None:
                data[side].raw_id = ids
        data[EDGE_TYPE].edge_index = saved.shared["edge_index"]
        data[EDGE_TYPE].edge_label_index = saved.shared["known"]
        config = config.replace(heads={})
    try:
        with _no_more_than(saved.weights.values()):
            model = Recommender.from_config(config, data)
    except MissingTextError:
        raise
    except (RuntimeError, MemoryError, OverflowError, ValueError) as error:
        raise CheckpointError(
            f"{path} holds a model that cannot be built from its file ({error})."
        ) from error
    model.to(saved.own[EMBEDDINGS[0]].dtype)
    _fill(model, saved, path, heads=bool(config.heads))
    return model.eval()


@contextmanager
def _no_more_than(weights: Collection[Tensor]) -> Iterator[None]:
    """Ends the building of a model whose settings ask for far more than the file has weights of.

    A parameter is registered before its memory is written to, and so before it is taken.
    """
    size = sum(value.numel() for value in weights)
    most, count = 10 * len(weights) + 100, 0  # parts of a model may be built, and replaced

    def check(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter) -> None:
        nonlocal count
        count += 1
        if count > most or (parameter is not None and parameter.numel() > size):
            raise ValueError("its settings ask for more weights than it has")

    handle = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        handle.remove()


def load_weights(model: torch.nn.Module, path: str | Path, heads: bool = True) -> dict[str, Any]:
    """Puts the weights of :func:`save_ranker` into a model that was built like the saved one.

    Args:
        model (torch.nn.Module): The model.
        path (str or Path): The file.
        heads (bool, optional): Whether the weights of heads are wanted; a model without heads
            ranks as one that has them. (default: ``True``)

    Returns:
        The file's ``info``.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or the weights are not those of such a model with
            the same ids, which is then left as it was.
    """
    saved = _read_trained(path)
    _fill(model, saved, path, heads)
    info: dict[str, Any] = saved.metadata["info"]
    return info


def _fill(model: torch.nn.Module, saved: SavedRanker, path: str | Path, heads: bool) -> None:
    """Puts saved weights into a model; see :func:`load_weights`."""
    state = {
        name: value
        for name, value in saved.weights.items()
        if heads or not name.startswith("heads.")
    }
    try:
        check_state(state, model.state_dict())
    except ValueError as error:
        raise CheckpointError(f"{path} holds the weights of another model: {error}") from error
    for side in IDS if isinstance(model, Ranker) else ():
        own = getattr(model, side)
        # Another order of the same ids would give each user the answers for another one.
        if (None if own is None else list(own)) != saved.shared[side]:
            raise CheckpointError(
                f"{path} was saved with other {side!r} than the model has, or with another order "
                "of them; build the model with the data set that it was trained on."
            )
    model.load_state_dict(state)


def _read_trained(path: str | Path) -> SavedRanker:
    saved = read_ranker(path)
    if is_whole(saved.metadata):
        raise CheckpointError(
            f"{path} holds a model of class {saved.metadata['class']}, which has no weights to "
            "train; 'load_ranker' loads it whole."
        )
    return saved

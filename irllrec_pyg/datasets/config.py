"""What a data set is, in one description."""

from pathlib import Path
from typing import Any, Self

from pydantic import field_validator

from ..config import Config, ConfigError, field
from .base import GraphDataset
from .irllrec_dataset import IRLLRecDataset
from .movielens import MovieLensText
from .splits import Kind, check_shares
from .table import TableDataset

NAMES = ("sample", "movie", "amazon", "yelp", "steam", "movielens")
NOT_OF_TABLES = ("name", "root", "download_text", "licence")


class DataConfig(Config):
    """What a data set is: where it lies and, for a folder of tables, what is made of it."""

    name: str = field("sample", help="name of the data set, a folder under its root")
    root: str = field("data", help="folder of the data sets")
    download_text: bool = field(False, help="whether to fetch published text embeddings")
    k_core: int = field(
        5, ge=0, help="of tables: users and items with fewer interactions are left out"
    )
    split: Kind = field("random", help="of tables: what is held out")
    shares: tuple[float, float, float] = field(
        (0.6, 0.2, 0.2), help="of tables: shares of training, validation and test"
    )
    seed: int = field(0, ge=0, help="of tables: seed of the split")
    text: tuple[str, ...] = field(
        (), help="of tables: columns of the items that are embedded; none is text, else title"
    )
    intent: tuple[str, ...] = field(
        (), help="of tables: columns of the items that are embedded as intents"
    )
    encoder: str | None = field(
        "wordllama",
        help="of tables: wordllama, words, sentence-transformers:MODEL, openai:MODEL, several "
        "joined by +, or none",
    )
    text_rank: int | None = field(
        None, ge=1, help="of tables: principal components that texts are reduced to; none is all"
    )
    user_text: bool = field(
        False, help="of tables: whether texts of users are read, which may tell of held-out items"
    )
    licence: str = field("", help="of data and texts, for the model's card")

    @field_validator("shares", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        given = value.split(",") if isinstance(value, str) else value
        if not isinstance(given, list | tuple):
            return value
        try:
            return tuple(map(float, given))
        except (TypeError, ValueError):
            raise ValueError(
                f"'shares' must be three numbers such as 0.6,0.2,0.2, got {value!r}"
            ) from None

    @field_validator("text", "intent", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(","))
        return tuple(value) if isinstance(value, list) else value

    @field_validator("encoder", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("shares")
    @classmethod
    def _check_shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        check_shares(shares, "shares")
        return shares

    @classmethod
    def at(cls, place: str, **fields: Any) -> Self:
        """The data set of a folder, or a published one by its name.

        Args:
            place (str): ``"data/shop"``, or ``"movie"`` for ``"data/movie"``.
            **fields: Further fields.

        Raises:
            ConfigError: If there is no such folder and no such name.
        """
        path = Path(place)
        if path.is_file():
            raise ConfigError(
                f"{place} is a file; make a data set's folder of it: irllrec data convert {place} "
                "FOLDER --user COLUMN --item COLUMN."
            )
        if not path.is_dir():
            if place not in NAMES:
                raise ConfigError(
                    f"There is no folder {place!r}, and no published data set of that name "
                    f"({', '.join(NAMES)})."
                )
            path = Path("data", place)
        path = path if path.name not in ("", ".", "..") else path.resolve()
        return cls.read({"name": path.name, "root": str(path.parent), **fields})

    def open(self) -> GraphDataset:
        """The data set; its graph is ``open()[0]``.

        Raises:
            ConfigError: If something is set that only a folder of tables has, and it is none.
        """
        tables = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in NOT_OF_TABLES
        }
        folder = Path(self.root, self.name)
        if any(folder.glob("interactions.*")):
            return TableDataset(self.root, self.name, **tables)
        published = any(any(folder.glob(name)) for name in ("raw", "processed", "*.pkl"))
        if folder.is_dir() and not published and self.name not in NAMES:
            raise ConfigError(
                f"{folder} holds no table interactions.csv; 'irllrec data check {folder}' says "
                "what a folder must hold."
            )
        for name, value in tables.items():
            if value != type(self).model_fields[name].default:
                raise ConfigError(
                    f"{name!r} is for a folder of tables, and {Path(self.root, self.name)} holds "
                    f"no table interactions.csv, got {value!r}.",
                    name,
                )
        if self.name == "movielens":
            return MovieLensText(Path(self.root, self.name))
        return IRLLRecDataset(self.root, self.name, download_text=self.download_text)

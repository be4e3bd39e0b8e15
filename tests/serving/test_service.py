"""Health, metrics, documentation, and models that change while requests come."""

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from irllrec_pyg import build_model, save_folder
from irllrec_pyg.cli import main
from irllrec_pyg.linear import EASE, Popularity, TextMean
from irllrec_pyg.serving import Shelf

from .conftest import encode


def test_health_tells_what_is_served(folder, ask):
    assert ask(folder).get("/health").json() == {
        "status": "ok",
        "model": "EASE",
        "version": 1,
        "users": 12,
        "items": 9,
        "takes_histories": True,
        "takes_new_items": False,
    }


def test_metrics_count_by_route(folder, ask):
    parser = pytest.importorskip("prometheus_client.parser")
    client = ask(folder)
    for body in ({"users": ["u1"]}, {"users": ["u2"]}, {"users": ["nobody"]}):
        client.post("/recommend", json=body)
    for path in ("/a", "/b"):
        client.get(path)
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    name = "irllrec_requests_total"
    assert found[name, ("route", "/recommend"), ("status", "200")] == 2
    assert found[name, ("route", "/recommend"), ("status", "404")] == 1
    assert found[name, ("route", "other"), ("status", "404")] == 2
    assert found["irllrec_request_seconds_count", ("route", "/recommend")] == 3
    assert (found["irllrec_model_items",], found["irllrec_requests_running",]) == (9, 1)


def test_the_documentation_has_an_example_of_each_request(folder, ask):
    client = ask(folder)
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) >= {"/health", "/recommend", "/similar", "/explain", "/items"}
    for path, methods in api["paths"].items():
        for method in methods.values():
            assert method["description"]
            if "requestBody" in method:
                schema = method["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                named = api["components"]["schemas"][schema.rpartition("/")[2]]
                assert named["examples"], path
    assert "swagger" in client.get("/docs").text


def test_no_request_is_lost_when_the_model_changes(folder, ease, shop, ask):
    client, stop = ask(folder), threading.Event()
    popular = Popularity(shop)
    expected = {
        name: [(row.item, row.rank) for row in ranker.recommend("u1", k=3).itertuples()]
        for name, ranker in (("EASE", ease), ("Popularity", popular))
    }
    seen: dict[int, set[tuple[object, ...]]] = {}

    def requests():
        count = 0
        while not stop.is_set() or not count:
            answer = client.post("/recommend", json={"users": ["u1"], "k": 3})
            assert answer.status_code == 200, answer.text
            body = answer.json()
            own = tuple((row["id"], row["rank"]) for row in body["lists"][0]["items"])
            seen.setdefault(body["version"], set()).add(own)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(requests) for _ in range(4)]
        for ranker in (popular, ease, popular):
            save_folder(ranker, folder)
            answer = client.post("/reload")
            assert answer.status_code == 200, answer.text
        stop.set()
        assert all(one.result() > 0 for one in running)
    assert client.get("/health").json()["version"] == 4
    for version, lists in seen.items():  # each version gave the lists of its own model alone
        assert lists == {tuple(expected["EASE" if version % 2 else "Popularity"])}


def test_a_model_that_cannot_be_loaded_changes_nothing(folder, ask):
    client = ask(folder)
    (folder / "model.safetensors").write_bytes(b"broken")
    answer = client.post("/reload")
    assert answer.status_code == 422
    assert "damaged" in answer.json()["error"]
    (folder / "model.safetensors").unlink()
    assert client.post("/reload").status_code == 503
    answer = client.post("/recommend", json={"users": ["u1"]})
    assert answer.json()["version"] == 1


def test_a_model_without_a_folder_is_not_loaded_again(ease, ask):
    answer = ask(ease).post("/reload")
    assert answer.status_code == 422
    assert "not loaded from a folder" in answer.json()["error"]


@pytest.mark.parametrize("kind", [EASE, TextMean, lambda data: build_model("lightgcn", data)])
def test_the_memory_of_a_replaced_model_is_free_at_once(shop, kind):
    shelf = Shelf(lambda: kind(shop))
    shelf.current.lists.recommend("u1", k=2)
    before = weakref.ref(shelf.current.ranker)
    gc.disable()  # nobody looks for garbage
    try:
        shelf.reload()
        assert before() is None
    finally:
        gc.enable()


def test_items_that_were_added_stay_after_a_reload(shop):
    def load():
        ranker = TextMean(shop)
        ranker.text_encoder = encode
        return ranker

    shelf = Shelf(load)
    shelf.add_items([{"item": "new", "title": "a film"}])
    served, again = shelf.reload()
    assert (served.version, again, served.ranker.num_items) == (3, 1, 10)
    assert "new" in set(served.lists.recommend(k=9)["item"])


@pytest.mark.slow
def test_the_command_serves_and_ends_cleanly(folder):
    command = [sys.executable, "-m", "irllrec_pyg", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
    try:
        address = re.match(r"(http://\S+)/docs", process.stderr.readline())[1]
        deadline = time.time() + 30
        while True:
            try:
                assert b'"ok"' in urllib.request.urlopen(f"{address}/health", timeout=5).read()
                break
            except OSError:
                assert time.time() < deadline
                time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, said.strip().splitlines()) == (
        130,
        ["irllrec serve: stopped: requests that were begun are answered."],
    )


def test_who_is_open_to_the_network_without_a_key_is_warned(folder, capsys, monkeypatch):
    monkeypatch.setattr("irllrec_pyg.commands.serve.answer", lambda *args: None)
    for host, key, warned in (("0.0.0.0", "", 1), ("127.0.0.1", "", 0), ("0.0.0.0", "secret", 0)):
        monkeypatch.delenv("IRLLREC_API_KEY", raising=False)
        if key:
            monkeypatch.setenv("IRLLREC_API_KEY", key)
        assert main(["serve", str(folder), "--host", host, "--port", "0"]) == 0
        assert capsys.readouterr().err.count("anybody on the network") == warned


def test_what_the_command_cannot_do_is_one_line(folder, tmp_path, capsys):
    for arguments, said in (
        ([str(tmp_path / "none")], "irllrec train"),
        ([str(folder), "--port", "99999"], "--port"),
        ([str(folder), "--host", "no.such.host.invalid"], "Cannot listen"),
        ([str(folder), "--port", "0", "--index"], "no dot products"),
    ):
        assert main(["serve", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1

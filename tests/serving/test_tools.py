"""The tools of the Model Context Protocol, by the protocol library's own client."""

import json
import sys

import anyio
import pytest

pytest.importorskip("mcp")

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from irllrec_pyg.cli import main
from irllrec_pyg.serving import Limits, Shelf
from irllrec_pyg.serving.tools import create_tools


def talk(source, *calls, limits=None, mode="auto"):
    """What there is, and the answers to calls, given as pairs of a name and arguments."""

    async def session():
        server = create_tools(Shelf(source), Limits.read(limits))
        async with Client(server, mode=mode) as client:
            tools = (await client.list_tools()).tools
            return tools, [await client.call_tool(name, asked) for name, asked in calls]

    return anyio.run(session)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_tools_answer_as_http_does(blend, ask, mode):
    calls = [
        ("recommend", {"users": ["u7", "u3"], "k": 3, "filters": {"where": "price > 2"}}),
        ("recommend", {"histories": [{"items": ["001", "é3"], "label": "ann"}]}),
        ("similar", {"items": ["002"], "k": 2}),
        ("explain", {"user": "u3", "item": "004"}),
    ]
    http = ask(blend)
    tools, found = talk(blend, *calls, mode=mode)
    assert [tool.name for tool in tools] == [
        "recommend", "similar", "explain", "add_items", "change_items",
    ]  # fmt: skip
    assert [tool.annotations.read_only_hint for tool in tools] == [*[True] * 3, False, False]
    for (name, asked), answer in zip(calls, found, strict=True):
        assert not answer.is_error
        expected = http.post(f"/{name}", json=asked).json()
        assert answer.structured_content == expected
        assert json.loads(answer.content[0].text) == expected


def test_new_items_are_listed_where_a_model_takes_them(blend, folder):
    new = {"items": [{"item": "neu", "title": "lighthouse"}]}
    _, (added, listed) = talk(
        blend, ("add_items", new), ("recommend", {"users": ["u1"], "k": 10, "exclude": "none"})
    )
    assert added.structured_content == {"version": 2, "added": 1, "items": 10}
    assert "neu" in {row["id"] for row in listed.structured_content["lists"][0]["items"]}
    tools, (refused,) = talk(folder, ("add_items", new))
    assert "add_items" not in [tool.name for tool in tools]
    assert refused.is_error
    assert "texts alone" in refused.content[0].text


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("recommend", {"users": ["nobody"]}, "Unknown user 'nobody'"),
        ("recommend", {"users": ["u1"], "k": 21}, "'k' must be at most 20"),
        ("recommend", {"users": ["u1"] * 257}, "There may be 256"),
        ("recommend", {"users": [1.5]}, "users.0"),
        ("recommend", {"users": ["u1"], "kk": 1}, "'kk'"),
        ("recommend", {}, "'users', 'histories' or both"),
        ("explain", {"item": "001"}, "'user' or 'history'"),
        ("nothing", {}, "Unknown tool 'nothing'"),
    ],
)
def test_an_error_says_what_is_wrong(ease, name, asked, said):
    _, (answer,) = talk(ease, (name, asked), limits={"max_k": 20})
    assert answer.is_error
    (content,) = answer.content
    assert said in content.text
    assert len(content.text) < 600
    assert "\n" not in content.text


def test_a_fault_tells_nothing_of_the_code(ease, monkeypatch):
    def fail(self, user):
        raise TypeError("secret of the code")

    monkeypatch.setattr(type(ease), "score", fail)
    _, (answer,) = talk(ease, ("recommend", {"users": ["u1"]}))
    assert answer.is_error
    assert "secret" not in answer.content[0].text


def test_a_missing_package_names_the_extra(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    monkeypatch.delitem(sys.modules, "irllrec_pyg.serving.tools")
    assert main(["serve", str(folder), "--mcp"]) == 2
    assert "pip install 'irllrec_pyg[mcp]'" in capsys.readouterr().err


@pytest.mark.slow
def test_an_assistant_starts_the_command(folder):
    command = ["-m", "irllrec_pyg", "serve", str(folder), "--mcp"]

    async def session():
        async with Client(StdioServerParameters(command=sys.executable, args=command)) as client:
            return await client.call_tool("recommend", {"users": ["u1"], "k": 2})

    assert len(anyio.run(session).structured_content["lists"][0]["items"]) == 2

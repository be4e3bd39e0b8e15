"""The page of the documentation in a real browser, which reaches no other host."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")

import uvicorn

from irllrec_pyg.commands.serve import listening
from irllrec_pyg.serving import create_app

from ..browser import Page, find

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find() is None, reason="no browser: apt-get install chromium"),
]
SHOWN = "[...document.querySelectorAll('.opblock-summary-path')].map(path => path.innerText)"
OPEN = "document.querySelector('#operations-lists-recommend_recommend_post button').click()"
CHOICES = "[...document.querySelectorAll('.examples-select option')].map(one => one.value)"


@pytest.fixture
def address(ease):
    """Where an application is served."""
    with listening("127.0.0.1", 0) as socket:
        server = uvicorn.Server(uvicorn.Config(create_app(ease), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/docs"
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_documentation_needs_no_network(address, tmp_path, width):
    async def until(page, expression):
        for _ in range(200):
            if found := await page.ask(expression):
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(page.errors())

    async def look():
        async with Page(address, width) as page:
            shown = await until(page, SHOWN)
            assert len(shown) == 7
            await page.ask(OPEN)
            assert await until(page, CHOICES) == ["users", "histories"]
            picture = Path(os.environ.get("PICTURES", tmp_path), f"openapi-{width}.png")
            await page.picture(picture)
            assert page.errors() == []
            assert picture.stat().st_size > 10_000

    asyncio.run(look())

"""A real browser without a window, told what to do by its own protocol."""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find():
    """The browser, or nothing."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in a browser that lives while the block runs.

    Args:
        address (Path or str): The page, a file or a URL.
        width (int): Of the window, in CSS pixels.
        print (bool): Whether it is shown as for print.
        dark (bool): Whether the reader prefers dark pages.
    """

    def __init__(self, address, width, *, print=False, dark=False, scripts=True):
        self.address = address if isinstance(address, str) else address.resolve().as_uri()
        self.width = width
        self.print, self.dark, self.scripts = print, dark, scripts
        self.said = []

    async def __aenter__(self):
        import aiohttp

        self.home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [
            *(find(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"),
            *(f"--user-data-dir={self.home.name}", "--disable-dev-shm-usage", "--no-first-run"),
            *("--hide-scrollbars", "about:blank"),
        ]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        port = Path(self.home.name, "DevToolsActivePort")
        end = time.monotonic() + 60
        while not port.exists() or not port.read_text().strip():
            assert time.monotonic() < end, "the browser did not start"
            await asyncio.sleep(0.1)
        number = port.read_text().split()[0]
        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{number}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        address = pages[0]["webSocketDebuggerUrl"]
        self.socket = await self.session.ws_connect(address, max_msg_size=0)
        self.number = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=self.width,
            height=844,
            deviceScaleFactor=1,
            mobile=self.width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}]
        media = "print" if self.print else "screen"
        await self.call("Emulation.setEmulatedMedia", media=media, features=features)
        if not self.scripts:
            await self.call("Emulation.setScriptExecutionDisabled", value=True)
        await self.call("Page.navigate", url=self.address)
        while await self.ask("document.readyState") != "complete":
            await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *error):
        await self.session.close()
        self.process.terminate()
        self.process.wait(20)
        self.home.cleanup()

    async def call(self, method, **parameters):
        """Calls a method of the protocol; events that come meanwhile are kept."""
        self.number += 1
        call = {"id": self.number, "method": method, "params": parameters}
        await self.socket.send_json(call)
        while True:
            answer = json.loads((await self.socket.receive(timeout=60)).data)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.said.append(answer)

    async def ask(self, expression):
        """The value of an expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, key, code):
        """Presses a key."""
        text = "\r" if key == "Enter" else ""
        shared = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **shared)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    async def picture(self, file, whole=True):
        """Saves what is seen."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def errors(self):
        """What the page complained of, and what it fetched from elsewhere: of a file, but for
        itself; of a URL, from other hosts.
        """
        at = urlsplit(self.address)
        own = self.address if at.scheme == "file" else f"{at.scheme}://{at.netloc}/"
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded")
        found = [one for one in self.said if one.get("method") in kinds]
        for one in self.said:
            if one.get("method") == "Network.requestWillBeSent":
                url = one["params"]["request"]["url"]
                if not url.startswith(("data:", own)):
                    found.append(url)
        return found

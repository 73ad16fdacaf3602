"""A page in headless Chromium that a test clicks through, by Chromium's own protocol."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import CHROMIUM
from websockets.sync.client import ClientConnection, connect


class Page:
    """One tab; every call waits for its answer."""

    def __init__(self, connection: ClientConnection, session: str) -> None:
        self._connection, self._session, self._number = connection, session, 0
        self.messages: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        self._connection.send(json.dumps({**request, "sessionId": self._session}))
        while True:
            answer: dict[str, Any] = json.loads(self._connection.recv(timeout=60))
            thrown = answer.get("method") == "Runtime.exceptionThrown"
            if thrown or answer.get("params", {}).get("entry", {}).get("level") == "error":
                self.messages.append(json.dumps(answer["params"]))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    def do(self, script: str) -> Any:
        """Run a script in the page; return its value."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> Any:
        """Wait until a script's value is true; return it."""
        deadline = time.monotonic() + seconds
        while not (value := self.do(condition)):
            assert time.monotonic() < deadline, (condition, self.do("document.body.innerText"))
            time.sleep(0.05)
        return value

    def choose_file(self, selector: str, path: Path) -> None:
        """Put a file into an input, as a person who chooses it does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


@contextmanager
def opened(url: str, profile: Path, width: int = 1000, height: int = 900) -> Iterator[Page]:
    """Open a page in a browser of its own."""
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as browser:
        try:
            assert browser.stderr is not None
            for line in browser.stderr:
                if found := re.search(r"listening on (ws://\S+)", line):
                    break
            with connect(found[1], max_size=2**26) as connection:  # type: ignore[index]
                page = Page(connection, "")
                connection.send(
                    json.dumps({"id": 0, "method": "Target.createTarget", "params": {"url": "about:blank"}})
                )
                target = json.loads(connection.recv(timeout=60))["result"]["targetId"]
                attach = {"targetId": target, "flatten": True}
                connection.send(json.dumps({"id": 1, "method": "Target.attachToTarget", "params": attach}))
                while "result" not in (answer := json.loads(connection.recv(timeout=60))):
                    pass
                page = Page(connection, answer["result"]["sessionId"])
                for domain in ("Page", "Runtime", "Log", "DOM"):
                    page.call(f"{domain}.enable")
                page.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=height,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                page.call("Page.navigate", url=url)
                page.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
                yield page
        finally:
            browser.terminate()
            browser.wait()

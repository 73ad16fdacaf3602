"""The service as clients meet it: a real process on loopback, limits, keys, a killed model, the page."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from browser import JUDGE, axe_core, needs_chromium
from devtools import opened
from squares import World

from mghft.inference import Predictor
from mghft.pipeline.views import VIEWS

LIMITS = ["--max-request-bytes", "200000", "--max-stickers", "8", "--max-pixels", "100000"]


class Service:
    """A service and what it wrote."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.lines: list[str] = []
        assert process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, stream: Any) -> None:
        self.lines.extend(iter(stream.readline, ""))

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=60, **options)

    def post(self, content: Any = None, **options: Any) -> httpx2.Response:
        if content is not None:
            options["json"] = content
        return httpx2.post(f"{self.url}/v1/predict", timeout=60, **options)

    def logged(self, path: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in found if line["path"] == path]

    def wait_for_queue(self, stickers: int, **options: Any) -> None:
        deadline = time.monotonic() + 60
        while f"mghft_queue_stickers {stickers}.0" not in self.get("/metrics", **options).text:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def model_process(self) -> int:
        (child,) = [
            child
            for child in psutil.Process(self.process.pid).children()
            if "resource_tracker" not in " ".join(child.cmdline())
        ]
        return child.pid


@contextmanager
def serving(weights: Path, *options: str, **environment: str) -> Iterator[Service]:
    command = [sys.executable, "-m", "mghft", "serve", str(weights), "--port", "0", *options]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found, (line, process.stderr and process.stderr.read())
            yield Service(process, found[0])
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=60)


@pytest.fixture(scope="module")
def service(run: Path) -> Iterator[Service]:
    with serving(run, "--no-text", *LIMITS) as service:
        yield service


@pytest.fixture
def picture(world: World) -> bytes:
    return (world.data / world.rows[0]["path"]).read_bytes()


def sticker(content: bytes, **fields: Any) -> dict[str, Any]:
    return {"image": base64.b64encode(content).decode(), **fields}


def own_views() -> dict[str, str]:
    return {view: f"{view} is warm" for view in VIEWS}


def test_predictions_are_the_predictors(service: Service, world: World, run: Path) -> None:
    paths = [world.data / row["path"] for row in world.rows[:5]]
    given = [own_views(), {}, {"content": "content is cold", "style": None}, None, own_views()]
    expected = Predictor.from_pretrained(run)(paths, given)  # type: ignore[arg-type]
    rows = [sticker(path.read_bytes(), name=path.name) for path in paths]
    for row, views in zip(rows, given, strict=True):
        if views is not None:
            row["views"] = views
    by_json = service.post({"stickers": rows, "overlay": True})
    assert by_json.status_code == 200, by_json.text
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    by_form = service.post(files=files, data={"views": json.dumps(given)})
    for answer in (by_json, by_form):
        for found, wanted in zip(answer.json()["predictions"], expected, strict=True):
            assert found["label"] == wanted.label
            assert found["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-5)
            assert found["views"] == wanted.views
            assert found["missing_views"] == list(wanted.missing_views)
    overlays = [base64.b64decode(found["overlay"]) for found in by_json.json()["predictions"]]
    assert all(overlay.startswith(b"\x89PNG") for overlay in overlays)
    assert [found["name"] for found in by_json.json()["predictions"]] == [path.name for path in paths]


def test_a_bad_picture_fails_alone(service: Service, picture: bytes) -> None:
    from PIL import Image

    large = io.BytesIO()
    Image.new("L", (400, 300)).save(large, "PNG")
    rows = [sticker(picture), sticker(b"words"), sticker(large.getvalue()), sticker(b"")]
    answer = service.post({"stickers": rows})
    assert answer.status_code == 200
    found = answer.json()["predictions"]
    assert found[0]["label"] and found[0]["error"] is None
    assert found[1]["error"] == "the file is no image that can be read"
    assert "the limit is 100000 pixels" in found[2]["error"]
    assert found[3]["error"]


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        ({"stickers": []}, 422, "at stickers: must have at least 1 entries"),
        ({}, 422, "lacks the field 'stickers'"),
        ([], 422, "must be a mapping"),
        ({"stickers": [{"image": "https://example.org/a.png"}]}, 422, "addresses are never fetched"),
        ({"stickers": [{"image": "FILE:///etc/passwd"}]}, 422, "addresses are never fetched"),
        ({"stickers": [{"image": "%%%"}]}, 422, "is no base64"),
        ({"stickers": [{"image": "", "view": {}}]}, 422, "has no field 'stickers.0.view'"),
        ({"stickers": [{"image": "", "views": {"stile": "x"}}]}, 422, "no view 'stile': did you mean style?"),
        ({"stickers": [{"image": "", "views": {"style": 3}}]}, 422, "views.style"),
        ({"stickers": [{"image": ""}] * 9}, 413, "the request has 9 stickers, the limit is 8"),
        ({"stickers": [{"image": "A" * 250_000}]}, 413, "larger than the limit of 200000 bytes"),
    ],
)  # fmt: skip
def test_malformed_requests_are_answered_in_a_sentence(
    service: Service, content: Any, status: int, sentence: str
) -> None:
    answer = service.post(content)
    assert answer.status_code == status and sentence in answer.json()["detail"], answer.text
    assert "Input should be" not in answer.text and "Traceback" not in answer.text


def test_malformed_bodies(service: Service, picture: bytes) -> None:
    kinds = {
        "application/json": [b"{", b"\xff", b"[" * 100_000],
        "multipart/form-data; boundary=x": [b"--x", b"--x\r\n\r\nfiles", b"no boundary at all"],
        "multipart/form-data": [b"x"],
        "text/plain": [b"x"],
    }
    for kind, bodies in kinds.items():
        for body in bodies:
            answer = service.post(content=None, data=None, headers={"content-type": kind}, files=None)
            answer = httpx2.post(
                f"{service.url}/v1/predict", content=body, headers={"content-type": kind}, timeout=60
            )
            assert answer.status_code in (415, 422), (kind, body[:20], answer.text)
            assert answer.json()["detail"]
    unknown = service.post(files=[("files", ("a", picture))], data={"view": "[]"})
    assert unknown.status_code == 422 and "no field 'view'" in unknown.text
    uneven = service.post(files=[("files", ("a", picture))], data={"views": "[null, null]"})
    assert uneven.status_code == 422 and "one entry per file (1)" in uneven.text
    many = service.post(files=[("files", (str(n), picture)) for n in range(12)])
    assert many.status_code == 413
    assert service.get("/healthz").status_code == 200


def test_body_is_counted_as_it_comes(service: Service) -> None:
    """A client that says no length is stopped at the limit, not after its last byte."""
    host, port = service.url.removeprefix("http://").split(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        try:
            while sent < 2**26:
                client.sendall(chunk)
                sent += len(chunk)
                client.setblocking(False)
                try:
                    if client.recv(1, socket.MSG_PEEK):
                        break
                except BlockingIOError:
                    pass
                client.setblocking(True)
        except ConnectionError:
            pass
        client.setblocking(True)
        client.settimeout(30)
        assert client.recv(64).startswith(b"HTTP/1.1 413")
    assert sent < 2**24


def test_other_hosts_and_sites_are_not_answered(service: Service) -> None:
    assert service.get("/healthz", headers={"Host": "evil.example"}).status_code == 421
    assert service.get("/v1/model", headers={"Origin": "http://evil.example"}).status_code == 403
    assert service.get("/v1/model", headers={"Origin": "null"}).status_code == 403
    assert service.get("/v1/model", headers={"Origin": "http://["}).status_code == 400
    assert service.get("/v1/model", headers={"Origin": service.url}).status_code == 200
    answer = service.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers
    assert (
        service.get("/page.html").status_code == 404 and service.get("/../pyproject.toml").status_code == 404
    )
    assert service.get("/docs").status_code == 404


def test_figures_interface_and_log(service: Service, picture: bytes) -> None:
    service.post({"stickers": [sticker(picture, name="secret name", text="secret words"), sticker(b"x")]})
    figures = service.get("/metrics").text
    assert re.search(r'mghft_requests_total\{path="/v1/predict",status="200"\} \d+\.0', figures)
    assert re.search(r'mghft_stickers_total\{outcome="failed"\} \d+\.0', figures)
    assert "mghft_batch_stickers_bucket" in figures and "mghft_queue_stickers 0.0" in figures
    interface = service.get("/openapi.json").json()
    assert set(interface["paths"]) == {"/v1/predict", "/v1/model", "/healthz", "/metrics"}
    body = interface["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    model = service.get("/v1/model").json()
    assert model["labels"] == ["cold", "warm", "green"] and model["limits"]["stickers"] == 8
    deadline = time.monotonic() + 10
    while not (lines := service.logged("/v1/predict")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {"time", "request", "method", "status", "ms", "bytes"} <= lines[-1].keys()
    assert not any("secret" in line for line in service.lines)


def test_requests_side_by_side_share_batches(service: Service, picture: bytes) -> None:
    def batches() -> float:
        found = re.search(r"mghft_batch_stickers_count (\d+)", service.get("/metrics").text)
        assert found
        return float(found[1])

    before = batches()
    (alone,) = service.post({"stickers": [sticker(picture)]}).json()["predictions"]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: service.post({"stickers": [sticker(picture)]}), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert batches() - before < 25
    for answer in answers:
        (found,) = answer.json()["predictions"]
        assert found["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)


def test_killed_model_costs_its_requests_alone(blind: Path, picture: bytes) -> None:
    with serving(blind) as service:
        first = service.model_process()
        os.kill(first, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(service.post, {"stickers": [sticker(picture)]})
            service.wait_for_queue(1)
            os.kill(first, signal.SIGKILL)
            answer = held.result(60)
        assert answer.status_code == 503 and "is started again" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "5"
        # What comes meanwhile waits for the new one.
        assert service.post({"stickers": [sticker(picture)]}).status_code == 200
        assert service.model_process() != first and service.get("/healthz").status_code == 200
        assert "mghft_worker_starts_total 2.0" in service.get("/metrics").text


def test_full_queue_and_late_answers(blind: Path, picture: bytes) -> None:
    with serving(blind, "--max-queue", "3", "--timeout", "2") as service:
        process = service.model_process()
        os.kill(process, signal.SIGSTOP)
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: service.post({"stickers": [sticker(picture)]}), range(6)))
        os.kill(process, signal.SIGCONT)
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [429, 429, 429, 504, 504, 504]
        late = next(answer for answer in answers if answer.status_code == 429)
        assert late.headers["retry-after"] == "1" and "the limit is 3" in late.json()["detail"]
        assert service.post({"stickers": [sticker(picture)]}).status_code == 200


def test_key_and_a_graceful_end(blind: Path, picture: bytes) -> None:
    with serving(blind, MGHFT_API_KEY="correct horse") as service:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "correct horse"}):
            answer = service.post({"stickers": [sticker(picture)]}, headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert service.get("/metrics", headers=headers).status_code == 401
        allowed = {"Authorization": "Bearer correct horse"}
        assert service.post({"stickers": [sticker(picture)]}, headers=allowed).status_code == 200
        assert service.get("/healthz").status_code == 200 and service.get("/").status_code == 200
        # A request under way is answered although the end was asked for.
        process = service.model_process()
        os.kill(process, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(service.post, {"stickers": [sticker(picture)]}, headers=allowed)
            service.wait_for_queue(1, headers=allowed)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            os.kill(process, signal.SIGCONT)
            assert held.result(60).status_code == 200
        assert service.process.wait(60) == 0
        assert not psutil.pid_exists(process)
        assert not any("correct horse" in line for line in service.lines)


def test_what_cannot_be_served_is_said(blind: Path, run: Path, tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mghft", "serve", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: "), done.stderr
        return done.stderr.splitlines()[-1]

    assert "which weights?" in refused()
    assert "did you mean" in refused(str(run.with_name("runn")))
    assert "reads no descriptions" in refused(str(blind), "--model", "tiny-llava")
    assert "--port must be at most 65535" in refused(str(blind), "--port", "70000")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "cannot listen there" in refused(str(blind), "--port", str(port))
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "inference.json"):
        (broken / name).write_bytes((blind / "best" / name).read_bytes())
    (broken / "model.safetensors").write_bytes(b"x")
    assert "does not hold a usable MGHFT model" in refused(str(broken))


@needs_chromium
def test_page_follows_what_is_edited(service: Service, world: World, tmp_path: Path) -> None:
    path = world.data / world.rows[0]["path"]
    downloads = tmp_path / "downloads"
    with opened(service.url, tmp_path / "profile", width=390, height=800) as page:
        page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        page.wait("document.getElementById('model').textContent.includes('Coloured squares')")
        # The first stop of the keyboard is the input.
        page.press("Tab", 9)
        assert page.do("document.activeElement.id") == "file"
        page.choose_file("#file", path)
        label = page.wait(
            "!document.getElementById('result').hidden && document.getElementById('label').textContent"
        )
        assert label in ("cold", "warm", "green")
        rows = page.do("[...document.querySelectorAll('#bars tbody tr')].map(row => row.innerText)")
        assert len(rows) == 3 and all("–" in row for row in rows)
        assert page.do("document.getElementById('picture').naturalWidth") > 0
        assert page.do("document.getElementById('overlay').naturalWidth") == 256
        # Writing a view changes the prediction; what it was stands beside.
        page.do(
            "const text = document.getElementById('view-content'); text.focus(); "
            "text.value = 'content is warm, \"so\"'; text.dispatchEvent(new Event('input'))"
        )
        changed = page.wait(
            "(rows => rows.every(row => !row.includes('–')) && rows)"
            "([...document.querySelectorAll('#bars tbody tr')].map(row => row.innerText))"
        )
        assert changed != rows
        page.do("document.getElementById('view-style').value = 'x'")
        page.do("document.getElementById('away-style').click()")
        assert page.do("document.getElementById('view-style').disabled") is True
        page.wait("document.getElementById('status').textContent === ''")
        page.do("document.getElementById('download').click()")
        deadline = time.monotonic() + 20
        while not (downloads / "corrections.csv").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        text = (downloads / "corrections.csv").read_text("utf-8-sig")
        (row,) = csv.DictReader(io.StringIO(text))
        assert row == {
            "sticker": path.name,
            "view": "content",
            "text": 'content is warm, "so"',
            "by": "",
            "why": "edited on the page",
        }
        page.do("document.getElementById('again').click()")
        page.wait("document.getElementById('view-content').value === ''")
        # No sideways scrolling on a phone, every control has a name.
        assert page.do("document.documentElement.scrollWidth") <= 390
        assert (
            page.do(
                "[...document.querySelectorAll('textarea, input')].filter(one => !one.labels.length).length"
            )
            == 0
        )
        assert page.messages == []
        # A file that is no picture is said, and the page goes on.
        (tmp_path / "words.png").write_text("words")
        page.choose_file("#file", tmp_path / "words.png")
        page.wait("document.getElementById('status').textContent.includes('cannot be read')")


@needs_chromium
def test_page_is_judged_by_axe_core(service: Service, world: World, tmp_path: Path) -> None:
    pytest.importorskip("axe_playwright_python")
    picture = next(iter(sorted((world.data / "test").iterdir())))
    with opened(service.url, tmp_path / "profile") as page:
        page.wait("document.getElementById('model').textContent.includes('Coloured squares')")
        page.choose_file("#file", picture)
        page.wait("document.getElementById('label').textContent")
        page.do(axe_core())
        for width, scheme in ((390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            page.call("Emulation.setDeviceMetricsOverride", **size)
            media = [{"name": "prefers-color-scheme", "value": scheme}]
            page.call("Emulation.setEmulatedMedia", features=media)
            assert page.do(JUDGE) == [], (width, scheme)
            assert page.do("document.documentElement.scrollWidth") <= width
            bright = page.do("getComputedStyle(document.body).backgroundColor")
            assert bright == ("rgb(246, 247, 249)" if scheme == "light" else "rgb(20, 23, 31)")

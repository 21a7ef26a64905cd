"""A reader's first minute: JupyterLab opens a lesson, runs it, a slider moves, the picture changes."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from cambook import files
from cambook.cli import doctor

LESSON = Path(__file__).parents[1] / "notebooks" / "00_where_does_it_look.ipynb"
TOKEN = "for-this-test-alone"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]
# No news dialog; every cell in the page, seen or not.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
OUTPUT = ".jp-OutputArea-output"
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
    .flatMap(cell => cell.outputs || []).filter(output => output.output_type === 'error')
    .map(error => `${error.ename}: ${error.evalue}`)"""
# From the notebook and not from the prompts on the page, since a folded cell shows none.
COUNTS = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
    .filter(cell => cell.cell_type === 'code').map(cell => cell.execution_count)"""
PICTURES = f"{OUTPUT} img.widget-image"
# The pixels of all widget pictures, as one text.
PIXELS = """images => images.map(image => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext('2d').drawImage(image, 0, 0);
    return image.naturalWidth ? canvas.toDataURL() : '';
}).join(' ')"""


def browser_or_reason():
    browser = doctor.find_browser()
    if browser:
        return browser
    sentence = "No Chromium: install one (Debian: apt-get install chromium) or set CAMBOOK_CHROMIUM to its path."
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a folder of its own, with no settings of this machine: its address, its folder."""
    for name, content in SETTINGS.items():
        file = tmp_path / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    environment.pop("JUPYTER_PATH", None)
    folder = tmp_path / "lessons"
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "lab.log"
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    options += [
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        "--LabApp.expose_app_in_browser=True",
    ]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(lambda: _answers(f"{address}/api/status?token={TOKEN}"), 60, lambda: log.read_text(encoding="utf-8"))
        yield address, folder
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def _wait(condition, seconds, explain):
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, explain()
        time.sleep(0.3)
    return result


def unrun(notebook, copy):
    """Writes a copy without outputs and execution counts, so that only what runs in the browser has any."""
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(content, copy)


def open_and_run(page, address, name):
    """Opens the notebook in JupyterLab and runs its cells, to the last one or to an error."""
    page.goto(f"{address}/lab/tree/{name}?token={TOKEN}&reset", timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)

    def idle():
        accept = page.locator(".jp-Dialog button.jp-mod-accept")
        if accept.count():
            accept.first.click()
        return "| Idle" in page.locator("#jp-main-statusbar").inner_text()

    _wait(idle, 60, lambda: "the kernel did not become idle")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def all_ran():
        if page.evaluate(ERRORS):
            return True
        return idle() and all(page.evaluate(COUNTS))

    _wait(all_ran, 300, lambda: f"execution counts: {page.evaluate(COUNTS)}")


@pytest.mark.parametrize("notebook", [LESSON], ids=lambda path: path.stem)
def test_a_slider_moves_and_the_picture_changes(lab, notebook):
    browser_path = browser_or_reason()
    from playwright.sync_api import sync_playwright

    address, folder = lab
    unrun(notebook, folder / notebook.name)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        try:
            open_and_run(page, address, notebook.name)
            assert page.evaluate(ERRORS) == []
            handle = page.locator(f"{OUTPUT} .noUi-handle").first
            handle.wait_for(timeout=30_000)
            handle.scroll_into_view_if_needed()
            before = _wait(
                lambda: page.eval_on_selector_all(PICTURES, PIXELS).strip(),
                30,
                lambda: "no widget shows a picture",
            )
            handle.focus()
            page.keyboard.press("ArrowRight")
            _wait(
                lambda: page.eval_on_selector_all(PICTURES, PIXELS) != before,
                30,
                lambda: "the picture did not change",
            )
        finally:
            files.RUNS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=files.RUNS / "browser.png")
            browser.close()

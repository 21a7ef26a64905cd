"""Tests that mostly wait for processes of their own, or need nothing of the others: a second pytest runs them.

Where nearly all tests are chosen, as by `make test`, those of FILES and those marked `beside` run in a process of their
own from the beginning on, while this one runs the rest. Their reports are handed over here, each in its turn, so that
one pytest counts, shows and times all tests. Chosen alone or with a few others, they run as any test.
"""

import ast
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = {
    f"test_{name}.py"
    for name in "classroom colab distributed editions encoding experiments gpu hostile kill wheel".split()
}
MANY = 500  # other tests; below that a second process is not worth its start
FOLDER = "CAMBOOK_TESTS_BESIDE"  # in the environment of the second pytest: where it finds and writes what follows
CHOSEN, REPORTS, LOG = "chosen", "reports", "log"


def is_beside(item) -> bool:
    return item.path.name in FILES or item.get_closest_marker("beside") is not None


class Second:
    """The plugin of the second pytest: it runs the chosen tests and writes their reports, one a line."""

    def __init__(self, folder: Path):
        self.parent = os.getppid()
        self.chosen = set((folder / CHOSEN).read_text(encoding="utf-8").splitlines())
        self.reports = folder / REPORTS

    def pytest_configure(self, config):
        self.config = config

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.chosen]

    def pytest_runtest_logreport(self, report):
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        with open(self.reports, "a", encoding="utf-8") as file:
            file.write(f"{data!r}\n")
        if os.getppid() != self.parent:
            pytest.exit("the pytest that started this one is gone")


class First:
    """The plugin of the pytest that was called: it starts the second and reports for it."""

    def __init__(self):
        self.process = None

    def pytest_collection_finish(self, session):
        items = [item for item in session.items if is_beside(item)]
        option, others = session.config.option, len(session.items) - len(items)
        alone = option.collectonly or getattr(option, "random_order_enabled", False)  # `make flakes` mixes them all
        if not items or others < MANY or alone:
            return
        self.config, self.place = session.config, tempfile.TemporaryDirectory(prefix="cambook-beside-")
        self.folder = Path(self.place.name)
        self.chosen = [item.nodeid for item in items]
        (self.folder / CHOSEN).write_text("\n".join(self.chosen), encoding="utf-8")
        self.seen, self.read = defaultdict(list), 0
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += sorted({str(item.path) for item in items})
        with open(self.folder / LOG, "wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=session.config.rootpath,
                env={**os.environ, FOLDER: str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def pytest_runtest_protocol(self, item):
        if not self.process or item.nodeid not in self.chosen:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self.reports_of(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def reports_of(self, item) -> Iterator[pytest.TestReport]:
        """What the second pytest says of a test, as it says it; a failure where it ended without a word of it."""
        told = 0
        while True:
            over = self.process.poll() is not None  # before the last look
            self.look()
            for report in self.seen[item.nodeid][told:]:
                told += 1
                yield report
                if report.when == "teardown":
                    return
            if over:
                said = (self.folder / LOG).read_text(encoding="utf-8", errors="replace")[-3000:]
                why = f"The pytest that ran it beside the others ended with {self.process.returncode}:\n{said}"
                yield pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")
                return
            time.sleep(0.2)

    def look(self) -> None:
        """Takes the lines that are new and whole."""
        file = self.folder / REPORTS
        content = file.read_bytes()[self.read :] if file.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self.read += len(whole)
        for line in whole.decode("utf-8").splitlines():
            data = ast.literal_eval(line)
            report = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
            self.seen[report.nodeid].append(report)

    def pytest_sessionfinish(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.place.cleanup()


def plugin():
    """The one that this process needs. What it starts is no second pytest, so the variable goes."""
    folder = os.environ.pop(FOLDER, None)
    return Second(Path(folder)) if folder else First()

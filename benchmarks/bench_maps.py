"""What maps cost beside the forward pass they need, in cambook and in three other libraries.

    python benchmarks/bench_maps.py

ResNet-18 and GoogLeNet with random weights, 8 pictures of 224 pixels, two threads, all in one process. Before anything
is timed, every library has to give the same maps. Each call is timed between two plain forward passes of the same
network and batch and divided by their mean; the same is done with one more forward pass in its place, which says how
much of a ratio is noise. Within the noise: the median is no higher than the 0.95 quantile of those. Memory is the peak
of a process of its own above what it held after a forward pass of one picture. Writes data/results/bench-maps.json.
"""

from __future__ import annotations

import copy
import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torchcam.methods
import torchvision
from captum.attr import LayerAttribution, LayerGradCam
from form import row, write
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from cambook.maps import class_activation_map, grad_cam, normalize, upsample

BATCH, SIDE, THREADS = 8, 224, 2
LAYERS = {"ResNet-18": "layer4", "GoogLeNet": "inception5b"}
SECONDS, FEWEST = 55, 5  # of timing for each network, and rounds at least
SLOW, EVERY = 2.0, 4  # what takes more than SLOW forward passes is timed in every EVERY-th round
PROCESSES = 2  # for each peak of memory
PACKAGES = ["torch", "torchvision", "torchcam", "grad-cam", "captum"]

OURS = "cambook"
FORWARD = "one more forward pass"
CAM_FIVE = "CAM, five classes"
CAM_ALL = "CAM, all 1000 classes, not enlarged"
GRAD_CAM = {1: "Grad-CAM, one class", 5: "Grad-CAM, five classes"}
ENLARGED = "enlarging and normalizing 40 maps alone"
MEMORY = "memory of Grad-CAM, five classes"
TIMES, MEGABYTES = "times the forward pass", "MB above start"
AIMED, NOISE = (CAM_FIVE, CAM_ALL, GRAD_CAM[5]), "within the noise of the forward pass"
LIMIT = 60


class Case(NamedTuple):
    """A network, the layer before its average pooling, pictures (B, 3, H, W), each picture's five classes (B, 5)."""

    network: nn.Module
    layer: str
    images: Tensor
    classes: Tensor


def build(name: str) -> nn.Module:
    """The network as torchvision builds it, with random weights, for two threads."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name == "GoogLeNet" else {}
    return torchvision.models.get_model(name.lower().replace("-", ""), weights=None, **options).eval()


def make(name: str) -> Case:
    """Batch norm gets the statistics of the pictures themselves, so that maps are as large as in trained networks."""
    network, images = build(name), torch.rand(BATCH, 3, SIDE, SIDE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, here of one
    with torch.no_grad():
        network.train()(images)
        classes = network.eval()(images).topk(5).indices
    return Case(network, LAYERS[name], images, classes)


@torch.no_grad()
def forward(case: Case) -> Tensor:
    return case.network(case.images)


def enlarged(maps: Tensor) -> Tensor:
    return normalize(upsample(maps, SIDE))


def enlarged_alone(_case: Case) -> Tensor:
    return enlarged(torch.rand(BATCH, 5, 7, 7))


# ---- the same maps, five ways: (B, n, SIDE, SIDE) in [0, 1] ----


def forward_with_maps(case: Case) -> tuple[Tensor, Tensor]:
    """logits (B, C) and feature_maps (B, K, h, w), as cambook's own networks give them."""
    feature_maps = case.images
    for name, part in case.network.named_children():
        if name == "avgpool":
            break
        feature_maps = part(feature_maps)
    return case.network.fc(feature_maps.mean((2, 3))), feature_maps


@torch.no_grad()
def cam_of_cambook(case: Case) -> Tensor:
    logits, feature_maps = forward_with_maps(case)
    return enlarged(class_activation_map(feature_maps, case.network.fc.weight[logits.topk(5).indices]))


@torch.no_grad()
def all_cams_of_cambook(case: Case) -> Tensor:
    _, feature_maps = forward_with_maps(case)
    return class_activation_map(feature_maps, case.network.fc.weight)


def grad_cam_of_cambook(case: Case, classes: int) -> Tensor:
    return enlarged(grad_cam(case.network, case.images, layer=case.layer, top=classes).maps)


@torch.no_grad()
def cam_of_torchcam(case: Case) -> Tensor:
    with torchcam.methods.CAM(case.network, case.layer, "fc") as extractor:
        five = case.network(case.images).topk(5).indices
        maps = [extractor(classes, normalized=False)[0] for classes in five.T.tolist()]
    return enlarged(torch.stack(maps, 1))


@torch.no_grad()
def all_cams_of_torchcam(case: Case) -> Tensor:
    with torchcam.methods.CAM(case.network, case.layer, "fc") as extractor:
        logits = case.network(case.images)
        return torch.stack([extractor(c, normalized=False)[0] for c in range(logits.shape[1])], 1)


def grad_cam_of_torchcam(case: Case, classes: int) -> Tensor:
    with torchcam.methods.GradCAM(case.network, case.layer) as extractor:
        logits = case.network(case.images)
        likeliest = logits.topk(classes).indices.T.tolist()
        maps = [extractor(each, logits, normalized=False, retain_graph=True)[0] for each in likeliest]
    return enlarged(torch.stack(maps, 1))


def grad_cam_of_pytorch_grad_cam(case: Case, classes: int) -> Tensor:
    """One call a class, as its readme does; it enlarges and normalizes itself."""
    with GradCAM(case.network, [case.network.get_submodule(case.layer)]) as extractor:
        targets = [[ClassifierOutputTarget(c) for c in each] for each in case.classes[:, :classes].T.tolist()]
        return torch.stack([torch.from_numpy(extractor(case.images, each)) for each in targets], 1)


def grad_cam_of_captum(case: Case, classes: int) -> Tensor:
    extractor = LayerGradCam(case.network, case.network.get_submodule(case.layer))
    each = case.classes[:, :classes].T
    maps = [extractor.attribute(case.images, target=target, relu_attributions=True) for target in each]
    return normalize(LayerAttribution.interpolate(torch.cat(maps, 1), (SIDE, SIDE), "bilinear").detach())


LIBRARIES = {
    OURS: grad_cam_of_cambook,
    "torch-cam": grad_cam_of_torchcam,
    "pytorch-grad-cam": grad_cam_of_pytorch_grad_cam,
    "captum": grad_cam_of_captum,
}
WORKS: dict[tuple[str, str], Callable[[Case], Tensor]] = {
    (CAM_FIVE, OURS): cam_of_cambook,
    (CAM_FIVE, "torch-cam"): cam_of_torchcam,
    (CAM_ALL, OURS): all_cams_of_cambook,
    (CAM_ALL, "torch-cam"): all_cams_of_torchcam,
    **{(GRAD_CAM[n], library): partial(work, classes=n) for n in GRAD_CAM for library, work in LIBRARIES.items()},
}


# ---- measuring ----


def check_that_values_are_equal(case: Case, tolerance: float = 1e-6) -> None:
    """On two pictures in double precision, since in single the order of a sum alone may move a map by more than that.

    raises: AssertionError where a library's maps differ from ours by more than tolerance times their maximum
    """
    case = Case(copy.deepcopy(case.network).double(), case.layer, case.images[:2].double(), case.classes[:2])
    ours = {work: WORKS[work, OURS](case) for work, library in WORKS if library == OURS}
    for (work, library), make_maps in WORKS.items():
        apart = (make_maps(case) - ours[work]).abs().max() / ours[work].max()
        assert apart <= tolerance, f"{case.layer}, {work}: {library}'s maps are {apart:.1e} of the maximum from ours"


def seconds(work: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(works: dict, plain: Callable[[], Tensor]) -> dict:
    """Each work's seconds over the mean of the plain passes just before and just after it: {key: [ratio, ...]}

    A plain pass takes the place of a work before every fourth one, so that its noise is known better than theirs.
    """
    turn = []
    for place, one in enumerate(works.items()):
        turn += [((FORWARD, ""), plain), one] if place % 4 == 0 else [one]
    found, rounds, start = defaultdict(list), 0, time.perf_counter()
    while rounds < FEWEST or time.perf_counter() - start < SECONDS:
        before = seconds(plain)
        for key, work in turn:
            if rounds % EVERY and found[key][0] > SLOW:
                continue
            took, after = seconds(work), seconds(plain)
            found[key].append(2 * took / (before + after))
            before = after
        rounds += 1
    return found


def note(ours: dict, theirs: dict) -> str:
    """Equal: the median of each lies between low and high of the other."""
    if theirs["low"] <= ours["value"] <= theirs["high"] and ours["low"] <= theirs["value"] <= ours["high"]:
        return "equal to ours"
    return "ours takes less" if ours["value"] < theirs["value"] else "ours takes more"


def rows_of_times(name: str) -> list[dict]:
    case = make(name)
    check_that_values_are_equal(case)
    works = {(ENLARGED, ""): enlarged_alone} | WORKS
    works = {key: partial(work, case) for key, work in works.items()}
    found = ratios(works, partial(forward, case))
    noise = row(f"{name}: {FORWARD}", found.pop((FORWARD, "")), TIMES)
    enlarging = row(f"{name}: {ENLARGED}", found.pop((ENLARGED, "")), TIMES)
    rows = {}
    for (work, library), values in found.items():
        what = f"{name}: {work}: {library}"
        if library == OURS and work in AIMED:
            more = "the sums for 1000 maps come on top" if work == CAM_ALL else f"{ENLARGED} takes {enlarging['value']}"
            why = f"{more}, noise reaches {noise['high']}"
            rows[work, library] = row(what, values, TIMES, NOISE, lambda times: times <= noise["high"], why)
        else:
            rows[work, library] = row(what, values, TIMES)
        if library != OURS:
            rows[work, library]["note"] = note(rows[work, OURS], rows[work, library])
    return [noise, enlarging, *rows.values()]


def held(key: str) -> float:
    """Memory of this process in MB: VmRSS, what it holds now, or VmHWM, the most it ever held (Linux)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(lines[key].split()[0]) * 1024 / 1e6


def peak(name: str, work: Callable[[Case], Tensor]) -> float:
    """MB that the work takes at most above what this process, a new one, holds before."""
    case = Case(build(name), LAYERS[name], torch.rand(BATCH, 3, SIDE, SIDE), torch.arange(5).expand(BATCH, 5))
    forward(case._replace(images=case.images[:1]))  # loads what is loaded at the first call
    start = held("VmRSS")
    work(case)
    return held("VmHWM") - start


def rows_of_memory(name: str) -> list[dict]:
    works = {FORWARD: forward, ENLARGED: enlarged_alone}
    works |= {library: partial(work, classes=5) for library, work in LIBRARIES.items()}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["captum.attr", "pytorch_grad_cam", "torchcam.methods", "torchvision"])
    with ProcessPoolExecutor(2, context, max_tasks_per_child=1) as pool:
        waiting = {key: [pool.submit(peak, name, work) for _ in range(PROCESSES)] for key, work in works.items()}
        found = {key: [one.result() for one in each] for key, each in waiting.items()}
    rows = {FORWARD: row(f"{name}: memory of the forward pass", found.pop(FORWARD), MEGABYTES)}
    rows[ENLARGED] = row(f"{name}: memory of {ENLARGED}", found.pop(ENLARGED), MEGABYTES)
    for library, values in found.items():
        what = f"{name}: {MEMORY}: {library}"
        if library == OURS:
            why = f"the forward pass takes {rows[FORWARD]['value']}, {ENLARGED} {rows[ENLARGED]['value']}"
            rows[library] = row(
                what, values, MEGABYTES, f"at most {LIMIT} MB", lambda megabytes: megabytes <= LIMIT, why
            )
        else:
            rows[library] = row(what, values, MEGABYTES)
            rows[library]["note"] = note(rows[OURS], rows[library])
    return list(rows.values())


def main() -> None:
    rows = [each for name in LAYERS for each in rows_of_times(name)]
    rows += [each for name in LAYERS for each in rows_of_memory(name)]
    write("maps", "python benchmarks/bench_maps.py", PACKAGES, rows)


if __name__ == "__main__":
    main()

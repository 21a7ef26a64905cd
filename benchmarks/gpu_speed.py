"""The stages of `make gpu` that measure speed: training steps in each precision and layout, maps, the pipeline."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from gpu_rows import Piece, Settings, rows
from torch.utils.flop_counter import FlopCounterMode

from cambook import datasets, maps, networks, training
from cambook.datasets import scenes

# every network, those that differ in their backbones first
FIRST = ("lite0-gap", "resnet50-gap", "googlenet-gap", "vgg16-gap", "alexnet-gap", "mini-gap", "vgg16-acol")
FURTHER = tuple(name for name in networks.names() if name not in FIRST)
DRY = ("mini-gap", "mini-fc", "lite0-gap")
CLASSES = 12
STREAMED = 7200  # pictures of 224 px that are more than datasets.image_getter holds: decoded as they are asked for
# precision of the forward pass, layout, compiled
STEPS = (("fp32", "contiguous"), ("bf16", "contiguous"), ("bf16", "channels last"))
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


def throughput(settings: Settings, networks: tuple[str, ...]) -> list[Piece]:
    """The largest matrix product and the scenes, then each network: steps, pipeline, maps."""
    chosen = [name for name in networks if not settings.dry or name in DRY]
    device = {"device": settings.context()["device"]}
    found = [Piece({"network": name, "work": "forward", **device}, partial(one_network, name=name)) for name in chosen]
    if networks == FIRST:
        found.insert(0, Piece({"work": "matrix peak", **device}, matrix_peak))
        found.insert(1, Piece({"work": "scenes drawn", **device}, drawn_scenes))
    return found


def compiled(settings: Settings) -> list[Piece]:
    """The training step through torch.compile, each network as long as the stage's time lasts."""
    order = sorted((*FIRST, *FURTHER), key=lambda name: (name not in FIRST, not quick_to_compile(name)))
    device = {"device": settings.context()["device"], "work": "training step", "compiled": "yes"}
    chosen = order if not settings.dry else DRY[:1]
    return [Piece({"network": name, **device}, partial(compiled_step, name=name)) for name in chosen]


# ---- measuring ----


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates(work: Callable[[], object], amount: float, settings: Settings) -> dict[str, float]:
    """amount a second that the work does: median, least and most of five blocks of a tenth of a second or more."""

    def clock(times: int) -> float:
        wait(settings.device)
        began = time.perf_counter()
        for _ in range(times):
            work()
        wait(settings.device)
        return time.perf_counter() - began

    clock(settings.small(1, 3))  # compiles, tunes and fills caches
    times = max(1, math.ceil(settings.small(0, 0.1) / clock(1)))
    blocks = [amount * times / clock(times) for _ in range(settings.small(2, 5))]
    return {"median": statistics.median(blocks), "least": min(blocks), "most": max(blocks)}


def speed(found: dict[str, float]) -> dict[str, str]:
    return {"pictures_per_second": f"{found['median']:.1f}", **{k: f"{found[k]:.1f}" for k in ("least", "most")}}


def quick_to_compile(name: str) -> bool:
    """Small networks, AlexNet and VGG-16: a plain row of few layers."""
    spec = networks.spec(name)
    return side(name) == networks.MINI_SIZE or bool(spec.weights and spec.weights.model in ("alexnet", "vgg16"))


def side(name: str) -> int:
    return networks.spec(name).side


def batch_of(settings: Settings) -> int:
    return settings.small(2, 128)


# ---- pieces ----


def matrix_peak(settings: Settings) -> list[dict]:
    """What a large square matrix product reaches, the most of five blocks, in TFLOP/s."""
    size = settings.small(256, 8192)
    found = []
    for kind, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        a, b = (torch.randn(size, size, device=settings.device).to(dtype) for _ in range(2))
        most = rates(lambda a=a, b=b: a @ b, 2 * size**3 / 1e12, settings)["most"]
        found.append({"precision": kind, "tflops": f"{most:.4g}"})
    return found


def drawn_scenes(settings: Settings) -> list[dict]:
    """Scenes with box and mask, drawn on the device."""
    found = []
    for size in (64, 224):
        data, batch = scenes.Scenes("train", size), settings.small(8, 256)
        rate = rates(partial(data.batch, range(batch), device=settings.device), batch, settings)
        found.append({"size": str(size), "batch": str(batch), **speed(rate)})
    return found


def one_network(settings: Settings, name: str) -> list[dict]:
    """Resident steps, the real pipeline, then the forward pass alone and with maps, the row that ends the piece."""
    steps = [step_row(settings, name, precision, layout) for precision, layout in STEPS]
    return [*steps, pipeline_row(settings, name), *map_rows(settings, name)]


def step_row(settings: Settings, name: str, precision: str, layout: str, backend: str | None = None) -> dict:
    """A training step on a batch that lies on the device; backend: of torch.compile, None without it."""
    device, batch = settings.device, batch_of(settings)
    network = networks.build(name, CLASSES).to(device=device, memory_format=LAYOUTS[layout]).train()
    images = torch.rand(batch, 3, side(name), side(name), device=device).contiguous(memory_format=LAYOUTS[layout])
    labels = torch.randint(CLASSES, (batch,), device=device)
    optimizer = training.make_optimizer(network, training.recipe_for(name))
    loss_of = torch.compile(network.loss, backend=backend) if backend else network.loss

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss, _ = loss_of(images, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    row = {"precision": precision, "layout": layout, "compiled": "yes" if backend else "no", "data": "resident"}
    row = {"work": "training step", **row, "batch": str(batch), "size": str(side(name))}
    with torch.backends.cudnn.flags(enabled=None, benchmark=None, deterministic=None, allow_tf32=precision != "fp32"):
        found = rates(step, batch, settings)
    if not backend:  # the counter sees the calls of eager PyTorch, and a compiled step does the same work
        with FlopCounterMode(display=False) as counter:
            step()
        tflops = counter.get_total_flops() / batch * found["median"] / 1e12
        row |= {"tflops": f"{tflops:.4g}", "share_of_peak": share_of_peak(settings, precision, tflops)}
    return row | speed(found)


def share_of_peak(settings: Settings, precision: str, tflops: float) -> str:
    """In percent of the matrix product measured on this device, empty where none was."""
    about = {"work": "matrix peak", "precision": precision, "device": settings.context()["device"]}
    peaks = [float(row["tflops"]) for row in rows(settings.results) if about.items() <= row.items()]
    return f"{100 * tflops / peaks[-1]:.1f}" if peaks else ""


def compiled_step(settings: Settings, name: str) -> list[dict]:
    """The fastest of the eager steps through torch.compile; a dry run needs no compiler of C."""
    torch._dynamo.reset()
    return [step_row(settings, name, "bf16", "channels last", settings.small("eager", "inductor"))]


def pipeline_row(settings: Settings, name: str) -> dict:
    """`fit`'s step with pictures from its own pipeline, beside the same step with one batch that lies on the device.

    Photographs are decoded as they are asked for (the small networks' are held on the device, as the course's are);
    scenes are drawn where there are no photographs.
    """
    data, kind = pipeline_data(settings, name)
    recipe = training.Recipe(batch_size=batch_of(settings), precision=settings.precision)
    network = networks.build(name, len(data.classes))
    found = training.throughput(network, data, recipe, device=settings.device, batches=settings.small(2, 16))
    alone, both, loader = (found[f"{what}_pictures_per_second"] for what in ("step", "both", "loader"))
    row = {"work": "training step", "precision": "bf16", "layout": "channels last", "compiled": "no", "data": kind}
    row |= {"batch": str(recipe.batch_size), "size": str(data.size), "pictures_per_second": f"{both:.1f}"}
    return row | {"share_of_resident": f"{100 * both / alone:.1f}", "loader_pictures_per_second": f"{loader:.1f}"}


def pipeline_data(settings: Settings, name: str):
    """Pictures for a network, and whether they are held, decoded or drawn."""
    if side(name) == networks.MINI_SIZE:
        return scenes.Scenes("train", side(name), settings.small(8, 4000)), "held"
    folder = settings.photographs("cub")
    if folder is None:
        return scenes.Scenes("train", side(name), settings.small(8, STREAMED)), settings.small("held", "drawn")
    data = datasets.load(f"cub:{folder}", "train", side(name), length=settings.small(6, None))
    if settings.dry:
        return data, "held"
    return datasets.Subset(data, torch.arange(STREAMED) % len(data)), "decoded"


def map_rows(settings: Settings, name: str) -> list[dict]:
    """The forward pass as evaluation runs it (float32, TF32 in convolutions), and maps of five classes on top of it."""
    device, batch = settings.device, batch_of(settings)
    network = networks.build(name, CLASSES).to(device=device, memory_format=torch.channels_last)
    images = torch.rand(batch, 3, side(name), side(name), device=device)
    five = torch.arange(5, device=device).expand(batch, 5)

    def forward() -> None:
        network(images)

    def cam() -> None:
        maps.class_activation_map(network(images)[1], network.class_weight[five])

    def grad_cam() -> None:
        maps.grad_cam(network, images, five, network.cam_conv)

    works = {"forward and Grad-CAM, five classes": grad_cam, "forward": forward}
    try:
        _ = network.class_weight
        works = {"forward and CAM, five classes": cam, **works}
    except TypeError:  # a hidden layer: no CAM
        pass
    with torch.no_grad():
        found = {work: rates(do, batch, settings) for work, do in works.items()}
    row = {"precision": "tf32", "layout": "channels last", "compiled": "no", "data": "resident"}
    row |= {"batch": str(batch), "size": str(side(name))}
    return [{**row, "work": work, **speed(each)} for work, each in found.items()]

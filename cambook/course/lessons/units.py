"""Single units: what comes out of every layer, which images excite a unit, and whether it has found an object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cambook.maps.cam import upsample
from cambook.networks.base import Network


@torch.no_grad()
def layer_outputs(network: nn.Module, images: Tensor, kind: type[nn.Module] = nn.ReLU) -> dict[str, Tensor]:
    """The output of every module of one kind, in the order of the forward pass: {name in named_modules: (B, K, h, w)}.

    raises: ValueError where the network has no module of that kind
    """
    found: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda _module, _inputs, output: found.__setitem__(name, output.detach().clone())

    hooks = [m.register_forward_hook(keep(name)) for name, m in network.named_modules() if isinstance(m, kind)]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError(f"the network has no {kind.__name__} module: ask for another kind.")
    return found


@torch.no_grad()
def feature_maps(network: Network, images: Tensor, batch_size: int = 64) -> Tensor:
    """The last feature maps of many images (N, 3, H, W), batch by batch: (N, K, h, w)."""
    return torch.cat([network(some)[1] for some in images.split(batch_size)])


def class_units(weight: Tensor, c: int, number: int) -> Tensor:
    """The units that count most for class c: indices (number,) of the largest w_k^c of weight (C, K), largest first.

    Zhou et al. 2016, section 5.
    """
    return weight[c].topk(number).indices


def top_pictures(maps: Tensor, unit: int, number: int) -> Tensor:
    """The images that excite a unit most: indices (number,) of the highest maxima of maps (N, K, h, w), in order."""
    return maps[:, unit].amax((1, 2)).topk(number).indices


def regions(unit_maps: Tensor, size: int, level: float = 0.5) -> Tensor:
    """Where a unit is active: above `level` times its maximum in the image. (n, h, w) -> (n, S, S) bool."""
    large = upsample(unit_maps[None], size)[0]
    return large > level * large.amax((1, 2), keepdim=True).clamp(min=1e-12)


def detectors(maps: Tensor, labels: np.ndarray, masks: Tensor, number: int = 10) -> pd.DataFrame:
    """How much each unit is a detector, from the images that excite it most.

    maps:    (N, K, h, w); labels: (N,) class indices; masks: (N, S, S) bool, the labelled object; number: of images
    returns: a row for each of the K units: on_object, mean share of its region that lies on the object; precision,
             share of its top images that have their commonest class; category, that class (shares in percent). Units
             that are silent in every image are left out
    In the sense of Zhou et al. 2015, where people named the units; here the labels and masks do.
    """
    rows = {}
    for unit in range(maps.shape[1]):
        top = top_pictures(maps, unit, number)
        if maps[top[0], unit].max() <= 0:
            continue
        active = regions(maps[top, unit], masks.shape[-1])
        on = (active & masks[top]).sum((1, 2)) / active.sum((1, 2)).clamp(min=1)
        counts = np.bincount(np.asarray(labels)[top.cpu().numpy()])
        rows[unit] = {
            "on_object": 100 * float(on.mean()),
            "precision": 100 * float(counts.max() / number),
            "category": int(counts.argmax()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("unit")


def share_of_class(maps: Tensor, labels: Tensor, units_of: Callable[[int], Iterable[int]], number: int = 10) -> float:
    """Of the `number` images that excite each unit of a class most, the share that shows this class, in percent.

    maps: (N, K, h, w); labels: (N,); units_of: (class) -> its units; the mean over all classes from 0 to the largest
    """
    shown = [labels[top_pictures(maps, int(k), number)] == c for c in range(int(labels.max()) + 1) for k in units_of(c)]
    return 100 * float(torch.stack(shown).float().mean())


@torch.no_grad()
def recall_without(network: Network, maps: Tensor, labels: Tensor, units_of: Callable[[int], Iterable[int]]) -> float:
    """Of the images of each class, how many are still recognized with the units of that class switched off, in percent.

    maps: (N, K, h, w), feature maps of the network; units_of: (class) -> the units that give 0, () for none
    returns: the mean over the images; what other classes lose is not counted
    """
    right = []
    for c in labels.unique().tolist():
        lesioned = maps[labels == c].clone()
        lesioned[:, list(map(int, units_of(c)))] = 0
        right.append(network.scores(lesioned).argmax(1) == c)
    return 100 * float(torch.cat(right).float().mean())


def gratings(
    side: int,
    wavelengths: Sequence[float] = (4, 6, 8, 12, 16),
    angles: Sequence[float] = (0, 30, 60, 90, 120, 150),
    crossed: bool = False,
) -> Tensor:
    """Grey stripes with soft edges, one image for each wavelength (pixels) and angle (degrees): (n, 3, side, side).

    crossed: times the same stripes at right angles, which makes soft dots of the same sizes and contrast
    """
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = []
    for wavelength in wavelengths:
        for angle in np.deg2rad(angles):
            along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            wave = torch.sin(2 * np.pi * along / wavelength)
            waves.append(0.5 + 0.5 * (wave * torch.sin(2 * np.pi * across / wavelength) if crossed else wave))
    return torch.stack(waves)[:, None].expand(-1, 3, -1, -1).float().contiguous()


def shuffled(images: Tensor, seed: int = 0) -> Tensor:
    """The images with their pixels in one random order: the same values, and no shape is left."""
    order = torch.randperm(images[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    return images.flatten(2)[:, :, order.to(images.device)].view_as(images)


def probed(network: Network, probes: Tensor, maps: Tensor) -> Tensor:
    """How strongly each unit answers the best of some probes, as a share of its highest answer to real images: (K,).

    probes: (n, 3, H, W); maps: (N, K, h, w), feature maps of the real images; a unit that is silent in all of them: 0
    """
    best, real = feature_maps(network, probes).amax((0, 2, 3)), maps.amax((0, 2, 3))
    return torch.where(real > 0, best / real.clamp(min=1e-12), 0 * real)


@torch.no_grad()
def precision_by_layer(network: Network, images: Tensor, labels: Tensor, number: int = 10) -> dict[str, float]:
    """The median precision of the units of each ReLU, in percent, in the order of the forward pass.

    images: (N, 3, H, W), taken 50 at a time; labels: (N,); number: of the images that excite a unit most. Silent units
    are left out
    """
    parts = [
        {name: output.amax((2, 3)) for name, output in layer_outputs(network, some).items()}
        for some in images.split(50)
    ]
    found = {}
    for name in parts[0]:
        peaks = torch.cat([part[name] for part in parts])
        top = labels[peaks.topk(number, 0).indices]  # (number, K)
        counts = torch.stack([(top == c).sum(0) for c in labels.unique()]).amax(0)
        found[name] = 100 * float(counts[peaks.amax(0) > 0].float().median()) / number
    return found


def summary(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of `detectors` in a line each: units that respond, medians, and units with a precision of 80 or more."""
    rows = {
        name: {
            "units that respond": len(one),
            "on the object, median": one["on_object"].median(),
            "precision, median": one["precision"].median(),
            "precision of 80 or more": int((one["precision"] >= 80).sum()),
        }
        for name, one in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")

"""From labels to masks: a map becomes seeds, seeds train a segmentation network, masks evaluate it.

Weakly supervised semantic segmentation in small (Kolesnikov and Lampert 2016, Seed, Expand and Constrain). A mask is
(S, S); here it says object or background only, whatever the class: one labelled object lies in each image, and what
is asked is where. Which class it is, the classifier says.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from cambook.datasets.batches import image_getter
from cambook.maps.cam import upsample
from cambook.networks.base import IGNORED, Network, fine_tuned_copy
from cambook.training.cache import Trained, trained
from cambook.training.recipes import Recipe

BACKGROUND, OBJECT = 0, 1
SEEDS = (0.6, 0.2)  # the lesson's thresholds for object and background
RECIPE = Recipe(epochs=4, batch_size=32, lr=1e-3, flip=False)  # 250 steps on 2000 images
STAGES = (7, 14)  # where mini_backbone has 32 channels on S/2 and 64 on S/4; it ends with 128 on S/8


def share_of_maximum(maps: Tensor) -> Tensor:
    """Each map divided by its maximum, what is below 0 as 0, as rule "paper" reads it: (..., h, w), 0 to 1.

    A map that is nowhere above 0 becomes zeros.
    """
    positive = maps.clamp(min=0)
    return positive / positive.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def seeds(maps: Tensor, foreground: float, background: float) -> Tensor:
    """Pixels of which a map is sure: object above one threshold, background below another, between them ignored.

    maps:    (..., h, w), raw; each counts as a share of its maximum, and what is below 0 as 0 (rule "paper")
    returns: (..., h, w) int64: 1 where value >= foreground, 0 where value <= background, -100 elsewhere
    raises:  ValueError where the thresholds are not 0 <= background < foreground <= 1
    """
    if not 0 <= background < foreground <= 1:
        raise ValueError(f"background={background}, foreground={foreground}: give 0 <= background < foreground <= 1.")
    value = share_of_maximum(maps)
    result = torch.full(value.shape, IGNORED, dtype=torch.int64, device=maps.device)
    result[value >= foreground] = OBJECT
    result[value <= background] = BACKGROUND
    return result


class SegmentationNetwork(Network):
    """Feature maps of three depths, brought to one grid and added, then two convolutions: object or background.

    (B, 3, S, S) -> logits (B, 2, S/2, S/2). The deep maps know what, the shallow ones where its edge is.
    backbone: that of a mini network, whose weights it starts from; it is copied, and its first layers stay as they are
    seed:     of the new layers
    Long et al. 2015, Fully convolutional networks, section 4.2 (skips); the sum of 1x1 convolutions as in Lin et al.
    2017, Feature pyramid networks. Train it with labels (N, S/2, S/2), -100 where none is known, and flip=False.
    """

    without_weight = "scores every pixel, so its logits are maps already: take their softmax (`segment`)"

    def __init__(self, backbone: nn.Sequential, units: int = 32, seed: int = 0):
        super().__init__(fine_tuned_copy(backbone))
        self.name = "mini-segmentation"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.laterals = nn.ModuleList(nn.Conv2d(channels, units, 1) for channels in (32, 64, 128))
            self.classifier = nn.Sequential(nn.Conv2d(units, units, 3, padding=1), nn.ReLU(), nn.Conv2d(units, 2, 1))

    def features(self, images):
        fine = self.backbone[: STAGES[0]]((images - self.mean) / self.std)
        middle = self.backbone[STAGES[0] : STAGES[1]](fine)
        deep = self.backbone[STAGES[1] :](middle)
        joint = self.laterals[2](deep)
        for lateral, finer in ((self.laterals[1], middle), (self.laterals[0], fine)):
            joint = upsample(joint, finer.shape[-2:]) + lateral(finer)
        return joint.relu()


def object_maps(network: Network, data, classes: Tensor, source, *, device: str | torch.device = "cpu") -> Tensor:
    """One map per image, at the size of the images: (N, S, S), raw, on the CPU.

    classes: (N,) int64, whose map; source: what makes it, an entry of maps.MAPS or its function
    """
    network.to(device).eval()
    shown, found = image_getter(data, torch.device(device)), []
    with torch.no_grad():
        for some in tqdm(torch.arange(len(data)).split(128), desc="maps", unit="batch", leave=False):
            images = shown(some)
            _, feature_maps = network(images)
            raw = source(network, images, feature_maps, classes[some][:, None].to(device))
            found.append(upsample(raw, data.size)[:, 0].cpu())
    return torch.cat(found)


def true_masks(data) -> Tensor:
    """The exact masks of a data set, (N, S, S) bool; ValueError where it has none."""
    if data.batch([0]).masks is None:
        raise ValueError(f"{data.name} has no masks: use a data set that has, such as scenes.")
    parts = tqdm(torch.arange(len(data)).split(256), desc="masks", unit="batch", leave=False)
    return torch.cat([data.batch(some).masks for some in parts])


def halved(masks: Tensor) -> Tensor:
    """Masks (N, S, S) bool as labels for the network's grid: (N, S/2, S/2) int64, object from half on."""
    return (F.avg_pool2d(masks[:, None].float(), 2)[:, 0] >= 0.5).long()


def half(maps: Tensor) -> Tensor:
    """Maps (N, S, S) on the network's grid (N, S/2, S/2), each pixel the mean of four."""
    return F.avg_pool2d(maps[:, None], 2)[:, 0]


def train_segmentation(
    backbone: nn.Sequential, data, labels: Tensor, *, seed: int = 0, describe: str = "", device="cpu"
) -> Trained:
    """A segmentation network that starts from a classifier's backbone and learns from labels (N, S/2, S/2).

    From the cache where this very training was done before; describe: as for training.trained
    """
    network = SegmentationNetwork(backbone, seed=seed)
    how = {"seed": seed, "describe": describe, "device": device}
    return trained(network, data, RECIPE, labels=labels.numpy(), **how)


def segment(network: Network, data, *, device: str | torch.device = "cpu") -> Tensor:
    """How sure the network is of the object at each pixel, the probability from 0 to 1: (N, S, S), on the CPU."""
    network.to(device).eval()
    shown = image_getter(data, torch.device(device))
    with torch.no_grad():
        parts = [network(shown(some))[0].softmax(1)[:, OBJECT:] for some in torch.arange(len(data)).split(128)]
        return torch.cat([upsample(part, data.size)[:, 0].cpu() for part in parts])


def best_threshold(maps: Tensor, masks: Tensor, levels: int = 50) -> tuple[float, float]:
    """The one threshold, a share of each map's maximum, that gives the whole set the best mean IoU; and that mean IoU.

    maps: (N, S, S) raw; masks: (N, S, S) bool; it looks at the masks it is examined on, as MaxBoxAcc looks at boxes
    """
    step = torch.ceil(share_of_maximum(maps).double() * levels).long()  # value > i / levels where step > i
    counts = [torch.bincount(step[where], minlength=levels + 1) for where in (masks, ~masks)]
    inside, outside = (count.flip(0).cumsum(0).flip(0)[1:] for count in counts)  # pixels above i / levels
    of_object = inside / (masks.sum() + outside)
    of_background = ((~masks).sum() - outside) / ((~masks).sum() + masks.sum() - inside)
    found = 50 * (of_object + of_background)
    best = int(found.argmax())
    return best / levels, float(found[best])

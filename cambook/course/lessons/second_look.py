"""Two looks at a picture: the whole of it, and the region that the first look's map points out; features joined."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cambook.maps.boxes import box_from_map
from cambook.maps.cam import class_activation_map, upsample
from cambook.networks.base import MINI_SIZE, Network, PooledNetwork

THRESHOLD = 0.2  # of the map's maximum, rule "paper"
WINDOWS = ("own", "whole")


def square_windows(boxes: Tensor, size: int) -> Tensor:
    """The square around each box that is as wide as the box's longer side, moved into the image.

    boxes: (B, 4), no longer than the image of `size` pixels; returns (B, 4). A square is enlarged without stretching.
    """
    side = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True)
    corner = ((boxes[:, :2] + boxes[:, 2:] - side) / 2).clamp(min=0)
    corner = torch.minimum(corner, size - side)
    return torch.cat([corner, corner + side], 1)


def crop(images: Tensor, windows: Tensor, size: int) -> Tensor:
    """Each image's window, scaled to `size` pixels, bilinear.

    images: (B, 3, S, S); windows: (B, 4), (x0, y0, x1, y1) in pixels; returns (B, 3, size, size)
    """
    low, high = 2 * windows[:, :2] / images.shape[-1] - 1, 2 * windows[:, 2:] / images.shape[-1] - 1
    theta = torch.diag_embed((high - low) / 2)
    theta = torch.cat([theta, ((high + low) / 2)[..., None]], 2)
    grid = F.affine_grid(theta, [*images.shape[:2], size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def cam_boxes(logits: Tensor, feature_maps: Tensor, class_weight: Tensor, size: int) -> Tensor:
    """The CAM box of each image's most likely class, by rule "paper" at 20%: no label is looked at.

    logits: (B, C) and feature_maps: (B, K, h, w), what a network gave for images of `size` pixels
    returns: (B, 4) float32 half-open, the whole image where the map is nowhere above zero
    """
    weight = class_weight[logits.argmax(1)][:, None]
    maps = upsample(class_activation_map(feature_maps, weight), size)[:, 0]
    found = [box_from_map(one, "paper", THRESHOLD) for one in maps.float().cpu().numpy()]
    boxes = np.array([(0, 0, size, size) if box is None else box for box in found], np.float32)
    return torch.from_numpy(boxes).to(logits.device)


def fused_network(whole: PooledNetwork, start: PooledNetwork, windows: str = "own", seed: int = 0) -> FusedNetwork:
    """A FusedNetwork before training, its region branch a copy of start's backbone; seed: of its last layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels = start.classifier.in_features
        return FusedNetwork(whole, copy.deepcopy(start.backbone), channels, windows).eval()


class FusedNetwork(Network):
    """The features of the whole image and of the window around its CAM box, side by side, and one linear layer.

    The whole image may have any size; a window is scaled to 64 pixels, what the small backbone was made for.

    whole:    a trained network with average pooling; it is copied, and stays as it is
    backbone: of the region branch; `region` classifies by its features alone, `classifier` by both
    windows:  "own", or as a control "whole": no window, the region branch sees the whole image again, with all its
              pixels
    raises:   ValueError for other windows
    After Guan et al. 2018 (crop where the first branch's map is high) and Liu et al. 2019 (features joined).
    """

    without_weight = (
        "joins the features of the image with those of a window, so no weight is that of one map alone: its first look "
        "has a class activation map, that of network.whole"
    )

    def __init__(self, whole: PooledNetwork, backbone: nn.Module, channels: int, windows: str = "own"):
        super().__init__(backbone)
        if windows not in WINDOWS:
            raise ValueError(f"windows={windows!r} is unknown: choose one of {', '.join(WINDOWS)}.")
        self.name, self.windows = "mini-fused", windows
        self.whole = copy.deepcopy(whole).requires_grad_(False)
        self.region = nn.Linear(channels, whole.classes)
        self.classifier = nn.Linear(channels + whole.classifier.in_features, whole.classes)
        self.new_layers = ("region", "classifier")

    def train(self, mode: bool = True) -> FusedNetwork:
        """The region branch and the last layers in training mode; the whole-image branch stays as it is."""
        super().train(mode)
        self.whole.eval()
        return self

    @torch.no_grad()
    def look(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first look, images (B, 3, S, S) -> its logits, its feature maps, the windows (B, 4) of the second."""
        logits, feature_maps = self.whole(images)
        size = images.shape[-1]
        if self.windows == "whole":
            return logits, feature_maps, logits.new_tensor([[0, 0, size, size]]).expand(len(images), 4)
        windows = square_windows(cam_boxes(logits, feature_maps, self.whole.class_weight, size), size)
        return logits, feature_maps, windows

    def second(self, images: Tensor, windows: Tensor) -> Tensor:
        """What the region branch sees: each window, 64 pixels wide, or with windows="whole" the images as they are."""
        return images if self.windows == "whole" else crop(images, windows, MINI_SIZE)

    def three(self, images: Tensor, windows: Tensor | None = None) -> dict[str, Tensor]:
        """The logits (B, C) of the "whole" image, of the "region" alone, and "fused"; windows: by default look's."""
        logits, feature_maps, found = self.look(images)
        region_maps = self.features(self.second(images, found if windows is None else windows))
        region, fused = self.region(region_maps.mean((2, 3))), self.fuse(feature_maps, region_maps)
        return {"whole": logits, "region": region, "fused": fused}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, S, S) -> fused logits (B, C), the region branch's feature maps (B, K, 8, 8)."""
        _, feature_maps, windows = self.look(images)
        region_maps = self.features(self.second(images, windows))
        return self.fuse(feature_maps, region_maps), region_maps

    def fuse(self, feature_maps: Tensor, region_maps: Tensor) -> Tensor:
        """Both feature maps, averaged and joined, -> logits (B, C); the region branch learns nothing from them."""
        return self.classifier(torch.cat([feature_maps.mean((2, 3)), region_maps.mean((2, 3)).detach()], 1))

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the region alone, which teaches the region branch, plus that of both, which teaches the
        last layer only: each branch learns as it would alone."""
        three = self.three(images)
        losses = [F.cross_entropy(three[name].float(), labels) for name in ("region", "fused")]
        return sum(losses), (three["fused"].argmax(1) != labels).float().mean()

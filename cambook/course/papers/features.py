"""Tables 4 and 5: linear SVMs on a network's features, of whole images and of what a box contains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.svm import LinearSVC
from torch import Tensor
from tqdm.auto import tqdm

from cambook import networks
from cambook.course.papers.measure import Measurements
from cambook.datasets.batches import Batch, image_getter
from cambook.maps.boxes import box_from_map
from cambook.maps.cam import class_activation_map, upsample
from cambook.metrics.evaluation import PAPER_THRESHOLD
from cambook.networks.base import HiddenLayerNetwork, Network


def fine_labels(data) -> np.ndarray:
    """(N,) int64, the finest labels a data set has: of scenes which of the 176 objects is seen, of others the class."""
    return data.object_indices if getattr(data, "has_object_labels", False) else data.labels


def pooled_features(network: Network, feature_maps: Tensor) -> Tensor:
    """What the last linear layer sees: pooled maps, or the last hidden layer's output (fc7 of AlexNet).

    feature_maps: (B, K, h, w), from network.features; returns (B, K) or (B, hidden units)
    """
    if isinstance(network, HiddenLayerNetwork):
        return network.classifier[:-1](feature_maps)
    return feature_maps.mean((2, 3))


BoxesOf = Callable[[Batch, Tensor], Sequence[np.ndarray | None]]  # a batch, its images at the network's size


@dataclass
class LinearSVM:
    """One linear SVM against all others for each class; weight (C, K), bias (C,) and the C classes' labels.

    Scores of features x are weight x + bias, so `weight` makes class activation maps, as any linear classifier's.
    """

    weight: Tensor
    bias: Tensor
    labels: np.ndarray

    @classmethod
    def fit(cls, x: Tensor, labels: np.ndarray) -> LinearSVM:
        """scikit-learn's LinearSVC, C = 1, on features (N, K) divided by their standard deviation, one for all."""
        scale = float(x.std()) or 1.0
        svm = LinearSVC(C=1.0, dual="auto", random_state=0).fit(x.numpy() / scale, labels)
        weight, bias = torch.from_numpy(svm.coef_ / scale).float(), torch.from_numpy(svm.intercept_).float()
        if len(weight) == 1:  # two classes share one line
            weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
        return cls(weight, bias, svm.classes_)

    def scores(self, x: Tensor) -> Tensor:
        """x: (B, K) -> (B, C)"""
        return x @ self.weight.T + self.bias

    def map_boxes(self, network: Network, labels: np.ndarray | None = None) -> BoxesOf:
        """Boxes of the class activation maps that this SVM's weights make, for `_crop_features`.

        labels: (N,) the class whose map is taken, by an image's index in its data set; None: the one guessed
        """

        def boxes(batch: Batch, whole: Tensor) -> list[np.ndarray | None]:
            feature_maps = network.features(whole)
            if labels is None:
                rows = self.scores(pooled_features(network, feature_maps).cpu()).argmax(1)
            else:
                rows = torch.from_numpy(np.searchsorted(self.labels, labels[batch.indices.cpu().numpy()]))
            maps = class_activation_map(feature_maps, self.weight[rows][:, None].to(feature_maps))
            full = upsample(maps, batch.images.shape[-2:])[:, 0].cpu().numpy()
            return [box_from_map(one, "paper", PAPER_THRESHOLD) for one in full]

        return boxes

    def correct(self, x: Tensor, labels: np.ndarray) -> np.ndarray:
        """Whether the highest score is the label's: (N,) bool."""
        return self.labels[self.scores(x).argmax(1).numpy()] == labels


@torch.no_grad()
def all_features(network: Network, data, device: str | torch.device = "cpu", batch_size: int = 256) -> Tensor:
    """`pooled_features` of every image of a data set, on the CPU: (N, K)."""
    network.to(device).eval()
    seen = image_getter(data, torch.device(device))
    places = tqdm(torch.arange(len(data)).split(batch_size), desc="features", unit="batch", leave=False)
    return torch.cat([pooled_features(network, network.features(seen(some))).cpu() for some in places])


def generic_features(trained: Mapping[str, Network], train, test, device: str | torch.device = "cpu") -> Measurements:
    """Table 5: accuracy of a linear SVM on each network's features, on a data set's finest labels.

    train, test: any labelled images; the network is not trained further
    Zhou et al. 2016, section 4.
    """
    found = Measurements()
    for name, network in trained.items():
        svm = LinearSVM.fit(all_features(network, train, device), fine_labels(train))
        right = svm.correct(all_features(network, test, device), fine_labels(test))
        found.add(name, "-", "accuracy", right)
    return found


def crop_to_box(image: Tensor, box: np.ndarray | None, size: int) -> Tensor:
    """What a box contains, scaled to size x size; the whole image if box is None: (3, H, W) -> (3, size, size).

    box: (4,), half-open, in pixels, rounded outward and cut at the image's border
    """
    if box is not None:
        limits = image.shape[2], image.shape[1]
        x0, y0 = (int(min(max(np.floor(v), 0), most - 1)) for v, most in zip(box[:2], limits, strict=True))
        x1, y1 = (
            int(min(max(np.ceil(v), low + 1), most)) for v, low, most in zip(box[2:], (x0, y0), limits, strict=True)
        )
        image = image[:, y0:y1, x0:x1]
    return F.interpolate(image[None], (size, size), mode="bilinear", align_corners=False, antialias=True)[0]


def fine_grained(trained: Mapping[str, Network], train, test, device: str | torch.device = "cpu") -> Measurements:
    """Table 4: accuracy of a linear SVM on GAP features of whole images, of what the CAM box and the true box contain.

    train, test: larger than the network's images, to crop from (see `splits_of`); at their finest labels
    The CAM box is found without boxes: the SVM of the whole images has a weight for each feature map and class, so it
    has class activation maps (box at 20% of the maximum). In training it is the map of the label, in testing that of
    the class that the SVM guesses. A new SVM learns from the crops. Zhou et al. 2016, section 4.1.
    """
    found, known, asked = Measurements(), fine_labels(train), fine_labels(test)
    for name, network in trained.items():
        size = networks.spec(name).side
        network.to(device).eval()
        whole, held = _crop_features(network, train, size, (_nothing, _true_box), device)
        whole_asked, held_asked = _crop_features(network, test, size, (_nothing, _true_box), device)
        svm = LinearSVM.fit(whole, known)
        (found_boxes,) = _crop_features(network, train, size, (svm.map_boxes(network, known),), device)
        (found_asked,) = _crop_features(network, test, size, (svm.map_boxes(network),), device)
        found.add(name, "whole-picture", "accuracy", svm.correct(whole_asked, asked))
        found.add(name, "cam-box", "accuracy", LinearSVM.fit(found_boxes, known).correct(found_asked, asked))
        found.add(name, "true-box", "accuracy", LinearSVM.fit(held, known).correct(held_asked, asked))
    return found


@torch.no_grad()
def _crop_features(network, data, size: int, kinds: Sequence[BoxesOf], device, batch_size: int = 128) -> list[Tensor]:
    """Features (N, K) of what each kind of boxes contains, in one pass over the data set."""
    seen = [[] for _ in kinds]
    for indices in tqdm(torch.arange(len(data)).split(batch_size), desc="crops", unit="batch", leave=False):
        batch = data.batch(indices, device=device)
        whole = torch.stack([crop_to_box(image, None, size) for image in batch.images])
        for features_of, kind in zip(seen, kinds, strict=True):
            boxes = kind(batch, whole)
            crops = torch.stack([crop_to_box(image, box, size) for image, box in zip(batch.images, boxes, strict=True)])
            features_of.append(pooled_features(network, network.features(crops)).cpu())
    return [torch.cat(parts) for parts in seen]


def _nothing(batch: Batch, whole: Tensor) -> list[None]:
    return [None] * len(batch)


def _true_box(batch: Batch, whole: Tensor) -> list[np.ndarray]:
    """The box around all boxes of an image."""
    return [np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)]) for boxes in batch.boxes]

"""What a table's notebook measures: trained networks, errors, boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from cambook import datasets, metrics, networks
from cambook.course.papers.tables import find_table
from cambook.course.runs import Measured, Run
from cambook.datasets.batches import Batch, is_large
from cambook.maps.cam import class_activation_map, upsample
from cambook.maps.methods import MAPS
from cambook.maps.nested import loose_and_tight
from cambook.metrics.evaluation import Evaluation, classify, evaluate
from cambook.networks.base import HiddenLayerNetwork, Network
from cambook.training.cache import trained
from cambook.training.plans import policy
from cambook.training.speed import throughput

BOX_GRID = 256  # side of the maps that loose and tight boxes are drawn on: its 5 px at the border are counted there


def splits_of(dataset: str, chosen: Sequence[str], run: Run, detail: int = 1) -> tuple:
    """The data set's train and test split for these networks: 64 px if all are small, else 224.

    detail: times as many pixels a side, to crop from
    At quick 500 test images; of scenes at full 20,000 to train on, at paper 100,000, and 10,000 to test on.
    raises: ValueError if some networks take 64 px and others 224, or if Table 3 does not have five classes to guess;
            what datasets.load raises, for a set without boxes too unless no row of the table makes maps (1, 5)
    """
    sizes = {networks.spec(one).side for one in chosen}
    if len(sizes) > 1:
        raise ValueError(f"{', '.join(chosen)} take images of {sorted(sizes)} pixels: choose networks of one size.")
    scenes = datasets.find(dataset).drawn
    train = run.pick(quick=None, full=20000 if scenes else None, paper=100000 if scenes else None)
    test = run.pick(quick=500, full=None, paper=10000 if scenes else None)
    size, lengths = sizes.pop() * detail, {"train": train, "test": test}
    boxes = any(row.source != "-" for row in find_table(run.notebook).rows)
    sets = [
        datasets.load(dataset, split, size, length=length, seed=run.seed, boxes=boxes)
        for split, length in lengths.items()
    ]
    if run.notebook == "table3" and len(sets[0].classes) <= 5:
        raise ValueError(f"{dataset} has {len(sets[0].classes)} classes: five guesses need a data set with more.")
    return tuple(sets)


def train_networks(chosen: Sequence[str], data, *, seed: int, device: str | torch.device = "cpu") -> dict[str, Network]:
    """Every network of `chosen`, trained on the data set's labels or taken from the cache: {name: network}.

    By `training.policy`, as everywhere: a cut starts from its original, trained on the same data, as in the paper.
    raises: OSError if ImageNet's weights cannot be downloaded; what training.fit raises
    """
    return {name: trained(name, data, seed=seed, device=device).network for name in chosen}


def record_speed(trained: Mapping[str, Network], data, run: Run) -> None:
    """Images per second of the loader alone and of each network's training step, into the record of the run.

    Recorded only if the data set is too large to be held and its images are made batch by batch; training waits
    for the loader if the step is the faster one.
    """
    if not is_large(data):
        return
    for name, network in trained.items():
        for metric, value in throughput(network, data, policy(name, data).recipe, device=run.device).items():
            run.record(metric, value, name)


@dataclass
class Measurements:
    """What a notebook measured.

    values:   "NETWORK SOURCE METRIC" -> number, in percent
    pictures: of the same names those whose number is a mean over the test images -> (N,) one number per image
    measured: of the same names their three fields
    """

    values: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    measured: dict[str, Measured] = field(default_factory=dict, repr=False)

    def add(self, network: str, source: str, metric: str, what: float | np.ndarray) -> None:
        """One number, or (N,) bool: what is so in each image, of which the number is the share."""
        measured = Measured(network=network, source=source, metric=metric)
        key = str(measured)
        if np.ndim(what):
            self.pictures[key] = 100.0 * np.asarray(what)
            what = self.pictures[key].mean()
        self.values[key], self.measured[key] = float(what), measured

    def record(self, run: Run) -> None:
        """Every number into the record of the run."""
        for name, value in self.values.items():
            measured = self.measured[name]
            run.record(measured.metric, value, measured.network, measured.source)


def classification(trained: Mapping[str, Network], data, device: str | torch.device = "cpu") -> Measurements:
    """Table 1: top-1 and top-5 error of each network on a data set."""
    found = Measurements()
    for name, network in trained.items():
        logits = classify(network, data, device=device)
        for k in (1, 5) if network.classes > 5 else (1,):
            found.add(name, "-", f"top{k}_error", ~metrics.topk_correct(logits, data.labels, k))
    return found


def localization(
    name: str, trained: Mapping[str, Network], data, *, seed: int, device: str | torch.device = "cpu"
) -> Measurements:
    """Table 2, 3 or wsol: the metrics of table `name` for each network and each of its sources of maps."""
    found = Measurements()
    for network, source in _measured(name, trained):
        if source == "cam-5-boxes":
            found.add(network, source, "top5_loc_error", ~five_boxes_correct(trained[network], data, device=device))
            continue
        e = evaluate(trained[network], data, source, device=device, seed=seed)
        for metric, what in _of_evaluation(e):
            if metric in find_table(name).metrics:
                found.add(network, source, metric, what)
    return found


def _measured(name: str, trained: Mapping[str, Network]) -> list[tuple[str, str]]:
    """(network, source) of each row that the trained networks can fill, in the table's order."""
    both = [(one, row.source) for row in find_table(name).rows for one in (row.small, row.network)]
    return list(dict.fromkeys(pair for pair in both if pair[0] in trained))


def _of_evaluation(e: Evaluation) -> Iterator[tuple[str, float | np.ndarray]]:
    """(metric, number or one truth value per image) of an evaluation."""
    errors = {f"{which}_error": ~right for which, right in e.correct.items() if which.startswith("top")}
    for metric, value in e.row.items():
        yield metric, errors.get(metric, value)
    if (reached := e.coverage()) is not None:
        yield from zip(("coverage", "precision"), reached, strict=True)


@torch.no_grad()
def five_boxes_correct(
    network: Network, data, *, device: str | torch.device = "cpu", batch_size: int = 64
) -> np.ndarray:
    """Whether one of five guesses is right, class and box: (N,) bool, with the heuristics of the paper's Table 3.

    The five are a tight and a loose box for the most likely class, both for the second, the loose one for the third, by
    `maps.loose_and_tight` on the map at 256 x 256 pixels. Zhou et al. 2016, section 3.2.
    """
    network.to(device).eval()
    right = []
    batches = torch.arange(len(data)).split(batch_size)
    for indices in tqdm(batches, desc="tight and loose boxes", unit="batch", leave=False):
        batch = data.batch(indices, device=device)
        logits, feature_maps = network(batch.images)
        top3 = logits.topk(3).indices
        maps = upsample(class_activation_map(feature_maps, network.class_weight[top3]), BOX_GRID).cpu().numpy()
        truth = [boxes * (BOX_GRID / data.size) for boxes in batch.boxes]
        boxes = [
            [loose_1, tight_1, loose_2, tight_2, loose_3]
            for (loose_1, tight_1), (loose_2, tight_2), (loose_3, _) in (map(loose_and_tight, m) for m in maps)
        ]
        classes = top3.cpu().numpy()[:, [0, 0, 1, 1, 2]]
        labels = batch.labels.cpu().numpy()
        right.append(metrics.topk_localization_correct(classes, boxes, labels, truth, 5))
    return np.concatenate(right)


def both_boxes(network: Network, batch: Batch) -> tuple[Tensor, list[list[np.ndarray]]]:
    """Maps of the true classes at the size of the images (B, H, W), and of each its loose and its tight box.

    CAM, and of a network without one its smooth saliency
    """
    source = "smooth-saliency" if isinstance(network, HiddenLayerNetwork) else "cam"
    with torch.no_grad():
        raw = MAPS[source](network, batch.images, network.features(batch.images), batch.labels[:, None])
    side = batch.images.shape[-1]
    pairs = [loose_and_tight(one) for one in upsample(raw, BOX_GRID)[:, 0].cpu().numpy()]
    scaled = [[box * (side / BOX_GRID) for box in pair if box is not None] for pair in pairs]
    return upsample(raw, side)[:, 0].cpu(), scaled

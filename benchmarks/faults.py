"""The list of faults that benchmarks/mutants.py plants, and the tests that have to catch them."""

from __future__ import annotations

from typing import NamedTuple

# The tests that are run for a file of cambook/, the quick ones first.
TESTS = {
    "maps/cam.py": ("test_maps.py", "test_acol.py"),
    "maps/gradients.py": ("test_maps.py", "test_guided.py", "test_grad_cam.py", "test_attributions.py"),
    "maps/guided.py": ("test_guided.py",),
    "maps/fine.py": ("test_fine.py",),
    "maps/inside.py": ("test_guided.py", "test_grad_cam.py"),
    "maps/layouts.py": ("test_grad_cam.py",),
    "maps/methods.py": ("test_evaluation.py", "test_acol.py"),
    "maps/boxes.py": ("test_boxes.py",),
    "maps/nested.py": ("test_boxes.py",),
    "metrics/localization.py": ("test_metrics.py",),
    "metrics/box_accuracy.py": ("test_metrics.py",),
    "metrics/pixels.py": ("test_metrics.py",),
    "metrics/intervals.py": ("test_metrics.py",),
    "metrics/grid.py": ("test_evaluation.py",),
    "metrics/evaluation.py": ("test_evaluation.py", "test_acol.py"),
    "metrics/box_sweep.py": ("test_sweep.py", "test_metrics.py"),
    "networks/base.py": ("test_networks.py",),
    "networks/building.py": ("test_networks.py",),
    "networks/papers.py": ("test_networks.py",),
    "networks/surgery.py": ("test_networks.py",),
    "networks/acol.py": ("test_acol.py",),
    "training/fitting.py": ("test_training.py",),
    "training/plans.py": ("test_policy.py",),
    "training/cache.py": ("test_classroom.py",),
    "datasets/downloads.py": ("test_classroom.py",),
    "datasets/decoding.py": ("test_datasets.py", "test_photographs.py"),
    "datasets/photographs.py": ("test_datasets.py", "test_photographs.py"),
    "datasets/scenes.py": ("test_scenes.py",),
    "datasets/rendering.py": ("test_scenes.py",),
    "course/show/images.py": ("test_show.py",),
    "course/show/style.py": ("test_show.py",),
    "course/show/pictures.py": ("test_show.py",),
    "course/show/panels.py": ("test_show.py", "test_explore.py"),
    "course/show/tables.py": ("test_show.py",),
    "course/show/described.py": ("test_show.py",),
    "course/show/charts.py": ("test_show.py",),
    "course/explore.py": ("test_explore.py",),
    "course/lessons/weak_labels.py": ("test_supervision.py",),
    "course/lessons/segmentation.py": ("test_segmentation.py",),
    "course/lessons/faithfulness.py": ("test_faithfulness.py",),
    "course/lessons/language.py": ("test_language.py",),
    "course/papers/published.py": ("test_published.py",),
    "course/papers/claims.py": ("test_reproduction.py",),
    "course/papers/features.py": ("test_reproduction.py",),
    "course/papers/measure.py": ("test_reproduction.py",),
    "course/papers/recorded.py": ("test_reproduction.py",),
    "course/findings.py": ("test_findings.py",),
    "course/parameters.py": ("test_runs.py",),
    "course/reading.py": ("test_findings.py",),
    "course/runs.py": ("test_runs.py",),
    "course/notebooks.py": ("test_runs.py",),
    "course/handout.py": ("test_lessons_command.py",),
    "course/progress.py": ("test_classroom.py",),
    "course/results.py": ("test_experiments.py",),
    "course/sweeps.py": ("test_experiments.py",),
}


class Mutant(NamedTuple):
    """A fault: in a file of cambook/, the original text, which is there exactly once, becomes the replacement."""

    file: str
    fault: str
    original: str
    replacement: str


MUTANTS = [
    # ---- maps ----
    Mutant("maps/cam.py", "axes of a map swapped", 'rows}->bchw"', 'rows}->bcwh"'),
    Mutant(
        "maps/cam.py",
        "ReLU on the class activation map",
        'return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight)',
        'return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight).relu()',
    ),
    Mutant(
        "maps/cam.py",
        "mean over the channels for their sum",
        'return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight)',
        'return torch.einsum(f"bkhw,{rows}->bchw", feature_maps, weight) / feature_maps.shape[1]',
    ),
    Mutant(
        "maps/cam.py",
        "upsampled between corners, not centres of cells",
        'mode="bilinear", align_corners=False',
        'mode="bilinear", align_corners=True',
    ),
    Mutant(
        "maps/cam.py",
        "normalized over the batch, not each map on its own",
        "low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)",
        "low, high = maps.amin(), maps.amax()",
    ),
    Mutant("maps/cam.py", "normalized by the range without its minimum taken off", "(maps - low)", "(maps - 0)"),
    Mutant(
        "maps/gradients.py",
        "saliency without the absolute value",
        "gradient.abs().amax(1, keep",
        "gradient.amax(1, keep",
    ),
    Mutant(
        "maps/gradients.py",
        "saliency's mean over the colours",
        "gradient.abs().amax(1, keep",
        "gradient.abs().mean(1, keep",
    ),
    Mutant(
        "maps/gradients.py",
        "saliency of the probability, not the score",
        "logits.gather(1, column[:, None]).sum(), images, retain_graph=left > 0",
        "logits.softmax(1).gather(1, column[:, None]).sum(), images, retain_graph=left > 0",
    ),
    Mutant(
        "maps/cam.py",
        "a Gaussian of another width",
        "torch.exp(-0.5 * (offsets / sigma)",
        "torch.exp(-(offsets / sigma)",
    ),
    Mutant(
        "maps/gradients.py",
        "Grad-CAM without its ReLU",
        "mean((3, 4))\n    return GradCAM(class_activation_map(found.activations, alpha).relu(),",
        "mean((3, 4))\n    return GradCAM(class_activation_map(found.activations, alpha),",
    ),
    Mutant(
        "maps/gradients.py",
        "Grad-CAM's sum of gradients for their mean",
        "alpha = found.gradients.mean((3, 4))",
        "alpha = found.gradients.sum((3, 4))",
    ),
    Mutant(
        "maps/gradients.py",
        "Grad-CAM's ReLU on the gradients too",
        "alpha = found.gradients.mean((3, 4))",
        "alpha = found.gradients.relu().mean((3, 4))",
    ),
    Mutant("maps/inside.py", "Grad-CAM in training mode", "    network.eval()\n", "    network.train()\n"),
    Mutant(
        "maps/inside.py",
        "Grad-CAM leaves the network in evaluation mode",
        "            module.training = mode\n",
        "            module.training = False\n",
    ),
    Mutant(
        "maps/gradients.py",
        "Grad-CAM's classes of the first picture for all",
        "return logits.topk(top).indices",
        "return logits.topk(top).indices[:1].expand(len(logits), -1)",
    ),
    Mutant(
        "maps/gradients.py",
        "Grad-CAM++ without its ReLU on the gradients",
        "positive = found.gradients.relu()",
        "positive = found.gradients",
    ),
    Mutant(
        "maps/gradients.py",
        "Grad-CAM++ weighs all places alike",
        "alpha = (positive / (2 + positive * total)).sum((3, 4))",
        "alpha = positive.sum((3, 4))",
    ),
    Mutant(
        "maps/guided.py",
        "guided backpropagation of a network with another activation",
        "if others or not relus:",
        "if not relus:",
    ),
    Mutant("maps/guided.py", "a ReLU keeps negative gradients", "gradient.clamp(min=0)", "gradient.clamp(max=0)"),
    Mutant(
        "maps/layouts.py",
        "channels that are last taken for the first",
        "return lambda values: values.movedim(-1, -3)",
        "return lambda values: values",
    ),
    Mutant(
        "maps/layouts.py", "the class token taken for a position", "values[..., before:, :]", "values[..., :-before, :]"
    ),
    # ---- boxes ----
    Mutant(
        "maps/boxes.py", "a place at the threshold is kept", "(map2d > threshold * peak)", "(map2d >= threshold * peak)"
    ),
    Mutant("maps/boxes.py", "threshold on the minimum for the maximum", "peak = map2d.max()\n", "peak = map2d.min()\n"),
    Mutant(
        "maps/boxes.py",
        "rule wsol without the shift to 0",
        "        map2d = map2d - map2d.min()\n",
        "        map2d = map2d + 0\n",
    ),
    Mutant("maps/boxes.py", "the two rules exchanged", 'if rule == "wsol":', 'if rule == "paper":'),
    Mutant("maps/boxes.py", "the first component for the largest", "labels == 1 + sizes.argmax()", "labels == 1"),
    Mutant(
        "maps/boxes.py",
        "corners do not connect",
        "np.ones((3, 3)) if connectivity == 8 else None",
        "None if connectivity == 8 else np.ones((3, 3))",
    ),
    Mutant(
        "maps/boxes.py",
        "rule wsol takes the component with the most pixels",
        'measure="pixels" if rule == "paper" else "contour area"',
        'measure="pixels"',
    ),
    Mutant(
        "maps/boxes.py",
        "a component's area without its holes",
        'filled = ndimage.binary_fill_holes(_two_dimensional(component, "component").astype(bool)).astype(int)',
        'filled = _two_dimensional(component, "component").astype(int)',
    ),
    Mutant(
        "maps/boxes.py",
        "of equal outlines the first for the last",
        "key=lambda label: (areas[label - 1], label)",
        "key=lambda label: areas[label - 1]",
    ),
    Mutant(
        "maps/boxes.py",
        "rows and columns of a box exchanged",
        "xs = np.flatnonzero(mask.any(axis=0))\n    ys = np.flatnonzero(mask.any(axis=1))",
        "xs = np.flatnonzero(mask.any(axis=1))\n    ys = np.flatnonzero(mask.any(axis=0))",
    ),
    Mutant(
        "maps/boxes.py",
        "the inclusive end of a box for the half-open one",
        "int(xs[-1]) + 1, int(ys[-1]) + 1",
        "int(xs[-1]), int(ys[-1])",
    ),
    Mutant(
        "maps/boxes.py",
        "IoU without the clip of the intersection",
        "shared = shared_sides.clip(min=0).prod(axis=-1)",
        "shared = shared_sides.prod(axis=-1)",
    ),
    Mutant(
        "maps/boxes.py",
        "IoU counts the shared area twice in the joint one",
        "joint = area_a + area_b - shared",
        "joint = area_a + area_b",
    ),
    Mutant("maps/boxes.py", "IoU always inclusive", "extra = 1 if inclusive else 0", "extra = 1"),
    Mutant(
        "maps/nested.py",
        "nested boxes dropped by the smaller one's area",
        "> _area(left[i]) // 2:",
        "> _area(left[j]) // 2:",
    ),
    Mutant("maps/nested.py", "the tight box is the loose one", "found[min(1, len(found) - 1)]", "found[0]"),
    # ---- metrics ----
    Mutant("metrics/localization.py", "top-k counts one guess more", ".sum(axis=1) < k", ".sum(axis=1) <= k"),
    Mutant(
        "metrics/localization.py",
        "of equal scores the higher class first",
        "np.arange(logits.shape[1]) < labels[:, None]",
        "np.arange(logits.shape[1]) > labels[:, None]",
    ),
    Mutant(
        "metrics/localization.py",
        "localization whatever the class guessed",
        "zip(guess_labels, guess_boxes, strict=True) if guess == label]",
        "zip(guess_labels, guess_boxes, strict=True)]",
    ),
    Mutant(
        "metrics/localization.py",
        "top-k localization looks at every guess",
        "localization_correct(g[:k], b[:k], label, gt, iou)",
        "localization_correct(g, b, label, gt, iou)",
    ),
    Mutant(
        "metrics/localization.py",
        "an IoU of exactly one half is wrong",
        "any(_best_iou(box, truth) >= iou for box in right_class)",
        "any(_best_iou(box, truth) > iou for box in right_class)",
    ),
    Mutant(
        "metrics/localization.py",
        "only the first ground-truth box counts",
        "(1, 4)), truth).max())",
        "(1, 4)), truth)[0, 0])",
    ),
    Mutant(
        "metrics/box_accuracy.py",
        "half-open ground truth taken for inclusive",
        "np.trunc(boxes - [0, 0, 1, 1])",
        "np.trunc(boxes)",
    ),
    Mutant(
        "metrics/box_accuracy.py",
        "ground truth rounded, not cut",
        "np.trunc(boxes - [0, 0, 1, 1])",
        "np.rint(boxes - [0, 0, 1, 1])",
    ),
    Mutant(
        "metrics/box_accuracy.py",
        "MaxBoxAcc with a threshold of each picture's own",
        "return float(curve.max()), float",
        "return 100 * float(self.hits(iou).any(axis=1).mean()), float",
    ),
    Mutant(
        "metrics/box_accuracy.py",
        "MaxBoxAccV2 of the largest contour",
        'self.curve(iou, "all").max()',
        "self.curve(iou).max()",
    ),
    Mutant(
        "metrics/box_accuracy.py",
        "MaxBoxAccV2 at one IoU",
        'self.curve(iou, "all").max()',
        'self.curve(0.5, "all").max()',
    ),
    Mutant("metrics/pixels.py", "PxAP counts ignored pixels", "mask | ~ignore", "mask | True"),
    Mutant("metrics/pixels.py", "PxAP drops ignored pixels of the object", "mask | ~ignore", "~ignore"),
    Mutant(
        "metrics/pixels.py", "PxAP from low scores to high", "count[:, :, ::-1].cumsum(axis=2)", "count.cumsum(axis=2)"
    ),
    Mutant(
        "metrics/localization.py",
        "the map's minimum points",
        "map2d.argmax(), map2d.shape",
        "map2d.argmin(), map2d.shape",
    ),
    Mutant(
        "metrics/localization.py",
        "the tolerance of the pointing game whatever the size",
        "<= tolerance * max(map2d.shape) / 224",
        "<= tolerance",
    ),
    Mutant(
        "metrics/localization.py",
        "the end of a half-open box is hit",
        "np.clip(x, target[:, 0], target[:, 2] - 1)",
        "np.clip(x, target[:, 0], target[:, 2])",
    ),
    Mutant("metrics/localization.py", "negative values count as evidence", "np.maximum(map2d, 0)", "np.abs(map2d)"),
    Mutant(
        "metrics/pixels.py",
        "mean IoU over pictures for pooled pixels",
        "shared, joint = np.asarray(counts).sum(0).T\n",
        "shared, joint = np.asarray(counts).reshape(-1, 2).T\n",
    ),
    Mutant(
        "metrics/intervals.py",
        "the threshold of the whole set in every resample",
        "(times.astype(exact) @ table).max(axis=1)",
        "(times.astype(exact) @ table)[:, table.sum(axis=0).argmax()]",
    ),
    Mutant(
        "metrics/intervals.py",
        "unlike pictures in a paired interval",
        "_resampled(b, seed, repeats, level)",
        "_resampled(b, seed + 1, repeats, level)",
    ),
    Mutant("metrics/intervals.py", "the spread over seeds divided by n", "values.std(ddof=1)", "values.std()"),
    # ---- acol ----
    Mutant(
        "maps/cam.py",
        "erasing threshold on the raw map",
        "(normalize(maps.detach()) < delta)",
        "(maps.detach() < delta)",
    ),
    Mutant(
        "maps/cam.py",
        "erasing threshold as a share of the maximum",
        "(normalize(maps.detach()) < delta)",
        "(maps.detach() < delta * maps.detach().amax((2, 3), keepdim=True))",
    ),
    Mutant(
        "maps/cam.py",
        "a place at the erasing threshold stays",
        "(normalize(maps.detach()) < delta)",
        "(normalize(maps.detach()) <= delta)",
    ),
    Mutant(
        "maps/cam.py",
        "the rest erased, the object kept",
        "(normalize(maps.detach()) < delta)",
        "(normalize(maps.detach()) >= delta)",
    ),
    Mutant(
        "maps/cam.py",
        "fusion by the mean",
        "torch.maximum(normalize(maps_a), normalize(maps_b))",
        "(normalize(maps_a) + normalize(maps_b)) / 2",
    ),
    Mutant(
        "maps/cam.py",
        "fusion of maps that are not normalized",
        "torch.maximum(normalize(maps_a), normalize(maps_b))",
        "torch.maximum(maps_a, maps_b)",
    ),
    Mutant(
        "networks/acol.py",
        "always the first class erased at test",
        "labels = maps_a.mean((2, 3)).argmax(1)",
        "labels = torch.zeros(len(maps_a), dtype=torch.int64)",
    ),
    Mutant(
        "networks/acol.py",
        "nothing erased for branch B",
        "self.branch_b(erase(feature_maps, seen, self.delta))",
        "self.branch_b(feature_maps)",
    ),
    Mutant("networks/acol.py", "branch A looks twice", "self.branch_b(erase(", "self.branch_a(erase("),
    Mutant(
        "networks/acol.py",
        "training erases by the guess, not the label",
        "self.both(self.features(images), labels)",
        "self.both(self.features(images))",
    ),
    Mutant("networks/acol.py", "branch B is not taught", " + F.cross_entropy(logits_b, labels), wrong", ", wrong"),
    Mutant(
        "networks/acol.py",
        "the share of wrong answers is B's",
        "wrong = (logits_a.argmax(1)",
        "wrong = (logits_b.argmax(1)",
    ),
    Mutant(
        "networks/acol.py",
        "the maximum over places for their mean",
        "return self.branch_a(feature_maps).mean((2, 3))",
        "return self.branch_a(feature_maps).amax((2, 3))",
    ),
    # ---- evaluation ----
    Mutant(
        "maps/methods.py",
        "bias added to the map",
        "return class_activation_map(feature_maps, network.class_weight[classes])",
        "return (\n        class_activation_map(feature_maps, network.class_weight[classes])\n"
        "        + network.class_bias[classes][..., None, None]\n    )",
    ),
    Mutant(
        "maps/methods.py",
        "label used at test: it says what ACoL erases",
        "return of_classes(fuse(*network.both(feature_maps)), classes)",
        "return of_classes(fuse(*network.both(feature_maps, classes[:, 0])), classes)",
    ),
    Mutant(
        "maps/fine.py",
        "maps of mirror images are not mirrored back",
        "maps.flip(-1) if mirror else maps",
        "maps",
    ),
    Mutant("maps/fine.py", "half of the pixels count as lowest", "LOWEST = 0.3", "LOWEST = 0.5"),
    Mutant(
        "metrics/evaluation.py",
        "a right box is enough in top-k localization",
        "right_class & right_box",
        "right_box",
    ),
    Mutant(
        "metrics/evaluation.py",
        "GT-known by the map of the guess",
        "feature_maps, batch.labels[:, None])",
        "feature_maps, logits.argmax(1)[:, None])",
    ),
    Mutant(
        "metrics/evaluation.py",
        "GT-known by the other box rule",
        'box_from_map(one, "paper"',
        'box_from_map(one, "wsol"',
    ),
    Mutant(
        "metrics/grid.py",
        "ground truth left at the picture's size",
        "return [box * (GRID / size) for box in boxes]",
        "return [box * 1.0 for box in boxes]",
    ),
    Mutant(
        "metrics/evaluation.py",
        "errors reported as accuracies",
        "per_picture[metric] = ~right if error else right",
        "per_picture[metric] = right",
    ),
    Mutant(
        "maps/methods.py",
        "the same smoothing whatever the picture's size",
        "BLUR_SIGMA * images.shape[-1] / GRID",
        "BLUR_SIGMA",
    ),
    # ---- segmentation ----
    Mutant(
        "course/lessons/segmentation.py",
        "unsure pixels are background",
        "torch.full(value.shape, IGNORED,",
        "torch.full(value.shape, BACKGROUND,",
    ),
    Mutant(
        "course/lessons/segmentation.py",
        "a share of the batch's maximum",
        "positive.amax((-2, -1), keepdim=True)",
        "positive.amax()",
    ),
    Mutant(
        "course/lessons/segmentation.py",
        "how sure of the background",
        ".softmax(1)[:, OBJECT:]",
        ".softmax(1)[:, :OBJECT]",
    ),
    Mutant(
        "course/lessons/segmentation.py", "recall for IoU", "inside / (masks.sum() + outside)", "inside / masks.sum()"
    ),
    # ---- networks ----
    Mutant(
        "networks/base.py",
        "sum over places for the mean",
        'feature_maps.mean((2, 3)) if self.pooling == "gap"',
        'feature_maps.sum((2, 3)) if self.pooling == "gap"',
    ),
    Mutant(
        "networks/base.py",
        "mean over places for the maximum",
        "else feature_maps.amax((2, 3))",
        "else feature_maps.mean((2, 3))",
    ),
    Mutant(
        "networks/base.py",
        "maximum over places in Network in Network",
        "return self.classifier(feature_maps).mean((2, 3))",
        "return self.classifier(feature_maps).amax((2, 3))",
    ),
    Mutant(
        "networks/base.py", "pictures not scaled as the weights expect", "(images - self.mean) / self.std))", "images))"
    ),
    Mutant("networks/base.py", "images up to 255 pass", "high > BRIGHTEST or", "high > 1e9 or"),
    Mutant("networks/base.py", "unknown pixels count as wrong", "wrong.sum() / counted.sum()", "wrong.float().mean()"),
    Mutant("networks/papers.py", "the last max pooling is kept", 'keeps="29",', 'keeps="30",'),
    Mutant(
        "networks/surgery.py",
        "a cut shares its layers with the original",
        "backbone = copy.deepcopy(Layers(OrderedDict(kept)))",
        "backbone = Layers(OrderedDict(kept))",
    ),
    Mutant(
        "networks/surgery.py",
        "no ReLU after a cut's convolution",
        "cam_conv += [conv, nn.ReLU()]",
        "cam_conv += [conv]",
    ),
    Mutant(
        "networks/surgery.py",
        "a cut's convolution makes the map smaller",
        "conv = nn.Conv2d(channels, width, 3, padding=1)",
        "conv = nn.Conv2d(channels, width, 3)",
    ),
    Mutant(
        "networks/surgery.py",
        "the random layers of a cut are not named as new",
        'network.new_layers = ("cam_conv", "classifier")',
        'network.new_layers = ("classifier",)',
    ),
    Mutant(
        "networks/building.py",
        "the seed has no effect",
        "torch.manual_seed(seed)\n        network = original.builder",
        "torch.manual_seed(0)\n        network = original.builder",
    ),
    Mutant(
        "networks/papers.py",
        "GoogLeNet cut one module later",
        'keeps="inception4e",',
        'keeps="maxpool4",',
    ),
    Mutant(
        "networks/papers.py", "one pooling of VGG-16-ACoL moves by two", "place in pools[-2:]", "place in pools[-1:]"
    ),
    # ---- training ----
    Mutant(
        "training/fitting.py",
        "every image mirrored",
        "(draws[:, 3] < 0.5) & recipe.flip",
        "(draws[:, 3] < 1.5) & recipe.flip",
    ),
    Mutant(
        "training/fitting.py",
        "the same order in every epoch",
        "generator=generator(seed, epoch, 0)",
        "generator=generator(seed, 0, 0)",
    ),
    Mutant(
        "training/fitting.py",
        "new layers learn no faster",
        '{"params": new, "factor": recipe.new_layer_factor}',
        '{"params": new, "factor": 1.0}',
    ),
    Mutant("training/fitting.py", "no warm-up", "return (step + 1) / warm_up", "return 1.0"),
    Mutant(
        "training/fitting.py",
        "the checkpoint of another training is continued",
        'state.get("of") != of and',
        'state.get("of") is None and',
    ),
    Mutant(
        "training/plans.py",
        "a cut starts from random weights",
        "return Plan(name, recipe, None, policy(found.original, data, epochs, lr, precision))",
        "return Plan(name, recipe, None)",
    ),
    Mutant(
        "training/plans.py", "a cut learns as fast as its original", "lr=found.scratch_lr / 3", "lr=found.scratch_lr"
    ),
    # ---- a class's cache and records ----
    Mutant(
        "training/cache.py",
        "the class's cache is not looked into",
        'found = files.cached("networks", entry.name)',
        "found = [entry] if entry.exists() else []",
    ),
    Mutant(
        "datasets/downloads.py",
        "what is left of a download is removed from the class's cache",
        'folder, kept = folder_of(name), files.CACHE / "datasets" / "downloads"',
        'folder, kept = folder_of(name), folder_of(name).parent / "downloads"',
    ),
    Mutant(
        "course/progress.py",
        "half a line spoils the next one",
        'record.write(f"\\n{json.dumps(said)}".encode())',
        'record.write(f"{json.dumps(said)}\\n".encode())',
    ),
    Mutant(
        "course/progress.py",
        "tries go on after the first right answer",
        "tries = len(answers) if first is None else first + 1",
        "tries = len(answers)",
    ),
    Mutant(
        "course/handout.py",
        "a newer lesson overwrites what a student wrote",
        "said == known.get(name) and said != _said(new, name)",
        "said != _said(new, name)",
    ),
    # ---- decoding ----
    Mutant(
        "datasets/decoding.py",
        "an image turned to the wrong side",
        "6: (Image.Transpose.ROTATE_270,",
        "6: (Image.Transpose.ROTATE_90,",
    ),
    Mutant(
        "datasets/decoding.py",
        "boxes not turned with their image",
        "return np.concatenate([corners.min(0), corners.max(0)]).T",
        "return boxes",
    ),
    Mutant(
        "datasets/decoding.py",
        "transparency laid on black",
        'Image.new("RGBA", image.size, "white")',
        'Image.new("RGBA", image.size, "black")',
    ),
    # ---- photographs ----
    Mutant(
        "datasets/photographs.py",
        "boxes as shares of the image before it is turned",
        "boxes / np.array([*whole] * 2)",
        "boxes / np.array([*stored] * 2)",
    ),
    Mutant(
        "datasets/photographs.py",
        "a mask not turned with its image",
        "grey = upright(self.grey(self._truths[i]), self._turns[i])",
        "grey = self.grey(self._truths[i])",
    ),
    Mutant("datasets/photographs.py", "the mask of a tiny object is empty", "if not mask.any():", "if mask is None:"),
    # ---- scenes ----
    Mutant(
        "datasets/scenes.py",
        "test images repeat those of training",
        'f"{self.seed}/{self.split}/{purpose}"',
        'f"{self.seed}/{purpose}"',
    ),
    Mutant(
        "datasets/scenes.py",
        "the labels come in one order again and again",
        'self._stream("labels", indices // classes, classes)',
        'self._stream("labels", indices * 0, classes)',
    ),
    Mutant(
        "datasets/scenes.py",
        "an object may leave the image",
        "u[..., 4:6] * (room - (last - first) * side)",
        "u[..., 4:6] * room",
    ),
    Mutant(
        "datasets/scenes.py",
        "sharp images show other scenes",
        "self._rendered(self._checked(indices), side,",
        "self._rendered(self._checked(indices) // 2, side,",
    ),
    Mutant(
        "datasets/rendering.py",
        "what lies under an object shines through",
        "under.mul_(1 - alpha).add_(colour)",
        "under.add_(colour)",
    ),
    Mutant(
        "datasets/rendering.py", "the mask holds only what is nearly opaque", "alpha[:, 0] > 0.5", "alpha[:, 0] > 0.99"
    ),
    # ---- figures and widgets ----
    Mutant(
        "course/show/images.py",
        "the map hides the image where it is low",
        "alpha = opacity * value[..., None]",
        "alpha = opacity * np.ones_like(value)[..., None]",
    ),
    Mutant(
        "course/show/images.py",
        "grey where the mask keeps",
        "np.where(large[..., None], picture, 128)",
        "np.where(large[..., None], 128, picture)",
    ),
    Mutant(
        "course/show/style.py",
        "the reader's settings in a figure",
        "with matplotlib.rc_context(STYLE):",
        "with matplotlib.rc_context():",
    ),
    Mutant(
        "course/show/pictures.py",
        "the worst IoU for the best",
        "as_boxes(truth), as_boxes(predicted)).max()",
        "as_boxes(truth), as_boxes(predicted)).min()",
    ),
    Mutant(
        "course/show/pictures.py",
        "boxes in pixels of the sharp image",
        "height, width = frame_of(image, frame)",
        "height, width = enlarged(image).shape[:2]",
    ),
    Mutant(
        "course/show/panels.py",
        "rule paper shown as rule wsol",
        "np.clip(map2d / highest, 0, 1)",
        "np.clip((map2d - map2d.min()) / (highest - map2d.min()), 0, 1)",
    ),
    Mutant(
        "course/show/panels.py",
        "the best for the worst",
        "sorted(known, key=lambda i: overlaps[i])",
        "sorted(known, key=lambda i: -overlaps[i])",
    ),
    Mutant(
        "course/show/panels.py",
        "cells not scaled to their own maximum",
        "maps.normalize(values)",
        "maps.normalize(values) / 2",
    ),
    Mutant(
        "course/show/charts.py",
        "a band from the mean up",
        "measured.min(0), measured.max(0)",
        "measured.mean(0), measured.max(0)",
    ),
    Mutant(
        "course/show/charts.py",
        "an interval that touches 0 counted as decided",
        "low > 0 or high < 0",
        "low >= 0 or high <= 0",
    ),
    Mutant(
        "course/show/tables.py",
        "zero is not white in a matrix",
        "return (-highest, highest), DIVERGING",
        "return (low, highest), DIVERGING",
    ),
    Mutant(
        "course/show/described.py",
        "a figure without what it shows",
        'f"{takeaway} {shows}"',
        'f"{takeaway}"',
    ),
    Mutant(
        "course/explore.py",
        "the slider moves the mask alone",
        "boxes.box_from_map(raw_map, by.value, level.value)",
        "boxes.box_from_map(raw_map, by.value, 0.2)",
    ),
    # ---- lessons ----
    Mutant(
        "course/lessons/weak_labels.py",
        "a rare class loses all its labels",
        "own[: max(1, round(share * len(own)))]",
        "own[: round(share * len(own))]",
    ),
    Mutant(
        "course/lessons/weak_labels.py",
        "a flipped label may stay as it is",
        "draw.integers(1, classes, len(labels))",
        "draw.integers(0, classes, len(labels))",
    ),
    Mutant(
        "course/lessons/weak_labels.py",
        "pseudo-labels for unsure guesses",
        "probability >= confidence",
        "probability >= 0",
    ),
    Mutant(
        "course/lessons/faithfulness.py",
        "the lowest pixels first",
        "descending=True, stable=True",
        "descending=False, stable=True",
    ),
    Mutant(
        "course/lessons/faithfulness.py",
        "layers random from the first one on",
        "reversed(list(enumerate(layers, 1)))",
        "list(enumerate(layers, 1))",
    ),
    Mutant(
        "course/lessons/language.py",
        "above and below exchanged",
        "before, behind = RELATIONS[axis], RELATIONS[axis + 2]",
        "behind, before = RELATIONS[axis], RELATIONS[axis + 2]",
    ),
    Mutant(
        "course/lessons/language.py",
        "one prior answer to all questions",
        "counts.get(tuple(words), every).argmax()",
        "every.argmax()",
    ),
    Mutant(
        "course/lessons/language.py",
        "the caption network reads the word that it is to say",
        "torch.cat([torch.ones_like(captions[:, :1]), captions[:, :-1]], 1)",
        "captions",
    ),
    # ---- the papers' tables ----
    Mutant(
        "course/papers/published.py",
        "published minus ours",
        'round(float(value) - row["value"], 2)',
        'round(row["value"] - float(value), 2)',
    ),
    Mutant(
        "course/papers/published.py", "of several figures the first", "if len(chosen) == 1:", "if len(chosen) >= 1:"
    ),
    Mutant(
        "course/papers/claims.py",
        "a claim holds where its interval only touches it",
        "if least < low and high < most:",
        "if least < high and low < most:",
    ),
    Mutant(
        "course/papers/claims.py",
        "seeds that only one network has are counted",
        ".reindex(columns=[a, b]).dropna()",
        ".reindex(columns=[a, b]).fillna(0)",
    ),
    Mutant(
        "course/papers/features.py",
        "a crop ends at the image's height on both sides",
        "limits = image.shape[2], image.shape[1]",
        "limits = image.shape[1], image.shape[1]",
    ),
    Mutant(
        "course/papers/features.py",
        "in training the map of the guess",
        "_crop_features(network, train, size, (svm.map_boxes(network, known),), device)",
        "_crop_features(network, train, size, (svm.map_boxes(network),), device)",
    ),
    Mutant("course/papers/measure.py", "two boxes for the third class", "[:, [0, 0, 1, 1, 2]]", "[:, [0, 0, 1, 2, 2]]"),
    Mutant(
        "course/papers/measure.py",
        "correct answers counted as errors",
        "~metrics.topk_correct(logits",
        "metrics.topk_correct(logits",
    ),
    Mutant(
        "course/papers/recorded.py",
        "the earliest of two runs counts",
        'drop_duplicates(key, keep="last")',
        'drop_duplicates(key, keep="first")',
    ),
    # ---- runs and sweeps ----
    Mutant(
        "course/runs.py", "the seed of a run has no effect", "torch.manual_seed(given.seed)", "torch.manual_seed(0)"
    ),
    Mutant(
        "course/parameters.py",
        "a folder of this machine in the record",
        'f"{kind}:{Path(folder).name}"',
        'f"{kind}:{folder}"',
    ),
    Mutant(
        "course/runs.py",
        "at paper the setting of quick",
        "paper = full if paper is _ABSENT else paper",
        "paper = quick if paper is _ABSENT else paper",
    ),
    Mutant(
        "course/notebooks.py",
        "a failed run counts as finished",
        "record.finished = now() if executed.exists() else None",
        "record.finished = now()",
    ),
    Mutant(
        "course/sweeps.py",
        "an unfinished run is not made again",
        ".finished is not None\n        except",
        ".notebook is not None\n        except",
    ),
    Mutant(
        "course/results.py",
        "the earliest of two runs counts",
        '[*SETTING, "seed"], keep="last"',
        '[*SETTING, "seed"], keep="first"',
    ),
    Mutant(
        "course/results.py",
        "the spread divided by n",
        '"spread": ("value", "std")',
        '"spread": ("value", lambda values: values.std(ddof=0))',
    ),
    Mutant(
        "course/findings.py",
        "a number that no claim names is let through",
        "for name in numbers if name not in claimed]",
        "for name in numbers if name in ()]",
    ),
    Mutant(
        "course/findings.py",
        "claims have to notice 2,000 points, not 20",
        "STEP = 20.0",
        "STEP = 2000.0",
    ),
    Mutant(
        "course/findings.py",
        "a quoted decimal may be off by one",
        "<= 0.5 * 10**-digits",
        "<= 1.5 * 10**-digits",
    ),
    Mutant(
        "course/reading.py",
        "hidden code is counted as read",
        'if HIDDEN in cell["metadata"].get("tags", []):',
        "if HIDDEN in ():",
    ),
    Mutant(
        "course/reading.py",
        "an appendix is counted as read",
        "        if not folded:\n            yield cell",
        "        if True:\n            yield cell",
    ),
    # ---- sweep: last, since each of its faults has it compiled anew ----
    Mutant(
        "metrics/box_sweep.py",
        "a threshold rounded to the nearest level",
        "* int(peak)).astype",
        "* int(peak) + 0.5).astype",
    ),
    Mutant(
        "metrics/box_sweep.py",
        "IoU without the clip of the intersection",
        "if width > 0 and height > 0:",
        "if width != 0:",
    ),
    Mutant(
        "metrics/box_sweep.py",
        "holes are 8-connected",
        "GROUPS4, MEMBER4, _ = _around(4)",
        "GROUPS4, MEMBER4, _ = _around(8)",
    ),
    Mutant(
        "metrics/box_sweep.py",
        "of equal outlines the first for the last",
        "node[root, 1] > node[winner, 1]:",
        "node[root, 1] < node[winner, 1]:",
    ),
]

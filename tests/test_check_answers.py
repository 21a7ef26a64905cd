"""Answers as readers write them: right ones in many styles, slips, and functions that a library stops."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cambook.course.lessons import check
from cambook.course.lessons.check import explain
from cambook.maps import boxes


def gap_in_loops(feature_maps):
    return [[channel.sum() / channel.numel() for channel in image] for image in feature_maps]


def gmp_in_loops(feature_maps):
    result = np.zeros(feature_maps.shape[:2])
    for b in range(len(feature_maps)):
        for k in range(feature_maps.shape[1]):
            result[b, k] = feature_maps[b, k].max()
    return result


def softmax_in_loops(scores):
    rows = []
    for row in scores.tolist():
        exps = [np.exp(score - max(row)) for score in row]
        rows.append([each / sum(exps) for each in exps])
    return rows


def cam_in_loops(feature_maps, weight):
    result = torch.zeros(feature_maps.shape[1:], dtype=torch.float64)
    for k, w in enumerate(weight):
        result += w * feature_maps[k]
    return result


def box_in_loops(map2d):
    if map2d.max() <= 0:
        return None
    piece = boxes.largest_component(map2d / map2d.max() > 0.2)
    inside = [(x, y) for y in range(len(piece)) for x in range(len(piece[0])) if piece[y, x]]
    xs, ys = zip(*inside, strict=True)
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def top1_loc_in_loops(labels, predicted, ious):
    return 100 * sum(p == t and i >= 0.5 for t, p, i in zip(labels, predicted, ious, strict=True)) / len(labels)


def gt_known_with_torch(labels, ious):
    return 100 * (ious.gather(1, labels[:, None]) >= 0.5).float().mean()


def sure_labels_in_numpy(logits, confidence):
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exps / exps.sum(axis=1, keepdims=True)
    sure = np.flatnonzero(probabilities.max(axis=1) >= confidence)
    return sure, probabilities.argmax(axis=1)[sure]


def sure_labels_in_loops(logits, confidence):
    found = [(i, int(row.argmax())) for i, row in enumerate(torch.softmax(logits, 1)) if row.max() >= confidence]
    return [i for i, _ in found], [label for _, label in found]


def seeds_in_numpy(map2d, foreground, background):
    top = map2d.max()
    return np.where(map2d >= foreground * top, 1, np.where(map2d <= background * top, 0, -100))


def erase_by_copy(features, class_map, delta):
    result = features.clone()
    result[:, (class_map - class_map.min()) / (class_map - class_map.min()).max() >= delta] = 0
    return result


def loss_by_log_softmax(maps_a, maps_b, labels):
    rows = torch.arange(len(labels))
    return -sum(maps.mean((2, 3)).log_softmax(1)[rows, labels].mean() for maps in (maps_a, maps_b))


def coverage_with_torch(maps, masks, threshold):
    found = maps.ge(threshold).logical_and(masks).sum().item()
    return 100 * found / masks.sum().item(), 100 * found / maps.ge(threshold).sum().item()


def caption_with_torch(logits, words):
    return -F.cross_entropy(logits, words, reduction="sum")


def pointing_in_loops(maps, masks):
    hits = [[masks[n, o].reshape(-1)[maps[n].argmax()] for o in (0, 1)] for n in range(len(maps))]
    return 100 * np.mean(hits, 0)


def flipped_by_copy(labels, wrong, moves, classes):
    result = labels.copy()
    result[wrong] = (result[wrong] + moves[wrong]) % classes
    return result


def distance_of_the_peak(map2d):
    """Meets every condition of the task: the peak of a ring lies on the ring."""
    at = np.unravel_index(int(map2d.argmax()), map2d.shape)
    return np.hypot(*(index - (side - 1) / 2 for index, side in zip(at, map2d.shape, strict=True)))


def shuffled_pixels(image):
    order = np.random.default_rng(0).permutation(image[0].size)
    return image.reshape(3, -1)[:, order].reshape(image.shape)


def bent_stripes(side):
    y, x = np.mgrid[:side, :side]
    return np.stack([0.5 + 0.5 * np.sin(2 * np.pi * (x + 3 * np.sin(y / 5)) / 8)] * 3)


def diagonal_in_two_colours(side):
    bright = np.add(*np.mgrid[:side, :side]) // 4 % 2
    return np.stack([bright, 0 * bright, 1 - bright])


def sum_cut_at_zero(map_a, map_b):
    fused = map_a.relu() + map_b.relu()
    return (fused - fused.min()) / (fused.max() - fused.min())


def chessboard(side):
    bright = np.add(*np.mgrid[:side, :side] // 8) % 2
    return np.stack([bright, 0 * bright, 1 - bright])


def stretched_sum(map_a, map_b):
    return (map_a + map_b - (map_a + map_b).min()) / ((map_a + map_b).max() - (map_a + map_b).min())


def coverage_image_by_image(maps, masks, threshold):
    right = ((maps >= threshold) & masks).sum((1, 2))
    return 100 * np.mean([right / masks.sum((1, 2)), right / (maps >= threshold).sum((1, 2))], 1)


def trapezoids(inside, outside):
    found = np.cumsum(inside)
    precision, recall = np.r_[1, found / (found + np.cumsum(outside))], np.r_[0, found / found[-1]]
    return 100 * ((precision[1:] + precision[:-1]) / 2 * np.diff(recall)).sum()


def last_best_threshold(boxed, test):
    rates = boxed.mean(0)
    return 100 * test[:, len(rates) - 1 - rates[::-1].argmax()].mean()


def first_class_of_the_top(maps, labels, unit, n):
    top = (-maps[:, unit].max((1, 2))).argsort()[:n]
    return 100 * np.mean(labels[top] == labels[top[0]])


RIGHT = [
    ("gap", lambda f: f.flatten(2).mean(-1)),
    ("gap", lambda f: np.mean(f.numpy(), axis=(2, 3))),
    ("gap", gap_in_loops),
    ("gmp", lambda f: f.max(2).values.max(2).values),
    ("gmp", lambda f: f.max(axis=(2, 3))),  # of arrays alone
    ("gmp", gmp_in_loops),
    ("softmax", lambda s: torch.exp(s - torch.logsumexp(s, 1, keepdim=True))),
    ("softmax", lambda s: (e := np.exp(s - np.max(s, axis=1, keepdims=True))) / e.sum(axis=1, keepdims=True)),
    ("softmax", softmax_in_loops),
    ("cam", lambda f, w: (w[:, None, None] * f).sum(0)),
    ("cam", lambda f, w: np.tensordot(w.numpy(), f.numpy(), 1)),
    ("cam", lambda f, w: (w @ f.reshape(len(w), -1)).reshape(f.shape[1:])),
    ("cam", cam_in_loops),
    ("box", box_in_loops),
    ("box", lambda m: boxes.box_from_map(m, "paper", 0.2)),
    ("iou", lambda a, b: boxes.box_iou([a], [b])[0, 0]),
    ("top1_loc", top1_loc_in_loops),
    ("top1_loc", lambda t, p, i: ((p == t) & (i >= 0.5)).double().mean() * 100),  # of tensors alone
    ("gt_known", gt_known_with_torch),
    ("gt_known", lambda t, i: 100 * np.mean([row[label] >= 0.5 for label, row in zip(t, i, strict=True)])),
    ("max_box_acc", lambda hits: 100 * hits.float().mean(0).max()),
    ("pooling", lambda f: f.float().flatten(2).topk(2).values.mean(2)),  # in the precision of the networks
    ("own_level", lambda m: np.median(m)),  # coarse, but all that its text asks for
    ("blind_map", lambda size: 1 - np.hypot(*np.meshgrid(*[np.linspace(-1, 1, size)] * 2))),
    ("grad_cam_map", lambda a, g: np.maximum((a.numpy() * g.numpy().mean((1, 2))[:, None, None]).sum(0), 0)),
    ("unit_ranking", lambda w, c, n: w[c].argsort()[::-1][:n]),  # of arrays alone
    ("unit_ranking", lambda w, c, n: sorted(range(w.shape[1]), key=lambda k: -w[c, k])[:n]),
    ("sure_labels", sure_labels_in_numpy),
    ("sure_labels", sure_labels_in_loops),
    ("flipped_labels", flipped_by_copy),
    ("flipped_labels", lambda labels, wrong, moves, classes: torch.where(wrong, (labels + moves) % classes, labels)),
    ("cam_seeds", seeds_in_numpy),
    ("acol_erase", erase_by_copy),
    ("acol_loss", loss_by_log_softmax),
    ("mask_coverage", coverage_with_torch),
    ("hide_class", lambda w, c: w.numpy() - w.numpy()[c : c + 1]),
    ("hide_class", lambda w, c: torch.stack([row - w[c] for row in w])),
    ("caption_log_probability", caption_with_torch),
    ("caption_log_probability", lambda y, w: y.log_softmax(1).gather(1, w[:, None]).sum().item()),
    ("pointing_rates", pointing_in_loops),
    ("box_acc", lambda ious: [100 * sum(column >= 0.5) / len(column) for column in ious.T]),
    ("spearman", lambda a, b: torch.corrcoef(torch.stack([x.flatten().argsort().argsort() for x in (a, b)]))[0, 1]),
    ("map_alarm", distance_of_the_peak),
    ("replacement", shuffled_pixels),
    ("replacement", lambda image: torch.from_numpy(image).mean((1, 2), keepdim=True).expand(image.shape)),
    ("striped_probe", bent_stripes),
    ("striped_probe", diagonal_in_two_colours),
    ("fusing_rule", sum_cut_at_zero),
    ("own_metric", lambda ious: 100 * np.mean([(ious >= bar).mean() for bar in (0.3, 0.5, 0.7)])),
    ("own_metric", lambda ious: 100 * np.sqrt((ious**2).mean())),
]


@pytest.mark.parametrize("name, answer", RIGHT, ids=[f"{i}-{name}" for i, (name, _) in enumerate(RIGHT)])
def test_a_right_answer_is_right_in_any_style(name, answer):
    assert getattr(check, name).answer(answer) == f"✓ {name}: correct."


def seeds_in_place(map2d, foreground, background):
    map2d /= map2d.max()
    return seeds_in_numpy(map2d, foreground, background)


def erased_with_a_normalized_map(features, class_map, delta):
    class_map -= class_map.min()
    class_map /= class_map.max()
    return features * (class_map < delta)


def occlusion_in_place(score, covered, side, size):
    covered -= score
    return check.occlusion_map.reference(0, covered, side, size)


CHANGED = [
    ("cam_seeds", seeds_in_place, "map2d"),
    ("acol_erase", erased_with_a_normalized_map, "class_map"),
    ("occlusion_map", occlusion_in_place, "covered"),
    ("softmax", lambda s: s.sub_(s.amax(1, keepdim=True)).softmax(1), "scores"),
    ("max_box_acc_v2", lambda hits: hits.sort(1) or 100 * hits.mean(1).max(1).mean(), "hits"),
]


@pytest.mark.parametrize("name, answer, argument", CHANGED, ids=[name for name, *_ in CHANGED])
def test_a_changed_argument_is_named(name, answer, argument):
    assert f"your function changes its argument {argument}, so " in getattr(check, name).answer(answer)


def field_around_its_cell(i, layers):
    field, step = 1, 1
    for kernel, stride, _ in layers:
        field, step = field + (kernel - 1) * step, step * stride
    start = i * step + step // 2 - field // 2
    return start, start + field


def lower_or_upper_half(maps):
    right = 0
    for left_map, right_map in maps:
        for one, below in ((left_map, False), (right_map, True)):
            row, _ = np.unravel_index(int(one.argmax()), one.shape)
            right += (row >= one.shape[0] // 2) == below
    return 50 * right / len(maps)


SLIPS = [
    ("top_k", lambda logits, k: (i := logits.argsort()[-k:], logits.softmax(0)[i]), "comes last; turn the order round"),
    ("top_k", lambda logits, k: (i := logits.argsort()[:k], logits.softmax(0)[i]), "the k least likely classes"),
    ("sure_labels", lambda y, c: torch.nonzero(y.softmax(1).amax(1) >= c)[:, 0], "expected 2 things"),
    ("sure_labels", lambda y, c: (torch.nonzero(y.softmax(1).amax(1) >= c), y.argmax(1)), "in the first of the 2 thi"),
    ("parameters_of_head", lambda K, h, w, C: (K * h * w, K), "at [0] expected 25089000 but got 25088"),
    ("parameters_of_head", lambda K, h, w, C: (K * h * w * C + 1, K * C + 1), "not one bias in all"),
    ("pooling", lambda f: np.sqrt(np.mean(f.numpy() ** 2, (2, 3))), "negative everywhere, one of your numbers is"),
    ("pooling", lambda f: F.relu(f).square().mean((2, 3)).sqrt(), "perhaps a square or a ReLU loses the sign"),
    ("pooling", lambda f: f.mean((2, 3)) + f.std((2, 3)) * 0.1 + 0.01, "your number must be that value"),
    ("cell_sees", field_around_its_cell, "right for some paddings only"),
    ("same_answers", lambda answers: 100 * (answers == answers[0]).all(1).mean(), "every object with the first one"),
    ("same_answers", lambda answers: 100 * (answers.T == answers[:, 0]).all(1).mean(), "all(1) along the rows"),
    ("layer_stack", lambda: [(3, 2)] * 4 + [(3, 1)] * 2, "neighbouring cells are 16 pixels apart"),
    ("layer_stack", lambda: [(3, 2)] * 4 + [(3, 1)] * 2, "one cell sees 95 pixels"),
    ("own_half", lower_or_upper_half, "is in its column, position % w"),
    ("blind_map", lambda size: np.outer(*[np.exp(-(np.linspace(-1, 1, size) ** 2))] * 2), "like the lesson's blurred"),
    ("counterfactual_map", lambda a, g: -F.relu(-(a * g.mean((1, 2), keepdim=True)).sum(0)), "drop the minus in front"),
    ("own_weighting", lambda a, g: F.relu((g * a).mean(0)), "HiResCAM, which the task rules out"),
    ("box", lambda m: boxes.box_from_map(m, "wsol", 0.2), "that is rule wsol"),
    ("gmp", lambda f: F.relu(f).amax((2, 3)), "neither clamp it at 0"),
    ("gmp", lambda f: f.max(1), "use .amax((2, 3))"),
    ("gmp", lambda f: f.reshape(*f.shape[:2], -1).max(-1), "take its .values"),
    ("flat_layer_map", lambda f, w: check.flat_layer_map.reference(f, w) / f[0].numel(), "as GAP does"),
    ("softmax", lambda s: (s - s.max()).softmax(1) * 0 + (e := (s - s.max()).exp()) / e.sum(1)[:, None], "whole batch"),
    ("softmax", lambda s: (e := (s - s.mean(1, keepdim=True)).exp()) / e.sum(1, keepdim=True), "the mean of each row"),
    ("own_pooling", lambda f: f.sum((1, 2)) / (f != 0).sum((1, 2)).clamp(min=1), "positions with the value 0"),
    ("acol_loss", lambda a, b, t: float(loss_by_log_softmax(a, b, t)), "the number is right, but .item()"),
    ("acol_loss", lambda a, b, t: loss_by_log_softmax(a, b.detach(), t), "B would never learn"),
    ("crop_window", lambda box, size: [round(x) for x in check.crop_window.reference(box, size)], "keep halves"),
    ("replacement", lambda image: image[:, ::-1, ::-1], "only mirrored, turned or moved"),
    ("replacement", lambda image: F.avg_pool2d(torch.from_numpy(image), 5, 1, 2), "but its outline shows"),
    ("spearman", lambda a, b: np.corrcoef(*(x.argsort().argsort().ravel() for x in (a, b)))[0, 1], "row by row here"),
    ("spearman", lambda a, b: np.corrcoef(a.argsort().ravel(), b.argsort().ravel())[0, 1], "row by row here, and one"),
    ("spearman", lambda a, b: np.corrcoef(*(x.argsort().argsort() for x in (a, b)))[0, 1], "two rows of one map"),
    ("striped_probe", chessboard, "these are patches"),
    ("unit_ranking", lambda w, c, n: w[c].argsort()[-n:], "smallest weight first"),
    ("unit_precision", first_class_of_the_top, "the class of the image that excites the unit most"),
    ("mask_coverage", coverage_image_by_image, "you averaged over images"),
    ("fusing_rule", stretched_sum, "lets a map from -5 to 0 change the other one"),
    ("own_metric", lambda ious: 100 * np.median(ious), "every image should count"),
    ("own_metric", lambda ious: 100 * np.clip(2 * ious - 1, 0, 1).mean(), "more below 0.5, too"),
    ("pxap", trapezoids, "you added up trapezoids"),
    ("threshold_transfer", last_best_threshold, "you took the last of them"),
    ("pointing_rates", lambda maps, masks: pointing_in_loops(maps, masks)[::-1], "the two numbers are swapped"),
]


@pytest.mark.parametrize("name, answer, said", SLIPS, ids=[f"{i}-{name}" for i, (name, *_) in enumerate(SLIPS)])
def test_a_slip_is_told(name, answer, said):
    line = getattr(check, name).answer(answer)
    assert line.startswith("✗") and said in line


def softmax_as_a_sum(scores):
    total = total + scores  # noqa: F821, F841
    return total


# (exercise, function, what is told of its error): what a library says, in plain words
STOPPED = [
    (
        "gt_known",
        lambda t, i: i.gather(1, t),
        ".gather belongs to tensors (torch), and this is an array of float64, shape",
    ),
    (
        "cam",
        lambda f, w: f.astype(float) @ torch.ones(3),
        ".astype belongs to arrays (NumPy), and this is a tensor of fl",
    ),
    ("cam", lambda f, w: f.maen(0), "does not have .maen (.mean exists)"),
    ("cam", lambda f, w: torch.summ(f), "torch does not have .summ (.sum exists)"),
    ("cam", lambda f, w: None.sum(), ".sum is asked of None"),
    ("top1_loc", lambda t, p, i: (p == t & i >= 0.5).mean(), "each comparison needs parentheses: (a == b) & (c >= d)"),
    ("top1_loc", lambda t, p, i: 100 * ((p == t) and (i >= 0.5)).mean(), "one True or False is needed"),
    ("softmax", lambda s: s.exp() / s.exp().sum(1), "the shapes do not fit each other"),
    ("box_acc", lambda i: i / i.sum(1), "the shapes do not fit each other"),
    ("class_score", lambda f, w, b: f.mean((1, 2)) @ w + b, "the shapes do not fit a matrix product"),
    ("cam", lambda f, w: f.reshape(1000), "the values cannot be arranged in that shape"),
    ("occlusion_map", lambda s, c, side, size: c.reshape(1000), "the values cannot be arranged in that shape"),
    ("cam", lambda f, w: sum(w[k] * f[k] for k in range(99)), "an index is too large"),
    ("cam", lambda f, w: f[0, 0, 0, 0], "more indices in the brackets"),
    ("cam", lambda f, w: f.sum(7), "the array does not have that axis"),
    ("occlusion_map", lambda s, c, side, size: c.sum(7), "the array does not have that axis"),
    ("cam", lambda f, w: f[1.0], "an index must be an integer"),
    ("max_box_acc", lambda hits: torch.as_tensor(hits).mean(0), "True and False must become numbers first"),
    ("max_box_acc", lambda hits: 1 - (hits - hits), "True and False must become numbers first"),
    ("cam", lambda f, w: torch.einsum("kh,k->h", f, w), "the letters of einsum do not fit"),
    ("acol_loss", lambda a, b, t: a.numpy().mean().gather(0), "use the functions of torch here"),
    ("acol_loss", lambda a, b, t: a.mul_(2).detach().missing, "which stops its gradient"),
    ("acol_loss", lambda a, b, t: F.cross_entropy(a, t), "cross_entropy takes logits (B, C)"),
    ("hide_class", lambda w, c: w.sub_(w[c]), "by a part of itself"),
    ("iou", lambda a, b: a - b, "a tuple cannot be computed with"),
    ("cam", lambda f, w: torch.as_tensor(f).max(0)[0, 1], "takes one index: t[0]"),
    ("cam", lambda f, w: f * w.undefined_name if False else undefined, "the name undefined is not defined: check its"),  # noqa: F821
    ("box", lambda m: boxes.box_from_map(m), "help(box_from_map) shows what it takes"),
    ("iou", lambda a: 0, "the check calls it with 2 arguments (a, b), so it must take as many"),
    ("iou", lambda a, b: a(b), "round brackets follow something that is not a function"),
    ("iou", lambda a, b: 1 / (a[0] - a[0]), "something is divided by 0"),
    ("deletion_score", lambda p: p[:0].max(), "nothing is left to choose from"),
    ("deletion_score", lambda p: p + ..., "there is still a ... to fill in"),
    ("softmax", softmax_as_a_sum, "the variable total is used before it gets a value"),
]


@pytest.mark.parametrize("name, answer, said", STOPPED, ids=[f"{i}-{name}" for i, (name, *_) in enumerate(STOPPED)])
def test_an_error_of_a_library_is_explained(name, answer, said):
    one = getattr(check, name)
    line = one.answer(answer)
    assert line.startswith(f"✗ {name}: ") and "your function stopped" in line
    meaning = line.rpartition("`: ")[2]  # without the line of code, which can contain what is looked for
    assert said in meaning
    assert f"check.{name}.traceback() prints Python's own message (" in line and "Traceback" not in line


def test_the_line_and_what_is_in_it_are_told():
    def reader(labels, ious):
        chosen = labels[:, None]
        return ious.take_along(chosen)

    assert check.gt_known.answer(reader) == (
        "✗ gt_known: your function stopped in line 3, `return ious.take_along(chosen)`: an array of float64, shape "
        "(10, 3) does not have .take_along. There ious is an array of float64, shape (10, 3), chosen is an array of "
        "int64, shape (10, 1). check.gt_known.traceback() prints Python's own message (AttributeError)."
    )


def test_an_error_in_a_helper_of_the_reader_names_it():
    def helper(x):
        return x.reshape(1000)

    line = check.cam.answer(lambda f, w: helper(f))
    assert "stopped in line 2 of helper, `return x.reshape(1000)`: " in line


def test_an_unknown_error_is_told_in_its_own_words():
    def reader(a, b):
        raise OSError("the disk is full.")

    assert check.iou.answer(reader).endswith(
        '`raise OSError("the disk is full.")`: OSError: the disk is full. check.iou.traceback() prints Python\'s own '
        "message (OSError)."
    )
    assert explain.words(True) == "True" and explain.words({}) == "a dict"


def test_what_stops_with_one_input_alone_is_told_with_the_input():
    def reader(scores):
        return torch.softmax(scores, 1) if len(scores) > 1 else scores.reshape(99)

    assert check.softmax.answer(reader).startswith(
        "✗ softmax: with scores of shape (1, 7) your function stopped in line"
    )


def stubs():
    """(name, source, output) of the cells of the committed lessons that check an exercise."""
    for notebook in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb")):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            found = re.search(r"^check\.(\w+)\(my_|^check\.(\w+)\(\2\)", source, re.MULTILINE)
            if cell["cell_type"] == "code" and found and found[1] != "prediction":
                texts = ["".join(output.get("text", "")) for output in cell["outputs"]]
                yield found[1] or found[2], source, "".join(texts)


STUBS = list(stubs())


def test_each_exercise_is_in_a_lesson():
    assert {name for name, *_ in STUBS} == set(check.by_lesson())


@pytest.mark.parametrize("name, source, output", STUBS, ids=[name for name, *_ in STUBS])
def test_what_a_lesson_prints_for_its_stub_is_what_is_committed(name, source, output, capsys):
    stub = ast.parse(source).body[-2]
    assert ast.unparse(stub).endswith(("return ...", f"my_{name} = ..."))
    getattr(check, name)(... if isinstance(stub, ast.Assign) else lambda *_: ...)
    assert capsys.readouterr().out == output == f"… {name}: not attempted yet. check.{name}.hint() helps.\n"

"""Maps of one class for each image, and what lessons 03 and 03b count on them."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cambook import networks
from cambook.course import explore
from cambook.course.lessons import check
from cambook.course.lessons import class_maps as lesson
from cambook.maps import class_activation_map, tight_box, upsample


def test_each_image_gets_the_map_of_its_own_class():
    features, weight = torch.randn(3, 5, 4, 4), torch.randn(2, 5)
    classes = torch.tensor([1, 0, 1])
    every = upsample(class_activation_map(features, weight), 8)
    found = lesson.class_maps(features, weight, classes, 8)
    assert found.shape == (3, 8, 8)
    torch.testing.assert_close(found, every[torch.arange(3), classes])


@pytest.mark.parametrize("rule", ["paper", "wsol"])
def test_maps_are_drawn_as_their_rule_reads_them(rule):
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    values[2] = -1 - values[2] ** 2
    read = lesson.as_read(values, rule)
    assert read.min() >= 0 and read.max() <= 1
    for one, wanted in zip(read, values, strict=True):
        np.testing.assert_allclose(one, explore.as_rule_reads(wanted, rule), atol=1e-6)


def test_a_map_that_is_negative_everywhere_has_no_box_by_rule_paper_alone():
    below = torch.tensor([[[-3.0, -1.0], [-3.0, -3.0]]])
    assert lesson.map_boxes(below, "paper", 0.2) == [None]
    assert lesson.map_boxes(below, "wsol", 0.2)[0].tolist() == [1, 0, 2, 1]


def test_a_square_in_the_middle_is_right_for_an_object_in_the_middle():
    truth = [np.array([[16, 16, 48, 48]]), np.array([[0, 0, 20, 20]])]
    assert lesson.middle_correct(32, 64, truth).tolist() == [True, False]


def test_a_perfect_map_keeps_the_share_of_each_cell():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :2] = True
    coarse = lesson.perfect_maps(mask, 2)
    assert coarse.shape == (1, 8, 8) and coarse[0, 0, 0] == 0.5 and coarse[0, 0, 7] == 0
    torch.testing.assert_close(lesson.perfect_maps(mask, 8)[0], mask[0].float())


def test_a_perfect_outline_covers_the_object_and_an_inverted_one_nothing():
    mask = torch.zeros(2, 6, 6, dtype=torch.bool)
    mask[0, 1:4, 1:3] = mask[1, 2:, 2:] = True
    noise = 0.1 * torch.rand(2, 6, 6)
    assert lesson.object_covered(mask.float() + noise, mask) == 100
    assert lesson.object_covered(noise[:1] - mask[:1].float(), mask[:1]) == 0


def test_a_peak_counts_for_the_half_it_lies_in():
    maps = torch.zeros(2, 2, 3, 6)
    maps[0, 0, 2, 2] = maps[0, 1, 0, 3] = 1  # the columns beside the border, each on its own side
    maps[1, 0, 1, 5] = maps[1, 1, 1, 0] = 1
    assert lesson.peak_in_own_half(maps).tolist() == [[True, True], [False, False]]


def test_windows_fit_the_image_and_are_as_many_as_the_formula_says():
    sizes = [(10, 20), (30, 7)]
    windows = np.array(lesson.sliding_windows(64, 48, sizes, 5))
    assert len(windows) == sum(((64 - w) // 5 + 1) * ((48 - h) // 5 + 1) for w, h in sizes)
    assert windows.min() == 0 and windows[:, 2].max() <= 64 and windows[:, 3].max() <= 48


class Brightness(torch.nn.Module):
    """Scores an image by how bright it is: class 1 for bright ones."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([-mean, mean], 1), None


def test_the_best_window_is_the_one_that_shows_the_class():
    images = torch.zeros(2, 3, 8, 8)
    images[0, :, :4, :4] = images[1, :, 4:, 4:] = 1
    windows = [(0, 0, 8, 8), (0, 0, 4, 4), (4, 4, 8, 8)]
    found = lesson.best_windows(Brightness(), images, torch.tensor([1, 1]), windows)
    assert found.tolist() == [[0, 0, 4, 4], [4, 4, 8, 8]]
    darkest = lesson.best_windows(Brightness(), images, torch.tensor([0, 0]), windows)
    assert darkest.tolist() == [[4, 4, 8, 8], [0, 0, 4, 4]]


def test_the_steps_to_a_box_belong_together():
    network = networks.build("mini-gap", classes=3, seed=0)
    image = torch.rand(3, 64, 64)
    steps = lesson.steps_to_a_box(network, image, 1, "wsol", 0.3)
    assert steps["feature_maps"].shape[0] == steps["weights"].shape[0] == network.class_weight.shape[1]
    torch.testing.assert_close(steps["map2d"], torch.einsum("khw,k->hw", steps["feature_maps"], steps["weights"]))
    assert steps["mask"].shape == (64, 64) and steps["mask"].any()
    x0, y0, x1, y1 = steps["box"]
    inside = np.zeros((64, 64), bool)
    inside[y0:y1, x0:x1] = True
    assert (steps["mask"] & inside).any(0)[x0:x1].all() and (steps["mask"] & inside).any(1)[y0:y1].all()


def attention_from_the_corner(feature_maps):
    height, width = feature_maps.shape[1:]
    shares = np.exp(-np.add.outer(np.arange(height), np.arange(width)))
    return (np.asarray(feature_maps) * shares / shares.sum()).sum((1, 2))


RIGHT = [
    ("own_pooling", attention_from_the_corner),
    ("own_pooling", lambda f: f[:, 0, 0]),
    ("own_pooling", lambda f: f.mean(2)[:, :2].sum(1) - f.mean((1, 2)).numpy()),
    ("own_level", lambda m: np.mean(m) + np.std(m)),
    ("own_level", lambda m: float(torch.from_numpy(m).quantile(0.8))),
    ("own_level", lambda m: np.median(m) + 3 * np.median(abs(m - np.median(m)))),
    ("why_rather", lambda f, w, c, d: np.tensordot(w[c].numpy() - w[d].numpy(), f.numpy(), 1)),
    ("why_rather", lambda f, w, c, d: sum((w[c, k] - w[d, k]) * f[k] for k in range(len(f)))),
    ("covered", lambda m, o: 100 * o.ravel()[np.argsort(-m, axis=None)[: o.sum()]].mean()),
]


def own_half_in_loops(maps):
    right = 0
    for of_left, of_right in maps.tolist():
        for one, half in ((of_left, 0), (of_right, 1)):
            peaks = [max(column) for column in zip(*one, strict=True)]
            right += (peaks.index(max(peaks)) >= len(peaks) // 2) == half
    return 50 * right / len(maps)


def boxes_by_labels(map2d):
    labels, count = ndimage.label(map2d > 0.25 * map2d.max())
    found = ndimage.find_objects(labels)
    return [
        (x.start, y.start, x.stop, y.stop)
        for number, (y, x) in enumerate(found, start=1)
        if (labels == number).sum() > 20
    ]


def boxes_of_a_smoothed_map(map2d):
    smooth = ndimage.gaussian_filter(map2d, 1.5)
    labels, _ = ndimage.label(smooth > 0.25 * smooth.max())
    pieces = [labels == number for number in range(1, labels.max() + 1)]
    return np.array([tight_box(piece) for piece in pieces if smooth[piece].max() > 0.4 * smooth.max()])


@pytest.mark.parametrize(
    "name, answer",
    [
        *RIGHT,
        ("own_half", own_half_in_loops),
        ("every_object", boxes_by_labels),
        ("every_object", boxes_of_a_smoothed_map),
    ],
)
def test_right_answers_in_several_styles_are_accepted(name, answer):
    assert check.EXERCISES[name].answer(answer) == f"✓ {name}: correct."

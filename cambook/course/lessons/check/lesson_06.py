"""Lesson 06: occlusion by hand, the deletion score, rank correlation, what stands in place of deleted pixels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cambook.course.lessons.check.exercise import exercise
from cambook.course.lessons.check.task import task


@exercise(
    "the occlusion map of an image of size by size pixels. covered[i, j] is the score with a square of `side` pixels "
    "over rows i to i + side - 1, columns j to j + side - 1; a pixel gets the mean fall over the squares that cover it",
    inputs=lambda g: [
        (float(g.normal()), g.standard_normal((size - side + 1,) * 2), side, size)
        for side, size in ((1, 3), (2, 4), (3, 6))
    ],
    hints=[
        "The fall of square (i, j) is score - covered[i, j]: positive if what is covered was needed.",
        "Two arrays of zeros (size, size): add the fall to total[i:i + side, j:j + side] and 1 to count there.",
        "The map is total / count.",
    ],
)
def occlusion_map(score, covered, side, size):
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for i in range(len(covered)):
        for j in range(len(covered)):
            total[i : i + side, j : j + side] += score - covered[i, j]
            count[i : i + side, j : j + side] += 1
    return total / count


@occlusion_map.mistake("the sign is turned: a position that is needed makes the score fall, so take score - covered")
def rise(score, covered, side, size):
    return -occlusion_map.reference(score, covered, side, size)


@occlusion_map.mistake("you summed over the squares that cover a pixel; there are more in the middle: take the mean")
def total_only(score, covered, side, size):
    total = np.zeros((size, size))
    for i, j in np.ndindex(*covered.shape):
        total[i : i + side, j : j + side] += score - covered[i, j]
    return total


@occlusion_map.mistake("this is the mean score of the covered images; take how much it fell from the whole image's")
def no_fall(score, covered, side, size):
    return score - occlusion_map.reference(score, covered, side, size)


@occlusion_map.mistake("you gave each fall to the square's first pixel only; every pixel under it counts")
def corner_only(score, covered, side, size):
    result = np.zeros((size, size))
    result[: len(covered), : len(covered)] = score - covered
    return result


@exercise(
    "the deletion score: the area under probabilities (steps + 1,), evenly spaced from 0 (nothing deleted) to 1 (all "
    "deleted), by trapezoids",
    inputs=lambda g: [(np.sort(g.random(count))[::-1].copy(),) for count in (2, 5, 11)],
    hints=[
        "Between two neighbouring points the area is their mean times the step's width.",
        "The width is 1 / steps, and there are len(probabilities) - 1 steps.",
        "((p[1:] + p[:-1]) / 2).mean()",
    ],
)
def deletion_score(probabilities):
    return ((probabilities[1:] + probabilities[:-1]) / 2).mean()


@deletion_score.mistake("this is the plain mean of the points; the two at the ends have only half a step each")
def plain_mean(probabilities):
    return probabilities.mean()


@deletion_score.mistake("the width of a step is missing: the curve runs from 0 to 1, not from 0 to the number of steps")
def unit_steps(probabilities):
    return ((probabilities[1:] + probabilities[:-1]) / 2).sum()


@deletion_score.mistake("you took the higher end of each step; a trapezoid takes the mean of both ends")
def upper_sum(probabilities):
    return probabilities[:-1].mean()


@deletion_score.mistake("this is the area above the curve; low is good here because it is the area below")
def area_above(probabilities):
    return 1 - deletion_score.reference(probabilities)


def _pairs_of_maps(g):
    """Of the same order in part, and of nearly the reverse order; the cube keeps the order and changes the values."""
    pairs = []
    for sign, shape in ((1, (2, 3)), (-1, (3, 4)), (-1, (5, 5))):
        a = g.standard_normal(shape)
        pairs.append((a**3, sign * a + g.standard_normal(shape)))
    return pairs


@exercise(
    "Spearman's rank correlation of two maps (h, w) without equal values: the Pearson correlation of their ranks",
    inputs=_pairs_of_maps,
    hints=[
        "Flatten first. x.argsort().argsort() gives the rank of each value.",
        "np.corrcoef(ranks_a, ranks_b)[0, 1] is the correlation of two rows of numbers.",
    ],
)
def spearman(a, b):
    ranks_a, ranks_b = a.ravel().argsort().argsort(), b.ravel().argsort().argsort()
    return np.corrcoef(ranks_a, ranks_b)[0, 1]


@spearman.mistake("this is the correlation of the values; take that of their ranks, so that only the order counts")
def of_values(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@spearman.mistake("one argsort gives the positions in order, not the rank of each position: apply argsort twice")
def one_argsort(a, b):
    return np.corrcoef(a.ravel().argsort(), b.ravel().argsort())[0, 1]


@spearman.mistake(
    "argsort works row by row here, so these are ranks within each row; flatten the maps first, as in a.ravel()"
)
def ranks_within_rows(a, b):
    ranks_a, ranks_b = a.argsort(1).argsort(1), b.argsort(1).argsort(1)
    return np.corrcoef(ranks_a.ravel(), ranks_b.ravel())[0, 1]


@spearman.mistake(
    "argsort works row by row here, and one argsort gives positions, not ranks: flatten the maps first (a.ravel()), "
    "then apply argsort twice"
)
def one_argsort_within_rows(a, b):
    return np.corrcoef(a.argsort(1).ravel(), b.argsort(1).ravel())[0, 1]


@spearman.mistake(
    "np.corrcoef takes each row of an array for a quantity of its own, so you compared two rows of one map; flatten "
    "both maps first, as in a.ravel()"
)
def without_flattening(a, b):
    return np.corrcoef(a.argsort(1).argsort(1), b.argsort(1).argsort(1))[0, 1]


@spearman.mistake("you took the size without the sign; a reversed map must give -1")
def without_sign(a, b):
    return abs(spearman.reference(a, b))


def _photograph(side=48):
    """A scene of a smooth background, a textured disc and a bar, (3, side, side) in [0, 1]."""
    y, x = np.mgrid[:side, :side] / side
    texture = np.random.default_rng(5).random((3, side, side))
    image = np.stack([0.3 + 0.3 * x, 0.35 + 0.25 * y, 0.6 - 0.3 * x]) + 0.1 * (texture - 0.5)
    disc = (x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.06
    image[:, disc] = 0.15 + 0.75 * texture[:, disc]
    image[:, 4:9, 6:40] = np.array([0.9, 0.1, 0.2])[:, None, None]
    return image


def _detail(image):
    """What a Gaussian blur of a sixteenth of the side takes away."""
    return image - ndimage.gaussian_filter(image, (0, *[side / 16 for side in image.shape[1:]]))


def _shape(image):
    """What remains between two Gaussian blurs, of a 24th and of an eighth of the side: outlines without texture."""
    fine, coarse = (ndimage.gaussian_filter(image, (0, *[side / by for side in image.shape[1:]])) for by in (24, 8))
    return fine - coarse


def _likeness(a, b):
    """The largest correlation, of either sign, of square images a and b, with b mirrored, turned and shifted at
    will."""
    turned = [np.rot90(each, quarters, (1, 2)) for each in (b, b[:, :, ::-1]) for quarters in range(4)]
    spectrum = np.conj(np.fft.fft2(a))
    products = [np.fft.ifft2((spectrum * np.fft.fft2(each)).sum(0)).real for each in turned]
    return np.abs(products).max() / (np.linalg.norm(a) * max(np.linalg.norm(b), 1e-9))


def strong_blur(image):
    return ndimage.gaussian_filter(np.asarray(image), (0, image.shape[1] / 4, image.shape[2] / 4))


@task(
    "what stands in place of deleted pixels: from an image (3, h, w) in [0, 1] another one of its size, which the "
    "network could have met but which does not show the object any more",
    hints=[
        "A deleted pixel must hold something. Grey is one choice; what would surprise a network less?",
        "A strong blur, the mean colour of the border, noise of the image's own colours: each is an answer.",
        "ndimage.gaussian_filter(image, (0, 12, 12)) blurs rows and columns and leaves the colours apart.",
    ],
    example=strong_blur,
)
def replacement(function):
    image = _photograph()
    given = image.copy()
    result = np.asarray(function(given), dtype=float)
    if not np.array_equal(given, image):
        yield "your function changes the image that it is given; work on a copy, since what is left of it is shown too"
    if result.shape != image.shape:
        yield f"a pixel needs its replacement: give shape {image.shape} back, not {result.shape}"
    if not np.isfinite(result).all() or result.min() < -1e-6 or result.max() > 1 + 1e-6:
        yield f"images lie between 0 and 1, and yours runs from {result.min():.3g} to {result.max():.3g}"
    if np.abs(result - image).mean() < 0.01:
        yield "this is the image itself, so nothing would be deleted"
    fine, left = _detail(image), _detail(result)
    kept = (fine * left).sum() / (np.linalg.norm(fine) * max(np.linalg.norm(left), 1e-9))
    visible = np.linalg.norm(left) > 0.05 * np.linalg.norm(fine)
    if visible and abs(kept) > 0.5:
        yield (
            f"the object is still there: your edges and textures are those of the image (correlation {kept:.2f}); "
            "take more of them away"
        )
    if visible and _likeness(fine, left) > 0.5:
        yield (
            "the object is still there, only mirrored, turned or moved: its edges and textures are in your image at "
            "another position; take them away"
        )
    shape, left = _shape(image), _shape(result)
    if np.linalg.norm(left) > 0.45 * np.linalg.norm(shape) and _likeness(shape, left) > 0.8:
        yield "the object is still there: its texture is gone, but its outline shows; blur much more, or fill otherwise"
    other = np.asarray(function(_photograph()[:, :32, :40].copy()), dtype=float)
    if other.shape != (3, 32, 40):
        yield f"an image of another size, (3, 32, 40), must keep its size, too, and got {other.shape}"


@replacement.wrong
def the_image(image):
    return image


@replacement.wrong
def darker(image):
    return image / 2


@replacement.wrong
def mirrored(image):
    return image[:, :, ::-1]


@replacement.wrong
def moved(image):
    return np.roll(image, image.shape[2] // 3, 2)


@replacement.wrong
def negative(image):
    return 1 - image


@replacement.wrong
def weak_blur(image):
    return ndimage.uniform_filter(np.asarray(image), (0, 5, 5))


@replacement.wrong
def weak_blur_mirrored(image):
    return weak_blur(image)[:, :, ::-1]


@replacement.wrong
def in_place(image):
    image[:] = 0.5
    return image


@replacement.wrong
def one_colour(image):
    return np.asarray(image).mean((1, 2))


@replacement.wrong
def out_of_range(image):
    return np.asarray(image) * 0 - 1


@replacement.wrong
def of_one_size(image):
    return np.full((3, 48, 48), 0.5)

"""Lesson 10: questions, sentences and windows, and what their maps point at."""

from __future__ import annotations

import numpy as np

from cambook.course.lessons.check.exercise import exercise


def _log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@exercise(
    "The accuracy in percent of answering without the image: for each question the answer it most often has",
    inputs=lambda g: [
        (np.array([0, 0, 0, 0, 1, 1, 2]), np.array([5, 5, 5, 4, 1, 3, 4])),
        (g.integers(0, 4, 40), g.integers(0, 3, 40)),
        (g.integers(0, 6, 25), g.integers(0, 2, 25)),
        (np.array([3, 3, 3, 8, 8, 8, 8]), np.array([1, 0, 0, 2, 6, 6, 2])),
    ],
    hints=[
        "Take the questions one by one: np.unique(questions). Among the answers to one question, how often is the most "
        "frequent one?",
        "np.bincount(answers[questions == q]).max() counts it. Add these counts up over the questions.",
        "Divide by the number of all questions asked, and multiply by 100.",
    ],
)
def question_only_accuracy(questions, answers):
    right = sum(np.bincount(answers[questions == q]).max() for q in np.unique(questions))
    return 100 * right / len(answers)


@question_only_accuracy.mistake("you took one answer for all questions; each question has its own most frequent one")
def one_answer(questions, answers):
    return 100 * np.bincount(answers).max() / len(answers)


@question_only_accuracy.mistake(
    "you gave each question the answer that it has first; give it the answer that it has most often"
)
def first_answer(questions, answers):
    return 100 * np.mean([answers[questions == q][0] == answer for q, answer in zip(questions, answers, strict=True)])


@question_only_accuracy.mistake("you averaged over the questions; one that is asked more often counts more often")
def each_question_once(questions, answers):
    return 100 * np.mean([np.bincount(answers[questions == q]).max() / (questions == q).sum() for q in set(questions)])


@question_only_accuracy.mistake("this is a share between 0 and 1; give percent")
def share_of_questions(questions, answers):
    return question_only_accuracy.reference(questions, answers) / 100


def _captions(g):
    """The last with logits near 1000 at one step and near -1000 at another."""
    result = [(3 * g.standard_normal((length, 9)), g.integers(0, 9, length)) for length in (1, 4, 6)]
    return [*result, (g.standard_normal((3, 5)) + np.array([[1000], [0], [-1000]]), g.integers(0, 5, 3))]


@exercise(
    "log P(sentence): logits (L, V) score every word of the vocabulary at each of L steps, words (L,) are those said; "
    "right for logits of any size",
    inputs=_captions,
    hints=[
        "At each step: the logarithm of the softmax, at the position of the word that is said.",
        "log softmax(y)_w = y_w - log(sum of exp(y)); and subtracting one number from all logits of a step changes "
        "nothing, so subtract the largest before exp, which cannot take 1000.",
        "A sentence's probability is a product, so its logarithm is the sum over the steps.",
    ],
)
def caption_log_probability(logits, words):
    shifted = logits - logits.max(1, keepdims=True)
    chosen = shifted[np.arange(len(words)), words]
    return (chosen - np.log(np.exp(shifted).sum(1))).sum()


@caption_log_probability.mistake(
    "right for small logits, but exp(1000) is too large for a number and exp(-1000) is 0: subtract each step's largest "
    "logit before exp"
)
def overflowing(logits, words):
    return (logits[np.arange(len(words)), words] - np.log(np.exp(logits).sum(1))).sum()


@caption_log_probability.mistake(
    "right for small logits, but you subtracted one maximum for the whole sentence, and exp(-1000) is 0: subtract each "
    "step's own largest logit before exp"
)
def one_maximum_for_all(logits, words):
    return overflowing(logits - logits.max(), words)


@caption_log_probability.mistake("you added the logits; first turn each step into log-probabilities")
def logits_added(logits, words):
    return logits[np.arange(len(words)), words].sum()


@caption_log_probability.mistake("this is the probability; give its logarithm")
def no_logarithm(logits, words):
    return np.exp(caption_log_probability.reference(logits, words))


@caption_log_probability.mistake("you averaged over the words; the logarithm of a product is the sum")
def mean_of_words(logits, words):
    return _log_softmax(logits)[np.arange(len(words)), words].mean()


@caption_log_probability.mistake("the sign is wrong: a log-probability is never above 0 (its negative is the loss)")
def the_loss(logits, words):
    return -caption_log_probability.reference(logits, words)


@caption_log_probability.mistake("you took the most likely word of each step; take the word that is said")
def likeliest_words(logits, words):
    return _log_softmax(logits).max(1).sum()


@exercise(
    "The window (x0, y0, x1, y1) of a box: a square as wide as its longer side, with the box in its middle, moved into "
    "the image of `size` pixels",
    inputs=lambda g: [
        ((20.0, 24.0, 40.0, 34.0), 64),
        ((0.0, 10.0, 6.0, 40.0), 64),
        ((50.0, 56.0, 64.0, 62.0), 64),
        ((8.0, 50.0, 38.0, 64.0), 64),
        ((0.0, 20.0, 32.0, 24.0), 32),
        ((20.0, 24.0, 41.0, 34.0), 64),
    ],
    hints=[
        "side = max(x1 - x0, y1 - y0). The middle of the box is at ((x0 + x1) / 2, (y0 + y1) / 2).",
        "The corner is half a side before the middle, but not before 0 and not after size - side.",
        "min(max(corner, 0), size - side) moves it into the image; the square keeps its side.",
    ],
)
def crop_window(box, size):
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    left = min(max((x0 + x1 - side) / 2, 0), size - side)
    top = min(max((y0 + y1 - side) / 2, 0), size - side)
    return left, top, left + side, top + side


@crop_window.mistake("the window leaves the image; move its corner to 0 or to size - side if it does")
def not_moved(box, size):
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    return left, top, left + side, top + side


@crop_window.mistake("you cut off what leaves the image, so it is not a square any more; move the window instead")
def cut_off(box, size):
    return tuple(min(max(edge, 0), size) for edge in not_moved(box, size))


@crop_window.mistake("you took the shorter side; then a part of the box lies outside the window")
def shorter_side(box, size):
    x0, y0, x1, y1 = box
    side = min(x1 - x0, y1 - y0)
    left, top = (min(max((a + b - side) / 2, 0), size - side) for a, b in ((x0, x1), (y0, y1)))
    return left, top, left + side, top + side


BETWEEN_PIXELS = "the middle of a box may lie between two pixels: keep halves as they are, without int(), round() or //"


@crop_window.mistake(BETWEEN_PIXELS)
def whole_pixels(box, size):
    return tuple(int(edge) for edge in crop_window.reference(box, size))


@crop_window.mistake(BETWEEN_PIXELS)
def rounded(box, size):
    return tuple(round(edge) for edge in crop_window.reference(box, size))


@crop_window.mistake(
    "half of an odd side and the middle of a box may lie between two pixels: divide with /, not with //"
)
def whole_halves(box, size):
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    left, top = (min(max((a + b) // 2 - side // 2, 0), size - side) for a, b in ((x0, x1), (y0, y1)))
    return left, top, left + side, top + side


@crop_window.mistake("the window starts at the box's corner; the box should be in its middle")
def from_the_corner(box, size):
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    left, top = min(x0, size - side), min(y0, size - side)
    return left, top, left + side, top + side


def _two_objects(g):
    result = []
    for count, side in ((12, 4), (30, 5)):
        masks = np.zeros((count, 2, side, side), bool)
        masks[:, 0, :, : side // 2] = g.random((count, side, side // 2)) < 0.7
        masks[:, 1, :, side // 2 :] = g.random((count, side, side - side // 2)) < 0.4
        result.append((g.random((count, side, side)), masks))
    return [*result, _shared_maxima()]


def _shared_maxima():
    """Maps whose maximum occurs twice: first on the first object, on the second, on neither, and once only."""
    maps = np.zeros((4, 2, 3))
    masks = np.zeros((4, 2, 2, 3), bool)
    masks[:, 0, :, 0], masks[:, 1, :, 2] = True, True
    for i, (first, second) in enumerate((((0, 0), (1, 2)), ((0, 2), (1, 0)), ((0, 1), (1, 2)), ((1, 0), (1, 0)))):
        maps[i][first] = maps[i][second] = 1
    return maps, masks


@exercise(
    "The share of maps, in percent, whose maximum (the first along the rows, if several are equal) lies on the first "
    "object, and on the second: two numbers; maps (N, h, w), masks (N, 2, h, w)",
    inputs=_two_objects,
    hints=[
        "maps.reshape(N, -1).argmax(1) is the position of each maximum, counted along the rows (the first, if several "
        "are equal).",
        "masks.reshape(N, 2, -1)[np.arange(N), :, positions] says for both objects whether it lies on them: (N, 2).",
        "100 * its mean over the maps (axis 0).",
    ],
)
def pointing_rates(maps, masks):
    count = len(maps)
    positions = maps.reshape(count, -1).argmax(1)
    return 100 * masks.reshape(count, 2, -1)[np.arange(count), :, positions].mean(0)


@pointing_rates.mistake("you measured how much of the map lies on each object; ask only where its maximum lies")
def share_of_the_map(maps, masks):
    return 100 * ((maps[:, None] * masks).sum((2, 3)) / maps.sum((1, 2))[:, None]).mean(0)


@pointing_rates.mistake(
    "if several positions share a map's maximum, you counted a hit if any of them lies on the object; a map points "
    "at one position, so take the first along the rows, as argmax does"
)
def any_maximum(maps, masks):
    highest = maps == maps.max((1, 2), keepdims=True)
    return 100 * (highest[:, None] & masks).any((2, 3)).mean(0)


@pointing_rates.mistake("one map's maximum was taken for all; each map has its own")
def one_maximum(maps, masks):
    y, x = np.unravel_index(maps.argmax() % maps[0].size, maps[0].shape)
    return 100 * masks[:, :, y, x].mean(0)


@pointing_rates.mistake("you compared the two objects only; a maximum may lie on neither")
def on_either(maps, masks):
    highest = (maps[:, None] * masks).max((2, 3))
    return 100 * np.stack([highest[:, 0] >= highest[:, 1], highest[:, 1] > highest[:, 0]], 1).mean(0)


@pointing_rates.mistake("these are shares between 0 and 1; give percent")
def as_shares(maps, masks):
    return pointing_rates.reference(maps, masks) / 100

"""Lesson 07: labels that are guessed or wrong, and images that are worth a label."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task


def _logits(g):
    """With images of which several classes reach the confidence, and with images that reach it exactly."""
    result = [(3 * normal(g, n, c), t) for n, c, t in ((12, 3, 0.8), (20, 5, 0.6), (9, 4, 0.9))]
    exact = normal(g, 5, 3)
    exact[1], exact[3] = torch.tensor([0.0, 100, 0]), torch.tensor([0.0, 0, 100])  # a probability of 1, to the last bit
    return [*result, (normal(g, 6, 3), 0.3), (exact, 1.0)]


@exercise(
    "row numbers and classes of the images whose most likely class has at least this probability",
    inputs=_logits,
    hints=[
        "The softmax makes probabilities of logits; the most likely class and its probability: .max(1).",
        "torch.nonzero(condition)[:, 0] gives the row numbers where it is True.",
        "probability, guess = logits.softmax(1).max(1); sure = torch.nonzero(probability >= confidence)[:, 0]",
    ],
)
def sure_labels(logits, confidence):
    probability, guess = logits.softmax(1).max(1)
    sure = torch.nonzero(probability >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("a probability of exactly the confidence is enough: at least means >=, not >")
def more_than(logits, confidence):
    probability, guess = logits.softmax(1).max(1)
    sure = torch.nonzero(probability > confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake(
    "you took every class that reaches the confidence; an image gets one label at most, its most likely class"
)
def every_class(logits, confidence):
    sure = torch.nonzero(logits.softmax(1) >= confidence)
    return sure[:, 0], sure[:, 1]


@sure_labels.mistake("you compared logits with the confidence; take the softmax first")
def raw_logits(logits, confidence):
    score, guess = logits.max(1)
    sure = torch.nonzero(score >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("you kept every image; keep those that reach the confidence")
def all_of_them(logits, confidence):
    return torch.arange(len(logits)), logits.argmax(1)


@sure_labels.mistake("you kept the images of which the network is NOT sure")
def unsure(logits, confidence):
    probability, guess = logits.softmax(1).max(1)
    left = torch.nonzero(probability < confidence)[:, 0]
    return left, guess[left]


@sure_labels.mistake("the softmax runs over the classes (axis 1), not over the images")
def over_the_pictures(logits, confidence):
    probability, guess = logits.softmax(0).max(1)
    sure = torch.nonzero(probability >= confidence)[:, 0]
    return sure, guess[sure]


@sure_labels.mistake("give the classes of the sure images only, as many as there are row numbers")
def every_guess(logits, confidence):
    return sure_labels.reference(logits, confidence)[0], logits.argmax(1)


def _noise(g):
    result = []
    for count, classes in ((15, 4), (9, 3), (30, 12)):
        labels, moves = g.integers(0, classes, count), g.integers(1, classes, count)
        wrong = g.random(count) < 0.4
        labels[0], moves[0], wrong[0], wrong[1] = classes - 1, 1, True, False
        result.append((labels, wrong, moves, classes))
    return result


@exercise(
    "labels in which the marked ones become ANOTHER class: moves says by how many classes, from 1 to classes - 1",
    inputs=_noise,
    hints=[
        "A label that moves on by 1 to classes - 1, round in a circle, never lands on itself.",
        "% classes closes the circle; np.where(wrong, a, b) takes a where wrong is True, else b.",
        "np.where(wrong, (labels + moves) % classes, labels)",
    ],
)
def flipped_labels(labels, wrong, moves, classes):
    return np.where(wrong, (labels + moves) % classes, labels)


@flipped_labels.mistake(
    "the result is right, but labels[wrong] = ... also changes the labels that were passed in; begin with "
    "labels = labels.copy(), or use np.where"
)
def flipped_in_place(labels, wrong, moves, classes):
    labels[wrong] = (labels + moves)[wrong] % classes
    return labels


@flipped_labels.mistake("a label ran past the last class; % classes closes the circle")
def past_the_end(labels, wrong, moves, classes):
    return np.where(wrong, labels + moves, labels)


@flipped_labels.mistake("you changed every label; change those marked wrong only")
def every_label(labels, wrong, moves, classes):
    return (labels + moves) % classes


@flipped_labels.mistake("you changed the labels that should stay")
def the_others(labels, wrong, moves, classes):
    return np.where(wrong, labels, (labels + moves) % classes)


@flipped_labels.mistake(
    "moves says how far a label goes, not where to: as a class of its own it could be the right one again"
)
def as_classes(labels, wrong, moves, classes):
    return np.where(wrong, moves, labels)


# ---- the open task ----


def least_sure(logits, n):
    return logits.softmax(1).amax(1).argsort()[:n]


def _some_sure():
    """Logits (12, 4) of which rows 1, 3, 5 ... are sure, those rows, and a number for each row."""
    g = np.random.default_rng(7)
    logits, sure = torch.from_numpy(0.4 * g.standard_normal((12, 4))), np.arange(1, 12, 2)
    logits[sure, torch.from_numpy(g.integers(0, 4, 6))] += 8
    return logits, sure, torch.from_numpy(20 * g.standard_normal((12, 1)))


@task(
    "row numbers of the n images that an annotator should label next, from the logits (N, C) of the network so far",
    hints=[
        "Where the network is sure already, a label teaches it little. What says how sure it is?",
        "The probability of the most likely class is low where the network is unsure; so is the gap between the two "
        "most likely classes, and the entropy is high there.",
        "logits.softmax(1).amax(1).argsort() lists the rows from unsure to sure.",
    ],
    example=least_sure,
)
def worth_labelling(function):
    logits, sure, moved = _some_sure()
    for n in (3, 6):
        chosen = np.asarray(function(logits.clone(), n)).reshape(-1)
        if chosen.shape != (n,) or len(set(chosen.tolist())) != n:
            yield f"for n={n} give {n} different row numbers, not {chosen.tolist()}"
        if not all(float(row) == int(row) and 0 <= row < len(logits) for row in chosen):
            yield f"row numbers are whole, from 0 to N - 1, not {chosen.tolist()}"
        if wasted := sorted(set(chosen.astype(int).tolist()) & set(sure.tolist())):
            yield (
                f"you spend a label on image {wasted[0]}, whose class the network already gives more than 99%, and "
                "leave out one of which it is unsure"
            )
        if set(np.asarray(function(logits + moved, n)).tolist()) != set(chosen.tolist()):
            yield (
                "your choice changes if the same number is added to all logits of an image, although its probabilities "
                "stay as they are; begin with the softmax"
            )
        if set(np.asarray(function(logits.flip(1), n)).tolist()) != set(chosen.tolist()):
            yield "your choice changes if the classes are numbered in another order; treat all classes alike"


@worth_labelling.wrong
def surest(logits, n):
    return logits.softmax(1).amax(1).argsort(descending=True)[:n]


@worth_labelling.wrong
def first_rows(logits, n):
    return torch.arange(n)


@worth_labelling.wrong
def one_row_again_and_again(logits, n):
    return logits.softmax(1).amax(1).argmin().repeat(n)


@worth_labelling.wrong
def lowest_logit(logits, n):
    return logits.amax(1).argsort()[:n]


@worth_labelling.wrong
def by_one_class(logits, n):
    return (logits.softmax(1)[:, 0] - 0.25).abs().argsort()[:n]

"""Lesson 00, the self-check of what the course builds on: convolution, softmax, one step of training."""

from __future__ import annotations

import torch

from cambook.course.lessons.check.exercise import exercise, normal


@exercise(
    "the convolution of an image with a 3 by 3 kernel, without padding",
    inputs=lambda g: [(normal(g, 5, 5), normal(g, 3, 3)), (normal(g, 4, 7), normal(g, 3, 3))],
    hints=[
        "Without padding the kernel fits at H - 2 times W - 2 positions.",
        "At each position: cut out 3 by 3 pixels, multiply them with the kernel cell by cell, add the nine products.",
        "result[y, x] = (image[y:y + 3, x:x + 3] * kernel).sum(), in two loops.",
    ],
)
def convolution(image, kernel):
    height, width = image.shape
    result = torch.zeros(height - 2, width - 2, dtype=image.dtype)
    for y in range(height - 2):
        for x in range(width - 2):
            result[y, x] = (image[y : y + 3, x : x + 3] * kernel).sum()
    return result


def _conv2d(image, kernel, padding=0):
    return torch.nn.functional.conv2d(image[None, None], kernel[None, None], padding=padding)[0, 0]


@convolution.mistake("you flipped the kernel, as mathematics does; convolution layers do not flip it")
def flipped(image, kernel):
    return _conv2d(image, kernel.flip(0, 1))


@convolution.mistake("you padded with zeros; without padding the result is two pixels smaller each way")
def padded(image, kernel):
    return _conv2d(image, kernel, padding=1)


@convolution.mistake("you averaged the nine products; a convolution adds them")
def averaged(image, kernel):
    return _conv2d(image, kernel) / 9


@convolution.mistake("rows and columns of the kernel are swapped")
def transposed(image, kernel):
    return _conv2d(image, kernel.T)


@exercise(
    "the indices of the k largest logits, largest first, and their probabilities",
    inputs=lambda g: [(normal(g, 6), 2), (normal(g, 11) * 3, 5), (normal(g, 3), 3)],
    hints=[
        "Probabilities come from the softmax over ALL classes; only then choose k.",
        "torch.softmax(logits, 0) gives them, .topk(k) gives values and indices.",
    ],
)
def top_k(logits, k):
    probabilities, indices = torch.softmax(logits, 0).topk(k)
    return indices, probabilities


@top_k.mistake("softmax was taken over the k chosen classes alone; take it over all classes, then choose")
def softmax_of_the_chosen(logits, k):
    values, indices = logits.topk(k)
    return indices, torch.softmax(values, 0)


@top_k.mistake("these are the logits; turn them into probabilities with a softmax")
def logits_returned(logits, k):
    values, indices = logits.topk(k)
    return indices, values


@top_k.mistake("these are the k smallest, or the largest come last; the largest comes first")
def smallest_first(logits, k):
    probabilities, indices = torch.softmax(logits, 0).topk(k, largest=False)
    return indices, probabilities


@top_k.mistake("you gave probabilities first and indices second; swap them")
def swapped(logits, k):
    return tuple(reversed(top_k.reference(logits, k)))


@top_k.mistake("a sigmoid judges each class on its own; the classes exclude each other, so take the softmax")
def sigmoid(logits, k):
    probabilities, indices = torch.sigmoid(logits).topk(k)
    return indices, probabilities


@exercise(
    "the weights after one step of gradient descent on the mean squared error of x @ w against y",
    inputs=lambda g: [
        (normal(g, 3), normal(g, 5, 3), normal(g, 5), 0.1),
        (normal(g, 2), normal(g, 8, 2), normal(g, 8), 0.5),
    ],
    hints=[
        "The error of image i is x[i] @ w - y[i]; the loss is the mean of their squares.",
        "The gradient is 2 / N times x.T @ (x @ w - y).",
        "Descending means going against the gradient: w - rate * gradient.",
    ],
)
def gradient_step(w, x, y, rate):
    gradient = 2 / len(x) * x.T @ (x @ w - y)
    return w - rate * gradient


@gradient_step.mistake("you went up the gradient; subtract it to make the loss smaller")
def uphill(w, x, y, rate):
    return 2 * w - gradient_step.reference(w, x, y, rate)


@gradient_step.mistake("you summed the errors; the MEAN squared error divides by the number of rows of x")
def summed(w, x, y, rate):
    return gradient_step.reference(w, x, y, rate * len(x))


@gradient_step.mistake("the 2 is missing: the derivative of a square is twice the error")
def half(w, x, y, rate):
    return gradient_step.reference(w, x, y, rate / 2)


@gradient_step.mistake("this is the gradient; take the step with it")
def gradient_only(w, x, y, rate):
    return (w - gradient_step.reference(w, x, y, rate)) / rate


@gradient_step.mistake(
    "the result is right, but w -= ... also changes the w of whoever called your function; w - ... makes a new one"
)
def step_in_place(w, x, y, rate):
    w -= rate * (2 / len(x) * x.T @ (x @ w - y))
    return w

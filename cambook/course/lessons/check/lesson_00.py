"""Lesson 00: a cover of your own, and the self-check of what the course builds on."""

from __future__ import annotations

import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task


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


def _patterned(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image (3, 32, 48) of coarse blocks in random colours, and which of its pixels are covered."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(3, 4, 6, generator=generator)
    covered = torch.zeros(32, 48, dtype=torch.bool)
    covered[5 + seed : 25 + seed, 8:40] = True
    return coarse.repeat_interleave(8, 1).repeat_interleave(8, 2), covered


def _likeness(a: torch.Tensor, b: torch.Tensor) -> float:
    """The correlation of the pixels of two cut-outs (3, n) around the mean colour of each; 0 if one is flat."""
    a, b = (each - each.mean(1, keepdim=True) for each in (a, b))
    norm = a.norm() * b.norm()
    return (a * b).sum().item() / norm.item() if norm > 1e-9 else 0.0


def _given_by(function, image, covered):
    """What the function gives for copies of its arguments, as a tensor, and whether it changed them."""
    own = image.clone(), covered.clone()
    filled = torch.as_tensor(function(*own)).double()
    return filled, not (torch.equal(own[0], image) and torch.equal(own[1], covered))


def _blurred(image, covered):
    """The mean colour of a wide neighbourhood, without the covered pixels."""
    seen = (~covered).float()[None, None]
    wide = {"kernel_size": 31, "stride": 1, "padding": 15}
    colour = torch.nn.functional.avg_pool2d(image[:, None] * seen, **wide)
    weight = torch.nn.functional.avg_pool2d(seen, **wide)
    return torch.where(covered, (colour / weight.clamp(min=1e-6))[:, 0], image)


@task(
    "an image whose covered pixels are filled in, so that nothing can be recognized under the cover",
    hints=[
        "torch.where(covered, filling, image) takes the filling where covered is True and the image elsewhere.",
        "A filling can be one colour, noise (torch.rand_like(image)), a copy of another part of the image, or the "
        "blurred surroundings. A light blur is not enough: what was there could still be recognized.",
    ],
    example=_blurred,
)
def covering(function):
    for seed in range(2):
        image, covered = _patterned(seed)
        filled, changed = _given_by(function, image, covered)
        if filled.shape != image.shape:
            yield f"give an image of the shape of the one that you get, (3, 32, 48), not {tuple(filled.shape)}"
            return
        if changed:
            yield "your function changes the image that it is given; work on a copy (image.clone()) or use torch.where"
        if not filled.isfinite().all():
            yield "some values are NaN or infinite; is something divided by the number of uncovered pixels nearby?"
        if filled.min() < -1e-6 or filled.max() > 1 + 1e-6:
            yield f"colours run from 0 to 1, and yours from {filled.min():.2g} to {filled.max():.2g}"
        outside = (filled - image)[:, ~covered].abs().max()
        if outside > 1e-6:
            yield "pixels outside the cover changed as well; what is not covered must stay as it is"
        if abs(_likeness(filled[:, covered], image.double()[:, covered])) > 0.5:
            yield "what was under the cover can still be recognized; fill in something that does not depend on it"


@covering.wrong
def nothing_covered(image, covered):
    return image.clone()


@covering.wrong
def half_transparent(image, covered):
    return torch.where(covered, 0.5 * image + 0.25, image)


@covering.wrong
def everything_grey(image, covered):
    return torch.full_like(image, 0.5)


@covering.wrong
def the_rest_covered(image, covered):
    return torch.where(covered, image, 0.5)


@covering.wrong
def normal_noise(image, covered):
    return torch.where(covered, torch.randn(image.shape, generator=torch.Generator().manual_seed(0)), image)


@covering.wrong
def filled_in_place(image, covered):
    image[:, covered] = 0.5
    return image


@covering.wrong
def lightly_blurred(image, covered):
    blurred = torch.nn.functional.avg_pool2d(image[None], 3, stride=1, padding=1)[0]
    return torch.where(covered, blurred, image)


@covering.wrong
def cover_alone(image, covered):
    return torch.full((int(covered.sum()),), 0.5)

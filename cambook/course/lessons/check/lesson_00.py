"""Lesson 00: a map drawn in your own way, and the self-check of what the course builds on."""

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


@convolution.mistake("you padded with zeros; without padding the result is two pixels smaller in each direction")
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


@top_k.mistake("these are the k most likely classes, but the most likely one comes last; turn the order round")
def least_likely_first(logits, k):
    return tuple(each.flip(0) for each in top_k.reference(logits, k))


@top_k.mistake("these are the k least likely classes; take the k most likely ones")
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


LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


def _drawn_by(function, image):
    """What the function makes of an image (3, H, 10) where the map is at each of LEVELS, and whether it changed its
    arguments. Each call gets a ramp over all levels, so each pixel has each level once.
    """
    ramp = torch.tensor(LEVELS, dtype=image.dtype).repeat_interleave(2).expand(image.shape[1:])
    results, changed = [], False
    for shift in range(len(LEVELS)):
        given = image.clone(), ramp.roll(2 * shift, 1).clone()
        before = [each.clone() for each in given]
        results.append(torch.as_tensor(function(*given)).double())
        changed |= any(not torch.equal(a, b) for a, b in zip(given, before, strict=True))
        if results[-1].shape != image.shape:
            return results[-1], changed
    by_level = torch.empty(len(LEVELS), *image.shape, dtype=torch.float64)
    for shift, result in enumerate(results):
        for number in range(len(LEVELS)):
            columns = [(2 * (number + shift) + one) % image.shape[2] for one in (0, 1)]
            by_level[number][..., columns] = result[..., columns]
    return by_level, changed


def _tinted(image, cam):
    red = torch.tensor([1.0, 0.2, 0.0], dtype=image.dtype)[:, None, None]
    return (1 - 0.6 * cam) * image + 0.6 * cam * red


@task(
    "an image with its map laid over it: the map can be read off it, and the image can be recognized everywhere",
    hints=[
        "Decide what should happen to a pixel where the map is 1, and what where it is 0. In between, mix the two.",
        "For a spotlight, multiply the image by a number that grows with the map, but is not 0 where the map is 0.",
        "For a tint: (1 - a) * image + a * colour, with an opacity a that grows with the map but never reaches 1.",
    ],
    example=_tinted,
)
def own_overlay(function):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 8, 10, generator=generator, dtype=torch.float64)
    (drawn, changed), (other, _) = (_drawn_by(function, image) for image in images)
    if drawn.ndim != 4:
        yield f"give an image of the shape of the one that you get, (3, 8, 10), not {tuple(drawn.shape)}"
        return
    if changed:
        yield "your function changes the image or the map that it is given; compute new values (a * b, not a *= b)"
    if not drawn.isfinite().all():
        yield "some values are NaN or infinite"
    if drawn.min() < -1e-6 or drawn.max() > 1 + 1e-6:
        yield f"colours run from 0 to 1, and yours from {drawn.min():.2g} to {drawn.max():.2g}"
    from_lowest = (drawn - drawn[0]).abs().mean((1, 2, 3))
    if from_lowest[-1] < 0.08:
        yield "the map can hardly be seen: where it is 1 your image is almost the same as where it is 0"
    if (from_lowest.diff() < 0.005).any():
        yield "the map cannot be read in between: the higher it is, the more a drawing must differ from one with map 0"
    kept = (drawn - other).abs().mean((1, 2, 3)) / (images[0] - images[1]).abs().mean()
    for level, share in zip(LEVELS, kept.tolist(), strict=True):
        if share < 0.15:
            yield f"the image cannot be recognized where the map is {level:g}; part of the image must show there, too"


@own_overlay.wrong
def image_alone(image, cam):
    return image.clone()


@own_overlay.wrong
def map_alone(image, cam):
    return cam.expand(3, -1, -1)


@own_overlay.wrong
def black_where_low(image, cam):
    return image * cam


@own_overlay.wrong
def opaque_at_the_peak(image, cam):
    return (1 - cam) * image + cam * torch.tensor([1.0, 0.0, 0.0])[:, None, None]


@own_overlay.wrong
def cut_at_a_half(image, cam):
    return torch.where(cam >= 0.5, 0.5 * image, image)


@own_overlay.wrong
def added_up(image, cam):
    return image + cam


@own_overlay.wrong
def in_place(image, cam):
    image *= 1 - 0.8 * cam
    return image


@own_overlay.wrong
def colours_last(image, cam):
    return _tinted(image, cam).permute(1, 2, 0)

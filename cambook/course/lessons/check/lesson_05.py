"""Lesson 05: weights from gradients, and what is made of them."""

from __future__ import annotations

import numpy as np
import torch

from cambook.course.lessons.check.exercise import exercise, normal
from cambook.course.lessons.check.task import task
from cambook.maps.arrays import as_array


def _gradients(g):
    return [(normal(g, 3, 4, 4),), (normal(g, 5, 3, 7),), (normal(g, 8, 6, 2),)]


def _activations_and_gradients(g):
    return [(normal(g, K, h, w).relu(), normal(g, K, h, w)) for K, h, w in ((3, 4, 4), (5, 3, 7), (8, 6, 2))]


@exercise(
    "alpha_k, one weight for each feature map, from gradients (K, h, w)",
    inputs=_gradients,
    hints=[
        "One number for each of the K feature maps: something over its positions.",
        "alpha_k is (1/Z) times the sum of dy/dA_k over the Z positions: a mean.",
        "gradients.mean((1, 2))",
    ],
)
def grad_cam_alpha(gradients):
    return gradients.mean((1, 2))


@grad_cam_alpha.mistake("you summed over the positions; alpha_k is their mean, so divide by Z")
def summed(gradients):
    return gradients.sum((1, 2))


@grad_cam_alpha.mistake("you averaged over the channels; each channel keeps its own weight")
def over_channels(gradients):
    return gradients.mean(0)


@grad_cam_alpha.mistake("you took the positive gradients only; the ReLU comes after the weighted sum, not here")
def positive_gradients(gradients):
    return gradients.relu().mean((1, 2))


@grad_cam_alpha.mistake("you took the size of the gradients; their sign says whether a channel helps the class")
def absolute(gradients):
    return gradients.abs().mean((1, 2))


@grad_cam_alpha.mistake("you took the largest gradient; alpha_k is the mean over all positions")
def largest(gradients):
    return gradients.amax((1, 2))


@exercise(
    "the Grad-CAM map (h, w) from activations and gradients, both (K, h, w)",
    inputs=_activations_and_gradients,
    hints=[
        "First alpha (K,), the mean gradient of each channel.",
        "Then the sum over k of alpha[k] * activations[k], and last the ReLU.",
        "torch.einsum('khw,k->hw', activations, gradients.mean((1, 2))).relu()",
    ],
)
def grad_cam_map(activations, gradients):
    alpha = gradients.mean((1, 2))
    return torch.einsum("khw,k->hw", activations, alpha).relu()


@grad_cam_map.mistake("the ReLU is missing: cut the sum at 0, last of all")
def no_relu(activations, gradients):
    return torch.einsum("khw,k->hw", activations, gradients.mean((1, 2)))


@grad_cam_map.mistake("alpha is the mean of the gradients over the positions, not their sum")
def summed_alpha(activations, gradients):
    return torch.einsum("khw,k->hw", activations, gradients.sum((1, 2))).relu()


@grad_cam_map.mistake("you averaged over the channels; the map is their weighted sum")
def averaged_map(activations, gradients):
    return grad_cam_map.reference(activations, gradients) / len(activations)


@grad_cam_map.mistake("the ReLU came before the sum; cut the finished sum, so that channels may cancel first")
def relu_first(activations, gradients):
    return (activations * gradients.mean((1, 2))[:, None, None]).relu().sum(0)


@grad_cam_map.mistake("a softmax of the alphas was taken first; use them as they are")
def softmax_first(activations, gradients):
    return torch.einsum("khw,k->hw", activations, gradients.mean((1, 2)).softmax(0)).relu()


@grad_cam_map.mistake("each position kept its own gradient: that is gradient times activation; Grad-CAM averages first")
def not_averaged(activations, gradients):
    return (activations * gradients).sum(0).relu()


@grad_cam_map.mistake("the axes are swapped: rows (y) come first, columns (x) second")
def swapped(activations, gradients):
    return grad_cam_map.reference(activations, gradients).T


@exercise(
    "the counterfactual map (h, w): which positions would raise the score if they were not there?",
    inputs=_activations_and_gradients,
    hints=[
        "It is Grad-CAM with one sign changed. Which one?",
        "alpha is made of the negative gradient, -dy/dA; the ReLU stays where it is.",
        "torch.einsum('khw,k->hw', activations, -gradients.mean((1, 2))).relu()",
    ],
)
def counterfactual_map(activations, gradients):
    alpha = (-gradients).mean((1, 2))
    return torch.einsum("khw,k->hw", activations, alpha).relu()


@counterfactual_map.mistake("this is Grad-CAM itself: the gradient's sign is not changed")
def sign_kept(activations, gradients):
    return grad_cam_map.reference(activations, gradients)


@counterfactual_map.mistake("you changed the sign of the finished map; change it before the ReLU")
def sign_too_late(activations, gradients):
    return -grad_cam_map.reference(activations, gradients)


@counterfactual_map.mistake(
    "these are the right positions with a minus sign; what lowers the score is positive here, so drop the minus in "
    "front of the map"
)
def below_zero(activations, gradients):
    return -counterfactual_map.reference(activations, gradients)


@counterfactual_map.mistake("the ReLU is missing: positions that help the class must be 0 here")
def uncut(activations, gradients):
    return -torch.einsum("khw,k->hw", activations, gradients.mean((1, 2)))


@counterfactual_map.mistake("you kept only the channels with a negative alpha; all channels enter the sum")
def negative_channels(activations, gradients):
    return torch.einsum("khw,k->hw", activations, (-gradients.mean((1, 2))).relu())


@exercise(
    "gradient times activation (h, w), summed over the channels, from activations and gradients (K, h, w)",
    inputs=_activations_and_gradients,
    hints=[
        "Each position keeps its own gradient: nothing is averaged.",
        "Multiply entry by entry, then add the K channels; positions may stay negative.",
        "(gradients * activations).sum(0)",
    ],
)
def gradient_times_activation(activations, gradients):
    return (gradients * activations).sum(0)


@gradient_times_activation.mistake(
    "you averaged the gradients over the positions first: that is Grad-CAM before its ReLU"
)
def averaged_first(activations, gradients):
    return torch.einsum("khw,k->hw", activations, gradients.mean((1, 2)))


@gradient_times_activation.mistake("a ReLU cut the negative positions away, and the sum with them")
def cut_at_zero(activations, gradients):
    return gradient_times_activation.reference(activations, gradients).relu()


@gradient_times_activation.mistake("you averaged over the channels; add them, or the sum is not the score's part")
def mean_over_channels(activations, gradients):
    return (gradients * activations).mean(0)


@gradient_times_activation.mistake("you added the positions too; the map keeps its positions (h, w)")
def everything_summed(activations, gradients):
    return (gradients * activations).sum()


def _weighted_by_activation(activations, gradients):
    total = activations.sum((1, 2)).clamp(min=1e-12)
    alpha = (gradients * activations).sum((1, 2)) / total
    return torch.einsum("khw,k->hw", activations, alpha).relu()


def _parallel(a, b):
    """Whether one map is a positive multiple of the other."""
    a, b = a.ravel(), b.ravel()
    return a @ b > 0 and np.allclose(a / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-6)


@task(
    "a map (h, w) of your own from activations and gradients (K, h, w) that still contains CAM as a special case",
    hints=[
        "Grad-CAM takes the plain mean of each channel's gradient. Which positions would you listen to more?",
        "Weights that add up to 1 in each channel leave a constant gradient as it is, so CAM stays a special case. "
        "Where the channel is active its gradient matters more: weight the gradients by the activations.",
        "Or let another number than the mean stand for a channel's gradients, such as their median. End with the ReLU.",
    ],
    example=_weighted_by_activation,
)
def own_weighting(function):
    generator = torch.Generator().manual_seed(5)
    activations = torch.rand(6, 5, 7, generator=generator, dtype=torch.float64)
    gradients = torch.randn(6, 5, 7, generator=generator, dtype=torch.float64)
    even = torch.tensor([0.7, -0.4, 0.2, 0.5, -0.3, 0.1], dtype=torch.float64)[:, None, None].expand(6, 5, 7)

    def called(given):
        return as_array(function(activations.clone(), given.clone()), np.float64)

    found, plain = called(gradients), as_array(grad_cam_map.reference(activations, gradients))
    if found.shape != (5, 7):
        yield f"give one map (h, w): for activations of shape (6, 5, 7) yours has the shape {found.shape}"
        return
    if not np.isfinite(found).all():
        yield "the map has a value that is not a finite number"
        return
    if found.min() < 0:
        yield "some positions are below zero: end with the ReLU, as Grad-CAM does"
    if not _parallel(called(even), as_array(grad_cam_map.reference(activations, even))):
        yield (
            "if a channel's gradient is the same at every position, its weight must be that gradient (up to one factor "
            "for all channels), negative ones too: only then is CAM a special case"
        )
    if _parallel(found, plain):
        yield "this is Grad-CAM itself: combine the positions of a gradient in another way than by their plain mean"
    if _parallel(found, as_array((activations * gradients).sum(0).relu())):
        yield "this is gradient times activation with a ReLU, HiResCAM, which the task rules out: find another way"
    if not _parallel(called(2 * gradients), found):
        yield "if the score is counted twice, every gradient doubles; the map must keep its shape then"


@own_weighting.wrong
def grad_cam_again(activations, gradients):
    return torch.einsum("khw,k->hw", activations, gradients.sum((1, 2))).relu()


@own_weighting.wrong
def hires_cam(activations, gradients):
    return (activations * gradients).sum(0).relu()


@own_weighting.wrong
def positive_gradients_alone(activations, gradients):
    return (activations * gradients.relu()).sum(0)


@own_weighting.wrong
def without_relu(activations, gradients):
    return (activations * gradients).sum(0)


@own_weighting.wrong
def a_softmax_of_the_weights(activations, gradients):
    return torch.einsum("khw,k->hw", activations, gradients.amax((1, 2)).softmax(0))


@own_weighting.wrong
def one_number_per_channel(activations, gradients):
    return (activations * gradients).sum((1, 2)).relu()


@own_weighting.wrong
def activations_alone(activations, gradients):
    return activations.mean(0)

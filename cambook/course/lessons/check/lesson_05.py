"""Lesson 05: weights from gradients, and what is made of them."""

from __future__ import annotations

import torch

from cambook.course.lessons.check.exercise import exercise, normal


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

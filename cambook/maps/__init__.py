"""Feature maps and weights in, maps and boxes out: CAM, gradients, the registry of maps, the two box rules."""

from __future__ import annotations

from cambook.maps.arrays import as_array, widened
from cambook.maps.boxes import (
    MEASURES,
    RULES,
    box_from_map,
    box_iou,
    contour_area,
    is_finite,
    largest_component,
    mask_above,
    tight_box,
)
from cambook.maps.cam import DELTA, blur, class_activation_map, erase, fuse, normalize, upsample
from cambook.maps.fine import fine_class_activation_map
from cambook.maps.gradients import (
    GradCAM,
    LayerGradients,
    Logits,
    choose_classes,
    grad_cam,
    grad_cam_plus_plus,
    layer_gradients,
    saliency,
)
from cambook.maps.guided import check_relu, guided_backprop
from cambook.maps.layouts import LAYOUTS
from cambook.maps.methods import (
    BLUR_SIGMA,
    GRID,
    MAPS,
    Method,
    cam_maps,
    centre_maps,
    check_source,
    find_method,
    of_classes,
    register,
)
from cambook.maps.nested import LEVELS, loose_and_tight, nested_boxes

__all__ = [
    "BLUR_SIGMA",
    "DELTA",
    "GRID",
    "GradCAM",
    "LAYOUTS",
    "LEVELS",
    "LayerGradients",
    "Logits",
    "MAPS",
    "MEASURES",
    "Method",
    "RULES",
    "as_array",
    "blur",
    "box_from_map",
    "box_iou",
    "cam_maps",
    "centre_maps",
    "check_relu",
    "check_source",
    "choose_classes",
    "class_activation_map",
    "contour_area",
    "erase",
    "find_method",
    "fine_class_activation_map",
    "fuse",
    "grad_cam",
    "grad_cam_plus_plus",
    "guided_backprop",
    "is_finite",
    "largest_component",
    "layer_gradients",
    "loose_and_tight",
    "mask_above",
    "nested_boxes",
    "normalize",
    "of_classes",
    "register",
    "saliency",
    "tight_box",
    "upsample",
    "widened",
]

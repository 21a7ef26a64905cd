"""Objects moved over a canvas, and the layers that a cut keeps."""

import pytest
import torch

from cambook import datasets, networks
from cambook.course.lessons.cells import kept_layers, moved


@pytest.fixture(scope="module")
def batch():
    return datasets.load("scenes", "test", 64, length=3).batch([0, 1, 2])


def test_a_moved_object_has_its_pixels_and_lies_where_it_is_put(batch):
    x0, y0, x1, y1 = (int(edge) for edge in batch.boxes[1][0])
    canvas = moved(batch, 1, 10, 20, 128)
    there = canvas[:, 20 : 20 + y1 - y0, 10 : 10 + x1 - x0]
    inside = batch.masks[1, y0:y1, x0:x1]
    assert torch.equal(there[:, inside], batch.images[1, :, y0:y1, x0:x1][:, inside])
    assert (there[:, ~inside] == 0.5).all()
    there[:] = 0.5
    assert (canvas == 0.5).all()
    assert torch.equal(moved(batch, 1, 12, 20, 128)[:, :, 2:], moved(batch, 1, 10, 20, 128)[:, :, :-2])


@pytest.mark.parametrize("x, y", [(-1, 0), (60, 0), (0, 60)])
def test_an_object_outside_the_canvas_is_refused(batch, x, y):
    with pytest.raises(ValueError, match=rf"pixels at \({x}, {y}\) is not inside a canvas of 64 pixels"):
        moved(batch, 0, x, y, 64)


@pytest.mark.parametrize("name, stride", [("alexnet", 16), ("vgg16", 16), ("mini-fc", 8)])
def test_the_kept_layers_end_where_the_cut_is(name, stride):
    with torch.device("meta"):
        layers = kept_layers(networks.build(name))
        side = {"mini-fc": 64}.get(name, 224)
        maps = torch.nn.Sequential(*layers).eval()(torch.rand(1, 3, side, side))
    assert isinstance(layers[-1], torch.nn.ReLU)
    assert maps.shape[-1] == networks.spec(f"{name}-gap").side // stride if name != "alexnet" else maps.shape[-1] == 13

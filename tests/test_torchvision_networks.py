"""Any classifier of torchvision as `tv:NAME`: class activation maps where they are exact, else refused with the reason;
and ResNet-50 with finer maps."""

import pickle
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from cambook import datasets, maps, networks, training
from cambook.course.parameters import ParameterError, checked
from cambook.networks import torchvision_classifiers as classifiers

EXACT = {  # name -> K, the number of feature maps
    "resnet18": 512,
    "densenet121": 1024,
    "swin_t": 768,
    "squeezenet1_1": 5,  # the channels of its classes
    "mobilenet_v2": 1280,
    "googlenet": 1024,
    "shufflenet_v2_x0_5": 1024,
    "mnasnet0_5": 1280,
    "efficientnet_b0": 1280,
    "regnet_y_400mf": 440,
}
REFUSED = {  # name -> K, and why
    "alexnet": (256, "has a hidden layer: its last layer reads 4096 numbers and not its 256 feature maps"),
    "mobilenet_v3_small": (576, "has a hidden layer: its last layer reads 1024 numbers and not its 576 feature maps"),
    "convnext_tiny": (768, r"on a random image the mean of .* differs from the logit by up to \d\S*, so it has no"),
    "vit_b_32": (768, r"on a random image the mean of .* differs from the logit by up to \d\S*, so it has no"),
}


def images(side=64, count=2, dtype=torch.float32):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("name", EXACT)
def test_the_mean_of_a_map_plus_the_bias_is_the_logit(name):
    network = networks.build(f"tv:{name}", 5, seed=1).double()
    for parameter in network.last.parameters():
        nn.init.normal_(parameter)
    side = 96 if name == "googlenet" else 64
    with torch.no_grad():
        logits, feature_maps = network(images(side, dtype=torch.float64))
    assert feature_maps.shape[:2] == (2, EXACT[name]) and feature_maps.shape[2] >= 2 and logits.shape == (2, 5)
    classes = torch.arange(5).expand(2, -1)
    cam = maps.MAPS["cam"](network, None, feature_maps, classes)
    assert (cam.mean((2, 3)) + network.class_bias - logits).abs().max() < 1e-9 < logits.std()
    assert torch.allclose(network.scores(feature_maps), logits, atol=1e-9)
    assert maps.MAPS["cam"].refusal(network) == "" and network.classes == 5


@pytest.fixture(scope="module")
def transformer():
    return networks.build("tv:vit_b_32", 5, seed=1)


@pytest.mark.parametrize("name", REFUSED)
def test_cam_is_refused_with_what_was_measured_and_grad_cam_works(name, transformer):
    channels, reason = REFUSED[name]
    network = transformer if name == "vit_b_32" else networks.build(f"tv:{name}", 5, seed=1)
    for parameter in network.last.parameters():  # a Vision Transformer's head starts with zeros
        nn.init.normal_(parameter)
    with pytest.raises(TypeError, match=f"^tv:{name} .*{reason}.* class activation map: take Grad-CAM") as caught:
        _ = network.class_weight
    assert maps.MAPS["cam"].refusal(network) == str(caught.value)
    with pytest.raises(TypeError, match=f"^tv:{name}"):
        _ = network.class_bias
    batch = images(224 if name == "vit_b_32" else 96, 1)
    found = maps.grad_cam(network, batch, top=3)
    logits, feature_maps = network(batch)
    assert feature_maps.shape[1] == channels and found.maps.shape[2:] == feature_maps.shape[2:]
    assert torch.isfinite(found.maps).all() and found.maps.max() > 0 and torch.allclose(found.logits, logits, atol=1e-4)


def test_tokens_of_a_vision_transformer_become_maps_row_by_row(transformer):
    """A patch that alone is bright changes the feature maps most at its own position."""
    network = transformer
    dark = torch.full((1, 3, 224, 224), 0.2)
    bright = dark.clone()
    bright[..., 2 * 32 : 3 * 32, 5 * 32 : 6 * 32] = 1.0  # row 2, column 5 of 7 x 7
    with torch.no_grad():
        change = (network(bright)[1] - network(dark)[1]).norm(dim=1)[0]
    assert change.shape == (7, 7) and divmod(int(change.argmax()), 7) == (2, 5)


def test_a_network_gives_what_torchvisions_gives_for_scaled_images():
    network = networks.build("tv:googlenet", 5, seed=1)
    whole = torchvision.models.googlenet(num_classes=5, aux_logits=False, transform_input=True, init_weights=False)
    whole.load_state_dict(network.backbone.state_dict())
    scaling = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.transforms()
    scaled = torchvision.transforms.functional.normalize(images(), scaling.mean, scaling.std)
    with torch.no_grad():
        assert torch.allclose(network(images())[0], whole.eval()(scaled), atol=1e-5)
    assert not any("aux" in key for key in network.state_dict())


def test_side_and_scaling_are_those_of_torchvisions_weights():
    assert networks.spec("tv:inception_v3").side == 299 and networks.spec("tv:swin_v2_t").side == 256
    assert networks.spec("tv:efficientnet_v2_s").side == 384 and networks.spec("tv:vit_h_14").side == 518
    assert networks.build("tv:resnet18", 2).mean.flatten().tolist() == pytest.approx(networks.IMAGENET_MEAN)
    assert not any(name.startswith("tv:") for name in networks.names())


def test_each_classifier_is_known_and_nothing_else():
    for name in classifiers.classifiers():
        found = networks.spec(f"tv:{name}")
        assert found.name == f"tv:{name}" and 224 <= found.side <= 600 and found.weights.packages == ("torchvision",)
        assert training.recipe_for(found.name) == training.recipe_for("resnet50-gap")
    assert len(classifiers.classifiers()) >= 80


def test_a_vision_transformer_says_which_size_it_takes(transformer):
    with pytest.raises(ValueError, match="tv:vit_b_32 takes images of 224 x 224 pixels alone, .* these are 64 x 96"):
        transformer(torch.rand(1, 3, 64, 96))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tv:resnet19", "torchvision has no classifier 'resnet19'; the nearest are tv:resnet1"),
        ("tv:ResNet18", "torchvision has no classifier 'ResNet18'; the nearest are tv:resnet18"),
        ("tv:raft_small", "raft_small is in torchvision, but it is not an image classifier"),
        ("tv:", "torchvision has no classifier ''; the nearest are tv:resnet18"),
        ("TV:swin_t", "did you mean 'tv:swin_t'.*or tv:NAME, any image classifier of torchvision"),
        ("resnet18", "Known: .*, or tv:NAME, any image classifier of torchvision"),
    ],
)
def test_an_unknown_name_lists_the_nearest(name, said):
    for ask in (networks.spec, networks.check_name, networks.build):
        with pytest.raises(ValueError, match=f"^network='{name}' is unknown.*{said}"):
            ask(name)


def test_a_notebook_takes_such_a_name_as_its_parameter():
    assert checked({"network": "tv:resnet18"}, ["network"], "04").network == "tv:resnet18"
    with pytest.raises(
        ParameterError, match=r"^network='tv:resnet' is refused: torchvision has no classifier 'resnet'"
    ):
        checked({"network": "tv:resnet"}, ["network"], "04")


# ---- weights ----


def publish(monkeypatch, model):
    """What torchvision would download: random weights in its layout, those of auxiliary classifiers among them."""
    extra = {"init_weights": False} if model == "googlenet" else {}
    state = {key: torch.rand_like(v) if v.is_floating_point() else v for key, v in torchvision.models.get_model(
        model, **extra
    ).state_dict().items()}  # fmt: skip
    weights = torchvision.models.get_model_weights(model)
    monkeypatch.setattr(weights, "get_state_dict", lambda self, **_: state, raising=False)
    return state


@pytest.mark.parametrize(("model", "last"), [("googlenet", "fc"), ("squeezenet1_0", "classifier.1")])
def test_pretrained_layers_are_torchvisions_and_the_last_is_new_for_other_classes(model, last, monkeypatch):
    state = publish(monkeypatch, model)
    whole = networks.build(f"tv:{model}", weights="pretrained")
    assert whole.new_layers == () and all(torch.equal(v, state[k]) for k, v in whole.backbone.state_dict().items())
    network = networks.build(f"tv:{model}", 3, weights="pretrained")
    assert network.new_layers == (f"backbone.{last}",) and network.classes == 3
    old = {k: v for k, v in network.backbone.state_dict().items() if not k.startswith(last)}
    assert len(old) > 40 and all(torch.equal(v, state[k]) for k, v in old.items())
    assert network(images(96))[0].shape == (2, 3)


def test_a_file_of_torchvisions_own_layout_is_read_with_or_without_auxiliary_classifiers(tmp_path, monkeypatch):
    torch.save(state := publish(monkeypatch, "googlenet"), tmp_path / "theirs.pt")
    network = networks.build("tv:googlenet", weights=tmp_path / "theirs.pt")
    assert torch.equal(network.last.weight, state["fc.weight"]) and len(state) > len(network.state_dict())
    torch.save(network.state_dict(), tmp_path / "ours.pt")
    again = networks.build("tv:googlenet", weights=tmp_path / "ours.pt")
    assert torch.equal(again.last.weight, state["fc.weight"])
    with pytest.raises(ValueError, match="theirs.pt contains no weights of tv:resnet18 with 1000 classes"):
        networks.build("tv:resnet18", weights=tmp_path / "theirs.pt")


def test_offline_a_missing_download_is_one_clear_sentence(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match="ImageNet weights of resnet18 could not be downloaded .* weights=None") as caught:
        networks.build("tv:resnet18", 5, weights="pretrained")
    assert "\n" not in str(caught.value)


# ---- as all networks here: trained, kept, compiled ----


class Eight:
    name, split, classes, fingerprint, size = "eight", "train", ["dark", "bright"], "eight", 64
    labels, report, drawn, labelled, imagenet_classes = np.array([0, 1] * 4), [], True, True, False

    def __len__(self):
        return 8

    def batch(self, indices, device="cpu"):
        indices = torch.as_tensor(indices)
        batch = (0.2 + 0.6 * (indices % 2)).view(-1, 1, 1, 1) * torch.ones(1, 3, 64, 64)
        return datasets.Batch(batch, indices % 2, [], None, indices)


def test_such_a_network_is_trained_and_kept_under_a_name_that_every_system_takes(tmp_path, monkeypatch):
    from cambook import files

    monkeypatch.setattr(files, "CACHE", tmp_path)
    plan = training.policy("tv:squeezenet1_1", Eight(), epochs=1)
    assert plan.weights is None and plan.recipe.optimizer == "adamw"  # drawn images: from random weights
    first, again = (training.trained("tv:squeezenet1_1", Eight(), plan) for _ in range(2))
    assert (first.reused, again.reused, first.key) == (False, True, again.key)
    (kept,) = (tmp_path / "networks").glob("*.pt")
    assert kept.name == f"tv-squeezenet1_1-{first.key}.pt"
    assert torch.equal(first.network.last.weight, again.network.last.weight)
    assert "cambook.networks.torchvision_classifiers" in training.fingerprint.modules_of(first.network)
    assert maps.MAPS["cam"].refusal(again.network) == ""  # and what was measured is no setting of the network:
    assert training.fingerprint.digest_of_network(first.network) == training.fingerprint.digest_of_network(
        again.network
    )


def test_such_a_network_is_copied_compiled_and_vectorized():
    network = networks.build("tv:resnet18", 3).eval()
    with torch.no_grad():
        expected = network(images())[0]
        ways = {
            "a copy": pickle.loads(pickle.dumps(network)),
            "compiled": torch.compile(network, backend="eager", fullgraph=True),
        }
        for way, other in ways.items():
            assert torch.allclose(other(images())[0], expected, atol=1e-5), way
        each = torch.vmap(lambda one: network(one[None])[0][0])(images())
    assert torch.allclose(each, expected, atol=1e-5)


def test_a_network_without_feature_maps_is_refused():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    with pytest.raises(ValueError, match="a Sequential neither averages over positions nor attends to them"):
        classifiers.ending(flat, 8)


def test_pooling_is_found_as_a_module_a_function_or_a_mean_and_not_over_channels():
    class Mean(nn.Module):
        def __init__(self, over):
            super().__init__()
            self.fc, self.over = nn.Linear(3, 2), over

        def forward(self, x):
            return self.fc(x.mean(self.over))

    for over in ([2, 3], (-1, -2), (3, 2)):
        assert classifiers.ending(Mean(over), 8).channels == 3
    with pytest.raises(ValueError, match="neither averages over positions"):
        classifiers.ending(nn.Sequential(Mean((1, 2))), 3)


# ---- ResNet-50 with the strides of Choe et al. ----


@pytest.mark.parametrize(("name", "side", "moved"), [("resnet50-gap-14", 4, 1), ("resnet50-gap-28", 8, 2)])
def test_resnet50_with_strides_of_1_has_finer_maps_and_the_same_weights(name, side, moved):
    coarse, network = networks.build("resnet50-gap", 5, seed=3), networks.build(name, 5, seed=3)
    with torch.no_grad():
        logits, feature_maps = network(images())
        assert coarse(images())[1].shape == (2, 2048, 2, 2) and feature_maps.shape == (2, 2048, side, side)
    theirs = torchvision.models.resnet50(num_classes=5).state_dict()
    names = [key.removeprefix("backbone.").replace("classifier.", "fc.") for key in network.state_dict()]
    assert sorted(names) == sorted(theirs)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), coarse.parameters(), strict=True))
    convs = [(a, b) for a, b in zip(network.modules(), coarse.modules(), strict=True) if isinstance(a, nn.Conv2d)]
    changed = [(a, b) for a, b in convs if a.stride != b.stride]
    assert len(changed) == 2 * moved and all(a.stride == (1, 1) and b.stride == (2, 2) for a, b in changed)
    assert all(a.dilation == (1, 1) for a, _ in convs) and "without dilation" in networks.spec(name).differs
    cam = maps.class_activation_map(feature_maps, network.class_weight)
    assert torch.allclose(cam.mean((2, 3)) + network.class_bias, logits, atol=1e-3)

import pytest
import torch
from torch import nn

from cambook import datasets, networks
from cambook.maps import class_activation_map

MAP_SIDES = {
    "alexnet": 6,
    "vgg16": 7,
    "googlenet": 7,
    "alexnet-gap": 13,
    "vgg16-gap": 14,
    "googlenet-gap": 14,
    "googlenet-gmp": 14,
    "lite0-gap": 7,
}
MILLIONS = {
    "alexnet": 61.1,
    "alexnet-gap": 5.9,
    "vgg16": 138.4,
    "vgg16-gap": 20.5,
    "googlenet": 6.6,
    "googlenet-gap": 12.0,
}


@pytest.fixture(scope="module")
def lite0():
    return networks.build("lite0-gap", weights="pretrained")


def picture():
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MAP_SIDES)
def test_map_sizes_and_parameter_counts_are_the_papers(name):
    network = networks.build(name)
    with torch.no_grad():
        logits, feature_maps = network(picture())
    assert feature_maps.shape[2:] == (MAP_SIDES[name],) * 2
    assert logits.shape == (1, 1000)
    if name in MILLIONS:
        assert round(networks.count_parameters(network) / 1e6, 1) == MILLIONS[name]
    if name in networks.CUTS:
        assert feature_maps.shape[1] == 1024
        conv = network.cam_conv[0]
        assert (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)


@pytest.mark.parametrize("name", ["mini-gap", "mini-gmp", "mini-nin", "mini-fc", "mini-fc-gap", "mini-fc-gmp"])
def test_mini_networks_have_8x8_maps_and_nothing_but_relu(name):
    network = networks.build(name, 12)
    logits, feature_maps = network(torch.rand(2, 3, 64, 64))
    assert feature_maps.shape == (2, 128, 8, 8) and logits.shape == (2, 12)
    kinds = {type(m) for m in network.modules() if not list(m.children())}
    assert kinds <= {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.Linear, nn.Flatten, nn.Identity, nn.Dropout}


@pytest.mark.parametrize("name", ["mini-gap", "mini-nin", "lite0-gap", "googlenet", "alexnet-gap"])
def test_class_score_is_the_mean_of_its_map_plus_the_bias(name):
    network = networks.build(name, 7).double()
    side = 64 if name.startswith("mini") else 128
    images = torch.rand(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        logits, feature_maps = network(images)
    cams = class_activation_map(feature_maps, network.class_weight)
    assert torch.allclose(cams.mean((2, 3)) + network.class_bias, logits, atol=1e-10)


def test_gmp_takes_the_maximum_of_each_feature_map():
    network = networks.build("mini-gmp", 5).double()
    logits, feature_maps = network(torch.rand(2, 3, 64, 64, dtype=torch.float64))
    by_hand = feature_maps.flatten(2).max(2).values @ network.class_weight.T + network.class_bias
    assert torch.allclose(logits, by_hand, atol=1e-12)


def test_a_network_with_a_hidden_layer_has_no_class_weight_and_says_so():
    for name in ("mini-fc", "alexnet", "vgg16"):
        network = networks.build(name, 5)
        with pytest.raises(TypeError, match=f"{name} has a hidden layer"):
            _ = network.class_weight
        with pytest.raises(TypeError, match=name):
            _ = network.class_bias


@pytest.mark.parametrize("original", ["mini-fc", "alexnet", "vgg16", "googlenet"])
def test_a_cut_keeps_the_originals_weights_unchanged_and_leaves_it_alone(original):
    whole = networks.build(original, 5, seed=1)
    before = {k: v.clone() for k, v in whole.state_dict().items()}
    cut = networks.cut(whole, "gap", seed=2)
    kept = cut.backbone.state_dict()
    assert kept and all(torch.equal(v, before["backbone." + k]) for k, v in kept.items())
    with torch.no_grad():
        for p in cut.parameters():
            p.add_(1)
    assert all(torch.equal(v, before[k]) for k, v in whole.state_dict().items())


def test_a_network_without_anything_to_cut_is_refused():
    with pytest.raises(ValueError, match="mini-gap has nothing to cut off"):
        networks.cut(networks.build("mini-gap", 5), "gap")


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    for name in ("mini-fc", "mini-fc-gap", "mini-nin"):
        a, b, c = (networks.build(name, 5, seed=s).state_dict() for s in (4, 4, 5))
        assert all(torch.equal(a[k], b[k]) for k in a)
        assert any(not torch.equal(a[k], c[k]) for k in a)


def test_building_does_not_touch_the_global_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    networks.build("mini-fc-gap", 5, seed=9)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "expected"), [("chelsea", "Egyptian cat"), ("coffee", "espresso"), ("camera", "tripod")]
)
def test_pretrained_lite0_sees_a_cat_an_espresso_and_a_tripod(lite0, name, expected):
    with torch.no_grad():
        logits, _ = lite0(datasets.example_picture(name, 224))
    best = networks.imagenet_classes()[logits.argmax(1).item()]
    assert best == expected or (name == "chelsea" and best in ("tabby", "tiger cat"))


def test_any_size_of_picture_goes_through_lite0(lite0):
    with torch.no_grad():
        _, feature_maps = lite0(torch.rand(1, 3, 160, 352))
    assert feature_maps.shape == (1, 1280, 5, 11)


def test_a_new_head_on_pretrained_lite0_is_named_as_new(lite0):
    network = networks.build("lite0-gap", 2, weights="pretrained")
    assert network.new_layers == ("classifier",) and lite0.new_layers == ()
    pairs = zip(network.backbone.parameters(), lite0.backbone.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_weights_come_back_from_a_file_and_a_foreign_file_is_refused(tmp_path):
    network = networks.build("mini-gap", 5, seed=1)
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    again = networks.build("mini-gap", 5, weights=tmp_path / "mine.pt", seed=2)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    for name, classes in (("mini-gap", 6), ("mini-fc", 5)):
        with pytest.raises(ValueError, match="mine.pt holds no weights"):
            networks.build(name, classes, weights=tmp_path / "mine.pt")
    (tmp_path / "noise.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="noise.pt holds no weights"):
        networks.build("mini-gap", 5, weights=tmp_path / "noise.pt")
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        networks.build("mini-gap", 5, weights=tmp_path / "nowhere.pt")


def test_unknown_names_list_the_known_ones_and_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'googlenet-gap'.*alexnet-gap"):
        networks.build("googlenetgap")
    with pytest.raises(ValueError, match="mini-gap has no pretrained weights"):
        networks.build("mini-gap", 5, weights="pretrained")
    with pytest.raises(ValueError, match="classes=1"):
        networks.build("mini-gap", 1)


def test_offline_a_missing_download_is_one_clear_sentence(monkeypatch, tmp_path):
    from urllib.error import URLError

    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match="ImageNet weights of alexnet could not be downloaded .* weights=None"):
        networks.build("alexnet-gap", 5, weights="pretrained")


def test_downloaded_weights_reach_the_kept_layers(monkeypatch, tmp_path):
    """A file in torchvision's own layout, as its download leaves it, stands in for the published one."""
    import torchvision

    published = torchvision.models.alexnet()
    monkeypatch.setattr(
        torchvision.models.AlexNet_Weights, "get_state_dict", lambda self, **_: published.state_dict(), raising=False
    )
    network = networks.build("alexnet-gap", 5, weights="pretrained")
    for key, value in network.backbone.state_dict().items():
        assert torch.equal(value, published.features.state_dict()[key])
    assert network.new_layers == ("cam_conv", "classifier")

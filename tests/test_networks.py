import itertools
import warnings

import pytest
import torch
import torchvision
from torch import nn

from cambook import datasets, networks
from cambook.course.lessons import language, second_look, segmentation
from cambook.maps import class_activation_map

MAP_SIDES = {
    "nin": 6,
    "alexnet": 6,
    "vgg16": 7,
    "googlenet": 7,
    "resnet50-gap": 7,
    "resnet50-gap-14": 14,
    "resnet50-gap-28": 28,
    "squeezenet": 13,
    "alexnet-gap": 13,
    "alexnet-star-gap": 13,
    "vgg16-gap": 14,
    "googlenet-gap": 14,
    "googlenet-gmp": 14,
    "vgg16-acol": 28,
    "googlenet-acol": 28,
    "lite0-gap": 7,
}


# ---- how many parameters the papers' layers have, from their sizes alone, for 1000 classes ----


def conv(channels, units, kernel):
    return channels * units * kernel**2 + units


def normed(channels, units, kernel):
    """A convolution without bias, then batch norm's scale and shift."""
    return channels * units * kernel**2 + 2 * units


def linear(*sizes):
    return sum(a * b + b for a, b in itertools.pairwise(sizes))


def inception(channels, one, reduce3, three, reduce5, five, pooled):
    """torchvision's: where the paper has a 5x5 convolution, a 3x3 one."""
    narrow = normed(channels, one, 1) + normed(channels, reduce3, 1) + normed(channels, reduce5, 1)
    return narrow + normed(reduce3, three, 3) + normed(reduce5, five, 3) + normed(channels, pooled, 1)


def bottlenecks(channels, width, blocks):
    """ResNet's stage: each block 1x1, 3x3, 1x1 to four times the width; the first has a 1x1 shortcut too."""
    out = 4 * width
    first = normed(channels, width, 1) + normed(width, width, 3) + normed(width, out, 1) + normed(channels, out, 1)
    return first + (blocks - 1) * (normed(out, width, 1) + normed(width, width, 3) + normed(width, out, 1))


def fire(channels, squeezed, expanded):
    """SqueezeNet's: 1x1 to a few channels, then 1x1 and 3x3 side by side."""
    return conv(channels, squeezed, 1) + conv(squeezed, expanded, 1) + conv(squeezed, expanded, 3)


def branches(channels):
    return 2 * (conv(channels, 1024, 3) + conv(1024, 1024, 3) + conv(1024, 1000, 1))


ALEXNET = conv(3, 64, 11) + conv(64, 192, 5) + conv(192, 384, 3) + conv(384, 256, 3) + conv(256, 256, 3)
VGG16_UNITS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
VGG16 = sum(conv(a, b, 3) for a, b in itertools.pairwise(VGG16_UNITS))
GOOGLENET = (
    *(normed(3, 64, 7), normed(64, 64, 1), normed(64, 192, 3)),
    *(inception(192, 64, 96, 128, 16, 32, 32), inception(256, 128, 128, 192, 32, 96, 64)),
    *(inception(480, 192, 96, 208, 16, 48, 64), inception(512, 160, 112, 224, 24, 64, 64)),
    *(inception(512, 128, 128, 256, 24, 64, 64), inception(512, 112, 144, 288, 32, 64, 64)),
    inception(528, 256, 160, 320, 32, 128, 128),  # inception4e, the last that a cut keeps
    *(inception(832, 256, 160, 320, 32, 128, 128), inception(832, 384, 192, 384, 48, 128, 128)),
)
TO_4E = sum(GOOGLENET[:-2])
RESNET50 = (
    normed(3, 64, 7)
    + bottlenecks(64, 64, 3)
    + bottlenecks(256, 128, 4)
    + bottlenecks(512, 256, 6)
    + bottlenecks(1024, 512, 3)
    + linear(2048, 1000)
)
PARAMETERS = {
    "alexnet": ALEXNET + linear(256 * 6 * 6, 4096, 4096, 1000),
    "alexnet-gap": ALEXNET + conv(256, 1024, 3) + linear(1024, 1000),
    "alexnet-star-gap": ALEXNET + conv(256, 512, 3) + conv(512, 512, 3) + linear(512, 1000),
    "vgg16": VGG16 + linear(512 * 7 * 7, 4096, 4096, 1000),
    "vgg16-gap": VGG16 + conv(512, 1024, 3) + linear(1024, 1000),
    "vgg16-acol": VGG16 + branches(512),
    "googlenet": sum(GOOGLENET) + linear(1024, 1000),
    "googlenet-gap": TO_4E + conv(832, 1024, 3) + linear(1024, 1000),
    "googlenet-gmp": TO_4E + conv(832, 1024, 3) + linear(1024, 1000),
    "googlenet-acol": TO_4E + branches(832),
    **dict.fromkeys(("resnet50-gap", "resnet50-gap-14", "resnet50-gap-28"), RESNET50),
    "squeezenet": conv(3, 64, 3)
    + sum(itertools.starmap(fire, [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)]))
    + sum(itertools.starmap(fire, [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)]))
    + conv(512, 1000, 1),
    "nin": conv(3, 96, 11)
    + 2 * conv(96, 96, 1)
    + conv(96, 256, 5)
    + 2 * conv(256, 256, 1)
    + conv(256, 384, 3)
    + 2 * conv(384, 384, 1)
    + conv(384, 1024, 3)
    + conv(1024, 1024, 1)
    + conv(1024, 1000, 1),
}
MILLIONS = {  # as lesson 01 quotes them
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
    if name in PARAMETERS:
        assert networks.count_parameters(network) == PARAMETERS[name]
    if name in MILLIONS:
        assert round(PARAMETERS[name] / 1e6, 1) == MILLIONS[name]
    if networks.spec(name).original:
        convs = [layer for layer in network.cam_conv if isinstance(layer, nn.Conv2d)]
        assert [layer.out_channels for layer in convs] == ([512, 512] if "star" in name else [1024])
        assert feature_maps.shape[1] == convs[-1].out_channels and feature_maps.min() == 0  # after its ReLU
        for layer in convs:
            assert (layer.kernel_size, layer.stride, layer.padding, layer.groups) == ((3, 3), (1, 1), (1, 1), 1)


def test_acols_poolings_on_vgg_are_3x3_and_the_last_two_move_by_one():
    pools = [m for m in networks.build("vgg16-acol", 2).backbone if isinstance(m, nn.MaxPool2d)]
    assert [(m.kernel_size, m.stride, m.padding) for m in pools] == [(3, 2, 1)] * 3 + [(3, 1, 1)] * 2


def test_every_network_of_the_papers_is_counted():
    small = ("mini", "lite0")
    assert (
        {name for name in networks.names() if not name.startswith(small)}
        == set(PARAMETERS)
        == set(MAP_SIDES) - {"lite0-gap"}
    )


@pytest.mark.parametrize("name", ["mini-gap", "mini-fc-gap"])
def test_a_pooling_that_comes_first_in_training_changes_no_bit_of_loss_and_gradients(name):
    fast = networks.build(name, 12).train()
    plain = networks.build(name, 12).train()
    plain.backbone = nn.Sequential(*plain.backbone)
    assert isinstance(fast.backbone, networks.Layers) and not isinstance(plain.backbone, networks.Layers)
    for network in (fast, plain):
        network.loss(torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.arange(8))[
            0
        ].backward()
    both = zip(fast.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in both)
    both = zip(fast.buffers(), plain.buffers(), strict=True)
    assert all(torch.equal(one, other) for one, other in both)


def test_hooks_see_each_layer_in_its_place_outside_of_training():
    backbone, seen = networks.mini_backbone().eval(), []
    backbone[2].register_forward_hook(lambda *given: seen.append(given[2].shape))
    backbone(torch.rand(1, 3, 64, 64))
    assert seen == [(1, 16, 64, 64)]


def test_layers_that_stay_keep_weights_and_statistics_and_the_others_learn():
    start = networks.build("mini-gap", 12)
    network = segmentation.SegmentationNetwork(start.backbone).train()
    optimizer = torch.optim.AdamW(network.parameters(), 0.1)
    network.loss(torch.rand(4, 3, 64, 64), torch.ones(4, 32, 32, dtype=torch.long))[0].backward()
    optimizer.step()
    own, theirs = network.backbone.state_dict(), start.backbone.state_dict()
    changed = {int(name.partition(".")[0]) for name in own if not torch.equal(own[name], theirs[name])}
    assert changed == {8, 9, 11, 12, 15, 16, 18, 19}


@pytest.mark.parametrize("name", ["mini-gap", "mini-gmp", "mini-nin", "mini-fc", "mini-fc-gap", "mini-fc-gmp"])
def test_mini_networks_have_8x8_maps_and_nothing_but_relu(name):
    network = networks.build(name, 12)
    logits, feature_maps = network(torch.rand(2, 3, 64, 64))
    assert feature_maps.shape == (2, 128, 8, 8) and logits.shape == (2, 12)
    kinds = {type(m) for m in network.modules() if not list(m.children())}
    assert kinds <= {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.Linear, nn.Flatten, nn.Identity, nn.Dropout}


@pytest.mark.parametrize(
    "name", ["mini-gap", "mini-nin", "lite0-gap", "nin", "googlenet", "resnet50-gap", "alexnet-gap", "alexnet-star-gap"]
)
def test_class_score_is_the_mean_of_its_map_plus_the_bias(name):
    network = networks.build(name, 7).double()
    side = 64 if name.startswith("mini") else 128
    images = torch.rand(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        logits, feature_maps = network(images)
    cams = class_activation_map(feature_maps, network.class_weight)
    assert torch.allclose(cams.mean((2, 3)) + network.class_bias, logits, atol=1e-10)


def test_the_backbone_sees_pictures_scaled_by_mean_and_std():
    network = networks.PooledNetwork(nn.Identity(), 3, 2, "gap", mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    picture = torch.tensor([0.6, 0.2, 0.7]).view(1, 3, 1, 1)
    assert torch.allclose(network.features(picture).flatten(), torch.tensor([1.0, 0.0, 0.2]))


def test_pixels_without_a_label_count_neither_in_the_loss_nor_as_wrong():
    network = networks.Network(nn.Identity(), mean=(0.0,) * 3, std=(1.0,) * 3)
    network.classifier = nn.Identity()  # the colours are the scores of three classes
    pixels = torch.eye(3)[:, [0, 1, 2, 2]].view(1, 3, 2, 2)
    loss, wrong = network.loss(pixels, torch.tensor([[[0, 2], [-100, -100]]]))
    assert wrong == 0.5
    right = torch.tensor([1.0, 0, 0]).log_softmax(0)
    assert torch.isclose(loss, -(right[0] + right[1]) / 2)


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


def test_every_other_network_without_a_class_weight_says_what_is_true_of_it_alone():
    start = networks.build("mini-gap", 2)
    others = {
        "two branches of convolutions": networks.build("mini-acol", 5),
        "depends on the question": language.AnswerNetwork(start.backbone, 128, words=9, choices=4),
        "word by word": language.CaptionNetwork(start.backbone, 128, words=9),
        "scores every pixel": segmentation.SegmentationNetwork(start.backbone),
        "that of network.whole": second_look.fused_network(start, start),
        "define class_weight": networks.Network(nn.Identity()),
    }
    for reason, network in others.items():
        for what in ("class_weight", "class_bias"):
            with pytest.raises(TypeError, match=f"^{network.name} .*{reason}") as caught:
                getattr(network, what)
            assert "hidden layer" not in str(caught.value) and "cut it" not in str(caught.value)


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


def test_the_names_of_imagenets_classes_are_torchvisions():
    from torchvision.models import AlexNet_Weights

    assert networks.imagenet_classes() == AlexNet_Weights.IMAGENET1K_V1.meta["categories"]


def test_any_size_of_picture_goes_through_lite0(lite0):
    with torch.no_grad():
        _, feature_maps = lite0(torch.rand(1, 3, 160, 352))
    assert feature_maps.shape == (1, 1280, 5, 11)


def test_a_new_head_on_pretrained_lite0_is_named_as_new(lite0):
    network = networks.build("lite0-gap", 2, weights="pretrained")
    assert network.new_layers == ("classifier",) and lite0.new_layers == ()
    pairs = zip(network.backbone.parameters(), lite0.backbone.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("train", [False, True])
def test_images_up_to_255_are_refused_and_noisy_ones_are_not(train):
    network = networks.build("mini-gap", 5).train(train)
    images = torch.rand(2, 3, 64, 64)
    network(images + 0.2 * torch.randn(images.shape))
    with pytest.raises(ValueError, match="from 0 to 255, but mini-gap takes floats from 0 to 1: divide them by 255"):
        network(torch.linspace(0, 255, 12288).view(1, 3, 64, 64))


def test_a_scaled_image_is_mentioned_once():
    network, images = networks.build("mini-gap", 5), torch.linspace(-2.1, 2.6, 12288).view(1, 3, 64, 64)
    with pytest.warns(UserWarning, match="run from -2.1 to 2.6, .* leave out the normalization by mean and std"):
        network(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(images)


def test_looking_at_the_range_keeps_no_network_from_being_traced_compiled_or_vectorized():
    network, images = networks.build("mini-gap", 5), torch.rand(2, 3, 64, 64)
    expected = network(images)[0]
    each = torch.vmap(lambda one: network(one[None])[0][0])(images)
    assert torch.allclose(each, expected, atol=1e-5)
    exported = torch.export.export(network, (images,)).module()
    assert torch.allclose(exported(images)[0], expected, atol=1e-5)
    assert torch.allclose(torch.compile(network, backend="eager", fullgraph=True)(images)[0], expected, atol=1e-5)


def test_weights_come_back_from_a_file_and_a_foreign_file_is_refused(tmp_path):
    for name in ("nin", "alexnet-star-gap", "mini-gap"):
        network = networks.build(name, 5, seed=1)
        torch.save(network.state_dict(), tmp_path / "mine.pt")
        again = networks.build(name, 5, weights=tmp_path / "mine.pt", seed=2)
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    for name, classes in (("mini-gap", 6), ("mini-fc", 5)):
        with pytest.raises(ValueError, match="mine.pt contains no weights"):
            networks.build(name, classes, weights=tmp_path / "mine.pt")
    (tmp_path / "noise.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="noise.pt contains no weights"):
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


# ---- ImageNet's weights, without a download: a random state_dict in torchvision's own layout stands in ----


TORCHVISION_KEYS = {"alexnet": "features.", "vgg16": "features.", "googlenet": "", "resnet50": ""}
NEW = {
    "alexnet": ("classifier.8",),
    "alexnet-gap": ("cam_conv", "classifier"),
    "alexnet-star-gap": ("cam_conv", "classifier"),
    "vgg16": ("classifier.8",),
    "vgg16-gap": ("cam_conv", "classifier"),
    "vgg16-acol": ("branch_a", "branch_b"),
    "googlenet": ("classifier",),
    "googlenet-gap": ("cam_conv", "classifier"),
    "googlenet-gmp": ("cam_conv", "classifier"),
    "googlenet-acol": ("branch_a", "branch_b"),
    "resnet50-gap": ("classifier",),
    "resnet50-gap-14": ("classifier",),
    "resnet50-gap-28": ("classifier",),
}
CONVOLUTIONS = {"alexnet": 5, "vgg16": 13, "googlenet": 57, "resnet50-gap": 53}
CONVOLUTIONS |= dict.fromkeys(("resnet50-gap-14", "resnet50-gap-28"), 53)


def publish(monkeypatch, original):
    """What torchvision would download, in its layout: random, fully connected layers above 10 million numbers zero."""
    with torch.device("meta"):
        whole = torchvision.models.get_model(original, **({"init_weights": False} if original == "googlenet" else {}))
    state = {
        key: torch.zeros(v.shape, dtype=v.dtype)
        if v.dim() == 2 and v.numel() > 1e7
        else torch.rand(v.shape).to(v.dtype)
        for key, v in whole.state_dict().items()
    }
    weights = torchvision.models.get_model_weights(original)
    monkeypatch.setattr(weights, "get_state_dict", lambda self, **_: state, raising=False)
    return state


@pytest.mark.parametrize("name", NEW)
def test_kept_layers_carry_torchvisions_weights_unchanged_and_the_others_are_named_as_new(name, monkeypatch):
    original = name.split("-")[0]
    state = publish(monkeypatch, original)
    network = networks.build(name, 5, weights="pretrained")
    kept = network.backbone.state_dict()
    assert all(torch.equal(value, state[TORCHVISION_KEYS[original] + key]) for key, value in kept.items())
    whole_backbone = name in CONVOLUTIONS
    convolutions = [m for m in network.backbone.modules() if isinstance(m, nn.Conv2d)]
    expected = CONVOLUTIONS[name] if whole_backbone else 45 if original == "googlenet" else CONVOLUTIONS[original]
    assert len(convolutions) == expected
    assert network.new_layers == NEW[name] and network.classes == 5
    new = {key for key, _ in network.named_parameters() if key.startswith(NEW[name])}
    older = {key for key, _ in network.named_parameters()} - new
    assert new and all(key.startswith(("backbone", "classifier")) for key in older)
    expects = 0.5 if original == "googlenet" else networks.IMAGENET_MEAN[0]
    assert network.mean[0, 0, 0, 0].item() == pytest.approx(expects)


@pytest.mark.parametrize(("name", "last"), [("alexnet", "classifier.6"), ("googlenet", "fc"), ("resnet50-gap", "fc")])
def test_with_imagenets_own_classes_the_classifier_is_kept_too_and_nothing_is_new(name, last, monkeypatch):
    state = publish(monkeypatch, name.split("-")[0])
    network = networks.build(name, weights="pretrained")
    linear = [m for m in network.classifier.modules() if isinstance(m, nn.Linear)][-1]
    assert torch.equal(linear.weight, state[f"{last}.weight"]) and torch.equal(linear.bias, state[f"{last}.bias"])
    assert network.new_layers == ()


@pytest.mark.parametrize("name", ["alexnet-gap", "alexnet-star-gap", "vgg16-acol", "googlenet-acol", "resnet50-gap"])
def test_offline_a_missing_download_is_one_clear_sentence(name, monkeypatch, tmp_path):
    from urllib.error import URLError

    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    original = name.split("-")[0]
    with pytest.raises(OSError, match=f"ImageNet weights of {original} could not be downloaded .* weights=None"):
        networks.build(name, 5, weights="pretrained")


def test_a_damaged_or_hostile_file_in_place_of_a_download_is_named_and_not_run(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url
    file = tmp_path / "hub" / "checkpoints" / url.rsplit("/", 1)[1]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"<html>404</html>")
    with pytest.raises(OSError, match=f"{file.name} is damaged or contains more than weights: delete it"):
        networks.build("resnet50-gap", 5, weights="pretrained")
    torch.save({"fc.weight": Shouts(tmp_path / "shouted")}, file)
    with pytest.raises(OSError, match="delete it"):
        networks.build("resnet50-gap", 5, weights="pretrained")
    with pytest.raises(ValueError, match="contains more than weights"):
        networks.build("mini-gap", 5, weights=file)
    assert not (tmp_path / "shouted").exists()


class Shouts:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).write_text, (self.path, "here"))


def test_nin_has_no_pretrained_weights_and_says_so():
    with pytest.raises(ValueError, match="nin has no pretrained weights"):
        networks.build("nin", 5, weights="pretrained")


def test_twelve_layers_of_nin_keep_the_signal_alive_at_the_start():
    """Without batch norm a network this deep starts dead under torch's own initialization."""
    images = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        feature_maps = networks.build("nin", 5, seed=0).features(images)
    assert 0.1 < feature_maps.std() < 10
    assert (feature_maps.mean((2, 3)).std(0) > 0).any()

import dataclasses

import numpy as np
import pytest
import torch

from cambook import datasets, files, networks, training
from cambook.datasets import Batch, batches
from cambook.training import Recipe, cache, fingerprint, fit, fitting, trained


class Squares:
    """Pictures of noise with a square, red (class 0) or blue (class 1), that a mini network learns in seconds."""

    name, split, classes, size = "squares", "train", ["red", "blue"], 64

    def __init__(self, length=48, seed=0):
        draw = np.random.default_rng(seed)
        self.labels = draw.integers(0, 2, length)
        self.images = torch.from_numpy(draw.integers(0, 90, (length, 3, 64, 64), dtype=np.uint8))
        for image, label in zip(self.images, self.labels, strict=True):
            x, y = draw.integers(0, 40, 2)
            image[2 * label, y : y + 20, x : x + 20] = 250
        self.fingerprint = f"squares {length} {seed}"

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, device="cpu"):
        indices = torch.as_tensor(indices)
        images = self.images[indices].float().div(255).to(device)
        return Batch(images, torch.from_numpy(self.labels)[indices], [np.zeros((1, 4))] * len(indices), None, indices)


QUICK = Recipe(epochs=3, batch_size=16, lr=3e-3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_training_learns_the_labels():
    network = networks.build("mini-gap", 2)
    history = fit(network, Squares(), QUICK)
    assert len(history) == 3 and history[-1]["loss"] < history[0]["loss"]
    logits, _ = network(Squares().images.float() / 255)
    assert (logits.argmax(1).numpy() == Squares().labels).mean() > 0.9
    assert not network.training


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    ends = []
    for seed in (0, 0, 1):
        network = networks.build("mini-gap", 2)
        torch.rand(7)  # what else draws numbers does not matter
        fit(network, Squares(), QUICK, seed=seed)
        ends.append(weights(network))
    assert same(ends[0], ends[1]) and not same(ends[0], ends[2])


@pytest.mark.parametrize("place", [1, 3, 5, 8])
def test_an_interrupted_training_goes_on_at_its_checkpoint_and_ends_with_the_same_bits(place, monkeypatch, tmp_path):
    """In the middle of an epoch, at its end, in the last step: nine steps, of which `place` are made and kept."""
    checkpoint, schedule, made = tmp_path / "squares.part", training.learning_rate, []
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", -1)
    whole = networks.build("mini-gap", 2)
    history = fit(whole, Squares(), QUICK)

    def stop(step, *more):
        if step == place and step not in made:
            made.append(step)
            raise KeyboardInterrupt
        made.append(step)
        return schedule(step, *more)

    monkeypatch.setattr(fitting, "learning_rate", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(networks.build("mini-gap", 2), Squares(), QUICK, checkpoint=checkpoint)
    assert files.load_whole(checkpoint)["step"] == place
    resumed = networks.build("mini-gap", 2, seed=5)
    again = fit(resumed, Squares(), QUICK, checkpoint=checkpoint)
    assert made == [*range(place), place, *range(place, 9)]
    assert same(weights(resumed), weights(whole))
    assert [(row["loss"], row["top1_error"]) for row in again] == [(row["loss"], row["top1_error"]) for row in history]


def test_the_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint = tmp_path / "squares.part"
    fit(networks.build("mini-gap", 2), Squares(16), dataclasses.replace(QUICK, epochs=2), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="it was trained with another recipe, seed or data set"):
        fit(networks.build("mini-gap", 2), Squares(16), QUICK, seed=1, checkpoint=checkpoint)


def test_each_epoch_shows_every_image_once_in_an_order_of_its_own(monkeypatch):
    real, shown = fitting.image_getter, []

    def noting(data, device):
        get = real(data, device)
        return lambda indices: (shown.append(indices.tolist()), get(indices))[1]

    monkeypatch.setattr(fitting, "image_getter", noting)
    fit(networks.build("mini-gap", 2), Squares(16), dataclasses.replace(QUICK, epochs=2))
    assert sorted(shown[0]) == sorted(shown[1]) == list(range(16)) and shown[0] != shown[1]


def test_mixed_precision_learns_the_same_labels_with_other_bits_and_weights_in_float32(monkeypatch):
    plain, auto, mixed = (networks.build("mini-gap", 2) for _ in range(3))
    fit(plain, Squares(), dataclasses.replace(QUICK, precision="fp32"))
    fit(auto, Squares(), QUICK)
    history = fit(mixed, Squares(), dataclasses.replace(QUICK, precision="bf16"))
    assert same(weights(plain), weights(auto)), "auto is float32 on a CPU"
    assert not same(weights(plain), weights(mixed)) and history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert {value.dtype for value in mixed.state_dict().values()} <= {torch.float32, torch.int64}
    assert (
        trained("mini-gap", Squares(), dataclasses.replace(QUICK, precision="bf16")).key
        != trained("mini-gap", Squares(), QUICK).key
    )
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    asked = {
        (precision, device): training.is_mixed(Recipe(precision=precision), device)
        for precision in ("auto", "fp32", "bf16")
        for device in (cpu, gpu)
    }
    assert [key for key, is_mixed in asked.items() if is_mixed] == [("auto", gpu), ("bf16", cpu), ("bf16", gpu)]


def test_a_short_training_may_keep_no_checkpoints(monkeypatch, tmp_path):
    written, save = [], files.save_whole
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", -1)
    for module in (fitting, cache):  # which write the checkpoints and the result
        monkeypatch.setattr(module, "save_whole", lambda state, path: written.append(path.suffix) or save(state, path))
    trained("mini-gap", Squares(), QUICK)
    assert set(written) == {".part", ".pt"}
    written.clear()
    trained("mini-gap", Squares(), QUICK, seed=1, checkpoints=False)
    assert written == [".pt"]


def test_shuffled_labels_are_another_training_and_other_weights():
    labels = np.random.default_rng(5).permutation(Squares().labels)
    plain, shuffled = trained("mini-gap", Squares(), QUICK), trained("mini-gap", Squares(), QUICK, labels=labels)
    assert plain.key != shuffled.key and not same(weights(plain.network), weights(shuffled.network))


def test_what_was_trained_once_comes_from_the_cache():
    first = trained("mini-gap", Squares(), QUICK)
    again = trained("mini-gap", Squares(), QUICK)
    assert not first.reused and again.reused
    assert same(weights(first.network), weights(again.network))
    assert again.history == first.history and again.seconds == first.seconds
    for change in (
        {"seed": 1},
        {"recipe": dataclasses.replace(QUICK, lr=1e-3)},
        {"data": Squares(seed=3)},
        {"network": "mini-gmp"},
    ):
        settings = {"network": "mini-gap", "data": Squares(), "recipe": QUICK, **change}
        assert not trained(**settings).reused


def test_a_cut_starts_from_its_originals_weights():
    before = trained("mini-fc", Squares(), QUICK)
    slow = dataclasses.replace(QUICK, epochs=1, lr=1e-12)
    after = trained("mini-fc-gap", Squares(), slow, start=before)
    pairs = zip(before.network.backbone.parameters(), after.network.backbone.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in pairs)
    with pytest.raises(ValueError, match="mini-gap is not a cut of mini-fc"):
        trained("mini-gap", Squares(), QUICK, start=before)


def test_before_and_after_are_the_original_and_its_cut():
    before, after = training.before_and_after("mini-fc-gap", Squares())
    assert (before.network.name, after.network.name) == ("mini-fc", "mini-fc-gap")
    with pytest.raises(ValueError, match="mini-gap.*was cut from no other"):
        training.before_and_after("mini-gap", Squares())


def test_new_layers_learn_at_their_own_rate():
    cut = networks.cut(networks.build("mini-fc", 2), "gap")
    groups = training.make_optimizer(cut, Recipe(new_layer_factor=10)).param_groups
    assert [g["factor"] for g in groups] == [1.0, 10.0]
    new = {id(p) for p in [*cut.cam_conv.parameters(), *cut.classifier.parameters()]}
    assert {id(p) for p in groups[1]["params"]} == new
    assert sum(len(g["params"]) for g in groups) == len(list(cut.parameters()))


def test_a_frozen_backbone_stays_as_it_was_and_the_head_learns():
    network = networks.build("lite0-gap", 2, weights="pretrained")
    before = weights(network)
    fit(network, Squares(), Recipe(epochs=1, batch_size=16, frozen=True))
    changed = {name for name, value in weights(network).items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    body = list(network.backbone.parameters())
    assert all(p.grad is None for p in body), "gradients of what stays as it is were made for nothing"
    assert all(p.requires_grad for p in body), "a later training could not change them"
    with pytest.raises(ValueError, match="mini-gap has no new layers"):
        fit(networks.build("mini-gap", 2), Squares(), Recipe(epochs=1, frozen=True))


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = [training.learning_rate(step, 100, Recipe()) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == 1 and rates[-1] < 0.01
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert training.learning_rate(99, 100, Recipe(schedule="constant")) == 1


# ---- the published recipes: definitions of CAM's, ACoL's and Choe's released codes ----


@pytest.mark.parametrize(
    ("name", "published"),
    {
        # epochs, batch, rate, weight decay, factor of new layers, epochs between drops
        "googlenet-gap": (8, 64, 1e-3, 5e-4, 10, 2),
        "googlenet-gmp": (8, 64, 1e-3, 5e-4, 10, 2),
        "alexnet-star-gap": (8, 64, 1e-3, 5e-4, 10, 2),
        "vgg16": (8, 64, 1e-3, 5e-4, 10, 2),
        "vgg16-acol": (6, 20, 1e-4, 5e-4, 10, None),
        "googlenet-acol": (6, 20, 1e-4, 5e-4, 10, None),
        "resnet50-gap": (10, 32, 3.108e-5, 1e-4, 10, 3),
        "nin": (90, 64, 1e-2, 5e-4, 1, 30),
    }.items(),
)
def test_a_network_of_the_papers_is_trained_as_its_code_says(name, published):
    epochs, batch_size, lr, weight_decay, factor, every = published
    schedule = training.StepDecay(every) if every else "constant"
    assert training.recipe_for(name) == Recipe(
        epochs, batch_size, "sgd", lr, weight_decay, factor, schedule, crop=7 / 8
    )
    optimizer = training.make_optimizer(networks.build("mini-gap", 2), training.recipe_for(name))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["nesterov"] and optimizer.defaults["momentum"] == 0.9


def test_cams_schedule_in_epochs_is_its_solver_in_batches():
    recipe, batches = training.recipe_for("googlenet-gap"), 1_281_167 / 64
    assert recipe.epochs * batches == pytest.approx(160_000, rel=0.01)
    assert recipe.schedule.every * batches == pytest.approx(40_000, rel=0.01)


def test_the_lessons_recipes_stay_as_the_lessons_print_them():
    assert training.recipe_for("mini-fc-gap") == Recipe(epochs=3, batch_size=32, lr=3e-4, new_layer_factor=10)
    assert training.recipe_for("mini-fc") == Recipe(epochs=5, batch_size=32, lr=5e-4)
    assert training.recipe_for("mini-gap") == training.recipe_for("mini-nin") == Recipe(5, 32, lr=3e-3)
    assert training.recipe_for("mini-acol") == Recipe(epochs=5, batch_size=32, lr=1e-3)
    assert training.recipe_for("lite0-gap") == training.recipe_for("lite0-acol")
    assert training.recipe_for("lite0-gap") == Recipe(epochs=4, batch_size=16, lr=3e-4, new_layer_factor=10)


def test_a_step_decay_falls_where_its_epochs_end_and_nowhere_else():
    recipe = training.recipe_for("googlenet-gap")
    per_epoch = 7
    rates = [training.learning_rate(step, 8 * per_epoch, recipe) for step in range(8 * per_epoch)]
    assert rates == pytest.approx([0.1**n for n in range(4) for _ in range(2 * per_epoch)])
    assert {training.learning_rate(step, 60, training.recipe_for("vgg16-acol")) for step in range(60)} == {1.0}


def test_other_epochs_keep_the_schedules_shape_as_choe_did_from_ilsvrc_to_cub():
    assert training.recipe_for("resnet50-gap", epochs=50, lr=2.322e-4).schedule.every == 15
    short = training.recipe_for("vgg16-gap", epochs=4)
    assert (short.epochs, short.schedule, short.lr) == (4, training.StepDecay(1), 1e-3)
    assert training.recipe_for("mini-gap", epochs=2).schedule == "cosine"


def test_each_group_of_layers_learns_at_its_rate_in_every_step(monkeypatch):
    seen, make = [], training.make_optimizer

    def watched(network, recipe):
        optimizer = make(network, recipe)
        optimizer.register_step_pre_hook(lambda o, *_: seen.append([group["lr"] for group in o.param_groups]))
        return optimizer

    monkeypatch.setattr(fitting, "make_optimizer", watched)
    recipe = Recipe(3, 24, "sgd", 1e-3, 5e-4, 10, training.StepDecay(1, factor=0.5))
    fit(networks.cut(networks.build("mini-fc", 2), "gap"), Squares(), recipe)
    assert np.allclose(seen, [[rate, 10 * rate] for rate in (1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4)], rtol=1e-12)


def test_alexnet_star_is_fine_tuned_from_its_trained_original(monkeypatch):
    import torchvision

    state = torchvision.models.alexnet().state_dict()
    monkeypatch.setattr(torchvision.models.AlexNet_Weights, "get_state_dict", lambda self, **_: state, raising=False)
    before, after = training.before_and_after("alexnet-star-gap", Squares(16), epochs=1, lr=1e-9)
    assert (before.network.name, after.network.name) == ("alexnet", "alexnet-star-gap")
    ours, theirs = weights(after.network.backbone), weights(before.network.backbone)
    assert len(ours) == 10 and all(torch.allclose(ours[k], theirs[k], atol=1e-6) for k in ours)
    assert [m.out_channels for m in after.network.cam_conv if isinstance(m, torch.nn.Conv2d)] == [512, 512]
    with pytest.raises(ValueError, match="vgg16-acol is not a cut of alexnet: see networks.on_backbone"):
        trained("vgg16-acol", Squares(16), QUICK, start=before)


def test_windows_and_mirrors_move_pictures_as_drawn():
    image = torch.rand(1, 3, 8, 8)
    middle = torch.tensor([[1.0, 0.5, 0.5, 0.9]])  # smallest window, in the middle, not mirrored
    window = training.augment(image, middle, Recipe(crop=0.5))
    inner = torch.nn.functional.interpolate(image[:, :, 2:6, 2:6], 8, mode="bilinear")
    assert torch.allclose(window[:, :, 2:6, 2:6], inner[:, :, 2:6, 2:6], atol=1e-5)
    mirrored = training.augment(image, torch.tensor([[0.0, 0.5, 0.5, 0.1]]), Recipe())
    assert torch.equal(mirrored, image.flip(3))
    assert torch.equal(training.augment(image, middle, Recipe(flip=False)), image)


def test_large_data_sets_are_shown_the_same_pictures_as_held_ones(monkeypatch):
    cpu = torch.device("cpu")
    held = datasets.image_getter(Squares(), cpu)
    other = datasets.image_getter(Squares(seed=3), cpu)
    assert not torch.equal(held(torch.arange(9)), other(torch.arange(9)))
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    streamed = datasets.image_getter(Squares(), cpu)
    places = torch.tensor([5, 0, 17])
    assert torch.equal(held(places), streamed(places))


def test_hopeless_settings_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"lr=-1 \(above 0\), crop=2"):
        Recipe(lr=-1, crop=2)
    with pytest.raises(ValueError, match=r"every=0.*every above 0\).*factor above 0, at most 1"):
        Recipe(schedule=training.StepDecay(0, factor=2))
    with pytest.raises(ValueError, match="precision=fp16 .auto, fp32 or bf16"):
        Recipe(precision="fp16")
    with pytest.raises(ValueError, match="schedule=linear"):
        Recipe(schedule="linear")
    with pytest.raises(ValueError, match="classes=2"):
        fit(networks.build("mini-gap", 3), Squares(), QUICK, labels=np.full(48, 7))
    with pytest.raises(ValueError, match="no longer a number at step 1 .* lower lr"):
        broken = networks.build("mini-gap", 2)
        torch.nn.init.constant_(broken.classifier.weight, float("nan"))
        fit(broken, Squares(), QUICK)


# ---- networks that are given, and labels of other shapes ----


class PixelNetwork(networks.Network):
    """One 1x1 convolution on the pictures: logits for every pixel."""

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        super().__init__(torch.nn.Identity())
        self.name, self.classifier = "pixels", torch.nn.Conv2d(3, 2, 1)

    def scores(self, feature_maps):
        return self.classifier(feature_maps)


def red_pixels(data, ignored=False):
    masks = (data.images[:, 0] > 200).long()
    if ignored:
        masks[:, :32] = networks.IGNORED
    return masks.numpy()


def test_a_given_network_is_trained_once_and_known_by_its_weights():
    data = Squares()
    first = trained(PixelNetwork(), data, QUICK, labels=red_pixels(data), describe="pixels")
    again = trained(PixelNetwork(), data, QUICK, labels=red_pixels(data), describe="pixels")
    other = trained(PixelNetwork(seed=1), data, QUICK, labels=red_pixels(data))
    assert not first.reused and again.reused and not other.reused and first.key == again.key
    assert torch.equal(first.network.classifier.weight, again.network.classifier.weight)


def test_labels_may_be_masks_and_ignored_pixels_do_not_teach():
    data = Squares(16)
    plain, ignoring = PixelNetwork(), PixelNetwork()
    recipe = Recipe(epochs=30, batch_size=8, lr=0.1, flip=False)
    history = fit(plain, data, recipe, labels=red_pixels(data))
    assert history[-1]["top1_error"] < 5 < history[0]["top1_error"]
    loss, wrong = ignoring.loss(data.batch([0]).images, torch.as_tensor(red_pixels(data, ignored=True))[:1])
    half = ignoring(data.batch([0]).images)[0][:, :, 32:]
    expected = torch.nn.functional.cross_entropy(half, torch.as_tensor(red_pixels(data))[:1, 32:])
    assert torch.allclose(loss, expected) and 0 <= wrong <= 1


def test_a_setting_that_is_no_weight_makes_another_network():
    keys = set()
    for delta in (0.6, 0.8):
        network = networks.build("mini-acol", 2)
        network.delta = delta
        keys.add(fingerprint.digest_of_network(network))
    assert len(keys) == 2

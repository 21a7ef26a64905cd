"""Processes on the CPU (gloo): what they make together is what one makes alone. This file is also their program."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cambook import datasets, files, networks, training
from cambook.cli import commands
from cambook.datasets import Batch, batches, onto
from cambook.metrics import evaluation
from cambook.networks import IGNORED, PooledNetwork
from cambook.training import Recipe, distributed, fit, fitting, trained

CLASSES = ["red", "green", "blue", "yellow", "pink", "grey"]


class Squares:
    """37 pictures of 32 px, noise with a square in one of six colours: no number of processes divides them."""

    name, split, classes, size = "squares", "train", CLASSES, 32

    def __init__(self, pause=0.0, masks=True):
        draw = np.random.default_rng(0)
        self.labels = draw.integers(0, len(CLASSES), 37)
        self.images = torch.from_numpy(draw.integers(0, 120, (37, 3, 32, 32), dtype=np.uint8))
        self.masks = torch.zeros(37, 32, 32, dtype=torch.bool) if masks else None
        self.boxes = []
        colours = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [1, 1, 1]]) * 200
        for i, label in enumerate(self.labels):
            x, y = draw.integers(0, 20, 2)
            self.images[i, :, y : y + 12, x : x + 12] = torch.from_numpy(colours[label].astype(np.uint8))[:, None, None]
            self.boxes.append(np.array([[x, y, x + 12, y + 12]], np.float32))
            if masks:
                self.masks[i, y : y + 12, x : x + 12] = True
        self.fingerprint, self.pause = "squares", pause

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, device="cpu"):
        time.sleep(self.pause)
        indices = torch.as_tensor(indices)
        masks = self.masks if self.masks is None else self.masks[indices]
        images = onto(self.images[indices], device).float().div_(255)
        return Batch(images, torch.from_numpy(self.labels)[indices], [self.boxes[i] for i in indices], masks, indices)


def without_batch_norm():
    """Convolutions, mean, linear layer: a picture's gradient does not depend on the pictures beside it."""
    torch.manual_seed(3)
    layers = (nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU())
    network = PooledNetwork(nn.Sequential(*layers), 16, len(CLASSES), "gap")
    network.name = "plain"
    return network


class PixelNetwork(networks.Network):
    """One 1x1 convolution: logits for every pixel, whose labels are masks."""

    def __init__(self):
        torch.manual_seed(4)
        super().__init__(nn.Identity())
        self.name, self.classifier = "pixels", nn.Conv2d(3, 2, 1)

    def scores(self, feature_maps):
        return self.classifier(feature_maps)


def partly_ignored():
    """Masks of which some pictures have few pixels that count: the processes' parts then weigh very differently."""
    labels = Squares().masks.long()
    labels[::3, 1:] = IGNORED
    return labels.numpy()


SGD = Recipe(epochs=2, batch_size=10, optimizer="sgd", lr=0.1)  # batches of 10, 10, 10, 7
LEFT_OVER = Recipe(epochs=2, batch_size=12, optimizer="sgd", lr=0.1)  # the last batch is one picture
NORMED = Recipe(epochs=4, batch_size=10, lr=3e-3)


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def fits():
    """The trainings that are made by one process and by two."""
    found = {}
    for name, network, recipe, labels in (
        ("uneven", without_batch_norm(), SGD, None),
        ("left over", without_batch_norm(), LEFT_OVER, None),
        ("ignored", PixelNetwork(), SGD, partly_ignored()),
    ):
        history = fit(network, Squares(), recipe, labels=labels)
        found[name] = weights(network), [(row["loss"], row["top1_error"]) for row in history]
    return found


def evaluations():
    """In batches of 4, ten of them; without masks; and all pictures in one batch, so that a process has none."""
    network = without_batch_norm()
    return {
        "cam": evaluation.evaluate(network, Squares(), batch_size=4),
        "grad-cam": evaluation.evaluate(network, Squares(), "grad-cam", batch_size=6),
        "no masks": evaluation.evaluate(network, Squares(masks=False), batch_size=4),
        "one batch": evaluation.evaluate(network, Squares()),
        "logits": evaluation.classify(network, Squares(), batch_size=5),
    }


def train_slowly(folder, rank):
    fitting.CHECKPOINT_SECONDS = 0
    fit(networks.build("mini-acol", 6), Squares(pause=0.4), NORMED, checkpoint=folder / "killed.part")


def go_on(folder, rank):
    whole, resumed = networks.build("mini-acol", 6), networks.build("mini-acol", 6)
    found = {"history": fit(whole, Squares(), NORMED)}
    found["resumed history"] = fit(resumed, Squares(), NORMED, checkpoint=folder / "killed.part")
    found["modules"] = [type(module).__name__ for module in whole.modules()]
    return found | {"whole": weights(whole), "resumed": weights(resumed)}


def work_together(folder, rank):
    found = {"shares": distributed.share(torch.arange(7)), "evaluations": evaluations(), "fits": fits()}
    both = [trained("mini-gap", Squares(), NORMED) for _ in range(2)]
    found["trained"] = [(each.reused, each.key, each.processes, weights(each.network)) for each in both]
    found["throughput"] = training.throughput(both[0].network, Squares(), NORMED, batches=2)
    for name, mistake in (
        ("first", lambda: distributed.from_first(lambda: 1 / rank)),
        ("not the same", lambda: trained("mini-gap", Squares(), NORMED, seed=rank)),
    ):
        with pytest.raises((ZeroDivisionError, ValueError)) as caught:
            mistake()
        found[name] = str(caught.value)
    return found


def start(task, number, folder):
    """Forks processes that have what torchrun gives its own: importing everything once saves half a minute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in map(str, range(number)):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(number)}
            os.environ.update(places, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            torch.set_num_threads(1)
            batches.IN_MEMORY = 0
            with distributed.processes():
                found = task(folder, int(rank))
            (folder / f"{task.__name__}{rank}.pickle").write_bytes(pickle.dumps(found))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return children


def program(folder):
    """A process that starts the others: four, which are killed; four, which go on; two."""
    checkpoint = folder / "killed.part"
    children, deadline = start(train_slowly, 4, folder), time.monotonic() + 90
    while not (checkpoint.is_file() and files.load_whole(checkpoint)["step"] >= 5):
        assert time.monotonic() < deadline and not os.waitpid(children[0], os.WNOHANG)[0], "no checkpoint"
        time.sleep(0.02)
    for child in children:
        os.kill(child, signal.SIGKILL)
    endings = [os.waitpid(child, 0)[1] for child in children]
    assert endings == [signal.SIGKILL] * 4, endings
    (folder / "step").write_text(str(files.load_whole(checkpoint)["step"]), encoding="utf-8")
    for task, number in ((go_on, 4), (work_together, 2)):
        endings = [os.waitpid(child, 0)[1] for child in start(task, number, folder)]
        assert not any(endings), endings


# ---- what two processes made, beside what one makes ----


def environment(folder):
    places = os.pathsep.join([str(files.ROOT), os.environ.get("PYTHONPATH", "")])
    settings = {"CAMBOOK_CACHE": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return os.environ | settings | {"PYTHONPATH": places}


@pytest.fixture(scope="module")
def alone():
    """By one process with one thread, as theirs have; from held pictures, where theirs are made ahead."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {"evaluations": evaluations(), "fits": fits()}
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def found(cache):
    """found(task): what each process has found, in the order of their ranks."""
    done = subprocess.run(
        [sys.executable, __file__, cache], env=environment(cache), capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return lambda task: [pickle.loads(file.read_bytes()) for file in sorted(cache.glob(f"{task}*.pickle"))]


@pytest.fixture(scope="module")
def together(found):
    """What each of two processes has found."""
    two = found("work_together")
    assert len(two) == 2
    return two


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("source", ["cam", "grad-cam", "no masks", "one batch"])
def test_an_evaluation_by_two_processes_is_that_of_one_to_the_last_bit(alone, together, source):
    one = alone["evaluations"][source]
    assert 0 < one.row["top1_error"] < 100 and 0 < one.row["max_box_acc"] < 100  # nothing is equal by being empty
    for found in together:
        two = found["evaluations"][source]
        assert two.row == one.row and two.intervals == one.intervals and two.best_threshold == one.best_threshold
        assert np.array_equal(two.curve, one.curve)
        assert all(len(v) == 37 and np.array_equal(v, one.correct[name]) for name, v in two.correct.items())
        if source == "no masks":
            assert two.inside is None and two.pixels is None
        else:
            assert np.array_equal(two.inside, one.inside) and two.coverage() == one.coverage()


def test_logits_by_two_processes_are_in_the_order_of_the_data_set(alone, together):
    assert all(torch.equal(found["evaluations"]["logits"], alone["evaluations"]["logits"]) for found in together)


@pytest.mark.parametrize("name", ["uneven", "left over", "ignored"])
def test_a_training_by_two_processes_is_that_of_one_within_rounding(alone, together, name):
    """At the same global batch, also where it cannot be halved or a part has few labels that count."""
    (one, history), begun = alone["fits"][name], {"ignored": PixelNetwork}.get(name, without_batch_norm)()
    for found in together:
        two, its_history = found["fits"][name]
        moved = [(one[k] - begun.state_dict()[k]).abs().max() for k in one]
        apart = [(one[k] - two[k]).abs().max() for k in one]
        assert min(moved) > 1e-3 and all(a < 1e-5 * m for a, m in zip(apart, moved, strict=True))
        assert np.allclose(history, its_history, rtol=1e-5)
    assert same(together[0]["fits"][name][0], together[1]["fits"][name][0])


def test_a_training_by_four_processes_that_were_killed_ends_with_the_same_bits(found, cache):
    """Four, since a sum of two numbers has but one order. With batch norm, whose statistics differ between processes
    on the CPU: the first one's are everybody's."""
    assert 5 <= int((cache / "step").read_text(encoding="utf-8")) < 16
    four = found("go_on")
    assert len(four) == 4
    for each in four:
        assert len(each["resumed history"]) == 4 and same(each["whole"], each["resumed"])
        assert same(each["whole"], four[0]["whole"]) and each["history"] == four[0]["history"]
        assert "BatchNorm2d" in each["modules"] and "SyncBatchNorm" not in each["modules"]


def test_two_processes_train_once_and_one_finds_it_and_says_so(together, cache, monkeypatch):
    (first, again), (its_first, _) = together[0]["trained"], together[1]["trained"]
    assert (first[0], again[0]) == (False, True) and first[1:3] == again[1:3] == its_first[1:3]
    assert first[1].endswith("-2x1") and same(first[3], again[3]) and same(first[3], its_first[3])
    monkeypatch.setattr(files, "CACHE", cache)
    (entry,) = (cache / "networks").glob("*")
    with pytest.warns(UserWarning, match="mini-gap was trained by 2 processes: taken from"):
        found = trained("mini-gap", Squares(), NORMED)
    assert found.reused and found.processes == 2 and same(weights(found.network), first[3])
    content = bytearray(entry.read_bytes())
    content[100] ^= 1
    entry.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        own = trained("mini-gap", Squares(), NORMED)
    assert not own.reused and own.processes == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trained("mini-gap", Squares(), NORMED).key == own.key  # its own comes first


def test_every_process_learns_what_went_wrong_in_the_first(together):
    assert [found["first"] for found in together] == ["division by zero"] * 2
    assert all("the same package, settings and data set" in found["not the same"] for found in together)


def test_shares_follow_each_other_without_doubles(together):
    assert torch.equal(torch.cat([found["shares"] for found in together]), torch.arange(7))
    assert all(min(found["throughput"].values()) > 0 for found in together)


TORCHRUN = """
import sys
from cambook.training import distributed
with distributed.processes() as device:
    shares = distributed.gather((distributed.rank(), distributed.share("abcde")))
    sys.stdout.write(f"{shares} {distributed.total([1.5])} {device.type}\\n")  # at once: the other writes there too
"""


def test_torchrun_starts_them(tmp_path):
    (tmp_path / "program.py").write_text(TORCHRUN, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, tmp_path / "program.py"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.stdout.splitlines() == ["[(0, 'abc'), (1, 'de')] [3.0] cpu"] * 2, done.stderr[-3000:]


def test_synchronized_batch_norm_shares_its_statistics_and_goes_as_it_came():
    """What a GPU's training does to the network, as far as a machine without one can see it."""
    network = networks.build("mini-gap", 6)
    with distributed.synchronized_batch_norm(network):
        inside = [m for m in network.modules() if isinstance(m, nn.SyncBatchNorm)]
        inside[0].running_mean.fill_(7)
        inside[0].weight.data.fill_(8)
    plain = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(plain) == len(inside) == 6 and not any(isinstance(m, nn.SyncBatchNorm) for m in network.modules())
    assert (plain[0].running_mean == 7).all() and (plain[0].weight == 8).all()


# ---- one process: nothing changes ----


@pytest.mark.parametrize("in_memory", [0, 2**30])
def test_one_process_trains_as_a_plain_loop_to_the_last_bit(monkeypatch, in_memory):
    monkeypatch.setattr(batches, "IN_MEMORY", in_memory)
    monkeypatch.setattr(batches, "_held", {})
    data, recipe = Squares(), Recipe(epochs=2, batch_size=10, crop=0.8)
    network, fitted = networks.build("mini-gap", 6).train(), networks.build("mini-gap", 6)
    network.dropout.p = fitted.dropout.p = 0.5
    network.to(memory_format=torch.channels_last)
    optimizer = training.make_optimizer(network, recipe)
    for step in range(8):
        epoch, place = divmod(step, 4)
        order = torch.randperm(37, generator=training.generator(5, epoch, 0))
        draws = torch.rand(37, 4, generator=training.generator(5, epoch, 1))
        some = order[place * 10 : place * 10 + 10]
        optimizer.param_groups[0]["lr"] = recipe.lr * training.learning_rate(step, 8, recipe)
        images = training.augment(data.batch(some).images, draws[some], recipe)
        torch.manual_seed(training.generator(5, step, 2).initial_seed())
        loss, _ = network.loss(images.contiguous(memory_format=torch.channels_last), torch.tensor(data.labels)[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fit(fitted, data, recipe, seed=5)
    assert same(weights(fitted), weights(network))


def test_one_process_is_first_and_only_and_gathers_itself():
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.gather("x") == ["x"] and distributed.total([0.1, 2.0]) == [0.1, 2.0]
    assert distributed.share([1, 2, 3]) == [1, 2, 3] and distributed.from_first(lambda: 7) == 7
    network = without_batch_norm()
    with distributed.processes() as device, distributed.loss_of(network) as loss_of:
        assert loss_of == network.loss and device.type in ("cpu", "cuda")


# ---- batches made ahead ----


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]


def test_batches_made_ahead_come_in_order_and_ahead_of_time(monkeypatch):
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    begun = []

    def make(place):
        begun.append(place)
        time.sleep(0.02 if place % 2 else 0)
        return -place

    made = datasets.prefetch(Squares(), make, range(20))
    assert next(made) == 0
    deadline = time.monotonic() + 10
    while len(begun) <= datasets.AHEAD and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    assert set(begun) == set(range(datasets.AHEAD + 1))  # the next ones, and no more than asked for
    assert list(made) == [-place for place in range(1, 20)] and not threads()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_threads_end_with_the_training_that_is_interrupted_or_whose_data_fail(monkeypatch, error):
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    data, network = Squares(pause=0.01), networks.build("mini-gap", 6)
    if error is OSError:
        monkeypatch.setattr(data, "batch", lambda indices, device: (_ for _ in ()).throw(OSError("unreadable")))
    else:
        monkeypatch.setattr(network, "loss", lambda images, labels: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(error) as caught:
        fit(network, data, NORMED)
    assert caught.value is not None and not threads()


def test_throughput_tells_a_slow_loader_from_a_fast_step(monkeypatch):
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    network = networks.build("mini-gap", 6)
    before = weights(network)
    found = training.throughput(network, Squares(pause=0.05), NORMED, batches=8)
    assert 20 < found["loader_pictures_per_second"] <= datasets.AHEAD * 10 / 0.05  # each thread waits 0.05 s a batch
    assert 0 < found["both_pictures_per_second"] <= 1.5 * found["loader_pictures_per_second"]
    assert found["step_pictures_per_second"] > 0 and same(weights(network), before) and not network.training
    monkeypatch.setattr(batches, "IN_MEMORY", 2**30)
    held = training.throughput(network, Squares(pause=0.05), NORMED, batches=8)
    assert held["loader_pictures_per_second"] > 5 * found["loader_pictures_per_second"]


# ---- the command ----


def test_the_train_command_trains_measures_and_records(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(datasets, "load", lambda *names, **settings: Squares())
    commands.app(["train", "mini-gap", "scenes", "--epochs", "1", "--seed", "2"], standalone_mode=False)
    (file,) = tmp_path.rglob("record.json")
    record = json.loads(Path(file).read_text(encoding="utf-8"))
    assert record["parameters"]["network"] == "mini-gap" and record["parameters"]["epochs"] == 1
    metrics = record["metrics"]
    assert record["finished"] and metrics["training images"] == 37
    assert metrics["processes"] == 1 and 0 <= metrics["mini-gap cam gt_known"] <= 100
    ours = {"top1_error", "top5_error", *(f"{what}_pictures_per_second" for what in ("loader", "step", "both"))}
    assert {f"mini-gap - {name}" for name in ours} <= metrics.keys()
    assert trained("mini-gap", Squares(), training.recipe_for("mini-gap", epochs=1), seed=2).reused


if __name__ == "__main__":
    program(Path(sys.argv[1]))

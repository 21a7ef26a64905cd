"""What was trained once is never trained again."""

from __future__ import annotations

import dataclasses
import glob
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from cambook import files, networks
from cambook.datasets.plain import check_labelled
from cambook.files import load_whole, save_whole
from cambook.machine import resolve_device
from cambook.networks.base import Network
from cambook.training import distributed
from cambook.training.fingerprint import (
    digest_of_labels,
    digest_of_network,
    digest_of_weights,
    key_of,
    source_key,
    tree_of,
)
from cambook.training.fitting import fit
from cambook.training.plans import Plan, policy, trained_already
from cambook.training.recipes import Recipe

MOST_THREADS = 256  # up to so many are tried to say with how many a network in the class's cache was trained


@dataclass
class Trained:
    """A trained network and how it came to be.

    Attributes:
        network: in evaluation mode.
        history: one row per epoch: loss, top1_error in percent, seconds.
        seconds: what training took when it was done.
        reused: whether it came from the cache this time.
        key: the hash of everything that determined it.
        processes: how many trained it.
    """

    network: Network
    history: list[dict[str, float]]
    seconds: float
    reused: bool
    key: str
    processes: int = 1


def trained(
    network: str | Network,
    data,
    recipe: Recipe | Plan | None = None,
    *,
    seed: int = 0,
    weights: str | None = None,
    start: Trained | None = None,
    labels: np.ndarray | None = None,
    device: str | torch.device = "cpu",
    describe: str = "",
    checkpoints: bool = True,
    from_cache: bool = False,
) -> Trained:
    """A network fitted to a data set's labels, from the cache if it was fitted before.

    It is taken from there if everything is as it was. The entry's name is a hash of the name, the network as it is
    before training (layers, settings, weights), the recipe, the seed, the data set, the labels, the start's own hash,
    the versions of the packages that ship ImageNet's weights, the code that takes part (`fingerprint`), torch's
    version, the kind of device and the number of threads. Under torchrun all processes train it together, and how many,
    with how many threads each, stands at the end of the entry's name. One process alone takes such an entry, and says
    so, if it has none of its own.

    Args:
        network: a name that networks.build knows, or a network as it is before training; that one is trained in place.
        data: a data set of N images.
        recipe: how it is trained; None: as the course trains this network on this data (`policy`), or such a Plan with
            other epochs or another rate. A plan says where the network starts, too.
        seed: of the new layers, of the order of the images, and of their windows and mirrors.
        weights: as in networks.build.
        start: a trained original whose cut the named network is: the kept layers start from its weights (the paper's
            fine-tuning).
        labels: in place of the data set's own, as in `fit`; under a plan the original learns from them, too.
        device: to train on.
        describe: what is special about this training, for its progress bar and the ledger: "shuffled labels".
        checkpoints: False keeps none on the way, for a run that is over sooner than a large network is written.
        from_cache: True trains nothing: if the network, or the original that it starts from, is not there, that is an
            error.

    Returns:
        The network in evaluation mode, one row of history per epoch, and whether it came from the cache. There is no
        history if ImageNet's weights were trained on these classes and no layer is new: they are taken as they are.

    Raises:
        ValueError: if the data set has no labels and none are given, if the named network is not a cut of the start's
            network, if a given network has no recipe, if the processes were not given the same, or for anything that
            `fit` refuses.
        FileNotFoundError: with from_cache, if it was not trained before.
        OSError: if ImageNet's weights cannot be downloaded.

    Example:
        >>> from cambook import datasets
        >>> scenes = datasets.load("scenes", "train", 64, length=4)
        >>> made = trained("mini-gap", scenes, Recipe(epochs=1, batch_size=4))
        >>> made.network.name, len(made.history)
        ('mini-gap', 1)
    """
    if labels is None:
        check_labelled(data, "training")
    given = network if isinstance(network, Network) else None
    name = given.name if given else networks.check_name(network)
    how = {"seed": seed, "labels": labels, "device": device}
    planned = not isinstance(recipe, Recipe)
    if planned:
        if given:
            raise ValueError(f"{name} is given as a network: give a recipe, or let it be built by its name.")
        plan = recipe or policy(name, data)
        recipe, weights = plan.recipe, plan.weights
        if plan.start and not start:
            start = trained(plan.start.network, data, plan.start, checkpoints=checkpoints, from_cache=from_cache, **how)
    network = given or _built(name, len(data.classes), weights, start, seed)
    if planned and weights and trained_already(data) and not network.new_layers:
        return Trained(network.to(resolve_device(device)), [], 0.0, True, weights)
    determined_by = {
        "name": name,
        "network": digest_of_network(network),
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "data": data.fingerprint,
        "labels": digest_of_labels(labels) if labels is not None else None,
        "weights": None if given else digest_of_weights(weights, networks.spec(name).weights),
        "start": start.key if start else None,
        "source": source_key(network),
        "torch": [str(torch.__version__), torch.device(device).type, torch.get_num_threads()],
    }
    key, entry, kept = _entries(name, determined_by)
    for file in kept:
        found = distributed.from_first(lambda file=file: load_whole(file))
        if found and (reason := networks.misfit(network, found.get("network"))):
            warnings.warn(f"{file} does not fit {name} ({reason}): it is left aside and made again.", stacklevel=2)
            continue
        if found:
            if file.name != entry.name:
                warnings.warn(f"{name} was trained by {found['processes']} processes: taken from {file}.", stacklevel=2)
            network.load_state_dict(found["network"])
            network.to(device=resolve_device(device), memory_format=torch.channels_last).eval()
            key = file.stem.removeprefix(f"{_in_files(name)}-")
            return Trained(network, found["history"], found["seconds"], True, key, found["processes"])
    if mend := _threads_of_shared(name, determined_by):
        warnings.warn(mend, stacklevel=2)
    if from_cache:
        raise FileNotFoundError(f"{entry} is missing: {name} was not trained so, on this kind of device, by this code.")
    bar = f"training {name}" + (f", {describe}" if describe else "")
    part = entry.with_suffix(".part")
    distributed.from_first(lambda: files.check_writable(entry.parent))
    history = fit(network, data, recipe, checkpoint=part if checkpoints else None, describe=bar, **how)
    processes = distributed.world_size()
    found = {"history": history, "seconds": sum(row["seconds"] for row in history)}
    found |= {"determined_by": determined_by, "describe": describe, "processes": processes}

    def keep() -> None:
        save_whole({**found, "network": network.state_dict()}, entry)
        part.unlink(missing_ok=True)

    distributed.from_first(keep)
    return Trained(network, history, found["seconds"], False, key, processes)


def _built(name: str, classes: int, weights: str | None, start: Trained | None, seed: int) -> Network:
    """The named network before training."""
    found = networks.spec(name)
    if not start:
        with distributed.first_before_others():
            return networks.build(name, classes, weights, seed)
    if found.original != start.network.name:
        mend = f"start it from {found.original}" if found.original else "see networks.on_backbone"
        raise ValueError(f"{name} is not a cut of {start.network.name}: {mend}.")
    network = networks.cut(start.network, found.pooling, classes, seed, found.units)
    network.name = name
    return network


def _entries(name: str, determined_by: dict) -> tuple[str, Path, list[Path]]:
    """The key, its file in the cache, and where it can be taken from: there, the class's cache, several processes'."""
    processes, (*version, threads) = distributed.world_size(), determined_by["torch"]
    source = [determined_by["source"], tree_of(Path(distributed.__file__))]
    together = key_of({**determined_by, "torch": version, "source": source})
    key = key_of(determined_by) if processes == 1 else f"{together}-{processes}x{threads}"
    if len(set(distributed.gather(key))) > 1:
        raise ValueError(f"{name}: give all {processes} processes the same package, settings and data set.")
    entry = files.CACHE / "networks" / f"{_in_files(name)}-{key}.pt"

    def kept() -> list[Path]:
        found = files.cached("networks", entry.name)
        if processes == 1:
            found += [file for folder in files.cached("networks") for file in _made_together(folder, name, together)]
        return found

    return key, entry, distributed.from_first(kept)  # the same list in every process, wherever it runs


def _made_together(folder: Path, name: str, together: str) -> list[Path]:
    return sorted(folder.glob(f"{glob.escape(_in_files(name))}-{together}-*.pt"))


def _in_files(name: str) -> str:
    """A network's name in names of files: without the colon of tv:NAME, which Windows does not allow there."""
    return name.replace(":", "-")


def _threads_of_shared(name: str, determined_by: dict) -> str:
    """What to set so that the class's cache has a network that this machine has to train; empty if it has not."""
    if not files.SHARED:
        return ""
    *same, here = determined_by["torch"]
    for threads in range(1, MOST_THREADS + 1):
        key = key_of({**determined_by, "torch": [*same, threads]})
        if threads != here and (found := files.cached("networks", f"{_in_files(name)}-{key}.pt")):
            return (
                f"{name} is in {found[-1].parent} as trained with {threads} threads, and this process has {here}: set "
                f"OMP_NUM_THREADS={threads} before Python starts to take it; it is trained here now."
            )
    return ""


def shared_networks() -> tuple[int, dict[str, int]]:
    """How many networks of a class's cache fit this machine, and why others do not.

    A network is taken only if everything that determined it is the same. Looked at here is what a machine or an
    installation can differ in: torch's version, the kind of device, the number of threads, and, of networks that
    `networks.build` knows, the code that trains.

    Returns:
        The number that fit, and one entry for each reason why others do not.

    Raises:
        FileNotFoundError: if the folder that CAMBOOK_CACHE_SHARED names cannot be read.

    Example:
        >>> shared_networks() if not files.SHARED else (0, {})
        (0, {})
    """
    shared = [folder for folder in files.cached("networks") if files.SHARED in folder.parents]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a damaged file, which is one of the reasons
        reasons = [_misfit(load_whole(file)) for folder in shared for file in sorted(folder.glob("*.pt"))]
    return reasons.count(""), {reason: reasons.count(reason) for reason in sorted({*reasons} - {""})}


def _misfit(entry: dict | None) -> str:
    """Why this machine cannot take an entry of the cache; empty if it can."""
    how = (entry or {}).get("determined_by", {})
    if not {"name", "source", "torch"} <= set(how):
        return "damaged"
    (version, device, threads), here = how["torch"], torch.get_num_threads()
    if version != str(torch.__version__):
        return f"made with torch {version}, here {torch.__version__}"
    if device != ("cuda" if torch.cuda.is_available() else "cpu"):
        return f"made on {device}, which is not the device here"
    if threads != here and entry["processes"] == 1:
        return f"made with {threads} threads, here {here}: set OMP_NUM_THREADS={threads}"
    known = how["name"] in networks.names() or ":" in how["name"]
    if not known:  # made by a lesson or by the reader, whose code cannot be looked up
        return ""
    return "" if how["source"] == _source_of(how["name"]) else "made by another version of cambook"


@cache
def _source_of(name: str) -> str:
    return source_key(networks.build(name, 2))


def before_and_after(
    name: str,
    data,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    **settings,
) -> tuple[Trained, Trained]:
    """The paper's comparison: the network before and after its change, on the same data.

    Args:
        name: a cut, such as mini-fc-gap: its original, and the cut fine-tuned from it, its new layers at ten times the
            learning rate (both by `policy`). Or a network with ImageNet's weights that needs no cut, such as lite0-gap,
            which has average pooling from the start: its new layers on the frozen backbone, and the whole network
            fine-tuned.
        data: what both learn from.
        seed, device: as in `trained`.
        settings: epochs, lr and precision in place of the recipes' own, as in `policy`.

    Returns:
        The network as it was, and the one whose maps are looked at.

    Raises:
        ValueError: for any other network.
        OSError: if ImageNet's weights cannot be downloaded.

    Example:
        >>> from cambook import datasets
        >>> scenes = datasets.load("scenes", "train", 64, length=4)
        >>> before, after = before_and_after("mini-fc-gap", scenes, epochs=1)
        >>> before.network.name, after.network.name
        ('mini-fc', 'mini-fc-gap')
    """
    how = {"seed": seed, "device": device}
    found, plan = networks.spec(name), policy(name, data, **settings)
    if found.original:
        original = plan.start or policy(found.original, data, **settings)
        before = trained(found.original, data, original, **how)
        return before, trained(name, data, plan, start=before if plan.start else None, **how)
    if plan.weights and not found.keeps:
        linear = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, frozen=True))
        before = trained(name, data, linear, describe="frozen backbone", **how)
        return before, trained(name, data, plan, **how)
    whole = [other for other in networks.names() if networks.spec(other).weights and not networks.spec(other).keeps]
    known = list(dict.fromkeys([*whole, *networks.cuts()]))
    raise ValueError(f"network={name!r} was cut from no other: choose {', '.join(known)}.")

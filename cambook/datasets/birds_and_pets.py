"""`CUB`, Caltech-UCSD Birds, and `Pets`, Oxford-IIIT Pet: photographs with boxes and masks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cambook.datasets.decoding import decode_mask
from cambook.datasets.downloads import Archive
from cambook.datasets.photographs import Listed, Photographs, Truth
from cambook.datasets.reading import (
    Unusable,
    as_on_disk,
    existing_folder,
    files_by_stem,
    read_lines,
    read_numbers,
    suffixes,
)
from cambook.datasets.registry import register


@register
class CUB(Photographs):
    """Caltech-UCSD Birds-200-2011: 200 species, one box per image, masks if they are there.

    Batches come from `Photographs.batch`. Boxes are x, y, width, height in pixels counted from 0 (the box of a whole
    image of 500 x 375 is 0 0 500 375), so x1 = x + width. A pixel is object if its grey value in the segmentation,
    taken as the share of annotators, is above half of 255. Caltech warns that images of this set are also in ImageNet,
    so a pretrained network may have seen some of the test images.

    Args:
        folder: CUB_200_2011 (images.txt, image_class_labels.txt, train_test_split.txt, bounding_boxes.txt, classes.txt,
            images/), or the folder that contains it; segmentations/ in either of them.
        split: "train" or "test" of train_test_split.txt.
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: for what is missing.
        ValueError: if a list is damaged or no image can be used.

    Source: Wah et al. 2011, The Caltech-UCSD Birds-200-2011 dataset.

    Example:
        >>> CUB.splits["test"], CUB.has_masks, [archive.name for archive in CUB.archives]
        (5794, True, ['CUB_200_2011.tgz', 'segmentations.tgz'])
    """

    kind = "cub"
    drawn_on = "stored"  # as all tools of its time did
    splits = {"train": 5994, "test": 5794}
    source = "Caltech-UCSD Birds-200-2011, https://data.caltech.edu/records/65de6-vp158"
    licence = "non-commercial research and education; images belong to their photographers"
    # The sizes and SHA-256 are those of CaltechDATA's files, as several public loaders state them alike (their MD5 are
    # 97eceeb196236b17998738112f37df78 and 4d47ba1228eae64f2fa547c47bc65255).
    archives = (
        Archive.at(
            ("https://data.caltech.edu/records/65de6-vp158/files/",),
            "CUB_200_2011.tgz",
            1_150_585_339,
            "sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
        ),
        Archive.at(
            ("https://data.caltech.edu/records/w9d68-gec53/files/",),
            "segmentations.tgz",
            39_272_883,
            "sha256:dc77f6cffea0cbe2e41d4201115c8f29a6320ecb04fffd2444f51b8066e4b84f",
        ),
    )
    has_masks = True  # of an instance: whether the folder of segmentations is there
    beyond = 0  # wsolevaluation's lists say x + width where others say the last pixel

    LISTS = ("images", "image_class_labels", "train_test_split", "bounding_boxes", "classes")

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        top = existing_folder(folder)
        root = top / "CUB_200_2011" if (top / "CUB_200_2011").is_dir() else top
        for part in ("images", *(f"{name}.txt" for name in self.LISTS)):
            if not (root / part).exists():
                raise FileNotFoundError(f"{root} has no {part}: give the folder CUB_200_2011 as the archive unpacks it")
        candidates = (root / "segmentations", top / "segmentations", top.parent / "segmentations")
        segmentations = next((each for each in candidates if each.is_dir()), None)
        outermost = root if segmentations is None else Path(os.path.commonpath([root, segmentations]))
        super().__init__(folder, split, size, outermost)
        self.has_masks = segmentations is not None
        files, label_of, part_of, box_of, species = (_by_id(root / f"{name}.txt") for name in self.LISTS)
        order = {identity: label for label, identity in enumerate(sorted(species, key=int))}
        listed = []
        for identity, file in files.items():
            if (part_of.get(identity, "1") == "1") != (split == "train"):
                continue
            stem = Path(file).with_suffix("").as_posix()
            box = read_numbers(box_of.get(identity, ""))
            if Path(file).is_absolute() or ".." in Path(file).parts:
                problem = "images.txt names a path outside images/"
            elif identity not in label_of or identity not in part_of or identity not in box_of:
                tables = zip(self.LISTS[1:4], (label_of, part_of, box_of), strict=True)
                lacking = next(name for name, table in tables if identity not in table)
                problem = f"{lacking}.txt has no line for image {identity}"
            elif label_of[identity] not in order:
                problem = f"its class {label_of[identity]} is not in classes.txt"
            elif len(box) != 4 or min(box[2:]) <= 0:
                problem = f"bounding_boxes.txt gives no box: {box_of[identity]}"
            else:
                picture = as_on_disk(root / "images" / file)
                mask = segmentations and str(as_on_disk(segmentations / f"{stem}.png"))
                listed.append(Listed(stem, order[label_of[identity]], str(picture), mask, box))
                continue
            listed.append(Listed(stem, None, None, problem=problem))
        self.look_through(listed, [species[i].split(".", 1)[-1].replace("_", " ") for i in order], length, seed)

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        x, y, width, height = one.box
        grey = None if data is None else decode_mask(data)
        if grey is not None and not self.masks(np.asarray(grey))[0].any():
            raise Unusable("the segmentation marks no object")
        return Truth(one.label, np.array([[x, y, x + width, y + height]]), grey and grey.size, grey and grey.size)

    def masks(self, grey: np.ndarray) -> tuple[np.ndarray, None]:
        return grey > 127, None


@register
class Pets(Photographs):
    """Oxford-IIIT Pet: 37 breeds, masks from trimaps.

    Batches come from `Photographs.batch`. A trimap says 1 object, 2 background, 3 border that its annotators left
    unclassified. The box is the tight one around all that is not background; the mask is the object alone, and border
    pixels are ignored in pixel metrics.

    Args:
        folder: the one that contains images/ and annotations/ (trainval.txt, test.txt, trimaps/).
        split: "train" reads annotations/trainval.txt, "test" annotations/test.txt; their class ids give the order of
            the classes.
        size, length, seed: as for `load`.

    Raises:
        FileNotFoundError: for what is missing.
        ValueError: if a list is damaged or no image can be used.

    Source: Parkhi et al. 2012, Cats and dogs.

    Example:
        >>> Pets.splits["test"], [archive.name for archive in Pets.archives]
        (3669, ['images.tar.gz', 'annotations.tar.gz'])
    """

    kind = "pets"
    drawn_on = "stored"  # as all tools of its time did
    splits = {"train": 3680, "test": 3669}
    source = "Oxford-IIIT Pet, https://www.robots.ox.ac.uk/~vgg/data/pets/"
    licence = "CC BY-SA 4.0; images belong to their photographers"
    archives = tuple(
        Archive.at(
            ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/", "https://thor.robots.ox.ac.uk/~vgg/data/pets/"), *each
        )
        for each in (  # the MD5 are torchvision's
            ("images.tar.gz", 791_918_971, "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            ("annotations.tar.gz", 19_173_078, "md5:95a8c909bbe2e81eed6a22bccdf3f68f"),
        )
    )
    has_masks = True

    OBJECT, BACKGROUND, BORDER = 1, 2, 3

    def __init__(self, folder: str | Path, split: str, size: int, *, length: int | None = None, seed: int = 0) -> None:
        top = existing_folder(folder)
        root = top / "oxford-iiit-pet" if (top / "oxford-iiit-pet").is_dir() else top
        for part in ("images", "annotations/trainval.txt", "annotations/test.txt", "annotations/trimaps"):
            if not (root / part).exists():
                raise FileNotFoundError(f"{root} has no {part}: unpack images.tar.gz and annotations.tar.gz there")
        super().__init__(folder, split, size, root)
        pictures = files_by_stem(root / "images", suffixes())
        lists = {part: self._read_list(root / "annotations" / f"{part}.txt", pictures) for part in ("trainval", "test")}
        breeds: dict[int, str] = {}
        for name, number in {**lists["trainval"], **lists["test"]}.items():
            breed = " ".join(word.title() for word in name.rsplit("_", 1)[0].split("_"))
            if breeds.setdefault(number, breed) != breed:
                raise ValueError(
                    f"{root}/annotations: class {number} is {breeds[number]} and {breed}; correct the lists"
                )
        order = sorted(breeds)
        listed = []
        for name, number in lists["trainval" if split == "train" else "test"].items():
            picture = pictures.get(name) or str(root / "images" / f"{name}.jpg")
            trimap = as_on_disk(root / "annotations" / "trimaps" / f"{name}.png")
            listed.append(Listed(name, order.index(number), picture, str(trimap)))
        self.look_through(listed, [breeds[number] for number in order], length, seed)

    def _read_list(self, file: Path, pictures: dict[str, str]) -> dict[str, int]:
        found, mended = {}, []
        for number, line in enumerate(read_lines(file), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) < 2 or not words[1].isdecimal() or "/" in words[0] or "\\" in words[0]:
                raise ValueError(
                    f'{file}, line {number} is "{line[:60]}": it must be an image\'s name and its class id'
                )
            name, stem = words[0], Path(words[0]).stem
            if name not in pictures and stem in pictures:
                mended.append(name)
                name = stem
            found[name] = int(words[1])
        if mended:
            self.report.append(
                f"annotations/{file.name}: {len(mended)} names are written with an ending, the first of them "
                f"{mended[0]}, and are read without it"
            )
        return found

    def truth(self, one: Listed, data: bytes | None) -> Truth:
        trimap = np.asarray(decode_mask(data))
        if strange := set(np.unique(trimap).tolist()) - {self.OBJECT, self.BACKGROUND, self.BORDER}:
            raise Unusable(f"the trimap contains {sorted(strange)[0]}, which is not 1, 2 or 3")
        if not (trimap == self.OBJECT).any():
            raise Unusable("the trimap marks no object")
        rows, columns = np.nonzero(trimap != self.BACKGROUND)
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], float)
        return Truth(one.label, box, trimap.shape[::-1], trimap.shape[::-1])

    def masks(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return grey == self.OBJECT, grey == self.BORDER


def _by_id(file: Path) -> dict[str, str]:
    """A list of CUB: id -> the rest of its line."""
    found = {}
    for number, line in enumerate(read_lines(file), 1):
        identity, _, rest = line.strip().partition(" ")
        if identity and not (identity.isdecimal() and rest.strip()):
            raise ValueError(f'{file}, line {number} is "{line[:60]}": it must be a number and what it stands for')
        if identity:
            found[identity] = rest.strip()
    return found

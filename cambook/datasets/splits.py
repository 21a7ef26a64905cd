"""What the parts of a folder are: splits such as train and test, by whatever name, or classes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from cambook.datasets.reading import contains_images, folders_in, nfc

_ROLES = {
    "train": "train training trn entrenamiento entrainement entraînement apprentissage treino treinamento обучение "
    "학습 훈련 트레이닝 训练 訓練 学習",
    "test": "test tests testing tst eval evaluation holdout heldout prueba teste тест "
    "시험 테스트 평가 测试 測試 テスト 評価 评估",
    "val": "val valid validation validate validating dev development validación validacion validação проверка "
    "검증 验证 驗證 検証",
}
_ROLE_OF = {nfc(word): role for role, words in _ROLES.items() for word in words.split()}
_FILLERS = "dataset data sets set splits split images image imgs img photos folder samples files list"
_FILLERS += " 데이터셋 데이터 세트 셋 이미지 사진 목록 용 数据集 数据 图片 集 データ セット 画像 用"
_FILLER = "|".join(map(re.escape, map(nfc, _FILLERS.split())))

T = TypeVar("T")


def role_of(name: str) -> str | None:
    """Which split a folder or list is called after: "train", "test" or "val"; None if after none of them.

    Args:
        name: in any case and with or without "set", "data", "images", years and the like.

    Example:
        >>> [role_of(name) for name in ("training_set", "VALIDATION", "test2017", "학습 데이터", "train_station")]
        ['train', 'val', 'test', 'train', None]
    """
    word, shorter = "", re.sub(r"[\W\d_]+", "", nfc(name).casefold())
    while shorter != word and shorter not in _ROLE_OF:
        word, shorter = shorter, re.sub(rf"^(?:{_FILLER})|(?:{_FILLER})$", "", shorter)
    return _ROLE_OF.get(shorter)


def roles(names: Iterable[str]) -> dict[str, str]:
    """The names that are called after a split, with its name: by themselves, or as `seg_train` beside `seg_test` is.

    Example:
        >>> roles(["seg_train", "seg_test"]), roles(["train_station", "bus_stop"])
        ({'seg_train': 'train', 'seg_test': 'test'}, {})
    """
    names = list(names)
    found = {name: role for name in names if (role := role_of(name))}
    if found:
        return found
    shared: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        words = [word for word in re.split(r"[\W_]+", nfc(name).casefold()) if word]
        for word, rest in ((words[-1], words[:-1]), (words[0], words[1:])) if len(words) > 1 else ():
            if role := role_of(word):
                shared.setdefault(tuple(rest), {})[name] = role
                break
    pairs = [each for each in shared.values() if "train" in each.values() and len(set(each.values())) > 1]
    return pairs[0] if len(pairs) == 1 else {}


def split_folders(root: Path, report: list[str]) -> dict[str, Path]:
    """The folders of classes to train and to test on, or nothing if the folders in `root` are classes themselves.

    A folder is a split if it is called after one and contains folders, and a class if images lie in it directly: of
    the classes bus, car, plane and train, the last is not a split.

    Args:
        root: the folder that a user gave.
        report: gets one sentence for each split that is not used.

    Returns:
        {"train": folder, "test": folder}, or {}.

    Raises:
        FileNotFoundError: if there is one split alone.
        ValueError: if it cannot be told whether the folders are splits or classes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("Training/cat", "Training/dog", "valid/cat", "valid/dog"):
        ...         Path(folder, name).mkdir(parents=True)
        ...     {split: found.name for split, found in split_folders(Path(folder), []).items()}
        {'train': 'Training', 'test': 'valid'}
    """
    folders = folders_in(root)
    called = roles(each.name for each in folders)
    by_role: dict[str, list[Path]] = {"train": [], "test": [], "val": []}
    flat: list[Path] = []
    for each in folders:
        if each.name not in called:
            continue
        inner, images = folders_in(each), contains_images(each)
        if images and len(inner) < 2:
            flat.append(each)
        elif inner:
            by_role[called[each.name]].append(each)
    train, test = _the_one(root, by_role, "train"), _the_one(root, by_role, "test", "val")
    if train and test:
        report += [f"{each.name}: its images that lie in no class's folder are not used" for each in flat]
        return {"train": _unwrapped(train), "test": _unwrapped(test)}
    others = [each for each in folders if each.name not in called]
    alone = [each for found in by_role.values() for each in found]
    exact = [each.name for each in alone if each.name in by_role]
    if alone and flat:
        raise ValueError(
            f"{root}/{alone[0].name} contains a folder for each class, and {flat[0].name} images of no class: put "
            f"these into {flat[0].name}/CLASS, or give {alone[0]}, which is then split here"
        )
    if exact and others:
        raise ValueError(
            f"{root} contains {exact[0]} beside {_some(each.name for each in others)}: if it is a class, put its "
            "images into it directly and not into folders inside it; if it is a split, add the other, train or test, "
            "and move the other folders away"
        )
    if exact or (alone and not others):
        names = sorted(each.name for each in alone)
        raise FileNotFoundError(
            f"{root} has {' and '.join(names)} alone: it must contain train and test, or classes; or give "
            f"{root / names[0]}, which is then split here"
        )
    if flat and not others and (len({called[each.name] for each in flat}) > 1 or flat[0].name in by_role):
        names = sorted(each.name for each in flat)
        raise ValueError(
            f"{root}: {' and '.join(names)} {'contains' if len(names) == 1 else 'contain'} images and no folder for "
            f"each class: put them into {names[0]}/CLASS, or, if these are the classes, rename them"
        )
    _check_classes(root, folders)
    return {}


def _the_one(root: Path, by_role: dict[str, list[Path]], *wanted: str) -> Path | None:
    """The folder of the first of these roles that has one: rather called exactly so than in another way."""
    exact = [each for role in wanted for each in by_role[role] if each.name == role]
    if exact:
        return exact[0]
    found = next((by_role[role] for role in wanted if by_role[role]), [None])
    if len(found) > 1:
        raise ValueError(
            f"{root} contains {_some(each.name for each in found)}, each of which may be the folder {wanted[0]}: "
            f"rename the one to be used to {wanted[0]}"
        )
    return found[0]


def _unwrapped(split: Path) -> Path:
    """The folder with the classes: the one inside, if it is called alike, as archives unpack into a folder."""
    inner = folders_in(split)
    return inner[0] if [each.name for each in inner] == [split.name] else split


def _check_classes(root: Path, folders: list[Path]) -> None:
    """Refuses what cannot be classes: folders that contain no images, and all of them the same folders."""
    shared: set[str] | None = None
    for each in folders:
        if contains_images(each):
            return
        inner = {nfc(p.name).casefold() for p in folders_in(each)}
        if len(inner) < 2 or (shared is not None and inner != shared):
            return
        shared = inner
    if shared is None or len(folders) < 2:
        return
    names, inner = _some(each.name for each in folders), _some(sorted(shared))
    if len(set(map(role_of, shared)) - {None}) > 1:
        raise ValueError(
            f"each of the folders of {root} ({names}) contains {inner}: it looks like classes that are split inside; "
            "put the splits outside, as train/CLASS and test/CLASS"
        )
    raise ValueError(
        f"each of the folders of {root} ({names}) contains the same folders ({inner}) and no images: it looks like "
        "splits of those classes; rename the two to be used train and test, or, if these are the classes, put their "
        "images into them directly"
    )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def split_lists(lists: Iterable[str]) -> dict[str, str]:
    """Which of some lists' names is that of "train", and which that of "test" (val if no other is); by `role_of`.

    Example:
        >>> split_lists(["cat_val", "train", "trainval", "val"]), split_lists(["Training", "VALID"])
        ({'train': 'train', 'test': 'val'}, {'train': 'Training', 'test': 'VALID'})
    """
    lists, found = list(lists), {}
    for split, wanted in {"train": ("train",), "test": ("test", "val")}.items():
        called = [[name for name in lists if role_of(name) == role] for role in wanted]
        names = [role for role in wanted if role in lists] + [each[0] for each in called if len(each) == 1]
        if names:
            found[split] = names[0]
    return found


def quarter(images: Iterable[T], name: Callable[[T], str]) -> dict[str, list[T]]:
    """The images of one class split in two where no split is published: a quarter, at least one image, is "test".

    Args:
        images: in an order that does not depend on the disk.
        name: of an image's file; those whose names have the smallest SHA-256 are the quarter.

    Example:
        >>> quarter(["1.jpg", "2.jpg", "3.jpg", "4.jpg"], str)
        {'train': ['2.jpg', '4.jpg', '3.jpg'], 'test': ['1.jpg']}
    """
    ordered = sorted(images, key=lambda one: hashlib.sha256(nfc(name(one)).encode("utf-8", "surrogateescape")).digest())
    cut = max(1, len(ordered) // 4)
    return {"train": ordered[cut:], "test": ordered[:cut]}


def single_folder(root: Path) -> str:
    """The end of a sentence about a folder with too few classes: which folder to give, if the classes lie deeper.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "birds/cats").mkdir(parents=True)
        ...     Path(folder, "birds/owls").mkdir()
        ...     single_folder(Path(folder)).partition(", give ")[0]
        '; if its folders are the classes'
    """
    inner = folders_in(root)
    deeper = root if len(inner) > 1 else inner[0] if inner else root
    return f"; if its folders are the classes, give {deeper}" if len(folders_in(deeper)) > 1 else ""

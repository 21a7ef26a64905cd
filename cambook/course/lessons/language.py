"""Images and words: networks that answer questions and write captions, and where Grad-CAM says they look.

Questions and captions are generated from scenes of two objects; measured is how well the maps of answers and words
point at what they name.

An entry of the vocabulary is called a word, although some hold two: "left of", "land mammal".
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cambook.maps.cam import normalize, upsample
from cambook.maps.gradients import grad_cam
from cambook.metrics.localization import pointing_hit
from cambook.networks.base import Network

CHANNELS = 128  # of the small backbone
PAD, START, END = "-", "<start>", "<end>"
RELATIONS = ("left of", "above", "right of", "below")  # two after each stands its opposite
KINDS = ("what", "what", "nothing", "nothing", "yes", "yes", "no", "no")


class Vocabulary:
    """The words that a network reads or says, each with its number.

    words: every word once; `text` joins words to a sentence, `encode` gives their numbers
    """

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        self._number = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, sentence: Sequence[str], length: int | None = None) -> list[int]:
        """The numbers of a sentence's words, filled up to `length` with PAD; KeyError names an unknown word."""
        filled = [*sentence, *[PAD] * ((length or 0) - len(sentence))]
        unknown = [word for word in filled if word not in self._number]
        if unknown:
            raise KeyError(f"the word {unknown[0]!r} is not in the vocabulary: {', '.join(self.words)}.")
        return [self._number[word] for word in filled]

    def text(self, numbers: Sequence[int]) -> str:
        """The sentence of these numbers up to its end, without START, END and PAD."""
        words = [self.words[number] for number in numbers]
        words = words[: words.index(END)] if END in words else words
        return " ".join(word for word in words if word not in (PAD, START))


def vocabulary(categories: Sequence[str]) -> Vocabulary:
    """Every word of the questions and captions about scenes of these categories."""
    return Vocabulary([PAD, START, END, "a", "an", "the", "what", "is", "there", *RELATIONS, *categories])


def article(word: str) -> str:
    """The word after "a" or "an"."""
    return "an" if word[0] in "aeiou" else "a"


# ---- questions and captions of scenes.Pairs ----


@dataclass
class Questions:
    """Eight questions about each image, two of each kind: something is there, nothing is there, yes, no.

    texts:   N lists of 8 questions, each a list of words
    tokens:  (N, 8, 5) int64, their numbers; answers: (N, 8) int64, places in `choices`
    choices: the possible answers: the categories, "nothing", "yes", "no"
    named:   (N, 8) int64, which object the question names, 0 the first, 1 the second, -1 neither
    answer_object: (N, 8) int64, which object the answer is, -1 where it is none
    kinds:   the 8 kinds, in the order of the questions
    """

    texts: list[list[list[str]]]
    tokens: np.ndarray
    answers: np.ndarray
    choices: list[str]
    named: np.ndarray
    answer_object: np.ndarray
    kinds: tuple[str, ...] = KINDS

    @property
    def labels(self) -> np.ndarray:
        """(N, 8, 6) int64: each question's numbers and then its answer, as AnswerNetwork.loss takes them."""
        return np.concatenate([self.tokens, self.answers[..., None]], -1)


def questions(pairs, seed: int = 0) -> Questions:
    """Questions with their answers, for every image of a scenes.Pairs.

    With a car below a bird: "what is above the car" (bird), "what is below the bird" (car), "what is below the car"
    and "what is above the bird" (nothing), "is there a bird", "is there a car" (yes), and two categories that are not
    in the image (no). So half of the questions of each sort have nothing to find. A relation is asked along the
    image's own axis only: in an image of one object above another nobody asks what is left of it.
    seed: of the categories that are not there
    """
    words, names = vocabulary(pairs.categories), pairs.categories
    choices = [*names, "nothing", "yes", "no"]
    draws = np.random.default_rng([seed, len(names)]).random((len(pairs), 2))
    texts, answers = [], []
    for a, b, axis, draw in zip(pairs.first, pairs.second, pairs.arrangement, draws, strict=True):
        before, behind = RELATIONS[axis], RELATIONS[axis + 2]
        others = [name for name in names if name not in (names[a], names[b])]
        one = others.pop(int(draw[0] * len(others)))
        two = others[int(draw[1] * len(others))]
        asked = [(before, b), (behind, a), (before, a), (behind, b)]
        what = [["what", "is", relation, "the", names[place]] for relation, place in asked]
        there = [["is", "there", article(name), name] for name in (names[a], names[b], one, two)]
        texts.append(what + there)
        answers.append([choices.index(word) for word in (names[a], names[b], *KINDS[2:])])
    tokens = np.array([[words.encode(text, 5) for text in eight] for eight in texts])
    named, answer_object = [1, 0, 0, 1, 0, 1, -1, -1], [0, 1, -1, -1, 0, 1, -1, -1]
    return Questions(
        texts,
        tokens,
        np.array(answers),
        choices,
        np.tile(named, (len(pairs), 1)),
        np.tile(answer_object, (len(pairs), 1)),
    )


def captions(pairs) -> np.ndarray:
    """(N, 6) int64: "a bird above a ship", then END, for every image of a scenes.Pairs."""
    words, names = vocabulary(pairs.categories), pairs.categories
    rows = zip(pairs.first, pairs.arrangement, pairs.second, strict=True)
    told = [[article(names[a]), names[a], RELATIONS[axis], article(names[b]), names[b], END] for a, axis, b in rows]
    return np.array([words.encode(sentence) for sentence in told])


# ---- the networks ----


class Quarters(nn.Module):
    """Feature maps averaged over each of their four quarters and joined to one vector: where, coarsely, is what.

    feature_maps (B, K, h, w) -> (B, units). One average over all places would forget what is left of what.
    """

    def __init__(self, channels: int, units: int):
        super().__init__()
        self.pool, self.linear = nn.AdaptiveAvgPool2d(2), nn.Linear(4 * channels, units)

    def forward(self, feature_maps: Tensor) -> Tensor:
        return self.linear(self.pool(feature_maps).flatten(1))


class AnswerNetwork(Network):
    """An image and a question -> one of the answers: two vectors, multiplied, then a linear layer.

    The image's vector comes from its feature maps (Quarters), the question's is a sum over its words, one vector a
    word, then a hidden layer: the order of the words is not read. Multiplying the two lets each number of the image
    count or not, as the question asks. Small, after the networks of Antol et al. 2015 (product) and Zhou et al. 2015
    (sum of words).
    """

    without_weight = (
        "multiplies the image's vector by the question's before its last layer, so how much a feature map counts for "
        "an answer depends on the question: take Grad-CAM with the question (`Asked`)"
    )

    def __init__(self, backbone: nn.Module, channels: int, words: int, choices: int, units: int = 256):
        super().__init__(backbone)
        self.name = "mini-answer"
        self.picture = Quarters(channels, units)
        self.words = nn.EmbeddingBag(words, units, mode="sum", padding_idx=0)
        self.question = nn.Sequential(nn.ReLU(), nn.Linear(units, units))
        self.classifier = nn.Sequential(nn.ReLU(), nn.Linear(units, choices))
        self.new_layers = ("picture", "words", "question", "classifier")

    def read(self, tokens: Tensor) -> Tensor:
        """tokens (..., L) int64 -> the questions' vectors (..., units)."""
        return self.question(self.words(tokens.flatten(0, -2))).unflatten(0, tokens.shape[:-1])

    def answer(self, feature_maps: Tensor, tokens: Tensor) -> Tensor:
        """feature_maps (B, K, h, w), tokens (B, Q, L): Q questions per image -> logits (B, Q, choices)."""
        return self.classifier(self.picture(feature_maps)[:, None] * self.read(tokens))

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W), tokens (B, Q, L) -> logits (B, Q, choices), feature_maps (B, K, h, w)."""
        feature_maps = self.features(images)
        return self.answer(feature_maps, tokens), feature_maps

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the answers; labels (B, Q, L + 1), as Questions.labels."""
        logits, answers = self(images, labels[..., :-1])[0].flatten(0, 1).float(), labels[..., -1].flatten()
        return F.cross_entropy(logits, answers), (logits.argmax(1) != answers).float().mean()


class CaptionNetwork(Network):
    """An image -> a sentence, word by word: each word follows from the image and the words before it.

    The image's vector (Quarters) is what the recurrent cell (GRU, Cho et al. 2014) begins with; at each step the
    cell reads the word before, and a linear layer scores every word as the next one. Small, after Karpathy and
    Fei-Fei 2015, whose network Grad-CAM's authors looked into.
    """

    without_weight = (
        "says a sentence word by word, so how much a feature map counts for a word depends on the words before it: "
        "take Grad-CAM with these words (`Spoken`)"
    )

    def __init__(self, backbone: nn.Module, channels: int, words: int, units: int = 256):
        super().__init__(backbone)
        self.name = "mini-caption"
        self.picture = Quarters(channels, units)
        self.words = nn.Embedding(words, units)
        self.cell = nn.GRUCell(units, units)
        self.classifier = nn.Linear(units, words)
        self.new_layers = ("picture", "words", "cell", "classifier")

    def say(self, feature_maps: Tensor, before: Tensor) -> Tensor:
        """Scores of the word after each of the words before: (B, K, h, w), (B, L) -> logits (B, L, words)."""
        state, logits = torch.tanh(self.picture(feature_maps)), []
        for word in before.unbind(1):
            state = self.cell(self.words(word), state)
            logits.append(self.classifier(state))
        return torch.stack(logits, 1)

    def forward(self, images: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W), before (B, L), START first -> logits (B, L, words), feature_maps (B, K, h, w)."""
        feature_maps = self.features(images)
        return self.say(feature_maps, before), feature_maps

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each next word; labels (B, L), END last. The words before are the TRUE ones (teacher
        forcing)."""
        logits, words = self(images, shifted(labels))[0].flatten(0, 1).float(), labels.flatten()
        return F.cross_entropy(logits, words), (logits.argmax(1) != words).float().mean()

    @torch.no_grad()
    def caption(self, images: Tensor, length: int = 6) -> Tensor:
        """Greedy decoding: the most likely word, then the most likely after it, ...: (B, length) int64."""
        state = torch.tanh(self.picture(self.features(images)))
        word, said = images.new_full((len(images),), 1, dtype=torch.int64), []
        for _ in range(length):
            state = self.cell(self.words(word), state)
            word = self.classifier(state).argmax(1)
            said.append(word)
        return torch.stack(said, 1)


def answer_network(start: Network, categories: Sequence[str], seed: int = 0) -> AnswerNetwork:
    """An AnswerNetwork that has not learnt yet, on a copy of a small network's backbone; seed: of its other layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {"words": len(vocabulary(categories)), "choices": len(categories) + 3}
        return AnswerNetwork(copy.deepcopy(start.backbone), CHANNELS, **sizes).eval()


def caption_network(start: Network, categories: Sequence[str], seed: int = 0) -> CaptionNetwork:
    """A CaptionNetwork that has not learnt yet, on a copy of a small network's backbone; seed: of its other layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CaptionNetwork(copy.deepcopy(start.backbone), CHANNELS, len(vocabulary(categories))).eval()


def shifted(captions: Tensor) -> Tensor:
    """START and all words but the last: what is read where each word of captions (B, L) is to be said."""
    return torch.cat([torch.ones_like(captions[:, :1]), captions[:, :-1]], 1)


# ---- how well they do without looking, and where their maps point ----


def prior_answers(learned: Questions, asked: Questions) -> np.ndarray:
    """The answer to each question of `asked` without its picture: the most frequent one to the same words in `learned`.

    returns: (N, 8) int64; of equally frequent answers the first, and for words never learned the most frequent of all
    """
    counts: dict[tuple[int, ...], np.ndarray] = {}
    for words, answer in zip(learned.tokens.reshape(-1, 5).tolist(), learned.answers.flat, strict=True):
        counts.setdefault(tuple(words), np.zeros(len(learned.choices), int))[answer] += 1
    every = sum(counts.values())
    best = [counts.get(tuple(words), every).argmax() for words in asked.tokens.reshape(-1, 5).tolist()]
    return np.array(best).reshape(asked.answers.shape)


class Asked(nn.Module):
    """An AnswerNetwork with one question for each image: images in, logits of the answers out.

    tokens: (B, L) int64. So a map of it is made as of any classifier.
    """

    def __init__(self, network: AnswerNetwork, tokens: Tensor):
        super().__init__()
        self.network, self.tokens = network, tokens

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, self.tokens[:, None])[0][:, 0]


class Spoken(nn.Module):
    """A CaptionNetwork with one sentence for each image: images in, the log-probability of each of its words out.

    captions: (B, L) int64. log P(word t | image, words before t); their sum is the sentence's log-probability.
    """

    def __init__(self, network: CaptionNetwork, captions: Tensor):
        super().__init__()
        self.network, self.captions = network, captions

    def forward(self, images: Tensor) -> Tensor:
        logits, _ = self.network(images, shifted(self.captions))
        return logits.log_softmax(2).gather(2, self.captions[..., None])[..., 0]


def answer_maps(network: AnswerNetwork, images: Tensor, tokens: Tensor, answers: Tensor) -> Tensor:
    """Grad-CAM of one answer's score to one question, at the last convolution.

    images: (B, 3, H, W); tokens: (B, L); answers: (B,) places in the choices; returns (B, h, w), not negative
    Selvaraju et al. 2017, the section on visual question answering.
    """
    return grad_cam(Asked(network, tokens), images, answers[:, None], network.backbone).maps[:, 0]


def ask(
    network: AnswerNetwork, image: Tensor, sentence: Sequence[str], choices: Sequence[str]
) -> tuple[str, float, Tensor]:
    """One question about one image: the most likely answer, its probability, and its map from 0 to 1.

    image: (3, H, W); sentence: the question's words; choices: as Questions.choices; the map is (h, w)
    """
    numbers = vocabulary(choices[:-3]).encode(sentence, 5)
    tokens = torch.tensor([numbers], device=image.device)
    found = grad_cam(Asked(network, tokens), image[None], layer=network.backbone, top=1)
    best = int(found.classes[0, 0])
    return choices[best], float(found.logits.softmax(1)[0, best]), normalize(found.maps)[0, 0]


def answer_pointing(
    network: AnswerNetwork, images: Tensor, masks: Tensor, asked: Questions, kind: str, shuffled: bool = False
) -> dict[str, np.ndarray]:
    """How often the map of the right answer points at the answer's object ("own") and at the image's "other" one.

    images: (N, 3, H, W); masks: (N, 2, S, S); kind: "what" or "yes", where the answer belongs to an object
    shuffled: each image is asked the question of the image before it; the answer whose map is made stays
    returns: {"own", "other"}: (N, 2) bool, for the two questions of that kind
    raises: ValueError for a kind whose answer belongs to no object
    """
    columns = [j for j, each in enumerate(asked.kinds) if each == kind and (asked.answer_object[:, j] >= 0).all()]
    if not columns:
        raise ValueError(f"kind={kind!r} has no answer that belongs to an object: choose what or yes.")
    tokens = np.roll(asked.tokens, 1, axis=0) if shuffled else asked.tokens
    found: dict[str, list[np.ndarray]] = {"own": [], "other": []}
    for j in columns:
        words, answers = (torch.from_numpy(each[:, j]).to(images.device) for each in (tokens, asked.answers))
        hits = points_at(answer_maps(network, images, words, answers), masks)
        own, rows = asked.answer_object[:, j], np.arange(len(hits))
        found["own"].append(hits[rows, own])
        found["other"].append(hits[rows, 1 - own])
    return {name: np.stack(each, 1) for name, each in found.items()}


def word_maps(network: CaptionNetwork, images: Tensor, captions: Tensor) -> Tensor:
    """Grad-CAM of the log-probability of each word of a sentence, at the last convolution.

    images: (B, 3, H, W); captions: (B, L); returns (B, L, h, w), not negative
    Selvaraju et al. 2017, in the section on captioning, take the log-probability of the whole sentence, the sum over
    its words.
    """
    words = torch.arange(captions.shape[1], device=images.device)
    return grad_cam(Spoken(network, captions), images, words, network.backbone).maps


def points_at(maps: Tensor, masks: Tensor, tolerance: float = 15) -> np.ndarray:
    """The pointing game with several objects: does the map's maximum lie on each of them, or within the tolerance?

    maps: (B, h, w), enlarged to the masks' size; masks: (B, n, S, S) bool; tolerance: as in metrics.pointing_hit
    returns: (B, n) bool; a map that is the same everywhere points at nothing. Two objects that nearly touch may both
             be hit by one maximum.
    """
    large, masks = upsample(maps[:, None], masks.shape[-1])[:, 0].cpu().numpy(), masks.cpu().numpy()
    hits = np.array(
        [[pointing_hit(one, mask, tolerance) for mask in two] for one, two in zip(large, masks, strict=True)]
    )
    hits[(maps.flatten(1).amax(1) == maps.flatten(1).amin(1)).cpu().numpy()] = False
    return hits

"""Lesson 10: questions and sentences, and what their maps point at."""

from __future__ import annotations

import numpy as np

from cambook.course.lessons.check.exercise import exercise
from cambook.course.lessons.check.task import task


def _log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@exercise(
    "The accuracy in percent of answering without the image: for each question the answer it most often has",
    inputs=lambda g: [
        (np.array([0, 0, 0, 0, 1, 1, 2]), np.array([5, 5, 5, 4, 1, 3, 4])),
        (g.integers(0, 4, 40), g.integers(0, 3, 40)),
        (g.integers(0, 6, 25), g.integers(0, 2, 25)),
        (np.array([3, 3, 3, 8, 8, 8, 8]), np.array([1, 0, 0, 2, 6, 6, 2])),
    ],
    hints=[
        "Take the questions one by one: np.unique(questions). Among the answers to one question, how often is the most "
        "frequent one?",
        "np.bincount(answers[questions == q]).max() counts it. Add these counts up over the questions.",
        "Divide by the number of all questions asked, and multiply by 100.",
    ],
)
def question_only_accuracy(questions, answers):
    right = sum(np.bincount(answers[questions == q]).max() for q in np.unique(questions))
    return 100 * right / len(answers)


@question_only_accuracy.mistake("you took one answer for all questions; each question has its own most frequent one")
def one_answer(questions, answers):
    return 100 * np.bincount(answers).max() / len(answers)


@question_only_accuracy.mistake(
    "you gave each question the answer that it has first; give it the answer that it has most often"
)
def first_answer(questions, answers):
    return 100 * np.mean([answers[questions == q][0] == answer for q, answer in zip(questions, answers, strict=True)])


@question_only_accuracy.mistake("you averaged over the questions; one that is asked more often counts more often")
def each_question_once(questions, answers):
    return 100 * np.mean([np.bincount(answers[questions == q]).max() / (questions == q).sum() for q in set(questions)])


@question_only_accuracy.mistake("this is a share between 0 and 1; give percent")
def share_of_questions(questions, answers):
    return question_only_accuracy.reference(questions, answers) / 100


def _captions(g):
    """The last with logits near 1000 at one step and near -1000 at another."""
    result = [(3 * g.standard_normal((length, 9)), g.integers(0, 9, length)) for length in (1, 4, 6)]
    return [*result, (g.standard_normal((3, 5)) + np.array([[1000], [0], [-1000]]), g.integers(0, 5, 3))]


@exercise(
    "log P(sentence): logits (L, V) score every word of the vocabulary at each of L steps, words (L,) are those said; "
    "right for logits of any size",
    inputs=_captions,
    hints=[
        "At each step: the logarithm of the softmax, at the position of the word that is said.",
        "log softmax(y)_w = y_w - log(sum of exp(y)); and subtracting one number from all logits of a step changes "
        "nothing, so subtract the largest before exp, which cannot take 1000.",
        "A sentence's probability is a product, so its logarithm is the sum over the steps.",
    ],
)
def caption_log_probability(logits, words):
    shifted = logits - logits.max(1, keepdims=True)
    chosen = shifted[np.arange(len(words)), words]
    return (chosen - np.log(np.exp(shifted).sum(1))).sum()


@caption_log_probability.mistake(
    "right for small logits, but exp(1000) is too large for a number and exp(-1000) is 0: subtract each step's largest "
    "logit before exp"
)
def overflowing(logits, words):
    return (logits[np.arange(len(words)), words] - np.log(np.exp(logits).sum(1))).sum()


@caption_log_probability.mistake(
    "right for small logits, but you subtracted one maximum for the whole sentence, and exp(-1000) is 0: subtract each "
    "step's own largest logit before exp"
)
def one_maximum_for_all(logits, words):
    return overflowing(logits - logits.max(), words)


@caption_log_probability.mistake("you added the logits; first turn each step into log-probabilities")
def logits_added(logits, words):
    return logits[np.arange(len(words)), words].sum()


@caption_log_probability.mistake("this is the probability; give its logarithm")
def no_logarithm(logits, words):
    return np.exp(caption_log_probability.reference(logits, words))


@caption_log_probability.mistake("you averaged over the words; the logarithm of a product is the sum")
def mean_of_words(logits, words):
    return _log_softmax(logits)[np.arange(len(words)), words].mean()


@caption_log_probability.mistake("the sign is wrong: a log-probability is never above 0 (its negative is the loss)")
def the_loss(logits, words):
    return -caption_log_probability.reference(logits, words)


@caption_log_probability.mistake("you took the most likely word of each step; take the word that is said")
def likeliest_words(logits, words):
    return _log_softmax(logits).max(1).sum()


def _two_objects(g):
    result = []
    for count, side in ((12, 4), (30, 5)):
        masks = np.zeros((count, 2, side, side), bool)
        masks[:, 0, :, : side // 2] = g.random((count, side, side // 2)) < 0.7
        masks[:, 1, :, side // 2 :] = g.random((count, side, side - side // 2)) < 0.4
        result.append((g.random((count, side, side)), masks))
    return [*result, _shared_maxima()]


def _shared_maxima():
    """Maps whose maximum occurs twice: first on the first object, on the second, on neither, and once only."""
    maps = np.zeros((4, 2, 3))
    masks = np.zeros((4, 2, 2, 3), bool)
    masks[:, 0, :, 0], masks[:, 1, :, 2] = True, True
    for i, (first, second) in enumerate((((0, 0), (1, 2)), ((0, 2), (1, 0)), ((0, 1), (1, 2)), ((1, 0), (1, 0)))):
        maps[i][first] = maps[i][second] = 1
    return maps, masks


@exercise(
    "The share of maps, in percent, whose maximum (the first along the rows, if several are equal) lies on the first "
    "object, and on the second: two numbers; maps (N, h, w), masks (N, 2, h, w)",
    inputs=_two_objects,
    hints=[
        "maps.reshape(N, -1).argmax(1) is the position of each maximum, counted along the rows (the first, if several "
        "are equal).",
        "masks.reshape(N, 2, -1)[np.arange(N), :, positions] says for both objects whether it lies on them: (N, 2).",
        "100 * its mean over the maps (axis 0).",
    ],
)
def pointing_rates(maps, masks):
    count = len(maps)
    positions = maps.reshape(count, -1).argmax(1)
    return 100 * masks.reshape(count, 2, -1)[np.arange(count), :, positions].mean(0)


@pointing_rates.mistake("you measured how much of the map lies on each object; ask only where its maximum lies")
def share_of_the_map(maps, masks):
    return 100 * ((maps[:, None] * masks).sum((2, 3)) / maps.sum((1, 2))[:, None]).mean(0)


@pointing_rates.mistake(
    "if several positions share a map's maximum, you counted a hit if any of them lies on the object; a map points "
    "at one position, so take the first along the rows, as argmax does"
)
def any_maximum(maps, masks):
    highest = maps == maps.max((1, 2), keepdims=True)
    return 100 * (highest[:, None] & masks).any((2, 3)).mean(0)


@pointing_rates.mistake("one map's maximum was taken for all; each map has its own")
def one_maximum(maps, masks):
    y, x = np.unravel_index(maps.argmax() % maps[0].size, maps[0].shape)
    return 100 * masks[:, :, y, x].mean(0)


@pointing_rates.mistake("you compared the two objects only; a maximum may lie on neither")
def on_either(maps, masks):
    highest = (maps[:, None] * masks).max((2, 3))
    return 100 * np.stack([highest[:, 0] >= highest[:, 1], highest[:, 1] > highest[:, 0]], 1).mean(0)


@pointing_rates.mistake("the two numbers are swapped: the first object, masks[:, 0], comes first")
def swapped_objects(maps, masks):
    return pointing_rates.reference(maps, masks)[::-1]


@pointing_rates.mistake("these are shares between 0 and 1; give percent")
def as_shares(maps, masks):
    return pointing_rates.reference(maps, masks) / 100


def _as_often_yes_as_no(scenes):
    asked = []
    for category in sorted({name for pair in scenes for name in pair}):
        there = [i for i, pair in enumerate(scenes) if category in pair]
        absent = [i for i, pair in enumerate(scenes) if category not in pair]
        for yes, no in zip(there, absent, strict=False):
            asked += [(yes, category, "yes"), (no, category, "no")]
    return asked


def _scenes(seed):
    """Pairs of categories, some of which are more frequent than others."""
    names, g = ["bird", "flower", "insect", "ship", "tree"], np.random.default_rng(seed)
    return [tuple(g.choice(names, 2, replace=False, p=[0.25, 0.25, 0.2, 0.15, 0.15]).tolist()) for _ in range(40)]


@task(
    'questions "is there a CATEGORY?" that nobody can answer without the image: scenes, a list of pairs such as '
    '("bird", "ship"), in; a list of (number of the scene, category, "yes" or "no") out',
    hints=[
        "Go through the categories. In which scenes is this one, and in which is it not?",
        "If a category is asked about as often where it is as where it is not, a guess is right half of the time: take "
        "equally many scenes of both kinds.",
    ],
    example=_as_often_yes_as_no,
)
def balanced_questions(function):
    for seed in range(3):
        scenes = _scenes(seed)
        asked = list(function(list(scenes)))
        if any(len(each) != 3 for each in asked):
            yield "each question is three things: the number of a scene, a category, and yes or no"
            return
        asked = [(int(scene), str(category), str(answer)) for scene, category, answer in asked]
        if any(not 0 <= scene < len(scenes) or answer not in ("yes", "no") for scene, _, answer in asked):
            yield 'a scene is a number from 0 to len(scenes) - 1, and an answer is "yes" or "no"'
            return
        for scene, category, answer in asked:
            if (category in scenes[scene]) != (answer == "yes"):
                yield f"the answer to {category!r} for scene {scene}, {scenes[scene]}, is not {answer}"
        known = {name for pair in scenes for name in pair}
        if missing := sorted(known - {category for _, category, _ in asked}):
            yield f"you never ask about {missing[0]!r}, which some scenes have"
        if len(asked) < len(scenes):
            yield f"{len(asked)} questions about {len(scenes)} scenes: ask at least as many as there are scenes"
        answers = np.array([answer == "yes" for _, _, answer in asked])
        blind = question_only_accuracy.reference(
            np.unique([c for _, c, _ in asked], return_inverse=True)[1], 1 * answers
        )
        if blind > 55:
            yield (
                f"whoever knows how often each category has the answer yes, and sees no image, is right in "
                f"{blind:.0f}% of your questions: ask about each category as often where it is as where it is not"
            )


@balanced_questions.wrong
def what_is_there(scenes):
    return [(i, name, "yes") for i, pair in enumerate(scenes) for name in pair]


@balanced_questions.wrong
def one_yes_and_one_no_per_scene(scenes):
    names, asked = sorted({name for pair in scenes for name in pair}), []
    for i, pair in enumerate(scenes):
        asked += [(i, pair[0], "yes"), (i, next(name for name in names if name not in pair), "no")]
    return asked


@balanced_questions.wrong
def every_category_of_every_scene(scenes):
    names = sorted({name for pair in scenes for name in pair})
    return [(i, name, "yes" if name in pair else "no") for i, pair in enumerate(scenes) for name in names]


@balanced_questions.wrong
def one_category(scenes):
    return [each for each in _as_often_yes_as_no(scenes) if each[1] == "bird"]


@balanced_questions.wrong
def answers_at_random(scenes):
    return [(i, pair[0], ("yes", "no")[i % 2]) for i, pair in enumerate(scenes)]


@balanced_questions.wrong
def few(scenes):
    return _as_often_yes_as_no(scenes[:8])


@balanced_questions.wrong
def without_answers(scenes):
    return [(i, pair[0]) for i, pair in enumerate(scenes)]

"""Questions that have the answers they claim, networks that read and say them, maps of a chosen answer or word."""

import numpy as np
import pytest
import torch

from cambook import datasets, networks
from cambook.course.lessons import language
from cambook.maps import class_activation_map


@pytest.fixture(scope="module")
def pairs():
    return datasets.Pairs("test", 64, 60, seed=3)


@pytest.fixture(scope="module")
def asked(pairs):
    return language.questions(pairs, seed=1)


@pytest.fixture
def answering(pairs):
    torch.manual_seed(0)
    return language.AnswerNetwork(
        networks.mini_backbone(), 128, len(language.vocabulary(pairs.categories)), 15
    ).double()


@pytest.fixture
def captioning(pairs):
    torch.manual_seed(0)
    return language.CaptionNetwork(networks.mini_backbone(), 128, len(language.vocabulary(pairs.categories))).double()


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def true_answer(pairs, i, words):
    """The answer from the picture's own description, by other means than `questions`."""
    names = pairs.categories
    first, second, relation = names[pairs.first[i]], names[pairs.second[i]], datasets.ARRANGEMENTS[pairs.arrangement[i]]
    if words[0] == "is":
        return "yes" if words[-1] in (first, second) else "no"
    facts = {(relation, second): first, ({"left of": "right of", "above": "below"}[relation], first): second}
    return facts.get((words[2], words[-1]), "nothing")


def test_every_answer_is_true(pairs, asked):
    for i, (texts, answers) in enumerate(zip(asked.texts, asked.answers, strict=True)):
        assert [true_answer(pairs, i, words) for words in texts] == [asked.choices[a] for a in answers]


def test_the_objects_named_and_answered_are_those_of_the_picture(pairs, asked):
    shown = np.stack([pairs.first, pairs.second], 1)
    for i, texts in enumerate(asked.texts):
        for j, words in enumerate(texts):
            name = words[-1]
            assert (asked.named[i, j] == -1) == (pairs.categories.index(name) not in shown[i])
            if asked.named[i, j] >= 0:
                assert pairs.categories[shown[i, asked.named[i, j]]] == name
            if asked.kinds[j] == "what":
                assert asked.choices[asked.answers[i, j]] == pairs.categories[shown[i, asked.answer_object[i, j]]]


def test_yes_and_no_and_something_and_nothing_are_equally_frequent(asked):
    counts = {kind: asked.kinds.count(kind) for kind in asked.kinds}
    assert counts == {"what": 2, "nothing": 2, "yes": 2, "no": 2}
    absent = [words[-1] for texts in asked.texts for words in texts[6:]]
    assert len(set(absent)) == 12 and all(texts[6] != texts[7] for texts in asked.texts)


def test_a_longer_set_begins_with_the_questions_of_a_shorter_one(asked):
    longer = language.questions(datasets.Pairs("test", 64, 90, seed=3), seed=1)
    assert np.array_equal(longer.tokens[:60], asked.tokens) and len(longer.tokens) == 90


def test_captions_say_what_is_where(pairs):
    words = language.vocabulary(pairs.categories)
    for i, caption in enumerate(language.captions(pairs)):
        a, b = pairs.categories[pairs.first[i]], pairs.categories[pairs.second[i]]
        relation = datasets.ARRANGEMENTS[pairs.arrangement[i]]
        assert words.text(caption) == f"{language.article(a)} {a} {relation} {language.article(b)} {b}"


def test_words_and_numbers_are_inverse_and_an_unknown_word_is_named():
    words = language.vocabulary(["bird", "ship"])
    assert words.text(words.encode(["is", "there", "a", "bird"], 6)) == "is there a bird"
    with pytest.raises(KeyError, match="'boat' is not in the vocabulary"):
        words.encode(["boat"])


def test_the_prior_answers_with_the_most_frequent_answer_to_the_same_words(asked):
    best = language.prior_answers(asked, asked)
    for words in np.unique(asked.tokens.reshape(-1, 5), axis=0):
        same = (asked.tokens == words).all(2)
        assert len(set(best[same])) == 1
        counts = np.bincount(asked.answers[same])
        assert counts[best[same][0]] == counts.max()


def test_a_question_is_a_sum_of_words_whatever_their_order_and_padding(answering):
    tokens = torch.tensor([[7, 8, 9, 4, 0], [9, 0, 8, 7, 4]])
    one, other = answering.read(tokens)
    assert torch.allclose(one, other) and not torch.allclose(
        one, answering.read(torch.tensor([7, 8, 9, 5, 0])[None])[0]
    )


def test_all_questions_of_a_picture_are_answered_as_one_by_one(answering, images, asked):
    answering.eval()
    tokens = torch.from_numpy(asked.tokens[:3])
    together = answering(images, tokens)[0]
    assert together.shape == (3, 8, 15)
    for j in range(8):
        assert torch.allclose(language.Asked(answering, tokens[:, j])(images), together[:, j])


def test_the_answering_loss_is_the_cross_entropy_of_all_questions(answering, images, asked):
    labels = torch.from_numpy(asked.labels[:3])
    loss, wrong = answering.eval().loss(images, labels)
    logits = answering(images, labels[..., :5])[0].float()
    assert torch.isclose(loss, -logits.log_softmax(2).gather(2, labels[..., 5:]).mean())
    assert wrong == (logits.argmax(2) != labels[..., 5]).float().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in answering.parameters())


def test_a_word_is_said_from_the_words_before_it_only(captioning, images):
    captioning.eval()
    before = torch.tensor([[1, 3, 14, 9, 3, 15]] * 3)
    changed = before.clone()
    changed[:, 3] = 10
    a, b = (captioning(images, words)[0] for words in (before, changed))
    assert torch.equal(a[:, :3], b[:, :3]) and not torch.allclose(a[:, 3], b[:, 3])


def test_greedy_decoding_takes_the_likeliest_word_after_its_own_words(captioning, images):
    said = captioning.eval().caption(images)
    logits, _ = captioning(images, language.shifted(said))
    assert said.shape == (3, 6) and torch.equal(logits.argmax(2), said)


def test_the_words_log_probabilities_add_up_to_the_loss(captioning, images, pairs):
    told = torch.from_numpy(language.captions(pairs)[:3])
    each = language.Spoken(captioning.eval(), told)(images)
    assert each.shape == (3, 6) and (each < 0).all()
    assert torch.isclose(-each.mean().float(), captioning.loss(images, told)[0], rtol=1e-5)


def gradient_by_hand(network, images, score):
    """Grad-CAM's map of a score of the feature maps, by an ordinary backward pass."""
    feature_maps = network.features(images).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(feature_maps).sum(), feature_maps)
    alpha = gradient.mean((2, 3))
    return torch.cat([class_activation_map(f[None], a[None]).relu() for f, a in zip(feature_maps, alpha, strict=True)])


def test_the_answers_map_is_grad_cam_of_its_own_score(answering, images, asked):
    tokens, answers = torch.from_numpy(asked.tokens[:3, 0]), torch.from_numpy(asked.answers[:3, 0])
    maps = language.answer_maps(answering.eval(), images, tokens, answers)
    by_hand = gradient_by_hand(
        answering, images, lambda f: answering.answer(f, tokens[:, None])[:, 0].gather(1, answers[:, None])
    )
    assert maps.shape == (3, 8, 8) and torch.allclose(maps, by_hand[:, 0], atol=1e-12) and maps.max() > 0
    other = language.answer_maps(answering, images, torch.from_numpy(asked.tokens[:3, 4]), answers)
    assert not torch.allclose(maps, other)


def test_each_words_map_is_grad_cam_of_its_own_log_probability(captioning, images, pairs):
    told = torch.from_numpy(language.captions(pairs)[:3])
    maps = language.word_maps(captioning.eval(), images, told)
    assert maps.shape == (3, 6, 8, 8) and maps.max() > 0
    for step in (1, 4):

        def score(f, step=step):
            return captioning.say(f, language.shifted(told)).log_softmax(2)[:, step].gather(1, told[:, step, None])

        assert torch.allclose(maps[:, step], gradient_by_hand(captioning, images, score)[:, 0], atol=1e-12)


def test_a_map_points_at_the_object_under_its_maximum_and_a_flat_one_at_nothing():
    masks = torch.zeros(3, 2, 64, 64, dtype=torch.bool)
    masks[:, 0, :16, :16], masks[:, 1, 48:, 48:] = True, True
    maps = torch.zeros(3, 8, 8)
    maps[0, 0, 0], maps[1, 7, 6], maps[2] = 1, 1, 0.5
    assert language.points_at(maps, masks).tolist() == [[True, False], [False, True], [False, False]]


def test_own_and_other_object_are_told_apart_for_each_question(answering, pairs, asked):
    batch = pairs.batch(range(12))
    some = language.Questions(
        asked.texts[:12],
        asked.tokens[:12],
        asked.answers[:12],
        asked.choices,
        asked.named[:12],
        asked.answer_object[:12],
    )
    images = batch.images.double()
    found = language.answer_pointing(answering.eval(), images, batch.masks, some, "what")
    for place, j in enumerate((0, 1)):
        tokens, answers = torch.from_numpy(some.tokens[:, j]), torch.from_numpy(some.answers[:, j])
        hits = language.points_at(language.answer_maps(answering, images, tokens, answers), batch.masks)
        assert np.array_equal(found["own"][:, place], hits[:, j])
        assert np.array_equal(found["other"][:, place], hits[:, 1 - j])
    assert found["own"].shape == (12, 2)
    with pytest.raises(ValueError, match="kind='no'"):
        language.answer_pointing(answering, images, batch.masks, some, "no")


def test_a_single_question_gets_the_likeliest_answer_and_its_map(answering, images, asked):
    text = asked.texts[0][0]
    answer, probability, cam = language.ask(answering.eval(), images[0], text, asked.choices)
    tokens = torch.from_numpy(asked.tokens[:1, :1])
    p = answering(images[:1], tokens)[0][0, 0].softmax(0)
    assert answer == asked.choices[p.argmax()] and probability == pytest.approx(p.max().item())
    assert cam.shape == (8, 8) and cam.max() == 1 and cam.min() == 0


def test_a_new_network_starts_from_a_copy_of_the_backbone_and_from_its_seed(pairs):
    start = networks.build("mini-gap", 12, seed=4)
    for make in (language.answer_network, language.caption_network):
        a, b, c = (make(start, pairs.categories, seed) for seed in (0, 0, 1))
        assert torch.equal(a.picture.linear.weight, b.picture.linear.weight)
        assert not torch.equal(a.picture.linear.weight, c.picture.linear.weight)
        assert torch.equal(a.backbone[0].weight, start.backbone[0].weight)
        assert a.backbone[0].weight is not start.backbone[0].weight

"""Each exercise accepts its solution, names each known mistake, and lets Run All pass where nothing was
attempted."""

import inspect

import numpy as np
import pytest
import torch

from cambook.course.lessons import check
from cambook.course.lessons.check import compare
from cambook.course.lessons.check import exercise as check_exercise
from cambook.course.lessons.check.compare import same
from cambook.course.lessons.check.exercise import Exercise, Number, _alike, exercise, normal
from cambook.course.lessons.check.task import Task, prediction

TASKS = [each for each in check.EXERCISES.values() if isinstance(each, Task)]
FUNCTIONS = [each for each in check.EXERCISES.values() if isinstance(each, Exercise) and each not in TASKS]
NUMBERS = [each for each in check.EXERCISES.values() if isinstance(each, Number)]
MISTAKES = [(each, wrong, message) for each in FUNCTIONS for wrong, message in each.mistakes]

each_function = pytest.mark.parametrize("one", FUNCTIONS, ids=lambda one: one.name)
each_mistake = pytest.mark.parametrize(
    "one, wrong, message", MISTAKES, ids=[f"{one.name}-{wrong.__name__}" for one, wrong, _ in MISTAKES]
)


def test_every_lesson_has_an_open_task_and_one_to_five_exercises_with_two_mistakes_or_more():
    for lesson in check.LESSONS:
        found = [each for each in vars(lesson).values() if isinstance(each, (Exercise, Number))]
        tasks = [each for each in found if each in TASKS]
        assert len(tasks) == 1 and len(tasks[0].wrongs) >= 3 and tasks[0].hints, lesson.__name__
        exercises = [each for each in found if each not in TASKS]
        assert 1 <= len(exercises) <= 5, lesson.__name__
        assert all(len(each.mistakes) >= 2 and each.hints for each in exercises), lesson.__name__


@pytest.mark.parametrize("one", TASKS, ids=lambda one: one.name)
def test_an_open_task_accepts_its_example_and_finds_fault_with_each_wrong_answer(one):
    assert one.answer(one.example) == f"✓ {one.name}: correct."
    said = [one.answer(wrong) for wrong in one.wrongs]
    assert all(each.startswith(f"✗ {one.name}: ") for each in said), said
    assert one.answer(lambda *_: ...).startswith(f"… {one.name}: not attempted yet")


def test_a_prediction_says_how_far_off_it_was_and_gives_nothing_away_before(capsys):
    prediction(40, 55.6)
    prediction(np.float64(55.6), torch.tensor(55.6), "boxes")
    prediction(None, 55.6)
    prediction("half", 55.6)
    prediction(5000, 21, "channels")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "You guessed 40 percent; it is 55.6: 15.6 too low."
    assert said[1].endswith("boxes; it is 55.6: exactly right.")
    assert said[2].startswith("… no guess yet") and "55" not in said[2]
    assert said[3] == "✗ a guess is one number, not 'half'."
    assert said[4] == "You guessed 5000 channels; it is 21: 4980 too high."


@each_function
def test_the_solution_is_accepted(one):
    assert one.answer(one.reference) == f"✓ {one.name}: correct."


@each_mistake
def test_a_known_mistake_is_named(one, wrong, message):
    assert one.answer(wrong) == f"✗ {one.name}: {message}."


@each_mistake
def test_a_known_mistake_differs_from_the_solution(one, wrong, message):
    assert not _alike(one.runs(wrong), one.runs(one.reference))


@each_mistake
def test_a_mistake_gives_a_value_on_some_input(one, wrong, message):
    assert not all(isinstance(outcome, Exception) for outcome in one.outcomes(wrong))


@each_function
@pytest.mark.parametrize("empty", [lambda *_: None, lambda *_: ...])
def test_not_attempted_says_so_and_does_not_raise(one, empty, capsys):
    assert one(empty) is None
    assert capsys.readouterr().out.startswith(f"… {one.name}: not attempted yet")


@each_function
def test_not_implemented_counts_as_not_attempted(one):
    def reader(*_):
        raise NotImplementedError

    assert "not attempted yet" in one.answer(reader)


@each_function
def test_the_printed_solution_is_the_function_alone_and_runs_to_the_same(one, capsys):
    one.solution()
    source = capsys.readouterr().out
    assert source.startswith(f"def {one.name}(")
    scope = dict(inspect.getmodule(one.reference).__dict__)
    exec(source, scope)
    assert one.answer(scope[one.name]).startswith("✓")


@each_function
def test_inputs_are_the_same_every_time_and_of_several_shapes(one):
    first, second = one.inputs(), one.inputs()
    assert len(first) >= 2
    assert all(same(list(a), list(b)) for a, b in zip(first, second, strict=True))
    assert any(not same(list(first[0]), list(other)) for other in first[1:])


@pytest.mark.parametrize("one", NUMBERS, ids=lambda one: one.name)
def test_a_number_is_accepted_its_mistakes_named_and_nothing_is_not_attempted(one):
    assert one.answer(one.value) == f"✓ {one.name}: correct."
    assert one.answer(np.float32(one.value)).startswith("✓")
    for wrong, message in one.mistakes:
        assert one.answer(wrong) == f"✗ {one.name}: {message}."
    assert "not attempted yet" in one.answer(None)
    assert "not attempted yet" in one.answer(...)
    assert "too large" in one.answer(one.value + 1e6)
    assert "one number" in one.answer("half")


@pytest.fixture
def double(monkeypatch):
    monkeypatch.setattr(check_exercise, "EXERCISES", {})

    @exercise("twice the values", inputs=lambda g: [(normal(g, 2, 3),), (normal(g, 4),)], hints=["add", "x + x"])
    def double(x):
        return x + x

    @double.mistake("you squared")
    def squared(x):
        return x * x

    return double


def test_numpy_float32_and_lists_are_accepted_like_tensors(double):
    for convert in (lambda x: x.numpy(), lambda x: x.float(), lambda x: x.tolist(), lambda x: list(x)):
        assert double.answer(lambda x, convert=convert: convert(x * 2)) == "✓ double: correct."


def test_an_unknown_mistake_is_answered_with_the_first_difference(double):
    def reader(x):
        result = x * 2
        result[-1] = 7
        return result

    expected = double.outcomes(double.reference)[0][1, 0].item()
    assert double.answer(reader) == (f"✗ double: with x of shape (2, 3), at [1, 0] expected {expected:.4g} but got 7.")


def test_a_wrong_shape_is_told_as_shapes(double):
    assert double.answer(lambda x: (2 * x).T if x.ndim == 2 else 2 * x) == (
        "✗ double: with x of shape (2, 3), expected an array of shape (2, 3) but got an array of shape (3, 2)."
    )


def test_a_missing_return_on_some_inputs_is_told(double):
    assert "is a return missing?" in double.answer(lambda x: 2 * x if x.ndim == 2 else None)


def test_an_exception_is_told_in_one_line_with_the_readers_line(double, capsys):
    def reader(x):
        y = 2 * x
        return y.reshape(17)

    double(reader)
    line = capsys.readouterr().out
    assert line == (
        "✗ double: your function stopped in line 3, `return y.reshape(17)`: the values cannot be arranged in that "
        "shape: the sizes multiplied must give the number of values. There y is a tensor of float64, shape "
        "(2, 3). check.double.traceback() prints Python's own message (RuntimeError).\n"
    )
    double.traceback()
    shown = capsys.readouterr().out
    assert shown.startswith("Traceback (most recent call last):") and "line 3, in reader" not in shown
    assert shown.splitlines()[1].endswith("in reader") and "RuntimeError: shape '[17]' is invalid" in shown
    double(double.reference)
    capsys.readouterr()
    double.traceback()
    assert capsys.readouterr().out == "check.double: the last check was not stopped by an error.\n"


def test_a_known_mistake_is_named_in_a_function_that_also_fails_elsewhere(double):
    assert double.answer(lambda x: x * x if x.ndim == 2 else x.reshape(99)) == "✗ double: you squared."
    assert "your function stopped" in double.answer(lambda x: x + x if x.ndim == 2 else x.reshape(99))


def test_a_result_instead_of_a_function_is_told(double):
    assert "pass the function itself" in double.answer(torch.zeros(3))


def test_a_function_that_changes_its_input_does_not_spoil_the_next_call(double):
    assert double.answer(lambda x: x.mul_(2)).startswith("✗")
    assert double.answer(double.reference).startswith("✓")


def test_a_changed_argument_is_named_with_what_to_do(double):
    assert double.answer(lambda x: x.mul_(2)) == (
        "✗ double: your function changes its argument x, so whoever called it loses the old values; work on a copy "
        "(x = x.clone()), or compute a new value (a - b, not a -= b)."
    )

    def twice(x):
        x += x
        return 2 * x

    assert "changes its argument x," in double.answer(twice)  # the wrong values come from it

    @exercise("the sum", inputs=lambda g: [(g.random(3), g.random(3)), (g.random(2), g.random(2))])
    def total(a, b):
        return a + b

    def both(a, b):
        a += b
        b -= b
        return a

    assert "changes its argument a and b, " in total.answer(both) and "(a = a.copy())" in total.answer(both)
    assert total.answer(lambda a, b: a + b) == "✓ total: correct."


def test_inputs_may_leave_out_a_parameter_with_a_default(double):
    @exercise("the scaled values", inputs=lambda g: [(g.random(3),), (g.random(2),)])
    def scaled(x, factor=2):
        return factor * x

    assert scaled.answer(lambda x: x + x) == "✓ scaled: correct."
    assert "with x of shape (3,), at [0] expected" in scaled.answer(lambda x: x)


def test_a_forgotten_return_is_told(double):
    def forgotten(x):
        x + x

    def printed(x):
        print(x + x)

    for reader in (forgotten, printed):
        assert double.answer(reader) == (
            "✗ double: your function returns nothing. Does its last line begin with return? (print shows a value, "
            "return gives it back.)"
        )


def test_an_empty_body_is_not_attempted(double):
    def passed(x):
        pass

    def described(x):
        """x of any shape; returns twice of it"""

    def bare(x):
        return

    for reader in (passed, described, bare):
        assert double.answer(reader) == "… double: not attempted yet. check.double.hint() helps."


def test_a_function_for_arrays_is_right_if_tensors_are_given_and_the_reverse(double):
    assert double.answer(lambda x: (x[::-1] + x[::-1])[::-1]) == "✓ double: correct."  # tensors know no step of -1
    assert "x is a torch tensor" in double.given()

    @exercise("the half", inputs=lambda g: [(g.random(3),), (g.random(2),)])
    def half(a):
        return a / 2

    assert half.answer(lambda a: a.double().div(2)) == "✓ half: correct."
    assert half.given() == " (a is a NumPy array.)"

    @half.mistake("you took the double")
    def twice(a):
        return 2 * a

    assert half.answer(lambda a: a.double().mul(2)) == "✗ half: you took the double."


def test_a_number_of_python_is_accepted_for_a_tensor_of_no_axis(monkeypatch):
    monkeypatch.setattr(check_exercise, "EXERCISES", {})

    @exercise("the mean", inputs=lambda g: [(normal(g, 3),), (normal(g, 5),)])
    def average(x):
        return x.mean()

    assert average.answer(lambda x: x.mean().item()) == average.answer(lambda x: sum(x.tolist()) / len(x))
    assert average.answer(lambda x: float(x.mean())) == "✓ average: correct."
    assert "expected one number but got an array of shape (1,)" in average.answer(lambda x: x.mean()[None])


def test_a_loss_without_a_gradient_is_not_right(monkeypatch):
    monkeypatch.setattr(check_exercise, "EXERCISES", {})

    @exercise("the squares", inputs=lambda g: [(normal(g, n).requires_grad_(), normal(g, n)) for n in (3, 4)])
    def loss(x, y):
        return ((x - y) ** 2).mean()

    assert loss.answer(lambda x, y: (x - y).square().mean()) == "✓ loss: correct."
    for cut in (
        lambda x, y: ((x - y) ** 2).mean().item(),
        lambda x, y: ((x - y) ** 2).mean().detach(),
        lambda x, y: ((x.detach() - y) ** 2).mean(),
        lambda x, y: torch.no_grad()(lambda: ((x - y) ** 2).mean())(),
        lambda x, y: np.mean((x.detach().numpy() - y.numpy()) ** 2),
        lambda x, y: np.mean(np.square(np.subtract(x, y))),  # works with arrays alone
    ):
        assert loss.answer(cut).startswith("✗ loss: the number is right, but no gradient reaches x, so nothing can")


def test_several_things_are_compared_one_by_one(monkeypatch):
    monkeypatch.setattr(check_exercise, "EXERCISES", {})

    @exercise("both", inputs=lambda g: [(normal(g, n),) for n in (3, 4)])
    def both(x):
        return x, 2 * x

    start = "✗ both: with x of shape (3,), "
    two = "expected 2 things (an array of shape (3,), an array of shape (3,)) but got "
    assert both.answer(lambda x: x) == f"{start}{two}an array of shape (3,)."
    assert both.answer(lambda x: (x, x, x)) == f"{start}{two}3."
    assert both.answer(lambda x: (x, x[:2])) == (
        f"{start}in the second of the 2 things that you return, expected an array of shape (3,) but got an array of "
        "shape (2,)."
    )
    assert both.answer(lambda x: torch.stack([x, 2 * x])) == "✓ both: correct."


def test_numbers_are_written_with_the_digits_that_differ():
    assert compare.difference(25088000, 25089000) == "expected 25089000 but got 25088000"
    assert compare.difference(0.123451, 0.12349) == "expected 0.12349 but got 0.12345"
    assert compare.difference(0.5, 0.25) == "expected 0.25 but got 0.5"
    assert compare.difference(np.ones(2), None) == "the answer is None, not an array of shape (2,)"


def test_percent_for_a_fraction_is_told():
    assert check.iou_by_hand.answer(14.3) == (
        "✗ iou_by_hand: 14.3 is more than 1; give a fraction from 0 to 1, not percent."
    )


def test_each_call_of_hint_shows_the_next_and_the_last_stays(double, capsys):
    for _ in range(3):
        assert double.hint() is None
    assert (
        capsys.readouterr().out == "hint 1 of 2: add (x is a torch tensor.)\nhint 2 of 2: x + x\nhint 2 of 2: x + x\n"
    )


def test_one_call_makes_an_exercise_that_the_list_check_hint_and_solution_know(monkeypatch, capsys):
    monkeypatch.setattr(check, "EXERCISES", known := dict(check.EXERCISES))
    monkeypatch.setattr(check_exercise, "EXERCISES", known)

    @exercise("three times the values", inputs=lambda g: [(normal(g, 2),), (normal(g, 3),)], hints=["x + x + x"])
    def triple(x):
        return 3 * x

    assert "triple" in dir(check) and check.EXERCISES["triple"] is check.triple is triple
    check.triple(lambda x: x + x + x)
    check.triple.hint()
    check.triple.solution()
    said = capsys.readouterr().out
    assert (
        said == "✓ triple: correct.\nhint 1 of 1: x + x + x (x is a torch tensor.)\ndef triple(x):\n    return 3 * x\n"
    )
    Number("half_of_it", "half of 4", 2, "4 / 2")
    assert check.half_of_it.answer(2).startswith("✓")
    with pytest.raises(ValueError, match="'triple' is taken by check.triple: three times the values"):
        Number("triple", "3 times 4", 12, "3 * 4")
    with pytest.raises(AttributeError, match="No exercise is called 'quadruple': choose one of .*cam"):
        check.quadruple  # noqa: B018


def test_unequal_shapes_numbers_and_structures_are_not_the_same():
    assert same((1, 2), np.array([1.0, 2.0])) and same(float("nan"), np.nan) and same(None, None)
    for a, b in [(1, 2), ([1], 1), (None, 0), ((1, [2, 3]), (1, [2, 4])), ("a", 1), (ValueError(), 1)]:
        assert not same(a, b)


def test_a_teacher_switches_all_solutions_on_and_off(capsys):
    check.show_solutions()
    try:
        for one in check.EXERCISES.values():
            one(...) if isinstance(one, Number) else one(lambda *_: ...)
            said = capsys.readouterr().out
            one.solution()
            assert said.startswith(f"… {one.name}: not attempted") and said.endswith(capsys.readouterr().out)
    finally:
        check.show_solutions(False)
    FUNCTIONS[0](FUNCTIONS[0].reference)
    assert capsys.readouterr().out == f"✓ {FUNCTIONS[0].name}: correct.\n"

"""Bisection of failed batches: every input has one result, within a number of calls."""

from __future__ import annotations

from bulkinfer.transforms.calls.bisection import Bisection
from hypothesis import given
from hypothesis import strategies as st


def run(count: int, bad: set[int], *, blame: bool = True) -> tuple[list[int], list[int], list[list[int]]]:
    """Send pieces until every input has a result: (good, bad, what was sent)."""
    plan: Bisection[int] = Bisection(range(count))
    good: list[int] = []
    given_up: list[int] = []
    sent: list[list[int]] = []
    while (piece := plan.next()) is not None:
        sent.append(list(piece))
        if bad.isdisjoint(piece):
            good += piece
            plan.passed()
        else:
            given_up += piece if len(piece) == 1 else []
            plan.failed(piece, blame=blame)
    return good, given_up, sent


@given(st.integers(0, 128), st.sets(st.integers(0, 127)), st.booleans())
def test_every_input_has_one_result_from_a_call_of_its_own_kind(
    count: int, bad: set[int], blame: bool
) -> None:
    good, given_up, sent = run(count, bad, blame=blame)

    inside = set(range(count))
    assert sorted(good) == sorted(inside - bad)
    assert sorted(given_up) == sorted(inside & bad)
    assert all([item] in sent for item in given_up)  # none is given up unsent
    assert len(sent) <= max(1, 2 * count - 1)


def test_one_bad_of_128_costs_7_to_14_further_calls() -> None:
    costs = [len(run(128, {position})[2]) - 1 for position in range(128)]

    assert min(costs) >= 7
    assert max(costs) <= 14


def test_what_succeeded_is_never_sent_again() -> None:
    _, _, sent = run(64, {5, 40})
    passed: set[int] = set()
    for piece in sent:
        assert passed.isdisjoint(piece)
        if {5, 40}.isdisjoint(piece):
            passed |= set(piece)


def test_a_half_whose_sibling_passed_holds_the_bad_one_and_is_never_sent_whole() -> None:
    whole, half = list(range(8)), list(range(4))

    assert run(8, {7})[2] == [whole, half, [4, 5], [6], [7]]
    assert run(4, {3})[2] == [half, [0, 1], [2], [3]]


def test_a_batch_in_which_everything_is_bad_costs_about_a_call_an_input() -> None:
    assert len(run(128, set(range(128)))[2]) <= 128 + 10


def test_a_size_that_each_half_may_pass_blames_nobody() -> None:
    plan: Bisection[int] = Bisection(range(4))
    plan.next()
    plan.failed(range(4), blame=False)

    assert plan.next() == range(2)
    plan.passed()
    assert plan.next() == range(2, 4)  # sent whole, although its sibling passed


def test_only_what_has_no_result_yet_is_sent_again() -> None:
    plan: Bisection[int] = Bisection([1, 2, 3, 4])
    plan.next()
    plan.failed([2, 4], blame=True)

    assert plan.next() == [2]
    plan.passed()
    assert plan.next() == [4]


def test_giving_up_says_nothing_about_the_others() -> None:
    plan: Bisection[int] = Bisection(range(4))
    plan.next()
    plan.failed(range(4), blame=True)
    plan.next()
    plan.gave_up()

    assert plan.next() == range(2, 4)
    plan.passed()
    assert plan.next() is None


def test_the_rest_leaves_the_plan() -> None:
    plan: Bisection[int] = Bisection(range(4))
    plan.next()
    plan.failed(range(4), blame=True)
    plan.next()

    assert plan.rest() == [2, 3]
    assert plan.next() is None


def test_after_three_that_failed_alone_and_nothing_that_passed_the_rest_goes_one_by_one() -> None:
    def sent(bad: set[int]) -> list[list[int]]:
        return run(6, bad)[2]

    assert sent(set(range(6))) == [[0, 1, 2, 3, 4, 5], [0, 1, 2], [0], [1, 2], [1], [2], [3], [4], [5]]
    # Two are not enough, and one that passed forbids it.
    assert sent({0, 1, 3, 4, 5})[-4:] == [[3], [4, 5], [4], [5]]
    assert run(4, {0, 1, 2, 3})[2] == [[0, 1, 2, 3], [0, 1], [0], [1], [2, 3], [2], [3]]


def test_late_inputs_come_after_all_that_waits_in_pieces_of_the_size_asked_for() -> None:
    plan: Bisection[int] = Bisection(range(7))
    plan.next()
    plan.spread(range(7), 3)
    assert plan.next() == range(3)
    plan.spread(range(3), 1)

    assert [list(plan.next() or ()) for _ in range(6)] == [[3, 4, 5], [6], [0], [1], [2], []]

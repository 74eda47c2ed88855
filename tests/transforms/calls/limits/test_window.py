"""The arithmetic of a window and of the time that calls travel, to the last digit."""

from __future__ import annotations

import pytest
from bulkinfer.transforms.calls.limits.limiter import Permit
from bulkinfer.transforms.calls.limits.window import Travel, Window
from hypothesis import given
from hypothesis import strategies as st


def test_units_are_spread_evenly_over_a_little_more_than_a_second() -> None:
    window = Window(4)
    for number in range(8):
        at = window.ready_at(1, 0.0)
        assert at == pytest.approx(number * 1.024 / 4)
        window.start(Permit(at, 1), 1)


def test_units_of_one_call_wait_for_all_that_are_too_many() -> None:
    window = Window(4)
    window.start(Permit(0.0, 3), 3)
    window.start(Permit(0.768, 1), 1)

    # Three more would be six: the first call must have left the window, the second need not.
    assert window.ready_at(3, 0.8) == pytest.approx(1.024)
    assert window.ready_at(4, 0.8) == pytest.approx(0.768 + 1.016)


def test_a_limit_below_one_a_second_is_one_unit_in_a_longer_window() -> None:
    window = Window(0.5)
    window.start(Permit(0.0, 1), 1)
    assert window.ready_at(1, 0.1) == pytest.approx(2.048)

    late = Permit(1.0, 1)
    window = Window(0.5)
    window.start(late, 1)
    late.time += 0.5  # it was held up on its way
    assert window.ready_at(1, 1.1) == pytest.approx(1.5 + 2.032)


@pytest.mark.parametrize(("late", "after"), [(0.2, 0.512), (0.25, 0.25 + 0.512), (0.3, 0.3 + 0.512)])
def test_starts_that_were_delayed_a_little_are_caught_up(late: float, after: float) -> None:
    window = Window(2)
    assert window.ready_at(1, 0.0) == 0.0
    window.start(Permit(late, 1), 1)

    assert window.ready_at(1, late) == pytest.approx(after)


def test_what_has_left_the_window_is_forgotten() -> None:
    window = Window(1000)
    for number in range(100):
        now = number / 2
        assert window.ready_at(1, now) == now
        window.start(Permit(now, 1), 1)

    assert len(window._starts) <= 3
    assert window._sum == len(window._starts)


def usual_times(durations: list[float]) -> list[float]:
    """What RFC 6298 makes of durations; how far each lies above what is usual."""
    mean, deviation, above = durations[0], durations[0] / 2, [0.0]
    for seconds in durations[1:]:
        excess = seconds - mean
        above.append(0.0 if excess <= (4 * deviation if deviation > 0.03 else 0.01) else min(excess, 0.3))
        bounded = min(excess, max(4 * deviation, 0.01))
        deviation = deviation * 3 / 4 + abs(bounded) / 4
        mean += bounded / 8
    return above


@given(st.lists(st.floats(0.001, 2), min_size=1, max_size=30))
def test_the_time_of_travel_is_learned_as_in_tcps_timer(durations: list[float]) -> None:
    travel = Travel()

    assert [travel.held_up(seconds) for seconds in durations] == pytest.approx(
        usual_times(durations), abs=1e-6
    )


def test_a_call_is_held_up_where_the_others_are_not() -> None:
    steady = Travel()
    assert [steady.held_up(0.1) for _ in range(12)] == [0.0] * 12
    assert steady.held_up(0.108) == 0.0
    assert steady.held_up(0.16) == pytest.approx(0.06, abs=0.002)
    assert steady.held_up(1.9) == 0.3

    noisy = Travel()  # a model whose answers take from 0.1 to 0.5 s anyway
    above = [noisy.held_up(0.1 + 0.4 * (number % 2)) for number in range(40)]
    assert not any(above[6:])

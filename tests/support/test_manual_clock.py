from tests.support.manual_clock import ManualClock


def test_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5)
    assert (clock.monotonic(), clock.monotonic(), clock.now_ms()) == (5, 5, 5000)
    clock.advance(0.25)
    assert (clock.monotonic(), clock.now_ms()) == (5.25, 5250)


def test_timers_fire_in_order_at_their_own_time_even_those_set_on_the_way() -> None:
    clock, fired = ManualClock(0), []

    def note(name: str) -> None:
        fired.append((name, clock.monotonic()))
        if name == "first":
            clock.call_later(1, note, "set by the first")

    clock.call_later(3, note, "late")
    clock.call_later(1, note, "first")
    clock.call_later(9, note, "too late")
    clock.advance(4)
    assert fired == [("first", 1), ("set by the first", 2), ("late", 3)]
    assert clock.waiting == 1


def test_a_cancelled_timer_never_fires() -> None:
    clock, fired = ManualClock(), []
    clock.call_later(1, fired.append, "kept")
    clock.call_later(1, fired.append, "cancelled").cancel()
    assert clock.waiting == 1
    clock.advance(2)
    assert fired == ["kept"]

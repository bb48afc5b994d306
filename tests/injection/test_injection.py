"""At every await and every store operation of the spine an exception, a cancellation, a crash and a hang, in turn."""

from __future__ import annotations

import pytest

from tests.injection.lives import faults_in, live
from tests.injection.probe import FAULTS, Fault
from tests.promises import promise


@promise("steady:simulation")
def test_without_a_fault_everything_is_done_once_and_the_next_process_is_told_so() -> None:
    life = live()
    assert faults_in(life, None) == []
    assert [result.status for result in life.first or []] == ["ok"] * 5
    assert life.paid == {"P": 1, "S": 1, "V": 1}
    assert len(life.points) > 80


@promise("steady:simulation", "call:total", "effect:once", "effect:unknown", "call:cancel")
@pytest.mark.parametrize("fault", FAULTS)
def test_wherever_a_fault_strikes_every_promise_holds(fault: Fault) -> None:
    points = live().points
    broken = {
        f"{at} ({points[at]})": found for at in range(len(points)) if (found := faults_in(live(fault, at), fault))
    }
    print(f"{len(points)} points x {fault}: {'all hold' if not broken else f'{len(broken)} do not'}")
    assert not broken, "\n".join(f"{place}: {found}" for place, found in list(broken.items())[:20])

"""The checks that there are."""

from shoal.conformance import CHECKS


def test_checks_are_numbered_and_named_once() -> None:
    assert [one.number for one in CHECKS] == list(range(1, len(CHECKS) + 1))
    assert len({one.name for one in CHECKS}) == len(CHECKS)

"""Tests of the circuit breaker. The tests need no clock: they pass each time as an argument."""

from __future__ import annotations

import pytest

from suno_async import AuthenticationError, InsufficientCreditsError
from suno_async._transport.breaker import OPEN_FOR, CircuitBreaker


def test_no_credits() -> None:
    """After a 402, paid requests fail for `OPEN_FOR` seconds. Other requests do not fail."""
    gate = CircuitBreaker()
    gate.check(0.0, spends=True)
    gate.credit_refused(10.0)
    gate.saw_balance(0.0)
    gate.check(10.0, spends=False)
    with pytest.raises(InsufficientCreditsError):
        gate.check(10.0 + OPEN_FOR - 0.1, spends=True)
    gate.check(10.0 + OPEN_FOR, spends=True)
    gate.credit_refused(10.0)
    gate.saw_balance(0.5)
    gate.check(10.0, spends=True)


def test_key_refused_twice() -> None:
    """If the server refuses the key twice in a row, all requests fail for `OPEN_FOR` seconds."""
    gate = CircuitBreaker()
    gate.key_refused(sent_at=9.0, now=10.0)
    gate.check(10.0, spends=True)
    before = gate.suspected_at is not None
    gate.key_refused(sent_at=10.0, now=11.0)
    gate.saw_balance(5.0)
    assert (before, gate.suspected_at is not None) == (True, False)
    for spends in (True, False):
        with pytest.raises(AuthenticationError, match=r"refused; try again in 1 s"):
            gate.check(11.0 + OPEN_FOR - 0.1, spends=spends)
        gate.check(11.0 + OPEN_FOR, spends=spends)


def test_one_glitch() -> None:
    """Concurrent refusals of the key count as one refusal. One refusal does not block requests."""
    gate = CircuitBreaker()
    for sent_at in (9.0, 9.5, 9.9):
        gate.key_refused(sent_at, now=10.0 + sent_at / 100)
    assert gate.refusal(10.1) is None
    seen: list[bool] = []
    for sent_at in (9.95, 10.2):
        seen.append(gate.suspected_at is not None)
        gate.key_accepted(sent_at)
    assert [*seen, gate.suspected_at is not None] == [True, True, False]


def test_outdated_refusal() -> None:
    """The key is not suspected after a refusal if a request sent later was already accepted."""
    gate = CircuitBreaker()
    gate.key_accepted(sent_at=10.0)
    seen: list[bool] = []
    for sent_at in (9.9, 10.1):
        gate.key_refused(sent_at, now=10.5)
        seen.append(gate.suspected_at is not None)
    assert seen == [False, True]


def test_suspicion_that_cannot_be_confirmed() -> None:
    """After `clear_suspicion`, the next refusal of the key does not block requests."""
    gate = CircuitBreaker()
    gate.key_refused(sent_at=1.0, now=2.0)
    gate.clear_suspicion()
    gate.key_refused(sent_at=3.0, now=4.0)
    assert gate.suspected_at is not None
    assert gate.refusal(4.0) is None


def test_doubts_key() -> None:
    """`doubts_key` returns True after a refusal of the key.

    It returns False again after the key is accepted, or when the breaker closes.
    """
    gate = CircuitBreaker()
    seen = [gate.doubts_key(9.0)]
    gate.key_refused(sent_at=9.0, now=10.0)
    seen.append(gate.doubts_key(10.0))
    gate.key_accepted(sent_at=10.5)
    seen.append(gate.doubts_key(11.0))
    gate.key_refused(sent_at=11.0, now=11.1)
    gate.key_refused(sent_at=11.2, now=12.0)
    seen += [gate.doubts_key(12.0 + OPEN_FOR - 0.1), gate.doubts_key(12.0 + OPEN_FOR)]
    assert seen == [False, True, False, True, False]

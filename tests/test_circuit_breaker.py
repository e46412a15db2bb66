"""The circuit breaker of an account, without clock or requests."""

from __future__ import annotations

import pytest

from suno_async import AuthenticationError, InsufficientCreditsError
from suno_async._transport.breaker import OPEN_FOR, CircuitBreaker


def test_without_credits() -> None:
    """After a 402 only creates fail, until the time is over or a balance shows credits."""
    breaker = CircuitBreaker()
    breaker.check(0.0, spends=True)
    breaker.credit_refused(10.0)
    breaker.saw_balance(0.0)
    breaker.check(10.0, spends=False)
    with pytest.raises(InsufficientCreditsError):
        breaker.check(10.0 + OPEN_FOR - 0.1, spends=True)
    breaker.check(10.0 + OPEN_FOR, spends=True)
    breaker.credit_refused(10.0)
    breaker.saw_balance(0.5)
    breaker.check(10.0, spends=True)


def test_refused_key() -> None:
    """A second refusal, of a request sent after the first one, opens the breaker for a while."""
    breaker = CircuitBreaker()
    breaker.key_refused(9.0, 10.0)
    breaker.key_refused(9.5, 10.1)
    # Both were sent before the first refusal arrived.
    breaker.check(10.1, spends=True)
    breaker.key_refused(10.2, 10.3)
    for spends in (True, False):
        with pytest.raises(AuthenticationError, match="refused a moment ago"):
            breaker.check(10.3 + OPEN_FOR - 0.1, spends=spends)
        breaker.check(10.3 + OPEN_FOR, spends=spends)


def test_accepted_key() -> None:
    """One refusal is forgotten when a later request is accepted, not when an earlier one is."""
    breaker = CircuitBreaker()
    suspected = [breaker.suspected]
    breaker.key_refused(9.0, 10.0)
    suspected.append(breaker.suspected)
    breaker.key_accepted(9.5)
    suspected.append(breaker.suspected)
    breaker.key_accepted(10.5)
    suspected.append(breaker.suspected)
    assert suspected == [False, True, True, False]
    breaker.key_refused(11.0, 11.5)
    breaker.clear_suspicion()
    breaker.key_refused(12.0, 12.5)
    breaker.check(12.5, spends=True)

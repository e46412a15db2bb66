"""Create the client that a command uses."""

from __future__ import annotations

import os
import urllib.request
from typing import TYPE_CHECKING

from suno_async import SunoClient
from suno_async.cli.output import fail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from suno_async import Creation, Observer, PersonaCreation

#: Seconds for which a short command retries a request, for example without a network. With a
#: longer time, the user would wait too long for the report of a mistyped host.
RETRY_FOR = 10.0

#: Seconds for which a long-running command retries a request.
PATIENT_RETRY_FOR = 60.0


def open_client(
    base_url: str | None,
    *,
    observer: Observer | None = None,
    on_creation: Callable[[Creation | PersonaCreation], object] | None = None,
    patient: bool = False,
    needs_key: bool = True,
    journal: Path | None = None,
    account: str | None = None,
    allow_hosts: Sequence[str] | None = None,
) -> SunoClient:
    """Return a client for a command. Exit if a required API key is missing.

    The client uses the proxies of the environment, such as HTTPS_PROXY.

    Args:
        base_url: The URL of the API host. If None, an environment variable or the default is used.
        observer: Receives the events of the client. If None, events are not reported.
        on_creation: Called once for each create request that was sent.
        patient: Whether to retry failed requests for a minute instead of ten seconds.
        needs_key: Whether the command needs an API key.
        journal: The journal file. If None, nothing is stored.
        account: The label of the account in the journal. If None, it is derived from the key and
            the URL of the API host.
        allow_hosts: Hosts that downloads and uploads may use without https, or at an address that
            is not public.
    """
    has_key = any(os.environ.get(name, "").strip() for name in ("SUNO_API_KEY", "CRUN_API_KEY"))
    if needs_key and not has_key:
        fail("no API key: set the environment variable SUNO_API_KEY, or try suno-async demo", 2)
    return SunoClient(
        None if has_key else "no key",
        base_url=base_url,
        observer=observer,
        on_creation=on_creation,
        journal=journal,
        account=account,
        # Without proxies, True would only cost time for each request.
        trust_env=bool(urllib.request.getproxies()),
        allow_hosts=allow_hosts or (),
        retry_for=PATIENT_RETRY_FOR if patient else RETRY_FOR,
    )

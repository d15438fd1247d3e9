"""Have the workers of a cluster commit what they published, and hear what they could not keep."""

from __future__ import annotations

import logging
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from invariant_dask.runtime.task import settle
from invariant_dask.store.backend import Missed
from invariant_dask.store.opening import StoreRef

if TYPE_CHECKING:
    from distributed import Client

    from invariant_dask.runtime.listening import Listener

logger = logging.getLogger("invariant_dask.runtime")


@contextmanager
def settled(
    client: Client,
    store: StoreRef,
    everywhere: bool,
    missed: list[Missed],
    listener: Listener | None = None,
) -> Iterator[None]:
    """Have workers commit what tasks of a block published: others may not see it until then.

    What tiers of a chain lack in spite of that is added to `missed`. A listener has heard all that
    these workers had to tell when this returns.

    If that fails, the values of the block are right all the same, so it is a warning; and if the
    block itself fails, that is what the user must hear about.
    """
    try:
        yield
    except BaseException:
        trouble = _settle(client, store, listener=listener)
        if trouble:
            logger.warning("%s", trouble)
        raise
    trouble = _settle(client, store, everywhere, missed, listener)
    if trouble:
        warnings.warn(trouble, stacklevel=2)


def _settle(
    client: Client,
    store: StoreRef,
    everywhere: bool = False,
    missed: list[Missed] | None = None,
    listener: Listener | None = None,
) -> str:
    """Have workers commit, and say what came in the way."""
    reasons: dict[str, object] = {}
    if client.status != "running":  # asking would wait for a scheduler that may be gone
        reasons = {store.url: "the connection to the scheduler is lost"}
    else:
        token = secrets.token_hex(8) if listener is not None else ""
        try:
            answers = client.run(settle, store, everywhere, token, on_error="return")
            reasons = {w: answer for w, answer in answers.items() if isinstance(answer, Exception)}
            if missed is not None:
                missed += [each for w in answers.keys() - reasons.keys() for each in answers[w]]
            if listener is not None and not listener.await_settled(token, len(answers)):
                logger.warning("the latest events of some workers did not arrive in time")
        except Exception as error:  # noqa: BLE001  Dask says in many ways that nobody answers
            reasons = {store.url: error}
    if not reasons:
        return ""
    where, reason = min(reasons.items())
    return f"the latest results may not be stored, and may run again next time: {where}: {reason}"

"""The scheduler's side: it listens for events of runs and shows what it heard.

`client.register_plugin(DashboardPlugin())` brings it to a cluster that runs, and
`dask scheduler --preload invariant_dask` to one that starts. It cannot break a run, nor a
scheduler: what goes wrong is logged once, and the page or the metrics are missing.
"""

from __future__ import annotations

import logging
import re
from typing import Any
from weakref import WeakKeyDictionary

from distributed.diagnostics.plugin import SchedulerPlugin

from invariant_dask.runtime.board import Board
from invariant_dask.runtime.dashboard_views import Views
from invariant_dask.runtime.outbox import TOPIC

logger = logging.getLogger(__name__)

NAME = "invariant-dask"


class DashboardPlugin(SchedulerPlugin):  # type: ignore[misc]  # Dask's has no annotations
    """Adds the page `/invariant`, its API and its metrics to a Dask scheduler.

    The page is in the scheduler's own dashboard, on the same port; without bokeh there is only the
    API (`/invariant/api`), without `prometheus_client` there are no metrics. A second one for the
    same scheduler does nothing.

    Examples
    --------
    >>> from distributed import Client
    >>> client = Client(processes=False, dashboard_address=":0", set_as_default=False)
    >>> client.register_plugin(DashboardPlugin())
    >>> client.close()
    """

    name = NAME
    idempotent = True

    def __init__(self) -> None:
        self.board: Board | None = None

    async def start(self, scheduler: Any) -> None:
        self.board = Board()
        for what, add in (("page", _add_pages), ("metrics", _add_metrics)):
            try:
                add(scheduler, self.board)
            except Exception:
                logger.warning("this scheduler has no %s of invariant-dask", what, exc_info=True)

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == TOPIC and self.board is not None:
            self.board.receive(msg)


def _add_pages(scheduler: Any, board: Board) -> None:
    from invariant_dask.runtime.webpages import key_finder, routes

    application = scheduler.http_application
    prefix = _prefix(application)
    application.add_handlers(r".*", routes(prefix, board, key_finder(scheduler)))
    if not any(hasattr(each, "app_paths") for each in application.applications):
        return  # no bokeh, or its dashboard is switched off
    from invariant_dask.runtime.dashboard import add_page

    add_page(scheduler, Views(board), prefix)


def _prefix(application: Any) -> str:
    """Return what comes before all addresses (`--dashboard-prefix`), empty or as `/name`."""
    for router in (application.wildcard_router, application.default_router):
        for rule in router.rules:
            pattern = getattr(getattr(rule.matcher, "regex", None), "pattern", "")
            found = re.fullmatch(r"(/.*)?/(?:health|info)\$", pattern)
            if found:
                return re.sub(r"\\(.)", r"\1", found[1] or "")
    return ""


def _add_metrics(_scheduler: Any, _board: Board) -> None:
    try:
        import prometheus_client  # noqa: F401  the collectors of Dask need it too
    except ImportError:
        return
    from invariant_dask.runtime.metrics import collect_from

    collect_from(_board_of)


def _board_of(scheduler: Any) -> Board | None:
    plugin = scheduler.plugins.get(NAME)
    return getattr(plugin, "board", None)


def dask_setup(scheduler: Any) -> None:
    """Add the plugin to a scheduler that starts, as `dask scheduler --preload` asks for it."""
    if hasattr(scheduler, "add_plugin") and NAME not in scheduler.plugins:
        # Started together with the scheduler, when its HTTP server is there.
        scheduler.add_plugin(DashboardPlugin())


_installed: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def install(client: Any) -> None:
    """See to it that the scheduler of a client has the page; this never raises.

    A scheduler without this package, or that takes no plugins, has none. It is asked once per
    client and scheduler.
    """
    if client.asynchronous:
        return  # it cannot be waited for here
    scheduler = str(getattr(client.scheduler, "address", ""))
    if _installed.get(client) == scheduler:
        return
    _installed[client] = scheduler
    try:
        client.register_plugin(DashboardPlugin())
    except Exception as error:  # noqa: BLE001  whatever it is, the run goes on without a page
        logger.info("the dashboard of %s has no page of invariant-dask: %s", scheduler, error)

"""What several open pages share: a run is looked through once for all of them."""

from __future__ import annotations

from typing import Any

from invariant_dask.ledger.folding import NodeState
from invariant_dask.runtime.board import Board
from invariant_dask.runtime.board_picture import Picture, picture
from invariant_dask.runtime.board_run import WatchedRun
from invariant_dask.runtime.board_view import details, summary


class Views:
    """Details and pictures of the runs of a board, made again only when something changed."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._details: dict[str, tuple[int, dict[str, Any]]] = {}
        self._pictures: dict[str, tuple[int, Picture]] = {}

    def details(self, run: WatchedRun) -> dict[str, Any]:
        """Return all that is shown of a run, up to this moment."""
        made = self._details.get(run.run)
        if made is None or made[0] != run.version:
            _bound(self._details, self.board)
            self._details[run.run] = made = run.version, details(run, self.board.clock())
        return made[1] | summary(run, self.board.clock())

    def picture(self, run: WatchedRun) -> Picture:
        """Return where the nodes of a run lie; the same object as long as none are added."""
        made = self._pictures.get(run.run)
        if made is None or made[0] != run.shape:
            _bound(self._pictures, self.board)
            self._pictures[run.run] = made = run.shape, picture(run)
        return made[1]


def _bound(made: dict[str, Any], board: Board) -> None:
    for gone in [name for name in made if name not in board.runs]:
        del made[gone]


def find_node(run: WatchedRun, name: str) -> NodeState | None:
    """Return what is remembered of a node: failed ones stay longer than others."""
    found = run.state.nodes.get(name)
    if found is not None:
        return found
    return next((node for node in reversed(run.failed) if node.node == name), None)

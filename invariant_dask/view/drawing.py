"""A picture that is there to be looked at: in a notebook, or as a file of some format."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from invariant_dask.errors import PictureError
from invariant_dask.view.dot import dot_of
from invariant_dask.view.graphviz import find_dot, render
from invariant_dask.view.grouping import Detail, at_level, check_detail
from invariant_dask.view.html import html_of
from invariant_dask.view.picture import Picture
from invariant_dask.view.svg import svg_of

Format = Literal["svg", "png", "dot", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)


def format_of(path: Path | None, format: str | None = None) -> Format:  # noqa: A002
    """Return the format to draw in: the one asked for, or that of a file's suffix.

    Raises
    ------
    PictureError
        If that is none of ours, or nothing says which.
    GraphvizError
        If Graphviz is needed, and not there.
    """
    wanted = format or ("" if path is None else path.suffix.removeprefix(".").lower())
    for known in FORMATS:
        if wanted == known:
            if known in {"png", "svg"}:
                find_dot()
            return known
    asked = f"there is no format {wanted!r}" if wanted else "the file has no suffix that says how"
    raise PictureError(f"{asked}; pictures are {', '.join(FORMATS)}")


def draw(
    picture: Picture,
    filename: str | os.PathLike[str] | None = None,
    format: str | None = None,  # noqa: A002
    detail: Detail = "auto",
) -> Drawing:
    """Return a drawing at a level of detail, and write it to a file if one is named."""
    drawing = Drawing(at_level(picture, detail))
    if filename is not None:
        drawing.save(filename, format)
    return drawing


def check_asked(
    filename: str | os.PathLike[str] | None,
    format: str | None,  # noqa: A002
    detail: str,
) -> None:
    """Refuse what cannot be drawn, before anything is looked up for it.

    Raises
    ------
    PictureError
        If there is no such format or level of detail, or a format is given without a file.
    GraphvizError
        If Graphviz is needed, and not there.
    """
    check_detail(detail)
    if filename is not None:
        format_of(Path(filename), format)
    elif format is not None:
        raise PictureError(f"format={format!r} is that of a file; name one, or use .render(format)")


@dataclass(frozen=True, slots=True)
class Drawing:
    """What `visualize` returns: a notebook shows it, `save` writes it.

    Attributes
    ----------
    picture
        What is drawn.
    """

    picture: Picture

    def save(self, filename: str | os.PathLike[str], format: str | None = None) -> Path:  # noqa: A002
        """Write it to a file, which is complete or not there at all; return the path.

        Parameters
        ----------
        filename
            Where to. Its suffix says the format, unless `format` does.
        format
            `svg` or `png`, which Graphviz draws, `html` or `dot`.

        Raises
        ------
        PictureError
            If there is no such format.
        GraphvizError
            If Graphviz is needed, and not there or not able to.
        """
        path = Path(filename)
        chosen = format_of(path, format)
        if not path.suffix:
            path = path.with_name(f"{path.name}.{chosen}")
        data = self.render(chosen)
        aside = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
        try:
            aside.write_bytes(data)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        return path

    def render(self, format: Format) -> bytes:  # noqa: A002
        """Return it in a format.

        Raises
        ------
        GraphvizError
            If Graphviz is needed, and not there or not able to.
        """
        if format == "html":
            return html_of(self.picture).encode()
        if format == "dot":
            return self.dot().encode()
        return render(self.dot(), format)

    def dot(self) -> str:
        """Return it in Graphviz's language."""
        return dot_of(self.picture)

    def svg(self) -> str:
        """Return it as SVG of our own, for pages; it takes no Graphviz."""
        return svg_of(self.picture)

    def html(self) -> str:
        """Return it as a page of its own, to move around in; it takes no Graphviz."""
        return html_of(self.picture)

    def __repr__(self) -> str:
        return f"<Drawing: {len(self.picture.nodes)} nodes; {self.picture.summary}>"

    def _repr_svg_(self) -> str:
        return self.svg()

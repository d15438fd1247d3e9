"""Every op and every recipe of `invariant-gfx` through both engines, compared by their pixels."""

from __future__ import annotations

import importlib
import io
from decimal import Decimal
from types import SimpleNamespace

import invariant
import invariant_gfx.ops
import invariant_gfx.recipes
import invariant_gfx.shapes
import pytest
from invariant import Node, SubGraphNode, SwitchNode, cel, ref
from invariant_gfx.anchors import absolute, relative
from invariant_gfx.artifacts import BlobArtifact, ImageArtifact
from PIL import Image, ImageFont
from upstream.oracle import Ours, Theirs, assert_same, compare, compare_on_cluster

import invariant_dask
from invariant_dask.graph.documents import load_document

D = Decimal
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 16">'
    '<rect x="2" y="3" width="17" height="9" rx="3" fill="#c62" />'
    '<circle cx="16" cy="8" r="5" fill="#26c" fill-opacity="0.6" /></svg>'
)
PALETTE = [(200, 30, 30, 255), (30, 200, 30, 255), (30, 30, 200, 128), (250, 250, 10, 40)]


def picture(form):
    """An encoded picture with no symmetry."""
    image = Image.new("RGBA", (9, 7), (0, 0, 0, 0))
    for x in range(9):
        for y in range(7):
            if (x * y) % 5:
                image.putpixel((x, y), (x * 28, y * 36, (x * y * 11) % 256, 255 - x * 20))
    stream = io.BytesIO()
    (image if form == "PNG" else image.convert("RGB")).save(stream, form)
    return stream.getvalue()


# A font that comes with Pillow, so that nothing depends on what the machine has.
FONT = BlobArtifact(ImageFont.load_default(12).font_bytes, "font/ttf")
CONTEXT = {
    "png": BlobArtifact(picture("PNG"), "image/png"),
    "jpeg": BlobArtifact(picture("JPEG"), "image/jpeg"),
    "svg": BlobArtifact(SVG.encode(), "image/svg+xml"),
    "font": FONT,
    "scale": D("0.5"),
    "radius": 2,
}


def gfx(name, /, *deps, **params):
    used = [value.dep for value in params.values() if isinstance(value, ref)]
    return Node(f"gfx:{name}", params, list(dict.fromkeys([*used, *deps])))


def pictures():
    """Where the others start from."""
    return {
        "drawn": gfx("render_svg", svg_content=SVG, width=36, height=24),
        "text": gfx("render_text", text="gy", font=ref("font"), color=PALETTE[0], size=20),
        "decoded": gfx("blob_to_image", blob=ref("png")),
        "canvas": gfx("create_solid", size=(60, 40), color=PALETTE[1]),
    }


def of_image():
    image = ref("drawn")
    graph = {
        name: gfx(name, image=image)
        for name in ("crop_to_content", "extract_alpha", "grayscale", "invert_alpha")
    }
    shifts = {"left": 3, "top": 1, "right": 5, "bottom": 2}
    more = {
        "brightness_contrast": [{"brightness": D("1.3"), "contrast": "0.7"}, {"brightness": 2}],
        "colorize": [{"color": PALETTE[0]}, {"color": list(PALETTE[2])}],
        "crop": [shifts],
        "crop_region": [
            {"x": 2, "y": D(3), "width": "${drawn.width - 4}", "height": cel("drawn.height / 2")}
        ],
        "dilate": [{"radius": 2}, {"radius": 1}, {"radius": cel("radius + 1")}],
        "erode": [{"radius": 1}, {"radius": ref("radius")}],
        "flip": [
            {"horizontal": True}, {"vertical": True}, {}, {"horizontal": True, "vertical": True},
        ],
        "gaussian_blur": [{"sigma": D("1.5")}, {"sigma": 0}, {"sigma": "2"}],
        "gradient_opacity": [
            {"angle": 30},
            {"angle": D(90), "start": D("0.8"), "end": 0, "start_pos": "0.1", "end_pos": D("0.5")},
        ],
        "mask_alpha": [{"mask": ref("drawn")}, {"mask": ref("extract_alpha")}],
        "opacity": [{"factor": D("0.3")}, {"factor": ref("scale")}, {"factor": 1}],
        "pad": [shifts, {"left": 0, "top": 0, "right": cel("radius * 3"), "bottom": 0}],
        "resize": [
            {"width": 18}, {"height": 12}, {"width": 7, "height": D(9)}, {"scale": ref("scale")},
            {"width": cel("int(decimal(drawn.width) * scale)"), "height": "${drawn.height}"},
        ],
        "rotate": [{"angle": 90}, {"angle": D("33.3")}, {"angle": "-12", "expand": False}],
        "threshold_alpha": [{"t": 128}, {"t": 0}],
        "thumbnail": [{"width": 18, "height": 18}, {"width": 9, "height": "18", "mode": "cover"}],
        "tint": [{"color": PALETTE[2]}],
        "transform": [
            {"method": "extent", "data": (1, 2, 30, 20), "size": (20, 14)},
            {"method": "affine", "data": [1, D("0.2"), 0, 0, 1, "1.5"], "size": [40, 30]},
            {"method": "perspective", "data": [1, 0, 0, 0, 1, 0, D("0.01"), 0], "size": (36, 24)},
            {"method": "quad", "data": [0, 0, 4, "${drawn.height}", 30, 24, 36, 0],
             "size": ["${drawn.width}", cel("drawn.height + radius")]},
        ],
        "translate": [{"dx": 3, "dy": -2}, {"dx": 0, "dy": ref("radius")}],
    }  # fmt: skip
    for name, calls in more.items():
        for at, params in enumerate(calls):
            graph[f"{name} {at}"] = gfx(name, "drawn", "radius", "scale", image=image, **params)
    return pictures() | graph


def of_text():
    font, text = ref("font"), "several words for a box"
    return {
        "sized": gfx("render_text", text="Aq, 1", font=font, color=PALETTE[0], size=D("14.0")),
        "fitted": gfx("render_text", text="Wide", font=font, color=PALETTE[2], fit_width=50),
        "exact": gfx(
            "render_text", text="Wide", font=font, color=PALETTE[2], fit_width=D(50), exact=True
        ),
        "lines": gfx("render_text", text="a\nb c", font=font, color=PALETTE[1], size="9"),
        "told": gfx(
            "render_text", "scale", text="x${scale}", font=font, color=PALETTE[1], size=12
        ),
        "packed": gfx("packed_text", text=text, size=(50, 30), font=font),
        "packed more": gfx(
            "packed_text", text=text, size=[40, 44], font=font, color=PALETTE[0], min_font_size=6,
            max_font_size=9, line_gap=D(1), align_horizontal="start", align_vertical="bottom",
        ),
    }  # fmt: skip


def of_many():
    images = ["drawn", "text", "decoded"]
    refs = [ref(name) for name in images]
    layered = {
        f"composite {mode}": gfx(
            "composite",
            "canvas",
            "drawn",
            layers=[
                {"image": ref("canvas"), "id": "bottom"},
                {
                    "image": ref("drawn"), "id": "top", "mode": mode, "opacity": D("0.75"),
                    "anchor": absolute("${canvas.width - drawn.width}", 3),
                },
            ],
        )
        for mode in ("normal", "multiply", "screen", "add", "overlay", "darken", "lighten")
    }  # fmt: skip
    return pictures() | layered | {
        "aligned": gfx(
            "composite",
            "canvas",
            *images,
            layers=[
                {"image": ref("canvas"), "id": "c"},
                {"image": ref("drawn"), "id": "d", "anchor": relative("c", "ee@ee", x=-4)},
                {"image": ref("text"), "id": "t", "anchor": relative("d", "cs@ce", y=D(1))},
                {"image": ref("decoded"), "anchor": relative("c", "c@c", "${canvas.width / 10}")},
            ],
        ),
        "row": gfx("layout", *images, direction="row", align="c", gap=D(3), items=refs),
        "column": gfx("layout", *images, direction="column", align="e", gap="2", items=refs),
        "from jpeg": gfx("blob_to_image", blob=ref("jpeg")),
        "from svg": gfx("render_svg", svg_content=ref("svg"), width=D(30), height="20"),
        "solid": gfx("create_solid", "radius", size=[D(4), "${radius}"], color=PALETTE[3]),
    }  # fmt: skip


def of_shapes():
    """Shapes that the package draws, as SVG text."""
    draw = invariant_gfx.shapes
    texts = {
        name: getattr(draw, name)(30, 20, fill=PALETTE[0], stroke=PALETTE[2], stroke_width=2)
        for name in ("rect", "diamond", "hexagon", "parallelogram")
    } | {
        "circle": draw.circle(15, 12, 9, fill=PALETTE[1]),
        "ellipse": draw.ellipse(15, D(12), 9, 5, fill=PALETTE[3]),
        "rounded_rect": draw.rounded_rect(20, 25, D("3.5"), fill=PALETTE[1]),
    }
    return {
        name: gfx("render_svg", svg_content=text, width=30, height=30)
        for name, text in texts.items()
    }


def colors():
    names = ["red", "#12345678", "hsl(120, 50%, 50%)", (1, 2, 3), [4, 5, 6, 7]]
    graph = {f"color {at}": gfx("resolve_color", color=color) for at, color in enumerate(names)}
    graph["used"] = gfx("create_solid", size=(3, 3), color=ref("color 1"))
    return graph


def recipes():
    """Every recipe, with its defaults and with others, and put together with its source."""
    make = invariant_gfx.recipes
    graph = pictures() | {
        f"{name} of {source}": getattr(make, name)(source)
        for name in make.__all__
        for source in ("drawn", "text")
    }
    graph |= {
        "spread shadow": make.drop_shadow("drawn", radius=2, sigma=D(0), dx=-3, dy=0),
        "soft shadow": make.drop_shadow("text", sigma=D("1.2"), color=PALETTE[0]),
        "inner": make.inner_shadow("drawn", dx=0, dy=0, radius=1, sigma=D("0.5")),
        "glow": make.inner_glow("text", radius=2, color=PALETTE[3]),
        "wide stroke": make.outer_stroke("drawn", width=4, color=PALETTE[2]),
        "wide glow": make.outer_glow("text", radius=1, sigma=D(2)),
        "gap": make.reflection("drawn", gap=5, squash=D("0.5"), gradient_end=D("0.1")),
        "skewed": make.reflection("drawn", skew=D("0.1"), gap=2, squash=D("0.75")),
    }
    parts = ["canvas", "drop_shadow of drawn", "drawn", "skewed"]
    graph["poster"] = gfx(
        "composite",
        *parts,
        layers=[
            {"image": ref(part), "id": part} | ({"anchor": relative("canvas", "c@c")} if at else {})
            for at, part in enumerate(parts)
        ],
    )
    return graph


def chosen():
    """Recipes behind a switch and inside a subgraph."""
    make = invariant_gfx.recipes
    inner = {
        "shadow": make.drop_shadow("it"),
        "stroke": make.outer_stroke("it"),
        "pick": SwitchNode(
            cel("it.width > 30 ? 'big' : 'small'"), ["it"], {"big": "shadow", "small": "stroke"}
        ),
        "out": gfx("opacity", image=ref("pick"), factor=D("0.5")),
    }
    return pictures() | {
        f"out of {source}": SubGraphNode({"it": ref(source)}, [source], inner, "out")
        for source in ("drawn", "text", "decoded")
    }


GRAPHS = {
    "of_image": of_image, "of_text": of_text, "of_many": of_many, "of_shapes": of_shapes,
    "colors": colors, "recipes": recipes, "chosen": chosen,
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_every_pixel_is_the_same_in_both(name):
    graph = GRAPHS[name]()
    both = compare(graph, list(graph), CONTEXT)
    assert all(type(value) is ImageArtifact for value in both.value.values() if name != "colors")


ROUNDING = {
    "resize by scale": ("resize", {"scale": D("0.3")}),
    "resize by width": ("resize", {"width": 20}),
    "resize by height": ("resize", {"height": 7}),
    "thumbnail": ("thumbnail", {"width": 16, "height": 16}),
}


@pytest.mark.parametrize("name", ROUNDING)
def test_ops_that_round_decimals_do_so_here(name):
    """They are run as they are: a wrapper that counts would be own code, which must not round."""
    op, params = ROUNDING[name]
    graph = {"it": gfx("create_solid", size=(36, 25), color=PALETTE[0])}
    graph["smaller"] = gfx(op, image=ref("it"), **params)
    found = invariant_dask.compile(graph, ["smaller"], store=invariant_dask.MemoryStore())
    expected = Theirs().run(graph, ["smaller"])
    assert_same({"smaller": found.compute(scheduler="sync")}, expected)


@pytest.mark.parametrize("name", ["of_many", "of_text", "recipes", "chosen"])
def test_every_pixel_is_the_same_on_a_cluster(name, client, tmp_path):
    graph = GRAPHS[name]()
    again = compare_on_cluster(graph, list(graph), CONTEXT, client, tmp_path)
    assert again.ran() == []


def test_resources_are_found_by_both(monkeypatch):
    # No package of resources is installed; what would come out of one is what ops see.
    module = importlib.import_module("invariant_gfx.ops.resolve_resource")
    found = SimpleNamespace(data=SVG.encode(), content_type="image/svg+xml")
    pack = SimpleNamespace(get_resource={"test:icon": found}.__getitem__)
    monkeypatch.setattr(module, "get_default_registry", lambda: pack)
    graph = {
        "icon": gfx("resolve_resource", name="test:icon"),
        "drawn": gfx("render_svg", svg_content=ref("icon"), width=24, height=16),
    }
    both = compare(graph, ["icon", "drawn"])
    assert both.value["icon"].data == SVG.encode()


def test_every_op_of_the_package_is_compared():
    used = {"resolve_resource"}
    stack = [graph() for graph in GRAPHS.values()]
    while stack:
        for vertex in stack.pop().values():
            if isinstance(vertex, SubGraphNode):
                stack.append(vertex.graph)
            elif isinstance(vertex, Node):
                used.add(vertex.op_name.removeprefix("gfx:"))
    assert invariant_gfx.ops.OPS.keys() <= used


def test_pictures_in_documents_are_the_same_in_both():
    blob = BlobArtifact(picture("PNG"), "image/png")
    graph = recipes() | {"decoded": gfx("blob_to_image", blob=blob)}
    del graph["text"]
    graph = {name: vertex for name, vertex in graph.items() if "text" not in vertex.deps}
    text = invariant.dump_graph(graph)
    assert "$icacheable" in text
    outputs = ["decoded", "poster", "wide stroke"]
    expected = Theirs().run(graph, outputs)
    assert_same(Ours("sync").run(load_document(text).graph, outputs), expected)

"""What a program shows beside what it prints: pictures, pages, data.

`display(object)` shows anything. At the prompt the value of a last expression, if it can draw itself,
and figures that are open at the end are shown by themselves, as notebooks do.
"""

import builtins
import io
import json
import sys

import program
import ukernel

# What objects say of themselves, by media type, best first (the display protocol of IPython).
DRAWINGS = [
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("image/svg+xml", "_repr_svg_"),
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
    ("application/json", "_repr_json_"),
]

# How the bytes of an image begin.
IMAGES = [(b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg")]


def display(*values):
    """Shows values to whoever had this code run: images as PNG or JPEG bytes, what draws itself, texts, data."""
    for value in values:
        send(*(drawing_of(value) or plain(value)))


def drawing_of(value):
    """A value as it draws itself, with the media type; None if it does not."""
    if isinstance(value, type):
        return None
    for media_type, name in DRAWINGS:
        draw = getattr(value, name, None)
        drawing = draw() if callable(draw) else None
        if isinstance(drawing, tuple):
            # With metadata.
            drawing = drawing[0]
        if drawing is not None:
            return media_type, drawing
    return None


def plain(value):
    """A value that does not draw itself, with the media type."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        for begin, media_type in IMAGES:
            if data.startswith(begin):
                return media_type, data
        raise TypeError("display shows bytes of a PNG or JPEG image only")
    if isinstance(value, (dict, list)):
        try:
            return "application/json", json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return "text/plain", repr(value)
    return "text/plain", value if isinstance(value, str) else repr(value)


def send(media_type, drawing):
    """Gives the host what is shown."""
    if media_type == "application/json" and not isinstance(drawing, str):
        drawing = json.dumps(drawing, ensure_ascii=False, allow_nan=False)
    data = drawing.encode("utf-8", "replace") if isinstance(drawing, str) else bytes(drawing)
    ukernel.call("display", media_type.encode() + b"\n" + data)


def show_value(value):
    """Shows what code at the prompt came to. What cannot be shown is no fault of the code: it is noted."""
    try:
        drawing = drawing_of(value)
        if drawing is not None:
            send(*drawing)
        show_figures()
    except Exception as error:  # noqa: BLE001 - whatever drawing raises, or the host says
        print(f"note: not everything could be shown: {error}", file=sys.stderr)


def show_figures():
    """Shows the figures that matplotlib has open, and closes them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    try:
        for number in pyplot.get_fignums():
            image = io.BytesIO()
            pyplot.figure(number).savefig(image, format="png", bbox_inches="tight")
            send("image/png", image.getvalue())
    finally:
        pyplot.close("all")


def install():
    """Lets every program show things."""
    builtins.display = display
    program.at_prompt.append(show_value)

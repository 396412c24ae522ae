"""Segments pictures in worker processes, measures each segment, and draws a page of what came out.

    python examples/pictures.py [FOLDER] [--limit N] [--side PIXELS] [--into FILE]

Without a FOLDER: the pictures that come with scikit-image. What it needs is installed by
`pip install "routilux[examples]"`.

    files ─► load ─► segment ─► describe ─► gallery     pictures.png: each picture, and what is left of it by segments

- `load` decodes a file. What decodes pictures of others is what crashes, so it is a process of its own. One file of
  scikit-image's, `multipage_rgb.tif`, is a picture that Pillow does not know: it is given up, told by name at the
  end, and the others go on.
- `segment` finds segments of like colour (SLIC: Achanta et al., IEEE Trans. Pattern Anal. 34, 2012), and `describe`
  measures them. A picture of 320 by 320 pixels and its labels are 700 KB; they lie in memory that the processes share
  (`buffers.empty`), are written there once, and read where they are.
- `gallery` keeps what was found in its state, and draws a page of it when nothing else comes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from routilux import ErrorHandler, Flow, JobState, RoutiluxError, Routine, buffers, usable_cpus
from routilux.cli.live import watch
from routilux.observe import JobView

try:
    import numpy as np
    import skimage
    from matplotlib.figure import Figure
    from PIL import Image
    from skimage.color import label2rgb
    from skimage.measure import regionprops_table
    from skimage.segmentation import slic
except ImportError as error:
    sys.exit(f"{error}; what the examples need is installed by: pip install 'routilux[examples]'")

SUFFIXES = {".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff"}
SEGMENTS = 200
"""Segments that SLIC begins with in a picture, at most (arbitrary)."""
LEAST_PIXELS = 64
"""Pixels that a segment begins with, at least (arbitrary): small pictures have fewer segments."""
FEATURES = ("area", "eccentricity", "intensity_mean", "intensity_std")
"""What is measured of each segment; the last two of red, green and blue, from 0 to 255."""
COLUMNS = 6
"""Pictures in a row of the page."""

# ---- The flow: five routines


class Files(Routine):
    """Finds the pictures of a folder, by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.find)
        self.define_event("file", ["path"])

    def find(self, folder: str | None = None, limit: int | None = None) -> None:
        """Emit the paths of the pictures in `folder`, sorted, the first `limit`; None: all of scikit-image's."""
        for path in picture_files(Path(folder) if folder else sample_folder())[:limit]:
            self.emit("file", path=str(path))


class Load(Routine):
    """Decodes a picture. A file that is none is an error like any other."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.define_slot("file", handler=self.load)
        self.define_event("picture", ["name", "image"])

    def load(self, path: str) -> None:
        """Load the picture at `path`."""
        self.emit("picture", name=Path(path).name, image=shared(decode(path, self.side)))


class Segment(Routine):
    """Finds the segments of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("picture", handler=self.segment)
        self.define_event("segmented", ["name", "image", "labels"])

    def segment(self, name: str, image: np.ndarray[Any, Any]) -> None:
        """Label each pixel with the number of its segment; the picture is handed on as it is, and not copied."""
        self.emit("segmented", name=name, image=image, labels=shared(find_segments(image)))


class Describe(Routine):
    """Measures the segments of a picture, and paints each in its mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("segmented", handler=self.describe)
        self.define_event("described", ["name", "features", "tile"])

    def describe(self, name: str, image: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        """Give the features, a row a segment, and a picture of what was found."""
        self.emit("described", name=name, features=measure(image, labels), tile=shared(paint(image, labels)))


class Gallery(Routine):
    """Keeps what was found of each picture, and draws a page of them when nothing else can come.

    Args:
        into: the file; its ending says of which kind.
    """

    def __init__(self, into: str) -> None:
        super().__init__()
        self.into = into
        self.define_slot("described", handler=self.keep)
        self.define_slot("end", handler=self.draw, at_end=True)

    def keep(self, name: str, features: np.ndarray[Any, Any], tile: np.ndarray[Any, Any]) -> None:
        """Keep one picture."""
        self.state[name] = {"features": features, "tile": tile}

    def draw(self) -> None:
        """Draw the page; the same one, in whichever order the pictures came."""
        if self.state:
            draw_page({name: self.state[name] for name in sorted(self.state)}).savefig(self.into)


def flow(into: str = "pictures.png", workers: int | None = None, side: int = 320) -> Flow:
    """Wire the routines. Also for the command line: `routilux run examples/pictures.py:flow`."""
    # A file that is no picture never will be: it is given up. When a worker dies, its picture gets another try.
    lenient = ErrorHandler("retry", max_retries=3, retry_delay=0.1, retryable_exceptions=(), then="continue")
    # All workers are copies of a process that has imported these: importing takes longer than most pictures do.
    modules = ["PIL.Image", "skimage.color", "skimage.measure", "skimage.segmentation", "matplotlib.figure"]
    placed: dict[str, Any] = {"placement": "process", "preload": modules}
    options = {**placed, "error_handler": lenient}
    pictures = Flow("pictures")
    pictures.add_routine(Files(), "files")
    pictures.add_routine(Load(side), "load", **options)
    pictures.add_routine(Segment(), "segment", workers=workers or usable_cpus(), **options)
    pictures.add_routine(Describe(), "describe", workers=workers or usable_cpus(), **options)
    pictures.add_routine(Gallery(into), "gallery", **placed)
    pictures.connect("files", "file", "load", "file")
    pictures.connect("load", "picture", "segment", "picture")
    pictures.connect("segment", "segmented", "describe", "segmented")
    pictures.connect("describe", "described", "gallery", "described")
    return pictures


# ---- What is done to a picture


def sample_folder() -> Path:
    """Give the folder of the pictures that come with scikit-image. The others that it has would be downloaded."""
    return Path(skimage.__file__).parent / "data"


def picture_files(folder: Path) -> list[Path]:
    """Give the files of a folder that are pictures by their names, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def decode(path: str | Path, side: int) -> np.ndarray[Any, Any]:
    """Give a picture as red, green and blue, made smaller where it has more than `side` pixels on a side.

    Raises:
        OSError: it is no picture that Pillow can read.
    """
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((side, side))
    return np.asarray(picture)


def find_segments(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Label each pixel of a picture with the number of its segment, from 1."""
    wanted = max(1, min(SEGMENTS, image.shape[0] * image.shape[1] // LEAST_PIXELS))
    labels: np.ndarray[Any, Any] = slic(image, n_segments=wanted, compactness=10, start_label=1)
    return labels.astype(np.int32)


def measure(image: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give a row for each segment, a column for each feature, of which those of intensity have three."""
    return np.column_stack(list(regionprops_table(labels, image, properties=FEATURES).values()))


def paint(image: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give a picture whose left half is as it was, and whose right half has its segments in their mean colours."""
    painted = label2rgb(labels, image, kind="avg", bg_label=0)
    painted[:, 1:][labels[:, 1:] != labels[:, :-1]] = 255  # a white line between them
    painted[1:][labels[1:] != labels[:-1]] = 255
    middle = image.shape[1] // 2
    return np.hstack([image[:, :middle], painted[:, middle:]])


def shared(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give an array in the memory that the processes of the job share."""
    copy: np.ndarray[Any, Any] = buffers.empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def draw_page(pictures: dict[str, dict[str, Any]]) -> Figure:
    """Draw a page of pictures, by name: what was kept of each. It opens no window, and needs no pyplot."""
    rows = -(-len(pictures) // COLUMNS)
    page = Figure(figsize=(2.2 * COLUMNS, 2.45 * rows + 0.5), dpi=110, layout="constrained")
    page.suptitle(f"{len(pictures)} pictures: on the left as they are, on the right the mean colours of their segments")
    axes = page.subplots(rows, COLUMNS, squeeze=False).flat
    for place, (name, kept) in zip(axes, pictures.items(), strict=False):
        place.imshow(kept["tile"])
        place.set_title(f"{Path(name).stem}\n{len(kept['features'])} segments", fontsize=8)
    for place in page.axes:
        place.set_axis_off()
    return page


# ---- The program


def headline(view: JobView) -> str:
    """Tell the progress in one line."""
    load, gallery = view.routine("load").figures, view.routine("gallery").figures
    failed = f", {load.dead} given up" if load.dead else ""
    return f"pictures: {gallery.handled} of {view.routine('files').figures.emitted} done{failed}"


def report(state: JobState) -> Iterator[str]:
    """Tell in lines what was found, a picture a line, and what was given up.

    Pixels and stretch (eccentricity, 0 of a circle) are means of the segments; texture is how far the pixels of a
    segment are from its mean colour, mean of all pixels.
    """
    yield f"{'segments':>10} {'pixels':>8} {'stretch':>8} {'texture':>8}  picture"
    found: dict[str, dict[str, Any]] = state.routine_states["gallery"]["state"]
    for name in sorted(found):
        features = found[name]["features"]
        area, eccentricity, texture = features[:, 0], features[:, 1], features[:, 5:].mean(axis=1)
        means = f"{area.mean():8.0f} {eccentricity.mean():8.2f} {np.average(texture, weights=area):8.1f}"
        yield f"{len(features):>10,} {means}  {shown(name)}"
    for letter in state.dead_letters:
        name = Path(letter.data["path"]).name if "path" in letter.data else letter.data["name"]
        yield f"given up by {letter.routine_id}: {shown(name)}: {shown(letter.cause)}"


def shown(text: str) -> str:
    """Escape what a terminal would obey: the name of a file can be anything."""
    return text if text.isprintable() else repr(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Do as the command line says; gives the exit status."""
    options = read_options(argv)
    try:
        params = {"folder": options.folder, "limit": options.limit}
        job = flow(options.into, options.workers, options.side).start("files", params)
        state = watch(job, plain=options.plain or None, headline=headline)
    except RoutiluxError as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print("\n".join(report(state)))
    if state.status != "completed":
        print(f"pictures: {state.status}: {state.error}", file=sys.stderr)
        return 1
    if state.routine_states["gallery"]["state"]:
        print(f"drawn in {options.into}", file=sys.stderr)
    return 0


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Example: python examples/pictures.py ~/Pictures --side 480 --into page.png",
    )
    parser.add_argument("folder", nargs="?", help="of pictures; default: those that come with scikit-image")
    parser.add_argument("--limit", type=int, metavar="N", help="take the first N pictures by name; default: all")
    parser.add_argument(
        "--side", type=int, default=320, help="pixels of a picture's longer side, at most; default: 320"
    )
    parser.add_argument("--into", default="pictures.png", metavar="FILE", help="the page; default: pictures.png")
    parser.add_argument(
        "--workers", type=int, help="processes that segment, and that describe; default: one for each processor"
    )
    parser.add_argument("--plain", action="store_true", help="plain lines instead of the live view")
    options = parser.parse_args(argv)
    if options.folder is not None and not Path(options.folder).is_dir():
        parser.error(f"there is no folder {options.folder!r}")
    if not Path(options.into).absolute().parent.is_dir():
        parser.error(f"--into: there is no folder for {options.into!r}")
    if Path(options.into).suffix[1:].lower() not in Figure().canvas.get_supported_filetypes():
        parser.error(f"--into: expected a kind of file that matplotlib writes, such as {parser.get_default('into')}")
    for name in ("limit", "side", "workers"):
        if (number := getattr(options, name)) is not None and number < 1:
            parser.error(f"--{name}: expected 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())

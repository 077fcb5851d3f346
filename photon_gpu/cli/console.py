"""Print what a command produces: its report, progress, warnings and errors."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeAlias, runtime_checkable

from photon_gpu import errors
from photon_gpu.progress_bar import ProgressBar
from photon_gpu.redact_credentials import without_credentials

if TYPE_CHECKING:
    from rich.console import RenderableType

    from photon_gpu.live.state.status import LiveStatus
    from photon_gpu.progress_bar import Progress

_BAD_INPUT = (
    errors.InvalidInputError,
    errors.UnsupportedTypeError,
    errors.UnsupportedVersionError,
    errors.BackendUnavailableError,
    errors.StoreExistsError,
    errors.StoreNotFoundError,
)

# What matplotlib logs where its folder for a cache cannot be written.
_NO_CACHE = ("mkdir -p failed", "not a writable directory", "temporary cache directory")

# Advice in messages of the library, and the same advice for the command line.
_SPOKEN = (
    ("overwrite=True", "--overwrite"),
    ("resume=True", "--resume"),
    ("check='full'", "--check full"),
    ("only_this_database=True", "--only-this-database"),
    ("dropped_tables=True", "--dropped-tables"),
    ("name it in ignore_databases", "name it with --ignore-database"),
    ("delete_source", "--delete-source"),
    *((f"by {name}=", f"by --source-option {name}=") for name in ("path", "key", "series", "hdu")),
    ("by dataset=", "by --dataset "),
    ("shape=(HEIGHT, WIDTH) and dtype=", "--shape HEIGHT,WIDTH and --dtype"),
    ("shape= and dtype=", "--shape and --dtype"),
    ("offset_bytes=", "--offset-bytes"),
    *((f"inverted={value}", f"--source-option inverted={value.lower()}") for value in ("True", "False")),
    ("as_pages=True", "--source-option as_pages=true"),
    *((f"missing={mode!r}", f"--source-option missing={mode}") for mode in ("zero", "fill", "skip")),
    ("truncated='keep'", "--truncated keep"),
    ("channel= and plane=", "--channel and --plane"),
    ("analysis='module:function'", "--analysis module:function"),
    *((f"{name}=", f"--{name} ") for name in ("axes", "channels", "planes")),
    ("frames=0:", "--frames 0:"),
    ("flyback='drop'", "--source-option flyback=drop"),
    ("volumes=False", "--source-option volumes=false"),
    ("backend='numba'", "--backend numba"),
    ("chunk_frames is", "--chunk-frames is"),
    (
        "noise=NoiseModel(gain=..., offset=..., variance=...), or layout",
        "--gain ... --offset ... --variance ..., or layout",
    ),
    *(
        (
            f"{give}NoiseModel(gain=..., offset=<value in the dark>, variance=<its variance>)",
            "--gain ... --offset <value in the dark> --variance <its variance>",
        )
        for give in ("noise=", "")
    ),
    (
        "Give noise='auto', which measures it, or trust_noise=True",
        "Leave out --gain to have it measured, or give --trust-noise",
    ),
    ("accept_processed=True", "--accept-processed"),
    *((f"layout={layout!r}", f"--layout {layout}") for layout in ("compact", "lossless")),
    ("leave predictor out, or use", "leave --predictor out, or give"),
    ("pairs='space'", "photon-gpu estimate --pairs space"),
    ("(noise=...)", "(--gain, --offset, --variance)"),
    ("made by photon_gpu.encode", "made by photon-gpu encode"),
    ("photon_gpu.open(url).counts", "photon-gpu decode"),
    ("photon_gpu.recover ", "photon-gpu recover "),
)


class _Report(Protocol):
    def to_dict(self) -> dict[str, Any]:
        """Return the dictionary that ``--json`` prints."""


class RowsReport(_Report, Protocol):
    """Report that is printed as rows on a terminal, and as its ``str`` elsewhere."""

    def rows(self) -> list[tuple[str, str]]:
        """Return names and values; the name of a note is ``note``."""


@runtime_checkable
class TableReport(_Report, Protocol):
    """Report that is printed as a table."""

    def table(self) -> RenderableType:
        """Return what rich prints."""


@runtime_checkable
class Failing(Protocol):
    """Report in which a finding may be a failure."""

    @property
    def exit_code(self) -> int:
        """Exit code of the command."""


Report: TypeAlias = RowsReport | TableReport
"""What a command returns."""


class Text:
    """A report whose table is a given text.

    Parameters
    ----------
    report : object
        Object with a method ``to_dict``.
    text : str
    exit_code : int
    **more
        Further items that ``--json`` prints after those of ``report``.
    """

    def __init__(self, report: Any, text: str, exit_code: int = 0, **more: Any) -> None:
        self._report, self._text, self.exit_code, self._more = report, text, exit_code, more

    def to_dict(self) -> dict[str, Any]:
        """Return the dictionary of the report, with the further items."""
        return {**self._report.to_dict(), **self._more}

    def table(self) -> RenderableType:
        """Return the text unchanged."""
        from rich.text import Text as Lines

        return Lines(without_credentials(self._text), no_wrap=True)


def show(report: Report | None, warned: list[str], as_json: bool) -> int:
    """Print a report on stdout, and return the exit code."""
    if report is None:
        return 0
    try:
        if as_json:
            data = report.to_dict()
            if warned:
                data["notes"] = [*data.get("notes", ()), *warned]
            print(json.dumps(_presentable(data)))
        elif not _quiet:
            _print_for_people(report, warned)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of stdout has gone, so nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return report.exit_code if isinstance(report, Failing) else 0


def _print_for_people(report: Report, warned: list[str]) -> None:
    """Print a report; on a terminal, which shows warnings as they come, without those."""
    if not isinstance(report, TableReport) and not sys.stdout.isatty():
        print(without_credentials(str(report)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if isinstance(report, TableReport):
        # Output to a file is not wrapped to the width of a terminal.
        Console(width=None if sys.stdout.isatty() else 160).print(report.table())
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in report.rows():
        if one_line(value) not in warned:
            grid.add_row(
                Text(name), Text(without_credentials(value), style="yellow" if name == "note" else "")
            )
    Console(highlight=False).print(grid)


def fail(error: BaseException, warned: list[str], as_json: bool, debug: bool) -> int:
    """Print an error on stderr, in one line unless it has a table, and return the exit code."""
    error_type, message, code = _explained(error)
    if debug:
        sys.stderr.write(without_credentials("".join(traceback.format_exception(error))))
    if as_json:
        fields: dict[str, Any] = {"error": message, "kind": error_type}
        if warned:
            fields["notes"] = warned
        sys.stderr.write(json.dumps(fields) + "\n")
    else:
        _say("error", message, 31)
    sys.stderr.flush()
    return code


def _explained(error: BaseException) -> tuple[str, str, int]:
    """Type name, message and exit code of an error."""
    if isinstance(error, ImportError):
        error = errors.missing_package(error)
    error_type = type(error).__name__
    text = str(error) or error_type
    code = 1
    if hasattr(error, "format_message"):  # usage errors of typer
        command = getattr(getattr(error, "ctx", None), "command_path", None)
        text = _missing(error) or error.format_message().rstrip(".")
        text += f" ({command} --help explains)" if command else ""
        error_type, code = "UsageError", 2
    elif error_type in ("Interrupted", "KeyboardInterrupt", "Abort"):
        error_type, code = "Interrupted", getattr(error, "exit_code", 130)
        text = (
            text if error_type != type(error).__name__ or text != error_type else "stopped before it was done"
        )
    elif isinstance(error, errors.PhotonError):
        code = 2 if isinstance(error, _BAD_INPUT) else 1
    elif isinstance(error, IndexError):
        code = 2
    elif isinstance(error, MemoryError):
        text = f"not enough memory ({text}); try fewer --workers, or a smaller --chunk-frames"
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": {os.fsdecode(error.filename)}" if error.filename else "")
    elif not isinstance(error, OSError):
        text = f"{error_type}: {text} (--debug shows where)"
    notes = [] if error_type == "Interrupted" else getattr(error, "__notes__", [])
    rows = [f"  {one_line(note)}" for note in notes if note.startswith("  ")]  # of a table
    sentence = "; ".join([text, *(note for note in notes if not note.startswith("  "))])
    return error_type, "\n".join([one_line(sentence), *rows]), code


def _missing(error: Any) -> str | None:
    """Message that lists all arguments of a command if one is missing, since any of them may be."""
    command = getattr(getattr(error, "ctx", None), "command", None)
    if type(error).__name__ != "MissingParameter" or command is None:
        return None
    needed = [one.metavar for one in command.params if one.param_type_name == "argument" and one.required]
    return f"Missing argument: {' '.join(needed)} are needed" if len(needed) > 1 and all(needed) else None


def spoken(text: str) -> str:
    """Translate the advice in a message from Python calls to command-line options.

    Names of files stay as they are.

    >>> spoken("store it with layout='lossless'")
    'store it with --layout lossless'
    >>> spoken("photon_gpu.recover('/fast/spool') goes on")
    'photon-gpu recover /fast/spool goes on'
    >>> spoken("/data/run_delete_source/m.tif: leave out delete_source")
    '/data/run_delete_source/m.tif: leave out --delete-source'
    """
    for library, typed in _SPOKEN:
        if library in text:
            end = r"(?!\w)" if library[-1].isalnum() else ""
            text = re.sub(rf"(?<![\w/]){re.escape(library)}{end}", typed, text)
    return re.sub(r"photon_gpu\.recover\('([^']*)'\)", r"photon-gpu recover \1", text)


def one_line(text: str) -> str:
    """Text in one line, with advice for the command line, and without credentials or control characters."""
    text = " ".join(spoken(without_credentials(text)).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _say(label: str, message: str, color: int) -> None:
    colored = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    head = f"\x1b[1;{color}m{label}:\x1b[0m" if colored else f"{label}:"
    sys.stderr.write(f"{head} {message}\n")


@contextlib.contextmanager
def collected_warnings(as_json: bool) -> Iterator[list[str]]:
    """Collect warnings and log lines of libraries; print each on stderr, or keep it for the notes."""
    warned: list[str] = []

    def hear(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        tell(str(message))

    def tell(message: str) -> None:
        text = one_line(message)
        if text not in warned:
            warned.append(text)
            if not as_json:
                _say("warning", text, 33)

    class Logged(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if record.name == "photon_gpu":  # its log repeats its warnings, which arrive as warnings
                return
            if record.name == "matplotlib" and any(words in text for words in _NO_CACHE):
                return  # it takes a temporary folder, and a figure is the same
            tell(f"{record.name.partition('.')[0]}: {text}")

    logged = Logged(logging.WARNING)
    logging.getLogger().addHandler(logged)
    with warnings.catch_warnings():
        warnings.simplefilter("always", errors.PhotonWarning)
        warnings.showwarning = hear
        try:
            yield warned
        finally:
            logging.getLogger().removeHandler(logged)


_quiet = False


@contextlib.contextmanager
def quietly(quiet: bool) -> Iterator[None]:
    """If ``quiet``, show no progress and no tables."""
    global _quiet
    before, _quiet = _quiet, quiet
    try:
        yield
    finally:
        _quiet = before


def _draws() -> bool:
    """Whether stderr is a terminal that can show moving lines."""
    return not _quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def progress(task: str, frame_nbytes: int | None) -> Iterator[Progress | None]:
    """Show a progress bar on stderr, if that is a terminal; yield the callback to pass as ``progress``.

    The bar counts bytes, or files if ``frame_nbytes`` is None.
    """
    if not _draws():
        yield None
        return
    with ProgressBar(task, frame_nbytes) as bar:
        yield bar


@contextlib.contextmanager
def opening(src: str) -> Iterator[Progress | None]:
    """Show a line on stderr, if that is a terminal, while opening a source takes more than a second."""
    if not _draws():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Line
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    line = Line(*columns, console=Console(stderr=True), transient=True)
    task = line.add_task(f"opening {src}")
    timer = threading.Timer(1.0, line.start)
    timer.start()
    try:
        yield lambda done, total: line.update(task, description=f"opening {src}: {done} of {total} files")
    finally:
        timer.cancel()
        timer.join()
        line.stop()


@contextlib.contextmanager
def status_line() -> Iterator[Callable[[LiveStatus], None] | None]:
    """Show a recording's status in one line on stderr, if that is a terminal."""
    if not _draws():
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda status: live.update(Text(str(status), no_wrap=True, overflow="ellipsis"), refresh=True)


def _presentable(value: Any) -> Any:
    """Convert a value to JSON values: null for NaN and infinity, and no credentials."""
    if isinstance(value, dict):
        return {str(key): _presentable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_presentable(item) for item in value]
    if isinstance(value, str):
        return without_credentials(value) if "://" in value else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""Run any command: find it, call it, print its report, and turn an error into one line.

A command returns its report and raises its errors; it prints nothing itself.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version as installed_version
from types import FrameType
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from photon_gpu.cli import console

NAME = "photon-gpu"


class Command(NamedTuple):
    """Module of a command, its line in the list of commands, and what an interrupt leaves of it."""

    module: str
    help: str
    interrupted: str = "nothing was changed: run it again"

    @property
    def panel(self) -> str:
        """Heading that the command is listed below: the one of its folder."""
        return _PANELS[self.module.split(".")[-2]]


_PANELS = {
    "planning": "Before a movie is stored",
    "movies": "Stored movies",
    "recording": "Recordings",
    "machine": "This machine",
}


COMMANDS = {
    "estimate": Command(
        "photon_gpu.cli.commands.planning.estimate",
        "Estimate the noise of a raw movie, or report why that is impossible.",
    ),
    "choose": Command(
        "photon_gpu.cli.commands.planning.choose",
        "Find how much a movie can be compressed without changing your result.",
    ),
    "cost": Command(
        "photon_gpu.cli.commands.planning.cost", "Estimate the storage cost of movies, by storage class."
    ),
    "encode": Command(
        "photon_gpu.cli.commands.movies.encode",
        "Store a movie at a fraction of its size.",
        "unfinished files were removed: if DST is there it is complete, else run it again (--resume makes "
        "an interrupted run go on)",
    ),
    "report": Command(
        "photon_gpu.cli.commands.movies.report",
        "Compare a stored movie with its source: PASS, WARN or FAIL for each property.",
        "a report that is there is complete: run it again for the others",
    ),
    "verify": Command(
        "photon_gpu.cli.commands.movies.verify",
        "Check every file of a stored movie, and list the lost frames.",
    ),
    "repair": Command(
        "photon_gpu.cli.commands.movies.repair",
        "Restore damaged files of a movie from its source and its manifest.",
        "restored files are kept: run it again for the others",
    ),
    "info": Command("photon_gpu.cli.commands.movies.info", "Describe a stored movie and its size."),
    "decode": Command(
        "photon_gpu.cli.commands.movies.decode",
        "Write a stored movie back as TIFF, NumPy, HDF5, NWB, plain Zarr or OME-Zarr.",
        "unfinished files were removed: if OUT is there it is complete, else run it again",
    ),
    "gc": Command(
        "photon_gpu.cli.commands.movies.gc",
        "Find movies that no DataJoint row refers to; delete them with --delete.",
        "some unused movies may be deleted already: run it again for the others",
    ),
    "record": Command(
        "photon_gpu.cli.commands.recording.record",
        "Record frames as they arrive from a pipe, a socket or a growing file.",
        "photon-gpu recover finishes a recording that had begun",
    ),
    "watch": Command(
        "photon_gpu.cli.commands.recording.watch_folder",
        "Record the TIFFs that arrive in a folder as one movie.",
        "photon-gpu recover finishes a recording that had begun",
    ),
    "recover": Command(
        "photon_gpu.cli.commands.recording.recover",
        "Finish a recording that was killed or lost power.",
        "nothing is lost: run it again, and it goes on",
    ),
    "demo": Command(
        "photon_gpu.cli.commands.machine.demo",
        "Simulate a movie, store it in every layout, and check each pixel.",
        "run it again",
    ),
    "profile": Command(
        "photon_gpu.cli.commands.machine.profile",
        "Measure the speed of this machine by stage, layout, preset and cores.",
    ),
    "doctor": Command(
        "photon_gpu.cli.commands.machine.doctor",
        "Show versions, backends, devices, folders and limits, and how to solve problems.",
    ),
}
"""Commands by name; the module of a command has a function of that name."""


class Commands(TyperGroup):
    """Group of commands that loads the module of a command only when the command runs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the module of a command, and return the command."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if command is not None and name is not None else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an interrupt keeps the notes that were added to it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(error, ctx.invoked_subcommand) from error

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **extra: Any
    ) -> Any:
        """Run a command, print its report, and exit.

        Exit codes: 0 success, 1 damage or failure, 2 bad input, 130 interrupted, 143 ended by the system.
        """
        arguments = list(sys.argv[1:] if args is None else args) or ["--help"]
        end = arguments.index("--") if "--" in arguments else len(arguments)
        options = arguments[:end]
        as_json, debug, quiet = "--json" in options, "--debug" in options, QUIET in options
        # The option may stand anywhere, and the command does not see it.
        arguments = [word for word in options if word != QUIET] + arguments[end:] or ["--help"]
        extra["standalone_mode"] = False
        with console.collected_warnings(as_json) as warned, console.quietly(quiet):
            done = False
            try:
                report = super().main(arguments, NAME, *rest, **extra)
                if report == _INTERRUPTED:  # typer's own answer, while a module loads
                    raise KeyboardInterrupt
                done = True
                code = report if isinstance(report, int) else console.show(report, warned, as_json)
            except BaseException as error:
                if isinstance(error, SystemExit):
                    raise
                if isinstance(error, KeyboardInterrupt):  # outside of the command
                    error = Interrupted(error, done=done)
                code = console.fail(error, warned, as_json, debug)
        sys.exit(code)


class Interrupted(Exception):
    """The run was stopped by the user or by the system.

    The message says what was kept and how to go on: in the notes of the error, or in general for the command.
    """

    def __init__(self, error: KeyboardInterrupt, command: str | None = None, *, done: bool = False) -> None:
        notes = getattr(error, "__notes__", None) or [
            COMMANDS[command].interrupted if command in COMMANDS else "run it again"
        ]
        before_end = "; ".join(("stopped before it was done", *notes))
        super().__init__("stopped while the report was printed; all else is done" if done else before_end)
        self.exit_code = 128 + (error.args[0] if error.args else int(signal.SIGINT))


def load(name: str) -> Any:
    """Return the command of this name, ready to run."""
    module = import_module(COMMANDS[name].module)
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", context_settings=_SETTINGS)
    alone.command(name)(getattr(module, name.replace("-", "_")))
    return typer.main.get_command(alone)


QUIET = "--quiet"
_INTERRUPTED = 130
_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    cls=Commands,
    add_completion=True,
    rich_markup_mode="rich",
    context_settings=_SETTINGS,
    no_args_is_help=True,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{NAME} {installed_version(NAME)}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(QUIET, help="Print only --json, warnings and errors. It may also follow the command."),
    ] = False,
) -> None:
    """Store photon-limited movies at a quarter of their size.

    Only differences far below the photon noise are removed, and their effect is measured and reported.

    For example:
      photon-gpu demo
      photon-gpu estimate movie.tif
      photon-gpu encode movie.tif movie.zarr
      photon-gpu encode --help
    """


def _listed() -> None:
    """Placeholder in the list of commands; :meth:`Commands.resolve_command` returns the real command."""


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.help, rich_help_panel=_command.panel)(_listed)


def run() -> None:
    """Entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a file name may not be valid text
    _stop_cleanly()
    typer.main.get_command(app)()


def _stop_cleanly() -> None:
    """Let the first Ctrl-C (or termination) unwind the stack; the second only prints a message."""
    presses = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        if presses == 2:
            sys.stderr.write("stopping: unfinished files are being removed; once more leaves them\n")
            return
        unwind(number, frame)

    def unwind(number: int, frame: FrameType | None) -> None:
        if not _holds_a_lock(frame):
            raise KeyboardInterrupt(number)
        unwind_later(number)

    def unwind_later(number: int) -> None:
        if sys.platform == "win32":  # It has no such timer.
            raise KeyboardInterrupt(number)
        signal.signal(signal.SIGALRM, lambda _, later: unwind(number, later))
        signal.setitimer(signal.ITIMER_REAL, 0.005)

    def ignored(error: sys.UnraisableHookArgs) -> None:
        # Python drops what is raised in a finalizer or a callback of a weak reference.
        if isinstance(error.exc_value, KeyboardInterrupt) and sys.platform != "win32":
            unwind_later(*(error.exc_value.args or (signal.SIGINT,)))
        else:
            sys.__unraisablehook__(error)

    sys.unraisablehook = ignored
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _holds_a_lock(frame: FrameType | None) -> bool:
    """Whether an exception in this frame could leave a lock of Python's thread modules locked for ever.

    A frame that is blocked in ``wait`` or ``join`` holds no lock.
    """
    if frame is None or frame.f_code.co_name in ("wait", "join", "_wait_for_tstate_lock"):
        return False
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("threading", "concurrent")

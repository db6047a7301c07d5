"""The entry point: finds commands without importing them, and turns errors into one line."""

from __future__ import annotations

import difflib
import importlib
import io
import keyword
import os
import sys
import traceback
import warnings

import click

from repsim._version import __version__
from repsim.cli.options import Suggesting
from repsim.errors import RepsimError, RepsimWarning, UsageError
from repsim.foreign import cause_of
from repsim.namesake import check_overwritten
from repsim.visible import one_line

#: The environment variable that asks for tracebacks.
_TRACEBACK = "REPSIM_TRACEBACK"

#: Commands that have a module of their name here; those of analyses are found beside them.
COMMANDS = {
    "demo": "See the whole pipeline on handwritten digits, in three minutes.",
    "train": "Train an extractor: supervised, simclr, rotation, gan or another.",
    "networks": "Show the families of networks that methods train.",
    "harvest": "Store the activations of a run's layers.",
    "cka": "Compare the layers of two networks by CKA.",
    "reproduce": "Reproduce the figures, tables and claims of a paper.",
    "figure": "Draw the figures of a result, or the curves of a training.",
    "info": "Say what is in a run, a store or a result.",
    "ls": "List runs, networks, results and figures.",
    "rm": "Remove one of them, with what hangs on it.",
    "import": "Make a store of activations from elsewhere.",
    "export": "Write the layers of a store as NumPy files.",
    "data": "List and fetch image sets.",
}


def analyses() -> dict[str, str]:
    """The commands of analyses, and the module of each."""
    from repsim.activations.analyses import analysis_names

    return {module.replace("_", "-"): module for module in analysis_names()}


class LazyGroup(Suggesting):
    """Commands are modules of ``repsim.cli`` and analyses, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.summaries())

    def summaries(self) -> dict[str, str]:
        """Every command with its summary, in the order in which work goes on."""
        from repsim.activations.analyses import analysis_summary

        found = {}
        for name, summary in COMMANDS.items():
            found[name] = summary
            if name == "cka":
                found |= {each: analysis_summary(module) for each, module in analyses().items()}
        return found

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module = f"{name}_" if keyword.iskeyword(name) else name
            return getattr(importlib.import_module(f"repsim.cli.{module}"), module)
        if name in analyses():
            from repsim.cli.analysis import analysis_command

            return analysis_command(analyses()[name])
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries().items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="repsim")
def cli() -> None:
    """Do two networks see alike, and where do they part?

    \b
    repsim demo
    repsim train simclr && repsim train supervised
    repsim harvest simclr supervised
    repsim cka simclr supervised
    """


def main() -> None:
    """Run the command line; never returns."""
    warnings.showwarning = _show_warning
    # Figures go to files, whatever the shell of a notebook says, with settings that may not exist.
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):  # file names that are no UTF-8, as they are
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="surrogateescape")
    try:
        check_overwritten()
        code = cli.main(prog_name="repsim", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else str(error), err=True)
        code = 2
    except click.NoSuchOption as error:
        near = difflib.get_close_matches(error.option_name, error.possibilities or (), n=1)
        hint = f"did you mean {near[0]}?" if near else "--help lists those that there are"
        code = _fail(f"there is no option {error.option_name}; {hint}", 2)
    except click.ClickException as error:
        code = _fail(error.format_message(), 2 if isinstance(error, click.UsageError) else 1)
    except (click.Abort, KeyboardInterrupt):
        code = _fail("interrupted", 130)
    except RepsimError as error:
        code = _fail(_explained(error), 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        code = _fail(
            f"out of memory: {str(error).splitlines()[0] or 'no more to be had'}; try a "
            "smaller batch, or fewer channels or layers",
            1,
        )
    except OSError as error:
        if error.strerror is None:  # not the system's word, so it is ours to explain
            raise
        where = f" {error.filename}" if error.filename else ""
        code = _fail(f"the system refused{where}: {error.strerror}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _explained(error: RepsimError) -> str:
    """The error; where a user's code caused it, with the way to its traceback."""
    if os.environ.get(_TRACEBACK):
        traceback.print_exception(error)
        return str(error)
    caused = error.__cause__ is not None and cause_of(error.__cause__).mine
    return f"{error} ({_TRACEBACK}=1 shows the traceback)" if caused else str(error)


def _out_of_memory(error: Exception) -> bool:
    """True if the machine or its accelerator has no more; torch says so in several ways."""
    words = ("allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(each in str(error).lower() for each in words)


def _fail(message: str, code: int) -> int:
    click.echo(f"repsim: error: {one_line(' '.join(message.split()))}", err=True)
    return code


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:  # type: ignore[no-untyped-def]
    """A ``RepsimWarning`` is for the user, one line; others are for developers (-W default)."""
    if issubclass(category, RepsimWarning):
        click.echo(f"repsim: warning: {one_line(str(message))}", err=True)
    elif sys.warnoptions:
        click.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True)

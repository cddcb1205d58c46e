"""The application: its verbs, and how errors and warnings look."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shoal.cli._show import error_line, warning_line
from shoal.cli.bench import bench
from shoal.cli.check import check
from shoal.cli.compile import compile_
from shoal.cli.demo import demo
from shoal.cli.doctor import doctor
from shoal.cli.evaluate import evaluate
from shoal.cli.export import export
from shoal.cli.import_nequip import import_nequip
from shoal.cli.info import info
from shoal.cli.md import md
from shoal.cli.package import package
from shoal.cli.relax import relax
from shoal.cli.test import assess
from shoal.cli.train import train
from shoal.errors import ShoalError, ShoalWarning

DEBUG = "--debug"


class OneLineErrors(TyperGroup):
    """Errors that Shoal raises on purpose are one line and exit status 1; `--debug` anywhere shows the traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        debug = DEBUG in args
        rest = super().parse_args(ctx, [arg for arg in args if arg != DEBUG])
        ctx.params["debug"] = debug
        return rest

    def invoke(self, ctx: Any) -> Any:
        debug = ctx.params["debug"]
        with warnings.catch_warnings():
            show = warnings.showwarning

            def show_line(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
                if issubclass(category, ShoalWarning):
                    warning_line(str(message))
                else:
                    show(message, category, *place, **more)

            warnings.showwarning = show_line
            try:
                return super().invoke(ctx)
            except (ShoalError, OSError) as error:
                if debug:
                    raise
                error_line(str(error))
                raise typer.Exit(1) from None


app = typer.Typer(
    cls=OneLineErrors,
    name="shoal",
    help="Train, pack, compile and run interatomic potentials on many structures at once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def _version(asked: bool) -> None:
    if asked:
        from shoal import __version__

        typer.echo(f"shoal {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of errors.")] = False,
) -> None:
    pass


app.command()(train)
app.command()(package)
app.command("import-nequip")(import_nequip)
app.command("compile")(compile_)
app.command()(export)
app.command()(check)
app.command()(info)
app.command()(evaluate)
app.command()(relax)
app.command()(md)
app.command("test")(assess)
app.command()(bench)
app.command()(doctor)
app.command()(demo)


def main() -> None:
    """Entry point of the `shoal` command."""
    app()

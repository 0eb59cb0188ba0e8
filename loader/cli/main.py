"""All commands together. Modules that are slow to import are imported inside the commands that use them."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from loader import __version__
from loader.cli import audit, backup, bucket, checks, delivery, service, tools
from loader.errors import ExitCode, LoaderError, StoppedError
from loader.text import printable

EPILOG = """Exit codes: 0 done or nothing to do, 2 usage, 3 configuration, 4 rejected by CloudZero, 5 outcome unknown or
not reachable, 6 stopped by a guard; 130 and 143 after Ctrl-C and SIGTERM."""


class LoaderGroup(click.Group):
    """Turns the loader's own errors into one line on stderr and an exit code, whichever command raised them."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except StoppedError as error:
            _say(error)
            context.exit(128 + error.signal_number)
        except LoaderError as error:
            _say(error)
            context.exit(int(error.exit_code))
        except KeyboardInterrupt:
            click.echo("Error: Ended by Ctrl-C.", err=True)
            context.exit(130)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run as a program. Output that cannot be written, for example to a full disk, is reported in one line."""
        code: Any = 0
        try:
            return super().main(*arguments, **options)
        except SystemExit as end:
            code = end.code
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
                raise
            sys.exit(_cannot_write(error))
        try:
            sys.stdout.flush()
        except OSError as error:
            code = _cannot_write(error)
        sys.exit(code)

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        """The commands in the order in which users need them, not by name."""
        return list(self.commands)


def _cannot_write(error: OSError) -> int:
    """Report output that cannot be written; the exit code."""
    # Python would write what is left in the buffer when it exits, and fail with a traceback.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno != errno.EPIPE:  # the reader, such as `head`, closed the pipe
        click.echo(f"Error: could not write the output: {error.strerror}. Write it to another place.", err=True)
    return int(ExitCode.CONFIGURATION)


def _say(error: LoaderError) -> None:
    click.echo(f"Error: {printable(' '.join(str(error).split()))}", err=True)


@click.group(
    cls=LoaderGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="loader")
def main() -> None:
    """Read cbf_lines from the dbt target and deliver them to CloudZero's AnyCost Stream API."""


for command in (
    delivery.dry_run,
    delivery.push,
    service.load,
    service.run,
    service.serve,
    audit.status,
    audit.verify,
    checks.validate,
    audit.reconcile,
    checks.check,
    bucket.drop,
    backup.backup,
    backup.restore,
    tools.sample,
    tools.sandbox,
):
    main.add_command(command)

"""All commands together. Modules that are slow to import are imported inside the commands that use them."""

from __future__ import annotations

from typing import Any

import click

from loader import __version__
from loader.cli import audit, bucket, checks, delivery, service, tools
from loader.errors import LoaderError, StoppedError

EPILOG = """Exit codes: 0 done or nothing to do, 2 usage, 3 configuration, 4 refused by CloudZero, 5 outcome unknown or
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

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        """In the order in which people need them, not by name."""
        return list(self.commands)


def _say(error: LoaderError) -> None:
    click.echo(f"Error: {' '.join(str(error).split())}", err=True)


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
    tools.sample,
    tools.sandbox,
):
    main.add_command(command)

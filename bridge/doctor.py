"""Compare a bridge's settings with the real Kafka and Triton, and change nothing: `tkb doctor`."""

from typing import Any

import typer

from bridge.checks import CHECKS
from bridge.command import flags, given
from bridge.config import ConfigError
from bridge.loading import load
from bridge.logs import configure
from cli.app import FAILED, make_app
from cli.clients import KafkaSettingError

app = make_app()


@flags
def main(context: typer.Context, **_flags: Any) -> int:
    """Hold the settings of a bridge against the real Kafka and Triton, and change nothing.

    Takes the flags, variables and file that the bridge takes, and prints a line for each thing
    that was looked at and what the bridge would do.

    Exit code: 0 it would run, 1 something is wrong, 2 usage.
    """
    try:
        settings = load(given(context))
        configure("error", settings.log_format)  # what is found is said once, as findings
        found = []
        for check in CHECKS:
            for finding in check(settings):
                typer.echo(f"{finding.verdict:5}  {finding.text}")
                found.append(finding.verdict)
    except (ConfigError, KafkaSettingError) as error:
        raise typer.BadParameter(str(error)) from None
    raise typer.Exit(FAILED if "wrong" in found else 0)


app.command()(main)

"""`llmring registry`: for whoever keeps a registry. `verify` checks its published lists."""

from collections import Counter
from pathlib import Path

import click

from llmring.cli.facts import print_json
from llmring.cli.running import Failed
from llmring.cli.spelling import error_json
from llmring.errors import RegistryError
from llmring.registry.verify import Finding


@click.group("registry")
def command() -> None:
    """Look after the registry's data."""


@command.command("verify")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("-v", "--verbose", is_flag=True, help="Also show anomalies: habits of the lists that are understood.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every finding, anomalies included.")
def verify_command(directory: Path, verbose: bool, as_json: bool) -> int:
    """Check the published lists in DIR: <provider>/models.json and <provider>/v/N/models.json.

    Ends with 1 when something is wrong. Anomalies are no mistakes: they are counted, and shown with --verbose.
    """
    from llmring.registry.verify import verify

    try:
        findings = verify(directory)
    except RegistryError as error:
        if as_json:
            print_json({"error": error_json(error)})
        raise Failed(error) from error
    faults = [finding for finding in findings if not finding.fault.is_anomaly]
    if as_json:
        print_json({"faults": len(faults), "findings": [finding_json(finding) for finding in findings]})
    else:
        for finding in findings if verbose else faults:
            click.echo(f"{finding} [{finding.fault.kind}]")
        click.echo(summary(findings, len(faults)))
    return 1 if faults else 0


def finding_json(finding: Finding) -> dict[str, object]:
    fault = finding.fault
    return {
        "path": str(finding.path),
        "model": fault.model,
        "field": fault.field,
        "kind": fault.kind,
        "what": fault.what,
        "is_anomaly": fault.is_anomaly,
    }


def summary(findings: tuple[Finding, ...], faults: int) -> str:
    """`2 faults; 5 anomalies: 3 unknown_limit, 2 naive_time`."""
    kinds = Counter(finding.fault.kind for finding in findings if finding.fault.is_anomaly)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    anomalies = f"{kinds.total()} anomalies" + (f": {counted}" if counted else "")
    return f"{faults or 'no'} {'fault' if faults == 1 else 'faults'}; {anomalies}"

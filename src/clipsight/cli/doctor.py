"""`clipsight doctor`: checks the installation and suggests fixes."""

from clipsight.cli.options import JsonOutput
from clipsight.cli.outcome import FAILURE, SUCCESS, terminal
from clipsight.cli.progress import waiting
from clipsight.cli.registry import verb

MARKS: dict[str, tuple[str, str]] = {
    "good": ("ok", "green"),
    "info": ("--", "dim"),
    "slow": ("slow", "yellow"),
    "bad": ("bad", "red"),
}


@verb(140)
def doctor(*, network: bool = False, output: JsonOutput = JsonOutput()) -> int:
    """Check the installation and suggest fixes.

    Looks at versions, devices, speed settings, caches and the bundled model. The exit code is 1 if something that every
    command needs is broken.

    Args:
        network: Also try to reach the hub that weights come from. Without it no connection is made.
    """
    output.check()
    with waiting("checking"):
        from clipsight.cli.checks import examine

        findings = examine(network=network)
    code = FAILURE if any(finding.verdict == "bad" for finding in findings) else SUCCESS
    if output.write({"findings": [finding.to_dict() for finding in findings]}):
        return code
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in findings:
        mark, style = MARKS[finding.verdict]
        advice = f"\n{escape(finding.advice)}" if finding.advice else ""
        table.add_row(f"[{style}]{mark}[/{style}]", escape(finding.name), f"{escape(finding.text)}{advice}")
    terminal().print(table)
    return code

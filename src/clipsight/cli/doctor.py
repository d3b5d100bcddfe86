"""`clipsight doctor`: looks an installation over and says what to type where something is amiss."""

from clipsight.cli.outcome import DONE, FAILED, print_json, terminal

MARKS: dict[str, tuple[str, str]] = {
    "good": ("ok", "green"),
    "info": ("--", "dim"),
    "slow": ("slow", "yellow"),
    "bad": ("bad", "red"),
}


def doctor(*, network: bool = False, json: bool = False) -> int:
    """Look this installation over: versions, devices, speed settings, bundled model.

    Fails (exit code 1) when something that every command needs is broken.

    Args:
        network: Also try to reach the hub that weights come from; without it nothing is connected to.
        json: Print one JSON document on standard output and nothing else.
    """
    from clipsight.cli.checks import examine

    findings = examine(network=network)
    code = FAILED if any(finding.verdict == "bad" for finding in findings) else DONE
    if json:
        print_json({"findings": [finding.to_dict() for finding in findings]})
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

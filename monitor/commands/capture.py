"""`ingest`, `dead-letters`: events in from files, and the ones that were refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.common import JsonFlag, policy_or_default, print_json, progress, read_settings, say
from monitor.commands.opening import open_store
from monitor.errors import InputError

if TYPE_CHECKING:
    from monitor.capture import Kind


def ingest(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines, CSV or Parquet files of events.")],
    labels: Annotated[bool, typer.Option("--labels", help="The files hold labels and not predictions.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take in events from files.

    Streaming, with the same events and answers as POST /v1/predictions (or /v1/labels).

    Example: driftwarden ingest day-1.jsonl day-2.parquet
    """
    _take_in(files, kind="labels" if labels else "predictions", as_json=as_json)


def labels(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines, CSV or Parquet files of labels.")],
    as_json: JsonFlag = False,
) -> None:
    """Take in labels from files.

    A row has id, model, label, and where known timestamp and source (the annotator). Every version is kept, and the
    policy says which counts. Malformed rows become dead letters with their reason.

    Example: driftwarden labels review.csv
    """
    _take_in(files, kind="labels", as_json=as_json)


def _take_in(files: list[Path], *, kind: "Kind", as_json: bool) -> None:
    from monitor.clock import SystemClock
    from monitor.ingest import ingest_files

    settings = read_settings()
    policy, engine = policy_or_default(settings), open_store(settings)
    with progress("bytes", quiet=as_json) as advance:
        totals = ingest_files(
            files,
            engine=engine,
            policy=policy,
            clock=SystemClock(),
            kind=kind,
            progress=advance,
        )
    answer = {
        "accepted": totals.accepted,
        "duplicate": totals.duplicate,
        "sampled_out": totals.sampled_out,
        "rejected": totals.rejected,
    }
    if as_json:
        print_json(answer)
    else:
        say(", ".join(f"{count} {name}" for name, count in answer.items()))
        if totals.rejected:
            say("the rejected ones: driftwarden dead-letters")
    if totals.rejected and not (totals.accepted or totals.duplicate or totals.sampled_out):
        raise InputError(f"all {totals.rejected} rows are refused; driftwarden dead-letters says why")


def dead_letters(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 100, as_json: JsonFlag = False
) -> None:
    """List refused events, each with field and reason."""
    from sqlalchemy.orm import Session

    from monitor import store

    with Session(open_store(read_settings())) as session:
        letters = store.list_dead_letters(session, limit=limit)
    if as_json:
        print_json(
            [
                {
                    "id": letter.id,
                    "received_at": letter.received_at.isoformat(),
                    "source": letter.source,
                    "index": letter.index,
                    "field": letter.field,
                    "reason": letter.reason,
                    "payload": letter.payload,
                }
                for letter in letters
            ]
        )
        return
    for letter in letters:
        when = f"{letter.received_at:%Y-%m-%dT%H:%M:%SZ}"
        say(f"{letter.id}  {when}  {letter.source}#{letter.index}  {letter.field}: {letter.reason}")
    if not letters:
        say("no dead letters")


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(ingest)
    app.command()(labels)
    app.command("dead-letters")(dead_letters)

"""`backfill`, `embed`: files of any size into one sketch, or into vectors."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from monitor.commands.common import JsonFlag, model_policy, print_json, progress, read_settings, say, warn
from monitor.commands.opening import load_named, open_store, require_registry

SHOWN = 10
ModelOption = Annotated[str, typer.Option(help="NAME@ALIAS, NAME/VERSION or a checkpoint folder.")]
TokenizerWorkersOption = Annotated[
    int | None,
    typer.Option(help="Processes that tokenise, a model; by default five for a GPU and none for a CPU.", min=0, max=64),
]
DeviceOption = Annotated[str, typer.Option(help="Where the model runs: auto, cpu, cuda or cuda:N.")]
DevicesOption = Annotated[
    str, typer.Option(help="Where the model runs: auto, cpu, cuda, cuda:N, several (cuda:0,cuda:1) or cuda:all.")
]


def backfill(
    inputs: Annotated[
        list[str],
        typer.Option("--input", metavar="PATH-or-URI", help="Parquet: file, folder, glob, s3:// or gs://; repeatable."),
    ],
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="The sketch file to write.")],
    engine: Annotated[Literal["local", "ray", "spark"], typer.Option(help="What runs the shards.")] = "local",
    basis: Annotated[
        str, typer.Option(help="auto (the version's baseline, else new), new, or a sketch file to be comparable with.")
    ] = "auto",
    device: DevicesOption = "auto",
    tokenizer_workers: TokenizerWorkersOption = None,
    workers: Annotated[
        int, typer.Option(help="Ray actors, Spark cores (0: all there are), or local processes.", min=0)
    ] = 0,
    rows_per_shard: Annotated[int, typer.Option(help="Texts that are lost when a worker is.", min=1)] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of a new basis.", min=0)] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the shards that are done.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Embed Parquet files into one sketch.

    Finished shards are kept in the database: run it again after any end, and only the others are computed. Rows that
    cannot be used are left out and listed.

    Example: driftwarden backfill --input s3://logs/2026-11 --model intents@champion --out november.sketch
    """
    from monitor.backfill.job import Request, backfill
    from monitor.files import require_writable
    from monitor.models import pin_reference

    settings = read_settings()
    require_writable(out)
    if not Path(model).is_dir():
        require_registry(settings)
    store = open_store(settings, first_use=True)
    pinned = pin_reference(model, tracking_uri=settings.mlflow_tracking_uri, cache_dir=settings.cache_dir)
    request = Request(
        inputs=inputs,
        model=pinned,
        out=out,
        policy=model_policy(settings, pinned.name),
        tracking_uri=settings.mlflow_tracking_uri,
        cache_dir=settings.cache_dir,
        engine=engine,
        basis=basis,
        device=device,
        threads=settings.threads,
        tokenizer_workers=tokenizer_workers,
        workers=workers,
        seed=seed,
        rows_per_shard=rows_per_shard,
        restart=restart,
    )
    with progress("texts", quiet=as_json) as advance:
        done = backfill(request, engine=store, progress=advance)
    answer = done.as_json(request)
    if as_json:
        print_json(answer)
    else:
        _tell(answer)


def embed(
    model: ModelOption,
    texts: Annotated[
        Path,
        typer.Option("--input", help=".jsonl, .csv or .parquet with text and, where it has one, text_pair."),
    ],
    output: Annotated[Path, typer.Option(help="The .npy file to write, n × d.")],
    device: DeviceOption = "auto",
    tokenizer_workers: TokenizerWorkersOption = None,
    dtype: Annotated[Literal["float32", "float16"], typer.Option(help="How vectors are stored.")] = "float32",
    as_json: JsonFlag = False,
) -> None:
    """Embed a file of texts into an array, a vector a row.

    After any end the same command goes on where it stopped.

    Example: driftwarden embed --model intents@champion --input texts.jsonl --output vectors.npy
    """
    from monitor.vectors import check_output, embed_file, scan

    settings = read_settings()
    check_output(output)
    scanned = scan(texts)
    loaded = load_named(model, settings, device=device, tokenizer_workers=tokenizer_workers)
    with progress("texts", quiet=as_json) as advance:
        done = embed_file(texts, scanned, loaded, out=output, dtype=dtype, progress=advance)
    answer = done.as_json()
    if as_json:
        print_json(answer)
        return
    if answer["nonfinite"]:
        warn(f"{output}: {answer['nonfinite']} rows are not finite")
    resumed = f", {answer['resumed_rows']} of them done before" if answer["resumed_rows"] else ""
    shape = f"{answer['rows']} × {answer['dimension']}"
    say(f"{output}: {shape} {dtype}, {answer['numeric_mode']}{resumed}; {answer['texts_per_second']:,.0f} texts/s")


def _tell(answer: dict[str, Any]) -> None:
    counts = answer["counts"]
    for one in answer["rejects"][:SHOWN]:
        warn(f"{one['file']}: row {one['row']}: {one['reason']}")
    if counts["rejected"] > SHOWN:
        warn(f"{counts['rejected']} rows were left out; --json names up to 1,000 of them")
    reused = f", {answer['shards_reused']} of them done before" if answer["shards_reused"] else ""
    say(
        f"{answer['out']}: {counts['n']} texts folded ({counts['fitted']} more made the basis, {counts['rejected']} "
        f"rows left out) in {answer['shards']} shards{reused}; {answer['texts_per_second']:,.0f} texts/s"
    )


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    for command in (backfill, embed):
        app.command()(command)

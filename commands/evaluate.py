# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt evaluate`, `score`, `compare`, `report` and `probe`: models against benchmarks, and what came out."""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xemogpt.commands import Command, say

MODALITIES = ("visual", "audio")


def register(command: Command) -> None:
    """Add the five."""
    _register_evaluate(command)
    _register_score(command)
    _register_compare(command)
    _register_report(command)
    _register_probe(command)


def _register_evaluate(command: Command) -> None:
    parser = command("evaluate", run_evaluate, "ask a model about every clip of a benchmark, and score its answers")
    add = parser.add_argument
    add("--benchmark", required=True, metavar="NAME|FILE.yaml", help="emer, emocue_eval, ov_merd_plus, mer2023, ...")
    add("--root", required=True, metavar="DIR", help="where the data set was unpacked")
    add("--fold", type=int, metavar="K", help="of a benchmark that has folds")
    add("--allow-missing", action="store_true", help="score what is there; in robust EmoCue-360 a missing clip is 0")
    add("--model", required=True, metavar="ID|DIR|NAME", help="folder, Hub id, or name at the endpoint")
    add("--revision", metavar="NAME", help="of a Hub id: a branch, tag or commit (default: main)")
    add("--adapter", metavar="ID|DIR", help="a PEFT adapter on top of an XEmoGPT")
    add("--endpoint", metavar="URL", help="ask an OpenAI-compatible server, with the key in OPENAI_API_KEY")
    add("--predictions", metavar="FILE", help="score these answers of the model; nothing is loaded or asked")
    _add_prediction_columns(parser)
    add("--modalities", nargs="+", choices=MODALITIES, help="what the model is given (default: all that it takes)")
    add("--frames", type=int, default=16, metavar="N", help="of a clip, for models that are no XEmoGPT (%(default)s)")
    add("--max-audio-seconds", type=float, default=30, metavar="S", help="likewise (%(default)s)")
    add("--batch-size", type=int, default=8, metavar="N", help="clips at a time (default: %(default)s)")
    add("--device", help="cuda, cpu, mps, ... (default: cuda if there is one, else cpu)")
    add("--dtype", help="default: what the checkpoint holds")
    add("--trust-remote-code", action="store_true", default=None, help="run the code that a Hub model brings along")
    add("--retry-rejects", action="store_true", help="try clips again that a run before could not answer")
    add("--out", default="results", metavar="DIR", help="folder of <model>--<benchmark>.json (default: %(default)s)")
    _add_metrics(parser)


def _register_score(command: Command) -> None:
    parser = command("score", run_score, "score predictions that are there already")
    add = parser.add_argument
    add("predictions", metavar="PREDICTIONS", help=".jsonl, .json or .csv with an id and a text (or cues, or a label)")
    add("--references", required=True, metavar="FILE", help="the same, with what is true")
    add("--metrics", nargs="+", metavar="NAME", help="default: all that the files have what it takes for")
    add("--columns", nargs="+", default=[], metavar="FIELD=COLUMN", help="of the references, e.g. text=chinese")
    _add_prediction_columns(parser)
    add("--language", choices=("en", "zh"), default="en", help="of the texts (default: %(default)s)")
    add("--modalities", nargs="+", choices=MODALITIES, help="that the model was given (default: both)")
    add("--model", metavar="NAME", help="as results and tables call it (default: the file's name)")
    add("--benchmark", default=None, metavar="NAME", help="likewise (default: the references' name)")
    add("--allow-missing", action="store_true", help="score the rest; in robust EmoCue-360 a missing prediction is 0")
    add("--out", metavar="FILE.json", help="write the result there")
    _add_metrics(parser)


def _add_prediction_columns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prediction-columns",
        nargs="+",
        default=[],
        metavar="FIELD=COLUMN",
        help="of the predictions, e.g. text=response",
    )


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("metrics")
    add = group.add_argument
    add("--preset", choices=("official", "equation", "robust"), default="official", help="of EmoCue-360 (official)")
    add("--encoder", metavar="ID|DIR", help="of EmoCue-360 (default: all-MiniLM-L6-v2)")
    add("--wheels", metavar="DIR", help="AffectGPT's emotion_wheel folder; without it WordNet's feelings are taken")
    add("--wheel-mode", choices=("official", "strict"), default="official", help="default: %(default)s")


def _register_compare(command: Command) -> None:
    parser = command("compare", run_compare, "compare two results on the same samples: differences, intervals, p")
    parser.add_argument("a", metavar="A.json")
    parser.add_argument("b", metavar="B.json")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the resampling (default: %(default)s)")


def _register_report(command: Command) -> None:
    parser = command("report", run_report, "put results into a table, or into a page with the evidence")
    parser.add_argument("results", nargs="+", metavar="RESULT.json")
    parser.add_argument("--html", metavar="FILE.html", help="a page in one file that needs no network")
    parser.add_argument("--cases", type=int, default=8, metavar="N", help="clips shown with all texts (%(default)s)")
    parser.add_argument("--media", metavar="DIR", help="put the clips of the cases, DIR/<id>.mp4, into the page")


def _register_probe(command: Command) -> None:
    parser = command("probe", run_probe, "recognise by label prompts: cue encoders, CLIP or CLAP, without training")
    add = parser.add_argument
    add("--benchmark", required=True, metavar="NAME|FILE.yaml", help="one with labels: mer2023, m3ed, mafw, dfew")
    add("--root", required=True, metavar="DIR", help="where the data set was unpacked")
    add("--fold", type=int, metavar="K", help="of a benchmark that has folds")
    add("--model", required=True, metavar="ID|DIR", help="a cue encoder, or a model in the manner of CLIP or CLAP")
    add("--revision", metavar="NAME", help="of a Hub id: a branch, tag or commit (default: main)")
    add("--modality", choices=MODALITIES, help="default: what the model has")
    add("--without-bridge", action="store_true", help="of a cue encoder: its tower and head alone")
    add("--prompts", metavar="FILE.yaml", help="label: [prompts]; default: a few of our own for each label")
    add("--frames", type=int, default=16, metavar="N", help="of a clip (default: %(default)s)")
    add("--batch-size", type=int, default=16, metavar="N", help="clips at a time (default: %(default)s)")
    add("--device", help="cuda, cpu, mps, ... (default: cuda if there is one, else cpu)")
    add("--trust-remote-code", action="store_true", default=None, help="run the code that a Hub model brings along")
    add("--allow-missing", action="store_true", help="score what is there although clips are missing")
    add("--out", default="results", metavar="DIR", help="folder of <model>--<benchmark>.json (default: %(default)s)")


def run_evaluate(args: argparse.Namespace) -> int:
    """`xemogpt evaluate`."""
    from xemogpt.eval.answerers import load_answerer, shown_name
    from xemogpt.eval.benchmark import load_benchmark
    from xemogpt.eval.generate import generate, present, run_of
    from xemogpt.eval.records import read_records
    from xemogpt.eval.score import Task, score, shown_command, write_result

    columns = _columns("--prediction-columns", args.prediction_columns)
    if columns and not args.predictions:
        raise ValueError("--prediction-columns needs --predictions, the file that has them")
    benchmark = load_benchmark(args.benchmark)
    items = benchmark.read(args.root, args.fold)
    references = {item.reference.id: item.reference for item in items}
    name = result_name(args.model, benchmark.name, args.fold)
    out = Path(args.out) / f"{name}.json"
    reasons: dict[str, str] = {}
    if args.predictions:
        path, allow = Path(args.predictions), args.allow_missing
        modalities = args.modalities or run_of(path).get("modalities")
        if not modalities:
            raise ValueError(f"{path}: --modalities must say what the model was given: visual, audio or both")
    else:
        items = present(benchmark, items, args.allow_missing)
        more = (
            "adapter",
            "modalities",
            "frames",
            "max_audio_seconds",
            "device",
            "dtype",
            "trust_remote_code",
            "revision",
        )
        answerer = load_answerer(args.model, endpoint=args.endpoint, **{key: getattr(args, key) for key in more})
        path, modalities = out.with_name(f"{name}.predictions.jsonl"), sorted(answerer.modalities)
        path.parent.mkdir(parents=True, exist_ok=True)
        reasons = generate(
            benchmark, items, answerer, path, batch_size=args.batch_size, retry_rejects=args.retry_rejects
        )
        if len(reasons) == len(items):
            raise ValueError(f"not one of {len(items)} clips was answered; the first: {next(iter(reasons.values()))}")
        allow = args.allow_missing or bool(reasons)
    task = Task(
        benchmark.metrics,
        benchmark.language,
        benchmark.words,
        tuple(benchmark.labels),
        tuple(modalities),
        _grouping(args),
        _cues(args),
    )
    predictions = read_records(path, columns, option="--prediction-columns")
    result = score(predictions, references, task, allow_missing=allow)
    result["coverage"] |= {"expected": benchmark.count, "rejected": reasons}
    about = {
        "model": shown_name(args.model),
        "benchmark": benchmark.name,
        "task_version": benchmark.version,
        "fold": args.fold,
        "command": shown_command(["xemogpt", *sys.argv[1:]]),
        "prompt_id": benchmark.prompt.id,
        "generation": dict(benchmark.generation),
        "modalities": sorted(modalities),
    } | {key: value for key, value in run_of(path).items() if key in ("settings", "prompt_id", "generation")}
    if benchmark.count not in (None, len(references)):
        result["notes"].append(
            f"{Path(args.root).name} annotates {len(references)} clips; {benchmark.title} has {benchmark.count}"
        )
    if parts := (about.get("settings") or {}).get("untrained_parts"):
        result["notes"].append(f"untrained parts of the model: {', '.join(parts)}")
    write_result(out, result, about)
    _show(result, str(out))
    return 1 if reasons else 0


def run_score(args: argparse.Namespace) -> int:
    """`xemogpt score`."""
    from xemogpt.eval.generate import run_of
    from xemogpt.eval.records import read_records
    from xemogpt.eval.score import Task, score, shown_command, write_result

    predictions, references = (
        read_records(path, _columns(option, given), option=option)
        for path, option, given in (
            (args.predictions, "--prediction-columns", args.prediction_columns),
            (args.references, "--columns", args.columns),
        )
    )
    metrics = tuple(args.metrics or _fitting(references.values(), predictions.values()))
    run = run_of(Path(args.predictions))
    modalities = tuple(args.modalities or run.get("modalities") or MODALITIES)
    task = Task(metrics, args.language, modalities=modalities, grouping=_grouping(args), cues=_cues(args))
    result = score(predictions, references, task, allow_missing=args.allow_missing)
    about = {
        "model": args.model or run.get("model") or Path(args.predictions).stem,
        "benchmark": args.benchmark or Path(args.references).stem,
        "task_version": None,
        "command": shown_command(["xemogpt", *sys.argv[1:]]),
        "modalities": sorted(modalities),
    } | {key: run[key] for key in ("settings", "prompt_id", "generation") if key in run}
    if args.out:
        write_result(Path(args.out), result, about)
    _show(result, args.out)
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """`xemogpt compare`."""
    from xemogpt.eval.compare import RESAMPLES, compare
    from xemogpt.eval.score import read_result

    a, b = read_result(args.a), read_result(args.b)
    rows = compare(a, b, seed=args.seed)
    print(f"A = {a['model']}, B = {b['model']}, on {a['benchmark']}")
    print(f"{'metric':28}{'n':>6}{'A':>9}{'B':>9}{'B - A':>9}   95 % interval       p")
    for row in rows:
        interval = f"[{row.low:+.4f}, {row.high:+.4f}]"
        numbers = f"{row.n:6}{row.a:9.4f}{row.b:9.4f}{row.difference:+9.4f}"
        print(f"{row.metric:28}{numbers}   {interval:20}{row.p:.4f}{row.note and '   ' + row.note}")
    say(f"intervals and p are Monte Carlo, of {RESAMPLES} resamples under --seed {args.seed}")
    if len(rows) > 1:
        say(f"{len(rows)} comparisons: one of them falls below p = .05 by chance more often than a single one would")
    return 0


def run_report(args: argparse.Namespace) -> int:
    """`xemogpt report`."""
    from xemogpt.eval.score import read_result
    from xemogpt.eval.table import markdown

    results = [read_result(path) for path in args.results]
    print(markdown(results))
    if args.html:
        from xemogpt.eval.report import write_page

        write_page(Path(args.html), results, cases=args.cases, media=Path(args.media) if args.media else None)
        say(f"wrote {args.html}")
    return 0


def run_probe(args: argparse.Namespace) -> int:
    """`xemogpt probe`."""
    from xemogpt.eval.benchmark import load_benchmark
    from xemogpt.eval.generate import present
    from xemogpt.eval.probe import load_encoder, probe, read_prompts
    from xemogpt.eval.score import shown_command, write_result

    benchmark = load_benchmark(args.benchmark)
    items = present(benchmark, benchmark.read(args.root, args.fold), args.allow_missing)
    bridge = not args.without_bridge
    where = (args.device, args.trust_remote_code, bridge, args.revision)
    encoder = load_encoder(args.model, args.modality, args.frames, *where)
    prompts = read_prompts(args.prompts, benchmark, encoder.modality)
    result = probe(encoder, items, prompts, batch_size=args.batch_size)
    part = "" if bridge else "-without-bridge"
    out = Path(args.out) / f"{result_name(args.model, benchmark.name, args.fold)}--probe{part}.json"
    about = {
        "model": encoder.name + part,
        "benchmark": benchmark.name,
        "task_version": benchmark.version,
        "fold": args.fold,
        "revision": args.revision,
        "command": shown_command(["xemogpt", *sys.argv[1:]]),
        "modalities": [encoder.modality],
        "prompts": prompts,
    }
    write_result(out, result, about)
    _show(result, str(out))
    return 1 if result["coverage"]["rejected"] else 0


def result_name(model: str, benchmark: str, fold: int | None = None) -> str:
    """<model>--<benchmark>, as results are called."""
    from xemogpt.eval.answerers import shown_name

    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', shown_name(model))}--{benchmark}" + (f"-fold{fold}" if fold else "")


def _columns(option: str, given: Iterable[str]) -> dict[str, str]:
    """Columns by field, out of FIELD=COLUMN."""
    found: dict[str, str] = {}
    for each in given:
        field, equals, column = each.partition("=")
        if not (field and equals and column):
            raise ValueError(f"{option} {each}: is not FIELD=COLUMN")
        if field in found:
            raise ValueError(f"{option} {each}: {field} was given before, as {found[field]}")
        found[field] = column
    return found


def _fitting(references: Iterable[Any], predictions: Iterable[Any]) -> list[str]:
    """The metrics that the two files have what it takes for."""
    true, said = (
        {field for each in side for field, value in vars(each).items() if value not in (None, "", (), {})}
        for side in (references, predictions)
    )
    words = not true & {"text", "cues"} and "label" in true  # labels beside explanations are no task of their own
    wanted = {
        "emocue_360": true & {"text", "cues"},
        "bleu": "text" in true,
        "cider": "text" in true,
        "recognition": words,
        "calibration": words and "confidence" in said,
        "consistency": "label" in true and "implied" in said,
        "open_vocabulary": "labels" in true,
        "sentiment": "valence" in true and "valence" in said,
        "conflict": "subset" in true,
    }
    return [metric for metric, fits in wanted.items() if fits]


def _grouping(args: argparse.Namespace) -> Any:
    from xemogpt.eval.open_vocabulary import wheel_tables

    return wheel_tables(args.wheels, args.wheel_mode) if args.wheels else None


def _cues(args: argparse.Namespace) -> dict[str, Any]:
    return {"preset": args.preset} | ({"encoder": args.encoder} if args.encoder else {})


def _show(result: dict[str, Any], out: str | None) -> None:
    from xemogpt.eval.table import score_lines

    print("\n".join(score_lines(result)))
    for note in result["notes"]:
        say(f"note: {note}")
    coverage = result["coverage"]
    say(f"scored {coverage['scored']} of {coverage['references']}" + (f" -> {out}" if out else ""))
    for kind, what in (("missing", "without a prediction"), ("empty", "empty predictions")):
        if names := coverage[kind]:
            from xemogpt.eval.records import shown

            say(f"{what}: {len(names)}: {shown(names)}")
    for name, reason in list(coverage.get("rejected", {}).items())[:10]:
        say(f"rejected: {name}: {reason}")

# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt serve`: a model as an OpenAI-compatible endpoint, also for `xemogpt build-emocue`."""

import argparse
import os
import socket

from xemogpt.commands import Command, say
from xemogpt.commands.explain import MODEL_ARGUMENTS, add_model


def register(command: Command) -> None:
    """Add `serve`."""
    parser = command("serve", run_serve, "answer OpenAI's chat completions about clips")
    add_model(parser)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="0.0.0.0 is for other machines too, without a key (default: %(default)s)")
    add("--port", type=int, default=8000, help="0: any free one (default: %(default)s)")
    add("--max-new-tokens", type=int, default=1024, metavar="N", help="most of an answer (default: %(default)s)")
    add("--batch-size", type=int, default=8, metavar="N", help="most requests at a time (default: %(default)s)")


def run_serve(args: argparse.Namespace) -> int:
    """`xemogpt serve`."""
    for name in ("max_new_tokens", "batch_size"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(args, name)}")
    from xemogpt.eval.answerers import shown_name
    from xemogpt.inference.explain import load_explainer
    from xemogpt.inference.server import make_app

    try:
        import uvicorn
    except ImportError:
        raise ImportError('the server needs starlette and uvicorn: pip install "xemogpt[serve]"') from None

    try:  # said at once, before the model is loaded
        listening = socket.create_server((args.host, args.port))
    except (OSError, OverflowError) as error:
        raise OSError(f"{args.host}:{args.port}: cannot be served at ({error}); choose another --port") from None
    with listening:
        explainer = load_explainer(**{name: getattr(args, name) for name in MODEL_ARGUMENTS})
        name = shown_name(os.path.expanduser(explainer.name))
        app = make_app(explainer, name, args.max_new_tokens, args.batch_size)
        host, port = listening.getsockname()[:2]
        if explainer.untrained_parts:
            say(f"note: {name} has untrained parts, so its answers are no evidence")
        say(f"{name} answers at http://{host}:{port}/v1 (Ctrl-C ends)")
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        server.run(sockets=[listening])
    return 0

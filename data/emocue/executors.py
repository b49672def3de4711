# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The executors of datatrove that a stage runs on: processes of this machine, jobs of Slurm, actors of Ray.

The recipe's `executor` names the kind; its other keys are those of datatrove's executor of that kind.
"""

import contextlib
import hashlib
import inspect
import os
import shlex
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xemogpt.data.emocue.recipe import Recipe

# Set here; and on each of several nodes the whole of a task would be done.
_NOT_THEIRS = {"pipeline", "tasks", "logging_dir", "skip_completed", "depends", "depends_job_id", "nodes_per_task"}


def run_step(recipe: Recipe, step: Any, tasks: int, folder: Path, after: str = "") -> str:
    """Do those tasks of a step that have not been completed. With Slurm they are handed in, to begin when the job
    `after` has ended well.

    Returns:
        The number of Slurm's job; "" where all is done.

    Raises:
        ValueError: a key of `executor` that is unknown, or missing. OSError: a task has failed, or Slurm refuses.
    """
    settings = {key: value for key, value in recipe.executor.items() if key != "kind"}
    ours = {"pipeline": [step], "tasks": tasks, "logging_dir": str(folder / "logs")}
    if recipe.executor["kind"] == "slurm":
        return _hand_in(recipe, settings, ours, folder, after)
    if recipe.executor["kind"] == "ray":
        _run_on_ray(recipe, settings, ours, folder)
        return ""
    from datatrove.executor import LocalPipelineExecutor

    settings.setdefault("workers", 1)
    _check(LocalPipelineExecutor, settings)
    with _quiet():
        LocalPipelineExecutor(**ours, **settings).run()
    return ""


def refuse_while_queued(recipe: Recipe) -> None:
    """Raises OSError while Slurm has jobs of the build in this folder, of whatever recipe: two of a kind would do the
    same work, and be in each other's way."""
    if recipe.executor["kind"] != "slurm":
        return
    listing = ["squeue", "--me", "--noheader", "--format=%F %j"]
    try:
        told = subprocess.run(listing, capture_output=True, check=True, text=True).stdout
    except FileNotFoundError:
        raise OSError("executor: there is no Slurm here (squeue); start this on a machine of the cluster") from None
    except subprocess.CalledProcessError as error:
        raise OSError(f"Slurm does not answer: {' '.join(error.stderr.split())}") from None
    jobs = [line.split(maxsplit=1) for line in told.splitlines()]
    if mine := sorted({job for job, name in jobs if _mark(recipe) in name.split("-")}):
        raise OSError(f"Slurm has jobs of this build: {' '.join(mine)}; wait for them, or scancel them")


def _mark(recipe: Recipe) -> str:
    """By which the jobs of a build are known: of its folder, so whatever its recipe."""
    return hashlib.sha256(os.path.abspath(recipe.out).encode()).hexdigest()[:8]


def _hand_in(recipe: Recipe, settings: dict[str, Any], ours: dict[str, Any], folder: Path, after: str) -> str:
    from datatrove.executor.slurm import SlurmPipelineExecutor

    settings.setdefault("time", "24:00:00")
    _check(SlurmPipelineExecutor, settings)
    settings["job_name"] = f"{settings.get('job_name', 'emocue')}-{_mark(recipe)}-{folder.name}"
    # Where a job fails, those that wait for it would stand in the queue for ever.
    settings["sbatch_args"] = {"kill-on-invalid-dep": "yes"} | (settings.get("sbatch_args") or {})
    # Since 22.05 srun takes one processor, however many the job has, and may bind the task to it.
    settings["srun_args"] = {"cpus-per-task": settings.get("cpus_per_task", 1)} | (settings.get("srun_args") or {})
    if not settings.get("condaenv") and not settings.get("venv_path"):  # the programs of this very environment
        found = f"export PATH={shlex.quote(sysconfig.get_path('scripts'))}:$PATH"
        settings["env_command"] = "\n".join(filter(None, (found, settings.get("env_command"))))
    executor = SlurmPipelineExecutor(**ours, **settings, depends_job_id=after or None)
    try:
        with _quiet():
            executor.run()
    except FileNotFoundError as error:
        raise OSError(f"executor: there is no Slurm here ({error.filename})") from None
    except subprocess.CalledProcessError:
        raise OSError(f"Slurm refuses the job of {folder.name}; why, it says above") from None
    return "" if executor.job_id == -1 else str(executor.job_id)


def _run_on_ray(recipe: Recipe, settings: dict[str, Any], ours: dict[str, Any], folder: Path) -> None:
    if find_spec("ray") is None:
        raise ImportError('executor: kind ray needs Ray: pip install "xemogpt[ray]"')
    from datatrove.executor import RayPipelineExecutor

    _check(RayPipelineExecutor, settings)
    # An actor has the environment that the cluster was started with. What stands in `runtime_env` Ray writes to its
    # logs, so the keys of the endpoints go another way; but this must be there before anything is imported.
    remote = dict(settings.get("ray_remote_kwargs") or {})
    variables = {"LOGURU_DIAGNOSE": "NO"} | (remote.get("runtime_env") or {}).get("env_vars", {})
    remote["runtime_env"] = (remote.get("runtime_env") or {}) | {"env_vars": variables}
    settings["ray_remote_kwargs"] = remote
    names = {endpoint.api_key_env for endpoint in recipe.endpoints.values()}
    keys = {name: os.environ[name] for name in names if name in os.environ}
    ours["pipeline"] = [_having(keys), *ours["pipeline"]]
    with _quiet():
        executor = RayPipelineExecutor(**ours, **settings)
        executor.run()
    # It says nothing of tasks that failed.
    if left := executor.get_incomplete_ranks(skip_completed=True):
        log = folder / "logs" / "logs" / f"task_{left[0]:05d}.log"
        said = log.read_text(encoding="utf-8").split("\n") if log.is_file() else []
        why = next((line for line in reversed(said) if line.strip()), "it was lost")
        raise OSError(f"{folder.name}: {len(left)} of {ours['tasks']} tasks have failed; the first: {why} ({log})")


def _having(variables: dict[str, str]) -> Callable[[Any, int, int], Any]:
    """A step that puts variables into the environment. Ray carries it from memory to memory; where datatrove writes
    down the steps, a function is its name."""

    def put(data: Any, rank: int, world_size: int) -> Any:
        os.environ.update(variables)
        return data

    return put


def _check(kind: Any, settings: dict[str, Any]) -> None:
    parameters = {name: each for name, each in inspect.signature(kind).parameters.items() if name not in _NOT_THEIRS}
    if unknown := set(settings) - set(parameters):
        raise ValueError(f"executor: unknown key {', '.join(sorted(unknown))}; it has {', '.join(parameters)}")
    needed = {name for name, each in parameters.items() if each.default is inspect.Parameter.empty}
    if lacking := needed - set(settings):
        raise ValueError(f"executor: needs {', '.join(sorted(lacking))}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Not each step on the terminal: datatrove's logs below `logs/` have the same."""
    from datatrove.utils.logging import logger

    logger.disable("datatrove.executor.slurm")
    logger.disable("datatrove.executor.ray")
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            yield
    finally:
        logger.enable("datatrove.executor")

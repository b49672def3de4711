# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A Slurm cluster of one node on this machine, with its own key, ports and folders, for as long as a test needs it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "squeue", "sinfo", "scontrol")
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=1
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def missing() -> list[str]:
    """The programs of a cluster that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


def _path() -> str:
    return os.environ["PATH"] + ":/usr/sbin:/sbin"  # where Debian puts the daemons


@contextmanager
def slurm_cluster(root: Path) -> Iterator[Path]:
    """Run the daemons until the context closes; its folder. Clients find it by `SLURM_CONF`, which is set
    meanwhile. Skips where a program is missing."""
    if lacking := missing():
        pytest.skip(f"needs a Slurm that can be started here; missing: {', '.join(lacking)} (slurm-wlm, munge)")
    root.mkdir(mode=0o755, parents=True)
    (root / "state").mkdir()
    (root / "spool").mkdir()
    key = root / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    host = socket.gethostname().split(".")[0]
    conf = root / "slurm.conf"
    conf.write_text(CONF.format(root=root, host=host, user=user, control=_free_port(), node=_free_port()))
    environment = os.environ | {"PATH": _path(), "SLURM_CONF": str(conf)}
    files = {"key-file": key, "socket": root / "munge.socket", "pid-file": root / "munge.pid"}
    files |= {"log-file": root / "munge.log", "seed-file": root / "munge.seed"}
    munged = ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items())]
    daemons: list[subprocess.Popen[bytes]] = []
    os.environ["SLURM_CONF"] = str(conf)
    try:
        for command in (munged, ["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", host]):
            with (root / f"{command[0]}.out").open("wb") as said:
                daemons.append(subprocess.Popen(command, env=environment, stdout=said, stderr=said))
            time.sleep(0.5)
        for _ in range(60):
            found = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False)
            if found.stdout.strip() == "idle":
                break
            time.sleep(0.5)
        else:
            raise AssertionError(f"no node: {found.stdout}{found.stderr}; see {root}")
        yield root
    finally:
        subprocess.run(["scancel", "-u", user], check=False, timeout=60)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        del os.environ["SLURM_CONF"]

#!/usr/bin/env bash
# One training stage on N machines of a Slurm cluster: sbatch -N 2 --gpus-per-node 8 recipes/slurm.sh stage3 RECIPE.yaml
# Submit it again after it was killed or ran out of time: it goes on from the last whole checkpoint.
#SBATCH --job-name=xemogpt
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
set -euo pipefail
stage=$1 recipe=$2
host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
gpus=${SLURM_GPUS_ON_NODE:?submit with --gpus-per-node}
# Since Slurm 22.05 srun takes one processor, and where it binds tasks to cores all processes would share that one.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" bash -c "accelerate launch --config_file recipes/accelerate/ddp.yaml \
    --num_machines $SLURM_NNODES --num_processes $((SLURM_NNODES * gpus)) --machine_rank \$SLURM_NODEID \
    --main_process_ip $host --main_process_port 29500 -m xemogpt train $stage --config $recipe"

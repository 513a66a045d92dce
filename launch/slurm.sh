#!/usr/bin/env bash
# Training on several nodes with GPUs under Slurm, one process a GPU:
#
#     sbatch --nodes 2 --gres gpu:8 --ntasks-per-node 8 launch/slurm.sh --config configs/stage2.py:open
#
# JAX finds the other processes from Slurm's variables, and gives each the GPU of its number on the
# node: so ask for GPUs with --gres, not with --gpus-per-task, which hides the others. The checkout,
# with its .venv, must lie on a disk that all nodes see. Two minutes before its time is up the job is
# told to save, and it is put in the queue again until the run is finished.
#SBATCH --job-name auface
#SBATCH --cpus-per-task 8
#SBATCH --time 24:00:00
#SBATCH --signal TERM@120
#SBATCH --requeue
#SBATCH --open-mode append
#SBATCH --output slurm-%j.log
set -uo pipefail
cd "${SLURM_SUBMIT_DIR:?start me with sbatch, in the folder of the checkout}" || exit

STOPPED=75 # what training exits with when it was told to stop, and has saved

# From Slurm 22.05 on, srun no longer takes the CPUs of a task from what the job asked for.
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
    export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi

trap : TERM # the processes are told as well; this script waits for them
srun --kill-on-bad-exit=0 .venv/bin/python -m auface_jax.train "$@"
status=$?
if ((status == STOPPED)); then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"

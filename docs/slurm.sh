#!/usr/bin/env bash
# A suite on Slurm: each task is a worker; the first node has the scheduler and the client as well.
#
#   sbatch docs/slurm.sh standard                 what follows is passed on to `eggan bench run`
#
# When the time is up the cells save, and the checkpoints come back: the same line goes on.
#SBATCH --job-name=eggan
#SBATCH --ntasks=4
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --output=eggan-%j.log
#
# With GPUs add the line `SBATCH --gpus-per-task=1` above, and GPUS=1 before sbatch.
set -euo pipefail

private=$(mktemp -d)
file=$private/scheduler.json
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$private"' EXIT

dask scheduler --host "$SLURMD_NODENAME" --port 0 --no-dashboard --scheduler-file "$file" &
until [ -s "$file" ]; do sleep 0.2; done
address=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$file")

# One cell at a time in each task, with all its cores; its disk is the node's own.
srun --ntasks="$SLURM_NTASKS" --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 \
    dask worker "$address" --preload eggan.cluster.worker --no-dashboard --nthreads 1 \
    --resources "threads=$SLURM_CPUS_PER_TASK gpu=${GPUS:-0}" \
    --local-directory "${TMPDIR:-/tmp}/eggan-$USER" --death-timeout 60 &

eggan bench run "$@" --cluster "$file" &
client=$!
trap 'kill -TERM $client' TERM
wait $client || status=$?
wait $client 2>/dev/null || status=$?   # after a signal it still saves
exit "${status:-0}"

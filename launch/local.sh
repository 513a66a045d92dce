#!/usr/bin/env bash
# N processes of one run on this machine, to try what a cluster will do:
#
#     launch/local.sh 2 python -m auface_jax.train --config configs/stage2.py:quickstart
#
# What process 1 and the others print has their number before it. When one of them fails, the rest
# get GRACE seconds (90) to end by themselves; then they are killed. Ctrl-C and SIGTERM are handed on.
set -uo pipefail

if [[ $# -lt 2 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: launch/local.sh NUMBER COMMAND [ARGUMENT ...]" >&2
    exit 2
fi
number=$1
shift
grace=${GRACE:-90}

free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
port=$(python3 -c "$free_port") || exit 1
export JAX_COORDINATOR_ADDRESS=127.0.0.1:$port JAX_NUM_PROCESSES=$number

processes=()
for ((id = 0; id < number; id++)); do
    if ((id == 0)); then
        JAX_PROCESS_ID=$id "$@" &
    else
        JAX_PROCESS_ID=$id "$@" > >(sed -u "s/^/[$id] /") 2> >(sed -u "s/^/[$id] /" >&2) &
    fi
    processes+=($!)
done

trap 'kill -TERM "${processes[@]}" 2>/dev/null' TERM INT

status=0
deadline=
while ((${#processes[@]} > 0)); do
    sleep 0.2
    for id in "${!processes[@]}"; do
        kill -0 "${processes[$id]}" 2>/dev/null && continue
        wait "${processes[$id]}"
        code=$?
        unset "processes[$id]"
        if ((code != 0 && status == 0)); then
            status=$code
            deadline=$((SECONDS + grace))
            echo "process $id of $number ended with status $code; the others have $grace s" >&2
        fi
    done
    if [[ -n $deadline ]] && ((SECONDS > deadline)) && ((${#processes[@]} > 0)); then
        echo "killing what is left" >&2
        kill -KILL "${processes[@]}" 2>/dev/null
    fi
done
exit "$status"

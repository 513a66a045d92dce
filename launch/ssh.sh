#!/usr/bin/env bash
# One process on each of a few machines, by plain SSH:
#
#     launch/ssh.sh first.example,second.example --config configs/stage2.py:open
#
# The machines reach each other on PORT (8476) of the first one, which is the coordinator, and have
# this checkout with its .venv under the same path (DIRECTORY, default: that of this machine), on a
# disk that all of them see or with runs/ and datasets/ on one. Lines of all but the first have the
# machine's name before them. Ctrl-C tells all of them to save and stop.
set -uo pipefail

if [[ $# -lt 2 ]]; then
    echo "usage: launch/ssh.sh HOST,HOST[,...] ARGUMENTS OF auface_jax.train" >&2
    exit 2
fi
IFS=, read -ra hosts <<<"$1"
shift
directory=${DIRECTORY:-$(cd "$(dirname "$0")/.." && pwd)}
printf -v arguments '%q ' --coordinator_address "${hosts[0]}:${PORT:-8476}" \
    --num_processes "${#hosts[@]}" "$@"

# With a terminal of its own a remote process would get no SIGTERM when this script is told to stop,
# so each leaves its number in a file, by which it is reached.
remote() {
    local id=$1
    printf -v command 'cd %q && mkdir -p runs && echo $$ >runs/.ssh-%d.pid && exec %s %s --process_id %d' \
        "$directory" "$id" ".venv/bin/python -m auface_jax.train" "$arguments" "$id"
    ssh -o BatchMode=yes "${hosts[$id]}" "$command"
}
# shellcheck disable=SC2329 # the trap calls it
stop_all() {
    for id in "${!hosts[@]}"; do
        ssh -o BatchMode=yes "${hosts[$id]}" \
            "kill -TERM \$(cat $(printf %q "$directory")/runs/.ssh-$id.pid)" &
    done
}
trap stop_all TERM INT

processes=()
for id in "${!hosts[@]}"; do
    if ((id == 0)); then
        remote "$id" &
    else
        remote "$id" > >(sed -u "s/^/[${hosts[$id]}] /") 2> >(sed -u "s/^/[${hosts[$id]}] /" >&2) &
    fi
    processes+=($!)
done

status=0
for process in "${processes[@]}"; do
    while true; do
        wait "$process"
        code=$?
        kill -0 "$process" 2>/dev/null || break # else a signal was handed on; wait again
    done
    ((code == 0)) || status=$code
done
exit "$status"

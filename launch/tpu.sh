#!/usr/bin/env bash
# Training on a Cloud TPU VM, one host or a pod, spot or not, from the machine that has `gcloud`:
#
#     NAME=auface ZONE=us-central1-a TYPE=v5litepod-16 SHARE=10.0.0.2:/runs \
#         launch/tpu.sh train --config configs/stage2.py:open
#
# `train` creates the TPU where it is absent, installs this checkout's last commit on every host,
# trains, and does all of it again after each preemption: the run goes on from its last checkpoint.
# The steps can be taken one by one: create, install, run ARGUMENTS, delete.
#
#   NAME, ZONE   of the TPU
#   TYPE         accelerator type: v5litepod-1 to v5litepod-8 are one host, v5litepod-16 is a pod
#   RUNTIME      its software version; default v2-alpha-tpuv5-lite, as v5litepod wants
#   SPOT         1 (default) for a spot TPU, which may be preempted; 0 for one that is not
#   SHARE        HOST:/PATH of an NFS share (Filestore, say) for runs/ and datasets/; a pod needs it,
#                and one host does if its run is to outlive a preemption
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

: "${NAME:?the name of the TPU}" "${ZONE:?the zone of the TPU}"
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
SPOT=${SPOT:-1}
SHARE=${SHARE:-}
[[ -z $SHARE || $SHARE =~ ^[A-Za-z0-9.-]+:/[A-Za-z0-9._/-]*$ ]] || fail "SHARE=$SHARE is not HOST:/PATH"

tpu() { gcloud compute tpus tpu-vm "$1" "$NAME" --zone "$ZONE" "${@:2}"; }
on_all() { tpu ssh --worker=all --command "$1"; }
state() { tpu describe --format 'value(state)' 2>/dev/null || true; }

create() {
    : "${TYPE:?the accelerator type, v5litepod-16 for example}"
    local options=(--accelerator-type "$TYPE" --version "$RUNTIME")
    [[ $SPOT == 0 ]] || options+=(--spot)
    tpu create "${options[@]}"
}

install() {
    local archive
    archive=$(mktemp --suffix .tar.gz)
    git archive --format tar.gz --prefix auface_jax/ --output "$archive" HEAD
    # Not through `tpu`: scp names the TPU in its destination.
    gcloud compute tpus tpu-vm scp "$archive" "$NAME:auface_jax.tar.gz" --zone "$ZONE" --worker=all
    rm "$archive"
    # The hosts' own Python is older than this project wants; uv brings one.
    on_all '
        set -e
        tar xzf auface_jax.tar.gz
        cd auface_jax
        python3 -m pip install --quiet --user uv
        [ -d .venv ] || python3 -m uv venv --python 3.12
        python3 -m uv pip install --quiet -r requirements-tpu.txt'
    [[ -z $SHARE ]] || on_all "
        set -e
        command -v mount.nfs >/dev/null || sudo apt-get install -y -qq nfs-common
        mkdir -p shared
        mountpoint -q shared || sudo mount -t nfs $SHARE shared
        for folder in runs datasets; do
            # A new share belongs to root.
            [ -d shared/\$folder ] || sudo install -d -o \"\$USER\" shared/\$folder
            [ -e auface_jax/\$folder ] || ln -s ../shared/\$folder auface_jax/\$folder
        done"
}

run() {
    [[ $# -gt 0 ]] || fail "run and train want the arguments of auface_jax.train"
    local arguments
    printf -v arguments '%q ' "$@"
    on_all "cd auface_jax && .venv/bin/python -m auface_jax.train --distributed $arguments"
}

train() {
    while true; do
        case $(state) in
            READY) ;;
            "") create ;;
            *) # preempted, or on its way there: such a TPU never comes back
                tpu delete --quiet || true
                create
                ;;
        esac
        if "$self" install && "$self" run "$@"; then # each stops at its first error
            return
        fi
        sleep "${PAUSE:-60}" # a preemption takes a moment to show
        [[ $(state) != READY ]] || fail "training failed on a TPU that is well; see above"
        echo "$NAME was preempted; taking another" >&2
    done
}

case ${1:-} in
    create | install | run | train) "$@" ;;
    delete) tpu delete --quiet ;;
    *) fail "expected create, install, run, train or delete, not '${1:-}'" ;;
esac

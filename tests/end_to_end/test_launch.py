"""The scripts in `launch/`, with fake commands in place of those of clusters."""

import os
import re
import signal
import subprocess
import tarfile
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"


@pytest.fixture
def start(tmp_path):
    """Starts a script of `launch/`; commands written by `stand_in` replace the real ones."""
    (tmp_path / "bin").mkdir()
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    # In a container the checkout may belong to another user; git then refuses to read it.
    trust = {"COUNT": "1", "KEY_0": "safe.directory", "VALUE_0": "*"}
    environment |= {f"GIT_CONFIG_{name}": value for name, value in trust.items()}

    def start(script, *arguments, **variables):
        return subprocess.Popen(
            [LAUNCH / script, *map(str, arguments)],
            env=environment | {name: str(value) for name, value in variables.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def stand_in(path: Path, script: str) -> None:
    """Writes a bash script that replaces a command."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}")
    path.chmod(0o755)


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


# --- Processes on this machine -------------------------------------------------------------------


def test_local_processes_get_number_count_and_coordinator(start):
    command = 'echo "$JAX_PROCESS_ID of $JAX_NUM_PROCESSES, $1, $JAX_COORDINATOR_ADDRESS"'
    code, out, _ = finish(start("local.sh", 3, "bash", "-c", command, "-", "an argument"))
    said, addresses = zip(*(line.rsplit(", ", 1) for line in out.splitlines()), strict=True)
    assert code == 0
    assert sorted(said) == sorted(
        f"{before}{process} of 3, an argument"
        for process, before in enumerate(("", "[1] ", "[2] "))
    )
    assert len(set(addresses)) == 1 and addresses[0].startswith("127.0.0.1:")


def test_failed_local_process_leaves_the_others_a_grace_period(start):
    command = '[ "$JAX_PROCESS_ID" = 1 ] && exit 3; exec sleep 600'
    code, _, err = finish(start("local.sh", 2, "bash", "-c", command, GRACE=1))
    assert code == 3
    assert "process 1 of 2 ended with status 3; the others have 1 s" in err


def test_local_processes_receive_sigterm(start):
    process = start("local.sh", 2, "bash", "-c", 'trap "exit 75" TERM; echo up; sleep 600 & wait')
    for _ in range(2):
        assert process.stdout.readline().endswith("up\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75


def test_missing_command_shows_the_usage(start):
    assert "usage: launch/local.sh" in finish(start("local.sh", 2))[2]
    assert "usage: launch/ssh.sh" in finish(start("ssh.sh", "host"))[2]


# --- A few machines ------------------------------------------------------------------------------


@pytest.fixture
def machines(tmp_path):
    """An `ssh` that runs its command here, and a checkout whose Python is `script`."""
    stand_in(tmp_path / "bin" / "ssh", f'echo "$3" >>{tmp_path}/hosts; exec bash -c "$4"\n')

    def checkout(script):
        stand_in(tmp_path / "checkout" / ".venv" / "bin" / "python", script)
        return tmp_path / "checkout"

    return checkout


def test_ssh_gives_each_machine_the_command_and_its_number(start, machines, tmp_path):
    # Each line is one write, since both machines write to one pipe.
    there = machines('line=$(printf "<%s>" "$@"); echo "$line"\n')
    arguments = ("one,two", "--config", "a file.py:open", "--config.x=1 2")
    code, out, err = finish(start("ssh.sh", *arguments, DIRECTORY=there, PORT=99))
    common = "<-m><auface_jax.train><--coordinator_address><one:99><--num_processes><2>"
    common += "<--config><a file.py:open><--config.x=1 2><--process_id>"
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == sorted([f"{common}<0>", f"[two] {common}<1>"])
    assert sorted((tmp_path / "hosts").read_text().split()) == ["one", "two"]


def test_ssh_forwards_sigterm_and_returns_the_status(start, machines):
    there = machines('trap "exit 75" TERM; echo up; while true; do sleep 0.1; done\n')
    process = start("ssh.sh", "one,two", "--config", "x", DIRECTORY=there)
    for _ in range(2):
        assert process.stdout.readline().endswith("up\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75


# --- Clusters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "again"), [(0, False), (75, True), (1, False)])
def test_slurm_requeues_an_interrupted_run(start, tmp_path, status, again):
    srun = 'printf "<%s>" "$SRUN_CPUS_PER_TASK" "$@"'
    stand_in(tmp_path / "bin" / "srun", f"{srun} >{tmp_path}/srun; exit {status}\n")
    stand_in(tmp_path / "bin" / "scontrol", f'echo "$@" >{tmp_path}/scontrol\n')
    job = {"SLURM_SUBMIT_DIR": tmp_path, "SLURM_JOB_ID": 7, "SLURM_CPUS_PER_TASK": 8}
    process = start("slurm.sh", "--config", "x y", **job)
    assert finish(process)[0] == status
    called = (tmp_path / "srun").read_text()
    assert called.startswith("<8>")  # by default srun gives each process one CPU
    assert called.endswith("<.venv/bin/python><-m><auface_jax.train><--config><x y>")
    assert (tmp_path / "scontrol").exists() == again
    if again:
        assert (tmp_path / "scontrol").read_text() == "requeue 7\n"


GCLOUD = """
cd {folder}
shift 2
echo "$*" >>calls
case $2 in
    describe) cat state 2>/dev/null ;;
    create) echo READY >state ;;
    delete) rm -f state ;;
    scp) # SOURCE DESTINATION; only the destination names the TPU
        [[ -f $3 && $4 == mine:* && $5 == --* ]] || exit 1
        cp "$3" "${{4#mine:}}"
        ;;
    ssh)
        if [[ $* == *auface_jax.train* && -e fails ]]; then
            mv fails state # the state of the TPU after the failure
            exit 1
        fi
        ;;
esac
"""


@pytest.fixture
def tpu(start, tmp_path):
    """Runs `tpu.sh` with a fake `gcloud` that keeps one TPU in a file; returns its calls."""
    stand_in(tmp_path / "bin" / "gcloud", GCLOUD.format(folder=tmp_path))
    names = {"NAME": "mine", "ZONE": "here", "TYPE": "v5litepod-16", "PAUSE": 0}

    def run(*arguments, **variables):
        code, _, err = finish(start("tpu.sh", *arguments, **names | variables))
        calls = (tmp_path / "calls").read_text().split("tpu-vm ")[1:]
        return code, err, calls

    return run


BEGIN, TRAIN = ["create", "scp", "ssh", "ssh"], ["ssh"]


def verbs(calls):
    return [call.split()[0] for call in calls if not call.startswith("describe")]


def test_tpu_is_created_installed_and_trains_on_all_hosts(tpu, tmp_path):
    code, _, calls = tpu("train", "--config", "x y", SHARE="10.0.0.2:/runs")
    assert code == 0 and verbs(calls) == BEGIN + TRAIN
    created = next(call for call in calls if call.startswith("create"))
    assert "create mine --zone here --accelerator-type v5litepod-16" in created
    assert "--spot" in created
    assert all("--worker=all" in call for call in calls if call.startswith(("ssh", "scp")))
    assert "requirements-tpu.txt" in calls[3] and "10.0.0.2:/runs shared" in calls[4]
    assert "auface_jax.train --distributed --config x\\ y" in calls[5]
    with tarfile.open(tmp_path / "auface_jax.tar.gz") as copied:
        assert "auface_jax/requirements-tpu.txt" in copied.getnames()


def test_folders_of_a_new_share_belong_to_the_user(tpu, tmp_path):
    _, _, calls = tpu("install", SHARE="10.0.0.2:/runs")
    script = calls[-1].split("--command", 1)[1]
    # On this fake host only root may write to the NFS share: only `sudo` makes folders there.
    host = tmp_path / "host"
    (host / "auface_jax").mkdir(parents=True)
    stand_in(host / "bin" / "mount.nfs", "")
    stand_in(host / "bin" / "mountpoint", "exit 1\n")
    stand_in(host / "bin" / "sudo", 'echo "$*" >>asked; [ "$1" = mount ] || mkdir "${@: -1}"\n')
    path = f"{host / 'bin'}:{os.environ['PATH']}"
    for _ in range(2):
        subprocess.run(
            ["bash", "-c", script], cwd=host, check=True, env={"PATH": path, "USER": "me"}
        )
    mount = "mount -t nfs 10.0.0.2:/runs shared"
    made = [f"install -d -o me shared/{folder}" for folder in ("runs", "datasets")]
    assert (host / "asked").read_text().splitlines() == [mount, *made, mount]
    for folder in ("runs", "datasets"):
        assert (host / "auface_jax" / folder).resolve() == host / "shared" / folder


def test_preempted_tpu_is_replaced_and_training_resumes(tpu, tmp_path):
    (tmp_path / "fails").write_text("PREEMPTED\n")
    code, err, calls = tpu("train", "--config", "x", SHARE="10.0.0.2:/runs")
    assert code == 0 and "mine was preempted; taking another" in err
    assert verbs(calls) == [*BEGIN, *TRAIN, "delete", *BEGIN, *TRAIN]


def test_failed_training_on_a_healthy_tpu_is_not_repeated(tpu, tmp_path):
    (tmp_path / "fails").write_text("READY\n")
    code, err, calls = tpu("train", "--config", "x")
    assert code == 1 and "training failed on a TPU that is well" in err
    assert verbs(calls) == ["create", "scp", "ssh", "ssh"]


def test_invalid_share_is_rejected(start):
    names = {"NAME": "mine", "ZONE": "here", "SHARE": "10.0.0.2:/a; b"}
    code, _, err = finish(start("tpu.sh", "train", "--config", "x", **names))
    assert code == 1 and "is not HOST:/PATH" in err


def test_jobset_settings_agree_with_each_other():
    yaml = pytest.importorskip("yaml")
    jobset = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    job = jobset["spec"]["replicatedJobs"][0]
    pods = job["template"]["spec"]
    container = pods["template"]["spec"]["containers"][0]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert pods["parallelism"] == pods["completions"] == int(variables["JAX_NUM_PROCESSES"])
    name, port = jobset["metadata"]["name"], container["ports"][0]["containerPort"]
    assert variables["JAX_COORDINATOR_ADDRESS"] == f"{name}-{job['name']}-0-0.{name}:{port}"
    config = container["args"][1].split(":")[0]
    assert (ROOT / config).is_file()
    claims = {volume["name"] for volume in pods["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= claims


# --- The image -----------------------------------------------------------------------------------


def enters_the_image(name):
    """Tells whether `.dockerignore` lets a file or folder at the top of the checkout in."""
    enters = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        # The last matching line decides; a comment matches nothing.
        if fnmatchcase(name, line.removeprefix("!")):
            enters = line.startswith("!")
    return enters


def test_image_contains_no_data():
    ignored = re.findall(r"^/(.+)/$", (ROOT / ".gitignore").read_text(), re.MULTILINE)
    assert {"runs", "datasets", "weights"} <= set(ignored)
    entering = [name for name in (*ignored, ".git", "a-corpus") if enters_the_image(name)]
    assert not entering


def test_image_contains_everything_that_is_installed_and_run():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = ["pyproject.toml", "auface_jax", project["readme"], *project["license-files"]]
    assert "version" not in project.get(
        "dynamic", ()
    )  # a dynamic version may need git, which the image lacks
    needed += re.findall(r"-c (\S+)", (LAUNCH / "Dockerfile").read_text())
    needed += re.findall(r"(\w+)/\w+\.py:", (LAUNCH / "jobset.yaml").read_text())
    assert {"constraints.txt", "configs"} <= set(needed)
    assert all((ROOT / name).exists() and enters_the_image(name) for name in needed), needed

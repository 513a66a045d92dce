"""Several processes that train as one run: how they find each other, and how they end together.

Every process runs the same command. Who belongs to the run is told by flags, by the environment or
by what started them; the first process is the coordinator, at an address that all of them reach.
Checkpoints need a folder that all of them see.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import jax

# A process that was not heard of for so long is lost, and all others end.
HEARTBEAT_SECONDS = 60
# How long a process that is done, or that failed, waits for the others to come to their ends.
SHUTDOWN_SECONDS = 120


def join(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    detect: bool = False,
) -> None:
    """Joins the other processes of this run, where there are any; call it before all use of JAX.

    What the arguments leave open is taken from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
    JAX_PROCESS_ID; else Slurm's `srun`, Open MPI's `mpirun` and GKE's TPU pods tell it, when they
    started more than one process.

    Args:
      coordinator_address: HOST:PORT of process 0.
      num_processes: of the run.
      process_id: of this one, from 0.
      detect: ask JAX for all of it, as a TPU pod outside GKE needs: its metadata server knows.

    Raises:
      ValueError: not all of it is known, or a number makes no sense.
      RuntimeError: the devices of this process are in use already, or the others did not come.
    """
    address = coordinator_address or os.environ.get("JAX_COORDINATOR_ADDRESS")
    count = _number("--num_processes", num_processes, "JAX_NUM_PROCESSES")
    index = _number("--process_id", process_id, "JAX_PROCESS_ID")
    seconds = {
        "heartbeat_timeout_seconds": HEARTBEAT_SECONDS,
        "shutdown_timeout_seconds": SHUTDOWN_SECONDS,
    }
    if (address, count, index) == (None, None, None):
        if detect or _started_together():
            jax.distributed.initialize(**seconds)
        return
    if count is None:
        count = _number("", None, "OMPI_COMM_WORLD_SIZE")
        index = _number("", index, "OMPI_COMM_WORLD_RANK")
    missing = [
        name
        for name, value in (
            ("--coordinator_address or JAX_COORDINATOR_ADDRESS", address),
            ("--num_processes or JAX_NUM_PROCESSES", count),
            ("--process_id or JAX_PROCESS_ID", index),
        )
        if value is None
    ]
    if missing:
        raise ValueError(f"a run of several processes needs {', '.join(missing)} as well")
    if not 0 <= index < count:
        raise ValueError(f"process {index} of {count}: expected 0 to {count - 1}")
    if not address.rpartition(":")[2].isdigit() or ":" not in address:
        raise ValueError(f"coordinator address {address!r}: expected HOST:PORT")
    if count > 1:
        jax.distributed.initialize(
            address, count, index, cluster_detection_method="deactivate", **seconds
        )


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Ends the process when another one is lost in the midst of the block.

    One of several ends at once: the usual way out waits for the others, which may be waiting for
    this one in the middle of a step.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # A step that runs in the caller's thread raises a ValueError when a peer is gone.
        of_a_collective = isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)
        if jax.process_count() == 1 or not of_a_collective:
            raise
        end(
            f"another process of this run was lost, or a device failed: {error}\nStart all of them "
            "again with the same command: the run goes on from its last checkpoint"
        )


def end(message: str) -> NoReturn:
    """Ends this process with an error, without waiting for the others of its run."""
    if jax.process_count() == 1:
        sys.exit(message)
    sys.stdout.flush()
    print(f"process {jax.process_index()}: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def _number(flag: str, given: int | None, variable: str) -> int | None:
    """The flag's value, or else the environment's."""
    if given is not None or variable not in os.environ:
        return given
    try:
        return int(os.environ[variable])
    except ValueError as error:
        instead = f"; set it right or give {flag}" if flag else ""
        raise ValueError(
            f"{variable}={os.environ[variable]!r} is not a whole number{instead}"
        ) from error


def _started_together() -> bool:
    """Whether Slurm, Open MPI or GKE started this process as one of several.

    Raises:
      ValueError: an Open MPI that does not say where its first process is (version 5 does not).
    """
    if "SLURM_STEP_NODELIST" in os.environ:
        return (_number("", None, "SLURM_NTASKS") or 1) > 1
    if (_number("", None, "OMPI_COMM_WORLD_SIZE") or 1) > 1:
        if "OMPI_MCA_orte_hnp_uri" not in os.environ:
            raise ValueError(
                "this Open MPI does not tell where its first process runs; give all processes "
                "--coordinator_address HOST:PORT, HOST being that of rank 0"
            )
        return True
    return "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")

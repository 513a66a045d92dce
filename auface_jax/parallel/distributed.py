"""Start and common end of the processes that train one run together.

Every process runs the same command. Flags, the environment or the launcher tell each process its
number; the first process is the coordinator, at an address that all processes can reach. All
processes must see the folder of the checkpoints.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import jax

# A process that sends no heartbeat for this long counts as lost, and all others end.
HEARTBEAT_SECONDS = 60
# Time that a process which has finished or failed waits for the others to end.
SHUTDOWN_SECONDS = 120


def join(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    detect: bool = False,
) -> None:
    """Joins the other processes of this run, if there are any; call it before any use of JAX.

    Missing arguments are read from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID,
    or from Slurm's `srun`, Open MPI's `mpirun` or GKE's TPU pods, if they started more than one
    process.

    Args:
      coordinator_address: HOST:PORT of process 0.
      num_processes: number of processes of the run.
      process_id: number of this process, from 0.
      detect: whether JAX detects all of these, from the metadata server of a TPU pod outside GKE.

    Raises:
      ValueError: some of these are unknown, or a number is out of range.
      RuntimeError: the devices of this process are in use, or other processes did not join.
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
    """Ends this process when another process of the run is lost during the block.

    It ends at once: a regular exit would wait for the other processes, which may be waiting for
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
    """Ends this process with an error message, without waiting for the others of its run."""
    if jax.process_count() == 1:
        sys.exit(message)
    sys.stdout.flush()
    print(f"process {jax.process_index()}: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def _number(flag: str, given: int | None, variable: str) -> int | None:
    """Returns the value of a flag, or else that of an environment variable."""
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
    """Returns True if Slurm, Open MPI or GKE started this process as one of several.

    Raises:
      ValueError: Open MPI does not give the address of its first process (version 5 does not).
    """
    if "SLURM_STEP_NODELIST" in os.environ:
        return (_number("", None, "SLURM_NTASKS") or 1) > 1
    if (_number("", None, "OMPI_COMM_WORLD_SIZE") or 1) > 1:
        if "OMPI_MCA_orte_hnp_uri" not in os.environ:
            raise ValueError(
                "this Open MPI does not give the address of its first process; give all processes "
                "--coordinator_address HOST:PORT, where HOST is that of rank 0"
            )
        return True
    return "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")

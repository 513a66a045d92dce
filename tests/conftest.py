"""Settings for every test; the environment must be set before anything imports jax."""

import gc
import os
import resource
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Two simulated devices let the sharding tests run anywhere. Programs this small take longer to
# compile than to run, hence level 0, the older emitters, which take half the time where JAX still
# has them, and a cache of every compiled program that outlives the run.
# Flags are part of the cache's keys: a worker process inherits them and must not add them again.
wanted = ["--xla_force_host_platform_device_count=2", "--xla_backend_optimization_level=0"]
# The environment of Apache Beam has no jax.
if find_spec("jax") and version("jax").startswith("0.10."):
    wanted.append("--xla_cpu_use_fusion_emitters=false")  # later ones end at a flag that is gone
flags = os.environ.get("XLA_FLAGS", "").split()
flags += [flag for flag in wanted if flag not in flags]
os.environ["XLA_FLAGS"] = " ".join(flags)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# No test may reach for the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# The same examples on every run, and no failure because a shared machine was slow. `make test-all`
# takes the thorough profile.
repeatable = {"derandomize": True, "database": None, "deadline": None}
health = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("quick", max_examples=20, suppress_health_check=health, **repeatable)
settings.register_profile("thorough", max_examples=200, suppress_health_check=health, **repeatable)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """Drops compiled programs after a file where this process has grown past 4 GiB.

    Thousands of programs would otherwise stay until the end: two workers need 10 GiB and more.
    """
    yield
    pages = Path("/proc/self/statm")
    if "jax" in sys.modules and pages.exists():
        if int(pages.read_text().split()[1]) * resource.getpagesize() > 4 * 2**30:
            sys.modules["jax"].clear_caches()
            gc.collect()


def pytest_collection_modifyitems(items):
    """Begins with the files that take longest, so that no worker is left alone with them."""
    long = ("end_to_end", "reproduction", "commands", "evaluation", "training", "parallel")
    items.sort(key=lambda item: item.path.parent.name not in long)

"""Steps that went wrong end the run or leave no trace, as the config says; a few can be traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from auface_jax.guard import Guard
from auface_jax.profiling import Profile
from auface_jax.state import TrainState


def guard(action="skip", grad_norm=0.0, patience=3):
    return Guard(ConfigDict({"action": action, "grad_norm": grad_norm, "patience": patience}))


def state():
    return TrainState(
        step=jnp.int32(4),
        params=jnp.float32([1.0, 2.0]),
        opt_state={"count": jnp.int32(4)},
        ema_params=jnp.float32([0.5, 0.5]),
        variables={},
    )


def step(state, frozen, batch, rng):
    """Whose loss and gradient are what the batch says."""
    after = jax.tree.map(lambda leaf: leaf + 1, state)
    return after, {"loss": batch[0], "grad_norm": batch[1]}


@pytest.mark.parametrize(
    ("loss", "norm", "limit", "skipped"),
    [
        (1.0, 2.0, 0.0, False),
        (1.0, 1e30, 0.0, False),
        (1.0, 2.0, 2.0, False),
        (1.0, 2.1, 2.0, True),
        (np.nan, 2.0, 0.0, True),
        (1.0, np.inf, 0.0, True),
        (1.0, np.nan, 2.0, True),
    ],
)
def test_a_wrong_update_leaves_nothing_but_its_number(loss, norm, limit, skipped):
    batch = jnp.float32([loss, norm])
    after, metrics = jax.jit(guard(grad_norm=limit).guarded(step))(state(), {}, batch, None)
    free, _ = step(state(), {}, batch, None)
    wanted = state().replace(step=jnp.int32(5)) if skipped else free
    jax.tree.map(np.testing.assert_array_equal, after, wanted)
    assert metrics["skipped"] == skipped


def test_where_the_run_is_to_stop_the_step_is_the_tasks_own():
    assert guard("stop").guarded(step) is step
    assert guard("stop").report() == {}


def test_skipped_steps_are_counted_once_a_report():
    watch = guard()
    for number, skipped in enumerate([0.0, 1.0, 1.0, 0.0, 1.0], 1):
        for _ in range(2):  # as training does where it reports
            watch.check(number, {"loss": np.nan, "grad_norm": 1.0, "skipped": skipped})
    assert watch.report() == {"skipped_steps": 3.0}
    assert watch.report() == {"skipped_steps": 0.0}


def test_too_many_skipped_in_a_row_end_the_run():
    watch = guard(patience=2)
    watch.check(1, {"loss": np.nan, "skipped": 1.0})
    with pytest.raises(FloatingPointError, match=r"2 steps in a row .* at step 2 \(loss=nan, skip"):
        watch.check(2, {"loss": np.nan, "skipped": 1.0})


def test_a_gradient_too_long_stops_the_run_that_is_to_stop():
    watch = guard("stop", grad_norm=5.0)
    assert watch.check(1, {"loss": jnp.ones(()), "grad_norm": 5.0}) == {"loss": 1, "grad_norm": 5}
    with pytest.raises(FloatingPointError, match=r"guard.grad_norm=5 at step 2 \(grad_norm=6, l"):
        watch.check(2, {"loss": 1.0, "grad_norm": 6.0})
    with pytest.raises(FloatingPointError, match="the loss is inf at step 3"):
        watch.check(3, {"loss": np.inf, "grad_norm": 1.0})


def test_a_guard_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="guard.action='ignore' is not one of stop, skip"):
        guard("ignore")
    with pytest.raises(ValueError, match="guard.grad_norm is -1.0 and guard.patience 0"):
        guard(grad_norm=-1.0, patience=0)


def test_the_steps_asked_for_are_traced(tmp_path):
    profile = Profile(tmp_path, "2-3")
    for number in range(1, 5):
        profile.before(number)
        metrics = {"loss": jnp.ones(()) + number}
        profile.after(number, metrics)
        assert any(tmp_path.rglob("*.xplane.pb")) == (number >= 3)
    profile.close()
    with pytest.raises(ValueError, match="--profile_steps=9: expected FIRST-LAST"):
        Profile(tmp_path, "9")
    Profile(tmp_path, None).before(1)

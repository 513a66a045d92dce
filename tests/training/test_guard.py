"""The guard against bad steps, update ratios, and profiles of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from auface_jax.training.guard import SPIKE_WARMUP, Guard
from auface_jax.training.profiling import Profile
from auface_jax.training.state import TrainState, update_ratio


def guard(action="skip", grad_norm=0.0, patience=3, spike=0.0):
    config = {"action": action, "grad_norm": grad_norm, "patience": patience, "spike": spike}
    return Guard(ConfigDict(config))


def state():
    return TrainState(
        step=jnp.int32(4),
        params=jnp.float32([1.0, 2.0]),
        opt_state={"count": jnp.int32(4)},
        ema_params=jnp.float32([0.5, 0.5]),
        variables={},
    )


def step(state, frozen, batch, rng):
    """Makes a step whose loss and gradient norm are the two numbers in the batch."""
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
def test_skipped_update_changes_only_the_step_number(loss, norm, limit, skipped):
    batch = jnp.float32([loss, norm])
    after, metrics = jax.jit(guard(grad_norm=limit).guarded(step))(state(), {}, batch, None)
    free, _ = step(state(), {}, batch, None)
    wanted = state().replace(step=jnp.int32(5)) if skipped else free
    jax.tree.map(np.testing.assert_array_equal, after, wanted)
    assert metrics["skipped"] == skipped


def test_action_stop_leaves_the_step_unwrapped():
    assert guard("stop").guarded(step) is step
    assert guard("stop").report() == {}


def test_report_counts_each_skipped_step_once():
    watch = guard()
    for number, skipped in enumerate([0.0, 1.0, 1.0, 0.0, 1.0], 1):
        for _ in range(2):  # training checks a step twice where it reports
            watch.check(number, {"loss": np.nan, "grad_norm": 1.0, "skipped": skipped})
    assert watch.report() == {"skipped_steps": 3.0}
    assert watch.report() == {"skipped_steps": 0.0}


def test_too_many_skipped_steps_in_a_row_end_the_run():
    watch = guard(patience=2)
    watch.check(1, {"loss": np.nan, "skipped": 1.0})
    with pytest.raises(FloatingPointError, match=r"2 steps in a row .* at step 2 \(loss=nan, skip"):
        watch.check(2, {"loss": np.nan, "skipped": 1.0})


def test_gradient_norm_above_the_limit_stops_the_run():
    watch = guard("stop", grad_norm=5.0)
    assert watch.check(1, {"loss": jnp.ones(()), "grad_norm": 5.0}) == {"loss": 1, "grad_norm": 5}
    with pytest.raises(FloatingPointError, match=r"guard.grad_norm=5 at step 2 \(grad_norm=6, l"):
        watch.check(2, {"loss": 1.0, "grad_norm": 6.0})
    with pytest.raises(FloatingPointError, match="the loss is inf at step 3"):
        watch.check(3, {"loss": np.inf, "grad_norm": 1.0})


@pytest.mark.parametrize("name", ["grad_norm", "grad_norm_discriminator"])
def test_non_finite_gradient_norm_is_bad_at_any_loss(name):
    fine = {"loss": 1.0, "grad_norm": 1.0, "grad_norm_discriminator": 1.0}
    guard("stop").check(1, fine)
    with pytest.raises(FloatingPointError, match=rf"length \({name}\) is nan at step 2 .*=skip"):
        guard("stop").check(2, fine | {name: np.nan})

    def of_two(state, frozen, batch, rng):
        after = jax.tree.map(lambda leaf: leaf + 1, state)
        return after, {metric: jnp.float32(value) for metric, value in batch.items()}

    after, metrics = guard().guarded(of_two)(state(), {}, fine | {name: np.inf}, None)
    assert metrics["skipped"] == 1 and after.params.tolist() == state().params.tolist()
    assert guard().guarded(of_two)(state(), {}, fine, None)[1]["skipped"] == 0


def test_invalid_guard_options_are_rejected():
    with pytest.raises(ValueError, match="guard.action='ignore' is not one of stop, skip"):
        guard("ignore")
    with pytest.raises(ValueError, match="guard.grad_norm is -1.0 and guard.patience 0"):
        guard(grad_norm=-1.0, patience=0)
    for spike in (-2.0, 0.5, 1.0, np.nan):
        with pytest.raises(ValueError, match=f"guard.spike is {spike}; expected 0, or more than 1"):
            guard(spike=spike)


def run_norms(watch, norms):
    """Makes a step for each gradient norm in `norms`; returns their metrics and the last state."""
    start = watch.watched(lambda rng, batch: state())(None, None)
    guarded, found = jax.jit(watch.guarded(step)), []
    for norm in norms:
        start, metrics = guarded(start, {}, jnp.float32([1.0, norm]), None)
        found.append({name: float(value) for name, value in metrics.items()})
    return found, start


def test_spike_limit_follows_the_running_mean_of_good_steps():
    warm = [1.0, 3.0] * (SPIKE_WARMUP // 2)
    found, after = run_norms(guard(spike=3.0), [100.0, *warm[1:], 20.0, 10.0, 50.0, np.nan, 5.0])
    skipped = [line["skipped"] for line in found]
    # The first twenty norms have the mean (100 + 10 * 3 + 9 * 1) / 20; the limit is 3 times that.
    assert found[SPIKE_WARMUP - 1]["grad_norm_limit"] == np.inf
    assert found[SPIKE_WARMUP]["grad_norm_limit"] == pytest.approx(3 * 139 / 20)
    assert skipped == [0.0] * (SPIKE_WARMUP + 2) + [1.0, 1.0, 0.0]
    # Skipped steps change only the step number.
    assert found[-1]["grad_norm_limit"] == found[-2]["grad_norm_limit"]
    assert int(after.step) == 4 + len(found)
    assert int(after.opt_state["count"]) == 4 + len(found) - 2
    assert int(after.variables["guard"]["steps"]) == len(found) - 2


def test_spike_stops_the_run():
    watch = guard("stop", spike=2.0)
    found, after = run_norms(watch, [1.0] * SPIKE_WARMUP + [1.9, 2.1])
    assert after.variables.keys() == {"guard"}
    watch.check(1, found[-2])
    with pytest.raises(FloatingPointError, match="guard.spike=2 times its mean at step 2"):
        watch.check(2, found[-1])


def test_state_holds_no_running_mean_without_spike():
    for action in ("stop", "skip"):
        assert guard(action).watched(step) is step


def test_update_ratio_is_relative_to_the_parameter_norm():
    before = {"a": jnp.float32([3.0, 4.0]), "b": jnp.zeros(2)}
    after = {"a": jnp.float32([3.0, 4.0]), "b": jnp.float32([0.0, 0.005])}
    assert float(update_ratio(before, after)) == pytest.approx(1e-3)
    assert float(update_ratio(after, after)) == 0.0


def test_profile_traces_the_requested_steps(tmp_path):
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

"""Choice and computation of metrics."""

import numpy as np
import pytest

from auface_jax.evaluation import extraction, run_metrics
from auface_jax.evaluation.evaluator import load_evaluator
from auface_jax.evaluation.population import load_population
from auface_jax.evaluation.results import Results
from auface_jax.metrics.features import Features
from auface_jax.pretrained.convert import Pretrained


def test_inception_score_needs_inception_weights_and_enough_pictures(
    runs, data, tmp_path, monkeypatch
):
    def features(network, batches, *, batch_size):
        images = np.concatenate(list(batches)).astype(np.float64)
        values = images.reshape(len(images), -1)[:, :6]
        return Features("inception", values, values)

    monkeypatch.setattr(extraction, "inception_features", features)
    evaluator = load_evaluator(runs["au_image"], forbidden={})
    network = Pretrained("inception", None, {}, "f" * 64)
    population = load_population(data)
    extractor = extraction.Extractor(evaluator, network, tmp_path)
    monkeypatch.setattr(run_metrics, "IS_SPLITS", len(population))
    wanted, notes = run_metrics.choose_metrics([], population, extractor, None, drawn=False)
    assert "is" in wanted and "identity" in wanted and not any("No IS" in note for note in notes)
    few = load_population(data, limit=5)
    wanted, notes = run_metrics.choose_metrics([], few, extractor, None, drawn=False)
    assert "is" not in wanted and any("No IS: its 9 splits need" in note for note in notes)
    with pytest.raises(ValueError, match="is: its 9 splits need as many pictures, these are 5"):
        run_metrics.choose_metrics(["is"], few, extractor, None, drawn=False)
    seen = run_metrics.extract_all(extractor, population, population, population.image[::-1])
    again = extractor.extract_real(population)  # from the cache, with logits
    np.testing.assert_array_equal(again.features.logits, seen.real.features.logits)
    assert seen.truth is seen.real and seen.reference.features.name == "inception"


def test_lpips_compares_each_picture_with_its_own_real_one(runs, data, monkeypatch):
    def difference(module, variables, pairs, *, batch_size):
        rows = [np.abs(one.astype(float) - other).mean((1, 2, 3)) for one, other in pairs]
        return np.concatenate(rows)

    monkeypatch.setattr(run_metrics.lpips, "paired_distances", difference)
    evaluator = load_evaluator(runs["au_image"], forbidden={})
    population, extractor = load_population(data), extraction.Extractor(evaluator, None, None)
    perceptual = (run_metrics.lpips.LPIPS("vgg16"), None)
    wanted, _ = run_metrics.choose_metrics(
        ["lpips"], population, extractor, perceptual, drawn=False
    )
    assert wanted == {"lpips"}
    found = Results(
        name="real",
        about={},
        population=population,
        truth=population,
        evaluator={"name": "", "kind": "au", "fingerprint": ""},
        text_reader=None,
        seed=0,
    )
    seen = run_metrics.extract_all(extractor, population, population, population.image)
    options = {"reader": None, "made": population.image, "perceptual": perceptual}
    run_metrics.measure(found, seen, wanted, **options)
    ours, floor = (found.distances[answer][0] for answer in ("system", "reference unchanged"))
    assert ours.name == "LPIPS(vgg16)" and ours.value == 0 and ours.count == len(population)
    expected = np.abs(population.reference.astype(float) - population.image).mean()
    assert floor.value == pytest.approx(expected)
    novel = load_population(data, "unseen-novel")
    with pytest.raises(ValueError, match="in no real picture to compare with"):
        run_metrics.choose_metrics(["lpips"], novel, extractor, perceptual, drawn=True)
    small = (run_metrics.lpips.LPIPS("alexnet"), None)
    with pytest.raises(ValueError, match="alexnet needs 35 px, these are 16"):
        run_metrics.choose_metrics(["lpips"], population, extractor, small, drawn=True)

"""Whom the records know to be alike, so that figures can be given apart: is the system as good for
everybody?

A drawn person is what its seed makes of it, so that its skin and its lines of age are known as long
as the code that draws is the same. Photographs know the person alone.
"""

import numpy as np

from auface_jax.data.sources.open_faces import OpenFaces
from auface_jax.evaluation.population import Population
from auface_jax.faces import sampler
from auface_jax.faces.person import Person

SKIN_TONE, AGE, PERSON = "skin tone", "lines of age", "person"

# Individual typology angle, from which on in degrees (Chardon et al. 1991; Del Bino et al. 2013).
_TONES = (("very light", 55), ("light", 41), ("intermediate", 28), ("tan", 10), ("brown", -30))
_DARKEST = "dark"
# Depth of the folds at rest, up to which: drawn ages are even over [0, 1], lines begin at 0.35.
_LINES = (("none", 0.0), ("some", 0.065))
_MOST_LINES = "deep"
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)  # of linear sRGB
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65


def groups(population: Population) -> dict[str, dict[str, np.ndarray]]:
    """Kind -> name of the group -> its rows.

    Person always; skin tone and lines of age where `known_people` knows them.
    """
    subjects = np.array(population.subjects)
    found = {PERSON: {person: np.flatnonzero(subjects == person) for person in population.people}}
    people = known_people(population)
    if people:
        tones = np.array([skin_tone(people[subject]) for subject in subjects])
        lines = np.array([age_lines(people[subject]) for subject in subjects])
        orders = ((SKIN_TONE, tones, (*dict(_TONES), _DARKEST)),)
        orders += ((AGE, lines, (*dict(_LINES), _MOST_LINES)),)
        for kind, of_rows, order in orders:
            rows = {name: np.flatnonzero(of_rows == name) for name in order}
            found[kind] = {name: places for name, places in rows.items() if len(places)}
    return found


def known_people(population: Population) -> dict[str, Person]:
    """The drawn persons of the records; {} where they are not drawn, or by other code."""
    options = population.info["options"]
    if population.info["source"] != "builtin":
        return {}
    source = OpenFaces(
        people=options["people"],
        frames=options["frames"],
        size=options["size"],
        seed=options["seed"],
    )
    if source.options["drawing"] != options["drawing"]:
        return {}
    return {
        subject: sampler.sample_person(
            np.random.default_rng([options["seed"], int(subject[1:]), 0])
        )
        for subject in population.people
    }


def skin_tone(person: Person) -> str:
    """The class of the individual typology angle of somebody's skin, arctan((L* - 50) / b*)."""
    _, y, z = _XYZ @ np.array(person.skin) / _WHITE
    slope = 841 / 108  # of CIELAB's curve, near black
    fy, fz = (np.cbrt(v) if v > 216 / 24389 else slope * v + 16 / 116 for v in (y, z))
    angle = np.degrees(np.arctan2(116 * fy - 66, 200 * (fy - fz)))
    return next((name for name, least in _TONES if angle > least), _DARKEST)


def age_lines(person: Person) -> str:
    """How deep the folds of somebody's face are at rest."""
    return next((name for name, most in _LINES if person.age_lines <= most), _MOST_LINES)

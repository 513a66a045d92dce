"""Groups of records by skin tone, lines of age and person, to report scores of each group.

A drawn person follows from its seed, so that its skin and its lines of age are known as long as the
code that draws is the same. Of photographs only the person is known.
"""

import numpy as np
from jaxtyping import Int

from auface_jax.data.sources.open_faces import OpenFaces
from auface_jax.evaluation.population import Population
from auface_jax.faces import sampler
from auface_jax.faces.person import Person

SKIN_TONE, AGE, PERSON = "skin tone", "lines of age", "person"

# Least individual typology angle of each tone, degrees (Chardon et al. 1991; Del Bino et al. 2013).
_TONES = (("very light", 55), ("light", 41), ("intermediate", 28), ("tan", 10), ("brown", -30))
_DARKEST = "dark"
# Largest depth of the folds at rest in each group. Drawn ages are uniform over [0, 1], and lines
# begin at 0.35.
_LINES = (("none", 0.0), ("some", 0.065))
_MOST_LINES = "deep"
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)  # CIE XYZ of linear sRGB
_WHITE = np.array([0.95047, 1.0, 1.08883])  # of the illuminant D65, in XYZ


def groups(population: Population) -> dict[str, dict[str, Int[np.ndarray, " K"]]]:
    """Groups the records of a population.

    Records are always grouped by person, and by skin tone and lines of age where `known_people`
    knows these.

    Returns:
      Kind of group -> name of the group -> indices of its records.
    """
    subjects = np.array(population.subjects)
    found = {PERSON: {person: np.flatnonzero(subjects == person) for person in population.people}}
    people = known_people(population)
    if people:
        tones = np.array([skin_tone(people[subject]) for subject in subjects])
        lines = np.array([age_lines(people[subject]) for subject in subjects])
        orders = ((SKIN_TONE, tones, (*dict(_TONES), _DARKEST)),)
        orders += ((AGE, lines, (*dict(_LINES), _MOST_LINES)),)
        for kind, of_records, order in orders:
            members = {name: np.flatnonzero(of_records == name) for name in order}
            found[kind] = {name: indices for name, indices in members.items() if len(indices)}
    return found


def known_people(population: Population) -> dict[str, Person]:
    """Returns the drawn people of the records; {} for photographs or other drawing code."""
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
    """Classifies the individual typology angle of a person's skin, arctan((L* - 50) / b*)."""
    _, y, z = _XYZ @ np.array(person.skin) / _WHITE
    slope = 841 / 108  # of CIELAB's curve, near black
    fy, fz = (np.cbrt(v) if v > 216 / 24389 else slope * v + 16 / 116 for v in (y, z))
    angle = np.degrees(np.arctan2(116 * fy - 66, 200 * (fy - fz)))
    return next((name for name, least in _TONES if angle > least), _DARKEST)


def age_lines(person: Person) -> str:
    """Classifies the depth of the folds in a person's face at rest."""
    return next((name for name, most in _LINES if person.age_lines <= most), _MOST_LINES)

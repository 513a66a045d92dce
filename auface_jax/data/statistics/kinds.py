"""The kinds of constructs that statistics count."""

from auface_jax import facs

# Kinds in ascending order: an entry is named after the last kind among its constructs.
SINGLE, SYNERGISTIC, ANTAGONISTIC = KINDS = ("single", "synergistic", "antagonistic")
# Name of a construct -> its kind.
KIND_OF = {unit.code: SINGLE for unit in facs.ACTION_UNITS} | {
    interaction.name: interaction.kind for interaction in facs.INTERACTIONS
}

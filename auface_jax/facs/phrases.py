"""Phrases for active units and for combinations of them: tables for `paraphrase`.

Movements are composed of the words of `synonyms`; the names of muscles, visible signs and everyday
verbs are listed here. A verb is written as "base third gerund"; the words after " + " follow it.
"""

import dataclasses

from auface_jax.facs.synonyms import (
    ARCHED,
    BETWEEN_BROWS,
    BROW,
    CHEEKS,
    CHIN,
    CORNERS,
    CURLED,
    DOWN,
    EYES,
    INNER_BROW,
    LIDS,
    LIPS,
    LOWER_LIP,
    MOUTH,
    NARROWED,
    OUT,
    OUTER_BROW,
    PRESSED,
    PUCKERED,
    THIN,
    TIGHT,
    TOGETHER,
    TUCKED,
    UP,
    UPPER_LIP,
    WHOLE_BROW,
    Motion,
    Region,
)


@dataclasses.dataclass(frozen=True)
class Phrases:
    """Phrases which state that a unit, or a combination of units, is active.

    Attributes:
      movements: pairs of a region and its motion; each pair alone is enough.
      muscles: names of the muscles that contract.
      signs: visible signs as nouns, such as "dimples".
      acts: everyday verbs, as "base third gerund".
    """

    movements: tuple[tuple[Region, Motion], ...] = ()
    muscles: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()


PHRASES: dict[tuple[int, ...], Phrases] = {
    (1,): Phrases(
        ((INNER_BROW, UP),),
        ("medial frontalis", "the medial part of frontalis", "frontalis medially",
         "the inner forehead muscle", "frontalis, medial portion"),
        ("inner brow raise", "raised inner brows", "slanted eyebrows", "brows tilted up inside",
         "creases at the center of the forehead"),
    ),
    (2,): Phrases(
        ((OUTER_BROW, UP), (OUTER_BROW, UP), (OUTER_BROW, ARCHED)),
        ("lateral frontalis", "the lateral part of frontalis", "frontalis laterally",
         "the outer forehead muscle"),
        ("outer brow raise", "raised outer brows", "arched outer brows", "winged eyebrows",
         "creases at the sides of the forehead"),
    ),
    (4,): Phrases(
        ((BROW, DOWN), (BROW, TOGETHER), (BETWEEN_BROWS, TOGETHER)),
        ("corrugator", "corrugator supercilii", "procerus and corrugator", "the corrugators",
         "the frown muscle", "depressor supercilii"),
        ("lowered brow", "knitted brow", "furrowed brow", "heavy brow", "brow furrow",
         "frown lines", "a frowning brow", "a crease between the brows", "angry eyebrows",
         "stern brows", "eyebrow frown", "a scowl"),
        ("frown frowns frowning", "scowl scowls scowling", "glower glowers glowering",
         "furrow furrows furrowing + the brow", "knit knits knitting + the eyebrows"),
    ),
    (6,): Phrases(
        ((CHEEKS, UP),),
        ("orbicularis oculi, orbital part", "the orbital eye muscle",
         "orbital orbicularis oculi", "the outer eye ring muscle", "orbicularis oculi orbitally"),
        ("crow's feet", "raised cheeks", "bulging cheeks", "high cheeks", "puffed cheeks",
         "wrinkles beside the eyes", "lines at the outer eye corners", "wrinkled eye corners",
         "bunched cheeks", "crinkles around the eyes", "crinkled eye corners", "cheek raise",
         "lateral canthal lines", "folds under the eyes", "pouches under the eyes"),
    ),
    (7,): Phrases(
        ((LIDS, TIGHT), (LIDS, TIGHT), (EYES, NARROWED)),
        ("orbicularis oculi, palpebral part", "the palpebral eye muscle",
         "palpebral orbicularis", "the lid muscle", "the inner eye ring muscle"),
        ("tight lids", "narrowed eyes", "squinted eyes", "a squint", "lid tension", "narrow eyes",
         "tense eyelids", "squinty eyes", "slits for eyes", "straightened lower lids",
         "lid tightening", "hard eyes", "a narrow stare"),
        ("squint squints squinting", "narrow narrows narrowing + the eyes",
         "peer peers peering", "stare stares staring + with hard eyes"),
    ),
    (10,): Phrases(
        ((UPPER_LIP, UP), (UPPER_LIP, UP), (UPPER_LIP, CURLED)),
        ("levator labii", "levator labii superioris", "the lip levator", "the upper lip levator"),
        ("raised upper lip", "a sneer", "a lip curl", "a snarl", "curled upper lip",
         "upper lip raise", "bared upper teeth", "deep nasolabial folds", "a look of disgust",
         "top teeth showing", "disgust"),
        ("sneer sneers sneering", "snarl snarls snarling",
         "curl curls curling + the lip", "show shows showing + the upper teeth"),
    ),
    (12,): Phrases(
        ((CORNERS, UP), (CORNERS, OUT), (MOUTH, OUT)),
        ("zygomaticus", "zygomaticus major", "the zygomatic muscle", "the smile muscle",
         "zygomaticus on both sides"),
        ("a smile", "a grin", "smile", "grin", "smiling mouth", "upturned mouth", "smiling lips",
         "upturned lip corners", "zygomatic smile", "a big smile", "a broad grin", "a wide smile"),
        ("smile smiles smiling", "grin grins grinning", "smile smiles smiling", "laugh laughs "
         "laughing"),
    ),
    (14,): Phrases(
        ((CORNERS, TUCKED), (CORNERS, TUCKED), (CHEEKS, TUCKED)),
        ("buccinator", "the buccinators", "the cheek muscle buccinator"),
        ("dimples", "dimples beside the mouth", "dimples in the cheeks", "cheek dimples",
         "dimpled cheeks", "dimpling", "dimpled corners", "tucked mouth corners",
         "dimples at the lip corners", "buccal dimples", "small pits by the mouth",
         "pits at the mouth corners"),
        ("dimple dimples dimpling", "make makes making + dimples"),
    ),
    (15,): Phrases(
        ((CORNERS, DOWN),),
        ("depressor anguli oris", "triangularis", "the corner depressor",
         "the depressors of the mouth angle"),
        ("downturned mouth", "drooping mouth", "sad mouth", "mouth frown", "drooping lip corners",
         "a mouth turned down", "a droopy mouth", "downturned corners", "sagging lip corners",
         "an upside-down smile"),
        ("frown frowns frowning + with the mouth", "turn turns turning + down the mouth"),
    ),
    (17,): Phrases(
        ((CHIN, UP), (CHIN, PUCKERED), (LOWER_LIP, UP)),
        ("mentalis", "the chin muscle", "mentalis on both sides"),
        ("raised chin", "wrinkled chin", "bunched chin", "puckered chin", "chin raise",
         "a knotted chin", "pitted chin", "chin boss elevation", "jutting lower lip",
         "lower lip pushed up", "dimpled chin skin", "a quivering chin"),
    ),
    (23,): Phrases(
        ((LIPS, THIN),),
        ("orbicularis oris tightening", "tense orbicularis oris", "the lip ring muscle tightening"),
        ("tight lips", "thin lips", "narrow lips", "taut lips", "lip tightening", "thinned lips",
         "rolled-in lips", "tight mouth", "tense lips", "narrowed red of the lips", "a thin mouth",
         "tightened lips", "tight-lipped mouth"),
    ),
    (24,): Phrases(
        ((LIPS, PRESSED),),
        ("orbicularis oris pressing", "orbicularis oris compression",
         "the lip ring muscle pressing"),
        ("pressed lips", "lips pressed together", "lip press", "compressed lips", "sealed lips",
         "lips squeezed together", "lip compression", "a clamped mouth", "a pressed mouth",
         "lips shut hard"),
    ),
    (1, 2): Phrases(
        ((WHOLE_BROW, UP), (WHOLE_BROW, UP), (WHOLE_BROW, ARCHED)),
        ("frontalis", "the whole frontalis", "frontalis over its full width",
         "the forehead muscle"),
        ("raised eyebrows", "raised brows", "high eyebrows", "surprised eyebrows",
         "forehead wrinkles", "horizontal forehead lines", "brow raise", "eyebrow raise",
         "a surprised look"),
        ("look looks looking + surprised", "raise raises raising + the eyebrows"),
    ),
    (1, 4): Phrases(
        signs=("worried brow", "sad brow", "anxious brow", "worried eyebrows", "sad eyebrows",
               "oblique brows", "a worried frown", "a troubled brow"),
        acts=("look looks looking + worried", "look looks looking + anxious"),
    ),
    (1, 2, 4): Phrases(
        signs=("fearful brow", "scared eyebrows", "frightened eyebrows", "raised and knitted brows",
               "brows high and drawn together"),
        acts=("look looks looking + scared",),
    ),
    (4, 7): Phrases(
        signs=("a glare", "an angry stare", "angry eyes", "a hard stare"),
        acts=("glare glares glaring", "stare stares staring + angrily"),
    ),
    (6, 7): Phrases(
        (),
        ("orbicularis oculi", "the whole orbicularis oculi", "all of orbicularis oculi"),
        ("eyes screwed up", "a wince around the eyes", "eyes scrunched up"),
        ("wince winces wincing", "screw screws screwing + up the eyes"),
    ),
    (6, 12): Phrases(
        signs=("genuine smile", "Duchenne smile", "a real smile", "a true smile", "a warm smile",
               "a smile that reaches the eyes", "a happy smile", "a joyful face"),
        acts=("beam beams beaming", "smile smiles smiling + genuinely",
              "smile smiles smiling + warmly", "smile smiles smiling + with the eyes"),
    ),
    (12, 15): Phrases(
        signs=("a suppressed smile", "a smile held down", "a reluctant smile", "a sad smile",
               "a controlled smile", "a bittersweet smile", "a smile pulled down at its ends",
               "mouth corners between up and down",
               "a fight between smile and frown at the mouth"),
        acts=("hold holds holding + back a smile", "smile smiles smiling + sadly",
              "suppress suppresses suppressing + a smile", "fight fights fighting + a smile"),
    ),
    (15, 17): Phrases(
        signs=("a pout", "pouting mouth", "sulking mouth", "a sulky face", "an inverted U mouth"),
        acts=("pout pouts pouting", "sulk sulks sulking"),
    ),
    (23, 24): Phrases(signs=("lips tight and pressed", "tightly pressed thin lips")),
    (12, 24): Phrases(signs=("a closed-lip smile pressed shut", "a smile with sealed lips")),
    (12, 23): Phrases(signs=("a tight smile", "a thin-lipped smile", "a tight-lipped smile")),
}  # fmt: skip

NEUTRAL = (
    "neutral face", "a neutral expression", "no expression", "expressionless", "blank look",
    "a blank expression", "relaxed face", "face at rest", "nothing moves", "no movement",
    "all muscles relaxed", "no activity", "calm, still face", "an empty stare",
    "the features are still", "all facial muscles inactive", "resting face",
    "no muscle contracts", "no action units", "the face does nothing", "deadpan", "straight face",
    "unmoved", "relax", "keep your face still", "let everything go slack",
    "your face is relaxed", "she shows no expression", "he shows nothing", "no visible activity",
    "all quiet", "a completely still face",
)  # fmt: skip
ELSEWHERE = (
    "the rest of the face is relaxed", "nothing else moves", "no other movement",
    "everything else at rest", "other regions inactive", "otherwise neutral",
    "all other parts stay put", "the rest is still", "that is all",
)  # fmt: skip

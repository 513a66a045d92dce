"""Words for the parts of a face and their movements: tables for `paraphrase`.

The words are those of anatomy, of clinical notes and of everyday speech. A transitive verb is
written as "base participle gerund", an intransitive one as "plural singular gerund"; the words
after " + " follow the verb.
"""

import dataclasses

# --- Motions of regions ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Motion:
    """Words for one motion of a region.

    Attributes:
      transitive: verbs with the region as their object: "raise" a region.
      intransitive: verbs with the region as their subject: a region "rises".
      states: words for the region after "is" or "are", besides the participles of `transitive`.
      nouns: nouns for the motion: "elevation" of a region.
    """

    transitive: tuple[str, ...]
    intransitive: tuple[str, ...]
    states: tuple[str, ...]
    nouns: tuple[str, ...]


UP = Motion(
    (
        "raise raised raising", "lift lifted lifting", "elevate elevated elevating",
        "hoist hoisted hoisting", "pull pulled pulling + up", "pull pulled pulling + upward",
        "draw drawn drawing + up", "draw drawn drawing + upward", "push pushed pushing + up",
        "push pushed pushing + upward", "tug tugged tugging + up", "hike hiked hiking + up",
        "move moved moving + up", "bring brought bringing + up", "displace displaced displacing + "
        "upward", "displace displaced displacing + superiorly", "shift shifted shifting + upward",
    ),
    (
        "rise rises rising", "go goes going + up", "climb climbs climbing", "move moves moving + "
        "up", "lift lifts lifting", "shoot shoots shooting + up", "travel travels traveling + up",
    ),
    ("up", "high", "higher than usual", "upward", "way up", "up high"),
    ("elevation", "raising", "lifting", "upward movement", "upward pull", "upward displacement",
     "superior displacement", "a lift"),
)  # fmt: skip
DOWN = Motion(
    (
        "lower lowered lowering", "depress depressed depressing", "drop dropped dropping",
        "pull pulled pulling + down", "pull pulled pulling + downward",
        "draw drawn drawing + down", "drag dragged dragging + down", "turn turned turning + down",
        "push pushed pushing + down", "tug tugged tugging + down", "bring brought bringing + down",
        "displace displaced displacing + downward", "displace displaced displacing + inferiorly",
        "move moved moving + down",
    ),
    (
        "sink sinks sinking", "drop drops dropping", "droop droops drooping", "sag sags sagging",
        "go goes going + down", "fall falls falling", "descend descends descending",
        "hang hangs hanging", "turn turns turning + down", "point points pointing + down",
        "move moves moving + down", "dip dips dipping",
    ),
    ("down", "low", "lower than usual", "downward", "droopy", "sunken", "downturned"),
    ("depression", "lowering", "dropping", "downward movement", "downward pull",
     "downward displacement", "inferior displacement", "a droop"),
)  # fmt: skip
TOGETHER = Motion(
    (
        "knit knitted knitting", "knit knitted knitting + together", "furrow furrowed furrowing",
        "pinch pinched pinching", "pinch pinched pinching + together",
        "draw drawn drawing + together", "pull pulled pulling + together",
        "squeeze squeezed squeezing + together", "bring brought bringing + together",
        "bunch bunched bunching + together", "crease creased creasing",
        "adduct adducted adducting", "scrunch scrunched scrunching",
        "move moved moving + inward",
    ),
    ("come comes coming + together", "converge converges converging", "knit knits knitting",
     "move moves moving + inward", "crowd crowds crowding + together"),
    ("close together", "closer together", "together", "contracted"),
    ("adduction", "knitting", "furrowing", "pinching", "medial displacement", "contraction"),
)  # fmt: skip
ARCHED = Motion(
    ("arch arched arching", "cock cocked cocking", "flick flicked flicking + up"),
    ("arch arches arching", "wing wings winging + up", "curve curves curving + up"),
    ("arched", "highly arched"),
    ("arching",),
)
TIGHT = Motion(
    ("tighten tightened tightening", "tense tensed tensing", "narrow narrowed narrowing",
     "stiffen stiffened stiffening", "harden hardened hardening", "contract contracted contracting",
     "strain strained straining", "scrunch scrunched scrunching"),
    ("tighten tightens tightening", "tense tenses tensing", "stiffen stiffens stiffening",
     "narrow narrows narrowing", "close closes closing + a little"),
    ("tight", "tense", "taut", "stiff", "hard", "firm", "under tension"),
    ("tightening", "tension", "tensing", "tightness", "hardening", "contraction"),
)  # fmt: skip
NARROWED = Motion(
    ("narrow narrowed narrowing", "squint squinted squinting", "squeeze squeezed squeezing",
     "close closed closing + halfway", "squeeze squeezed squeezing + to slits",
     "tighten tightened tightening", "screw screwed screwing + up",
     "scrunch scrunched scrunching + up"),
    ("narrow narrows narrowing", "squint squints squinting", "shrink shrinks shrinking",
     "narrow narrows narrowing + to slits", "become becomes becoming + small"),
    ("narrow", "squinty", "slits", "small", "just slits", "thin slits", "half shut", "nearly shut"),
    ("narrowing", "squinting", "a reduction", "partial closure"),
)  # fmt: skip
THIN = Motion(
    ("tighten tightened tightening", "narrow narrowed narrowing", "thin thinned thinning",
     "tense tensed tensing", "roll rolled rolling + in", "roll rolled rolling + inward",
     "stiffen stiffened stiffening", "stretch stretched stretching + thin",
     "pull pulled pulling + tight", "draw drawn drawing + tight", "pull pulled pulling + thin"),
    ("tighten tightens tightening", "tense tenses tensing", "narrow narrows narrowing",
     "go goes going + thin", "go goes going + tight", "thin thins thinning",
     "become becomes becoming + thin", "roll rolls rolling + inward"),
    ("tight", "thin", "narrow", "taut", "tense", "hard", "firm", "stiff", "tight and thin",
     "thin and hard"),
    ("tightening", "narrowing", "thinning", "tension", "tensing", "inward rolling", "tightness"),
)  # fmt: skip
PRESSED = Motion(
    ("press pressed pressing + together", "press pressed pressing", "squeeze squeezed squeezing + "
     "together", "compress compressed compressing", "clamp clamped clamping + together",
     "clamp clamped clamping + shut", "press pressed pressing + shut", "push pushed pushing + "
     "together", "seal sealed sealing", "squash squashed squashing + together",
     "flatten flattened flattening + against each other", "squeeze squeezed squeezing + shut",
     "press pressed pressing + into a line", "jam jammed jamming + together",
     "press pressed pressing + against each other", "force forced forcing + together"),
    ("press presses pressing + together", "push pushes pushing + against each other",
     "clamp clamps clamping + shut", "squeeze squeezes squeezing + together"),
    ("shut tight", "sealed", "flat", "clamped", "firmly shut", "under pressure"),
    ("compression", "pressing", "pressure", "squeezing", "clamping", "firm closure"),
)  # fmt: skip
TUCKED = Motion(
    ("dimple dimpled dimpling", "tuck tucked tucking + in", "tuck tucked tucking + inward",
     "pull pulled pulling + in", "pull pulled pulling + inward", "suck sucked sucking + in",
     "draw drawn drawing + inward", "draw drawn drawing + in", "pinch pinched pinching",
     "tighten tightened tightening", "squeeze squeezed squeezing"),
    ("dimple dimples dimpling", "tighten tightens tightening", "tuck tucks tucking + in",
     "cave caves caving + in"),
    ("dimpled", "tight", "tense", "tucked"),
    ("dimpling", "inward pull", "tucking", "tightening", "inward displacement"),
)  # fmt: skip
OUT = Motion(
    ("pull pulled pulling + up and out", "pull pulled pulling + outward",
     "draw drawn drawing + up and outward", "stretch stretched stretching + outward",
     "pull pulled pulling + back and up", "draw drawn drawing + laterally",
     "displace displaced displacing + up and laterally", "spread spread spreading",
     "pull pulled pulling + wide", "turn turned turning + up", "curl curled curling + up",
     "curve curved curving + up"),
    ("turn turns turning + up", "curl curls curling + up", "go goes going + up and out",
     "spread spreads spreading", "curve curves curving + up", "stretch stretches stretching + "
     "sideways"),
    ("upturned", "up and out", "wide", "smiling"),
    ("lateral pull", "oblique pull", "lateral displacement", "upward and outward pull",
     "lateral traction", "oblique elevation"),
)  # fmt: skip
CURLED = Motion(
    (
        "curl curled curling",
        "curl curled curling + up",
        "wrinkle wrinkled wrinkling + up",
        "bare bared baring",
    ),
    ("curl curls curling", "curl curls curling + up", "shorten shortens shortening"),
    ("curled", "raised toward the nose", "off the upper teeth"),
    ("curling", "retraction"),
)
PUCKERED = Motion(
    ("wrinkle wrinkled wrinkling", "pucker puckered puckering", "bunch bunched bunching",
     "bunch bunched bunching + up", "crinkle crinkled crinkling", "crumple crumpled crumpling",
     "tense tensed tensing", "scrunch scrunched scrunching", "scrunch scrunched scrunching + up",
     "ball balled balling + up"),
    ("wrinkle wrinkles wrinkling", "pucker puckers puckering", "bunch bunches bunching + up",
     "bulge bulges bulging", "tighten tightens tightening", "tremble trembles trembling",
     "quiver quivers quivering"),
    ("wrinkly", "pebbled", "pitted", "bumpy", "rough", "tense", "lumpy"),
    ("wrinkling", "puckering", "bunching", "pitting", "contraction"),
)  # fmt: skip

# --- Regions: plural phrases, then singular ones --------------------------------------------------

Region = tuple[tuple[str, ...], tuple[str, ...]]

INNER_BROW: Region = (
    ("inner brows", "inner eyebrows", "inner ends of the eyebrows", "inner ends of the brows",
     "inner corners of the eyebrows", "inner corners of the brows", "inner parts of the eyebrows",
     "inner halves of the brows", "inner thirds of the brows", "inner tips of the eyebrows",
     "brow heads", "heads of the eyebrows", "medial brows", "medial ends of the brows",
     "middle parts of the eyebrows", "inner edges of the eyebrows", "inner brow corners",
     "eyebrow centers"),
    ("inner brow", "medial brow", "inner part of the brow", "inner portion of each eyebrow",
     "middle of the brow", "center of the brow", "medial portion of the brow",
     "middle of the eyebrows", "medial forehead", "middle of the forehead"),
)  # fmt: skip
OUTER_BROW: Region = (
    ("outer brows", "outer eyebrows", "outer ends of the eyebrows", "outer ends of the brows",
     "outer corners of the eyebrows", "outer corners of the brows", "outer parts of the eyebrows",
     "outer halves of the eyebrows", "outer thirds of the brows", "outer tips of the eyebrows",
     "brow tails", "tails of the eyebrows", "eyebrow tails", "lateral brows",
     "lateral ends of the brows", "outer edges of the eyebrows", "eyebrow tips", "eyebrow ends",
     "ends of the eyebrows", "sides of the eyebrows"),
    ("outer brow", "lateral brow", "outer part of the brow", "outer portion of each eyebrow",
     "lateral portion of the brow", "lateral forehead", "outside of each eyebrow"),
)  # fmt: skip
BROW: Region = (
    ("eyebrows", "brows", "both eyebrows", "both brows", "two eyebrows"),
    ("brow", "brow line", "forehead and brow"),
)
WHOLE_BROW: Region = (
    ("eyebrows", "brows", "both eyebrows", "both brows", "whole eyebrows", "entire brows",
     "inner and outer brows", "eyebrows along their full length"),
    ("whole brow", "entire brow", "complete brow", "brow as a whole", "forehead"),
)  # fmt: skip
BETWEEN_BROWS: Region = (
    ("frown lines", "vertical lines between the brows"),
    ("skin between the eyebrows", "space between the brows", "glabella", "glabellar skin"),
)
CHEEKS: Region = (
    ("cheeks", "both cheeks", "cheek pads", "apples of the cheeks", "cheek muscles"),
    ("cheek area", "malar region", "cheek tissue", "malar tissue", "infraorbital triangle",
     "skin below the eyes", "malar fat pad"),
)  # fmt: skip
LIDS: Region = (
    ("eyelids", "lids", "both lids", "lower lids", "lower eyelids", "lid muscles",
     "upper and lower lids"),
    ("lid margin", "lower eyelid", "palpebral ring", "skin of the lids"),
)  # fmt: skip
EYES: Region = (
    ("eyes", "eye openings", "both eyes", "palpebral fissures", "eye apertures", "lid openings"),
    ("eye opening", "palpebral aperture", "gap between the lids", "gaze"),
)
UPPER_LIP: Region = (
    ("upper lip edges", "sides of the upper lip"),
    ("upper lip", "top lip", "superior lip", "middle of the upper lip", "upper labial border",
     "center of the top lip", "upper lip"),
)  # fmt: skip
CORNERS: Region = (
    ("lip corners", "mouth corners", "corners of the mouth", "corners of the lips",
     "ends of the mouth", "sides of the mouth", "edges of the mouth", "oral commissures",
     "commissures", "labial commissures", "mouth ends", "angles of the mouth", "corners",
     "both mouth corners", "tips of the lips"),
    ("corner of the mouth on either side", "mouth at both ends", "oral angle"),
)  # fmt: skip
MOUTH: Region = (("lips",), ("mouth", "lip line", "mouth line"))
CHIN: Region = (
    ("chin muscles",),
    ("chin", "chin boss", "chin pad", "skin of the chin", "mentum", "tip of the chin",
     "flesh of the chin", "mental region"),
)  # fmt: skip
LOWER_LIP: Region = (
    ("lower lip edges",),
    ("lower lip", "bottom lip", "inferior lip", "underlip"),
)
LIPS: Region = (
    ("lips", "both lips", "red parts of the lips", "lip margins", "upper and lower lips",
     "lip edges"),
    ("mouth", "vermilion", "red of the lips", "oral sphincter", "ring of the mouth"),
)  # fmt: skip

# --- Joiners, asides ------------------------------------------------------------------------------

JOINERS = (
    " and ", ", ", " with ", "; ", ". ", " while ", " plus ", ", and ", " as ", ", with ",
    ", also ", " yet ", " but ", ", but ", " and also ", " together with ", " at the same time as ",
    ". Also ", " along with ", " accompanied by ", " combined with ", ", then ", " over ",
    " against ", ", plus ", " & ", " + ", " / ", " even as ", " though ",
)  # fmt: skip
BEFORE = (
    "looks like", "it seems that", "you can see", "there is", "visible:", "observed:", "note",
    "kind of", "just", "so", "well,", "basically", "the face shows", "this person has", "please",
    "now", "try to", "the subject shows", "the photo shows", "a face with", "a person with",
    "okay,", "evidence of", "here", "imagine", "the patient presents with", "he's got",
    "she's got", "isolated", "bilateral", "simultaneous",
)  # fmt: skip
AFTER = (
    "for a moment", "like a child", "as if on purpose", "in this picture", "on both sides",
    "bilaterally", "at rest elsewhere", "at once", "at the same time", "kind of", "I think",
    "as if something happened", "like in a film", "like a cartoon", "you know", "as usual",
    "and hold it", "simultaneously", "present", "noted", "as though surprised by something",
    "as if to say something", "like that", "or so it seems", "concurrently",
    "as if reading small print", "as if tasting something", "as though hearing news",
)  # fmt: skip
OWNERS = ("the", "his", "her", "their", "this man's", "this woman's", "the person's", "the child's")
PEOPLE = (
    "he", "she", "the person", "the man", "the woman", "the subject", "someone", "the boy",
    "the girl", "the patient",
)  # fmt: skip

# --- Words of one meaning and form: each may replace the others of its group ----------------------

SAME = (
    ("eyebrows", "brows"), ("eyebrow", "brow"), ("eyelids", "lids"), ("eyelid", "lid"),
    ("lip corners", "mouth corners", "corners of the mouth", "corners of the lips",
     "oral commissures", "ends of the mouth", "edges of the mouth"),
    ("the upper lip", "the top lip", "the superior lip"),
    ("the lower lip", "the bottom lip", "the inferior lip"),
    ("chin boss", "chin pad", "chin"),
    ("cheeks", "cheek pads"),
    ("nasolabial furrows", "nasolabial folds", "nasolabial creases", "smile lines",
     "folds from nose to mouth"),
    ("wrinkles", "creases", "lines", "furrows", "folds"), ("wrinkled", "creased", "lined"),
    ("the glabella", "the space between the brows", "the skin between the eyebrows"),
    ("skin below the eyes", "infraorbital skin", "skin under the eyes"),
    ("crow's feet", "wrinkles beside the eyes", "lines at the eye corners"),
    ("raised", "lifted", "elevated", "hoisted", "pulled up", "drawn up", "pushed up", "hiked up"),
    ("rise", "climb", "go up", "move up"), ("rises", "climbs", "goes up", "moves up"),
    ("lifts", "raises", "elevates", "hoists", "pushes up", "pulls up"),
    ("upward", "upwards", "up"), ("downward", "downwards", "down"), ("inward", "inwards"),
    ("lowered", "pulled down", "drawn down", "depressed", "dropped", "dragged down"),
    ("sink", "droop", "drop", "sag", "fall"), ("sinks", "droops", "drops", "sags", "falls"),
    ("drags", "pulls", "draws", "tugs"), ("pulled", "drawn", "tugged"),
    ("drawn together", "pulled together", "knitted", "pinched together"),
    ("tightened", "tensed", "taut", "tight", "tense"), ("tighten", "stiffen", "harden"),
    ("thin", "slim", "slender"), ("narrows", "shrinks"),
    ("pressed together", "squeezed together", "clamped together", "compressed"),
    ("widens", "broadens", "stretches"), ("deepen", "are etched", "stand out"),
    ("wrinkles and bulges", "puckers", "crumples"), ("rough", "bumpy", "pebbled", "uneven"),
    ("firmly", "tightly"), ("strongly", "markedly"), ("slightly", "a little", "a bit", "faintly"),
    ("below", "beneath", "under"), ("above", "over"), ("while", "as"),
    ("yet", "but", "though"), ("outer", "lateral"), ("inner", "medial"),
    ("contraction", "activity", "activation"), ("contracts", "is active", "works"),
    ("the corners", "the ends", "the tips"), ("also", "too"), ("both", "the two"),
    ("center", "middle"), ("forms", "makes", "gives"), ("become", "get", "turn"),
    ("becomes", "gets", "turns"), ("a trace", "a touch"),
)  # fmt: skip
# Words that may replace another, but not the reverse: "in" is seldom "inward".
LOOSER = {
    "inward": ("in",), "inwards": ("in",), "while": ("and",), "as": ("and",),
    "firmly": ("strongly", "hard"), "tightly": ("strongly", "hard"),
}  # fmt: skip

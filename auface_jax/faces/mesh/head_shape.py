"""The neutral head of the built-in face: parametric surfaces with real relief.

The head is a stack of horizontal sections. A table gives, for each height, the half width, how far
forward the silhouette lies and how far forward the middle lies; a section is an ellipse through
them. On it sit hills and hollows for nose, brow ridge, sockets, cheeks, lips and chin. The mesh is
cut along the mouth line and along each lid line, so that lips part and lids close without a change
of topology. All measures are round figures for an average adult head, in centimetres.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.interpolate import PchipInterpolator

MOUTH_Y = -3.5
MOUTH_HALF = 2.55
EYE = np.array([3.2, 3.4, 7.98])  # centre of the left eyeball
EYE_RADIUS = 1.60
EYE_HALF = 1.58  # half length of the lid opening
UPPER_OPEN, LOWER_OPEN = 0.80, 0.44  # distance of each open lid from their common line
LID_GAP = 0.09  # thickness of a lid over the eyeball

# height: half width, z of the silhouette, z of the front, depth of the back
_SECTIONS = np.array(
    [
        [-7.90, 0.02, 8.6, 8.7, 0.02],
        [-7.80, 1.20, 8.5, 9.3, 0.6],
        [-7.60, 1.95, 8.4, 9.7, 1.0],
        [-7.20, 2.80, 8.1, 10.0, 1.6],
        [-6.50, 3.75, 7.4, 10.1, 2.6],
        [-5.50, 4.70, 6.6, 10.0, 4.0],
        [-4.00, 5.60, 5.6, 10.1, 6.0],
        [-2.00, 6.35, 4.6, 10.2, 8.5],
        [0.00, 6.85, 3.9, 10.1, 10.0],
        [2.00, 7.15, 3.5, 10.0, 10.5],
        [4.00, 7.25, 3.2, 10.1, 11.0],
        [6.00, 7.20, 2.9, 10.3, 11.0],
        [8.00, 6.95, 2.6, 9.9, 10.8],
        [10.0, 6.25, 2.2, 8.8, 9.8],
        [12.0, 4.75, 1.8, 6.6, 7.6],
        [13.0, 3.20, 1.6, 4.7, 5.0],
        [13.5, 1.70, 1.5, 3.0, 2.8],
        [13.7, 0.02, 1.5, 1.6, 0.02],
    ]
)
half_width, side_z, front_z, back_z = (
    PchipInterpolator(_SECTIONS[:, 0], _SECTIONS[:, k]) for k in range(1, 5)
)
TOP, BOTTOM = 13.7, -7.9


# Functions of a place take arrays of any one shape; those of `ax` take the distance from the
# midline, |x|. Lengths are in centimetres.
_Values = Float[np.ndarray, "*shape"]


def fold_distance(ax: _Values, y: _Values) -> _Values:
    """Signed distance from the nasolabial fold, + on the side of the cheek."""
    line = np.interp(y, [-4.4, -3.1, -1.9, -0.9, -0.2, 0.5], [3.4, 3.2, 2.72, 2.15, 1.75, 1.6])
    return (ax - line) * 0.85


def hill(
    x: _Values | float,
    y: _Values | float,
    cx: float,
    cy: float,
    sx: float,
    up: float,
    down: float | None = None,
) -> _Values:
    """A smooth hill of height 1 around (cx, cy).

    Args:
        x: first coordinate.
        y: second coordinate.
        cx: first coordinate of the top.
        cy: second coordinate of the top.
        sx: standard deviation in x.
        up: standard deviation in y above the top.
        down: standard deviation in y below the top; None is that above.
    """
    sy = np.where(y >= cy, up, up if down is None else down)
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def ramp(value: _Values, low: float, high: float) -> _Values:
    """A smooth step: 0 below `low`, 1 above `high`."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mouth_line(x: _Values) -> _Values:
    """Height of the line between the lips on the unrolled neutral face."""
    return MOUTH_Y - 0.10 * np.exp(-0.5 * (x / 1.3) ** 2)


def lid_shape(ax: _Values) -> _Values:
    """Rise of the lid opening: 0 at the corners of the eye, 1 in its middle."""
    s = (ax - EYE[0]) / EYE_HALF
    return np.clip(1.0 - s * s, 0.0, None) ** 0.75


def relief(x: _Values, y: _Values) -> _Values:
    """Forward displacement of the front of the head at (x, y), before the lids open."""
    ax = np.abs(x)
    z = 0.30 * hill(ax, y, 3.0, 5.5, 2.0, 0.7, 0.6)  # brow ridge
    z -= 0.10 * hill(ax, y, 0.0, 5.4, 0.7, 0.8)  # glabella
    z -= 0.80 * hill(ax, y, 2.9, 3.6, 1.5, 0.95, 0.8)  # sockets
    z -= 0.35 * hill(ax, y, 1.6, 3.8, 0.75, 1.0)
    z += 0.32 * hill(ax, y, 3.2, 2.0, 1.5, 0.55)  # under the eyes
    z += 0.40 * hill(ax, y, 4.5, 1.1, 1.5, 1.0, 1.3)  # cheekbones
    z -= 0.35 * hill(ax, y, 5.2, -3.0, 1.3, 1.8)  # under the cheekbones
    z -= 0.25 * hill(ax, y, 6.0, 6.2, 1.0, 1.6)  # temples
    # Nose: a ridge that grows towards the tip, wings, and a short steep base.
    along = np.interp(
        y,
        [-1.7, -1.25, -0.85, -0.4, 0.2, 1.0, 2.2, 3.6, 4.8, 5.8],
        [0.0, 0.35, 1.35, 2.25, 2.50, 2.05, 1.35, 0.75, 0.30, 0.0],
    )
    width = np.interp(y, [-1.2, 0.2, 1.5, 3.5, 5.0], [0.85, 0.92, 0.82, 0.80, 1.1])
    z += along / (1.0 + (ax / width) ** 2)
    z += 0.95 * hill(ax, y, 1.25, -0.35, 0.36, 0.5, 0.42)
    z -= 0.18 * hill(ax, y, 2.05, -0.7, 0.4, 0.8, 0.6)  # where the cheek meets the wing
    # Mouth: muzzle, lips with a groove between them, furrow under the lip, chin.
    z += 1.05 * hill(ax, y, 0.0, -3.1, 2.3, 1.35, 1.5)
    taper = np.clip(1.0 - (ax / 2.9) ** 2, 0.0, None) ** 0.6
    z += taper * 0.42 * hill(0, y, 0, MOUTH_Y + 0.42, 1, 0.34, 0.26)
    z += taper * 0.52 * hill(0, y, 0, MOUTH_Y - 0.52, 1, 0.30, 0.40)
    z -= taper * 0.22 * hill(0, y, 0, MOUTH_Y, 1, 0.16)
    z -= 0.20 * hill(ax, y, 2.75, MOUTH_Y, 0.35, 0.4)
    z -= 0.14 * hill(ax, y, 0.0, -2.1, 0.22, 0.55)
    z -= 0.45 * hill(ax, y, 0.0, -5.1, 1.5, 0.4)
    z += 0.65 * hill(ax, y, 0.0, -6.5, 1.4, 0.8, 0.7)
    return z


@dataclasses.dataclass(frozen=True)
class Grid:
    """Parameters of the head's rows and columns, and the slits that are cut between them.

    Attributes:
        theta: angle of each column in radians from the front, + to the subject's left.
        y: height of each row, from chin to crown.
        mouth_row: row of the mouth line.
        eye_row: row of the lid lines.
        mouth_columns: columns strictly between the corners of the mouth.
        eye_columns: columns strictly between the corners of the left and of the right eye.
    """

    theta: Float64[np.ndarray, " C"]
    y: Float64[np.ndarray, " R"]
    mouth_row: int
    eye_row: int
    mouth_columns: Int[np.ndarray, " M"]
    eye_columns: tuple[Int[np.ndarray, " L"], Int[np.ndarray, " R"]]


def grid() -> Grid:
    """Rows and columns, dense where the face is fine."""
    front = np.arange(0.0, 46.0, 1.22)
    side = np.concatenate([front, front[-1] + np.cumsum(np.linspace(1.8, 9.0, 18))])
    theta = np.radians(np.concatenate([-side[:0:-1], side]))
    pieces = [
        (-7.9, -7.2, 7), (-7.2, -5.6, 9), (-5.6, MOUTH_Y, 17), (MOUTH_Y, -1.0, 20), (-1.0, 2.2, 15),
        (2.2, EYE[1], 10), (EYE[1], 5.4, 16), (5.4, 9.0, 16), (9.0, 13.0, 12), (13.0, 13.7, 6),
    ]  # fmt: skip
    y = np.concatenate([np.linspace(a, b, n, endpoint=False) for a, b, n in pieces] + [[13.7]])
    mouth_row = int(np.argmin(np.abs(y - MOUTH_Y)))
    eye_row = int(np.argmin(np.abs(y - EYE[1])))
    mouth_x = half_width(MOUTH_Y) * np.sin(theta)
    eye_x = half_width(EYE[1]) * np.sin(theta)
    front_side = np.abs(theta) < np.pi / 2
    return Grid(
        theta=theta,
        y=y,
        mouth_row=mouth_row,
        eye_row=eye_row,
        mouth_columns=np.flatnonzero((np.abs(mouth_x) < MOUTH_HALF) & front_side),
        eye_columns=tuple(
            np.flatnonzero((np.abs(s * eye_x - EYE[0]) < EYE_HALF) & front_side) for s in (1, -1)
        ),
    )


def unroll(theta: _Values, y: _Values) -> _Values:
    """x of the front of the head, continued around it at the slope it has at 60 degrees."""
    limit = np.radians(60.0)
    beyond = np.clip(np.abs(theta) - limit, 0.0, None)
    width = half_width(np.clip(y, -7.5, 12.5))
    inside = np.sin(np.clip(np.abs(theta), 0.0, limit)) + beyond * np.cos(limit)
    return np.sign(theta) * width * inside


def head_points(
    theta: Float64[np.ndarray, " V"],
    y: Float64[np.ndarray, " V"],
    eye_side: Float64[np.ndarray, " V"],
) -> tuple[Float64[np.ndarray, "V 3"], Float64[np.ndarray, "V 2"]]:
    """Skin of the head.

    Args:
        theta: angles in radians from the front.
        y: heights.
        eye_side: +1 where the vertex belongs above the lid line, -1 below.

    Returns:
        Points of the neutral skin with open lids, and their places on the unrolled face.
    """
    x = half_width(y) * np.sin(theta)
    cos = np.cos(theta)
    depth = np.where(cos > 0, front_z(y) - side_z(y), back_z(y))
    z = side_z(y) + depth * cos
    z = z + np.where(cos > 0, relief(x, y), 0.0) * ramp(cos, 0.0, 0.35)
    # A line of the lips: the middle of the mouth hangs a little, its corners lie higher.
    bow = hill(np.abs(x), y, 0.0, MOUTH_Y, 1.3, 0.9) * 0.10
    bow = bow - 0.08 * hill(np.abs(x), y, 0.75, MOUTH_Y + 0.7, 0.3, 0.25)
    # Lids: slide the skin away from the lid line, then lay it over the eyeball.
    ax = np.abs(x)
    open_up = UPPER_OPEN * lid_shape(ax) * np.clip(1 - (y - EYE[1]) / 1.75, 0, 1) ** 1.4
    open_down = LOWER_OPEN * lid_shape(ax) * np.clip(1 - (EYE[1] - y) / 1.6, 0, 1) ** 1.4
    slant = 0.10 * hill(ax, y, 4.8, EYE[1], 0.8, 0.8)
    lid = np.where(eye_side > 0, open_up, -open_down) * (cos > 0)
    y = y - bow + lid + slant * (cos > 0)
    z = over_eyeball(ax, y, z)
    return np.stack([x, y, z], -1), np.stack([unroll(theta, y), y], -1)


def over_eyeball(ax: _Values, y: _Values, z: _Values, gap: float = LID_GAP) -> _Values:
    """Moves a surface z forward where the eyeball, with the lid's thickness, would pierce it."""
    radius = EYE_RADIUS + gap
    off = (ax - EYE[0]) ** 2 + (y - EYE[1]) ** 2
    ball = EYE[2] + np.sqrt(np.clip(radius**2 - off, 0.0, None))
    inside = off < radius**2
    soft = 0.5 * (z + ball + np.sqrt((z - ball) ** 2 + 0.06))
    return np.where(inside, np.maximum(soft, ball), z)


def eyeball_points(
    count: int = 22,
) -> tuple[Float64[np.ndarray, "N 3"], Int[np.ndarray, "K 3"]]:
    """The front of a ball of radius 1 around 0: points, `count` by `2 * count`, and triangles."""
    polar = np.linspace(0.0, np.radians(78.0), count)
    turn = np.linspace(0.0, 2 * np.pi, 2 * count, endpoint=False)
    p, t = np.meshgrid(polar, turn, indexing="ij")
    points = np.stack([np.sin(p) * np.cos(t), np.sin(p) * np.sin(t), np.cos(p)], -1)
    return points.reshape(-1, 3), sheet_triangles(count, 2 * count, closed=True)[:, ::-1]


def ear_points(side: int) -> tuple[Float64[np.ndarray, "N 3"], Int[np.ndarray, "K 3"]]:
    """Points and triangles of one ear: a shell with a rim, turned out from the head.

    Args:
        side: +1 for the left ear (+x), -1 for the right.
    """
    rings, spokes = 8, 28
    r = np.linspace(0.0, 1.0, rings)[:, None]
    a = np.linspace(0.0, 2 * np.pi, spokes, endpoint=False)[None, :]
    height = 3.05 * (1.0 - 0.10 * np.cos(a))  # the lobe is narrower than the top
    width = 1.75 * (1.0 + 0.28 * np.sin(a))
    back = r * np.cos(a) * width
    up = r * np.sin(a) * height
    rim = 0.38 * np.exp(-(((r - 0.85) / 0.14) ** 2)) - 0.30 * np.exp(-(((r - 0.45) / 0.25) ** 2))
    rim = rim - 0.9 * np.clip(r - 0.88, 0, None) / 0.12
    out = rim + 0.52 * (back + 1.4)  # flares from the cheek outwards
    x = side * (6.75 + 0.93 * out)
    y = 2.2 + up
    z = 2.9 - 0.85 * back - 0.1 * up
    points = np.stack(np.broadcast_arrays(x, y, z), -1).reshape(-1, 3)
    triangles = sheet_triangles(rings, spokes, closed=True)
    return points, triangles if side < 0 else triangles[:, ::-1]


def neck_points() -> tuple[
    Float64[np.ndarray, "N 3"], Int[np.ndarray, "K 3"], tuple[int, int, int]
]:
    """Neck and shoulders in a shirt.

    Returns:
        Points, triangles, and the numbers of rows and columns with the first row of cloth.
    """
    rows = np.array([-3.0, -5.0, -7.0, -9.0, -10.5, -11.6, -12.2, -12.8, -13.8, -15.5, -18.0])
    width = np.array([5.4, 5.35, 5.3, 5.35, 5.7, 6.4, 7.6, 9.6, 12.5, 15.5, 17.5])
    front = np.array([4.6, 4.7, 4.8, 4.9, 5.2, 5.7, 6.3, 7.0, 7.8, 8.6, 9.4])
    a = np.linspace(-np.pi / 2, np.pi / 2, 41)
    x = width[:, None] * np.sin(a)
    z = front[:, None] * np.cos(a) - 1.0
    y = rows[:, None] + 1.6 * (1 - np.cos(a)) * np.linspace(0, 1, len(rows))[:, None]
    points = np.stack(np.broadcast_arrays(x, y, z), -1).reshape(-1, 3)
    return points, sheet_triangles(len(rows), len(a), downwards=True), (len(rows), len(a), 5)


_Sheet = tuple[Float64[np.ndarray, "N 3"], Int[np.ndarray, "K 3"]]  # points and triangles


def mouth_inside_points() -> tuple[_Sheet, _Sheet]:
    """The upper teeth, and the dark cavity behind them."""
    a = np.linspace(-1.25, 1.25, 25)

    def bow(rows: Float64[np.ndarray, " R"], z0: float, wide: float) -> _Sheet:
        """A sheet of the given heights, bent around the jaw."""
        y = np.asarray(rows)[:, None]
        x = wide * np.sin(a)[None, :] + 0 * y
        z = z0 + 2.2 * (np.cos(a)[None, :] - 1) * 1.3 + 0 * y
        points = np.stack([x, y + 0 * x, z], -1).reshape(-1, 3)
        return points, sheet_triangles(len(rows), len(a))

    teeth = bow(np.linspace(-3.95, -2.4, 5), 9.80, 2.15)
    dark = bow(np.linspace(-6.0, -1.8, 5), 8.7, 2.7)
    return teeth, dark


def sheet_triangles(
    rows: int, columns: int, closed: bool = False, downwards: bool = False
) -> Int[np.ndarray, "K 3"]:
    """Two triangles for each cell of a sheet, counter-clockwise seen from +z.

    Args:
        rows: number of rows, which run upwards.
        columns: number of columns.
        closed: whether the last column is joined to the first.
        downwards: whether rows run downwards instead.
    """
    r = np.arange(rows - 1)[:, None]
    c = np.arange(columns if closed else columns - 1)[None, :]
    a = (r * columns + c).ravel()
    b = (r * columns + (c + 1) % columns).ravel()
    d, e = a + columns, b + columns
    triangles = np.concatenate([np.stack([a, b, e], 1), np.stack([a, e, d], 1)])
    return triangles[:, ::-1] if downwards else triangles

"""The built-in face: the head's surfaces sewn into one `FaceModel`, fully procedural."""

import functools

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, UInt8

from auface_jax.faces.mesh import head_shape as shape
from auface_jax.faces.mesh.builtin_fields import crease_directions, identity_fields, pull_fields
from auface_jax.faces.mesh.face_model import (
    CLOTH,
    EYE,
    HAIR,
    LASH,
    MOUTH,
    PULLS,
    SKIN,
    TEETH,
    FaceModel,
)
from auface_jax.faces.mesh.hair_shape import STYLES, shell, style_offsets
from auface_jax.faces.render.occlusion import light_at_rest

# Places (x, y) of the usual 68 points on the neutral face; those of the jaw and the brows are
# mirrored to the other side.
_JAW = [(7.1, 3.6), (7.1, 1.6), (6.8, -0.4), (6.4, -2.3), (5.6, -4.3), (4.5, -5.9), (3.2, -6.9),
        (1.6, -7.4)]  # fmt: skip
_BROW = [(5.6, 5.3), (4.7, 5.85), (3.6, 6.0), (2.4, 5.8), (1.3, 5.4)]


class _Mesh:
    """Parts of the head: vertices with their parameters, triangles with their material."""

    def __init__(self) -> None:
        self.points, self.uv, self.mouth_side, self.eye_side = [], [], [], []
        self.triangles, self.materials, self.regions, self.count = [], [], {}, 0

    def add(
        self,
        name: str,
        points: Float64[np.ndarray, "N 3"],
        triangles: Int[np.ndarray, "K 3"],
        material: int | Int[np.ndarray, " K"],
        uv: Float64[np.ndarray, "N 2"] | None = None,
        mouth_side: float | Float64[np.ndarray, " N"] = 1.0,
        eye_side: float | Float64[np.ndarray, " N"] = 1.0,
    ) -> Int[np.ndarray, " N"]:
        """Appends a part.

        Args:
            name: name of the region that the part becomes.
            points: vertices of the part.
            triangles: corners among the part's own vertices.
            material: index into `MATERIALS`, of the part or of each triangle.
            uv: places on the unrolled face; None is 0 for all.
            mouth_side: +1 above the mouth line, -1 below it.
            eye_side: +1 above the lid line, -1 below it.

        Returns:
            The indices of the part's vertices in the mesh.
        """
        points = np.asarray(points, float)
        indices = np.arange(self.count, self.count + len(points))
        self.points.append(points)
        self.uv.append(np.zeros((len(points), 2)) if uv is None else np.asarray(uv, float))
        self.mouth_side.append(np.broadcast_to(mouth_side, len(points)))
        self.eye_side.append(np.broadcast_to(eye_side, len(points)))
        self.regions[name] = indices.astype(np.int32)
        self.count += len(points)
        self.connect(np.asarray(triangles) + indices[0], material)
        return indices

    def connect(
        self, triangles: Int[np.ndarray, "K 3"], material: int | Int[np.ndarray, " K"]
    ) -> None:
        """Appends triangles between vertices that are in the mesh already."""
        triangles = np.asarray(triangles, np.int64).reshape(-1, 3)
        self.triangles.append(triangles)
        self.materials.append(np.broadcast_to(material, len(triangles)))


def _cut(
    g: shape.Grid,
) -> tuple[
    Int[np.ndarray, " V"],
    Int[np.ndarray, " V"],
    Int[np.ndarray, "R C"],
    Int[np.ndarray, "R C"],
]:
    """Cuts the grid of the head along the mouth line and the lid lines.

    The vertices of a slit exist twice: the grid's own belong below it, copies above it.

    Returns:
        Row and column of each vertex, the grid's own vertex at each place, and the vertex at each
        place for cells that lie above it, which is the copy in a slit.
    """
    rows, columns = len(g.y), len(g.theta)
    row, column = (m.ravel() for m in np.meshgrid(range(rows), range(columns), indexing="ij"))
    slits = [(g.mouth_row, g.mouth_columns)] + [(g.eye_row, c) for c in g.eye_columns]
    index = np.arange(rows * columns).reshape(rows, columns)
    upper = index.copy()
    extra_row, extra_column = [], []
    for slit_row, slit_columns in slits:
        upper[slit_row, slit_columns] = (
            rows * columns + len(extra_row) + np.arange(len(slit_columns))
        )
        extra_row += [slit_row] * len(slit_columns)
        extra_column += list(slit_columns)
    row, column = np.concatenate([row, extra_row]), np.concatenate([column, extra_column])
    return row, column, index, upper


def _add_head(mesh: _Mesh) -> tuple[Int32[np.ndarray, " L"], Int32[np.ndarray, " R"]]:
    """Adds the skin of the head with its three slits, and the rims that turn inwards from them.

    Returns:
        Vertices of the skin around the left and around the right eye.
    """
    g = shape.grid()
    row, column, index, upper = _cut(g)
    copied = np.arange(len(row)) >= index.size
    eye_side = np.where((row > g.eye_row) | (copied & (row == g.eye_row)), 1.0, -1.0)
    mouth_side = np.where((row > g.mouth_row) | (copied & (row == g.mouth_row)), 1.0, -1.0)
    points, uv = shape.head_points(g.theta[column], g.y[row], eye_side)
    # A cell's lower edge uses the copies (it lies above the slit), its upper edge the originals.
    a, b = upper[:-1, :-1].ravel(), upper[:-1, 1:].ravel()
    d, e = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, e], 1), np.stack([a, e, d], 1)])
    head = mesh.add("head", points, triangles, SKIN, uv, mouth_side, eye_side)

    def rim(
        name: str,
        edge: Int[np.ndarray, " E"],
        steps: list[tuple[float, float]],
        material: int,
        upper_edge: bool,
    ) -> None:
        """Adds strips behind an edge of a slit, each step an offset (dy, dz) from the edge."""
        previous = head[0] + edge
        for k, (dy, dz) in enumerate(steps):
            inner = points[edge] + [0.0, dy, dz]
            made = mesh.add(
                f"{name}_{k}", inner, np.zeros((0, 3)), material, uv[edge], mouth_side[edge],
                eye_side[edge],
            )  # fmt: skip
            p, q, r, t = previous[:-1], previous[1:], made[1:], made[:-1]
            strip = np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, t], 1)])
            mesh.connect(strip if upper_edge else strip[:, ::-1], material)
            previous = made

    def edge_of(
        table: Int[np.ndarray, "R C"], slit_row: int, slit_columns: Int[np.ndarray, " N"]
    ) -> Int[np.ndarray, " E"]:
        """Vertices of one edge of a slit, its two corners included."""
        ends = np.array([slit_columns[0] - 1, slit_columns[-1] + 1])
        inside = table[slit_row, slit_columns]
        return np.concatenate([[index[slit_row, ends[0]]], inside, [index[slit_row, ends[1]]]])

    mouth = g.mouth_columns
    top, bottom = edge_of(upper, g.mouth_row, mouth), edge_of(index, g.mouth_row, mouth)
    rim("upper_lip_inside", top, [(-0.03, -0.25), (0.12, -0.6), (0.4, -1.0)], MOUTH, True)
    rim("lower_lip_inside", bottom, [(0.03, -0.25), (-0.1, -0.6), (-0.4, -1.0)], MOUTH, False)
    lids = []
    for name, slit_columns in zip(("left", "right"), g.eye_columns, strict=True):
        top = edge_of(upper, g.eye_row, slit_columns)
        bottom = edge_of(index, g.eye_row, slit_columns)
        rim(f"{name}_upper_rim", top, [(-0.07, -0.06), (0.05, -0.3)], LASH, True)
        rim(f"{name}_lower_rim", bottom, [(0.03, -0.08), (-0.05, -0.3)], LASH, False)
        sign = 1 if name == "left" else -1
        near = (np.abs(sign * uv[:, 0] - shape.EYE[0]) < 2.0) & (
            np.abs(uv[:, 1] - shape.EYE[1]) < 1.9
        )
        lids.append((head[0] + np.flatnonzero(near)).astype(np.int32))
        for lid, table in (("upper", upper), ("lower", index)):
            edge = head[0] + table[g.eye_row, slit_columns]
            mesh.regions[f"{name}_{lid}_lid"] = edge.astype(np.int32)
    mesh.regions["upper_lip_edge"] = (head[0] + upper[g.mouth_row, mouth]).astype(np.int32)
    mesh.regions["lower_lip_edge"] = (head[0] + index[g.mouth_row, mouth]).astype(np.int32)
    for name, corner in (("right_corner", mouth[0] - 1), ("left_corner", mouth[-1] + 1)):
        mesh.regions[name] = np.array([head[0] + index[g.mouth_row, corner]], np.int32)
    return tuple(lids)


def _landmarks(
    points: Float64[np.ndarray, "V 3"],
    uv: Float64[np.ndarray, "V 2"],
    regions: dict[str, Int32[np.ndarray, " N"]],
    skin: Int[np.ndarray, " K"],
) -> Int32[np.ndarray, "68"]:
    """Vertices of the 68 points, each the one nearest to its place on the neutral face."""

    def nearest(x: float, y: float) -> int:
        return int(skin[np.argmin((uv[skin, 0] - x) ** 2 + (uv[skin, 1] - y) ** 2)])

    def along(name: str, count: int, skip_ends: bool) -> list[int]:
        """Vertices that are evenly spread along a region, from right to left."""
        line = regions[name][np.argsort(points[regions[name], 0])]
        share = np.linspace(0, 1, count + 2)[1:-1] if skip_ends else np.linspace(0, 1, count)
        return [int(line[int(round(t * (len(line) - 1)))]) for t in share]

    marks = [nearest(-x, y) for x, y in _JAW] + [nearest(0, -7.6)]
    marks += [nearest(x, y) for x, y in _JAW[::-1]]
    marks += [nearest(-x, y) for x, y in _BROW] + [nearest(x, y) for x, y in _BROW[::-1]]
    marks += [nearest(0, y) for y in (3.8, 2.6, 1.4, 0.2)]
    marks += [nearest(x, -1.15) for x in (-1.25, -0.6, 0.0, 0.6, 1.25)]
    for side in ("right", "left"):
        line = regions[f"{side}_upper_lid"]
        line = line[np.argsort(points[line, 0])]
        lower = along(f"{side}_lower_lid", 2, True)
        marks += [int(line[0]), *along(f"{side}_upper_lid", 2, True), int(line[-1])] + lower[::-1]
    left, right = int(regions["left_corner"][0]), int(regions["right_corner"][0])
    lip_top = [(-1.5, -2.85), (-0.7, -2.62), (0.0, -2.7), (0.7, -2.62), (1.5, -2.85)]
    lip_low = [(1.6, -4.25), (0.8, -4.55), (0.0, -4.62), (-0.8, -4.55), (-1.6, -4.25)]
    marks += [right] + [nearest(x, y) for x, y in lip_top] + [left]
    marks += [nearest(x, y) for x, y in lip_low]
    marks += [right, *along("upper_lip_edge", 3, True), left]
    marks += along("lower_lip_edge", 3, True)[::-1]
    return np.array(marks, np.int32)


@functools.cache
def face_model() -> FaceModel:
    """The built-in procedural face (about 20,000 vertices), made once a process."""
    mesh = _Mesh()
    lids = _add_head(mesh)
    ball, ball_triangles = shape.eyeball_points()
    eyeballs = []
    for name, sign in (("left", 1), ("right", -1)):
        centre = shape.EYE * [sign, 1, 1]
        part = mesh.add(f"{name}_eyeball", centre + shape.EYE_RADIUS * ball, ball_triangles, EYE)
        eyeballs.append(part.astype(np.int32))
    for name, sign in (("left", 1), ("right", -1)):
        points, triangles = shape.ear_points(sign)
        place = np.tile([sign * 5.0, 2.0], (len(points), 1))  # plain skin of the cheek
        mesh.add(f"{name}_ear", points, triangles, SKIN, place)
    points, triangles, (rows, columns, first_cloth) = shape.neck_points()
    cell = np.tile(np.repeat(np.arange(rows - 1), columns - 1), 2)
    mesh.add("neck", points, triangles, np.where(cell >= first_cloth, CLOTH, SKIN),
             np.tile([5.0, 2.0], (len(points), 1)))  # fmt: skip
    (teeth, teeth_triangles), (dark, dark_triangles) = shape.mouth_inside_points()
    mesh.add("teeth", teeth, teeth_triangles, TEETH)
    mesh.add("mouth_cavity", dark, dark_triangles, MOUTH)
    points, triangles, hair_uv = shell()
    hair = mesh.add("hair", points, triangles, HAIR, hair_uv)

    points, uv = np.concatenate(mesh.points), np.concatenate(mesh.uv)
    mouth_side, eye_side = np.concatenate(mesh.mouth_side), np.concatenate(mesh.eye_side)
    # Skin of the head and the rims sewn to it move with the muscles; the rest does not.
    face = np.flatnonzero(np.arange(len(points)) < eyeballs[0][0])
    pulls = np.zeros((len(PULLS), len(points), 3))
    pulls[:, face] = pull_fields(uv[face], mouth_side[face], eye_side[face])
    place = np.where((np.arange(len(points)) < eyeballs[0][0])[:, None], uv, points[:, :2])
    place[hair] = 99.0  # out of reach of the local modes; the global ones use the points
    place[mesh.regions["neck"]] = 99.0
    for part, sign in zip(eyeballs, (1, -1), strict=True):
        place[part] = shape.EYE[:2] * [sign, 1]
    names, identity = identity_fields(place, points, mouth_side, eye_side)
    for part in eyeballs:  # a ball moves as a whole
        identity[:, part] = identity[:, part].mean(1, keepdims=True)
    styles = np.zeros((len(STYLES), len(points), 3))
    styles[:, hair] = style_offsets(hair_uv)
    crease = np.zeros((len(points), 2))
    crease[face] = crease_directions(uv[face])
    left = shape.ramp(points[:, 0], -0.9, 0.9)
    triangles = np.concatenate(mesh.triangles).astype(np.int32)
    materials = np.concatenate(mesh.materials).astype(np.uint8)
    skin = mesh.regions["head"][points[mesh.regions["head"], 2] > 2.5]
    # The edge of a lid is where its skin meets the rim that turns inwards to the ball.
    mesh.regions["lash_line"] = np.intersect1d(
        triangles[materials == SKIN], triangles[materials == LASH]
    )
    return FaceModel(
        name="builtin",
        vertices=points.astype(np.float32),
        triangles=triangles,
        materials=materials,
        uv=uv.astype(np.float32),
        identity=identity.astype(np.float32),
        identity_names=names,
        pulls=pulls.astype(np.float32),
        left=left.astype(np.float32),
        hair=styles.astype(np.float32),
        hair_names=STYLES,
        eyeballs=tuple(eyeballs),
        lids=lids,
        crease=crease.astype(np.float32),
        landmarks=_landmarks(points, uv, mesh.regions, skin),
        regions=mesh.regions,
        light_reach=_light_reach(mesh.regions, points, triangles, materials),
    )


def _light_reach(
    regions: dict[str, Int32[np.ndarray, " N"]],
    points: Float64[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "F 3"],
    materials: UInt8[np.ndarray, " F"],
) -> Float32[np.ndarray, " V"]:
    """Share of the light from all around: computed for the skin, fixed inside the mouth."""
    skin = np.concatenate([regions[k] for k in ("head", "left_ear", "right_ear", "neck")])
    reach = light_at_rest(points, triangles[materials == SKIN], skin)
    reach[regions["teeth"]] = 0.75
    reach[regions["mouth_cavity"]] = 0.3
    return reach

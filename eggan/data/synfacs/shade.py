"""From geometry buffers to light: the colour of every sample, linear RGB.

One compiled function per material keeps the inner loop free of Python. Directions and positions are in the
camera's frame, which is the head model's rest frame: x to the person's left, y away from the camera, z up.
"""

import numpy as np
from numba import njit

from eggan.data.synfacs.raster import FAST, strand_coverage
from eggan.data.synfacs.wrinkles import MAP_BOTTOM, MAP_LEFT, MAP_STEP

# columns of the vertex attribute array; head and hair share them
NORMAL, TEMPLATE, LIPS, OPENNESS, CAVITY, RED_AIR = 0, 3, 6, 7, 8, 9
TANGENT, DEPTH, STRAND_U, STRAND_V = 3, 6, 7, 8
ATTRIBUTES = 10
POSITION = 10  # of a sample only: what is seen of an eyeball depends on where it is
HAIR_REGION = 7
SUPERSAMPLING = 3  # samples per pixel, along each side
NONE, FEW, ALL = 0, 1, 2
STEP = 0.004  # metres: a larger step in depth within a pixel is an edge
SHADOW_SOFTNESS = 2.2 / 320  # how far apart the points of the shadow map are compared, in map widths
# entries of the scene's parameter vector
(P_KEY_X, P_KEY_Y, P_KEY_Z, P_KEY_R, P_KEY_G, P_KEY_B, P_FILL_X, P_FILL_Y, P_FILL_Z, P_FILL, P_AMBIENT) = (
    range(11)
)
P_GLOSS, P_HAIR_R, P_HAIR_G, P_HAIR_B, P_LIP_R, P_LIP_G, P_LIP_B = range(11, 18)
P_IRIS_R, P_IRIS_G, P_IRIS_B, P_IRIS_SIZE, P_CLOTH_R, P_CLOTH_G, P_CLOTH_B, P_NECK, P_PATTERN = range(18, 27)
P_BACK_R, P_BACK_G, P_BACK_B, P_CURL = range(27, 31)
PARAMETERS = 31


@njit(cache=True, fastmath=FAST, forceinline=True)
def clamp01(x: float) -> float:
    """Return x limited to [0, 1]."""
    return min(max(x, 0.0), 1.0)


@njit(cache=True, fastmath=FAST, forceinline=True)
def ramp(low: float, high: float, x: float) -> float:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, fastmath=FAST, forceinline=True)
def hash01(i: int, j: int) -> float:
    """Return a pseudo-random number in [0, 1) for two integers."""
    h = (i * 374761393 + j * 668265263) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


@njit(cache=True, fastmath=FAST, forceinline=True)
def value_noise(x: float, y: float) -> float:
    """Return smooth noise in [0, 1] with unit cell size."""
    i, j = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - i, y - j
    fx = fx * fx * (3 - 2 * fx)
    fy = fy * fy * (3 - 2 * fy)
    a = hash01(i, j) * (1 - fx) + hash01(i + 1, j) * fx
    b = hash01(i, j + 1) * (1 - fx) + hash01(i + 1, j + 1) * fx
    return a * (1 - fy) + b * fy


@njit(cache=True, fastmath=FAST, forceinline=True)
def open_to_light(light_depth: np.ndarray, x: float, y: float, depth: float, softness: float) -> int:
    """Return how many of 3 x 3 points around a point of the shadow map the key light reaches: 0..9."""
    last = light_depth.shape[0] - 1
    left, middle, right = clamped(x - softness, last), clamped(x, last), clamped(x + softness, last)
    depth -= 0.009
    lit = 0
    for i in range(-1, 2):
        row = clamped(y + i * softness, last)
        lit += depth < light_depth[row, left]
        lit += depth < light_depth[row, middle]
        lit += depth < light_depth[row, right]
    return lit


@njit(cache=True, fastmath=FAST, forceinline=True)
def clamped(x: float, last: int) -> int:
    """Return the cell of a coordinate, at least 0 and at most `last`."""
    return min(max(int(x), 0), last)


@njit(cache=True, fastmath=FAST, forceinline=True)
def skin_colour(
    a: np.ndarray,
    maps: np.ndarray,
    crease: np.ndarray,
    creased: bool,
    q: np.ndarray,
    lit: float,
    out: np.ndarray,
) -> None:
    """Skin and lips. `maps` (H, W, 5): albedo, matte, height; `crease` (H, W), used if `creased`."""
    rows, columns = maps.shape[0], maps.shape[1]
    u = min(max((a[TEMPLATE] - MAP_LEFT) / MAP_STEP, 1.0), columns - 2.001)
    v = min(max((a[TEMPLATE + 2] - MAP_BOTTOM) / MAP_STEP, 1.0), rows - 2.001)
    i, j = int(v), int(u)
    fu, fv = u - j, v - i
    w00, w01, w10, w11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
    red = (
        maps[i, j, 0] * w00 + maps[i, j + 1, 0] * w01 + maps[i + 1, j, 0] * w10 + maps[i + 1, j + 1, 0] * w11
    )
    green = (
        maps[i, j, 1] * w00 + maps[i, j + 1, 1] * w01 + maps[i + 1, j, 1] * w10 + maps[i + 1, j + 1, 1] * w11
    )
    blue = (
        maps[i, j, 2] * w00 + maps[i, j + 1, 2] * w01 + maps[i + 1, j, 2] * w10 + maps[i + 1, j + 1, 2] * w11
    )
    matte = maps[i, j, 3]
    front = ramp(0.12, 0.5, -a[NORMAL + 1])  # the frontal maps smear on surfaces seen edge-on
    hx = maps[i, j + 1, 4] - maps[i, j - 1, 4]
    hz = maps[i + 1, j, 4] - maps[i - 1, j, 4]
    groove = 0.0
    if creased:
        hx += crease[i, j + 1] - crease[i, j - 1]
        hz += crease[i + 1, j] - crease[i - 1, j]
        groove = crease[i, j] * front
    hx *= front * (0.5 / MAP_STEP)
    hz *= front * (0.5 / MAP_STEP)
    nx, ny, nz = a[NORMAL], a[NORMAL + 1], a[NORMAL + 2]
    # tilt the normal against the height's gradient, projected on the surface
    bx = nx - hx * (1 - nx * nx) + hz * nz * nx
    by = ny + hx * nx * ny + hz * nz * ny
    bz = nz - hz * (1 - nz * nz) + hx * nx * nz
    nx, ny, nz = bx, by, bz
    length = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * length, ny * length, nz * length
    lip = ramp(0.35, 0.75, a[LIPS])
    if lip > 0:
        line = 0.90 + 0.2 * value_noise(a[TEMPLATE] * 1400.0, a[TEMPLATE + 2] * 260.0)
        red += (q[P_LIP_R] * line - red) * lip
        green += (q[P_LIP_G] * line - green) * lip
        blue += (q[P_LIP_B] * line - blue) * lip
    if groove < 0:
        dark = np.exp(groove * 330.0)
        red *= 1 - (1 - dark) * 0.62
        green *= 1 - (1 - dark) * 0.80
        blue *= 1 - (1 - dark) * 0.82
    if a[CAVITY] > 0.3:
        inner = ramp(0.3, 0.8, a[CAVITY])
        red += (0.16 - red) * inner
        green += (0.028 - green) * inner
        blue += (0.026 - blue) * inner
        deep = 1 - 0.85 * inner * ramp(-0.140, -0.105, a[TEMPLATE + 1])
        red, green, blue = red * deep, green * deep, blue * deep
    key = nx * q[P_KEY_X] + ny * q[P_KEY_Y] + nz * q[P_KEY_Z]
    fill = clamp01((nx * q[P_FILL_X] + ny * q[P_FILL_Y] + nz * q[P_FILL_Z] + 0.35) / 1.35) * q[P_FILL]
    open_air = max(a[OPENNESS], 0.14)
    sky = q[P_AMBIENT] * (0.72 + 0.28 * nz) * open_air
    fill *= 0.35 + 0.65 * open_air
    # light scatters in skin: the terminator is soft and red
    key_red = clamp01((key + 0.34) / 1.34) * (0.16 + 0.84 * lit)
    key_green = clamp01((key + 0.17) / 1.17) * (0.06 + 0.94 * lit)
    key_blue = clamp01((key + 0.13) / 1.13) * (0.04 + 0.96 * lit)
    ao_red = a[RED_AIR]
    out[0] = red * (key_red * q[P_KEY_R] * (0.45 + 0.55 * ao_red) + fill + sky * 1.0)
    out[1] = green * (key_green * q[P_KEY_G] * (0.35 + 0.65 * open_air) + fill + sky * 1.0)
    out[2] = blue * (key_blue * q[P_KEY_B] * (0.33 + 0.67 * open_air) + fill + sky * 1.04)
    hx, hy, hz2 = q[P_KEY_X], q[P_KEY_Y] - 1.0, q[P_KEY_Z]
    half = 1.0 / np.sqrt(hx * hx + hy * hy + hz2 * hz2)
    glint = max(0.0, (nx * hx + ny * hy + nz * hz2) * half)
    rim = (1.0 - max(0.0, -ny)) ** 4
    gloss = q[P_GLOSS] * (1 - 0.85 * matte) * lit * open_air
    shine = gloss * (0.050 * glint**14 + 0.045 * glint**48) + 0.05 * rim * open_air * q[P_FILL] * (1 - matte)
    shine += lip * lit * 0.10 * glint**40
    shine *= 1 - clamp01(a[CAVITY] * 2) * 0.7
    for c in range(3):
        out[c] += shine * q[P_KEY_R + c]


@njit(cache=True, fastmath=FAST, forceinline=True)
def is_cloth(a: np.ndarray, q: np.ndarray) -> float:
    """Return by how many metres a body point lies under the neckline (negative: bare skin)."""
    x, y, z = a[TEMPLATE], a[TEMPLATE + 1], a[TEMPLATE + 2]
    ax = abs(x)
    if q[P_NECK] == 0:
        line = 0.579 + 0.16 * (y + 0.05) + 0.02 * ramp(0.03, 0.08, ax)
    elif q[P_NECK] == 1:
        line = 0.545 + 0.045 * ramp(0.02, 0.10, ax)
    elif q[P_NECK] == 2:
        line = 0.520 + 0.062 * clamp01(ax / 0.075)
    else:
        line = 0.530 + 0.085 * clamp01(ax / 0.055)
    return line - z


@njit(cache=True, fastmath=FAST, forceinline=True)
def cloth_colour(a: np.ndarray, q: np.ndarray, under: float, lit: float, out: np.ndarray) -> None:
    """Garment: matte, with a seam at the neckline."""
    x, z = a[TEMPLATE], a[TEMPLATE + 2]
    weave = 0.9 + 0.2 * value_noise(x * 900.0, z * 900.0)
    if q[P_PATTERN] == 1:
        weave *= 0.55 if np.sin(z * 2 * np.pi / 0.022) > 0.25 else 1.1
    elif q[P_PATTERN] == 2:
        weave *= 0.85 + 0.25 * abs(np.sin(x * 2 * np.pi / 0.008))
    seam = 1.0 - 0.38 * np.exp(-((under - 0.010) ** 2) / 2.5e-6) - 0.3 * np.exp(-under / 0.0016)
    fold = 0.8 + 0.4 * value_noise(x * 38.0 + 7.0, z * 26.0)
    key = max(0.0, a[NORMAL] * q[P_KEY_X] + a[NORMAL + 1] * q[P_KEY_Y] + a[NORMAL + 2] * q[P_KEY_Z])
    light = (
        key * (0.15 + 0.85 * lit) * 0.9
        + q[P_FILL] * 0.5
        + q[P_AMBIENT] * (0.6 + 0.4 * a[NORMAL + 2]) * a[OPENNESS]
    )
    for c in range(3):
        out[c] = q[P_CLOTH_R + c] * weave * seam * fold * light


@njit(cache=True, fastmath=FAST, forceinline=True)
def eye_colour(
    a: np.ndarray, eyes: np.ndarray, number: int, q: np.ndarray, lit: float, out: np.ndarray
) -> None:
    """Eyeball `number` of `eyes` (2, 9): centre, gaze direction, up direction."""
    dx, dy, dz = (
        a[POSITION] - eyes[number, 0],
        a[POSITION + 1] - eyes[number, 1],
        a[POSITION + 2] - eyes[number, 2],
    )
    length = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * length, dy * length, dz * length
    along = dx * eyes[number, 3] + dy * eyes[number, 4] + dz * eyes[number, 5]
    angle = np.arccos(min(max(along, -1.0), 1.0))
    upward = dx * eyes[number, 6] + dy * eyes[number, 7] + dz * eyes[number, 8]
    sideways = np.sqrt(max(0.0, 1 - dy * dy - dz * dz))
    radius = 0.43 * q[P_IRIS_SIZE]
    vein = 0.04 * value_noise(dx * 60.0, dz * 60.0) + 0.16 * ramp(0.45, 0.95, sideways)
    red, green, blue = 0.74, 0.70 - vein, 0.67 - 1.1 * vein
    iris = 1.0 - ramp(radius - 0.03, radius + 0.035, angle)
    if iris > 0:
        spoke = np.arctan2(dz - eyes[number, 5], dx - eyes[number, 3])
        fibre = 0.72 + 0.6 * value_noise(spoke * 7.0 + 40.0, angle * 9.0)
        ring = 1.0 - 0.72 * ramp(radius * 0.72, radius, angle)
        inner = 1.0 + 0.5 * (1 - ramp(0.16, 0.30, angle))
        pupil = ramp(0.155, 0.185, angle)
        tone = fibre * ring * inner * pupil
        red += (q[P_IRIS_R] * tone + 0.006 - red) * iris
        green += (q[P_IRIS_G] * tone + 0.005 - green) * iris
        blue += (q[P_IRIS_B] * tone + 0.005 - blue) * iris
    key = clamp01((dx * q[P_KEY_X] + dy * q[P_KEY_Y] + dz * q[P_KEY_Z] + 0.3) / 1.3)
    lid = 1.0 - 0.45 * ramp(0.05, 0.45, upward) - 0.12 * ramp(0.25, 0.5, -upward)
    corner = 1.0 - 0.35 * ramp(0.5, 0.95, sideways)
    light = (0.55 * key + 0.5 * q[P_FILL] + 0.55 * q[P_AMBIENT]) * lid * corner
    out[0], out[1], out[2] = red * light * q[P_KEY_R], green * light * q[P_KEY_G], blue * light * q[P_KEY_B]
    # the window of the studio, mirrored in the cornea
    gx = dx - (eyes[number, 3] - 0.14)
    gz = dz - (eyes[number, 5] + 0.15)
    spark = np.exp(-(gx * gx + gz * gz) / (2 * 0.050**2))
    for c in range(3):
        out[c] += 1.1 * spark


@njit(cache=True, fastmath=FAST, forceinline=True)
def teeth_colour(a: np.ndarray, upper: bool, q: np.ndarray, out: np.ndarray) -> None:
    """Teeth with gaps and gums."""
    x, y, z = a[TEMPLATE], a[TEMPLATE + 1], a[TEMPLATE + 2]
    ax = abs(x)
    if upper:
        edge = min(min(ax, abs(ax - 0.0082)), min(abs(ax - 0.0148), abs(ax - 0.0212)))
        gum = ramp(0.6755, 0.6785, z + 0.0012 * np.cos(ax / 0.0082 * 2 * np.pi))
    else:
        edge = min(min(ax, abs(ax - 0.0055)), min(abs(ax - 0.0112), abs(ax - 0.0175)))
        gum = 1 - ramp(0.6500, 0.6530, z)
    gap = 1 - 0.30 * np.exp(-edge / 0.0005)
    red, green, blue = 0.90 * gap, 0.81 * gap, 0.67 * gap
    red += (0.36 - red) * gum
    green += (0.10 - green) * gum
    blue += (0.10 - blue) * gum
    front = 1 - 0.85 * ramp(-0.146, -0.116, y)
    light = front * (0.42 + 0.58 * max(0.0, -a[NORMAL + 1])) * (q[P_AMBIENT] + 0.66)
    light *= 0.80 if upper else 0.66
    out[0], out[1], out[2] = red * light, green * light, blue * light


@njit(cache=True, fastmath=FAST, forceinline=True)
def hair_colour(a: np.ndarray, strands: np.ndarray, q: np.ndarray, lit: float, out: np.ndarray) -> None:
    """Hair: darker near the scalp, two highlights across the strands."""
    density = strand_coverage(strands, a[STRAND_U], a[STRAND_V])
    other = strand_coverage(strands, a[STRAND_U] * 0.37 + 0.21, a[STRAND_V] * 0.5)
    tx, ty, tz = a[TANGENT], a[TANGENT + 1], a[TANGENT + 2]
    kt = tx * q[P_KEY_X] + ty * q[P_KEY_Y] + tz * q[P_KEY_Z]
    shift = 0.25 * (density - 0.5)
    hx, hy, hz = q[P_KEY_X], q[P_KEY_Y] - 1.0, q[P_KEY_Z]
    half = 1.0 / np.sqrt(hx * hx + hy * hy + hz * hz)
    ht = (tx * hx + ty * hy + tz * hz) * half + shift
    primary = max(0.0, 1 - ht * ht) ** 40
    ht -= 0.22
    secondary = max(0.0, 1 - ht * ht) ** 10
    nx, ny, nz = a[NORMAL], a[NORMAL + 1], a[NORMAL + 2]
    facing = nx * q[P_KEY_X] + ny * q[P_KEY_Y] + nz * q[P_KEY_Z]
    if ny > 0:
        facing = -facing
    wrap = clamp01((facing + 0.45) / 1.45) * (0.25 + 0.75 * lit)
    diffuse = np.sqrt(max(0.0, 1 - kt * kt)) * wrap
    body = 0.22 + 0.62 * a[DEPTH]
    body *= (0.35 + 1.05 * density) * (0.75 + 0.5 * other)
    light = 0.95 * diffuse + q[P_AMBIENT] * (0.62 + 0.38 * nz) + 0.4 * q[P_FILL] * clamp01(-ny)
    soft = 1.0 - 0.75 * q[P_CURL]
    shine = wrap * soft * (0.10 * primary)
    tint = wrap * (0.3 + 0.7 * soft) * 0.55 * secondary
    for c in range(3):
        base = q[P_HAIR_R + c]
        out[c] = base * body * (light + tint * 1.3) + shine * (0.35 + base) * (0.4 + 0.9 * density)


@njit(cache=True, fastmath=FAST, forceinline=True)
def light_sample(
    a: np.ndarray,
    region: int,
    eyes: np.ndarray,
    side: float,
    maps: np.ndarray,
    crease: np.ndarray,
    creased: bool,
    strands: np.ndarray,
    q: np.ndarray,
    lit: float,
    out: np.ndarray,
) -> None:
    """Dispatch on the material; the colour goes to `out` (3,)."""
    if region == 0:
        under = is_cloth(a, q) if a[TEMPLATE + 2] < 0.625 else -1.0
        if under > 0:
            cloth_colour(a, q, under, lit, out)
        else:
            skin_colour(a, maps, crease, creased, q, lit, out)
    elif region == 1:
        eye_colour(a, eyes, 0 if side > 0 else 1, q, lit, out)
    elif region == 2 or region == 3:
        teeth_colour(a, region == 2, q, out)
    elif region == 4:
        light = (0.35 + 0.5 * max(0.0, -a[NORMAL + 1] * 0.6 + a[NORMAL + 2] * 0.8)) * (
            1 - 0.6 * ramp(-0.135, -0.10, a[TEMPLATE + 1])
        )
        out[0], out[1], out[2] = 0.40 * light, 0.13 * light, 0.13 * light
    elif region == 5:
        out[0], out[1], out[2] = (
            0.012 + 0.2 * q[P_HAIR_R],
            0.009 + 0.2 * q[P_HAIR_G],
            0.008 + 0.2 * q[P_HAIR_B],
        )
    else:
        hair_colour(a, strands, q, lit, out)


@njit(cache=True, forceinline=True)
def needed_samples(index: np.ndarray, depth: np.ndarray, region: np.ndarray, row: int, column: int) -> int:
    """Return how a pixel's samples, from (row, column) on, are shaded: NONE, FEW or ALL of them.

    Within one surface of skin or hair five samples, corners and middle, look like nine; edges need all.
    """
    t = index[row, column]
    first = region[t] if t >= 0 else 255
    if first != 0 and first != HAIR_REGION and first != 255:
        return ALL
    near = far = depth[row, column]
    for i in range(row, row + SUPERSAMPLING):
        for j in range(column, column + SUPERSAMPLING):
            t = index[i, j]
            if (region[t] if t >= 0 else 255) != first:
                return ALL
            near = min(near, depth[i, j])
            far = max(far, depth[i, j])
    if first == 255:
        return NONE
    return FEW if far - near < STEP or first == HAIR_REGION else ALL


@njit(cache=True, fastmath=FAST)
def shade(
    buffers: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    triangles: np.ndarray,
    region: np.ndarray,
    moves: np.ndarray,
    side: np.ndarray,
    attributes: np.ndarray,
    vertices: np.ndarray,
    eyes: np.ndarray,
    maps: np.ndarray,
    crease: np.ndarray,
    strands: np.ndarray,
    light_points: np.ndarray,
    light_depth: np.ndarray,
    q: np.ndarray,
    known: np.ndarray,
    known_light: np.ndarray,
) -> np.ndarray:
    """Return the picture, linear RGB (size, size, 3) float32: the mean of each pixel's shaded samples.

    `moves` (T,) tells which triangles differ between AUs. The colours of all others are kept in `known`
    (S, S, 3) with the light they had in `known_light` (S, S), -1 where there is none yet; size 0 keeps none.
    """
    index, weight0, weight1, depths = buffers
    samples = index.shape[0]
    size = samples // SUPERSAMPLING
    softness = SHADOW_SOFTNESS * light_depth.shape[0]
    keeping = known.shape[0] > 0
    picture = np.zeros((size, size, 3), np.float32)
    a = np.zeros(ATTRIBUTES + 3, np.float64)
    out = np.zeros(3, np.float32)  # as `known` keeps it: a colour looked up equals the one worked out
    for pixel_row in range(size):
        for pixel_column in range(size):
            top, start = pixel_row * SUPERSAMPLING, pixel_column * SUPERSAMPLING
            needed = needed_samples(index, depths, region, top, start)
            count = 0
            for n in range(1 if needed == NONE else 9):
                i, j = n // 3, n % 3
                if needed == NONE:
                    i = j = 1
                elif needed == FEW and n & 1:  # corners and middle
                    continue
                row, column = top + i, start + j
                t = index[row, column]
                count += 1
                if t < 0:
                    fade = 1.0 - 0.10 * ((column / samples - 0.45) ** 2 + (row / samples - 0.3) ** 2)
                    for c in range(3):
                        picture[pixel_row, pixel_column, c] += q[P_BACK_R + c] * fade
                    continue
                i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                b0, b1 = float(weight0[row, column]), float(weight1[row, column])
                b2 = 1.0 - b0 - b1
                x = b0 * light_points[i0, 0] + b1 * light_points[i1, 0] + b2 * light_points[i2, 0]
                y = b0 * light_points[i0, 1] + b1 * light_points[i1, 1] + b2 * light_points[i2, 1]
                depth = b0 * light_points[i0, 2] + b1 * light_points[i1, 2] + b2 * light_points[i2, 2]
                lit = open_to_light(light_depth, x, y, depth, softness)
                keeps = keeping and not moves[t]
                if not keeps or known_light[row, column] != lit:
                    for k in range(ATTRIBUTES):
                        a[k] = b0 * attributes[i0, k] + b1 * attributes[i1, k] + b2 * attributes[i2, k]
                    if region[t] == 1:
                        for k in range(3):
                            a[POSITION + k] = (
                                b0 * vertices[i0, k] + b1 * vertices[i1, k] + b2 * vertices[i2, k]
                            )
                    length = 1.0 / np.sqrt(a[NORMAL] ** 2 + a[NORMAL + 1] ** 2 + a[NORMAL + 2] ** 2 + 1e-12)
                    a[NORMAL] *= length
                    a[NORMAL + 1] *= length
                    a[NORMAL + 2] *= length
                    lit_share = 0.3 + 0.7 * lit / 9.0  # walls light every shadow up
                    light_sample(
                        a, region[t], eyes, side[i0], maps, crease, moves[t], strands, q, lit_share, out
                    )
                    if keeps:
                        known_light[row, column] = lit
                        for c in range(3):
                            known[row, column, c] = out[c]
                else:
                    for c in range(3):
                        out[c] = known[row, column, c]
                for c in range(3):
                    picture[pixel_row, pixel_column, c] += out[c]
            for c in range(3):
                picture[pixel_row, pixel_column, c] /= count
    return picture

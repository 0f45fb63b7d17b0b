"""From geometry buffers to light: the colour of every sample, linear RGB.

One compiled function per material keeps the inner loop free of Python. Directions and positions are in the
camera's frame, which is the head model's rest frame: x to the person's left, y away from the camera, z up.

Constants without a source are ours, chosen by eye on rendered pictures and frozen with the renderer's
version. Lengths are metres of the template, colours linear RGB, shares in [0, 1]; (low, high) are the ends
of a `ramp`. All of them stay in this file: numba's cache notices no change of a value in another one.
"""

import numpy as np
from numba import njit

from eggan.data.synfacs.head import EYE, LASH, LOWER_TEETH, SKIN, TONGUE, UPPER_TEETH
from eggan.data.synfacs.noise import value_noise
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
SHADOW_BIAS = 0.009  # metres: a surface casts no shadow on itself
SHADOW_FLOOR = 0.3  # share of the key light in full shadow: walls light it up
BACKDROP = 255  # stands for the region of samples that show no surface
FADE, FADE_X, FADE_Y = 0.10, 0.45, 0.3  # of the backdrop, away from this place in picture widths
# entries of the scene's parameter vector
(P_KEY_X, P_KEY_Y, P_KEY_Z, P_KEY_R, P_KEY_G, P_KEY_B, P_FILL_X, P_FILL_Y, P_FILL_Z, P_FILL, P_AMBIENT) = (
    range(11)
)
P_GLOSS, P_HAIR_R, P_HAIR_G, P_HAIR_B, P_LIP_R, P_LIP_G, P_LIP_B = range(11, 18)
P_IRIS_R, P_IRIS_G, P_IRIS_B, P_IRIS_SIZE, P_CLOTH_R, P_CLOTH_G, P_CLOTH_B, P_NECK, P_PATTERN = range(18, 27)
P_BACK_R, P_BACK_G, P_BACK_B, P_CURL = range(27, 31)
PARAMETERS = 31
# Skin. Light scatters in it, red the farthest: how far past the terminator (cosine), and in shadow (share)
WRAP_RED, WRAP_GREEN, WRAP_BLUE, WRAP_FILL = 0.34, 0.17, 0.13, 0.35
SHADOW_RED, SHADOW_GREEN, SHADOW_BLUE = 0.16, 0.06, 0.04
# how much of the key light enclosed skin keeps: a fixed share, and one that grows with openness
ENCLOSED_RED, ENCLOSED_GREEN, ENCLOSED_BLUE = (0.45, 0.55), (0.35, 0.65), (0.33, 0.67)
LEAST_OPEN = 0.14  # share of the sky that the most enclosed skin sees
SKY_LEVEL, SKY_TILT, SKY_BLUE = 0.72, 0.28, 1.04  # light from the sky: level, by height of the normal, tint
FRONTAL = (0.12, 0.5)  # cosine to the camera: the frontal maps smear on surfaces seen edge-on
LIP_MASK, LIP_LINES_X, LIP_LINES_Z = (0.35, 0.75), 1400.0, 260.0  # lines of the lips per metre
GROOVE_DARKENING = 330.0  # per metre of depth, the exponent; most it takes of each colour:
GROOVE_RED, GROOVE_GREEN, GROOVE_BLUE = 0.62, 0.80, 0.82
MOUTH_MASK, MOUTH_RED, MOUTH_GREEN, MOUTH_BLUE = (0.3, 0.8), 0.16, 0.028, 0.026
MOUTH_DEPTH, MOUTH_DARKENING = (-0.140, -0.105), 0.85  # y of the template: lips, throat
BROAD, NARROW, LIP_GLOSS, RIM = 0.050, 0.045, 0.10, 0.05  # shares of the light that skin mirrors, and powers:
BROAD_POWER, NARROW_POWER, LIP_POWER, RIM_POWER = 14, 48, 40, 4
MATTE_LOSS, WET_LOSS = 0.85, 0.7  # shares of the shine that matte skin and the mouth's inside do without
# Cloth: z of the neckline by its kind; it rises to the shoulders
COLLAR, CREW, WIDE_V, DEEP_V = 0.579, 0.545, 0.520, 0.530
SEAM_AT, SEAM_SPREAD, HEM_SPREAD = 0.010, 2.5e-6, 0.0016  # metres under the neckline; squared; metres
STRIPE, RIB, WEAVE = 0.022, 0.008, 900.0  # metres, metres, per metre
SHOULDERS = 0.625  # z: what lies higher is never cloth
# Eyes, angles in radians from the gaze
IRIS, IRIS_EDGE, PUPIL, WHITE = 0.43, (-0.03, 0.035), (0.155, 0.185), (0.74, 0.70, 0.67)
# the studio's window, mirrored in the cornea: place and size as sines of the angle, light
WINDOW_X, WINDOW_Z, WINDOW_SIZE, WINDOW_LIGHT = -0.14, 0.15, 0.050, 1.1
# Teeth: x of their gaps from the middle, z of the gums' edge, y from the lips inwards
UPPER_GAPS, LOWER_GAPS, GAP_WIDTH = (0.0082, 0.0148, 0.0212), (0.0055, 0.0112, 0.0175), 0.0005
UPPER_GUM, LOWER_GUM, TEETH_DEPTH = (0.6755, 0.6785), (0.6500, 0.6530), (-0.146, -0.116)
ENAMEL, GUM, TONGUE_COLOUR = (0.90, 0.81, 0.67), (0.36, 0.10, 0.10), (0.40, 0.13, 0.13)
LASH_COLOUR, LASH_TINT = (0.012, 0.009, 0.008), 0.2
# Hair: two highlights across the strands (as Kajiya and Kay 1989), powers and their angle apart (cosine)
PRIMARY, SECONDARY, APART, HAIR_WRAP = 40, 10, 0.22, 0.45


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
def open_to_light(light_depth: np.ndarray, x: float, y: float, depth: float, softness: float) -> int:
    """Return how many of 3 x 3 points around a point of the shadow map the key light reaches: 0..9."""
    last = light_depth.shape[0] - 1
    left, middle, right = clamped(x - softness, last), clamped(x, last), clamped(x + softness, last)
    depth -= SHADOW_BIAS
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
def tilted(nx: float, ny: float, nz: float, hx: float, hz: float) -> tuple[float, float, float]:
    """Tilt a unit normal against the gradient (hx, hz) of a height, projected on the surface."""
    bx = nx - hx * (1 - nx * nx) + hz * nz * nx
    by = ny + hx * nx * ny + hz * nz * ny
    bz = nz - hz * (1 - nz * nz) + hx * nx * nz
    length = 1.0 / np.sqrt(bx * bx + by * by + bz * bz)
    return bx * length, by * length, bz * length


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
    red, green, blue = (
        maps[i, j, 0] * w00 + maps[i, j + 1, 0] * w01 + maps[i + 1, j, 0] * w10 + maps[i + 1, j + 1, 0] * w11,
        maps[i, j, 1] * w00 + maps[i, j + 1, 1] * w01 + maps[i + 1, j, 1] * w10 + maps[i + 1, j + 1, 1] * w11,
        maps[i, j, 2] * w00 + maps[i, j + 1, 2] * w01 + maps[i + 1, j, 2] * w10 + maps[i + 1, j + 1, 2] * w11,
    )
    matte = maps[i, j, 3]
    front = ramp(FRONTAL[0], FRONTAL[1], -a[NORMAL + 1])
    hx = maps[i, j + 1, 4] - maps[i, j - 1, 4]
    hz = maps[i + 1, j, 4] - maps[i - 1, j, 4]
    groove = 0.0
    if creased:
        hx += crease[i, j + 1] - crease[i, j - 1]
        hz += crease[i + 1, j] - crease[i - 1, j]
        groove = crease[i, j] * front
    hx *= front * (0.5 / MAP_STEP)
    hz *= front * (0.5 / MAP_STEP)
    nx, ny, nz = tilted(a[NORMAL], a[NORMAL + 1], a[NORMAL + 2], hx, hz)
    lip = ramp(LIP_MASK[0], LIP_MASK[1], a[LIPS])
    if lip > 0:
        line = 0.90 + 0.2 * value_noise(a[TEMPLATE] * LIP_LINES_X, a[TEMPLATE + 2] * LIP_LINES_Z)
        red += (q[P_LIP_R] * line - red) * lip
        green += (q[P_LIP_G] * line - green) * lip
        blue += (q[P_LIP_B] * line - blue) * lip
    if groove < 0:
        dark = np.exp(groove * GROOVE_DARKENING)
        red *= 1 - (1 - dark) * GROOVE_RED
        green *= 1 - (1 - dark) * GROOVE_GREEN
        blue *= 1 - (1 - dark) * GROOVE_BLUE
    if a[CAVITY] > MOUTH_MASK[0]:
        inner = ramp(MOUTH_MASK[0], MOUTH_MASK[1], a[CAVITY])
        red += (MOUTH_RED - red) * inner
        green += (MOUTH_GREEN - green) * inner
        blue += (MOUTH_BLUE - blue) * inner
        deep = 1 - MOUTH_DARKENING * inner * ramp(MOUTH_DEPTH[0], MOUTH_DEPTH[1], a[TEMPLATE + 1])
        red, green, blue = red * deep, green * deep, blue * deep
    key = nx * q[P_KEY_X] + ny * q[P_KEY_Y] + nz * q[P_KEY_Z]
    fill = clamp01((nx * q[P_FILL_X] + ny * q[P_FILL_Y] + nz * q[P_FILL_Z] + WRAP_FILL) / (1 + WRAP_FILL))
    fill *= q[P_FILL]
    open_air = max(a[OPENNESS], LEAST_OPEN)
    sky = q[P_AMBIENT] * (SKY_LEVEL + SKY_TILT * nz) * open_air
    fill *= 0.35 + 0.65 * open_air
    key_red = clamp01((key + WRAP_RED) / (1 + WRAP_RED)) * (SHADOW_RED + (1 - SHADOW_RED) * lit)
    key_green = clamp01((key + WRAP_GREEN) / (1 + WRAP_GREEN)) * (SHADOW_GREEN + (1 - SHADOW_GREEN) * lit)
    key_blue = clamp01((key + WRAP_BLUE) / (1 + WRAP_BLUE)) * (SHADOW_BLUE + (1 - SHADOW_BLUE) * lit)
    key_red = key_red * q[P_KEY_R] * (ENCLOSED_RED[0] + ENCLOSED_RED[1] * a[RED_AIR])
    key_green = key_green * q[P_KEY_G] * (ENCLOSED_GREEN[0] + ENCLOSED_GREEN[1] * open_air)
    key_blue = key_blue * q[P_KEY_B] * (ENCLOSED_BLUE[0] + ENCLOSED_BLUE[1] * open_air)
    out[0] = red * (key_red + fill + sky)
    out[1] = green * (key_green + fill + sky)
    out[2] = blue * (key_blue + fill + sky * SKY_BLUE)
    hx, hy, hz2 = q[P_KEY_X], q[P_KEY_Y] - 1.0, q[P_KEY_Z]
    half = 1.0 / np.sqrt(hx * hx + hy * hy + hz2 * hz2)
    glint = max(0.0, (nx * hx + ny * hy + nz * hz2) * half)
    rim = (1.0 - max(0.0, -ny)) ** RIM_POWER
    gloss = q[P_GLOSS] * (1 - MATTE_LOSS * matte) * lit * open_air
    shine = gloss * (BROAD * glint**BROAD_POWER + NARROW * glint**NARROW_POWER)
    shine += RIM * rim * open_air * q[P_FILL] * (1 - matte)
    shine += lip * lit * LIP_GLOSS * glint**LIP_POWER
    shine *= 1 - clamp01(a[CAVITY] * 2) * WET_LOSS
    for c in range(3):
        out[c] += shine * q[P_KEY_R + c]


@njit(cache=True, fastmath=FAST, forceinline=True)
def is_cloth(a: np.ndarray, q: np.ndarray) -> float:
    """Return by how many metres a body point lies under the neckline (negative: bare skin)."""
    x, y, z = a[TEMPLATE], a[TEMPLATE + 1], a[TEMPLATE + 2]
    ax = abs(x)
    if q[P_NECK] == 0:
        line = COLLAR + 0.16 * (y + 0.05) + 0.02 * ramp(0.03, 0.08, ax)
    elif q[P_NECK] == 1:
        line = CREW + 0.045 * ramp(0.02, 0.10, ax)
    elif q[P_NECK] == 2:
        line = WIDE_V + 0.062 * clamp01(ax / 0.075)
    else:
        line = DEEP_V + 0.085 * clamp01(ax / 0.055)
    return line - z


@njit(cache=True, fastmath=FAST, forceinline=True)
def cloth_colour(a: np.ndarray, q: np.ndarray, under: float, lit: float, out: np.ndarray) -> None:
    """Garment: matte, with a seam at the neckline."""
    x, z = a[TEMPLATE], a[TEMPLATE + 2]
    weave = 0.9 + 0.2 * value_noise(x * WEAVE, z * WEAVE)
    if q[P_PATTERN] == 1:
        weave *= 0.55 if np.sin(z * 2 * np.pi / STRIPE) > 0.25 else 1.1
    elif q[P_PATTERN] == 2:
        weave *= 0.85 + 0.25 * abs(np.sin(x * 2 * np.pi / RIB))
    seam = 1.0 - 0.38 * np.exp(-((under - SEAM_AT) ** 2) / SEAM_SPREAD) - 0.3 * np.exp(-under / HEM_SPREAD)
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
def eye_colour(a: np.ndarray, eyes: np.ndarray, number: int, q: np.ndarray, out: np.ndarray) -> None:
    """Eyeball `number` of `eyes` (2, 9): centre, gaze direction, up direction."""
    dx, dy = a[POSITION] - eyes[number, 0], a[POSITION + 1] - eyes[number, 1]
    dz = a[POSITION + 2] - eyes[number, 2]
    length = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * length, dy * length, dz * length
    along = dx * eyes[number, 3] + dy * eyes[number, 4] + dz * eyes[number, 5]
    angle = np.arccos(min(max(along, -1.0), 1.0))
    upward = dx * eyes[number, 6] + dy * eyes[number, 7] + dz * eyes[number, 8]
    sideways = np.sqrt(max(0.0, 1 - dy * dy - dz * dz))
    radius = IRIS * q[P_IRIS_SIZE]
    vein = 0.04 * value_noise(dx * 60.0, dz * 60.0) + 0.16 * ramp(0.45, 0.95, sideways)
    red, green, blue = WHITE[0], WHITE[1] - vein, WHITE[2] - 1.1 * vein
    iris = 1.0 - ramp(radius + IRIS_EDGE[0], radius + IRIS_EDGE[1], angle)
    if iris > 0:
        spoke = np.arctan2(dz - eyes[number, 5], dx - eyes[number, 3])
        fibre = 0.72 + 0.6 * value_noise(spoke * 7.0 + 40.0, angle * 9.0)
        ring = 1.0 - 0.72 * ramp(radius * 0.72, radius, angle)
        inner = 1.0 + 0.5 * (1 - ramp(0.16, 0.30, angle))
        pupil = ramp(PUPIL[0], PUPIL[1], angle)
        tone = fibre * ring * inner * pupil
        red += (q[P_IRIS_R] * tone + 0.006 - red) * iris
        green += (q[P_IRIS_G] * tone + 0.005 - green) * iris
        blue += (q[P_IRIS_B] * tone + 0.005 - blue) * iris
    key = clamp01((dx * q[P_KEY_X] + dy * q[P_KEY_Y] + dz * q[P_KEY_Z] + 0.3) / 1.3)
    lid = 1.0 - 0.45 * ramp(0.05, 0.45, upward) - 0.12 * ramp(0.25, 0.5, -upward)
    corner = 1.0 - 0.35 * ramp(0.5, 0.95, sideways)
    light = (0.55 * key + 0.5 * q[P_FILL] + 0.55 * q[P_AMBIENT]) * lid * corner
    out[0], out[1], out[2] = red * light * q[P_KEY_R], green * light * q[P_KEY_G], blue * light * q[P_KEY_B]
    gx = dx - (eyes[number, 3] + WINDOW_X)
    gz = dz - (eyes[number, 5] + WINDOW_Z)
    spark = np.exp(-(gx * gx + gz * gz) / (2 * WINDOW_SIZE**2))
    for c in range(3):
        out[c] += WINDOW_LIGHT * spark


@njit(cache=True, fastmath=FAST, forceinline=True)
def teeth_colour(a: np.ndarray, upper: bool, q: np.ndarray, out: np.ndarray) -> None:
    """Teeth with gaps and gums."""
    x, y, z = a[TEMPLATE], a[TEMPLATE + 1], a[TEMPLATE + 2]
    ax = abs(x)
    if upper:
        edge = from_gaps(ax, UPPER_GAPS)
        gum = ramp(UPPER_GUM[0], UPPER_GUM[1], z + 0.0012 * np.cos(ax / UPPER_GAPS[0] * 2 * np.pi))
    else:
        edge = from_gaps(ax, LOWER_GAPS)
        gum = 1 - ramp(LOWER_GUM[0], LOWER_GUM[1], z)
    gap = 1 - 0.30 * np.exp(-edge / GAP_WIDTH)
    front = 1 - 0.85 * ramp(TEETH_DEPTH[0], TEETH_DEPTH[1], y)
    light = front * (0.42 + 0.58 * max(0.0, -a[NORMAL + 1])) * (q[P_AMBIENT] + 0.66)
    light *= 0.80 if upper else 0.66
    for c in range(3):
        tooth = ENAMEL[c] * gap
        out[c] = (tooth + (GUM[c] - tooth) * gum) * light


@njit(cache=True, fastmath=FAST, forceinline=True)
def from_gaps(x: float, gaps: tuple[float, float, float]) -> float:
    """Return the distance of a point of the teeth from the nearest gap; one is in the middle, x = 0."""
    return min(min(x, abs(x - gaps[0])), min(abs(x - gaps[1]), abs(x - gaps[2])))


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
    primary = max(0.0, 1 - ht * ht) ** PRIMARY
    ht -= APART
    secondary = max(0.0, 1 - ht * ht) ** SECONDARY
    nx, ny, nz = a[NORMAL], a[NORMAL + 1], a[NORMAL + 2]
    facing = nx * q[P_KEY_X] + ny * q[P_KEY_Y] + nz * q[P_KEY_Z]
    if ny > 0:
        facing = -facing
    wrap = clamp01((facing + HAIR_WRAP) / (1 + HAIR_WRAP)) * (0.25 + 0.75 * lit)
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
    if region == SKIN:
        under = is_cloth(a, q) if a[TEMPLATE + 2] < SHOULDERS else -1.0
        if under > 0:
            cloth_colour(a, q, under, lit, out)
        else:
            skin_colour(a, maps, crease, creased, q, lit, out)
    elif region == EYE:
        eye_colour(a, eyes, 0 if side > 0 else 1, q, out)
    elif region in (UPPER_TEETH, LOWER_TEETH):
        teeth_colour(a, region == UPPER_TEETH, q, out)
    elif region == TONGUE:
        light = (0.35 + 0.5 * max(0.0, -a[NORMAL + 1] * 0.6 + a[NORMAL + 2] * 0.8)) * (
            1 - 0.6 * ramp(-0.135, -0.10, a[TEMPLATE + 1])
        )
        for c in range(3):
            out[c] = TONGUE_COLOUR[c] * light
    elif region == LASH:
        for c in range(3):
            out[c] = LASH_COLOUR[c] + LASH_TINT * q[P_HAIR_R + c]
    else:
        hair_colour(a, strands, q, lit, out)


@njit(cache=True, forceinline=True)
def needed_samples(index: np.ndarray, depth: np.ndarray, region: np.ndarray, row: int, column: int) -> int:
    """Return how a pixel's samples, from (row, column) on, are shaded: NONE, FEW or ALL of them.

    Within one surface of skin or hair five samples, corners and middle, look like nine; edges need all.
    """
    t = index[row, column]
    first = region[t] if t >= 0 else BACKDROP
    if first != SKIN and first != HAIR_REGION and first != BACKDROP:
        return ALL
    near = far = depth[row, column]
    for i in range(row, row + SUPERSAMPLING):
        for j in range(column, column + SUPERSAMPLING):
            t = index[i, j]
            if (region[t] if t >= 0 else BACKDROP) != first:
                return ALL
            near = min(near, depth[i, j])
            far = max(far, depth[i, j])
    if first == BACKDROP:
        return NONE
    return FEW if far - near < STEP or first == HAIR_REGION else ALL


@njit(cache=True, fastmath=FAST, forceinline=True)
def read_sample(
    a: np.ndarray,
    attributes: np.ndarray,
    vertices: np.ndarray,
    is_eye: bool,
    corners: tuple[int, int, int],
    weights: tuple[float, float, float],
) -> None:
    """Put a sample's attributes into `a`: unit normal, what its material needs, of an eye its position."""
    i0, i1, i2 = corners
    b0, b1, b2 = weights
    for k in range(ATTRIBUTES):
        a[k] = b0 * attributes[i0, k] + b1 * attributes[i1, k] + b2 * attributes[i2, k]
    if is_eye:
        for k in range(3):
            a[POSITION + k] = b0 * vertices[i0, k] + b1 * vertices[i1, k] + b2 * vertices[i2, k]
    length = 1.0 / np.sqrt(a[NORMAL] ** 2 + a[NORMAL + 1] ** 2 + a[NORMAL + 2] ** 2 + 1e-12)
    a[NORMAL] *= length
    a[NORMAL + 1] *= length
    a[NORMAL + 2] *= length


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
                    fade = 1.0 - FADE * ((column / samples - FADE_X) ** 2 + (row / samples - FADE_Y) ** 2)
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
                    read_sample(a, attributes, vertices, region[t] == EYE, (i0, i1, i2), (b0, b1, b2))
                    lit_share = SHADOW_FLOOR + (1 - SHADOW_FLOOR) * lit / 9.0
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

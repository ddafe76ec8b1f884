"""Compiled CPU kernel for views: the same operations as views.py in one pass over memory; needs numba.

Each image stays in the core's cache from its stored bytes to the finished view. Computation is in float32. Results
equal the plain version up to rounding, and are independent of the thread or rank.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.augment.bicubic import CUBIC, TABLE_STEPS
from trainables.augment.parameters import ViewDraws
from trainables.augment.torch_ops import LUMA
from trainables.config import JITTER_OPERATIONS, RED_GREEN_BLUE
from trainables.kernels.numba_compile import compiled, in_threads

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(len(JITTER_OPERATIONS))
TINY = np.float32(1e-30)
ROWS_AT_ONCE = 16
"""Rows blurred at a time, so that the buffers stay in the L1 cache."""


def view(images: Tensor, draws: ViewDraws, *, image_size: int) -> Tensor:
    """Return k views of each image, computed on the CPU.

    Args:
        images: Images (N, C, H, W), uint8 or uint16, on the CPU.
        draws: Random parameters of k N views: those of all images for the first view, then for the next.
        image_size: Side of the square views, in pixels.

    Returns:
        Views (k N, C, image_size, image_size), float32 in [0, 1].

    Raises:
        ValueError: The draws need red, green and blue channels, and the images have none.
    """
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()  # the layout of stores, so nothing is copied
    count, channels = len(draws), images.shape[1]
    if draws.colours is None and (draws.grayscale.any() or np.isin(draws.order[draws.jitter], (SATURATION, HUE)).any()):
        raise ValueError("saturation, hue and grayscale need red, green and blue channels")
    found = torch.empty(count, channels, image_size, image_size)
    threads = max(1, min(torch.get_num_threads(), count))
    bounds = [count * number // threads for number in range(threads + 1)]
    arguments = _arguments(draws)

    def make(number: int) -> None:
        _make_views(pixels, *arguments, image_size // 10 // 2, bounds[number], bounds[number + 1], found.numpy())

    in_threads(make, range(threads))
    return found


def _arguments(draws: ViewDraws) -> tuple[NDArray[np.generic], ...]:
    arguments = (
        draws.boxes,
        np.stack([draws.flip, draws.vertical_flip, draws.quarter_turns], axis=1).astype(np.int64),
        np.where(draws.jitter[:, None], draws.order, -1),
        draws.factors.astype(np.float32),
        draws.grayscale,
        np.where(draws.blur, draws.sigma, 0.0),
        draws.band_factors.astype(np.float32),
        draws.dropped,
        np.array(draws.colours or RED_GREEN_BLUE, dtype=np.int64),
    )
    return tuple(np.ascontiguousarray(argument) for argument in arguments)  # numba recompiles for other layouts


@compiled()
def _make_views(
    pixels,
    boxes,
    geometry,
    order,
    factors,
    grayscale,
    sigma,
    band_factors,
    dropped,
    colours,
    radius,
    start,
    stop,
    views,
):
    """Compute the views of images `start` to `stop` (exclusive)."""
    images, height, width, channels = pixels.shape
    size = views.shape[2]
    scale = np.float32(1.0 / 65535.0 if pixels.itemsize == 2 else 1.0 / 255.0)
    across, down = np.empty((size, 4), np.float32), np.empty((size, 4), np.float32)
    columns, rows = np.empty((size, 4), np.int64), np.empty((size, 4), np.int64)
    turned = np.empty((width, height), np.float32)
    narrow = np.empty((size, height), np.float32)
    upright = np.empty((height, size), np.float32)
    scratch = np.empty((size, size), np.float32)
    padded = np.zeros((size + 2 * radius, size + 2 * radius), np.float32)
    blurred, result = np.zeros_like(padded), np.zeros_like(padded)
    for number in range(start, stop):
        image = views[number]
        top, left, box_height, box_width = boxes[number]
        _taps(box_width, geometry[number, 0] == 1, across, columns)
        _taps(box_height, geometry[number, 1] == 1, down, rows)
        for channel in range(channels):
            _turn(pixels[number % images], channel, top, left, box_height, box_width, scale, turned)
            _resize_rows(turned, across, columns, box_height, narrow)
            _transpose(narrow, box_height, upright)
            _resize_rows(upright, down, rows, size, image[channel])
        for _ in range(geometry[number, 2]):
            for channel in range(channels):
                _quarter_turn(image[channel], scratch)
        _jitter(image, order[number], factors[number], band_factors[number], colours)
        if grayscale[number]:
            _drop_colours(image, colours)
        _clip(image)
        if radius > 0 and sigma[number] > 0.0:
            _blur(image, sigma[number], padded, blurred, result)
        for channel in range(dropped.shape[1]):
            if dropped[number, channel]:
                image[channel] = np.float32(0.0)


@compiled()
def _taps(length, mirrored, weights, places):
    """Write weights and positions (size, 4) of the source pixels for each pixel of the view (bicubic.py)."""
    size = len(weights)
    for output in range(size):
        centre = (output + 0.5) * (length / size) - 0.5
        floor = np.floor(centre)
        fraction = np.rint((centre - floor) * TABLE_STEPS) / TABLE_STEPS
        row = size - 1 - output if mirrored else output
        total = 0.0
        for tap in range(4):
            place = int(floor) + tap - 1
            weight = _cubic(abs(fraction - (tap - 1))) if 0 <= place < length else 0.0
            total += weight
            weights[row, tap] = weight
            places[row, tap] = min(max(place, 0), length - 1)
        for tap in range(4):
            weights[row, tap] /= total


@compiled()
def _cubic(distance):
    if distance <= 1.0:
        return ((CUBIC + 2.0) * distance - (CUBIC + 3.0)) * distance**2 + 1.0
    if distance < 2.0:
        return ((CUBIC * distance - 5.0 * CUBIC) * distance + 8.0 * CUBIC) * distance - 4.0 * CUBIC
    return 0.0


@compiled()
def _turn(pixels, channel, top, left, height, width, scale, turned):
    """Copy a transposed channel of the crop, so that resizing in x runs along contiguous memory."""
    for first in range(0, height, ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE, height)
        for x in range(width):
            row = turned[x]
            for y in range(first, last):
                row[y] = np.float32(pixels[top + y, left + x, channel]) * scale


@compiled()
def _resize_rows(source, weights, places, width, out):
    """Write each row of `out` as a weighted sum of four source rows."""
    for number in range(len(weights)):
        a, b, c, d = weights[number, 0], weights[number, 1], weights[number, 2], weights[number, 3]
        first, second = source[places[number, 0]], source[places[number, 1]]
        third, fourth = source[places[number, 2]], source[places[number, 3]]
        row = out[number]
        for x in range(width):
            row[x] = a * first[x] + b * second[x] + c * third[x] + d * fourth[x]


@compiled()
def _transpose(source, width, out):
    for y in range(width):
        row = out[y]
        for x in range(len(source)):
            row[x] = source[x, y]


@compiled()
def _quarter_turn(image, scratch):
    """Rotate a square image by 90 degrees counter-clockwise."""
    size = len(image)
    scratch[:] = image
    for y in range(size):
        for x in range(size):
            image[y, x] = scratch[x, size - 1 - y]


@compiled()
def _jitter(image, order, factors, band_factors, colours):
    """Apply the colour operations in the given order and clip after each; `band_factors` is (2, C) or (2, 0)."""
    own = band_factors.shape[1] > 0
    clipped = len(image) == 3
    for place in range(4):
        operation = order[place]
        if operation >= SATURATION and not clipped:  # these clip the colours alone
            _clip_others(image, colours)
        clipped = clipped or operation >= 0
        if operation == BRIGHTNESS:
            for channel in range(len(image)):
                _brightness(image[channel], band_factors[BRIGHTNESS, channel] if own else factors[BRIGHTNESS])
        elif operation == CONTRAST:
            for channel in range(len(image)):
                _contrast(image[channel], band_factors[CONTRAST, channel] if own else factors[CONTRAST])
        elif operation == SATURATION:
            _saturation(image[colours[0]], image[colours[1]], image[colours[2]], factors[SATURATION])
        elif operation == HUE:
            _hue(image[colours[0]], image[colours[1]], image[colours[2]], factors[HUE])


@compiled()
def _clip_others(image, colours):
    for channel in range(len(image)):
        if channel != colours[0] and channel != colours[1] and channel != colours[2]:
            _clip(image[channel])


@compiled()
def _brightness(band, factor):
    flat = band.reshape(-1)
    for number in range(len(flat)):
        flat[number] = min(max(flat[number] * factor, np.float32(0.0)), np.float32(1.0))


@compiled()
def _contrast(band, factor):
    flat = band.reshape(-1)
    total = np.float32(0.0)
    for number in range(len(flat)):
        total += flat[number]
    mean = total / np.float32(len(flat))
    for number in range(len(flat)):
        flat[number] = min(max((flat[number] - mean) * factor + mean, np.float32(0.0)), np.float32(1.0))


@compiled()
def _saturation(reds, greens, blues, factor):
    """Multiply the saturation of HSV by `factor`; hue and value don't change.

    Each channel's distance from the largest one is multiplied. The factor is limited to value / spread, so that
    S = spread / value is at most 1.
    """
    red, green, blue = reds.reshape(-1), greens.reshape(-1), blues.reshape(-1)
    for number in range(len(red)):
        r, g, b = red[number], green[number], blue[number]
        value = max(r, max(g, b))
        spread = value - min(r, min(g, b))
        wider = min(factor, value / max(spread, TINY))
        red[number] = min(max(value - (value - r) * wider, np.float32(0.0)), np.float32(1.0))
        green[number] = min(max(value - (value - g) * wider, np.float32(0.0)), np.float32(1.0))
        blue[number] = min(max(value - (value - b) * wider, np.float32(0.0)), np.float32(1.0))


@compiled()
def _hue(reds, greens, blues, offset):
    """Shift the hue of HSV by `offset` turns; value and spread of the channels don't change."""
    red, green, blue = reds.reshape(-1), greens.reshape(-1), blues.reshape(-1)
    zero, one, two, three, four, six = (
        np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(3.0), np.float32(4.0), np.float32(6.0)
    )  # fmt: skip
    shift = six * offset + (six if offset < zero else zero)
    for number in range(len(red)):
        r, g, b = red[number], green[number], blue[number]
        value = max(r, max(g, b))
        spread = value - min(r, min(g, b))
        inverse = one / max(spread, TINY)
        sixths = (r - g) * inverse + four
        sixths = (b - r) * inverse + two if value == g else sixths
        sixths = (g - b) * inverse if value == r else sixths
        sixths += shift
        sixths = sixths + six if sixths < zero else sixths
        sixths = sixths - six if sixths >= six else sixths
        red[number] = _channel(value, spread, abs(sixths - three) - one)
        green[number] = _channel(value, spread, two - abs(sixths - two))
        blue[number] = _channel(value, spread, two - abs(sixths - four))


@compiled()
def _channel(value, spread, share):
    share = min(max(share, np.float32(0.0)), np.float32(1.0))
    return min(max(value - (np.float32(1.0) - share) * spread, np.float32(0.0)), np.float32(1.0))


@compiled()
def _drop_colours(image, colours):
    """Replace every channel with the luma; red is written first, after all colours of the pixel are read."""
    reds, greens, blues = (image[colours[0]].reshape(-1), image[colours[1]].reshape(-1), image[colours[2]].reshape(-1))
    for number in range(len(reds)):
        luma = np.float32(LUMA[0]) * reds[number] + np.float32(LUMA[1]) * greens[number]
        reds[number] = luma + np.float32(LUMA[2]) * blues[number]
    for channel in range(len(image)):
        if channel != colours[0]:
            image[channel] = image[colours[0]]


@compiled()
def _clip(image):
    flat = image.reshape(-1)
    for number in range(len(flat)):
        flat[number] = min(max(flat[number], np.float32(0.0)), np.float32(1.0))


@compiled()
def _blur(image, sigma, padded, blurred, result):
    """Blur with 2 * radius + 1 taps in y, then in x, with zero padding, and clip.

    `padded` is a zero-padded square of side size + 2 * radius. It and two buffers of its size are processed as single
    long rows, which is faster than short rows; the invalid values in their margins are never read.
    """
    size, pitch = image.shape[1], len(padded)
    radius = (pitch - size) // 2
    weights = np.empty(radius + 1, np.float32)
    total = 0.0
    for tap in range(radius + 1):
        total += np.exp(-(tap**2) / (2.0 * sigma**2)) * (1.0 if tap == 0 else 2.0)
    for tap in range(radius + 1):
        weights[tap] = np.exp(-(tap**2) / (2.0 * sigma**2)) / total
    for channel in range(len(image)):
        for y in range(size):
            row, source = padded[radius + y], image[channel, y]
            for x in range(size):
                row[radius + x] = source[x]
        for y in range(0, size, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, size - y) * pitch
            _sum_taps(padded.reshape(-1), weights, pitch, y * pitch, count, blurred.reshape(-1))
            _sum_taps(blurred.reshape(-1), weights, 1, y * pitch, count - 2 * radius, result.reshape(-1))
        for y in range(size):
            row, source = image[channel, y], result[y]
            for x in range(size):
                row[x] = min(max(source[x], np.float32(0.0)), np.float32(1.0))


@compiled()
def _sum_taps(source, weights, step, start, count, out):
    """Write out[i] = sum over taps k of weights[|k|] * source[i + (k + radius) * step], three tap pairs per pass."""
    radius = len(weights) - 1
    row = out[start : start + count]
    middle, weight = source[start + radius * step :], weights[0]
    for i in range(count):
        row[i] = weight * middle[i]
    tap = 1
    while tap + 2 <= radius:
        a, b, c = weights[tap], weights[tap + 1], weights[tap + 2]
        before_a, after_a = source[start + (radius - tap) * step :], source[start + (radius + tap) * step :]
        before_b, after_b = source[start + (radius - tap - 1) * step :], source[start + (radius + tap + 1) * step :]
        before_c, after_c = source[start + (radius - tap - 2) * step :], source[start + (radius + tap + 2) * step :]
        for i in range(count):
            pairs = a * (before_a[i] + after_a[i]) + b * (before_b[i] + after_b[i])
            row[i] += pairs + c * (before_c[i] + after_c[i])
        tap += 3
    while tap <= radius:
        weight = weights[tap]
        before, after = source[start + (radius - tap) * step :], source[start + (radius + tap) * step :]
        for i in range(count):
            row[i] += weight * (before[i] + after[i])
        tap += 1

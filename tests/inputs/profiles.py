"""ICC profiles with known colours, and what those colours are in sRGB: written out from the ICC.1:2001-04 format."""

import struct
from collections.abc import Callable, Mapping

import numpy as np

# sRGB's primaries and white as seen under D50, IEC 61966-2-1 with the Bradford adaptation
_RED, _GREEN, _BLUE = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
_WHITE = (0.9642, 1.0, 0.8249)

INKS = {
    "paper": ((0, 0, 0, 0), (100, 0, 0)),
    "cyan": ((255, 0, 0, 0), (60, -22, -35)),
    "magenta": ((0, 255, 0, 0), (50, 60, 0)),
    "yellow": ((0, 0, 255, 0), (88, -4, 70)),
    "black": ((0, 0, 0, 255), (0, 0, 0)),
}
"""Name -> ink (0…255 each of C, M, Y, K) and the Lab colour that `inks()` gives it. Two inks at once are black."""


def linear_rgb(*, swapped: bool = False) -> bytes:
    """RGB with sRGB's primaries and samples that are proportional to light; swapped: red is blue and blue is red."""
    red, blue = (_BLUE, _RED) if swapped else (_RED, _BLUE)
    curve = _curve()
    tags = {
        "rXYZ": _xyz(red),
        "gXYZ": _xyz(_GREEN),
        "bXYZ": _xyz(blue),
        "rTRC": curve,
        "gTRC": curve,
        "bTRC": curve,
    }
    return _profile("mntr", "RGB ", "XYZ ", {**tags, "wtpt": _xyz(_WHITE)})


def srgb() -> bytes:
    """sRGB with its curve as a table, as cameras write it."""
    tags = {"rXYZ": _xyz(_RED), "gXYZ": _xyz(_GREEN), "bXYZ": _xyz(_BLUE), "wtpt": _xyz(_WHITE)}
    curve = _curve(decode_srgb)
    return _profile("mntr", "RGB ", "XYZ ", {**tags, "rTRC": curve, "gTRC": curve, "bTRC": curve})


def linear_grey() -> bytes:
    """Grey in proportion to light."""
    return _profile("mntr", "GRAY", "XYZ ", {"kTRC": _curve(), "wtpt": _xyz(_WHITE)})


def inks() -> bytes:
    """A press whose single inks have the colours of `INKS`."""
    colours = {ink: lab for ink, lab in INKS.values()}
    grid = np.zeros((2, 2, 2, 2, 3))
    for corner in np.ndindex(2, 2, 2, 2):
        grid[corner] = colours.get(tuple(255 * on for on in corner), (0, 0, 0))
    lab = np.round(grid * (2.55, 1, 1) + (0, 128, 128)).astype(np.uint8)
    straight = bytes(range(256))
    matrix = struct.pack(">9i", *(65_536 * (i % 4 == 0) for i in range(9)))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + 4 * straight + lab.tobytes() + 3 * straight
    return _profile("prtr", "CMYK", "Lab ", {"A2B0": table, "wtpt": _xyz(_WHITE)})


def encode_srgb(light: np.ndarray) -> np.ndarray:
    """Light 0…1 to samples 0…1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def decode_srgb(samples: np.ndarray) -> np.ndarray:
    """Samples 0…1 to light 0…1."""
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def srgb_of_lab(lab: tuple[float, float, float]) -> np.ndarray:
    """0…255; CIE 1976 with the white of D50."""
    lightness, a, b = lab
    middle = (lightness + 16) / 116
    f = np.array([middle + a / 500, middle, middle - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _WHITE
    light = np.linalg.solve(np.array([_RED, _GREEN, _BLUE]).T, xyz)
    assert light.min() > -0.01, "choose a colour that sRGB has"
    return 255 * encode_srgb(np.clip(light, 0, 1))


def _curve(function: Callable[[np.ndarray], np.ndarray] | None = None) -> bytes:
    """The identity, or 1,024 samples of a function from 0…1 to 0…1."""
    if function is None:
        return b"curv\0\0\0\0" + struct.pack(">I", 0)
    table = np.round(65_535 * function(np.linspace(0, 1, 1024))).astype(">u2").tobytes()
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + table


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65_536 * value) for value in values))


def _profile(kind: str, colours: str, connection: str, tags: Mapping[str, bytes]) -> bytes:
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name.encode() + struct.pack(">II", start + len(body), len(data))
        body += padded
    header = struct.pack(">I4sI", start + len(body), b"", 0x02400000)
    header += kind.encode() + colours.encode() + connection.encode()
    header += struct.pack(">6H", 2025, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", *(round(65_536 * value) for value in _WHITE)) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body

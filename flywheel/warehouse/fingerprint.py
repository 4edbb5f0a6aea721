"""FARM_FINGERPRINT for DuckDB: FarmHash's Fingerprint64, as a signed number.

The algorithm is FarmHash 1.1's `farmhashna::Hash64` (Geoff Pike, Google, 2014), whose values are fixed for good. The C
extension `farmhash`, which TFDV brings along, is twenty times as fast, yet takes neither bytes nor texts with a NUL.
"""

from __future__ import annotations

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_ALL = 2**64 - 1

try:
    from farmhash import fingerprint64 as _quick
except ModuleNotFoundError:
    _quick = None


def of_text(text: str) -> int:
    """Return FARM_FINGERPRINT of a STRING."""
    if _quick is None or "\0" in text:
        return of_bytes(text.encode())
    return _signed(_quick(text))


def of_bytes(data: bytes) -> int:
    """Return FARM_FINGERPRINT of BYTES."""
    return _signed(_hash(data))


def _signed(number: int) -> int:
    return (number ^ 1 << 63) - (1 << 63)


def _hash(s: bytes) -> int:
    length = len(s)
    if length > 64:
        return _long(s)
    double = _K2 + 2 * length
    if length > 32:
        return _to_64(s, double)
    if length > 16:
        a, b = _word(s, 0) * _K1 & _ALL, _word(s, 8)
        c, d = _word(s, length - 8) * double & _ALL, _word(s, length - 16) * _K2
        return _mix(_turn(a + b, 43) + _turn(c, 30) + d, a + _turn(b + _K2, 18) + c, double)
    if length >= 8:
        a, b = _word(s, 0) + _K2 & _ALL, _word(s, length - 8)
        return _mix(_turn(b, 37) * double + a, (_turn(a, 25) + b) * double, double)
    if length >= 4:
        return _mix(length + (_word(s, 0, 4) << 3), _word(s, length - 4, 4), double)
    if length:
        y, z = s[0] + (s[length >> 1] << 8), length + (s[-1] << 2)
        return _shift(y * _K2 & _ALL ^ z * _K0 & _ALL) * _K2 & _ALL
    return _K2


def _to_64(s: bytes, double: int) -> int:
    length = len(s)
    a, b = _word(s, 0) * _K2 & _ALL, _word(s, 8)
    c, d = _word(s, length - 8) * double & _ALL, _word(s, length - 16) * _K2
    y = _turn(a + b, 43) + _turn(c, 30) + d & _ALL
    z = _mix(y, a + _turn(b + _K2, 18) + c, double)
    e, f = _word(s, 16) * double & _ALL, _word(s, 24)
    g, h = (y + _word(s, length - 32)) * double & _ALL, (z + _word(s, length - 24)) * double
    return _mix(_turn(e + f, 43) + _turn(g, 30) + h, e + _turn(f + a, 18) + g, double)


def _long(s: bytes) -> int:
    """Take 64 bytes a time, and at the end the last 64, which may overlap those before."""
    x, y = 81 * _K2 + _word(s, 0) & _ALL, 81 * _K1 + 113 & _ALL
    z = _shift(y * _K2 + 113 & _ALL) * _K2 & _ALL
    v = w = (0, 0)
    last = (len(s) - 1) // 64 * 64
    for at in range(0, last, 64):
        x = _turn(x + y + v[0] + _word(s, at + 8), 37) * _K1 & _ALL ^ w[1]
        y = _turn(y + v[1] + _word(s, at + 48), 42) * _K1 + v[0] + _word(s, at + 40) & _ALL
        z = _turn(z + w[0], 33) * _K1 & _ALL
        v = _weak(s, at, v[1] * _K1, x + w[0])
        w = _weak(s, at + 32, z + w[1], y + _word(s, at + 16))
        z, x = x, z
    times, at, rest = _K1 + ((z & 0xFF) << 1), len(s) - 64, len(s) - 1 & 63
    first = w[0] + rest
    v = (v[0] + first & _ALL, v[1])
    w = (first + v[0] & _ALL, w[1])
    x = _turn(x + y + v[0] + _word(s, at + 8), 37) * times & _ALL ^ w[1] * 9 & _ALL
    y = _turn(y + v[1] + _word(s, at + 48), 42) * times + v[0] * 9 + _word(s, at + 40) & _ALL
    z = _turn(z + w[0], 33) * times & _ALL
    v = _weak(s, at, v[1] * times, x + w[0])
    w = _weak(s, at + 32, z + w[1], y + _word(s, at + 16))
    z, x = x, z
    return _mix(_mix(v[0], w[0], times) + _shift(y) * _K0 + z, _mix(v[1], w[1], times) + x, times)


def _weak(s: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Return two words that depend on the 32 bytes from `at` on."""
    w, x, y, z = (_word(s, at + offset) for offset in (0, 8, 16, 24))
    a += w
    b = _turn(a + b + z, 21)
    c = a
    a += x + y
    return a + z & _ALL, b + _turn(a, 44) + c & _ALL


def _word(s: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(s[at : at + size], "little")


def _turn(value: int, by: int) -> int:
    """Return the lowest 64 bits of `value`, rotated to the right."""
    value &= _ALL
    return value >> by | value << 64 - by & _ALL


def _shift(value: int) -> int:
    return value ^ value >> 47


def _mix(u: int, v: int, times: int) -> int:
    v &= _ALL
    a = _shift((u & _ALL ^ v) * times & _ALL)
    return _shift((v ^ a) * times & _ALL) * times & _ALL

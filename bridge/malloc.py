"""Makes the C library's allocator keep the memory of large requests for the next ones."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Options of mallopt, from glibc's malloc.h."""
LARGEST = 128 << 20
"""Bytes of the largest piece of memory that is kept; also the most that is kept at the end of a
heap. A request of 64 images of 1 MB takes half of it."""


def keep_large_pieces() -> bool:
    """Set the allocator; whether it could be set, which it can where the C library is glibc.

    By default, glibc gets each piece of over 32 MiB from the kernel and gives it back at once, and
    smaller ones at first; the kernel then clears each page again when it is used.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(mallopt(option, LARGEST) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))

"""Write and read back arrays by NNCodec, zstandard or ZipNN, in an interpreter that has them: see `parts.peers`.

stream.py IN.npz OUT.npz nncodec|zstd|zipnn OPTIONS, which are JSON, as what is printed: bytes and seconds.
"""

import contextlib
import io
import json
import sys
import time

import numpy as np


def nncodec(arrays, options):
    """Return what writes a stream and what reads arrays of it."""
    from nncodec import nnc

    def quietly(call, *arguments, **named):
        with contextlib.redirect_stdout(io.StringIO()):
            return call(*arguments, **named)

    fixed = {"bitstream_path": None, "return_bitstream": True, "opt_qp": False, "verbose": False}
    return lambda: quietly(nnc.compress, arrays, **fixed, **options), lambda data: quietly(nnc.decompress, data)


def zstd(arrays, _options):
    """Return the same; all arrays are one sequence of bytes."""
    import zstandard

    raw = b"".join(array.tobytes() for array in arrays.values())
    read = zstandard.ZstdDecompressor().decompress
    return lambda: zstandard.ZstdCompressor(level=19).compress(raw), lambda data: checked(read(data), raw)


def zipnn(arrays, options):
    """Return the same; all arrays are one sequence of bytes."""
    import zipnn

    raw = b"".join(array.tobytes() for array in arrays.values())
    coder = lambda: zipnn.ZipNN(input_format="byte", compression_threshold=0.99, **options)  # noqa: E731
    return lambda: bytes(coder().compress(bytearray(raw))), lambda data: checked(bytes(coder().decompress(data)), raw)


def checked(back, raw):
    """Return nothing: what came back is what was written."""
    assert back == raw
    return {}


def main():
    """Do what the arguments say."""
    path, out, name, options = sys.argv[1:]
    arrays = dict(np.load(path))
    write, read = {"nncodec": nncodec, "zstd": zstd, "zipnn": zipnn}[name](arrays, json.loads(options))
    start = time.perf_counter()
    data = write()
    middle = time.perf_counter()
    back = read(data)
    end = time.perf_counter()
    np.savez(out, **{key: np.asarray(array).reshape(arrays[key].shape) for key, array in back.items()})
    print(json.dumps([len(data), middle - start, end - middle]))


if __name__ == "__main__":
    main()

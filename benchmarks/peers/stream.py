"""Write and read back arrays by NNCodec, zstandard or ZipNN, in an interpreter that has them: see `rate_accuracy`.

stream.py IN.npz nncodec QP dependent|uniform OUT.npz; stream.py IN.npz zstd|zipnn. Prints the bytes of the stream.
"""

import contextlib
import io
import sys

import numpy as np


def by_nncodec(arrays, qp, quantizer, path):
    """Write what comes back to a file; return the bytes of the stream."""
    from nncodec import nnc

    options = {"qp": qp, "nonweight_qp": -75, "use_dq": quantizer == "dependent", "opt_qp": False, "verbose": False}
    with contextlib.redirect_stdout(io.StringIO()):
        data = nnc.compress(dict(arrays), bitstream_path=None, return_bitstream=True, **options)
        back = nnc.decompress(data)
    np.savez(path, **{name: np.asarray(back[name]).reshape(array.shape) for name, array in arrays.items()})
    return len(data)


def by_zstd(raw):
    """Return the bytes of the stream, which is read back."""
    import zstandard

    data = zstandard.ZstdCompressor(level=19).compress(raw)
    assert zstandard.ZstdDecompressor().decompress(data) == raw
    return len(data)


def by_zipnn(raw):
    """Return the bytes of the stream, which is read back."""
    import zipnn

    def coder():
        return zipnn.ZipNN(bytearray_dtype="float32", input_format="byte", compression_threshold=0.99)

    data = bytes(coder().compress(bytearray(raw)))
    assert bytes(coder().decompress(data)) == raw
    return len(data)


def main():
    """Do what the arguments say."""
    arrays = dict(np.load(sys.argv[1]))
    if sys.argv[2] == "nncodec":
        print(by_nncodec(arrays, int(sys.argv[3]), sys.argv[4], sys.argv[5]))
    else:
        raw = b"".join(array.tobytes() for array in arrays.values())
        print({"zstd": by_zstd, "zipnn": by_zipnn}[sys.argv[2]](raw))


if __name__ == "__main__":
    main()

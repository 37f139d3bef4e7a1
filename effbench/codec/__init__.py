"""Weights as bytes and back: what a compressed network weighs is the length of a file that can be read again."""

from effbench.codec.container import Written, decode, decode_on_grids, encode, encode_each
from effbench.codec.streams import Coder

__all__ = ["Coder", "Written", "decode", "decode_on_grids", "encode", "encode_each"]

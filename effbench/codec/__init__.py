"""Weights as bytes and back: what a compressed network weighs is the length of a file that can be read again."""

from effbench.codec.container import decode, encode

__all__ = ["decode", "encode"]

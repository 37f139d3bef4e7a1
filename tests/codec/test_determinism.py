import subprocess
import sys


def test_importing_the_codec_imports_neither_numba_nor_constriction():
    code = "import sys, effbench.codec; sys.exit('numba' in sys.modules or 'constriction' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PROGRAM = """
import hashlib, torch
from torch import nn
from torch.nn.utils import parametrize
from effbench.codec import encode
from effbench.constraints import Mask
from effbench.quantizer import UniformQuantizer
torch.set_num_threads(1)
torch.manual_seed(7)
model = nn.Sequential(nn.Linear(300, 200), nn.Linear(200, 10))
parametrize.register_parametrization(model[0], "weight", Mask(torch.rand(200, 300) < 0.2))
parametrize.register_parametrization(model[0], "weight", UniformQuantizer(5, scheme="affine"))
blobs = [encode(model, coder=coder) for coder in ("none", "huffman", "ans", "context")]
digest = hashlib.sha256(b"".join(blobs)).hexdigest()
"""


def test_the_same_network_gives_the_same_bytes_here_and_in_a_fresh_process():
    digests = []
    for _ in range(2):
        names = {}
        exec(PROGRAM, names)
        digests.append(names["digest"])
    fresh = subprocess.run(
        [sys.executable, "-c", PROGRAM + "print(digest)"], check=True, capture_output=True, text=True
    )
    assert {*digests, fresh.stdout.strip()} == {digests[0]}

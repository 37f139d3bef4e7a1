"""Image classifiers of transformers, from folders; most need the package, which is an extra."""

import json
import sys

import pytest
import torch

from effbench.models import hf_model
from effbench.models.hf_networks import folder_of, weights_in


def test_without_transformers_a_line_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs transformers, .*pip install 'effbench\[transformers\]'"):
        hf_model(name=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "hf:./nowhere: there is no such folder"),
        ("a/b/c", "there is no such folder"),
        ("empty", "hf:empty: has no config.json; give a folder that save_pretrained wrote"),
        ("file.bin", "is a file; give the folder it lies in"),
        ("~nobody_of_that_name/x", "can't be a folder"),
    ],
)
def test_what_is_no_folder_of_a_network(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        folder_of(name)


def test_weights_in_one_file_in_several_and_in_none(tmp_path):
    assert weights_in(tmp_path) is None
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert weights_in(tmp_path).name == "pytorch_model.bin"
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="lie in several files"):
        weights_in(tmp_path)


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="an extra: pip install 'effbench[transformers]'")


@pytest.fixture(scope="module", params=["vit", "resnet"])
def saved(request, transformers, tmp_path_factory):
    """Return a network with fresh weights, and the folder that `save_pretrained` made of it."""
    sizes = {
        "vit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        | {"image_size": 16, "patch_size": 8},
        "resnet": {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1]},
    }[request.param]
    kind = {"vit": transformers.ViTConfig, "resnet": transformers.ResNetConfig}[request.param]
    torch.manual_seed(0)
    network = transformers.AutoModelForImageClassification.from_config(kind(num_labels=4, **sizes)).eval()
    folder = tmp_path_factory.mktemp(request.param)
    network.save_pretrained(folder)
    return network, folder


class TestTransformersItself:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_the_folders_weights_give_its_logits(self, saved, channels):
        network, folder = saved
        path = str(folder / "model.safetensors")
        model = hf_model(name=str(folder), weights=path, num_classes=4, in_channels=channels, input_side=16).eval()
        images = torch.randn(2, channels, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = network(pixel_values=images.expand(-1, 3, -1, -1)).logits
            assert torch.equal(model(images), expected)

    def test_another_number_of_classes_and_chosen_rows(self, saved):
        network, folder = saved
        path = str(folder / "model.safetensors")
        options = {"name": str(folder), "weights": path, "num_classes": 2, "input_side": 16}
        last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1].weight
        model = hf_model(**options, class_rows=[3, 0])
        chosen = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1].weight
        assert torch.equal(chosen, last[[3, 0]])

    def test_without_weights_they_are_fresh(self, saved):
        _, folder = saved
        torch.manual_seed(1)
        one = hf_model(name=str(folder), num_classes=3, input_side=16)
        torch.manual_seed(1)
        again = hf_model(name=str(folder), num_classes=3, input_side=16)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))

    def test_what_is_no_image_classifier_is_refused(self, transformers, tmp_path):
        for content in ({"model_type": "bert"}, {"model_type": "never_heard_of"}, []):
            (tmp_path / "config.json").write_text(json.dumps(content))
            with pytest.raises(ValueError, match=r"can't be (read|built)") as caught:
                hf_model(name=str(tmp_path))
            assert "\n" not in str(caught.value)

    def test_code_of_a_folder_is_never_run(self, transformers, tmp_path):
        (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        maps = {"AutoConfig": "own.Config", "AutoModelForImageClassification": "own.Net"}
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": maps}))
        with pytest.raises(ValueError, match="can't be read"):
            hf_model(name=str(tmp_path))
        assert not (tmp_path / "ran").exists()

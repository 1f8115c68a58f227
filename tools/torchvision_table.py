"""`jaxlens/modelzoo/torchvision.json`: all classifiers and weights that torchvision publishes.

`python -m tools.torchvision_table`
"""

import json
from pathlib import Path
from typing import Any

import jaxlens.modelzoo

TABLE = Path(jaxlens.modelzoo.__file__).parent / "torchvision.json"
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def published() -> dict[str, Any]:
    """Return every torchvision classifier with its weights, the default first.

    Values that most of them share are left out.
    """
    from torchvision import models

    table = {}
    for name in models.list_models(module=models):
        sets: Any = models.get_model_weights(name)
        default = sets.DEFAULT
        ordered = [default, *(each for each in sets if each is not default)]
        table[name] = {"parameters": default.meta["num_params"], "weights": {each.name: _entry(each) for each in ordered}}
    return table


def _entry(weights: Any) -> dict[str, Any]:
    transforms, (mean, std) = weights.transforms(), _IMAGENET
    entry: dict[str, Any] = {"file": weights.url.removeprefix("https://download.pytorch.org/models/")}
    entry["mebibytes"] = weights.meta["_file_size"]
    if transforms.crop_size != [224]:
        entry["input_size"] = transforms.crop_size[0]
    if (list(transforms.mean), list(transforms.std)) != (mean, std):
        entry |= {"mean": list(transforms.mean), "std": list(transforms.std)}
    if weights.meta["categories"] is None:
        entry["labels"] = None
    if "license" in weights.meta:
        entry["license"] = weights.meta["license"]
    return entry


if __name__ == "__main__":
    TABLE.write_text(json.dumps(published(), indent=1) + "\n", encoding="utf-8")
    print(f"{TABLE}: {len(published())} networks")

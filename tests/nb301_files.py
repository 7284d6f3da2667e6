"""NAS-Bench-301 archives in the published layout, made from the small models of the data folder."""

import json
import zipfile
from pathlib import Path

from adapters._nb301_archive import CONFIGS, DATA_CONFIG, MODEL, MODEL_CONFIG

XGB = ("xgb_1.0.2", "xgb_1.1.1", "xgb_1.2.1")
LGB = ("lgb_2.3.1", "lgb_3.0.0")


def add_member(folder, content, model, seed):
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(content)
    (folder / DATA_CONFIG).write_text(json.dumps({"seed": seed, "report_freq": 100}))
    (folder / MODEL_CONFIG).write_text(json.dumps({"model": model}))


def unpacked_archive(data, place):
    """An archive of version 0.9 as the downloader leaves it."""
    source = data / "nb301"
    top = place / "nb_models_0.9"
    # The order on disk is not that of the paths.
    for number, version in reversed(list(enumerate(XGB))):
        content = (source / version / MODEL).read_bytes()
        add_member(top / "xgb_v0.9" / str(number), content, "xgb", 10 + number)
    for number, version in enumerate(LGB):
        content = (source / version / MODEL).read_bytes()
        add_member(top / "lgb_runtime_v0.9" / str(number), content, "lgb_time", number)
    gin = top / "gnn_gin_v0.9" / "only"
    add_member(gin, (source / "gin" / MODEL).read_bytes(), "gnn_gin", 1)
    (gin / MODEL_CONFIG).write_bytes((source / "gin" / MODEL_CONFIG).read_bytes())
    # Upstream saves these beside the members too.
    for name in CONFIGS:
        (top / "xgb_v0.9" / name).write_text("{}")
    (top / "xgb_v0.9" / "log.txt").write_text("epoch 1")
    return top


def zipped_as_published(folder, version="0.9"):
    """The archive as downloaded."""
    path = folder.parent / f"models_{version}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, Path("nb_models") / file.relative_to(folder))
    return path

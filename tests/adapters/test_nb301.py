"""NAS-Bench-301's encodings, GIN, state dicts and archives, against what upstream's code gives."""

import io
import json
import pickle
import sys
import zipfile
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from click.testing import CliRunner
from nb301_files import LGB, XGB, add_member, unpacked_archive, zipped_as_published
from scipy.stats import spearmanr

from adapters import _gin, _nb301_archive, _state_dict, nb301
from adapters._boosters import booster_state, xgboost_trees
from adapters._nb301_archive import CONFIGS, DATA_CONFIG, MODEL, MODEL_CONFIG
from adapters._nb301_features import FEATURES, NO_INPUT, OPS, cells, features
from harness import cli, first_run, load, rank, store
from harness.arch import Arch
from harness.benchmark import Slice
from harness.errors import (
    BadFile,
    BrokenStore,
    InvalidArch,
    InvalidSpec,
    MissingPackage,
    UnknownArch,
    UnknownEpoch,
    UnknownName,
    UnknownSeed,
    UnknownSlice,
)
from harness.seeds import derive
from harness.spaces import space
from harness.spaces.darts import EDGES, Genotype
from harness.surrogate import NB301, Surrogate, darts_codes

DARTS = space("darts")


def genotype(cells_):
    return Genotype(cells_["normal"], range(2, 6), cells_["reduce"], range(2, 6))


@pytest.fixture(scope="session")
def golden(data):
    """60 genotypes with what upstream makes of them."""
    return json.loads((data / "nb301" / "golden.json").read_text())


def sampled(n, of="darts", seed=0):
    rng = np.random.default_rng(seed)
    return [space(of).sample(rng) for _ in range(n)]


def codes_of(archs):
    return np.array([arch.code for arch in archs], dtype=np.uint8)


# --- Encoding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["darts", "darts-no-none"])
def test_features_are_those_of_configspace(golden, of):
    codes = codes_of(space(of).of_genotype(genotype(row["genotype"])) for row in golden["rows"])

    found = features(codes, of)

    assert np.array_equal([row["xgb_features"] for row in golden["rows"]], found)


def test_features_are_named_as_in_configspace(golden):
    upstream = [name.rpartition("darts:")[2].split(":")[-1] for name in golden["feature_names"]]
    own = ["alpha" if name == "mixup_alpha" else name for name in FEATURES]

    assert [name.replace("inputs_node", "inputs") for name in upstream] == own


def test_features_of_random_cells_by_hand():
    """One architecture at a time, with ConfigSpace's list of input pairs written out."""
    archs = sampled(50)

    found = features(codes_of(archs))

    for arch, row in zip(archs, found, strict=True):
        named = dict(zip(FEATURES, row.tolist(), strict=True))
        cells_ = DARTS.genotype(arch)
        for cell, pairs in (("normal", cells_.normal), ("reduce", cells_.reduce)):
            expected = {f"edge_{cell}_{edge}": NO_INPUT for edge in range(14)}
            for position, (op, source) in enumerate(pairs):
                edge = EDGES.index((2 + position // 2, source))
                expected[f"edge_{cell}_{edge}"] = OPS.index(op)
            for node in (3, 4, 5):
                listed = [f"{i}_{j}" for i in range(node) for j in range(i + 1, node)]
                (_, i), (_, j) = pairs[2 * node - 4 : 2 * node - 2]
                expected[f"inputs_{cell}_{node}"] = listed.index(f"{i}_{j}")
            assert expected == {name: named[name] for name in expected}


def test_operations_of_edges_that_are_no_input_have_no_effect():
    codes = codes_of(sampled(20))
    taken = np.zeros((20, 2, 14), dtype=bool)
    np.put_along_axis(taken, cells(codes).edges, True, axis=2)
    other = codes.copy()
    other[:, :28][~taken.reshape(20, 28)] = 0

    assert np.array_equal(features(codes), features(other))


@pytest.mark.parametrize(
    ("position", "value", "problem"),
    [
        (0, 0, "code 1, normal cell: an input has none of"),
        (14, 8, "code 1, reduce cell: an input has none of"),
        (28, 2, "code 1, normal cell: a node's two inputs"),
        (39, 5, "code 1, reduce cell: a node's two inputs"),
        (39, 0, "code 1, reduce cell: a node's two inputs"),
    ],
)
def test_codes_of_no_cell_are_refused(position, value, problem):
    codes = codes_of(sampled(3))
    codes[1, position] = value

    with pytest.raises(InvalidArch, match=problem):
        features(codes)


def test_codes_of_another_form_or_space_are_refused():
    codes = codes_of(sampled(3))

    for wrong in (codes[0], codes[:, :39], codes.astype(float)):
        with pytest.raises(InvalidArch, match=r"\(n, 40\) whole numbers"):
            features(wrong)
    with pytest.raises(InvalidArch, match="Codes of darts-s2 are not read"):
        features(codes, "darts-s2")


# --- State dicts --------------------------------------------------------------------------------


def state_dict():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state = net.state_dict()
    state["half"] = torch.ones(2, 3, dtype=torch.float16)
    state["none"] = torch.zeros(0, 3)
    state["part"] = torch.arange(10)[2:5]
    state["truth"] = torch.tensor([True, False])
    state["column"] = torch.arange(4.0)[:, None].t()  # Contiguous, whatever its strides are.
    return state


def saved(state, *, zipped, protocol=2):
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save(state, file, pickle_protocol=protocol, _use_new_zipfile_serialization=bool(zipped))
    return file.getvalue()


ZIPPED = pytest.mark.parametrize("zipped", [False, True], ids=["legacy", "zip"])


@ZIPPED
@pytest.mark.parametrize("protocol", [2, 4])
def test_state_dicts_are_read_as_torch_reads_them(zipped, protocol):
    state = state_dict()

    found = _state_dict.read(saved(state, zipped=zipped, protocol=protocol), "made")

    assert list(state) == list(found)
    for name, tensor in state.items():
        assert (tuple(tensor.shape), tensor.numpy().dtype) == (found[name].shape, found[name].dtype)
        assert np.array_equal(tensor.numpy(), found[name])


def test_the_published_format_is_read_as_torch_reads_it(data):
    torch = pytest.importorskip("torch")
    file = data / "nb301" / "gin" / "surrogate_model.model"

    found = _state_dict.read(file.read_bytes(), "gin")

    expected = torch.load(file, weights_only=True)
    assert list(expected) == list(found)
    assert all(np.array_equal(expected[name].numpy(), found[name]) for name in expected)


@ZIPPED
def test_a_tensor_that_is_not_contiguous_is_refused(zipped):
    torch = pytest.importorskip("torch")
    content = saved({"weight": torch.arange(6.0).reshape(2, 3).t()}, zipped=zipped)

    with pytest.raises(BadFile, match=r"somewhere.*not contiguous"):
        _state_dict.read(content, "somewhere")


@ZIPPED
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.99])
def test_a_cut_state_dict_is_refused(zipped, share):
    content = saved(state_dict(), zipped=zipped)

    with pytest.raises(BadFile, match="somewhere"):
        _state_dict.read(content[: int(len(content) * share)], "somewhere")


@ZIPPED
def test_one_changed_byte_is_refused_or_changes_numbers_alone(zipped):
    state = state_dict()
    content = saved(state, zipped=zipped)
    rng = np.random.default_rng(0)

    for at in rng.integers(len(content), size=300).tolist():
        changed = bytearray(content)
        changed[at] ^= int(rng.integers(1, 256))
        try:
            found = _state_dict.read(bytes(changed), "somewhere")
        except BadFile as error:
            assert "somewhere" in str(error)
        else:
            assert all(isinstance(array, np.ndarray) for array in found.values())


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


class Storage:
    """Pickled as torch's reference to a storage."""

    def __init__(self, key, n_items):
        self.key, self.n_items = key, n_items


def legacy(tensors, keys=(), data=b"", magic=0x1950A86A20F9469CFC6C, little_endian=True):
    """A file in torch's legacy format, from any object in place of the state dict."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, object_):
            if isinstance(object_, Storage):
                return (
                    "storage",
                    named("FloatStorage"),
                    object_.key,
                    "cpu",
                    object_.n_items,
                    None,
                )
            return None

    file = io.BytesIO()
    for part in (magic, 1001, {"little_endian": little_endian}, tensors, list(keys)):
        Pickler(file, protocol=2).dump(part)
    return file.getvalue().replace(b"cadapters_test\n", b"ctorch\n") + data


def named(name):
    """A class that is pickled by the name adapters_test.NAME."""
    import types

    module = sys.modules.setdefault("adapters_test", types.ModuleType("adapters_test"))
    module.__dict__.setdefault(name, type(name, (), {"__module__": "adapters_test"}))
    return module.__dict__[name]


class Tensor:
    """Pickled as torch pickles a tensor."""

    def __init__(self, *told):
        self.told = told

    def __reduce__(self):
        _utils = __import__("torch._utils", fromlist=["_rebuild_tensor_v2"])
        return (_utils._rebuild_tensor_v2, self.told)


def number(n_items=1, key="0", start=0, shape=(1,), strides=(1,)):
    return Tensor(Storage(key, n_items), start, shape, strides, False, OrderedDict())


ONE = (1).to_bytes(8, "little") + np.float32(2.5).tobytes()


def test_a_legacy_file_by_hand():
    pytest.importorskip("torch")
    content = legacy(OrderedDict(x=number()), ["0"], ONE)

    assert {"x": [2.5]} == {k: v.tolist() for k, v in _state_dict.read(content, "made").items()}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"tensors": Hostile()}, "executed"),
        ({"tensors": {"x": Hostile()}}, "executed"),
        ({"tensors": {"x": 1}, "keys": (), "data": b""}, "no tensor"),
        ({"tensors": {1: number()}}, "without a name"),
        ({"tensors": {}, "keys": (), "data": b""}, "no dict of tensors"),
        ({"tensors": [number()]}, "no dict of tensors"),
        ({"tensors": {"x": number(n_items=10**12)}}, "cut short"),
        ({"tensors": {"x": number(shape=(10**9,))}}, "longer than its storage"),
        ({"tensors": {"x": number(start=1)}}, "longer than its storage"),
        ({"tensors": {"x": number(start=-1)}}, "count is expected"),
        ({"tensors": {"x": number(shape=(-1,))}}, "count is expected"),
        ({"tensors": {"x": number(shape=(1,) * 9, strides=(1,) * 9)}}, "9 dimensions"),
        ({"tensors": {"x": number(strides=(1, 1))}}, "zip"),
        ({"tensors": {"x": number(), "y": number(n_items=2)}}, "two storages"),
        ({"tensors": {"x": frozenset()}}, "frozenset, which no state dict needs"),
        ({"keys": ("1",)}, "not those of the tensors"),
        ({"keys": ("0", "0")}, "not those of the tensors"),
        ({"data": ONE + b"more"}, "4 bytes behind"),
        ({"data": b"\2" + ONE[1:]}, "cut short"),
        ({"magic": 1}, "neither of torch's formats"),
        ({"little_endian": False}, "byte order"),
    ],
)
def test_other_legacy_files_are_refused(changed, problem, capsys):
    pytest.importorskip("torch")
    content = legacy(**{"tensors": OrderedDict(x=number()), "keys": ["0"], "data": ONE} | changed)

    with pytest.raises(BadFile, match=f"somewhere.*{problem}"):
        _state_dict.read(content, "somewhere")

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no pickle",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02" + b"r\xff\xff\xff\xff.",  # A memo of 4 GiB.
        b"\x80\x02" + b"(" * 1000 + b".",
        b"\x80\x02)" + b"\x85" * 200_000 + b".",  # Tuples nested deeper than the C stack.
        pickle.dumps(Hostile()),
        pickle.dumps({"x": frozenset()}, protocol=4),
    ],
)
def test_hostile_pickles_are_refused(raw, capsys):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", raw)

    for content in (raw, zipped.getvalue()):
        with pytest.raises(BadFile, match="somewhere"):
            _state_dict.read(content, "somewhere")
    assert capsys.readouterr().out == ""


def test_a_zip_with_compressed_entries_is_refused():
    content = saved(state_dict(), zipped=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info), zipfile.ZIP_DEFLATED)

    with pytest.raises(BadFile, match=r"somewhere.*compressed"):
        _state_dict.read(packed.getvalue(), "somewhere")


# --- GIN ----------------------------------------------------------------------------------------


def gin_files(data):
    folder = data / "nb301" / "gin"
    state = _state_dict.read((folder / "surrogate_model.model").read_bytes(), "gin")
    return state, json.loads((folder / "model_config.json").read_text())


def test_the_gin_predicts_what_upstreams_modules_do(data, golden):
    codes = codes_of(DARTS.of_genotype(genotype(row["genotype"])) for row in golden["rows"])

    found = _gin.gin(*gin_files(data), "gin").predict(codes)

    expected = np.array([row["gin_val_accuracy"] for row in golden["rows"]])
    assert np.abs(expected - found).max() < 1e-4  # percent; their std is 0.6


def test_the_gin_predicts_many_as_one_by_one(data):
    network = _gin.gin(*gin_files(data), "gin")
    codes = codes_of(sampled(_gin.ARCHS_AT_ONCE + 5))

    together = network.predict(codes)

    alone = [network.predict(code[np.newaxis])[0] for code in codes]
    assert np.abs(together - alone).max() < 1e-4
    assert network.predict(codes[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("setting", "value"), [("graph_pooling", "sum"), ("virtual_node", False), ("num_gnn_layers", 5)]
)
def test_a_gin_of_other_settings_is_refused(data, setting, value):
    state, config = gin_files(data)

    with pytest.raises(BadFile, match="somewhere"):
        _gin.gin(state, config | {setting: value}, "somewhere")


def test_a_gin_without_a_weight_or_with_wrong_ones_is_refused(data):
    state, config = gin_files(data)
    name = "gnn_node.convs.3.mlp.0.weight"
    wrong = {
        "has no ": {k: v for k, v in state.items() if k != name},
        "shape": state | {name: state[name][:-1]},
        "int64": state | {name: state[name].astype(np.int64)},
        "finite": state | {name: state[name] * np.nan},
    }

    for problem, changed in wrong.items():
        with pytest.raises(BadFile, match=f"(?s)somewhere.*{problem}"):
            _gin.gin(changed, config, "somewhere")
    with pytest.raises(BadFile, match="somewhere has 0 layers"):
        _gin.gin({}, {}, "somewhere")


# --- Archives -----------------------------------------------------------------------------------


@pytest.fixture
def unpacked(data, tmp_path):
    return unpacked_archive(data, tmp_path)


@pytest.fixture
def published(unpacked):
    return zipped_as_published(unpacked)


def test_an_xgb_ensemble_predicts_what_its_files_do(data, unpacked, published):
    archs = sampled(100)
    inputs = features(codes_of(archs))
    files = [(data / "nb301" / version / MODEL).read_bytes() for version in XGB]
    expected = np.array([xgboost_trees(file, "x").predict(inputs) for file in files])

    for path in (unpacked, published, unpacked / "xgb_v0.9", unpacked.parent / "nb_models_0.9"):
        surrogate = nb301.open_ensemble(path, "xgb")

        assert ("nb301-v0.9-xgb", ("0", "1", "2")) == (surrogate.name, surrogate.members)
        assert (10, 11, 12) == surrogate.holdings[NB301].seeds
        assert np.array_equal(expected, surrogate.predict(archs))
        assert np.array_equal(expected, surrogate.predict(codes_of(archs)))


@pytest.mark.parametrize("version", XGB)
def test_its_files_predict_what_xgboost_did(data, version):
    with np.load(data / "nb301" / version / "xy.npz") as held:
        inputs, outputs = held["X"], held["p"]

    found = xgboost_trees((data / "nb301" / version / MODEL).read_bytes(), version)

    assert np.abs(outputs - found.predict(inputs)).max() < 2e-5


def test_a_gin_ensemble_predicts_what_its_file_does(published, golden):
    surrogate = nb301.open_ensemble(published, "gnn_gin")
    archs = [DARTS.of_genotype(genotype(row["genotype"])) for row in golden["rows"]]

    found = surrogate.predict(archs)

    expected = np.array([row["gin_val_accuracy"] for row in golden["rows"]])
    assert ("nb301-v0.9-gnn_gin", ("only",), (1, 60)) == (
        surrogate.name,
        surrogate.members,
        found.shape,
    )
    assert np.abs(expected - found).max() < 1e-4
    assert np.isnan(surrogate.query(archs[0], NB301, seed="mean").std)


def test_one_member_can_be_opened_by_its_own_folder(unpacked):
    surrogate = nb301.open_ensemble(unpacked / "xgb_v0.9" / "1", "xgb")

    assert ("nb301-v0.9-xgb", ("1",), (11,)) == (
        surrogate.name,
        surrogate.members,
        surrogate.holdings[NB301].seeds,
    )


@pytest.mark.parametrize("version", LGB)
def test_runtimes_are_those_that_lightgbm_predicted(data, unpacked, version):
    pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    with np.load(data / "nb301" / version / "xy.npz") as held:
        inputs, outputs = held["X"], held["p"]
    content = (data / "nb301" / version / MODEL).read_bytes()

    found = nb301._lgb(content, {}, version)(inputs)

    assert np.abs(outputs - found).max() < 2e-5


def test_a_runtime_ensemble(unpacked, published):
    pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    archs = sampled(5)

    first, second = (nb301.open_runtime(path) for path in (unpacked, published))

    values = first.predict(archs)
    assert ("nb301-v0.9-lgb_runtime", ("0", "1"), (0, 1)) == (
        first.name,
        first.members,
        first.seeds,
    )
    assert (2, 5) == values.shape
    assert np.array_equal(values, second.predict(archs))
    reading = first.query(DARTS.format(archs[3]))
    assert (pytest.approx(values[:, 3].mean()), 2, "s") == (reading.value, reading.n, reading.unit)
    assert reading.std == pytest.approx(values[:, 3].std(ddof=1))


@pytest.mark.parametrize("handle", [None, b"tree", "garbage"])
def test_a_pickle_without_a_lightgbm_model_is_refused(handle):
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")

    class Booster:
        def __reduce__(self):
            return (lightgbm.basic.Booster, (), {"handle": handle})

    with pytest.raises(BadFile, match=r"somewhere .* LightGBM model"):
        nb301._lgb(pickle.dumps(Booster(), protocol=3), {}, "somewhere")


def test_no_archs_have_no_predictions(unpacked):
    assert (3, 0) == nb301.open_ensemble(unpacked, "xgb").predict([]).shape
    assert (1, 0) == nb301.open_ensemble(unpacked, "gnn_gin").predict([]).shape
    pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    assert (2, 0) == nb301.open_runtime(unpacked).predict([]).shape


def test_trees_after_early_stopping_do_not_count(data):
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    content = (data / "nb301" / LGB[0] / MODEL).read_bytes()
    text = booster_state(content, "x")["handle"]
    inputs = features(codes_of(sampled(5)))
    expected = lightgbm.Booster(model_str=text).predict(inputs, num_iteration=3)

    class Booster:
        def __reduce__(self):
            return (lightgbm.basic.Booster, (), {"handle": text, "best_iteration": 3})

    found = nb301._lgb(pickle.dumps(Booster(), protocol=2), {}, "made")(inputs)

    assert expected.tolist() == found.tolist()


def test_without_lightgbm_the_remedy_is_named(unpacked, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    with pytest.raises(MissingPackage, match=r"pip install '\.\[nb301\]'"):
        nb301.open_runtime(unpacked)


def test_kinds_and_places_that_do_not_exist(unpacked, tmp_path):
    with pytest.raises(UnknownName, match="Did you mean xgb"):
        nb301.open_ensemble(unpacked, "xgbb")
    with pytest.raises(BadFile, match="There is no"):
        nb301.open_ensemble(tmp_path / "nowhere.zip", "xgb")
    with pytest.raises(BadFile, match="holds no gnn_gin models, but 3 of xgb"):
        nb301.open_ensemble(unpacked / "xgb_v0.9", "gnn_gin")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFile, match="holds no folder with a surrogate_model.model"):
        nb301.open_ensemble(tmp_path / "empty", "xgb")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(BadFile, match="neither a folder nor a whole zip"):
        nb301.open_ensemble(tmp_path / "text.zip", "xgb")


@pytest.mark.parametrize("name", [MODEL, DATA_CONFIG, MODEL_CONFIG])
def test_a_missing_file_is_named(unpacked, name):
    (unpacked / "xgb_v0.9" / "1" / name).unlink()

    for path in (unpacked, zipped_as_published(unpacked)):
        with pytest.raises(BadFile, match=rf"xgb_v0.9/1 .*{name}"):
            nb301.open_ensemble(path, "xgb")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (DATA_CONFIG, "{", "not readable JSON"),
        (DATA_CONFIG, "[" * 100_000, "not readable JSON"),
        (DATA_CONFIG, "\udcff", "not readable JSON"),
        (DATA_CONFIG, '{"seed": "one"}', "names no seed"),
        (MODEL_CONFIG, "[]", "names no model"),
        (MODEL_CONFIG, "{}", "names no model"),
        (MODEL_CONFIG, '{"x": "' + "x" * 2**20 + '"}', "more than"),
        (MODEL, "no pickle", "not a pickled model"),
    ],
)
def test_a_broken_file_is_named(unpacked, name, text, problem):
    file = unpacked / "xgb_v0.9" / "1" / name
    file.write_bytes(text.encode(errors="surrogateescape"))

    for path in (unpacked, zipped_as_published(unpacked)):
        with pytest.raises(BadFile, match=f"(?s)xgb_v0.9/1/{name}.*{problem}"):
            nb301.open_ensemble(path, "xgb")


def test_models_that_no_reader_knows(unpacked):
    for folder in (unpacked / "xgb_v0.9").glob("[0-9]"):
        (folder / MODEL_CONFIG).write_text('{"model": "svr"}')

    with pytest.raises(BadFile, match="holds no xgb models, but 1 of gnn_gin, 2 of lgb_time, 3 of"):
        nb301.open_ensemble(unpacked, "xgb")


def test_members_of_another_encoding_are_refused(unpacked):
    file = unpacked / "xgb_v0.9" / "1" / MODEL
    content = file.read_bytes()
    # The number of features stands behind the base score, after the header of the handle.
    at = content.index((56).to_bytes(4, "little"))
    file.write_bytes(content[:at] + (57).to_bytes(4, "little") + content[at + 4 :])

    with pytest.raises(BadFile, match=r"1/surrogate_model.model takes 57 numbers .* has 56"):
        nb301.open_ensemble(unpacked, "xgb")


@pytest.mark.parametrize("zipped", [False, True])
def test_an_oversized_member_is_not_read(unpacked, monkeypatch, zipped):
    monkeypatch.setattr(_nb301_archive, "MAX_MODEL_BYTES", 1000)
    path = zipped_as_published(unpacked) if zipped else unpacked

    with pytest.raises(BadFile, match="has more than 1000 bytes"):
        nb301.open_ensemble(path, "xgb")


def test_a_damaged_zip_is_refused(published):
    content = bytearray(published.read_bytes())
    with zipfile.ZipFile(published) as archive:
        offset = archive.getinfo("nb_models/xgb_v0.9/1/surrogate_model.model").header_offset
    content[offset + 5000 : offset + 5100] = bytes(100)
    published.write_bytes(content)

    with pytest.raises(BadFile, match=r"xgb_v0.9/1/surrogate_model.model of .*cannot be read"):
        nb301.open_ensemble(published, "xgb")


def test_names_that_climb_out_of_a_zip_write_nothing(unpacked, tmp_path):
    source = unpacked / "xgb_v0.9" / "0"
    path = tmp_path / "away" / "climbing.zip"
    path.parent.mkdir()
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    with zipfile.ZipFile(path, "w") as archive:
        for name in (MODEL, *CONFIGS):
            archive.write(source / name, f"../../out/{name}")
            archive.write(source / name, f"/absolute/{name}")

    surrogate = nb301.open_ensemble(path, "xgb")

    assert 2 == len(surrogate.members)
    assert before | {path} == {file for file in tmp_path.rglob("*") if file.is_file()}


def test_versions_are_told_apart_and_not_mixed(unpacked, tmp_path):
    assert "nb301-v1.0-xgb" == (
        nb301.open_ensemble(
            renamed(unpacked / "xgb_v0.9", tmp_path / "nb_models_1.0" / "xgb_v1.0"), "xgb"
        ).name
    )
    both = tmp_path / "both"
    for version in ("0.9", "1.0"):
        content = (tmp_path / "nb_models_1.0/xgb_v1.0/0" / MODEL).read_bytes()
        add_member(both / f"xgb_v{version}" / "0", content, "xgb", 0)
    with pytest.raises(BadFile, match=r"several versions \(-v0.9, -v1.0\)"):
        nb301.open_ensemble(both, "xgb")
    assert (
        "nb301-xgb" == nb301.open_ensemble(renamed(both / "xgb_v1.0", tmp_path / "x"), "xgb").name
    )


def renamed(folder, to):
    to.parent.mkdir(exist_ok=True)
    return folder.rename(to)


# --- Asking -------------------------------------------------------------------------------------

PREDICTIONS = np.array([[90.0], [92.0], [97.0]])


def made(predictions=PREDICTIONS, **facts):
    members = tuple("abcdefg"[: len(predictions)])
    return Surrogate("made", members, lambda codes: predictions.repeat(len(codes), 1), **facts)


def test_the_mean_and_std_over_members():
    arch = sampled(1)[0]

    reading = made().query(arch, NB301, seed="mean")

    assert (93.0, 13**0.5, 3, "%") == (
        reading.value,
        pytest.approx(reading.std),
        reading.n,
        reading.unit,
    )
    assert Slice("cifar10", "train", "valid", "accuracy", 100) == reading.slice
    assert reading == made().query(DARTS.format(arch), NB301, seed="mean")
    assert (92.0, 1) == ((one := made().query(arch, NB301, seed=1)).value, one.n)
    assert np.isnan(one.std)
    assert made().is_surrogate
    assert made().query(sampled(1)[0], NB301, seed="mean").is_surrogate


def test_noise_is_the_callers_alone():
    arch = sampled(1)[0]
    surrogate = made()
    before = np.random.get_state()[1].tolist()

    drawn = [
        surrogate.query(arch, NB301, seed="mean", noise=rng).value
        for rng in [np.random.default_rng(3)]
        for _ in range(2000)
    ]

    again = np.random.default_rng(3)
    assert drawn[:5] == [
        surrogate.query(arch, NB301, seed="mean", noise=again).value for _ in range(5)
    ]
    assert np.mean(drawn) == pytest.approx(93, abs=4 * (13 / 2000) ** 0.5)
    assert np.std(drawn) == pytest.approx(13**0.5, rel=0.1)
    assert before == np.random.get_state()[1].tolist()


def test_opening_and_asking_leave_the_global_generators_alone(published):
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()

    for kind in ("xgb", "gnn_gin"):
        nb301.open_ensemble(published, kind).query(sampled(1)[0], NB301, seed="mean")

    assert before == np.random.get_state()[1].tolist()


def test_questions_without_an_answer():
    arch = sampled(1)[0]

    with pytest.raises(UnknownSlice, match="does not hold cifar10/train/test"):
        made().query(arch, Slice("cifar10", "train", "test", "accuracy", 100), seed="mean")
    with pytest.raises(UnknownSeed, match="holds seeds 0, 1, 2"):
        made().query(arch, NB301, seed=3)
    with pytest.raises(InvalidSpec, match="One member has no std"):
        made().query(arch, NB301, seed=0, noise=np.random.default_rng(0))
    with pytest.raises(InvalidSpec, match="One member has no std"):
        made(PREDICTIONS[:1]).query(arch, NB301, seed="mean", noise=np.random.default_rng(0))
    with pytest.raises(InvalidArch, match="not a genotype"):
        made().query("Genotype()", NB301, seed="mean")


def test_an_omitted_training_set_is_filled_in():
    at = Slice("cifar10", None, "valid", "accuracy", 100)

    assert "train" == made().query(sampled(1)[0], at, seed="mean").slice.trained_on


@pytest.mark.parametrize("of", ["darts-no-none", "darts-s1", "darts-s2", "darts-s3"])
def test_archs_of_the_family_are_taken_over_by_their_genotypes(of):
    archs = sampled(20, of)

    found = darts_codes([*archs, *sampled(1)])

    expected = [DARTS.of_genotype(space(of).genotype(arch)).code for arch in archs]
    assert expected == [tuple(code) for code in found[:-1].tolist()]


def test_archs_of_other_spaces_are_refused():
    with pytest.raises(UnknownArch, match="'noise' of darts-s4 is no operation that"):
        darts_codes(sampled(1, "darts-s4"))
    with pytest.raises(UnknownArch, match="DARTS family, not of nb201"):
        made().query(space("nb201").arch((0,) * 6), NB301, seed="mean")
    with pytest.raises(UnknownArch, match="no space nowhere"):
        darts_codes([Arch("nowhere", (0,))])


def test_a_cell_of_s4_without_noise_is_known():
    pairs = [("sep_conv_3x3", source) for source in (0, 1) * 4]
    arch = space("darts-s4").of_genotype(Genotype(pairs, range(2, 6), pairs, range(2, 6)))

    found = darts_codes([arch])

    assert DARTS.of_genotype(Genotype(pairs, range(2, 6), pairs, range(2, 6))).code == tuple(
        found[0].tolist()
    )


# --- A live ensemble ----------------------------------------------------------------------------

UpstreamGenotype = namedtuple("UpstreamGenotype", "normal normal_concat reduce reduce_concat")


class Ensemble:
    """Stands for upstream's: remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def predict(self, config, representation, with_noise=True):
        self.asked.append((config, representation, with_noise))
        return np.float32(90 + len(self.asked))


def test_a_live_ensemble_is_asked_for_genotypes_without_noise():
    ensemble = Ensemble()
    archs = sampled(2)

    surrogate = nb301.wrap(ensemble)

    assert [[91.0, 92.0]] == surrogate.predict(archs).tolist()
    assert ("upstream",) == surrogate.members
    for arch, (config, representation, with_noise) in zip(archs, ensemble.asked, strict=True):
        expected = DARTS.genotype(arch)
        assert ("genotype", False) == (representation, with_noise)
        assert all(isinstance(field, list) for field in config)
        assert list(expected.normal) == config.normal
        assert UpstreamGenotype(*config).reduce_concat == [2, 3, 4, 5]
    reading = surrogate.query(archs[0], NB301, seed="mean")
    assert (93.0, None) == (reading.value, reading.n)
    assert np.isnan(reading.std)
    with pytest.raises(InvalidSpec):
        surrogate.query(archs[0], NB301, seed="mean", noise=np.random.default_rng(0))


# --- By command ---------------------------------------------------------------------------------


def call(*arguments):
    answer = CliRunner().invoke(cli.app, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(answer.stdout)


ASKED = ("--dataset", "cifar10", "--split", "valid", "--epochs", "100")


@pytest.mark.parametrize("zipped", [True, False])
def test_an_imported_ensemble_predicts_what_the_archive_does(home, unpacked, zipped):
    path = zipped_as_published(unpacked) if zipped else unpacked
    arch = sampled(1)[0]

    imported = call("import", "nb301", str(path), "--as", "nb301")
    found = call("query", "nb301", DARTS.format(arch), *ASKED, "--seed", "mean")

    expected = nb301.open_ensemble(path, "xgb").query(arch, NB301, seed="mean")
    assert (imported["store"], imported["n_archs"]) == ("nb301-v0.9-xgb", 0)
    assert (found["value"], found["std"], found["n"]) == (expected.value, expected.std, 3)
    assert found["is_surrogate"]
    one = call("query", "nb301", DARTS.format(arch), *ASKED, "--seed", "11")
    assert one["value"] == nb301.open_ensemble(path, "xgb").predict([arch])[1, 0]


def test_the_gin_is_imported_beside_it(home, published):
    for source in ("nb301", "nb301-gin"):
        call("import", source, str(published))

    listed = {row["name"]: row["summary"] for row in call("list", "benchmarks")["benchmarks"]}

    assert listed["nb301-v0.9-xgb"] == "predicts any arch of darts"
    assert listed["nb301-v0.9-gnn_gin"] == "predicts any arch of darts"
    assert 1 == len(load("nb301-v0.9-gnn_gin").holdings[NB301].seeds)


def test_a_store_is_named_without_reading_a_model(published, monkeypatch):
    monkeypatch.setattr(_nb301_archive, "MAX_MODEL_BYTES", 1)

    assert "nb301-v0.9-xgb" == nb301.ADAPTER.store_of("nb301", published)
    assert "nb301-v0.9-gnn_gin" == nb301.ADAPTER.store_of("nb301-gin", published)


def test_a_damaged_archive_does_not_end_the_first_run(home, tmp_path, monkeypatch, capsys):
    (tmp_path / "models_0.9.zip").write_bytes(b"no zip")
    monkeypatch.setenv("NAS_HARNESS_DATA", str(tmp_path))

    first_run.main()

    assert "neither a folder nor a whole zip" in capsys.readouterr().err


def test_a_changed_file_of_a_store_is_seen(home, published):
    call("import", "nb301", str(published))
    assert [] == store.verify("nb301-v0.9-xgb")
    assert ["verified"] == [
        bench["status"]
        for bench in call("doctor")["benchmarks"]
        if bench["name"] == "nb301-v0.9-xgb"
    ]
    file = next((home / "stores").rglob(MODEL))
    file.write_bytes(file.read_bytes()[:-1])

    assert [f"{file} was changed after the import"] == store.verify("nb301-v0.9-xgb")
    with pytest.raises(BrokenStore, match="Import the archive again"):
        load("nb301-v0.9-xgb")


def test_an_archive_with_a_damaged_member_leaves_no_store(home, unpacked):
    (unpacked / "xgb_v0.9" / "2" / MODEL).write_bytes(b"no pickle")

    with pytest.raises(BadFile, match="not a pickled model"):
        nb301.ADAPTER.pack("nb301", unpacked, mapping=None, jobs=1, progress=lambda *_: None)

    assert {} == store.imported()
    assert [] == list((home / "stores").glob("*nb301*"))


def test_a_sample_is_ranked_by_what_is_known_of_it(home, published):
    call("import", "nb301", str(published))
    surrogate = load("nb301-v0.9-xgb")

    found = rank(surrogate, "params", NB301, seed="mean", sample=50, draw_seed=3)

    table = surrogate.drawn(50, derive(3, "draw of architectures"))
    params = DARTS.network_cost("params", table.codes, channels=32, n_cells=8)
    means = surrogate.predict(table.codes).mean(axis=0)
    assert found.spearman == pytest.approx(spearmanr(params, means).statistic, abs=1e-12)
    assert found.n == 50
    assert found.interval is not None
    assert table.query(7, NB301, seed=11).is_surrogate
    with pytest.raises(InvalidSpec, match="lists none"):
        rank(surrogate, "params", NB301, seed="mean")


def test_what_a_surrogate_does_not_have_is_told(home):
    for ask in (
        lambda: made().column(NB301, seed="mean"),
        lambda: made().curve(sampled(1)[0], NB301, seed="mean"),
        lambda: made().query(5, NB301, seed="mean"),
        lambda: made().to_frame(),
    ):
        with pytest.raises(InvalidSpec, match="lists none"):
            ask()
    with pytest.raises(UnknownEpoch, match="holds epochs 100"):
        made().query(sampled(1)[0], NB301, seed="mean", epoch=50)
    with pytest.raises(UnknownSeed, match="No seed was named"):
        made().query(sampled(1)[0], NB301)

"""Files in NAS-Bench-101's format, with real cells and their real validation accuracies.

Written from the format's description alone, without the reader's code: framing with masked
CRC32C, rows as JSON, metrics as a proto2 ModelMetrics in base64.
"""

import base64
import csv
import gzip
import json
import math
import struct
from dataclasses import dataclass

OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
CHECKPOINT = "/cns/trained/model.ckpt-1"
SCHEDULES = (4, 12, 36, 108)
SEEDS = (0, 1, 2)


def crc_of_byte(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


CRC_OF_BYTE = [crc_of_byte(byte) for byte in range(256)]


def crc32c(data):
    crc = 2**32 - 1
    for byte in data:
        crc = CRC_OF_BYTE[crc & 255 ^ byte] ^ crc >> 8
    return crc ^ 2**32 - 1


def masked(crc):
    rotated = (crc >> 15 | crc << 17) % 2**32
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)


def framed(payload, crc_of=crc32c):
    """crc_of: a faster CRC32C for those who write millions of records."""
    length = struct.pack("<Q", len(payload))
    return b"".join([length, masked(crc_of(length)), payload, masked(crc_of(payload))])


def varint(number):
    digits = []
    while number > 127:
        digits.append(number % 128 + 128)
        number //= 128
    return bytes([*digits, number])


def double(field, value):
    return bytes([field * 8 + 1]) + struct.pack("<d", value)


def submessage(field, content):
    return bytes([field * 8 + 2]) + varint(len(content)) + content


@dataclass(frozen=True)
class Evaluation:
    """What a training has reached: epochs, seconds, and accuracies as fractions."""

    epoch: float
    seconds: float
    train: float
    valid: float
    test: float

    def message(self, checkpoint=CHECKPOINT):
        numbers = (self.epoch, self.seconds, self.train, self.valid, self.test)
        content = b"".join(double(field, value) for field, value in enumerate(numbers, start=1))
        return content + (submessage(6, checkpoint.encode()) if checkpoint else b"")


@dataclass(frozen=True)
class Cell:
    """A real cell. valid: fraction by schedule; seconds: of 108 epochs."""

    module_hash: str
    adjacency: str
    operations: str
    valid: dict
    seconds: float
    n_params: int

    @property
    def spec(self):
        n = math.isqrt(len(self.adjacency))
        matrix = [[int(self.adjacency[n * i + j]) for j in range(n)] for i in range(n)]
        return matrix, self.operations.split(",")


def read_cells(path, every=1):
    """Cells of the compact table of 30,001 real ones."""
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))[::every]
    return [
        Cell(
            row["key"],
            row["adjacency"],
            ",".join(["input", *(OPS[int(digit)] for digit in row["ops"]), "output"]),
            {epochs: float(row[f"val_acc_e{epochs}"]) for epochs in SCHEDULES},
            float(row["final_training_time"]),
            int(row["trainable_parameters"]),
        )
        for row in rows
    ]


def evaluations(cell, epochs, seed):
    """(start, half-way, end); seed 0 ends at the real validation accuracy, the rest is made up."""
    valid = cell.valid[epochs] * (1 - seed / 50)
    seconds = cell.seconds * epochs / 108 + seed
    return (
        Evaluation(0.0, 0.0, 0.1, 0.09, 0.11),
        Evaluation(epochs / 2, seconds / 2, valid * 0.8, valid * 0.7, valid * 0.75),
        Evaluation(epochs, seconds, valid * 0.99, valid, valid * 0.98),
    )


def metrics(cell, epochs, seed, checkpoint=CHECKPOINT):
    reached = evaluations(cell, epochs, seed)
    content = b"".join(submessage(1, e.message(checkpoint)) for e in reached)
    content += bytes([2 * 8]) + varint(cell.n_params)
    return content + double(3, cell.seconds + 10)


def row(cell, epochs, seed, /, **changed):
    """The payload of one training; `changed` entries replace the true ones."""
    entries = {
        "hash": cell.module_hash,
        "epochs": epochs,
        "adjacency": cell.adjacency,
        "operations": cell.operations,
        "metrics": base64.b64encode(metrics(cell, epochs, seed)).decode(),
    }
    return json.dumps(list({**entries, **changed}.values())).encode()


def rows(cells, schedules=SCHEDULES, seeds=SEEDS):
    """All trainings; those of one cell lie far apart."""
    return [row(c, epochs, seed) for seed in seeds for epochs in schedules for c in cells]


def write(path, payloads):
    path.write_bytes(b"".join(map(framed, payloads)))
    return path

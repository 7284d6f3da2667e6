"""The architectures that the rows of a CSV are about, and what names them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters._csv_map import CsvMap, SpecColumns, TextColumn, shown
from adapters._csv_sheet import Sheet
from harness.arch import Arch, Codes, ListedSpace, SearchSpace
from harness.errors import BadFile, HarnessError, InvalidArch
from harness.spaces.nb101 import INPUT, OUTPUT


@dataclass(frozen=True)
class Archs:
    """The architectures of a file: in the order of their keys where they have some, in the
    official order, or in the file's where there is none.

    indices: (n_arch,) by that order; codes: (n_arch, n_positions); of_row: for every row of
    the file, the position of its architecture in both; keys: (n_arch,) official hashes.
    """

    indices: NDArray[np.int64]
    codes: Codes
    of_row: NDArray[np.intp]
    keys: NDArray[np.bytes_] | None = None

    def __len__(self) -> int:
        return len(self.indices)


def read_archs(sheet: Sheet, csv_map: CsvMap) -> Archs:
    """Reads the columns that name the architectures.

    Raises: BadFile with line and column of the first one that is none, or that an official index
    or hash beside it contradicts.
    """
    if isinstance(csv_map.archs, SpecColumns):
        return _of_specs(sheet, csv_map.archs)
    return _of_texts(sheet, csv_map.archs, csv_map.space)


def _of_texts(sheet: Sheet, columns: TextColumn, of_space: SearchSpace) -> Archs:
    texts = sheet.columns[columns.text]
    index_of: dict[str, int] = {}
    code_of: dict[int, tuple[int, ...]] = {}
    for row, text in enumerate(texts):
        if text in index_of:
            continue
        try:
            arch = of_space.parse(text)
        except HarnessError as error:
            raise _no_arch(sheet, row, columns.text, error) from error
        if isinstance(of_space, ListedSpace):
            index_of[text] = of_space.index(arch)
        else:
            index_of[text] = len(index_of)
        code_of[index_of[text]] = arch.code
    every = np.array([index_of[text] for text in texts], dtype=np.int64)
    _check_indices(sheet, columns, every)
    indices, of_row = np.unique(every, return_inverse=True)
    codes = np.array([code_of[index] for index in indices.tolist()], dtype=np.uint8)
    return Archs(indices, codes, of_row)


def _no_arch(sheet: Sheet, row: int, column: str, error: HarnessError) -> BadFile:
    return sheet.error(row, column, error.message.rstrip("."), error.remedy)


def _check_indices(sheet: Sheet, columns: TextColumn, official: NDArray[np.int64]) -> None:
    if columns.index is None:
        return
    stated = sheet.columns[columns.index]
    for row, (text, index) in enumerate(zip(stated, official.tolist(), strict=True)):
        if text != str(index):
            raise sheet.error(
                row,
                columns.index,
                f"{shown(text)} is not the official index of this architecture, which is {index}",
                "Correct the file, or leave `index` out of the map: it is not needed.",
            )


def _of_specs(sheet: Sheet, columns: SpecColumns) -> Archs:
    """Cells by hash; one that is written in several ways has the code of the first."""
    specs = list(zip(sheet.columns[columns.matrix], sheet.columns[columns.ops], strict=True))
    known: dict[tuple[str, str], tuple[Arch, str]] = {}
    hashes = []
    for row, spec in enumerate(specs):
        if spec not in known:
            known[spec] = _cell(sheet, row, columns)
        _, own = known[spec]
        _check_hash(sheet, row, columns, own)
        hashes.append(own)
    keys, firsts, of_row = np.unique(
        np.array(hashes, dtype="S32"), return_index=True, return_inverse=True
    )
    codes = [known[specs[row]][0].code for row in firsts.tolist()]
    return Archs(np.arange(len(keys)), np.array(codes, dtype=np.uint8), of_row, keys)


def _cell(sheet: Sheet, row: int, columns: SpecColumns) -> tuple[Arch, str]:
    """The cell of one row and its official hash."""
    bits, ops = sheet.columns[columns.matrix][row], sheet.columns[columns.ops][row]
    if foreign := [character for character in ops if character not in columns.names]:
        raise sheet.error(
            row,
            columns.ops,
            f"{shown(foreign[0])} in {shown(ops)} stands for no operation",
            f"The map names {', '.join(columns.names)}: correct the cell, or [spec.names].",
        )
    n_vertices = len(ops) + 2
    if len(bits) != n_vertices**2 or bits.strip("01"):
        raise sheet.error(
            row,
            columns.matrix,
            f"{shown(bits)} is no matrix of 0 and 1 over {n_vertices} vertices, which are input,"
            f" output and the {len(ops)} of {columns.ops!r}",
            f"Write {n_vertices} times {n_vertices} bits row by row; zeros that lead either text"
            " belong to it.",
        )
    matrix = np.array(list(bits), dtype=np.uint8).reshape(n_vertices, n_vertices)
    names = (INPUT, *(columns.names[character] for character in ops), OUTPUT)
    try:
        arch = columns.space.of_spec(matrix, names)
        return arch, columns.space.module_hash(arch)
    except InvalidArch as error:
        raise _no_arch(sheet, row, columns.matrix, error) from error


def _check_hash(sheet: Sheet, row: int, columns: SpecColumns, own: str) -> None:
    if columns.hash is None or (stated := sheet.columns[columns.hash][row]) == own:
        return
    raise sheet.error(
        row,
        columns.hash,
        f"{shown(stated)} is not the official hash of this cell, which is {own}",
        "Correct the line; if no line is right, [spec.names] or the columns in the map are wrong.",
    )

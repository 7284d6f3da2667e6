import io
import re
import shutil
import subprocess
from dataclasses import replace

import pandas as pd
import pytest
from printed_values import printed

from reports import html, latex, markdown
from reports.card import MetricCard
from reports.items import Artefact
from reports.tables import Cell, Column, ResultTable, Row, compared, comparisons, lines, to_csv
from reports.verdict import EXACT, NO_TEST, Measured

CARD = MetricCard(
    benchmark="small (6 of 15,625 archs)",
    sha256="0123456789abcdef" * 4,
    slices=(("cifar10, truth", "cifar10/train+valid/test/accuracy/200"),),
    seeds="mean",
    selection="none",
    recipe="look-up",
    n="6 archs",
    commit=None,
)
NASTY = "A_b & 50 % of #1 {x} ~ $y$ ^ | <z> \\w"
TABLE = ResultTable(
    "balenas:T1",
    "A table",
    (Column("CIFAR-10", "valid"), Column("CIFAR-10", "test"), Column("", "cost_(s)", 1)),
    (
        Row(
            "measured & published",
            (
                compared(Measured(91.6067, None, 6, "%"), printed("91.61")),
                compared(Measured(-0.5, 1.25, 6, "%"), printed("94.3", "0.25")),
                Cell(Measured(3.25)),
            ),
        ),
        Row("not run", (Cell(None, printed("90.00", "0.10", 4), reason="no luck"), Cell(), Cell())),
        Row(
            "partly",
            (
                Cell(Measured(1.0, unit="%"), printed("")),
                Cell(None, printed("1.00"), reason="no data"),
                Cell(),
            ),
        ),
        Row(NASTY, (Cell(Measured(1.0)), Cell(), Cell())),
    ),
)
ARTEFACT = Artefact((TABLE,), CARD, footnotes=(f"Cell `|conv_3x3~0|+|` and {NASTY}",))


def test_lines_in_the_papers_layout():
    shown = [
        (line.label, line.source, [cell.text + cell.mark for cell in line.cells])
        for line in lines(TABLE)
    ]

    assert shown[:5] == [
        ("measured & published", ("measured", ""), ["91.61", "−0.5 ± 1.2", "3.2"]),
        ("", ("paper", ""), ["91.61", "94.3 ± 0.25", ""]),
        ("not run", ("not run", "a"), ["–", "", ""]),
        ("", ("paper", ""), ["90.00 ± 0.10", "", ""]),
        ("partly", ("measured", ""), ["1.00", "–b", ""]),
    ]


def test_only_cells_with_both_numbers_are_compared():
    first, second = comparisons(TABLE)

    assert (first.column, first.difference, first.verdict) == ("CIFAR-10 valid", "0.00", EXACT)
    assert (second.column, second.difference, second.verdict) == ("CIFAR-10 test", "−94.8", NO_TEST)
    assert (second.n, second.published_n) == ("6", "–")


def test_csv_round_trip():
    frame = pd.read_csv(io.StringIO(to_csv([TABLE], CARD)), dtype={"published_mean": str})
    first, second = frame.iloc[0], frame.iloc[1]

    assert len(frame) == 7
    assert first["measured_mean"] == 91.6067
    assert first["published_mean"] == "91.61"
    assert (first["row"], first["column_group"], first["column"]) == (
        "measured & published",
        "CIFAR-10",
        "valid",
    )
    assert second["difference"] == pytest.approx(-94.8)
    assert second["measured_std"] == 1.25
    assert frame.loc[frame["row"] == "not run", "reason"].tolist() == ["no luck"]
    assert set(frame["table_sha256"]) == {CARD.sha256}


def test_rows_must_fit_the_columns():
    with pytest.raises(ValueError, match="2 cells, 3 wide"):
        replace(TABLE, rows=(Row("short", (Cell(), Cell())),))


def test_markdown_is_rectangular_and_complete():
    text = markdown.document("balenas:T1: A table", ARTEFACT, [])
    widths = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in text.splitlines()
        if line.startswith("|") and "not run" in line
    }

    assert widths == {6}
    assert "(a) no luck" in text
    assert "- **Table SHA-256**: 0123456789ab\n" in text
    assert "`cifar10/train+valid/test/accuracy/200`" in text
    assert text.count("# ") == 4  # Title, comparison, notes, card: "A table" is not said twice.


def test_latex_has_booktabs_and_escapes():
    text = latex.document("A table", ARTEFACT, [])
    tables = re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, re.S)

    assert len(tables) == 2
    for table in tables:
        rules = re.findall(r"\\(toprule|midrule|bottomrule)", table)
        assert rules == ["toprule", "midrule", "bottomrule"]
        preamble = re.search(r"\\begin\{tabular\}\{(.*)\}\n", table).group(1)
        n_columns = len(re.sub(r"p\{.*?\}", "p", preamble))
        for row in re.findall(r"^(.*) \\\\$", table, re.M):
            spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d)\}", row)]
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans) == n_columns
    assert r"\multicolumn{2}{c}{CIFAR-10}" in tables[0]
    assert r"\cmidrule(lr){3-4}" in tables[0]
    assert r"not run\textsuperscript{a}" in tables[0]
    assert r"measured \& published" in tables[0]
    assert (
        r"A\_b \& 50 \% of \#1 \{x\} \textasciitilde{} \$y\$ \textasciicircum{} \textbar{}"
        r" \textless{}z\textgreater{} \textbackslash{}w"
    ) in tables[0]
    assert text.count("{") == text.count("}")
    assert text.isascii()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(tmp_path):
    (tmp_path / "item.tex").write_text(latex.document("A table", ARTEFACT, []), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\n"
        "\\usepackage{graphicx}\\begin{document}\\input{item}\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_a_wide_latex_table_is_made_to_fit(tmp_path):
    (table,) = ARTEFACT.tables
    wide = replace(
        table,
        columns=table.columns * 5,
        rows=tuple(replace(row, cells=row.cells * 5) for row in table.rows),
    )
    text = latex.document("Wide", replace(ARTEFACT, tables=(wide,)), [])
    (first, *_) = re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, re.S)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\n"
        f"\\usepackage{{graphicx}}\\begin{{document}}{first}\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_html_is_one_file_and_escapes():
    section = html.Section("balenas:T1", "A table", ARTEFACT, (), ("balenas_T1.csv",))
    absent = html.Absent("balenas:T2", "Other <table>", "needs & wants")
    text = html.page("Title", [section], skipped=[absent])

    assert "<style>" in text
    assert not re.search(r"<(script|link)|https?://", text)
    assert "not run<sup>a</sup>" in text
    assert "<code>|conv_3x3~0|+|</code>" in text
    assert "&lt;z&gt;" in text
    assert "<z>" not in text
    assert "needs &amp; wants" in text
    assert "Other &lt;table&gt;" in text
    assert text.count("<table>") == text.count("</table>") == 3
    assert text.count("<td") == text.count("</td>")

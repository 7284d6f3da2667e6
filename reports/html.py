"""Items as one self-contained HTML page; figures lie beside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from reports.items import Artefact
from reports.tables import (
    COMPARISON_HEADER,
    Column,
    Line,
    Marked,
    ResultTable,
    comparisons,
    lines,
    remarks,
)
from reports.verdict import VERDICTS

if TYPE_CHECKING:
    from jinja2 import Template

STYLE = """
:root { color-scheme: light dark; --ink: #1d1f23; --soft: #5c636e; --paper: #ffffff;
  --rule: #d9dde3; --strong: #1d1f23; --tint: #f4f6f8; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6ea; --soft: #a2a9b4; --paper: #16181c;
  --rule: #343a43; --strong: #c9ced6; --tint: #1e2127; --link: #7db7f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 0; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
h2 + .wide { margin-top: 1rem; }
a { color: var(--link); }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
section { border-top: 1px solid var(--rule); margin-top: 2.5rem; padding-top: 1.5rem; }
.id, .lead, figcaption, .remarks, .source { color: var(--soft); }
.id { font: .85rem ui-monospace, monospace; }
.lead { margin-top: 0; max-width: 60rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums;
  border-top: 2px solid var(--strong); border-bottom: 2px solid var(--strong); }
th, td { padding: .22rem .65rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; }
thead tr:last-child th { border-bottom: 1px solid var(--strong); }
thead .group { text-align: center; border-bottom: 1px solid var(--rule); }
th[scope=row], .source, .text, th.text { text-align: left; }
tr.first > * { padding-top: .5rem; }
tr.first + tr:not(.first) > *, tr.first:last-child > * { padding-bottom: .4rem; }
tr.measured td { font-weight: 600; }
tr.measured td.source { font-weight: 400; color: var(--ink); }
td.note { white-space: normal; min-width: 16rem; text-align: left; color: var(--soft); }
sup { font-size: .7em; font-weight: 400; }
.remarks { font-size: .875rem; margin: .4rem 0 0; padding: 0; list-style: none; }
figure { margin: 1.5rem 0; max-width: 60rem; }
figure img { width: 100%; height: auto; background: #fff; border-radius: 4px; display: block; }
figcaption { font-size: .875rem; margin-top: .4rem; }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .2rem 1rem;
  margin: 0; padding: .8rem 1rem; background: var(--tint); border-radius: 6px;
  font-size: .875rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ol.notes { font-size: .875rem; padding-left: 1.3rem; max-width: 60rem; }
.contents { columns: 22rem; padding-left: 1.2rem; }
.files { font-size: .875rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .4rem; }
  th, td { padding: .22rem .4rem; }
  th[scope=row] { white-space: normal; min-width: 6rem; max-width: 8rem; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
{% if lead %}<p class="lead">{{ lead }}</p>{% endif %}
{% if sections|length > 1 %}
<nav><ul class="contents">
{% for s in sections %}<li><a href="#{{ s.item }}">{{ s.item }}</a> {{ s.title }}</li>
{% endfor %}</ul></nav>
{% endif %}
</header>
{% for s in sections %}
<section id="{{ s.item }}">
<p class="id">{{ s.item }}</p>
<h2>{{ s.title }}</h2>
{% for t in s.tables %}
{% if t.title != s.title %}<h3>{{ t.title }}</h3>{% endif %}
<div class="wide"><table>
<thead>
{% if t.groups %}<tr><th></th><th></th>{% for name, width in t.groups -%}
<th class="{{ 'group' if name }}" colspan="{{ width }}">{{ name }}</th>{% endfor %}</tr>{% endif %}
<tr><th class="text">{{ t.row_header }}</th><th></th>
{%- for column in t.columns %}<th>{{ column.name }}</th>{% endfor %}</tr>
</thead>
<tbody>
{% for line in t.lines -%}
<tr class="{{ 'first' if line.label }} {{ line.source.text if line.source.text == 'measured' }}">
{%- if line.label %}<th scope="row" rowspan="{{ line.rows }}">{{ line.label }}</th>{% endif -%}
<td class="source">{{ line.source|marked }}</td>
{%- for cell in line.cells %}<td>{{ cell|marked }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
{% if t.remarks %}<ul class="remarks">
{% for mark, reason in t.remarks.items() %}<li><sup>{{ mark }}</sup> {{ reason }}</li>
{% endfor %}</ul>{% endif %}
{% if t.comparisons %}
<h3>Compared with the paper</h3>
<div class="wide"><table>
<thead><tr>{% for name in comparison_header[:t.comparison_width] -%}
<th class="{{ 'text' if loop.index0 in (0, 1, 7, 8) }}">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for c in t.comparisons -%}
<tr><th scope="row">{{ c.row }}</th><td class="text">{{ c.column }}</td><td>{{ c.measured }}</td>
<td>{{ c.n }}</td><td>{{ c.published }}</td><td>{{ c.published_n }}</td><td>{{ c.difference }}</td>
<td class="text" title="{{ verdicts[c.verdict] }}">{{ c.verdict }}</td>
{%- if t.comparison_width == 9 %}<td class="note">{{ c.note }}</td>{% endif %}</tr>
{% endfor %}</tbody>
</table></div>
{% endif %}
{% endfor %}
{% for image, caption in s.figures %}
<figure><img src="{{ image }}" alt="{{ caption }}"><figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
{% if s.notes %}<h3>Notes</h3>
<ol class="notes">
{% for note in s.notes %}<li>{{ note|code }}</li>
{% endfor %}</ol>{% endif %}
<h3>Metric card</h3>
<dl>
{% for term, text in s.card %}<dt>{{ term }}</dt><dd>{{ text|code }}</dd>
{% endfor %}</dl>
<p class="files">Files: {% for file in s.files %}<a href="{{ file }}">{{ file }}</a>
{%- if not loop.last %}, {% endif %}{% endfor %}</p>
</section>
{% endfor %}
{% for heading, absent in missing if absent %}
<section>
<h2>{{ heading }}</h2>
<div class="wide"><table>
<thead><tr>{% for name in ("Item", "Title", "Reason") %}<th class="text">{{ name }}</th>
{% endfor %}</tr></thead>
<tbody>
{% for a in absent -%}
<tr><td class="text"><code>{{ a.item }}</code></td><td class="text">{{ a.title }}</td>
<td class="note">{{ a.reason }}</td></tr>
{% endfor %}</tbody>
</table></div>
</section>
{% endfor %}
<section>
<h2>What the verdicts mean</h2>
<dl>{% for name, meaning in verdicts.items() %}<dt>{{ name }}</dt><dd>{{ meaning }}</dd>
{% endfor %}</dl>
</section>
</body>
</html>
"""


@dataclass(frozen=True)
class Section:
    """One finished item of a page; images and files: paths relative to the page."""

    item: str
    title: str
    artefact: Artefact
    images: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Absent:
    """One item that could not be made."""

    item: str
    title: str
    reason: str


def page(
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    skipped: Sequence[Absent] = (),
    failed: Sequence[Absent] = (),
) -> str:
    """The page as text."""
    return _template().render(
        title=title,
        lead=lead,
        style=STYLE,
        sections=[_section_view(section) for section in sections],
        missing=[("Failed", failed), ("Not made", skipped)],
        verdicts=VERDICTS,
        comparison_header=COMPARISON_HEADER,
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(marked=_marked, code=_code)
    return environment.from_string(PAGE)


def _marked(cell: Marked) -> str:
    """Safe HTML of a cell with its remark's letter."""
    from markupsafe import Markup

    mark = f"<sup>{html.escape(cell.mark)}</sup>" if cell.mark else ""
    return Markup(html.escape(cell.text) + mark)  # noqa: S704 - both parts are escaped.


def _code(text: str) -> str:
    """Safe HTML of a text whose parts between backticks are code."""
    from markupsafe import Markup

    parts = html.escape(text).split("`")
    return Markup(  # noqa: S704 - the text is escaped.
        "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))
    )


def _section_view(section: Section) -> dict[str, object]:
    artefact = section.artefact
    captions = [plot.caption for plot in artefact.plots]
    return {
        "item": section.item,
        "title": section.title,
        "tables": [_table_view(table) for table in artefact.tables],
        "figures": list(zip(section.images, captions, strict=True)),
        "notes": [
            *(note for table in artefact.tables for note in table.footnotes),
            *artefact.footnotes,
        ],
        "card": artefact.card.entries(),
        "files": section.files,
    }


def _table_view(table: ResultTable) -> dict[str, object]:
    found = comparisons(table)
    has_groups = any(column.group for column in table.columns)
    return {
        "title": table.title,
        "row_header": table.row_header,
        "columns": table.columns,
        "groups": _groups(table.columns) if has_groups else [],
        "lines": _line_views(lines(table)),
        "remarks": remarks(table),
        "comparisons": found,
        "comparison_width": len(COMPARISON_HEADER) - (not any(c.note for c in found)),
    }


def _groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    return [(group, len(list(members))) for group, members in groupby(columns, lambda c: c.group)]


def _line_views(body: Sequence[Line]) -> list[dict[str, object]]:
    """Lines with the number of lines that share their label."""
    starts = [i for i, line in enumerate(body) if line.label] + [len(body)]
    heights = {start: end - start for start, end in zip(starts, starts[1:], strict=False)}
    return [{**line._asdict(), "rows": heights.get(i, 0)} for i, line in enumerate(body)]

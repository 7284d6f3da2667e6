"""What of a cell's graph matters: the nodes between its input and its output."""

from __future__ import annotations

from collections.abc import Sequence


def between(edges: Sequence[tuple[int, int]], output: int) -> set[int]:
    """Nodes on a path from node 0 to the output; none if there is no path.

    edges: (source, target) pairs, each to a higher node, ascending by source or by target, so that
    one pass each way is enough.
    """
    reached, leads_out = {0}, {output}
    for source, target in edges:
        if source in reached:
            reached.add(target)
    for source, target in reversed(edges):
        if target in leads_out:
            leads_out.add(source)
    return reached & leads_out

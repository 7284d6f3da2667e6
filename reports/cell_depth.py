"""How deep a cell is, by the graph that is drawn of it."""

from __future__ import annotations

from reports.cell_graphs import CellGraph


def depth(cell: CellGraph) -> int:
    """Edges on the longest path from an input to the output; 0 if no path leads there.

    Shu et al., "Understanding Architectures Learnt by Cell-based Neural Architecture Search", ICLR
    2020. Every edge counts, whatever its operation, and so do those that the output joins by: in
    the DARTS space it is 2 to 5.
    """
    longest = {node.key: 0 for node in cell.nodes if node.role == "input"}
    order = {node.key: place for place, node in enumerate(cell.nodes)}
    for edge in sorted(cell.edges, key=lambda edge: order[edge.source]):
        if edge.source in longest:
            longest[edge.target] = max(longest.get(edge.target, 0), longest[edge.source] + 1)
    output = next(node.key for node in cell.nodes if node.role == "output")
    return longest.get(output, 0)

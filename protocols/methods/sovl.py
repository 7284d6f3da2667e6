"""SoVL: as SoTL, with the sum of validation losses along the same look-ahead of the weights.

Source: the SoTL thesis, section 4.3, SoVL-DARTS; see `protocols.search.unrolled`.
"""

from __future__ import annotations

from protocols.search.unrolled import Unrolled

METHOD = Unrolled(summed="valid")

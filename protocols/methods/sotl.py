"""SoTL: any search, with architecture parameters that follow the sum of training losses.

Source: the SoTL thesis, section 3.4, SoTL-DARTS; see `protocols.search.unrolled`.
"""

from __future__ import annotations

from protocols.search.unrolled import Unrolled

METHOD = Unrolled(summed="train")

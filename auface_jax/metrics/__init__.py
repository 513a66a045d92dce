"""Figures by which generated faces are judged, each a pure function of arrays."""

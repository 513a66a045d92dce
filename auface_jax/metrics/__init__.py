"""Figures by which generated faces are judged, each a pure function of arrays.

Features of every image are computed once (`features`) and serve all figures that are read off them:
FID, KID and the Inception score (`distances`). LPIPS compares pictures in pairs (`lpips`).
"""

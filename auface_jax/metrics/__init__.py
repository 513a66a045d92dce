"""Metrics of generated faces, each a pure function of arrays.

aaad       agreement of a picture's units with its text's
units      precision, recall and F1 of units, thresholds, opposed pairs
features   features of images, computed once for FID, KID and the Inception score
distances  FID, KID and the Inception score
lpips      LPIPS of pairs of pictures
ssim       SSIM of pairs of pictures
identity   identity and diversity of faces, as cosines of embeddings
"""

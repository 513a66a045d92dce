"""Networks with public weights, one file each, written so that those weights fit."""

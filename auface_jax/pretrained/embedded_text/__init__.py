"""Files of the embedded text recogniser, see `README.md`; `pretrained.embedded` reads them."""

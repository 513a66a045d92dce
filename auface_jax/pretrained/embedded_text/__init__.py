"""Files of the embedded text recogniser, see `CARD.md`; `pretrained.embedded` reads them."""

"""Config pages, one a run; `common` has the blocks that they share.

The pages are installed as `auface_jax.configs`, so that `auface train --config stage2.py` finds
them from any folder.
"""

"""Losses of both stages and of the recognisers, each a pure function.

reconstruction, adversarial   Stage I
masked_tokens                 Stage II
units                         the action unit recognisers
networks                      frozen networks of Stage I's losses between features
gate                          the gate that switches the anatomical loss on
"""

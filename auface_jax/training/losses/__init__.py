"""Losses of both stages and of the recognisers, each a pure function.

reconstruction, adversarial   Stage I
masked_tokens                 Stage II
units                         the action unit recognisers
networks                      frozen networks that Stage I's losses compare with
gate                          when the anatomical loss begins to count
"""

"""Counts of a built data set and the card that shows them.

counts  constructs, units, combinations, texts, people and splits, counted
card    the counts as a page with plots
"""

"""Counts of a built data set and the card that shows them.

counts  constructs, units, combinations, texts, people and splits, counted
kinds   the kinds of constructs
card    the counts as a page to read
plots   the plots of that page
"""
